"""The quality-quantity trade-off of filtered data: good pools are scarce, and repeats of them fade.

Error of training on n samples of one pool: the relative gain of each next sample is the pool's utility b,
which halves every `half_life` passes. With x = scale * n / unit,
    y = x_0**b * product over passes e >= 1 of (x_e / x_e-)**(b * 0.5**(e / half_life)) + floor
("utility"), x_e- and x_e being a pass's start and end; or y = x_eff**b + floor, samples being discounted by
pass ("effective_data"). Goyal et al. 2024, "Scaling Laws for Data Filtering", arXiv:2404.07177.

Pools mixed by shares: b is the mean of the decayed utilities by share, and half-lives are divided by the
share; k equal pools have k times the half-life, as the paper proves. In the utility form ln y is then
the mean of the pools' own by share.

Cost: a table of one float a pass for each pool, then a look-up a point. Not here: fits
(quality_quantity_fit.py), budgets (selection/allocation).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.amounts import Floats, amounts, within
from curate.laws.decay import MAX_PASSES, NEGLIGIBLE, effective, log_growth
from curate.laws.law import Fitted, Json, columns_of, known_settings

Form = Literal["utility", "effective_data"]
FORMS = ("utility", "effective_data")

PUBLISHED: dict[str, dict[str, Any]] = {
    "tmars_imagenet1k_utility": {
        "scale": 0.025,
        "utilities": (-0.16, -0.125, -0.1, -0.085, -0.12),
        "half_lives": (6.7273, 8.5455, 5.2727, 2.2727, 6.0),
        "floor_inside": True,
    },
    "tmars_imagenet1k_data": {
        "scale": 0.022,
        "utilities": (-0.1823, -0.1448, -0.1353, -0.0976, -0.1420),
        "half_lives": (4.0, 4.364, 2.909, 1.4545, 3.4545),
        "form": "effective_data",
    },
}
"""Fits for image-text pools of 12.8M samples by T-MARS score; error is 1 - accuracy on ImageNet."""
PUBLISHED_POOLS = ("q0-10", "q10-20", "q20-30", "q30-40", "random")
"""Their pools; `random` is a random quarter of the best 40 %, and no part of a union."""


@dataclass(frozen=True, slots=True)
class BestPool:
    """Unions of the best 1, 2, ... pools, and which has the least error after how many samples."""

    unions: tuple[tuple[str, ...], ...]
    errors: Floats
    """Shape [samples, unions]."""
    best: npt.NDArray[np.int64]
    """Place of the least error in `unions`, one for each number of samples; the smaller union of equals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityQuantity(Json):
    """Utility and half-life of each pool, and what they share."""

    name: ClassVar[str] = "quality_quantity"
    columns: ClassVar[tuple[str, ...]] = ("pool", "samples", "size", "error")

    pools: tuple[str, ...]
    utilities: tuple[float, ...]
    """Exponent b of each pool, below 0."""
    half_lives: tuple[float, ...]
    """Passes after which a sample is worth half, above 0."""
    scale: float
    """What samples in units are multiplied by."""
    unit: float = 1e5
    floor: float = 0.1
    """Error that no number of samples removes."""
    form: Form = "utility"
    floor_inside: bool = False
    """The published code's quirk: the floor is added to the first pass's factor, later passes shrink it."""

    def __post_init__(self) -> None:
        if not self.pools or len(set(self.pools)) != len(self.pools):
            raise ConfigError(f"{self.name}.pools are different names: {self.pools!r:.80}")
        for key in ("utilities", "half_lives"):
            count = len(getattr(self, key))
            if count != len(self.pools):
                raise ConfigError(
                    f"{self.name}.{key} has a value for each of {len(self.pools)} pools: {count}"
                )
        for pool, utility, half_life in zip(self.pools, self.utilities, self.half_lives, strict=True):
            within(self.name, f"utilities of {pool}", utility, -np.inf, 0.0)
            within(self.name, f"half_lives of {pool}", half_life, 0.0)
        within(self.name, "scale", self.scale, 0.0)
        within(self.name, "unit", self.unit, 0.0)
        if not (isinstance(self.floor, int | float) and 0 <= self.floor < np.inf):
            raise ConfigError(f"{self.name}.floor is not below 0: {self.floor}")
        if self.form not in FORMS:
            raise ConfigError(f"{self.name}.form is one of {', '.join(FORMS)}: {self.form!r}")
        if self.floor_inside and self.form != "utility":
            raise ConfigError(f"{self.name}.floor_inside goes with the form utility: {self.form}")

    @classmethod
    def published(cls, name: str = "tmars_imagenet1k_utility") -> Self:
        """Published parameters of image-text pools, with the published code's quirk.

        Raises:
            ConfigError: there is no such set.
        """
        if name not in PUBLISHED:
            raise ConfigError(f"there is no set {name}", hint=f"there are {', '.join(PUBLISHED)}")
        return cls(pools=PUBLISHED_POOLS, **PUBLISHED[name])

    def predict(self, samples: npt.ArrayLike, *, pool: str, size: npt.ArrayLike) -> Floats:
        """Error after `samples` drawn from one pool of `size`, passed over again and again.

        Raises:
            ConfigError: the pool is unknown.
            DataError: a number is not above 0.
        """
        at, seen, sizes = self._place(pool), amounts(samples, "samples"), amounts(size, "size")
        if self.form == "effective_data":
            fresh = effective(seen, sizes, self.half_lives[at])
            return (fresh * self.scale / self.unit) ** self.utilities[at] + self.floor
        first, later = self._exponents(seen, sizes, at)
        return self._error(first, later)

    def predict_mixture(
        self,
        samples: npt.ArrayLike,
        *,
        sizes: Mapping[str, float],
        shares: Mapping[str, float] | None = None,
    ) -> Floats:
        """Error after `samples` drawn from several pools by shares.

        Args:
            samples: All samples seen, any shape.
            sizes: Samples in each pool that takes part.
            shares: Of each of these pools, adding to 1; None draws uniformly from their union.

        Raises:
            ConfigError: a pool is unknown, or shares and sizes have different pools.
            DataError: a number is not above 0, or the shares do not add to 1.
        """
        seen = amounts(samples, "samples")
        parts = self._parts(sizes, shares)
        if self.form == "effective_data":
            return self._effective_mixture(seen, parts)
        first, later = np.zeros_like(seen), np.zeros_like(seen)
        for at, size, share in parts:
            own = self._exponents(seen, np.asarray(size / share), at, share)
            first, later = first + share * own[0], later + share * own[1]
        return self._error(first, later)

    def best_pool(self, samples: npt.ArrayLike, *, sizes: Sequence[float] | Mapping[str, float]) -> BestPool:
        """Predict the error of the union of the best k pools, k from 1 on, and find the best for each budget.

        Pools are best first by utility.

        Args:
            samples: Numbers of samples seen, one dimension.
            sizes: Samples of each pool, in the order of `pools`, or by name for those that may be joined.
        """
        if not isinstance(sizes, Mapping):
            if len(sizes) != len(self.pools):
                raise ConfigError(f"sizes has a value for each of {len(self.pools)} pools: {len(sizes)}")
            sizes = dict(zip(self.pools, sizes, strict=True))
        if not sizes:
            raise ConfigError("sizes names no pool")
        seen = np.atleast_1d(amounts(samples, "samples"))
        order = sorted(sizes, key=lambda pool: (self.utilities[self._place(pool)], self._place(pool)))
        unions = tuple(tuple(order[: count + 1]) for count in range(len(order)))
        errors = np.stack(
            [self.predict_mixture(seen, sizes={pool: sizes[pool] for pool in union}) for union in unions],
            axis=1,
        )
        return BestPool(unions, errors, errors.argmin(axis=1))

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Error of each row of a table with the columns pool, samples, size."""
        columns, pools = columns_of(frame, ["samples", "size"], at="points"), pool_names(frame, at="points")
        found = np.empty(frame.height)
        for pool in dict.fromkeys(pools):
            rows = np.array([each == pool for each in pools])
            found[rows] = self.predict(columns["samples"][rows], pool=pool, size=columns["size"][rows])
        return found

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit a table with the columns pool, samples (seen), size (samples in the pool), error.

        `settings` are those of `quality_quantity_fit.fit_pools`: form, floor, floor_inside, unit, loss,
        delta, bootstrap, seed.
        """
        from curate.laws.quality_quantity_fit import fit_pools

        columns = columns_of(frame, ["samples", "size", "error"])
        return fit_pools(cls, pool_names(frame), columns, **known_settings(fit_pools, settings))

    def _place(self, pool: str) -> int:
        if pool not in self.pools:
            raise ConfigError(f"the law knows no pool {pool}", hint=f"it knows {', '.join(self.pools)}")
        return self.pools.index(pool)

    def _exponents(self, seen: Floats, size: Floats, at: int, share: float = 1.0) -> tuple[Floats, Floats]:
        """Logarithms of the first pass's and the later passes' factors of the error."""
        first, later = log_growth(seen, size, self.half_lives[at] / share)
        b = self.utilities[at]
        return b * (first + np.log(self.scale / self.unit)), b * later

    def _error(self, first: Floats, later: Floats) -> Floats:
        if self.floor_inside:
            return np.asarray((np.exp(first) + self.floor) * np.exp(later))
        return np.asarray(np.exp(first + later) + self.floor)

    def _parts(
        self, sizes: Mapping[str, float], shares: Mapping[str, float] | None
    ) -> list[tuple[int, float, float]]:
        """Place, size and share of each pool that is drawn from."""
        if not sizes:
            raise ConfigError("sizes names no pool")
        known = {self._place(pool): float(amounts(size, f"size of {pool}")) for pool, size in sizes.items()}
        if shares is None:
            total = sum(known.values())
            return [(at, size, size / total) for at, size in known.items()]
        if set(shares) != set(sizes):
            odd = sorted(set(shares) ^ set(sizes))
            raise ConfigError(f"shares and sizes have different pools: {', '.join(odd)}")
        wrong = [f"{pool} {share}" for pool, share in shares.items() if not 0 <= share <= 1]
        if wrong:
            raise DataError(f"a share lies between 0 and 1: {', '.join(wrong)}")
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise DataError(f"shares add to 1: {sum(shares.values())}")
        return [
            (at, size, shares[pool])
            for (at, size), pool in zip(known.items(), sizes, strict=True)
            if shares[pool] > 0
        ]

    def _effective_mixture(self, seen: Floats, parts: list[tuple[int, float, float]]) -> Floats:
        """Product over the stretches between ends of passes, within which no pool's worth changes."""
        edges = self._edges(float(seen.max(initial=0.0)), parts)
        points = np.concatenate([edges, seen.ravel()])
        fresh, top, weight = np.zeros_like(points), np.zeros_like(points), np.zeros_like(points)
        for at, size, share in parts:
            merged, half_life = np.asarray(size / share), self.half_lives[at] / share
            fresh += share * effective(points, merged, half_life)
            worth = share * np.exp2(-np.floor(points / merged * (1 + 1e-12)) / half_life)
            top, weight = top + self.utilities[at] * worth, weight + worth
        # The exponent of the stretch that begins at each edge; 0 where nothing is worth anything any more.
        exponent = np.divide(top, weight, out=np.zeros_like(top), where=weight > 0)[: len(edges)]
        grown = np.log(fresh * self.scale / self.unit)
        steps = np.concatenate([[0.0], np.cumsum(exponent[:-1] * np.diff(grown[: len(edges)]))])
        base = exponent[0] * grown[0]
        stretch = np.maximum(np.searchsorted(edges, seen.ravel(), side="right") - 1, 0)
        at_edge = grown[: len(edges)][stretch]
        log = base + steps[stretch] + exponent[stretch] * (grown[len(edges) :] - at_edge)
        return np.asarray(np.exp(log).reshape(seen.shape) + self.floor)

    def _edges(self, last: float, parts: list[tuple[int, float, float]]) -> Floats:
        """Samples at which some pool's pass ends, up to `last`, before them a point within the first pass."""
        starts = [np.array([min(size / share for _, size, share in parts) / 2])]
        for at, size, share in parts:
            count = min(last * share / size, NEGLIGIBLE * self.half_lives[at] / share + 1)
            if count > MAX_PASSES:
                raise DataError(f"a pool is read {count:.4g} times, at most {MAX_PASSES} are computed")
            starts.append(np.arange(1, int(count) + 1) * (size / share))
        return np.unique(np.concatenate(starts))


def pool_names(frame: pl.DataFrame, *, at: str = "runs") -> list[str]:
    """Names of the column `pool`.

    Raises:
        DataError: there is none, it is not of text, or a name is missing.
    """
    if "pool" not in frame.columns:
        raise DataError(
            f"{at}: there is no column pool", hint=f"the table has {', '.join(frame.columns) or 'no columns'}"
        )
    if frame.schema["pool"] != pl.String:
        raise DataError(f"{at}: the column pool is not of text but of {frame.schema['pool']}")
    if frame["pool"].null_count():
        raise DataError(f"{at}: pool of row {frame['pool'].is_null().arg_max()} is empty")
    return frame["pool"].to_list()
