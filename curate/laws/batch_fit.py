"""Fit the batch-aware law: in the three published stages, or all parameters at once.

Stages (Su et al. 2024, arXiv:2403.06563): (1) N_c and alpha_N from converged losses; (2) S_c and alpha_S
from runs with a batch far above the critical one; (3) for each of several losses the hyperbola of steps and
examples over batch sizes gives a critical batch, and a line through these B_star and alpha_B. The joint fit
starts from a grid, or from what the stages found.

Cost: stages take a second; the joint fit solves the law at each try, some seconds for 64 runs. Not here: the
law (batch.py).
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import DataError
from curate.laws.amounts import Floats
from curate.laws.batch import BatchLaw, solve
from curate.laws.fitting import Data, Fit, Loss, fit, positive
from curate.laws.law import Fitted, columns_of
from curate.laws.parameters import Parameter

L = TypeVar("L", bound=BatchLaw)

SIZE = (
    Parameter(name="ln_n_c", low=-20.0, high=100.0, starts=(15.0, 30.0, 40.0)),
    Parameter(name="alpha_n", low=0.001, high=2.0, starts=(0.05, 0.15, 0.4), log=True),
)
STEPS = (
    Parameter(name="ln_s_c", low=-20.0, high=60.0, starts=(3.0, 8.0, 13.0)),
    Parameter(name="alpha_s", low=0.01, high=5.0, starts=(0.3, 0.7, 1.2), log=True),
)
BATCH = (
    Parameter(name="ln_b_star", low=-20.0, high=60.0, starts=(10.0, 15.0, 20.0)),
    Parameter(name="alpha_b", low=0.01, high=20.0, starts=(0.1, 0.3, 1.0), log=True),
)


def fit_runs(  # over: settings of the fitter
    law: type[L],
    columns: Mapping[str, Floats],
    *,
    start: Mapping[str, float] | None = None,
    loss: Loss = "huber",
    delta: float = 1e-3,
    bootstrap: int = 0,
    seed: int = 42,
) -> Fitted[L]:
    """Fit runs with the columns params, steps, batch, loss; residuals are ln predicted - ln observed.

    Raises:
        DataError: a number is not above 0, or there are too few runs.
    """
    positive(columns, BatchLaw.columns)
    found = fit(
        [*SIZE, *STEPS, *BATCH], _residuals, columns,
        start=start, loss=loss, delta=delta, bootstrap=bootstrap, seed=seed, max_starts=12,
    )  # fmt: skip
    return Fitted(law(**found.values), {"": found})


def fit_stages(
    converged: pl.DataFrame,
    large_batch: pl.DataFrame,
    contours: pl.DataFrame,
    *,
    bootstrap: int = 0,
    seed: int = 42,
) -> Fitted[BatchLaw]:
    """Fit in three stages.

    Args:
        converged: params, loss of runs that went on until nothing changed.
        large_batch: params, steps, loss of runs with a batch far above the critical one.
        contours: loss, batch, steps: after how many steps of a batch one model had a loss; at least two
            batches for each of at least three losses. `contour_points` finds them in training curves.
        bootstrap: Refits of each stage for the intervals.
        seed: Of the bootstrap.

    Raises:
        DataError: a number is not above 0, or there are too few.
    """
    first = columns_of(converged, ["params", "loss"], at="converged")
    second = columns_of(large_batch, ["params", "steps", "loss"], at="large_batch")
    positive(first, list(first), at="converged")
    positive(second, list(second), at="large_batch")
    size = fit(SIZE, _size_residuals, first, bootstrap=bootstrap, seed=seed)
    held = [
        Parameter(name=each.name, low=each.low, high=each.high, fixed=size.values[each.name]) for each in SIZE
    ]
    steps = fit([*held, *STEPS], _step_residuals, second, bootstrap=bootstrap, seed=seed)
    losses, critical = critical_batches(contours)
    batch = fit(
        BATCH, _batch_residuals, {"loss": losses, "critical": critical}, bootstrap=bootstrap, seed=seed
    )
    law = BatchLaw(**{**steps.values, **batch.values})
    fits: dict[str, Fit] = {"size": size, "steps": steps, "batch": batch}
    return Fitted(law, fits)


def contour_points(curves: pl.DataFrame, losses: npt.ArrayLike) -> pl.DataFrame:
    """Find where training curves of one model cross given losses: columns loss, batch, steps.

    `curves` has the columns batch, steps, loss; each batch is one curve. Steps are interpolated in
    logarithms. A loss that a curve does not cross is left out of it.
    """
    columns = columns_of(curves, ["batch", "steps", "loss"], at="curves")
    positive(columns, list(columns), at="curves")
    rows = []
    for batch in np.unique(columns["batch"]):
        own = np.flatnonzero(columns["batch"] == batch)
        own = own[np.argsort(columns["steps"][own], kind="stable")]
        falling, steps = np.minimum.accumulate(columns["loss"][own]), columns["steps"][own]
        for loss in np.atleast_1d(np.asarray(losses, dtype=np.float64)).tolist():
            if falling[-1] <= loss < falling[0]:
                at = int(np.argmax(falling <= loss))
                ends = np.log(falling[at - 1 : at + 1])
                part = (ends[0] - np.log(loss)) / (ends[0] - ends[1])
                logs = np.log(steps[at - 1 : at + 1])
                rows.append((loss, float(batch), float(np.exp(logs[0] + part * (logs[1] - logs[0])))))
    return pl.DataFrame(
        rows, schema={"loss": pl.Float64, "batch": pl.Float64, "steps": pl.Float64}, orient="row"
    )


def critical_batches(contours: pl.DataFrame) -> tuple[Floats, Floats]:
    """Losses, and the critical batch of each by its hyperbola: S = S_min + E_min / B, a line in 1 / B.

    The line is weighted by 1 / S, so that relative errors of steps count alike.

    Raises:
        DataError: a loss has fewer than two batches, or larger batches take more steps.
    """
    columns = columns_of(contours, ["loss", "batch", "steps"], at="contours")
    positive(columns, list(columns), at="contours")
    losses = np.unique(columns["loss"])
    found = []
    for loss in losses.tolist():
        own = columns["loss"] == loss
        batch, steps = columns["batch"][own], columns["steps"][own]
        if len(np.unique(batch)) < 2:
            raise DataError(f"contours: a loss has two batches or more: {loss:g} has {len(np.unique(batch))}")
        system = np.stack([1 / steps, 1 / batch / steps], axis=1)
        scale = np.abs(system).max(axis=0)
        least, examples = (
            np.linalg.lstsq(system / scale, np.ones(len(steps)), rcond=None)[0] / scale
        ).tolist()
        if least <= 0 or examples <= 0:
            raise DataError(
                f"contours: steps at the loss {loss:g} do not lie on a hyperbola: {steps.tolist()!r:.80}",
                hint="give batches on both sides of the critical one",
            )
        found.append(examples / least)
    return losses, np.array(found)


def _residuals(values: Mapping[str, float], data: Data) -> Floats:
    predicted = solve(
        values["alpha_n"] * (values["ln_n_c"] - np.log(data["params"])),
        np.log(data["steps"]),
        np.log(data["batch"]),
        values["ln_s_c"],
        values["alpha_s"],
        values["ln_b_star"],
        values["alpha_b"],
    )
    return np.asarray(np.log(predicted) - np.log(data["loss"]))


def _size_residuals(values: Mapping[str, float], data: Data) -> Floats:
    return np.asarray(values["alpha_n"] * (values["ln_n_c"] - np.log(data["params"])) - np.log(data["loss"]))


def _step_residuals(values: Mapping[str, float], data: Data) -> Floats:
    final = values["alpha_n"] * (values["ln_n_c"] - np.log(data["params"]))
    over = values["alpha_s"] * (values["ln_s_c"] - np.log(data["steps"]))
    return np.asarray(np.logaddexp(final, over) - np.log(data["loss"]))


def _batch_residuals(values: Mapping[str, float], data: Data) -> Floats:
    return np.asarray(
        values["ln_b_star"] - np.log(data["loss"]) / values["alpha_b"] - np.log(data["critical"])
    )
