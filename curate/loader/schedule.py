"""Which pool a lane serves next: stride scheduling by tokens (Waldspurger and Weihl 1995).

Every pool has a pass, which grows by tokens / weight with each piece of a document; the pool with the least
pass is next, ties by name. A piece is at most a sequence, so a lane is never much more than a sequence of a
pool ahead of or behind its weight, however long documents are.

Lanes begin as if they had run for ever, each at another time: lanes that start alike would choose alike,
and pools whose weight is below one document in all that a lane serves would never come. So the first pass
of a pool is what would be left of a piece at a random token, spread evenly over the lanes; and the pool
that is due first is drawn as pieces follow one another, in proportion to weight / tokens of a piece (Palm's
distribution), or batches of equal pieces would swing for ever.

When weights change, what a pool is ahead of the lane's clock, in tokens, stays; the clock is the tokens
that the lane served, so shares follow the weights over any number of changes. Not here: who changes them
(weights.py), the choice itself (lane.py).
"""

import numpy as np

from curate.loader.index import Index
from curate.loader.order import key, stratified
from curate.loader.settings import Constants
from curate.loader.state import Floats, LaneArrays

SAMPLE_DOCS = 256
"""Documents of a pool by which the lengths of its pieces are judged."""


def _pieces(index: Index, constants: Constants, pool: int) -> Floats:
    """Tokens of some of a pool's documents, at most a sequence each."""
    facts = index.pools[pool]
    if facts.num_docs == 0:
        return np.ones(1)
    start = index.block(pool, 0)[0]
    docs = start + np.arange(min(facts.num_docs, SAMPLE_DOCS)) * facts.num_docs // min(
        facts.num_docs, SAMPLE_DOCS
    )
    return np.clip(index.tokens[docs].astype(np.float64), 1, constants.seq_len)


def phases(index: Index, constants: Constants, first: int, stop: int) -> Floats:
    """Tokens that each pool of the lanes `first` to `stop` is ahead when it starts, [lanes, pools]."""
    columns = []
    for pool in range(len(index.pools)):
        ends = np.cumsum(_pieces(index, constants, pool))
        spread = stratified(constants.num_lanes, key(constants.seed, 0x57A27, pool))[first:stop]
        tokens = spread * ends[-1]
        columns.append(ends[np.searchsorted(ends, tokens)] - tokens)
    return np.stack(columns, axis=1) if columns else np.zeros((stop - first, 0))


def first_passes(index: Index, constants: Constants, weights: Floats, first: int, stop: int) -> Floats:
    """Passes of the lanes `first` to `stop` at their beginning, [lanes, pools]; infinite without a weight."""
    with np.errstate(divide="ignore", invalid="ignore"):
        passes = np.where(weights > 0, phases(index, constants, first, stop) / weights, np.inf)
    means = np.array([_pieces(index, constants, pool).mean() for pool in range(len(weights))])
    ends = np.cumsum(weights / means) if len(weights) else np.zeros(0)
    if len(weights) and ends[-1] > 0:
        spread = stratified(constants.num_lanes, key(constants.seed, 0xD0E))[first:stop]
        due = np.searchsorted(ends, spread * ends[-1])
        passes[np.arange(stop - first), due] = 0.0
    return passes


def reweigh(arrays: LaneArrays, old: Floats, new: Floats, ahead: Floats) -> None:
    """Change weights from `old` to `new`; pools that had none begin `ahead` tokens after the lane's clock."""
    if np.array_equal(old, new):
        return
    clock = arrays.clock[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        tokens = np.where(old > 0, (arrays.passes - clock) * old, ahead)
        passes = clock + tokens / new
    arrays.passes[:] = np.where(arrays.done | (new <= 0), np.inf, passes)
