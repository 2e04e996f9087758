"""Laws of repeated data fitted on one half of the published runs, judged on the other half.

Data: the 182 runs of "Scaling Data-Constrained Language Models" (`tests/golden/datablations`). Halves: random
ones by seed, each used both ways; and the half of less compute (6 N D), of smaller models, or of fewer
epochs, from which the other is extrapolated. Errors are mean absolute differences of ln loss on the half that
was not fitted. The published worth of repeats was fitted to all of the runs, so it saw the half that is
judged. Usage: python benchmarks/law_halves.py [--seeds 5]

Cost: about 6 s of one core a split. The table for docs/laws.md goes to stdout.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.laws.chinchilla import Chinchilla
from curate.laws.data_constrained import DataConstrained
from curate.laws.power import PowerLaw

RUNS = Path(__file__).parents[1] / "tests/golden/datablations/runs_fit182.csv"
Floats = npt.NDArray[np.float64]
Predictor = Callable[[pl.DataFrame, pl.DataFrame], Floats]


def runs() -> pl.DataFrame:
    """The published runs under the names of the law's columns."""
    return pl.read_csv(RUNS).select(
        pl.col("params_N").cast(pl.Float64).alias("params"),
        pl.col("tokens_D").cast(pl.Float64).alias("tokens"),
        pl.col("unique_tokens_U").cast(pl.Float64).alias("unique"),
        pl.col("val_loss").alias("loss"),
    )


def by_compute(known: pl.DataFrame, asked: pl.DataFrame) -> Floats:
    """A power law with a floor in compute."""
    flops = 6 * pl.col("params") * pl.col("tokens")
    return PowerLaw.fit_table(known.with_columns(x=flops)).law.predict_table(asked.with_columns(x=flops))


LAWS: dict[str, Predictor] = {
    "data-constrained, all fitted": lambda known, asked: DataConstrained.fit_table(known).law.predict_table(
        asked
    ),
    "data-constrained, repeats fitted": lambda known, asked: DataConstrained.fit_table(
        known, free="repeats"
    ).law.predict_table(asked),
    "data-constrained, published worth of repeats": lambda known, asked: DataConstrained.fit_table(
        known, free="fresh"
    ).law.predict_table(asked),
    "data-constrained, published": lambda known, asked: DataConstrained.published().predict_table(asked),
    "Chinchilla, fitted": lambda known, asked: Chinchilla.fit_table(known).law.predict_table(asked),
    "Chinchilla, published": lambda known, asked: Chinchilla.published().predict_table(asked),
    "power law of compute": by_compute,
}
"""First the refits, then the baselines."""
NUM_REFITS = 2


def splits(frame: pl.DataFrame, num_seeds: int) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """Name, fitted half, judged half."""
    half = frame.height // 2
    for seed in range(num_seeds):
        order = np.random.Generator(np.random.PCG64(seed)).permutation(frame.height)
        one, other = frame[order[:half]], frame[order[half:]]
        yield "random", one, other
        yield "random", other, one
    for name, key in {
        "less to more compute": pl.col("params") * pl.col("tokens"),
        "smaller to larger models": pl.col("params"),
        "fewer to more epochs": pl.col("tokens") / pl.col("unique"),
    }.items():
        ordered = frame.with_columns(key=key).sort("key", "params", "tokens", "unique").drop("key")
        yield name, ordered[:half], ordered[half:]


def main() -> None:
    parser = argparse.ArgumentParser(description="Held-back halves of the published runs.")
    parser.add_argument("--seeds", type=int, default=5, help="random halves, each used both ways")
    given = parser.parse_args()
    errors: dict[str, dict[str, list[float]]] = {}
    for name, known, asked in splits(runs(), given.seeds):
        observed = np.log(asked["loss"].to_numpy())
        for law, predict in LAWS.items():
            error = float(np.abs(np.log(predict(known, asked)) - observed).mean())
            errors.setdefault(name, {}).setdefault(law, []).append(error)
    print(f"| law | {' | '.join(errors)} |")
    print(f"| --- {'| --- ' * len(errors)}|")
    for law in LAWS:
        print(f"| {law} | {' | '.join(f'{np.mean(found[law]):.4f}' for found in errors.values())} |")
    for name, found in errors.items():
        refits = [np.mean(found[law]) for law in list(LAWS)[:NUM_REFITS]]
        rest = {law: np.mean(found[law]) for law in list(LAWS)[NUM_REFITS:]}
        best = min(rest, key=lambda law: rest[law])
        verdict = "at least as good as" if min(refits) <= rest[best] else "WORSE than"
        print(f"{name}: {min(refits):.4f} is {verdict} the best baseline, {rest[best]:.4f} of {best}")


if __name__ == "__main__":
    main()
