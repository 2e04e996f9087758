"""The bivariate law of mixtures: the loss on a pool from its own share, and from the steps.

L_i(r, s) = (floor_i + factor_i * (s / unit)**-decay_i) * r_i**-exponent_i, as BiMix (Ge et al. 2024,
arXiv:2405.14908) without the one of its five numbers a pool that only scales the others; without steps,
L_i(r) = floor_i * r_i**-exponent_i. Targets are pools: what other pools do for a target is left out, which
is why few runs suffice. At a share of 0 the law has no loss, so runs without a pool say nothing about it.

Cost: 50 ms a target. Not here: transfer between pools (log_linear.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.fitting import Data, Fit, fit, positive
from curate.laws.law import Fitted, Json, columns_of, known_settings
from curate.laws.mixture.runs import SHARE, MixtureRuns, checked_shares, runs_of, shares_of
from curate.laws.mixture.targets import check_shape, check_values, names_of, target_weights, weighted
from curate.laws.parameters import Floats, Parameter

STEPS = "steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bivariate(Json):
    """What a pool's own share and the steps do to the loss on it."""

    name: ClassVar[str] = "bivariate"
    columns: ClassVar[tuple[str, ...]] = ("share.*", "loss.*", "steps (may be missing)")

    pools: tuple[str, ...]
    targets: tuple[str, ...]
    """Pools whose losses are predicted."""
    exponents: tuple[float, ...]
    """Of the share, one a target, not below 0."""
    floors: tuple[float, ...]
    """Loss of a share of 1 after endless steps."""
    factors: tuple[float, ...]
    """What it is higher by after `unit` steps; 0 where steps do not matter."""
    decays: tuple[float, ...]
    """Exponents of the steps."""
    unit: float = 1.0
    steps: float | None = None
    """Steps that are predicted for where none are given."""
    weights: tuple[float, ...] | None = None
    """Of the targets in the objective; None is their mean."""

    def __post_init__(self) -> None:
        check_shape(self.name, self.pools, self.targets, self.weights)
        for key in ("exponents", "floors", "factors", "decays"):
            values = getattr(self, key)
            check_values(self.name, key, values, self.targets)
            if min(values) < 0:
                raise ConfigError(f"{self.name}.{key} are not below 0: {min(values)}")
        if unknown := sorted(set(self.targets) - set(self.pools)):
            raise ConfigError(f"{self.name}: a target is a pool, this one is none: {unknown[0]}")
        for key in ("unit", "steps"):
            value = getattr(self, key)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{self.name}.{key} is above 0: {value}")

    def predict(self, shares: npt.ArrayLike, steps: npt.ArrayLike | None = None) -> Floats:
        """Losses of mixtures: from shape [runs, pools] to [runs, targets]; infinite at a share of 0.

        Args:
            shares: Of all pools.
            steps: One number, or one a run; None takes those of the law.

        Raises:
            DataError: shares or steps are wrong.
            ConfigError: the law needs steps and there are none.
        """
        given = checked_shares(shares, self.pools)
        levels = np.broadcast_to(np.array(self.floors), (len(given), len(self.targets)))
        if any(self.factors):
            steps = self.steps if steps is None else steps
            if steps is None:
                raise ConfigError(f"the law {self.name} was fitted with steps", hint="give steps")
            count = np.broadcast_to(np.asarray(steps, dtype=np.float64), (len(given),))
            positive({STEPS: count}, [STEPS], at="points")
            levels = levels + np.array(self.factors) * (count[:, None] / self.unit) ** -np.array(self.decays)
        own = given[:, [self.pools.index(target) for target in self.targets]]
        with np.errstate(divide="ignore"):
            return np.asarray(levels * own ** -np.array(self.exponents))

    def objective(self, shares: npt.ArrayLike) -> Floats:
        """Weighted mean of the losses at the steps of the law."""
        return weighted(self.predict(shares), self.weights)

    def predict_targets(self, frame: pl.DataFrame) -> dict[str, Floats]:
        """The loss on each target, one value a row of a table with `share.<pool>` and `steps`.

        Raises:
            DataError: a share of a target is 0.
        """
        shares = shares_of(frame, self.pools, at="points")
        for target in self.targets:
            none = np.flatnonzero(shares[:, self.pools.index(target)] == 0)
            if len(none):
                raise DataError(
                    f"points: {SHARE}{target} of row {none[0]} is 0, where the law {self.name} has no loss"
                )
        steps = columns_of(frame, [STEPS], at="points")[STEPS] if STEPS in frame.columns else None
        losses = self.predict(shares, steps)
        return {target: losses[:, at] for at, target in enumerate(self.targets)}

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """The objective of each row of a table with `share.<pool>` and `steps`."""
        return weighted(np.stack(list(self.predict_targets(frame).values()), axis=1), self.weights)

    @classmethod
    def fit_table(
        cls, frame: pl.DataFrame, *, targets: Sequence[str] | None = None, **settings: Any
    ) -> Fitted[Self]:
        """Fit a table with columns `share.<pool>`, `loss.<pool>`, and `steps` if there are any; see `fit`."""
        steps = columns_of(frame, [STEPS])[STEPS] if STEPS in frame.columns else None
        return cls.fit(
            runs_of(frame, targets=names_of(targets)), steps=steps, **known_settings(cls.fit, settings)
        )

    @classmethod
    def fit(
        cls,
        runs: MixtureRuns,
        *,
        steps: npt.ArrayLike | None = None,
        weights: Mapping[str, float] | None = None,
        bootstrap: int = 0,
        seed: int = 42,
    ) -> Fitted[Self]:
        """Fit each target on the runs that have some of its pool.

        Raises:
            DataError: a target is no pool, or too few runs have some of it.
        """
        if unknown := sorted(set(runs.targets) - set(runs.pools)):
            raise DataError(
                f"{cls.name}: a target is a pool, this one is none: {unknown[0]}",
                hint=f"pools are {', '.join(runs.pools)}",
            )
        given = target_weights(weights, runs.targets)
        count = None if steps is None else np.asarray(steps, dtype=np.float64)
        if count is not None:
            if count.shape != (runs.num_runs,):
                raise DataError(f"{cls.name}: steps are one a run, {runs.num_runs}: shape {count.shape}")
            positive({STEPS: count}, [STEPS])
        unit = 1.0 if count is None else float(np.exp(np.log(count).mean()))
        fits, notes = {}, []
        for target in runs.targets:
            share = runs.shares[:, runs.pools.index(target)]
            if left_out := int((share == 0).sum()):
                notes.append(f"{target}: {left_out} of {runs.num_runs} runs have none of it and are left out")
            fits[target] = _fit_target(share, runs.target(target), count, unit, bootstrap, seed)
        values = [each.values for each in fits.values()]
        law = cls(
            pools=runs.pools,
            targets=runs.targets,
            exponents=tuple(each["exponent"] for each in values),
            floors=tuple(each["floor"] for each in values),
            factors=tuple(each["factor"] if count is not None else 0.0 for each in values),
            decays=tuple(each["decay"] if count is not None else 0.0 for each in values),
            unit=unit,
            steps=None if count is None else float(count.max()),
            weights=given,
        )
        return Fitted(law=law, fits=fits, notes=tuple(notes))


