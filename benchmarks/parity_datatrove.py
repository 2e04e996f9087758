"""Parity with datatrove's filters, rule by rule: each rule of Gopher, C4 and FineWeb alone, same documents.

Three ways to split words: datatrove's own tokens given, the native `datatrove-en`, and `uax29`. A figure is
the fraction of documents on which our rule and datatrove's agree; `disagree` counts the others by source.
The last figures compare the words themselves. Goals: 1 with given words, 0.995 with native ones, none for
`uax29`.

Data: a stratified sample of English documents (the same number of each source, as far as there are) of the
Parquet files under `--data`; without it `../shared/data/corpus` and `web`, and where those are missing the
sample of this repository. Takes about ten minutes, nearly all of it in datatrove.
"""

import argparse
import collections
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate import _rust, text
from curate.filters.entries import parse_filters
from curate.filters.expression import parse_expression
from curate.filters.rules import Rule

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
PRESETS = [{"preset": "gopher"}, {"preset": "c4", "min_long_lines": 3}, {"preset": "fineweb"}]
GROUPS = frozenset({"gopher", "c4", "fineweb"})
GOALS = {"given": 1.0, "datatrove-en": 0.995, "uax29": None}
MAX_CHARS = 100_000


def sample(folders: list[Path], num_docs: int) -> pa.Table:
    """English documents that are not blank, about as many of each source."""
    sources: dict[str, list[str]] = collections.defaultdict(list)
    for path in sorted(path for folder in folders for path in folder.rglob("*.parquet")):
        table = pq.read_table(path)
        langs = table["lang"].to_pylist() if "lang" in table.column_names else ["en"] * len(table)
        for body, source, lang in zip(
            table["text"].to_pylist(), table["source"].to_pylist(), langs, strict=True
        ):
            if lang == "en" and body and body.strip() and len(body) <= MAX_CHARS:
                sources[source].append(body)
    rng = random.Random(20)
    for bodies in sources.values():
        rng.shuffle(bodies)
    taken: list[tuple[str, str]] = []
    for rank in range(max(map(len, sources.values()))):
        taken += [(source, bodies[rank]) for source, bodies in sorted(sources.items()) if rank < len(bodies)]
        if len(taken) >= num_docs:
            break
    return pa.table({"source": [source for source, _ in taken], "text": [body for _, body in taken]})


def judge(peer: str, documents: pa.Table) -> pa.Table:
    """What datatrove makes of the documents."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "documents.parquet", Path(name) / "judged.parquet"
        pq.write_table(documents, source)
        script = ROOT / "benchmarks" / "peers" / "parity_datatrove.py"
        subprocess.run([peer, str(script), str(source), str(target)], check=True)
        return pq.read_table(target)


def measure(documents: pa.Table, words: str, given: pa.Array) -> pl.DataFrame:
    """Our columns, with the words of one of the three ways."""
    texts = documents["text"].combine_chunks()
    if words == "given":
        batch = text.measure_words(texts, given, text.NativeSpec(groups=GROUPS, words="datatrove-en"))
    else:
        mode: text.WordMode = "uax29" if words == "uax29" else "datatrove-en"
        batch = text.measure(texts, text.NativeSpec(groups=GROUPS, words=mode))
    return pl.DataFrame(pa.Table.from_batches([batch]))


def report(name: str, agree: list[bool], sources: list[str], goal: float | None, **extra: Any) -> bool:
    """Print the fraction that agrees; false where that is below the goal."""
    frac = sum(agree) / len(agree)
    disagree = collections.Counter(source for source, good in zip(sources, agree, strict=True) if not good)
    figure = {
        "name": f"parity {name}",
        "value": round(frac, 6),
        "unit": "fraction of documents",
        "peer": "datatrove 0.10.1",
        "ratio": round(frac, 6),
        "goal": goal,
        "met": None if goal is None else frac >= goal,
        "num_docs": len(agree),
        "disagree": dict(sorted(disagree.items())),
    }
    print(json.dumps(figure | extra), flush=True)
    return goal is None or frac >= goal


def compare(documents: pa.Table, judged: pa.Table) -> bool:
    """Report every rule in all three ways, and the words; whether all goals are met."""
    sources = documents["source"].to_pylist()
    rules: tuple[Rule, ...] = parse_filters(PRESETS)
    given = judged["words"].combine_chunks()
    is_met = True
    for words, goal in GOALS.items():
        columns = measure(documents, words, given)
        for rule in rules:
            # A null is a reason of its own in a plan; the rule itself says nothing there.
            ours = columns.select(parse_expression(rule.drop).expr.fill_null(False)).to_series().to_list()
            theirs = judged[rule.reason].to_pylist()
            agree = [mine == other for mine, other in zip(ours, theirs, strict=True)]
            dropped = {"num_dropped": sum(ours), "peer_num_dropped": sum(theirs)}
            is_met &= report(f"{words} {rule.reason}", agree, sources, goal, **dropped)
    texts = documents["text"].combine_chunks().cast(pa.large_binary())
    for words, goal in (("datatrove-en", 0.999), ("uax29", None)):
        lists = _rust.split_words(texts, words).to_pylist()
        agree = [mine == other for mine, other in zip(lists, given.to_pylist(), strict=True)]
        is_met &= report(f"{words} words", agree, sources, goal)
    return is_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="400 documents instead of 4,500")
    parser.add_argument("--data", type=Path, action="append", help="folder of Parquet files; may be repeated")
    parser.add_argument("--peers", "--peer-python", help="interpreter that has datatrove and spaCy")
    arguments = parser.parse_args()
    if not arguments.peers:
        print("parity_datatrove: skipped, as it needs --peers", file=sys.stderr)
        return 0
    folders = arguments.data or [folder for name in ("corpus", "web") if (folder := SHARED / name).is_dir()]
    if not folders:
        print(f"no data under {SHARED}: using the sample of this repository", file=sys.stderr)
        folders = [ROOT / "sample"]
    documents = sample(folders, 400 if arguments.quick else 4500)
    return 0 if compare(documents, judge(arguments.peers, documents)) else 1


if __name__ == "__main__":
    sys.exit(main())
