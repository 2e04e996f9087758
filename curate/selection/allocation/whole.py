"""From real numbers of tokens to whole ones: the sum is exact, no cap is passed, ties go by place.

Cost: a sort. Not here: what the real numbers are (proportional.py, stepwise.py, smooth.py, program.py).
"""

import numpy as np

from curate.selection.allocation.pools import exact_sum
from curate.selection.budget import split_budget
from curate.selection.mixer import Floats, Ints


def whole_tokens(parts: Floats, caps: Ints, target: int, *, values: Floats | None = None) -> Ints:
    """Round to whole tokens whose sum is the target.

    Rounded down, then one token more for each of the pools where the next token has the highest value, and of
    these for the largest remainder, then the first. Where the real numbers add up to something else by more
    than a token a pool (they are doubles), the difference is shared out by what room there is.

    Args:
        parts: Tokens of each pool, not below 0.
        caps: Greatest tokens of each pool; they add up to at least the target.
        target: The wanted sum.
        values: How much the next token after rounding down is worth in each pool; None is all the same.
    """
    tokens = np.minimum(np.floor(parts).astype(np.int64), caps)
    left = target - exact_sum(tokens)
    remainder = parts - tokens
    worth = np.zeros(len(parts)) if values is None else values
    room, sign = (caps - tokens, 1) if left > 0 else (tokens.copy(), -1)
    order = np.lexsort((np.arange(len(parts)), -sign * remainder, -sign * worth))
    first = order[room[order] > 0][: abs(left)]
    if len(first) == abs(left):
        tokens[first] += sign
    else:
        tokens += sign * shared_out(abs(left), room)
    return tokens


def shared_out(budget: int, room: Ints) -> Ints:
    """Share whole tokens out in proportion to `room`, ties by place; the room is at least the budget."""
    places = np.flatnonzero(room)
    width = len(str(len(room)))
    by_place = {f"{place:0{width}}": int(room[place]) for place in places.tolist()}
    tokens = np.zeros(len(room), dtype=np.int64)
    tokens[places] = list(split_budget(budget, by_place).values())
    return tokens
