"""Each next token where its utility is highest, when utility falls smoothly with repeats.

The form of the data-constrained law (Muennighoff et al. 2023, arXiv:2305.16264): a token of the first pass
is worth u, one after x passes u * exp(-(x - 1) / R). At the optimum all pools that are neither empty, nor
full, nor within their first pass have the same marginal utility. The tokens at a common level are a line in
its logarithm between breakpoints (a pool enters, a pool reaches its cap); the piece is found by bisection,
the level on it by division: exact up to doubles, and whole tokens are then given by what the next one is
worth, so that no other whole numbers have a higher utility. Pools that enter at the level share in
proportion.

Cost: about 20 rounds over the pools. Not here: utility that falls by steps (stepwise.py).
"""

import numpy as np

from curate.selection.allocation.pools import Pools
from curate.selection.allocation.whole import whole_tokens
from curate.selection.mixer import Floats, Ints


def smooth_tokens(pools: Pools, target: int, logs: Floats, repeats: Floats) -> tuple[Ints, float]:
    """Share the target out; the caps together allow it.

    Args:
        pools: The pools.
        target: Tokens wanted.
        logs: Natural logarithm of the utility of a fresh token of each pool.
        repeats: R of each pool: repeated passes in which the utility of one more falls to 1/e.

    Returns:
        Tokens of each pool, and the logarithm of the common utility.
    """
    unique = pools.unique.astype(np.float64)
    caps = np.minimum(pools.caps, target).astype(np.float64)
    full_at = logs - np.maximum(caps / unique - 1.0, 0.0) / repeats

    def tokens(level: float, *, entering: bool) -> Floats:
        inside = logs >= level if entering else logs > level
        drawn = unique * (1.0 + repeats * np.maximum(logs - level, 0.0))
        return np.where(inside, np.where(full_at >= level, caps, np.minimum(drawn, caps)), 0.0)

    points = np.unique(np.concatenate([logs, full_at]))
    low, high = 0, len(points) - 1  # the greatest point where enough is taken
    while low < high:
        middle = (low + high + 1) // 2
        if tokens(float(points[middle]), entering=True).sum() >= target:
            low = middle
        else:
            high = middle - 1
    level = float(points[low])
    before, after = tokens(level, entering=False), tokens(level, entering=True)
    if before.sum() >= target:
        slope = (unique * repeats)[(logs > level) & (full_at <= level)].sum()
        level += float((before.sum() - target) / slope) if slope > 0 else 0.0
        parts = tokens(level, entering=False)
    else:
        parts = before + (after - before) * ((target - before.sum()) / (after - before).sum())
    values = _next_token(np.floor(parts), unique, logs, repeats)
    return whole_tokens(parts, np.minimum(pools.caps, target), target, values=values), level


def _next_token(tokens: Floats, unique: Floats, logs: Floats, repeats: Floats) -> Floats:
    """Logarithm of what one token more is worth: the utility over its length, which falls."""
    one = 1.0 / (unique * repeats)
    falling = np.log(-np.expm1(-one) / one) - (tokens / unique - 1.0) / repeats
    return np.asarray(logs + np.where(tokens >= unique, falling, 0.0))
