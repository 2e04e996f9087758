"""Make the sample shards in `sample/` from a folder of freely licensed documents.

    python scripts/make_sample.py FOLDER [--out sample]

FOLDER holds Parquet files with the string columns id, text, source, url, lang and meta (a JSON object).
Which documents are taken is written in RULES; within a rule they are ordered by BLAKE2b of their id and
taken until the rule's number of documents or characters is reached, so the answer does not depend on how
FOLDER is split into files. Groups of exact copies are taken whole and first: the sample has to show
duplicates that occurred naturally. The shards differ in optional columns, string types and format on purpose.

Not here: anything that the demo needs at run time; it reads `sample/` alone. `sample/NOTICE.md` names
origin and licence of every source.
"""

import argparse
import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

OLD_AUTHORS = ("Dickens, Charles", "Dor\u00e9, Gustave", "Twain, Mark", "Poe, Edgar Allan")
OPEN_CATEGORIES = ("Copyleft", "Copyleft Limited", "Permissive", "Public Domain")

NUM_SHARDS = 4
ROW_GROUP_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which documents of one source are taken."""

    source: str
    license: str
    max_docs: int
    max_chars: int
    max_doc_chars: int = 40_000
    languages: frozenset[str] | None = None
    packages: dict[str, str] | None = None
    """Package name -> its licence; documents of other packages are left out."""
    keep: Callable[[Row], bool] = lambda row: True
    copies: int = 0
    """How many groups of exact copies to take whole before anything else."""


def is_public_domain_pep(row: Row) -> bool:
    """Tell whether the proposal says that it is in the public domain and names no other licence."""
    text = " ".join(row["text"].lower().split())
    return "placed in the public domain" in text and "open publication" not in text


def is_open_licence(row: Row) -> bool:
    """Leave out the texts of proprietary, commercial and unknown licences."""
    meta = row["meta"]
    if row["source"] == "licence_texts" and meta.get("category") not in OPEN_CATEGORIES:
        return False
    words = f"{row['url']} {meta.get('category', '')} {meta.get('license_expression', '')}".lower()
    closed = ("proprietary", "commercial", "unknown", "free restricted", "non-", "-nc", "unstated")
    return not any(word in words for word in closed)


def is_old_book(row: Row) -> bool:
    """Take authors whose works are in the public domain nearly everywhere."""
    return row["meta"].get("author") in OLD_AUTHORS


def is_not_lolcat(row: Row) -> bool:
    """Leave out the one version of the text that is not in the public domain."""
    return "lolcat" not in row["url"]


PYTHON_PACKAGES = {
    "django-5.2.19": "BSD-3-Clause",
    "flask-3.1.3": "BSD-3-Clause",
    "networkx-3.6.1": "BSD-3-Clause",
    "sqlalchemy-2.1.9": "MIT",
    "rich-15.0.0": "MIT",
    "pytest-9.2.0": "MIT",
    "twisted-26.10.0": "MIT",
}
SCRIPT_PACKAGES = {"rxjs-7.8.2": "Apache-2.0", "lodash-4.18.1": "MIT"}
DATABASE_PACKAGES = {"postgresql-doc-15": "PostgreSQL", "sqlite3-doc": "public domain"}
REFERENCE_PACKAGES = {"libboost1.74-doc": "BSL-1.0", "erlang-doc": "Apache-2.0"}
SCIENCE_PACKAGES = {"python-pandas-doc": "BSD-3-Clause", "python-scipy-doc": "BSD-3-Clause"}
PD = "public domain"

RULES = (
    Rule(source="books", license=PD, max_docs=6, max_chars=800_000, max_doc_chars=200_000, keep=is_old_book),
    Rule(source="speeches", license=PD, max_docs=30, max_chars=600_000),
    Rule(source="peps", license=PD, max_docs=60, max_chars=900_000, keep=is_public_domain_pep),
    Rule(source="python_docs", license="PSF-2.0", max_docs=50, max_chars=700_000),
    Rule(source="shell_guide", license=PD, max_docs=40, max_chars=400_000),
    Rule(
        source="database_docs",
        license="",
        max_docs=150,
        max_chars=900_000,
        packages=DATABASE_PACKAGES,
    ),
    Rule(source="api_reference", license="", max_docs=90, max_chars=500_000, packages=REFERENCE_PACKAGES),
    Rule(source="datascience_docs", license="", max_docs=160, max_chars=400_000, packages=SCIENCE_PACKAGES),
    Rule(source="web_framework_docs", license="BSD-3-Clause", max_docs=50, max_chars=400_000),
    Rule(source="code_python", license="", max_docs=110, max_chars=900_000, packages=PYTHON_PACKAGES),
    Rule(source="code_js", license="", max_docs=80, max_chars=200_000, packages=SCRIPT_PACKAGES, copies=3),
    Rule(source="package_descriptions", license="DFSG-free", max_docs=420, max_chars=300_000, copies=30),
    Rule(
        source="package_descriptions_i18n",
        license="DFSG-free",
        max_docs=260,
        max_chars=200_000,
        copies=10,
    ),
    Rule(
        source="licence_texts",
        license="CC-BY-4.0",
        max_docs=110,
        max_chars=600_000,
        keep=is_open_licence,
        copies=6,
    ),
    Rule(
        source="licence_rules",
        license="CC-BY-4.0",
        max_docs=260,
        max_chars=300_000,
        keep=is_open_licence,
        copies=12,
    ),
    Rule(source="laws_de", license=PD, max_docs=50, max_chars=700_000),
    Rule(source="udhr", license=PD, max_docs=70, max_chars=900_000),
    Rule(source="scripture_genesis", license=PD, max_docs=80, max_chars=350_000, keep=is_not_lolcat),
    Rule(
        source="office_help",
        license="MPL-2.0",
        max_docs=110,
        max_chars=250_000,
        languages=frozenset({"de", "fr", "ja"}),
    ),
)


def read_rows(folder: Path) -> dict[str, list[Row]]:
    """Read the documents of every wanted source, each id once."""
    wanted = {rule.source for rule in RULES}
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for path in sorted(folder.rglob("*.parquet")):
        if not {"id", "text", "source", "url", "lang", "meta"} <= set(pq.read_schema(path).names):
            continue
        for row in pq.read_table(path).to_pylist():
            if row["source"] in wanted:
                row["meta"] = json.loads(row["meta"] or "{}")
                found[row["source"]].setdefault(row["id"], row)
    return {source: list(rows.values()) for source, rows in found.items()}


def hash_order(row: Row) -> bytes:
    """Give the key that puts documents in an order free of their origin."""
    return hashlib.blake2b(row["id"].encode(), digest_size=16, person=b"sample").digest()


def license_of(rule: Rule, row: Row) -> str | None:
    """Name the licence of a document; None leaves it out."""
    if rule.packages is None:
        return rule.license
    return rule.packages.get(row["meta"].get("package", ""))


def pick(rule: Rule, rows: list[Row]) -> list[Row]:
    """Take the documents of one rule: groups of copies first, then the rest in hash order."""
    good = [
        row
        for row in sorted(rows, key=hash_order)
        if license_of(rule, row) is not None
        and 0 < len(row["text"]) <= rule.max_doc_chars
        and (rule.languages is None or row["lang"] in rule.languages)
        and rule.keep(row)
    ]
    same: dict[str, list[Row]] = defaultdict(list)
    for row in good:
        same[row["text"]].append(row)
    groups = [group for group in same.values() if len(group) > 1][: rule.copies]
    first = [row for group in groups for row in group]
    taken = {row["id"] for row in first}
    picked: list[Row] = []
    num_chars = 0
    for row in first + [row for row in good if row["id"] not in taken]:
        if len(picked) >= rule.max_docs:
            break
        if num_chars + len(row["text"]) <= rule.max_chars:
            picked.append(row)
            num_chars += len(row["text"])
    return picked


def clean(rule: Rule, row: Row) -> Row:
    """Bring a document to the columns of the sample."""
    meta = row["meta"]
    title = meta.get("title") or meta.get("short_name") or meta.get("name")
    return {
        "id": row["id"],
        "text": row["text"],
        "source": row["source"],
        "lang": row["lang"] or None,
        "url": row["url"],
        "license": license_of(rule, row),
        "title": title,
        "package": meta.get("package"),
    }


def split(rows: Iterable[Row]) -> list[list[Row]]:
    """Deal the documents onto the shards, so that copies fall into different ones."""
    shards: list[list[Row]] = [[] for _ in range(NUM_SHARDS)]
    for row in sorted(rows, key=hash_order):
        shards[hash_order(row)[-1] % NUM_SHARDS].append(row)
    return shards


def schema(*extra: str, large: bool = False) -> pa.Schema:
    """Give the columns of one Parquet shard."""
    text = pa.large_string() if large else pa.string()
    source = pa.dictionary(pa.int32(), pa.string()) if large else pa.string()
    names = ("lang", "url", "license", *extra)
    fields = [("id", pa.string()), ("text", text), ("source", source)]
    return pa.schema(fields + [(name, pa.string()) for name in names])


def write_parquet(path: Path, rows: list[Row], columns: pa.Schema) -> None:
    """Write one shard with several row groups."""
    table = pa.Table.from_pylist([{name: row[name] for name in columns.names} for row in rows], columns)
    pq.write_table(table, path, compression="zstd", compression_level=19, row_group_size=ROW_GROUP_ROWS)


def write_jsonl(path: Path, rows: list[Row], names: tuple[str, ...]) -> None:
    """Write one gzip JSONL shard whose bytes do not hold the time; null fields are left out."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        for row in rows:
            record = {name: row[name] for name in names if row[name] is not None}
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def main() -> None:
    """Read the folder, pick, write four shards and print what is in them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with Parquet files, searched recursively")
    parser.add_argument("--out", type=Path, default=Path("sample"))
    options = parser.parse_args()
    by_source = read_rows(options.folder)
    rows = []
    for rule in RULES:
        picked = pick(rule, by_source.get(rule.source, []))
        rows += [clean(rule, row) for row in picked]
        num_chars = sum(len(row["text"]) for row in picked)
        print(f"{rule.source:28} {len(picked):5} documents {num_chars:9} characters")
    shards = split(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    write_parquet(options.out / "part-0.parquet", shards[0], schema())
    write_parquet(options.out / "part-1.parquet", shards[1], schema("title"))
    write_parquet(options.out / "part-2.parquet", shards[2], schema("package", large=True))
    names = ("id", "text", "source", "lang", "url", "license", "title")
    write_jsonl(options.out / "part-3.jsonl.gz", shards[3], names)
    copies = len(rows) - len({row["text"] for row in rows})
    size_bytes = sum(path.stat().st_size for path in options.out.glob("part-*"))
    print(f"{len(rows)} documents, {copies} of them copies; {size_bytes} bytes in {NUM_SHARDS} shards")


if __name__ == "__main__":
    main()
