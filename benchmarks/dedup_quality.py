"""What near-duplicate removal is worth: against exact similarities, on labelled pairs and on traps.

Sets: licences, revisions and news with the exact similarity of all their pairs, and three traps of texts that
look alike (`neardup/data.py`). Sides: ours as it runs by default, with all pairs of a band compared
(`max_group: 4096`), and unverified (`verify: none`), each with ten seeds; peers once, each in its own way
(`peers/near_duplicates.py`). All use word 5-grams and 14 bands of 8 rows; gaoya and text-dedup are
given texts that consist of the same words as ours, datatrove splits words as it does.

Recall is that of pairs by bin of exact similarity, beside the mean of the S-curve over the same pairs. A
document is removed wrongly if none that stays in its cluster has a similarity of .8 with it. Goals: precision
1 of what is verified; recall, mean over the seeds, at least .99 of the S-curve in each bin of 200 pairs
(`error` is the standard error of that ratio: pairs of licences share documents, so below .6 a seed is off by
a quarter). Below .7 the unverified side misses it for a reason: slots of fast similarity sketching repeat
each other less than independent ones, so the curve is steeper than the S-curve. For random sets of 100
shingles it finds .90 of it at .55 and 1.013 at .825, classic MinHash 1.02 and 1.001.

Data: `../shared/data` (`--data`); without it there is nothing to measure, and that is all it says.
`--markdown FILE` writes the tables, and every merge with its similarity to `FILE` with `.merges.jsonl`.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from neardup import data, scores, sides, tables
from neardup.data import Documents
from neardup.sides import NUM_BANDS, NUM_ROWS, PEERS, ROOT, THRESHOLD, Found

from curate.dedup.scurve import Bands

OURS, COMPLETE, UNVERIFIED = "curate", "curate, all pairs", "curate, unverified"
SETTINGS: dict[str, dict[str, Any]] = {
    OURS: {},
    COMPLETE: {"max_group": 4096},
    UNVERIFIED: {"verify": "none", "max_group": 4096},
}
MIN_PAIRS, RECALL_GOAL = 200, 0.99
ALL_BINS = (*scores.BINS, *scores.WIDE)
NORMALIZED = ("gaoya", "text-dedup")
"""Peers that are given the words of our side."""

Scored = dict[str, Any]


def score(documents: Documents, found: Found) -> Scored:
    """Everything that is said about what one side found."""
    truth, removals = documents.truth, scores.merges(found, documents.shingles)
    f1, ari = scores.agreement(found.clusters, truth.components(THRESHOLD))
    return {
        "recall": {each: scores.recall(truth, found, *each) for each in ALL_BINS},
        "precision": scores.precision(truth, found, THRESHOLD),
        "f1": f1,
        "ari": ari,
        "removed": len(removals.removed),
        "wrong": scores.num_wrong(removals, THRESHOLD),
        "left": scores.num_left(truth, found.is_removed, THRESHOLD),
        "merges": list_merges(documents, removals),
    }


def list_merges(documents: Documents, removals: scores.Merges) -> list[dict[str, Any]]:
    families = documents.families
    columns = (removals.removed.tolist(), removals.kept.tolist(), removals.similarity.tolist())
    return [
        {
            "set": documents.name,
            "removed": removed,
            "kept": kept,
            "similarity": round(similarity, 6),
            "family": families[removed],
            "kept_family": families[kept],
            "is_other_family": families[removed] != families[kept],
        }
        for removed, kept, similarity in zip(*columns, strict=True)
    ]


def figure(name: str, value: float, unit: str, **more: Any) -> None:
    """Print one figure."""
    keys = {"peer": None, "ratio": None, "goal": None, "met": None, "runs": 1, "spread": [value, value]}
    found = {"name": name, "value": value, "unit": unit, **keys, **more}
    found["value"], found["spread"] = round(value, 6), [round(each, 6) for each in found["spread"]]
    print(json.dumps(found), flush=True)


def report_recall(documents: Documents, side: str, runs: Sequence[Scored]) -> None:
    """Recall of one of our sides against the S-curve, in the bins that it can find."""
    bands = Bands(NUM_BANDS, NUM_ROWS)
    for low, high in ALL_BINS:
        num_pairs = runs[0]["recall"][low, high][1]
        if not num_pairs or (side != UNVERIFIED and low < THRESHOLD):
            continue
        expected = scores.theory(documents.truth, bands, low, high)
        values = [run["recall"][low, high][0] / num_pairs for run in runs]
        ratio = fmean(values) / expected
        error = stdev(values) / len(values) ** 0.5 / expected if len(values) > 1 else None
        goal = RECALL_GOAL if num_pairs >= MIN_PAIRS else None
        figure(
            f"dedup quality {documents.name}: recall {low:g}-{high:g}, {side}",
            fmean(values),
            f"of {num_pairs} pairs",
            peer="S-curve",
            ratio=round(ratio, 5),
            goal=goal,
            met=None if goal is None else ratio >= goal,
            runs=len(runs),
            spread=[min(values), max(values)],
            error=None if error is None else round(error, 5),
        )


def report_side(documents: Documents, side: str, runs: Sequence[Scored]) -> None:
    """Precision, clusters and removals."""
    name = f"dedup quality {documents.name}"
    shares = [run["precision"][0] / run["precision"][1] for run in runs if run["precision"][1]]
    if shares:
        goal = 1.0 if side in (OURS, COMPLETE) else None
        spread, met = [min(shares), max(shares)], None if goal is None else min(shares) >= goal
        label = f"{name}: precision at {THRESHOLD}, {side}"
        figure(label, fmean(shares), "share of pairs", goal=goal, met=met, runs=len(runs), spread=spread)
    goal = 0 if side in (OURS, COMPLETE) else None
    for key, unit, what in (
        ("wrong", "documents", "removed wrongly"),
        ("removed", "documents", "removed"),
        ("left", "pairs", "similar, both kept"),
        ("f1", "share", "F1 of pairs in clusters"),
        ("ari", "index", "adjusted Rand index"),
    ):
        values = [run[key] for run in runs]
        judged = (
            {"goal": goal, "met": None if goal is None else max(values) <= goal} if key == "wrong" else {}
        )
        spread = [min(values), max(values)]
        figure(f"{name}: {what}, {side}", fmean(values), unit, runs=len(runs), spread=spread, **judged)


def run_ours(documents: Documents, folder: Path, *, num_seeds: int) -> dict[str, list[Scored]]:
    """Our sides with their seeds; traps are there to be fallen into once."""
    seeds = range(1, 1 + (num_seeds if documents.name in data.LABELLED else 1))
    found: dict[str, list[Scored]] = {}
    for side, settings in SETTINGS.items():
        print(f"dedup quality: {documents.name}, {side}", file=sys.stderr, flush=True)
        runs = (sides.ours(documents.path, folder / "ours", seed=seed, **settings) for seed in seeds)
        found[side] = [score(documents, run) for run in runs]
    return found


def run_peers(
    python: Path, sets: Mapping[str, Documents], folder: Path
) -> dict[str, dict[str, list[Scored]]]:
    """Every peer over all sets; by set and peer."""
    found: dict[str, dict[str, list[Scored]]] = {name: {} for name in sets}
    files = [documents.path for documents in sets.values()]
    for peer in PEERS:
        print(f"dedup quality: {peer}", file=sys.stderr, flush=True)
        flags = ["--pairs", *(["--words"] if peer in NORMALIZED else [])]
        if not sides.run_peer(python, peer, files, folder / "peers", flags=flags):
            print(json.dumps({"name": f"dedup quality {peer}", "error": "does not run here"}), flush=True)
            continue
        for name, documents in sets.items():
            theirs = sides.read_peer(peer, documents.path, folder / "peers")
            found[name][peer] = [score(documents, theirs)]
    return found


def write_tables(
    path: Path, sets: Mapping[str, Documents], results: Mapping[str, Mapping[str, list[Scored]]]
) -> None:
    """All tables in one file, and all merges of the first run of each side in another."""
    bands, parts = Bands(NUM_BANDS, NUM_ROWS), []
    for name, runs in results.items():
        documents = sets[name]
        if name in data.LABELLED:
            theories = {each: scores.theory(documents.truth, bands, *each) for each in ALL_BINS}
            parts.append(tables.recalls(name, runs, theories))
        parts.append(tables.summary(name, runs))
    if "licences" in results:
        runs = results["licences"]
        parts.append("### Licences removed for one of another family\n\n" + tables.families(runs))
        parts.append(f"The least similar of {OURS}:\n\n" + tables.worst(runs[OURS]))
    path.write_text("\n".join(parts), encoding="utf-8")
    with path.with_suffix(".merges.jsonl").open("w", encoding="utf-8") as file:
        for runs in results.values():
            for side, values in runs.items():
                file.writelines(json.dumps({"side": side, **merge}) + "\n" for merge in values[0]["merges"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds, no peers, no translations")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--peers", "--peer-python", help="interpreter of the peers; none: skip them")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    arguments = parser.parse_args()
    if not (arguments.data / "neardup").is_dir():
        print(f"no near-duplicate sets under {arguments.data}: nothing is measured", file=sys.stderr)
        return 0
    names = [*data.LABELLED, *data.TRAPS]
    if arguments.quick:
        names.remove("translations")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {each: data.load(each, arguments.data, folder) for each in names}
        num_seeds = 2 if arguments.quick else 10
        results = {each: run_ours(sets[each], folder, num_seeds=num_seeds) for each in names}
        python = None if arguments.quick else sides.peers_python(arguments.peers)
        if python is not None:
            for each, found in run_peers(python, sets, folder).items():
                results[each] |= found
    for each, runs in results.items():
        for side, values in runs.items():
            if side in SETTINGS and each in data.LABELLED:
                report_recall(sets[each], side, values)
            report_side(sets[each], side, values)
    if arguments.markdown is not None:
        write_tables(arguments.markdown, sets, results)
        print(f"tables: {arguments.markdown}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
