"""Tables in Markdown of what was measured, for docs/dedup.md."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from neardup.scores import BINS, WIDE

Runs = Mapping[str, Sequence[Mapping[str, Any]]]
"""By side, what each run of it was worth."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if value < 1 else "1"


def recalls(name: str, runs: Runs, theories: Mapping[tuple[float, float], float]) -> str:
    """Recall by bin of exact similarity."""
    rows = []
    for low, high in sorted({*BINS, *WIDE}):
        counts = [run["recall"][low, high] for values in runs.values() for run in values]
        num_pairs = counts[0][1]
        if not num_pairs:
            continue
        cells = [
            share(fmean(run["recall"][low, high][0] for run in values) / num_pairs)
            for values in runs.values()
        ]
        limits = f"{low:g}-{high:g}"
        rows.append([limits, f"{num_pairs:,}", share(theories[low, high]), *cells])
    return f"### Recall, {name}\n\n" + table(["similarity", "pairs", "S-curve", *runs], rows)


def summary(name: str, runs: Runs) -> str:
    """Precision, clusters and removals; means over the runs of a side."""
    header = ["", "pairs", "precision", "F1", "ARI", "removed", "removed wrongly", "similar, both kept"]
    rows = []
    for side, values in runs.items():
        similar, all_pairs = (fmean(run["precision"][at] for run in values) for at in (0, 1))
        means = {key: fmean(run[key] for run in values) for key in ("f1", "ari", "removed", "wrong", "left")}
        rows.append(
            [
                side,
                f"{all_pairs:,.0f}",
                share(similar / all_pairs) if all_pairs else "-",
                *(share(means[key]) for key in ("f1", "ari")),
                *(f"{means[key]:,.1f}".removesuffix(".0") for key in ("removed", "wrong", "left")),
            ]
        )
    return f"### Clusters and removals, {name}\n\n" + table(header, rows)


def families(runs: Runs) -> str:
    """Documents that went for one of another family, by exact similarity; the first run of each side."""
    header = ["", "of another family", "similarity .8 and more", "less", "least"]
    rows = []
    for side, values in runs.items():
        found = [merge["similarity"] for merge in values[0]["merges"] if merge["is_other_family"]]
        above = sum(value >= 0.8 for value in found)
        least = share(min(found)) if found else "-"
        rows.append([side, f"{len(found):,}", f"{above:,}", f"{len(found) - above:,}", least])
    return table(header, rows)


def worst(values: Sequence[Mapping[str, Any]], count: int = 15) -> str:
    """The least similar merges of different families in one run."""
    found = [merge for merge in values[0]["merges"] if merge["is_other_family"]]
    found = sorted(found, key=lambda merge: (merge["similarity"], merge["removed"]))[:count]
    rows = [[share(each["similarity"]), each["family"], each["kept_family"]] for each in found]
    return table(["similarity", "removed", "kept"], rows)
