"""Laws of mixtures on held-back halves of the published proxy runs of RegMix, against the linear baseline.

The 512 runs are dealt into two halves by a seed; each half is predicted by the law fitted on the other. Then
the same with fewer runs to fit (log-linear and boosted, the loss on Pile-CC, 256 test runs). Reads
tests/golden/regmix. Run: python benchmarks/mixture_halves.py; some minutes. Needs lightgbm.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from curate.laws.mixture.boosted import Boosted
from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.polynomial import Polynomial
from curate.laws.mixture.runs import MixtureRuns, runs_of
from curate.laws.mixture.targets import MixtureLaw
from curate.laws.mixture.validation import cross_validate, held_out, mean_spearman

FOLDER = Path(__file__).parents[1] / "tests" / "golden" / "regmix"
LAWS: dict[str, Callable[[MixtureRuns], MixtureLaw]] = {
    "linear": lambda runs: Polynomial.fit(runs).law,
    "quadratic": lambda runs: Polynomial.fit(runs, degree=2).law,
    "log-linear": lambda runs: LogLinear.fit(runs).law,
    "boosted": lambda runs: Boosted.fit(runs).law,
}
SIZES = (32, 54, 75, 128, 256, 512)
SUBSETS = 5


def read(part: str) -> MixtureRuns:
    """Training or test runs."""
    mixtures = pl.read_csv(FOLDER / f"{part}_mixture_1m.csv")
    frame = mixtures.join(pl.read_csv(FOLDER / f"{part}_pile_loss_1m.csv"), on="index").drop("index")
    return runs_of(
        frame.rename(
            lambda name: (
                name.replace("train_the_pile_", "share.")
                .replace("metric/the_pile_", "loss.")
                .replace("_val_loss", "")
            )
        )
    )


def halves(runs: MixtureRuns) -> None:
    """Print rank correlation and error over both halves."""
    print("| law | Spearman x 100, mean of 13 | least of 13 | Pile-CC | mean abs. error | fit, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, fit in LAWS.items():
        started = time.monotonic()
        found = cross_validate(runs, fit, folds=2, seed=0)
        elapsed = (time.monotonic() - started) / 2
        ranks = {target: 100 * (each.spearman or 0.0) for target, each in found.items()}
        error = float(np.mean([each.mean_abs_error for each in found.values()]))
        print(
            f"| {name} | {100 * (mean_spearman(found) or 0.0):.2f} | {min(ranks.values()):.2f} | "
            f"{ranks['pile_cc']:.2f} | {error:.4f} | {elapsed:.1f} |",
            flush=True,
        )


def sizes(train: MixtureRuns, test: MixtureRuns) -> None:
    """Print the rank correlation for Pile-CC by number of runs."""
    train, test = train.of_targets(["pile_cc"]), test.of_targets(["pile_cc"])
    print("\n| law | " + " | ".join(map(str, SIZES)) + " |")
    print("| --- | " + " | ".join("---:" for _ in SIZES) + " |")
    for name in ("linear", "log-linear", "boosted"):
        cells = []
        for size in SIZES:
            ranks = []
            for seed in range(SUBSETS if size < train.num_runs else 1):
                rows = np.random.default_rng(seed).choice(train.num_runs, size, replace=False)
                ranks.append(held_out(LAWS[name](train.take(np.sort(rows))), test)["pile_cc"].spearman or 0.0)
            cells.append(f"{np.mean(ranks):.3f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    halves(read("train"))
    sizes(read("train"), read("test"))
