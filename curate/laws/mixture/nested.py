"""From short runs of small models to the losses of a long run of a large one, mixture by mixture.

As the pipeline of Data Mixing Laws (Ye et al. 2024, arXiv:2403.16952): for each size of model and each
target, L = floor + factor * x**-exponent over steps x, with one exponent for all mixtures, gives the losses
at the wanted steps; the same over sizes gives those of the wanted size; and a law of mixtures is fitted to
what comes out. Floors and factors are not below 0. For a given exponent they are found exactly by least
squares of relative errors, so that the exponent alone is searched and has a profile.

Cost: milliseconds for a thousand points. Not here: laws of mixtures themselves.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.fitting import Data, Fit, fit, positive
from curate.laws.law import columns_of
from curate.laws.mixture.runs import MixtureRuns, runs_of
from curate.laws.mixture.targets import names_of
from curate.laws.parameters import Floats, Parameter

EXPONENT = "exponent"
EXPONENTS = (0.01, 3.0)
FAR = 10.0
"""Factor beyond the greatest observed value from which on an extrapolation is called far."""


@dataclass(frozen=True, slots=True)
class SharedPower:
    """Curves L = floor + factor * x**-exponent, one a group, with the exponent in common."""

    floors: Floats
    factors: Floats
    """Of x in units of `unit`."""
    exponent: float
    unit: float
    fit: Fit

    def predict(self, x: float) -> Floats:
        """The loss of every group at x."""
        return np.asarray(self.floors + self.factors * (x / self.unit) ** -self.exponent)


@dataclass(frozen=True, slots=True)
class Nested:
    """Runs as they would be at the wanted steps and size."""

    runs: MixtureRuns
    names: tuple[str, ...]
    """Of the mixtures, in the order of the runs."""
    fits: Mapping[str, Fit]
    """Of each exponent."""
    notes: tuple[str, ...]

    def doubts(self) -> tuple[str, ...]:
        """Exponents that the data leave open, and how far it is extrapolated."""
        found = [f"{name}: {text}" for name, each in self.fits.items() for text in each.doubts.values()]
        return (*found, *self.notes)


def shared_power(groups: npt.NDArray[np.int64], x: Floats, losses: Floats) -> SharedPower:
    """Fit curves by group; every group has two values of x or more.

    Raises:
        DataError: a value is not above 0, or a group has one x only.
    """
    positive({"x": x, "loss": losses}, ["x", "loss"])
    count, unit = int(groups.max()) + 1, float(np.exp(np.log(x).mean()))
    for group in range(count):
        seen = np.unique(x[groups == group])
        if len(seen) < 2:
            raise DataError(f"a curve needs two points or more, group {group} has: {len(seen)}")
    model = _Curves(groups, count)
    found = fit(
        [
            Parameter(
                name=EXPONENT, low=EXPONENTS[0], high=EXPONENTS[1], starts=(0.1, 0.3, 0.7, 1.5), log=True
            )
        ],
        model.residuals,
        {"x": x / unit, "loss": losses},
        loss="squares",
    )
    exponent = found.values[EXPONENT]
    floors, factors = model.solve(exponent, found.problem.data)
    return SharedPower(floors, factors, exponent, unit, found)


class _Curves:
    """Relative errors of curves whose floors and factors are the best for the exponent."""

    def __init__(self, groups: npt.NDArray[np.int64], count: int) -> None:
        self.groups, self.count = groups, count

    def _sum(self, values: Floats) -> Floats:
        return np.bincount(self.groups, values, self.count).astype(np.float64)

    def solve(self, exponent: float, data: Data) -> tuple[Floats, Floats]:
        """Floors and factors by group, not below 0, with the least squares of relative errors."""
        weight = data["loss"] ** -2.0
        power = data["x"] ** -exponent
        ones, first, second = self._sum(weight), self._sum(weight * power), self._sum(weight * power * power)
        level, slope = self._sum(weight * data["loss"]), self._sum(weight * power * data["loss"])
        det = ones * second - first * first
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = np.where(det > 1e-14 * ones * second, (ones * slope - first * level) / det, 0.0)
        flat = factors <= 0
        factors = np.where(flat, 0.0, factors)
        floors = (level - factors * first) / ones
        below = floors < 0
        return np.where(below, 0.0, floors), np.where(below, slope / second, factors)

    def residuals(self, values: Mapping[str, float], data: Data) -> Floats:
        """Relative errors."""
        floors, factors = self.solve(values[EXPONENT], data)
        predicted = floors[self.groups] + factors[self.groups] * data["x"] ** -values[EXPONENT]
        return np.asarray(predicted / data["loss"] - 1)


def extrapolate(
    frame: pl.DataFrame,
    *,
    steps: float | None = None,
    size: float | None = None,
    targets: Sequence[str] | None = None,
) -> Nested:
    """Bring every mixture to the wanted steps, then to the wanted size.

    Args:
        frame: Columns `share.<pool>`, `loss.<target>`, `steps` where steps are wanted, `size` where a size.
            Rows of equal shares are points of one curve; without wanted steps those of one size are one row.
        steps: Steps, or tokens, as in the column.
        size: Parameters, as in the column.
        targets: Which losses; None takes all.

    Raises:
        DataError: a column is missing or wrong, or a curve has too few points.
        ConfigError: neither steps nor a size are wanted, or they are not above 0.
    """
    if steps is None and size is None:
        raise ConfigError("an extrapolation is to steps, to a size, or both", hint="steps=100_000, size=1e9")
    for name, value in (("steps", steps), ("size", size)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} are above 0: {value}")
    for name, value in (("steps", steps), ("size", size)):
        if value is not None and name not in frame.columns:
            raise DataError(f"runs: there is no column {name}", hint=f"points of curves have their {name}")
    runs = runs_of(frame, targets=names_of(targets))
    axes = columns_of(frame, [key for key in ("steps", "size") if key in frame.columns])
    positive(axes, list(axes))
    shares, groups = np.unique(runs.shares, axis=0, return_inverse=True)
    points = _Points(groups.reshape(-1), axes, runs.losses)
    state = _State(points, tuple(runs.targets), {}, [])
    if steps is not None:
        state.steps(steps)
    state.size(size)
    found = MixtureRuns(pools=runs.pools, targets=runs.targets, shares=shares, losses=state.points.losses)
    return Nested(found, _names(frame, state.points.groups, groups), state.fits, tuple(state.notes))


@dataclass(slots=True)
class _Points:
    """Points of curves: mixture, steps and size, losses by target."""

    groups: npt.NDArray[np.int64]
    axes: dict[str, Floats]
    losses: Floats


class _State:
    """What is left to extrapolate, and what was fitted."""

    def __init__(
        self, points: _Points, targets: tuple[str, ...], fits: dict[str, Fit], notes: list[str]
    ) -> None:
        self.points, self.targets, self.fits, self.notes = points, targets, fits, notes

    def _curves(self, x: Floats, rows: npt.NDArray[np.int64], to: float, where: str) -> Floats:
        """Losses of every mixture of some rows at `to`, shape [mixtures, targets]."""
        groups = np.unique(self.points.groups[rows], return_inverse=True)[1]
        columns = []
        for at, target in enumerate(self.targets):
            curve = shared_power(groups.reshape(-1), x[rows], self.points.losses[rows, at])
            self.fits[f"{target}, over {where}"] = curve.fit
            columns.append(curve.predict(to))
        if to > FAR * x[rows].max():
            self.notes.append(f"over {where}: {to:g} is {to / x[rows].max():.3g} times the greatest observed")
        return np.stack(columns, axis=1)

    def steps(self, to: float) -> None:
        """Replace the points of each size by one a mixture, at `to` steps."""
        points = self.points
        sizes = points.axes.get("size", np.ones(len(points.groups)))
        groups, losses, kept = [], [], []
        for size in np.unique(sizes).tolist():
            rows = np.flatnonzero(sizes == size)
            where = f"steps at size {size:g}" if "size" in points.axes else "steps"
            losses.append(self._curves(points.axes["steps"], rows, to, where))
            groups.append(np.unique(points.groups[rows]))
            kept.append(np.full(len(groups[-1]), size))
        self.points = _Points(np.concatenate(groups), {"size": np.concatenate(kept)}, np.concatenate(losses))

    def size(self, to: float | None) -> None:
        """Leave one point a mixture: that at the wanted size, or the only one there is."""
        points = self.points
        if to is not None:
            rows = np.arange(len(points.groups))
            losses = self._curves(points.axes["size"], rows, to, "sizes")
            self.points = _Points(np.unique(points.groups), {}, losses)
            return
        if len(np.unique(points.groups)) != len(points.groups):
            sizes = ", ".join(f"{value:g}" for value in np.unique(points.axes["size"]).tolist())
            raise ConfigError(f"the runs have several sizes, and none is wanted: {sizes}", hint="size=...")
        order = np.argsort(points.groups, kind="stable")
        self.points = _Points(points.groups[order], {}, points.losses[order])


def _names(
    frame: pl.DataFrame, kept: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]
) -> tuple[str, ...]:
    """The first `run` of each mixture, or its number."""
    if "run" not in frame.columns:
        return tuple(str(group) for group in kept.tolist())
    flat = groups.reshape(-1).tolist()
    return tuple(str(frame["run"][flat.index(group)]) for group in kept.tolist())
