"""Which pool a lane serves next: stride scheduling by tokens (Waldspurger and Weihl 1995).

Every pool has a pass, which grows by tokens / weight with each piece of a document; the pool with the least
pass is next, ties by name. A piece is at most a sequence, so a lane is never more than a sequence of a pool
ahead of its weight, however long a document is. First passes are spread over the lanes, evenly and in seeded
order: lanes that start alike would choose alike, and pools whose weight is below one document in all that a
lane serves would never come.

When weights change, what a pool is ahead in tokens stays. Not here: who changes them (weights.py), the
choice itself (lane.py).
"""

import numpy as np

from curate.loader.index import Index
from curate.loader.order import key, stratified
from curate.loader.settings import Constants
from curate.loader.state import Floats, LaneArrays


def phases(index: Index, constants: Constants, first: int, stop: int) -> Floats:
    """Tokens that each pool of the lanes `first` to `stop` is ahead when it starts, [lanes, pools]."""
    columns = []
    for number, pool in enumerate(index.pools):
        mean = pool.num_unique_tokens / max(pool.num_docs, 1)
        spread = stratified(constants.num_lanes, key(constants.seed, 0x57A27, number))
        columns.append(spread[first:stop] * min(mean, constants.seq_len))
    return np.stack(columns, axis=1) if columns else np.zeros((stop - first, 0))


def reweigh(arrays: LaneArrays, old: Floats, new: Floats, ahead: Floats) -> None:
    """Change weights from `old` to `new`; pools that had none begin `ahead` tokens after the lane's clock."""
    if np.array_equal(old, new):
        return
    clock = arrays.clock[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        tokens = np.where(old > 0, (arrays.passes - clock) * old, ahead)
        passes = clock + tokens / new
    arrays.passes[:] = np.where(arrays.done | (new <= 0), np.inf, passes)
