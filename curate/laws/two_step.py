"""Accuracy on a task from compute, in two steps: loss by a power law with a floor, accuracy by a sigmoid.

    L(C) = floor + (scale / C)**exponent
    accuracy = low + (high - low) / (1 + exp(slope (L - midpoint)))
as the baselines of DataDecide (Magnusson et al. 2025, arXiv:2504.11393). C is any measure of size: FLOPs,
tokens, parameters. The second step may be fitted on more points than the first: checkpoints on the way have a
loss and an accuracy, too. DataDecide finds that this decides between recipes no better than ranking them at
one small scale with the same compute: see ranking.py.

Both steps are refitted in a bootstrap of residuals; where both have the same points they have the same draws,
so that a run whose loss and accuracy are off together stays so. `predict_intervals` carries the draws through
both steps; they are intervals of the curve, not of one more noisy run. Where accuracy falls while the loss
falls, `fit` refuses (downstream.py).

Cost: a fit takes a tenth of a second, a bootstrap of 200 some seconds. Not here: which proxy to rank by.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.amounts import amounts, within
from curate.laws.downstream import alignment
from curate.laws.fitting import Data, Fit, checked_data, fit, positive
from curate.laws.law import Fitted, Json, columns_of, known_settings
from curate.laws.parameters import Floats, Parameter
from curate.laws.power import PowerLaw, fit_curves

LOSS_DELTA = 1e-3
ACCURACY_DELTA = 0.01
"""Size from which on a residual of accuracy counts linearly."""
MAX_EXPONENT = 500.0


def sigmoid(loss: Floats, low: Any, high: Any, slope: Any, midpoint: Any) -> Floats:
    """Accuracy at a loss; falls from `high` to `low`."""
    steep = np.clip(slope * (loss - midpoint), -MAX_EXPONENT, MAX_EXPONENT)
    return np.asarray(low + (high - low) / (1.0 + np.exp(steep)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoStep(Json):
    """Loss from compute, accuracy from loss."""

    name: ClassVar[str] = "two_step"
    columns: ClassVar[tuple[str, ...]] = ("compute", "loss", "accuracy")

    loss: PowerLaw
    """First step: one curve."""
    low: float
    """Accuracy at an infinite loss."""
    high: float
    """Accuracy that no loss surpasses."""
    slope: float
    """Above 0, per nat."""
    midpoint: float
    """Loss half way between."""

    def __post_init__(self) -> None:
        if len(self.loss.groups) != 1:
            raise ConfigError(f"{self.name}.loss is one curve: {len(self.loss.groups)} groups")
        if not 0 <= self.low < self.high <= 1:
            raise ConfigError(f"{self.name}: 0 <= low < high <= 1: {self.low}, {self.high}")
        within(self.name, "slope", self.slope, 0.0)
        within(self.name, "midpoint", self.midpoint, -math.inf)

    def accuracy(self, loss: npt.ArrayLike) -> Floats:
        """Second step alone.

        Raises:
            DataError: a loss is not above 0.
        """
        return sigmoid(amounts(loss, "loss"), self.low, self.high, self.slope, self.midpoint)

    def predict(self, compute: npt.ArrayLike) -> Floats:
        """Accuracy after so much compute.

        Raises:
            DataError: compute is not above 0.
        """
        losses = self.loss.predict(amounts(compute, "compute"), group=self.loss.groups[0])
        return sigmoid(losses, self.low, self.high, self.slope, self.midpoint)

    @classmethod
    def fit(  # over: what is fitted, and the settings of the fitter
        cls,
        compute: npt.ArrayLike,
        loss: npt.ArrayLike,
        accuracy: npt.ArrayLike,
        *,
        final: npt.ArrayLike | None = None,
        chance: float | None = None,
        ceiling: float | None = None,
        trust_loss: bool = False,
        bootstrap: int = 0,
        seed: int = 42,
    ) -> Fitted[Self]:
        """Fit runs, and checkpoints on the way to them.

        Args:
            compute: Of each point.
            loss: Of each; on the task's answers or on validation text.
            accuracy: Of each, in [0, 1].
            final: Whether a point is the end of a run: only these are in the first step. None is all.
            chance: Accuracy of guessing, holds `low`; None fits it.
            ceiling: Holds `high`; None fits it.
            trust_loss: Fit even where accuracy falls while the loss falls.
            bootstrap: Refits for the intervals.
            seed: Of the bootstrap.

        Raises:
            DataError: values are out of range, points are too few, or loss is no proxy for accuracy.
            ConfigError: `chance` or `ceiling` leaves no room for the accuracies.
        """
        columns = checked_data({"compute": compute, "loss": loss, "accuracy": accuracy})
        positive(columns, ["compute", "loss"])
        _shares(columns["accuracy"])
        ends = _ends(final, len(columns["loss"]))
        points = {name: column[ends] for name, column in columns.items()}
        if not trust_loss:
            # The final points in their order by compute; noise is told by repeats or along the curve.
            alignment(points["compute"], points["accuracy"], points["loss"]).check_proxy()
        first = fit_curves(
            PowerLaw, {"x": points["compute"], "loss": points["loss"]},
            delta=LOSS_DELTA, bootstrap=bootstrap, seed=seed,
        )  # fmt: skip
        second = _fit_sigmoid(columns["loss"], columns["accuracy"], chance, ceiling, bootstrap, seed)
        law = cls(loss=first.law, **second.values)
        return Fitted(law, {"loss": first.fit, "accuracy": second}, first.notes)

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit columns `compute`, `loss`, `accuracy`, and `final` (true or false) where there is one."""
        columns = columns_of(frame, [*cls.columns, *(["final"] if "final" in frame.columns else [])])
        ends = columns["final"] != 0 if "final" in columns else None
        return cls.fit(
            *(columns[name] for name in cls.columns),
            **{**known_settings(cls.fit, settings), "final": ends},
        )

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Predict for the column `compute`."""
        return self.predict(columns_of(frame, ["compute"], at="points")["compute"])


def _shares(accuracy: Floats) -> None:
    bad = np.flatnonzero(~((accuracy >= 0) & (accuracy <= 1)))
    if len(bad):
        raise DataError(
            f"accuracy of row {bad[0]} lies between 0 and 1: {accuracy[bad[0]]}", hint="divide percent by 100"
        )
    if np.ptp(accuracy) == 0:
        raise DataError(f"all {len(accuracy)} points have the same accuracy: {accuracy[0]}")


def _ends(final: npt.ArrayLike | None, count: int) -> npt.NDArray[np.bool_]:
    found = np.ones(count, dtype=bool) if final is None else np.asarray(final)
    if found.shape != (count,) or found.dtype != np.bool_:
        raise DataError(f"final is true or false for each of {count} points: {found.dtype}, {found.shape}")
    if not found.any():
        raise DataError("no point is the end of a run: final is false for all", hint="final=None takes all")
    return found


def _fit_sigmoid(  # over: the points, what is held, the settings of the fitter
    loss: Floats,
    accuracy: Floats,
    chance: float | None,
    ceiling: float | None,
    bootstrap: int,
    seed: int,
) -> Fit:
    """The second step; residuals are predicted - observed accuracy."""
    least, greatest = float(accuracy.min()), float(accuracy.max())
    middle = (least + greatest) / 2
    if chance is not None and not 0 <= chance < middle:
        raise ConfigError(f"chance lies from 0 to the middle of the accuracies {middle:.4g}: {chance}")
    if ceiling is not None and not middle < ceiling <= 1:
        raise ConfigError(f"ceiling lies from the middle of the accuracies {middle:.4g} to 1: {ceiling}")
    span = float(np.ptp(loss))
    if span == 0:
        raise DataError(f"all {len(loss)} points have the same loss: {loss[0]}")
    center = float(np.median(loss))
    parameters = [
        Parameter(name="low", low=0.0, high=middle, starts=(0.5 * least, 0.95 * least), fixed=chance),
        Parameter(name="high", low=middle, high=1.0, starts=((1 + greatest) / 2, greatest), fixed=ceiling),
        Parameter(name="slope", low=0.01 / span, high=1e3 / span,
                  starts=(1 / span, 4 / span, 15 / span), log=True),
        Parameter(name="midpoint", low=center - 10 * span, high=center + 10 * span,
                  starts=(center - span, center, center + span)),
    ]  # fmt: skip

    def residuals(values: Mapping[str, float], data: Data) -> Floats:
        return sigmoid(data["loss"], **values) - data["accuracy"]

    data = {"loss": loss, "accuracy": accuracy}
    return fit(parameters, residuals, data, delta=ACCURACY_DELTA, bootstrap=bootstrap, seed=seed)


def predict_intervals(
    fitted: Fitted[TwoStep], compute: npt.ArrayLike, *, level: float = 0.9
) -> tuple[Floats, Floats]:
    """Lower and upper ends of the accuracy curve at each compute, from the bootstrap of both steps.

    Raises:
        ConfigError: there was no bootstrap, or the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"a level lies between 0 and 1: {level}")
    first, second = fitted.fits["loss"], fitted.fits["accuracy"]
    if not first.draws or not second.draws:
        raise ConfigError("intervals need a bootstrap", hint="TwoStep.fit(..., bootstrap=200)")
    places = np.atleast_1d(amounts(compute, "compute"))
    count = len(next(iter(first.draws.values())))
    drawn = {
        name: each.draws.get(name, np.full(count, each.values[name]))[:, None]
        for each in (first, second)
        for name in each.values
    }
    losses = drawn["floor"] + np.exp(drawn["exponent"] * (drawn["ln_scale"] - np.log(places)))
    values = sigmoid(losses, drawn["low"], drawn["high"], drawn["slope"], drawn["midpoint"])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(low), np.asarray(high)
