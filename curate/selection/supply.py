"""Weights that ask no pool for more than it has left.

Water-filling: a pool that is asked for more than remains gets what remains, the excess goes to the others in
proportion to their weights, until nothing changes. The result does not depend on the order of the pools, and
weights that fit already come back as they were.

Cost: a pass over the pools for each round, at most one round a pool; 1,000 pools take about 15 ms.
Not here: who counts what was served, and what happens when nothing is left.
"""

import math
from fractions import Fraction

import numpy as np

from curate.errors import ConfigError
from curate.selection.mixer import Floats, checked, normalised

SUM_TOLERANCE = 1e-12


def within_supply(weights: Floats, *, remaining: Floats, block_tokens: int) -> Floats:
    """Move weight from pools with too little left to the others with weight, in proportion.

    Where the pools with weight have less than a block left together, the shares are those of what is left;
    where they have nothing left, all are 0. Pools with weight 0 stay at 0.

    Args:
        weights: Asked shares, finite, not below 0, not all 0.
        remaining: Tokens still allowed in each pool; infinite is no cap, below 0 is 0.
        block_tokens: Tokens of the block.

    Raises:
        ConfigError: A weight is wrong, `remaining` has NaN or another length, or `block_tokens` is below 1.
    """
    left = np.asarray(remaining, dtype=np.float64)
    if left.shape != np.shape(weights) or np.isnan(left).any():
        raise ConfigError(f"a number of tokens is needed for each of {len(weights)} pools: {left[:8]}")
    if block_tokens < 1:
        raise ConfigError(f"a block has at least one token: {block_tokens}")
    checked(weights, at="weights")
    asked = np.asarray(weights, dtype=np.float64)
    wanted = asked > 0
    left = np.where(wanted, np.maximum(left, 0.0), 0.0)
    total = math.inf if np.isinf(left).any() else sum(map(Fraction, left.tolist()))
    if total <= block_tokens:
        return normalised(left)
    caps = _caps(left, block_tokens)
    if float(asked.max()) <= 1.0 and (asked <= caps).all() and abs(math.fsum(asked) - 1.0) <= SUM_TOLERANCE:
        return asked.copy()
    return _fill(asked, caps)


def _caps(left: Floats, block_tokens: int) -> Floats:
    """The greatest shares that are, as exact numbers, not above what is left; may be infinite."""
    caps = left / block_tokens
    for position in np.flatnonzero(np.isfinite(caps)):
        if Fraction(float(caps[position])) * block_tokens > Fraction(float(left[position])):
            caps[position] = np.nextafter(caps[position], 0.0)
    return caps


def _fill(asked: Floats, caps: Floats) -> Floats:
    """Cap and share out again until no free pool is above its cap; the caps add up to more than 1."""
    result = np.zeros(len(asked))
    free = np.flatnonzero(asked > 0)
    fixed = np.zeros(0)
    while len(free):
        share = normalised(asked[free]) * (1.0 - math.fsum(fixed))
        over = share > caps[free]
        if not over.any():
            result[free] = share
            break
        result[free[over]] = caps[free[over]]
        fixed = np.concatenate([fixed, caps[free[over]]])
        free = free[~over]
    return result
