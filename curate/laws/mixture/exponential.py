"""Data Mixing Laws (Ye et al. 2024, arXiv:2403.16952): losses by domain are exponentials of the shares.

On validation domain i, L_i(r) = c_i + sum over terms k of exp(factor_ik + slopes_ik . r), with one term
where the domain is known; the loss of a whole set is the mean of the L_i by its known shares (`weights`).
Where only the loss of the whole is known, several terms stand for domains that nobody labelled
(`num_terms`). As shares sum to 1, a factor and slopes of all pools are one too many: fits hold the slope of
the last pool at 0, so of two pools the one slope is that of the published law. More terms need more runs
than (pools x terms + 1).

Cost: as log_linear.py for one term; for more, 24 random starts, seconds. Not here: extrapolation to more
steps and larger models (nested.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.fitting import Data, Fit, fit
from curate.laws.law import Fitted, Json, known_settings
from curate.laws.mixture.log_linear import DELTA, MAX_POOLS, SLOPES, START_FRACS
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

MAX_TERMS = 64
RANDOM_STARTS = 24
FLOOR = "floor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential(OverPools, Json):
    """Floors, factors and slopes of each validation domain."""

    name: ClassVar[str] = "exponential"
    columns: ClassVar[tuple[str, ...]] = ("share.*", "loss.*")

    pools: tuple[str, ...]
    targets: tuple[str, ...]
    """Validation domains, or the whole."""
    floors: tuple[float, ...]
    """c, one a target, not below 0."""
    factors: tuple[tuple[float, ...], ...]
    """ln k of each term, a row a target."""
    slopes: tuple[tuple[tuple[float, ...], ...], ...]
    """t by pool of each term, a table a target."""
    weights: tuple[float, ...] | None = None
    """Shares of the validation domains in the whole; None is their mean."""

    def __post_init__(self) -> None:
        check_shape(self.name, self.pools, self.targets, self.weights)
        check_values(self.name, "floors", self.floors, self.targets)
        if min(self.floors) < 0:
            raise ConfigError(f"{self.name}.floors are not below 0: {min(self.floors)}")
        if len(self.factors) != len(self.targets) or len(self.slopes) != len(self.targets):
            raise ConfigError(
                f"{self.name} has factors and slopes for each of {len(self.targets)} targets: "
                f"{len(self.factors)} and {len(self.slopes)}"
            )
        for target, factors, rows in zip(self.targets, self.factors, self.slopes, strict=True):
            terms = [f"term {at} of {target}" for at in range(len(factors))]
            if not terms:
                raise ConfigError(f"{self.name}.factors of {target} are at least one: 0")
            check_values(self.name, f"factors of {target}", factors, terms)
            check_rows(self.name, "slopes", rows, terms, len(self.pools))

    def predict(self, shares: npt.ArrayLike) -> Floats:
        """Losses of mixtures: from shape [runs, pools] to [runs, targets].

        Raises:
            DataError: shares are wrong.
        """
        given = checked_shares(shares, self.pools)
        columns = [
            floor + np.exp(np.array(factors) + given @ np.array(rows).T).sum(axis=1)
            for floor, factors, rows in zip(self.floors, self.factors, self.slopes, strict=True)
        ]
        return np.stack(columns, axis=1)

    @classmethod
    def fit_table(
        cls, frame: pl.DataFrame, *, targets: Sequence[str] | None = None, **settings: Any
    ) -> Fitted[Self]:
        """Fit a table with columns `share.<pool>` and `loss.<target>`; see `fit`."""
        return cls.fit(runs_of(frame, targets=names_of(targets)), **known_settings(cls.fit, settings))

    @classmethod
    def fit(  # over: settings of the fit
        cls,
        runs: MixtureRuns,
        *,
        num_terms: int = 1,
        delta: float = DELTA,
        weights: Mapping[str, float] | None = None,
        bootstrap: int = 0,
        seed: int = 42,
    ) -> Fitted[Self]:
        """Fit each target on its own.

        Args:
            runs: More of them than pools x terms and one more.
            num_terms: 1 for validation domains that are known; more for the loss of a whole set.
            delta: Difference of losses from which on Huber's loss is linear.
            weights: Shares of the targets in the whole; None is their mean.
            bootstrap: Refits for intervals.
            seed: Of random starts and of the bootstrap.

        Raises:
            DataError: too few runs, or too many pools.
            ConfigError: a setting is wrong.
        """
        if not 1 <= num_terms <= MAX_TERMS:
            raise ConfigError(f"{cls.name}: num_terms is 1 to {MAX_TERMS}: {num_terms}")
        if not 2 <= len(runs.pools) <= MAX_POOLS:
            raise DataError(f"{cls.name} has 2 to {MAX_POOLS} pools: {len(runs.pools)}")
        given = target_weights(weights, runs.targets)
        terms = _Terms(runs.pools, num_terms)
        fits = {
            target: _fit_target(runs, target, terms, delta=delta, bootstrap=bootstrap, seed=seed)
            for target in runs.targets
        }
        found = [terms.of(each) for each in fits.values()]
        law = cls(
            pools=runs.pools,
            targets=runs.targets,
            floors=tuple(each.values[FLOOR] for each in fits.values()),
            factors=tuple(factors for factors, _ in found),
            slopes=tuple(rows for _, rows in found),
            weights=given,
        )
        return Fitted(law=law, fits=fits, notes=too_few(runs))


class _Terms:
    """Names, residuals and derivatives of a sum of exponentials; the last pool has no slope."""

    def __init__(self, pools: Sequence[str], num_terms: int) -> None:
        self.pools, self.num_terms = list(pools), num_terms
        ends = [""] if num_terms == 1 else [f" {at}" for at in range(num_terms)]
        self.factors = [f"factor{end}" for end in ends]
        self.slopes = [[f"slope{end} of {pool}" for pool in pools[:-1]] for end in ends]
        self._of: tuple[Data, Floats] | None = None

    def shares(self, data: Data) -> Floats:
        """A column of ones and those of all pools but the last, side by side."""
        if self._of is None or self._of[0] is not data:
            columns = [data[pool] for pool in self.pools[:-1]]
            self._of = (data, np.stack([np.ones(len(columns[0])), *columns], axis=1))
        return self._of[1]

    def parameters(self, losses: Floats) -> list[Parameter]:
        """The floor, then of each term the factor and the slopes."""
        least, most = float(losses.min()), float(losses.max())
        found = [Parameter(name=FLOOR, low=1e-3 * least, high=max(least, float(np.median(losses))), log=True)]
        for factor, row in zip(self.factors, self.slopes, strict=True):
            found.append(Parameter(name=factor, low=-50.0, high=float(np.log(most)) + 50.0))
            found += [Parameter(name=name, low=SLOPES[0], high=SLOPES[1]) for name in row]
        return found

    def _growth(self, values: Mapping[str, float], data: Data) -> Floats:
        rows = [
            [values[factor], *(values[name] for name in row)]
            for factor, row in zip(self.factors, self.slopes, strict=True)
        ]
        return np.asarray(np.exp(self.shares(data) @ np.array(rows).T))

    def residuals(self, values: Mapping[str, float], data: Data) -> Floats:
        """Predicted minus observed losses."""
        return np.asarray(values[FLOOR] + self._growth(values, data).sum(axis=1) - data["loss"])

    def jacobian(self, values: Mapping[str, float], data: Data) -> Floats:
        """Derivatives by floor, factors and slopes."""
        growth, shares = self._growth(values, data), self.shares(data)
        parts = [growth[:, [at]] * shares for at in range(self.num_terms)]
        return np.concatenate([np.ones((len(shares), 1)), *parts], axis=1)

    def starts(self, shares: Floats, losses: Floats, seed: int) -> list[dict[str, float]]:
        """Least squares of ln(loss - floor); of several terms, these with noise on every slope."""
        names = [
            name for factor, row in zip(self.factors, self.slopes, strict=True) for name in (factor, *row)
        ]
        design = np.concatenate([np.ones((len(shares), 1)), shares[:, :-1]], axis=1)
        draw, found = np.random.Generator(np.random.PCG64(seed)), []
        count = len(START_FRACS) if self.num_terms == 1 else RANDOM_STARTS
        for number in range(count):
            floor = START_FRACS[number % len(START_FRACS)] * float(losses.min())
            line = np.linalg.lstsq(design, np.log(losses - floor), rcond=None)[0]
            rows = np.tile(line, (self.num_terms, 1))
            if self.num_terms > 1:
                rows[:, 0] -= np.log(self.num_terms)
                rows[:, 1:] += draw.normal(0, 2.0, rows[:, 1:].shape)
            values = np.clip(rows, *SLOPES).ravel().tolist()
            found.append({FLOOR: floor, **dict(zip(names, values, strict=True))})
        return found

    def of(self, found: Fit) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
        """Factors and slopes of a fit, the last pool's slope being 0."""
        factors = tuple(found.values[name] for name in self.factors)
        return factors, tuple((*(found.values[name] for name in row), 0.0) for row in self.slopes)


