"""Quality tiers: pools cut by quantiles of a score, so that the best tenth can have a budget of its own.

Quantiles are exact and weighted by tokens, over the documents that filters and duplicates leave and that have
a score. A tier ends at a score value, so documents with equal scores are never apart: the best tier of
quantile q ends at the greatest score for which the documents from it on have at least the share q of the
tokens. Tiers that get no documents because of that are empty.

Cost: two to four passes over 24 bytes a document (cutter.py). Not here: budgets of the tiers (allocation).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from curate.errors import ConfigError
from curate.filters.expression import parse_expression
from curate.schema import Settings
from curate.selection.cutter import Candidates, find_cuts
from curate.selection.sample import order_keys

Ranks = npt.NDArray[np.uint64]

NO_SCORE = np.uint64(2**64 - 1)
"""Rank of a document without a score: no number has it."""

_WORST = int(NO_SCORE) - 1


class Tiers(Settings):
    """How a pool is divided by quality."""

    of: str
    """SQL expression over columns, the greater the better: `quality.score`."""
    quantiles: list[float] = Field(min_length=1, max_length=100)
    """Where tiers end, as shares of the tokens from the best on, ascending: [0.1, 0.2, 0.4]; a last tier has
    the rest."""
    within: Literal["corpus", "pool"] = "corpus"
    """Whether quantiles are of the whole corpus, or of each pool by itself."""

    @field_validator("of")
    @classmethod
    def _is_sql(cls, value: str) -> str:
        if not parse_expression(value).columns:
            raise ConfigError(f"plan.pools.tiers.of reads at least one column: {value}")
        return value

    @field_validator("quantiles")
    @classmethod
    def _ascend(cls, value: list[float]) -> list[float]:
        for number, before in zip(value, [0.0, *value], strict=False):
            if not (math.isfinite(number) and before < number < 1):
                raise ConfigError(
                    f"plan.pools.tiers.quantiles ascend, each above 0 and below 1: {value}",
                    hint="[0.1, 0.2] makes the tiers q0-10, q10-20 and q20-100",
                )
        return value

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tiers, the best first: `q0-10`, ..., `q40-100`."""
        ends = [f"{float(100 * Fraction(repr(number))):.15g}" for number in (0.0, *self.quantiles, 1.0)]
        return tuple(f"q{low}-{high}" for low, high in pairwise(ends))


def ranks_of(scores: npt.NDArray[np.float64]) -> Ranks:
    """Unsigned integers that ascend from the best score; NaN has `NO_SCORE`."""
    is_null = np.isnan(scores)
    ranks = ~order_keys(np.where(is_null, 0.0, scores))
    return np.where(is_null, NO_SCORE, ranks)


class TierCuts:
    """Where the tiers end, for the corpus or for each pool."""

    def __init__(self, settings: Tiers, last: Ranks) -> None:
        """Take the last rank of each tier but the worst: of shape [1 or pools, quantiles], ascending."""
        self._last = last
        self._is_local = settings.within == "pool"
        self.num_tiers = last.shape[1] + 1

    def tiers(self, pools: npt.NDArray[np.uint32], ranks: Ranks) -> npt.NDArray[np.uint32]:
        """Number of the tier of each row, the best is 0; `num_tiers` where there is no score."""
        tier = np.zeros(len(ranks), np.uint32)
        for number in range(self._last.shape[1]):
            last = self._last[:, number]
            tier += ranks > (last[pools] if self._is_local else last[0])
        return np.where(ranks == NO_SCORE, np.uint32(self.num_tiers), tier)


def find_tiers(
    settings: Tiers,
    chunks: Callable[[], Iterable[tuple[Any, Ranks, Any]]],
    num_pools: int,
    *,
    max_rows: int,
) -> TierCuts:
    """Find where the tiers end.

    Args:
        settings: Quantiles, and of what.
        chunks: Gives pools, ranks and tokens of all documents that count, anew on each call.
        num_pools: Pools are below it.
        max_rows: Documents that are sorted in memory.
    """
    size = num_pools if settings.within == "pool" else 1
    docs, tokens = np.zeros(size, np.int64), np.zeros(size, np.int64)

    def scored() -> Iterable[Candidates]:
        for pools, ranks, counts in chunks():
            has = ranks != NO_SCORE
            groups = pools[has] if size > 1 else np.zeros(int(has.sum()), np.uint32)
            yield Candidates(groups, ranks[has], np.zeros(len(groups), np.int64), counts[has])

    for chunk in scored():
        docs += np.bincount(chunk.pools, minlength=size)
        tokens += np.bincount(chunk.pools, chunk.tokens, minlength=size).astype(np.int64)
    shares = [Fraction(repr(number)) for number in settings.quantiles]
    budgets = [math.ceil(share * total) for total in tokens.tolist() for share in shares]
    cuts = find_cuts(
        scored,
        budgets,
        list(zip(docs.tolist(), tokens.tolist(), strict=True)),
        pools=[pool for pool in range(size) for _ in shares],
        with_ties=True,
        max_rows=max_rows,
    )
    last = [_WORST if cut.rank is None else cut.rank for cut in cuts]
    return TierCuts(settings, np.array(last, np.uint64).reshape(size, len(shares)))


def tier_names(pools: Sequence[str], tiers: Sequence[str], *, unscored: str, single: bool) -> list[str]:
    """Names of the cells pool x (tiers and a last one without a score), pool after pool: `web/q0-10`.

    With `single` there is one pool, which has no name: `q0-10`.
    """
    every = (*tiers, unscored)
    if single:
        return list(every)
    return [f"{pool}/{tier}" for pool in pools for tier in every]
