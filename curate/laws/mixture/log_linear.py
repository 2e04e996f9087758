"""The log-linear law of mixtures: the loss on each target is exp(constant) + exp(slopes . shares).

Used by Olmix (arXiv:2602.12237, 2026), and a rival of boosted trees for the runs of RegMix (Liu et al.
2024, arXiv:2407.01492). As shares sum to 1, an intercept would add to all slopes, so there is none. A slope
below those of other pools means that the pool lowers the loss. Fitted one target at a time on differences
of losses, with Huber's loss of delta .02, from starts that are exact for given constants: ln(loss -
constant) is linear.

Cost: 0.3 s for 512 runs of 17 pools and one target; saying what is not identified, or a bootstrap of 200,
some ten times that. Not here: the best mixture (search.py), other laws of this family (exponential.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import DataError
from curate.laws.fitting import Data, Fit, fit
from curate.laws.law import Fitted, Json, known_settings
from curate.laws.mixture.runs import MixtureRuns, checked_shares, runs_of
from curate.laws.mixture.targets import (
    OverPools,
    check_rows,
    check_shape,
    check_values,
    names_of,
    target_weights,
    too_few,
)
from curate.laws.parameters import Floats, Parameter

DELTA = 0.02
SLOPES = (-1000.0, 100.0)
"""Bounds of slopes while they are fitted: some pools saturate with a share of a hundredth."""
MAX_POOLS = 256
"""A fit has dense derivatives."""
START_FRACS = (0.05, 0.5, 0.8, 0.95)
"""Constants that are tried first, as fractions of the least loss."""
CONSTANT = "constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLinear(OverPools, Json):
    """A constant and the slopes by pool for each target."""

    name: ClassVar[str] = "log_linear"
    columns: ClassVar[tuple[str, ...]] = ("share.*", "loss.*")

    pools: tuple[str, ...]
    targets: tuple[str, ...]
    constants: tuple[float, ...]
    """Logarithm of the loss that no mixture removes, one a target."""
    slopes: tuple[tuple[float, ...], ...]
    """A row for each target, a column for each pool."""
    weights: tuple[float, ...] | None = None
    """Of the targets in the objective, sum 1; None is their mean."""

    def __post_init__(self) -> None:
        check_shape(self.name, self.pools, self.targets, self.weights)
        check_values(self.name, "constants", self.constants, self.targets)
        check_rows(self.name, "slopes", self.slopes, self.targets, len(self.pools))

    def predict(self, shares: npt.ArrayLike) -> Floats:
        """Losses of mixtures: from shape [runs, pools] to [runs, targets].

        Raises:
            DataError: shares are wrong.
        """
        given = checked_shares(shares, self.pools)
        return np.asarray(np.exp(self.constants) + np.exp(given @ np.array(self.slopes).T))

    @classmethod
    def fit_table(
        cls, frame: pl.DataFrame, *, targets: Sequence[str] | None = None, **settings: Any
    ) -> Fitted[Self]:
        """Fit a table with columns `share.<pool>` and `loss.<target>`; see `fit`."""
        return cls.fit(runs_of(frame, targets=names_of(targets)), **known_settings(cls.fit, settings))

    @classmethod
    def fit(
        cls,
        runs: MixtureRuns,
        *,
        delta: float = DELTA,
        weights: Mapping[str, float] | None = None,
        bootstrap: int = 0,
        seed: int = 42,
    ) -> Fitted[Self]:
        """Fit each target on its own.

        Args:
            runs: More of them than pools and one more.
            delta: Difference of losses from which on Huber's loss is linear.
            weights: Of the targets in the objective; None is their mean.
            bootstrap: Refits for intervals.
            seed: Of the bootstrap.

        Raises:
            DataError: too few runs, or too many pools.
            ConfigError: a setting is wrong.
        """
        given = target_weights(weights, runs.targets)
        fits = {
            target: fit_target(runs, target, delta=delta, bootstrap=bootstrap, seed=seed)
            for target in runs.targets
        }
        law = cls(
            pools=runs.pools,
            targets=runs.targets,
            constants=tuple(math.log(each.values[CONSTANT]) for each in fits.values()),
            slopes=tuple(
                tuple(each.values[pool] for pool in slope_names(runs.pools)) for each in fits.values()
            ),
            weights=given,
        )
        return Fitted(law=law, fits=fits, notes=too_few(runs))


def fit_target(runs: MixtureRuns, target: str, *, delta: float, bootstrap: int, seed: int) -> Fit:
    """Fit constant and slopes for one target; parameters are `constant`, and `slope of <pool>`.

    Raises:
        DataError: too few runs, or too many pools.
    """
    if len(runs.pools) > MAX_POOLS:
        raise DataError(f"a mixture law has at most {MAX_POOLS} pools: {len(runs.pools)}")
    losses, names = runs.target(target), slope_names(runs.pools)
    least = float(losses.min())
    parameters = [
        Parameter(name=CONSTANT, low=1e-3 * least, high=max(least, float(np.median(losses))), log=True),
        *(Parameter(name=name, low=SLOPES[0], high=SLOPES[1]) for name in names),
    ]
    data = {name: runs.shares[:, at] for at, name in enumerate(names)} | {"loss": losses}
    model = _Model(names)
    starts = [start_at(frac * least, runs.shares, losses, names) for frac in START_FRACS]
    return fit(
        parameters,
        model.residuals,
        data,
        delta=delta,
        start=starts,
        max_starts=0,
        bootstrap=bootstrap,
        seed=seed,
        jacobian=model.jacobian,
    )


class _Model:
    """Residuals and their derivatives; the shares are stacked once for each table."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._of: tuple[Data, Floats] | None = None

    def shares(self, data: Data) -> Floats:
        """The columns of shares side by side."""
        if self._of is None or self._of[0] is not data:
            self._of = (data, np.stack([data[name] for name in self.names], axis=1))
        return self._of[1]

    def _growth(self, values: Mapping[str, float], data: Data) -> Floats:
        slopes = np.fromiter((values[name] for name in self.names), np.float64, len(self.names))
        return np.asarray(np.exp(self.shares(data) @ slopes))

    def residuals(self, values: Mapping[str, float], data: Data) -> Floats:
        """Predicted minus observed losses."""
        return np.asarray(values[CONSTANT] + self._growth(values, data) - data["loss"])

    def jacobian(self, values: Mapping[str, float], data: Data) -> Floats:
        """Derivatives by the constant and the slopes."""
        growth = self._growth(values, data)
        return np.concatenate([np.ones((len(growth), 1)), growth[:, None] * self.shares(data)], axis=1)


def start_at(constant: float, shares: Floats, losses: Floats, names: Sequence[str]) -> dict[str, float]:
    """Slopes by least squares of ln(loss - constant)."""
    slopes = np.linalg.lstsq(shares, np.log(losses - constant), rcond=None)[0]
    found = np.clip(slopes, *SLOPES).tolist()
    return {CONSTANT: constant, **dict(zip(names, found, strict=True))}


def slope_names(pools: Sequence[str]) -> list[str]:
    """Names of the parameters that are slopes."""
    return [f"slope of {pool}" for pool in pools]