def _fit_target(  # over: settings of the fit
    runs: MixtureRuns, target: str, terms: _Terms, *, delta: float, bootstrap: int, seed: int
) -> Fit:
    losses = runs.target(target)
    data = {pool: runs.shares[:, at] for at, pool in enumerate(runs.pools[:-1])} | {"loss": losses}
    return fit(
        terms.parameters(losses),
        terms.residuals,
        data,
        delta=delta,
        start=terms.starts(runs.shares, losses, seed),
        max_starts=0,
        bootstrap=bootstrap,
        seed=seed,
        jacobian=terms.jacobian,
    )


def scan_two(shares: npt.ArrayLike, losses: npt.ArrayLike, *, num_floors: int = 1000) -> tuple[float, ...]:
    """Floor, ln k and slope for two pools by the published scan, from the share of one of them.

    Of `num_floors` floors from 0 to below the least loss, that whose ln(loss - floor) is nearest to a line.

    Raises:
        DataError: fewer than three runs, or values that are not finite, or losses not above 0.
    """
    from curate.laws.fitting import checked_data, positive

    data = checked_data({"share": shares, "loss": losses})
    positive(data, ["loss"])
    share, loss = data["share"], data["loss"]
    if len(share) < 3 or np.ptp(share) == 0:
        raise DataError(f"a scan needs three runs or more of different shares: {len(share)}")
    floors = np.linspace(0, loss.min(), num_floors, endpoint=False)
    logs = np.log(loss - floors[:, None])
    middle, width = logs - logs.mean(axis=1, keepdims=True), share - share.mean()
    spread = np.sqrt((middle**2).sum(axis=1) * (width**2).sum())
    best = int(np.argmax(np.abs(middle @ width) / np.maximum(spread, 1e-300)))
    slope = float(middle[best] @ width / (width @ width))
    return float(floors[best]), float(logs[best].mean() - slope * share.mean()), slope
