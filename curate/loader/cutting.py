"""Blocks: where runs of documents are cut by their tokens.

Each cut depends on what follows in its run alone, so all possible ones are found at once and then walked: for
ten million documents about a second. Not here: what a run is (building.py).
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def most_tokens(target: int) -> int:
    """Tokens that the last block of a run may have."""
    return target + target // 2


def cut(tokens: npt.NDArray[np.uint32], runs: Ints, target: int, *, is_last: bool) -> tuple[Ints, int]:
    """Cut documents into blocks of at most `target` tokens; a document has one at least.

    `runs` are the places at which runs begin, 0 first. Without `is_last` the last run may go on: what depends
    on that is left. Returns the first documents of the blocks, and the place from which to go on.
    """
    num = len(tokens)
    if num == 0:
        return np.zeros(0, np.int64), 0
    sums = np.concatenate([[0], np.cumsum(tokens, dtype=np.int64)])
    ends = np.append(runs[1:], num)
    end_of = np.repeat(ends, np.diff(np.append(runs, num)))
    places = np.arange(num)
    following = np.searchsorted(sums, sums[:-1] + target, side="right") - 1
    following = np.minimum(np.maximum(following, places + 1), end_of)
    is_rest = sums[end_of] - sums[:-1] <= most_tokens(target)
    following[is_rest] = end_of[is_rest]
    steps = following.tolist()
    starts, place = [], 0
    while place < num:
        starts.append(place)
        place = steps[place]
    found = np.array(starts, np.int64)
    if is_last:
        return found, num
    is_open = (end_of[found] == num) & is_rest[found]
    first_open = int(np.argmax(is_open)) if is_open.any() else len(found)
    return found[:first_open], int(found[first_open]) if first_open < len(found) else num
