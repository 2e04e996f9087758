"""Accuracy of lid.176.ftz on documents with gold languages: our stage and the reference binding, which agree.

Sources: `lid_sentences` (one sentence each, 75 languages) and `udhr` (the Universal Declaration of Human
Rights in some 260) of `../shared/data/multilingual`; without that folder nothing is measured. Gold codes are
ISO 639 without script or region; `LABEL_OF` names those that the model calls otherwise. Documents in
languages that the model has no label for, and those without a gold language, are counted apart: no answer to
them is right. A label is right only if it is the gold one: `hr` or `sh` for `bs` is wrong. Prints two JSON
objects per source, its total and its languages, and the worst languages on stderr. Cost: seconds.
"""

import argparse
import collections
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fasttext import LID, SCRIPT, SHARED, reference_python

from curate.measure import Language

SOURCES = ("lid_sentences", "udhr")
PEER = "fasttext-wheel 0.9.2"
LABEL_OF = {
    "cat": "ca",  # the code of three letters, once
    "nb": "no",  # `no` is the Wikipedia in Bokmal
    "gsw": "als",  # the Wikipedia in Alemannic calls itself so
    "zlm": "ms",  # Malay, the language; `ms` is the group that it is of
    "lah": "pnb",  # Lahnda, the group; Western Panjabi is of it
    **dict.fromkeys(("quh", "quy", "qvh", "qvn", "qwh", "qxu"), "qu"),  # languages of the group Quechua
}
"""Labels of the model by gold code, where they differ."""
NO_GOLD = ("", "und")
NUM_SHOWN = 30


def model_labels(path: Path) -> frozenset[str]:
    """Labels of a fastText model, from its dictionary."""
    data, place, labels = path.read_bytes(), 92, set()
    size, _, num_labels = struct.unpack_from("<iii", data, 64)
    for index in range(size):
        end = data.index(b"\0", place)
        if index >= size - num_labels:
            labels.add(data[place:end].decode().removeprefix("__label__"))
        place = end + 10
    return frozenset(labels)


def documents(folder: Path) -> pa.Table:
    """Text, source and gold language of the documents that have one."""
    columns = ["text", "source", "lang"]
    table = pa.concat_tables(
        pq.read_table(path, columns=columns) for path in sorted(folder.glob("*.parquet"))
    )
    return table.filter(pc.is_in(table["source"], pa.array(SOURCES))).combine_chunks()


def our_labels(model: Path, texts: pa.ChunkedArray) -> list[str | None]:
    found = Language(model=model).annotate(texts.cast(pa.large_string()).combine_chunks())
    labels: list[str | None] = found.column("language.label").to_pylist()
    return labels


def peer_labels(python: Path, model: Path, texts: pa.ChunkedArray) -> list[str | None]:
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "lines.parquet", Path(folder) / "labels.parquet"
        pq.write_table(pa.table({"text": pc.replace_substring(texts, "\n", " ")}), given)
        subprocess.run([str(python), str(SCRIPT), "predict", str(model), str(given), str(out)], check=True)
        labels: list[str | None] = pq.read_table(out)["label"].to_pylist()
        return labels


def languages(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per gold language: documents, right answers of both sides, and the most frequent wrong one of ours."""
    groups = collections.defaultdict(list)
    for row in rows:
        groups[row["lang"]].append(row)
    found = []
    for lang, group in groups.items():
        wrong = collections.Counter(row["ours"] for row in group if row["ours"] != row["gold"])
        figure = {"lang": lang, "label": group[0]["gold"], "documents": len(group)}
        figure |= {side: sum(row[side] == row["gold"] for row in group) for side in ("ours", "peer")}
        found.append(figure | {"mostly_wrong": wrong.most_common(1)[0][0] if wrong else None})
    return sorted(found, key=lambda each: (each["ours"] / each["documents"], each["lang"]))


def total(
    source: str, rows: list[dict[str, Any]], known: list[dict[str, Any]], has_peer: bool
) -> dict[str, Any]:
    """The figure of a source: accuracy over the documents in languages that the model knows."""
    correct = {side: sum(row[side] == row["gold"] for row in known) for side in ("ours", "peer")}
    differ = sum(row["ours"] != row["peer"] for row in rows) if has_peer else None
    return {
        "name": f"lid.176.ftz accuracy {source}",
        "value": round(correct["ours"] / max(1, len(known)), 6),
        "unit": "of documents",
        "peer": PEER if has_peer else None,
        "ratio": round(correct["ours"] / max(1, correct["peer"]), 6) if has_peer else None,
        "goal": 1,
        "met": differ == 0 if has_peer else None,
        "runs": 1,
        "documents": len(known),
        "correct": correct["ours"],
        "peer_correct": correct["peer"] if has_peer else None,
        "labels_that_differ": differ,
        "documents_of_unknown_languages": sum(row["lang"] not in NO_GOLD for row in rows) - len(known),
        "documents_without_gold": sum(row["lang"] in NO_GOLD for row in rows),
    }


def report(source: str, rows: list[dict[str, Any]], labels: frozenset[str], *, has_peer: bool) -> bool:
    """Print the figures of a source; whether both sides give the same labels."""
    known = [row for row in rows if row["gold"] in labels]
    figure = total(source, rows, known, has_peer)
    print(json.dumps(figure))
    table = languages(known)
    print(json.dumps({"name": f"lid.176.ftz languages {source}", "languages": table}), flush=True)
    unknown = {row["lang"] for row in rows if row["gold"] not in labels} - {*NO_GOLD}
    print(
        f"{source}: {len(table)} languages; no label for {len(unknown)}: {' '.join(sorted(unknown))}",
        file=sys.stderr,
    )
    for each in table[:NUM_SHOWN]:
        numbers = "{lang:>5} {label:>5} {documents:5d} {ours:5d} {peer:5d}  {mostly_wrong}".format(**each)
        print(numbers, file=sys.stderr)
    return figure["met"] is not False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--peers", "--peer-python", help="interpreter of the peers; none: ours alone")
    arguments = parser.parse_args()
    model = arguments.data / LID
    if not model.exists():
        print(f"no lid.176.ftz, nothing to measure: {model}", file=sys.stderr)
        return 0
    python = reference_python(arguments.peers)
    table = documents(arguments.data / "multilingual")
    ours = our_labels(model, table["text"])
    peer = peer_labels(python, model, table["text"]) if python else [None] * len(ours)
    rows = [
        {"source": source, "lang": lang, "gold": LABEL_OF.get(lang, lang), "ours": our, "peer": their}
        for source, lang, our, their in zip(
            table["source"].to_pylist(), table["lang"].to_pylist(), ours, peer, strict=True
        )
    ]
    labels = model_labels(model)
    are_equal = [
        report(source, [row for row in rows if row["source"] == source], labels, has_peer=python is not None)
        for source in SOURCES
    ]
    return 0 if all(are_equal) else 1


if __name__ == "__main__":
    sys.exit(main())
