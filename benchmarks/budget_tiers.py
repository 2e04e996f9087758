"""What `curate plan` chooses of a real corpus as the budget grows: tiers of a classifier, one JSON line.

Trains a small classifier (edited prose against web pages, mail and forums of the corpus), measures the corpus
once, then plans ever larger budgets by marginal utility under the published prior of tiers. The claim
of "Scaling Laws for Data Filtering" (arXiv:2404.07177) is checked: with more tokens more tiers are taken,
repeats of the best grow, and they stop where fresh documents of a lower tier pay more. Says so and ends where
`../shared/data` is missing.
"""

import argparse
import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import curate

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
GOOD = ("textbooks", "wikipedia", "news_abc", "news_bbc", "speeches", "masc")
BAD = ("c4", "usenet", "email_spam", "email_ham", "webtext", "product_reviews")
QUANTILES = [0.1, 0.2, 0.3, 0.4]
TIERS = ("q0-10", "q10-20", "q20-30", "q30-40", "q40-100")
FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--keep", type=Path, help="folder for the runs and their reports")
    arguments = parser.parse_args()
    if not (arguments.data / "corpus").is_dir():
        print(f"no data under {arguments.data}: nothing is measured", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments.data, arguments.keep or Path(folder))))
    return 0


def measure(data: Path, folder: Path) -> dict[str, Any]:
    """Plan all budgets and check what is chosen."""
    model = train(data, folder / "prose.bin")
    recipe = recipe_of(data, folder, model)
    unique = curate.plan(recipe).pools()["num_unique_tokens"].sum()
    rows, seconds = [], []
    for fraction in FRACTIONS:
        begun = time.perf_counter()
        run = curate.plan(
            {**recipe, "name": f"budget-{fraction}", "run": str(folder / f"budget-{fraction}")},
            tokens=int(unique * fraction),
        )
        seconds.append(time.perf_counter() - begun)
        pools = {row["pool"]: row for row in run.pools().to_dicts()}
        epochs = [pools[tier]["planned_tokens"] / pools[tier]["num_unique_tokens"] for tier in TIERS]
        rows.append({"budget": fraction, "epochs": [round(value, 3) for value in epochs]})
    taken = [sum(value > 0.001 for value in row["epochs"]) for row in rows]
    best = [row["epochs"][0] for row in rows]
    fresh = [row["epochs"][0] for before, row in pairwise(rows) if before["epochs"][1] < 1]
    return {
        "benchmark": "budget_tiers",
        "unique_tokens": unique,
        "tiers": TIERS,
        "plans": rows,
        "tiers_widen": taken == sorted(taken) and taken[-1] > taken[0],
        "repeats_grow": best == sorted(best) and best[-1] > 1,
        "repeats_of_the_best_while_the_second_tier_is_fresh_at_most": max(fresh, default=0.0),
        "plan_s": round(sorted(seconds)[len(seconds) // 2], 2),
    }


def train(data: Path, path: Path) -> Path:
    """Edited prose against the rest, as benchmarks/quality_classifier.py."""
    labels = {
        label: [
            {"paths": f"{data}/corpus/*.parquet", "where": f"source IN ({', '.join(map(repr, sources))})"}
        ]
        for label, sources in (("hq", GOOD), ("cc", BAD))
    }
    settings = {"bucket": 200_000, "dim": 50, "epoch": 5, "lr": 0.2}
    trained = curate.train_classifier(
        {
            "stratify": "source",
            "labels": labels,
            "docs_per_label": 3000,
            "fasttext": settings,
            "output": str(path),
        }
    )
    return trained.path


def recipe_of(data: Path, folder: Path, model: Path) -> dict[str, Any]:
    """Tiers of the classifier's score, budgets by marginal utility."""
    return {
        "name": "everything",
        "run": str(folder / "everything"),
        "store": str(folder / "store"),
        "input": {"paths": [f"{data}/corpus/*.parquet"], "text": "text", "id": "id", "source": "source"},
        "measure": ["tokens", {"classifier": {"name": "quality", "model": str(model), "score": "hq"}}],
        "dedup": {"exact": {"keep": "first"}},
        "plan": {
            "pools": {"tiers": {"of": "quality.score", "quantiles": QUANTILES}},
            "budget": 1.0,
            "allocate": {"rule": "marginal", "prior": "qqt_tmars_imagenet", "cap": 10},
            "select": {"method": "top", "score": "quality.score"},
        },
    }


if __name__ == "__main__":
    sys.exit(main())
