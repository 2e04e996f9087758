"""The remainder of a pool, dealt so that all lanes run out of it together.

Blocks are dealt round after round, so lanes get as many of them, but not as many tokens. Where a pool has an
end, its last blocks are dealt by documents instead: every lane gets what brings all to one level, as a run of
consecutive documents, so that hardly a block is read by more than two lanes. What the lanes have of a pool
then differs by about a document. It depends on the index, the seed and the number of lanes alone.

Cost: a pass over the pool's tokens when the first lane comes to its remainder. Not here: the order of blocks
(order.py).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def levelled(loads: Ints, amount: int) -> Ints:
    """Share an amount out so that the least loaded are brought to one level, as far as it goes."""
    order = np.argsort(loads, kind="stable")
    rising = loads[order]
    levels = (amount + np.cumsum(rising)) // np.arange(1, len(loads) + 1)
    count = int(np.count_nonzero(rising <= levels))
    given = np.zeros(len(loads), np.int64)
    given[order[:count]] = np.maximum(levels[count - 1] - rising[:count], 0)
    given[order[: amount - int(given.sum())]] += 1
    return given


def owners(tokens: Ints, loads: Ints) -> Ints:
    """Who gets each document, in runs; whoever the middle of a document falls to."""
    ends = np.cumsum(levelled(loads, int(tokens.sum())))
    middles = np.cumsum(tokens) - (tokens + 1) // 2
    return np.minimum(np.searchsorted(ends, middles, side="right"), len(loads) - 1)


def deal(sections: Sequence[Ints], loads: Ints) -> list[Ints]:
    """Deal section after section of a pool's remainder.

    Args:
        sections: tokens of the documents of each.
        loads: tokens that everyone has before.

    Returns:
        Who gets each document of each section.
    """
    loads, found = loads.copy(), []
    for tokens in sections:
        who = owners(tokens, loads)
        loads += np.bincount(who, weights=tokens, minlength=len(loads)).astype(np.int64)
        found.append(who)
    return found