def _fit_target(  # over: data and settings
    share: Floats, loss: Floats, steps: Floats | None, unit: float, bootstrap: int, seed: int
) -> Fit:
    used = share > 0
    data = {"share": share[used], "loss": loss[used]}
    most = float(loss.max())
    parameters = [
        Parameter(name="exponent", low=0.0, high=5.0, starts=(0.05, 0.2, 0.6)),
        Parameter(
            name="floor", low=1e-4 * most, high=10 * most, starts=(0.3 * most, 0.7 * most, most), log=True
        ),
    ]
    if steps is not None:
        data["count"] = steps[used] / unit
        starts = (0.05 * most, 0.5 * most)
        parameters += [
            Parameter(name="factor", low=1e-5 * most, high=100 * most, starts=starts, log=True),
            Parameter(name="decay", low=0.01, high=3.0, starts=(0.2, 0.6), log=True),
        ]
    if not used.any():
        raise DataError("bivariate: no run has some of the pool", hint="leave out the target")
    return fit(parameters, _residuals, data, max_starts=6, bootstrap=bootstrap, seed=seed)


def _residuals(values: Mapping[str, float], data: Data) -> Floats:
    """Differences of logarithms."""
    level: float | Floats = values["floor"]
    if "count" in data:
        level = level + values["factor"] * data["count"] ** -values["decay"]
    return np.asarray(np.log(level) - values["exponent"] * np.log(data["share"]) - np.log(data["loss"]))
