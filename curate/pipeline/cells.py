"""Pools of a plan: codes and names of the cells of columns and tiers.

A pool is a value of a column, a combination of values of several (`web/en`; there a slash in a value is
written %2F), or a tier of quality of one of these (`web/q0-10`). Codes are given in the order of the first
document, so they depend on the corpus alone. Not here: budgets of pools.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError
from curate.pipeline.plansettings import Pools
from curate.selection.candidates import ALL, NO_POOL
from curate.selection.tiers import NO_SCORE, Ranks, TierCuts, find_tiers, tier_names

NULL_TIER = "plan.null_tier"
"""The score that tiers are cut by is null or NaN."""

MAX_POOLS = 2**16 - 1
"""What the rows of a plan can hold."""

Codes = npt.NDArray[np.uint32]


class PoolNames:
    """Values of the columns in the order of their first document."""

    def __init__(self, pools: Pools) -> None:
        """Start with none; without columns there is one pool."""
        self.columns = pools.columns
        self.names: list[str] = [] if self.columns else [ALL]
        self._codes: dict[str, int] = {name: code for code, name in enumerate(self.names)}

    def codes(self, frame: pl.DataFrame) -> Codes:
        """Give every row its code; null is a pool of its own."""
        if not self.columns or frame.is_empty():
            return np.zeros(len(frame), np.uint32)
        texts = _names(frame, self.columns)
        for name in texts.unique(maintain_order=True):
            if name not in self._codes:
                self._codes[name] = len(self.names)
                self.names.append(name)
        if len(self.names) == 1:
            return np.zeros(len(texts), np.uint32)
        return texts.replace_strict(self._codes, return_dtype=pl.UInt32).to_numpy()


def _names(frame: pl.DataFrame, columns: tuple[str, ...]) -> pl.Series:
    texts = [pl.col(name).cast(pl.String).fill_null(NO_POOL) for name in columns]
    if len(texts) > 1:
        texts = [
            text.str.replace_all("%", "%25", literal=True).str.replace_all("/", "%2F", literal=True)
            for text in texts
        ]
    return frame.select(pl.concat_str(texts, separator="/").alias("pool"))["pool"]


class Cells:
    """The pools that budgets are for: those of the columns, or their tiers."""

    def __init__(self, pools: Pools) -> None:
        """Start without tiers; `cut` finds them."""
        self._settings = pools
        self.base = PoolNames(pools)
        self._cuts: TierCuts | None = None
        self._names: list[str] = []

    @property
    def has_tiers(self) -> bool:
        """Whether pools are cut by a score."""
        return self._settings.tiers is not None

    def cut(self, chunks: Callable[[], Iterable[tuple[Codes, Ranks, Any]]], *, max_rows: int) -> None:
        """Find where tiers end, from pools, ranks and tokens of what survives; fixes the names.

        Raises:
            ConfigError: there are too many pools.
        """
        tiers = self._settings.tiers
        self._names = list(self.base.names)
        if tiers is not None:
            self._cuts = find_tiers(tiers, chunks, len(self.base.names), max_rows=max_rows)
            single = not self.base.columns
            self._names = tier_names(self.base.names, tiers.names, unscored=NO_POOL, single=single)
        if len(self._names) > MAX_POOLS:
            raise ConfigError(
                f"a plan has at most {MAX_POOLS} pools, plan.pools makes: {len(self._names)}",
                hint="divide by a column with fewer values, or have fewer tiers",
            )

    @property
    def names(self) -> list[str]:
        """Names of all pools, by code."""
        return self._names

    def codes(self, base: Codes, ranks: Ranks | None) -> Codes:
        """The pool of each row, given that of the columns and the rank of the score."""
        if self._cuts is None or ranks is None:
            return base
        return base * np.uint32(self._cuts.num_tiers + 1) + self._cuts.tiers(base, ranks)

    def unscored(self, ranks: Ranks | None) -> npt.NDArray[np.bool_] | None:
        """Rows without a score for the tiers; None where there are no tiers."""
        return None if ranks is None else ranks == NO_SCORE
