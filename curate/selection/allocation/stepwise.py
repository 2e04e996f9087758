"""Each next token where its utility is highest, when it falls by steps: b * 0.5^(floor(epochs) / half life).

The form of the scaling laws for data filtering (Goyal et al. 2024, arXiv:2404.07177): all tokens of one pass
over a pool have the same utility, those of the next pass less. So the budget takes passes of pools in the
order of their utility, and cuts the last ones: exact. Passes are not listed: their number above a level of
utility is a formula, and the level where the budget is full is found by bisection. Passes of the same
utility at the cut are cut in proportion to their tokens.

Utilities are compared as log2(b) - pass / half life, which falls with the pass in doubles, too.

Cost: about 60 rounds over the pools, half a second for 100,000, whatever the caps. Not here: utility that
falls within a pass (smooth.py).
"""

import math

import numpy as np

from curate.selection.allocation.pools import Pools, exact_sum
from curate.selection.allocation.whole import shared_out
from curate.selection.mixer import Floats, Ints


def stepwise_tokens(pools: Pools, target: int, logs: Floats, half_lives: Floats) -> tuple[Ints, float]:
    """Share the target out; the caps together allow it.

    Args:
        pools: The pools.
        target: Tokens wanted.
        logs: Logarithm to the base 2 of the utility of a fresh token of each pool.
        half_lives: Epochs in which the utility halves.

    Returns:
        Tokens of each pool, and the logarithm of the utility of the last pass that is taken.
    """
    passes = _Passes(pools, target, logs, half_lives)
    low, high = passes.lowest(), math.nextafter(float(logs.max()), math.inf)
    while True:
        above = passes.tokens(math.nextafter(low, math.inf))
        if exact_sum(above) < target:
            break
        middle = low + (high - low) / 2
        if not low < middle < high:
            middle = math.nextafter(low, math.inf)
        if exact_sum(passes.tokens(middle)) >= target:
            low = passes.lowest_from(middle)
        else:
            high = middle
    room = passes.tokens(low) - above
    return above + shared_out(target - exact_sum(above), room), low


class _Passes:
    """Passes over pools by the logarithm of their utility."""

    def __init__(self, pools: Pools, target: int, logs: Floats, half_lives: Floats) -> None:
        self._unique, self._logs, self._half_lives = pools.unique, logs, half_lives
        self._caps = np.minimum(pools.caps, target)
        self._most = -(-self._caps // self._unique)

    def counts(self, level: float) -> Ints:
        """Number of passes of each pool whose utility is at or above the level, under the caps."""
        guess = np.floor((self._logs - level) * self._half_lives) + 1
        count = np.clip(guess, 0, self._most).astype(np.int64)
        count += (count < self._most) & (self._logs - count / self._half_lives >= level)
        count -= (count > 0) & (self._logs - (count - 1) / self._half_lives < level)
        return np.asarray(count)

    def tokens(self, level: float) -> Ints:
        """Tokens of these passes."""
        return np.asarray(np.minimum(self.counts(level) * self._unique, self._caps))

    def lowest(self) -> float:
        """Utility of the least useful pass under the caps."""
        return float((self._logs - np.maximum(self._most - 1, 0) / self._half_lives).min())

    def lowest_from(self, level: float) -> float:
        """Utility of the least useful pass that is at or above the level; there is one."""
        count = self.counts(level)
        return float((self._logs - (count - 1) / self._half_lives)[count > 0].min())
