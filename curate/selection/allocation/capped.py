"""Water-filling: shares in proportion to weights, none above its cap.

Pools are full in the order of cap / weight; before which of them the rest fits below the caps is found from
running sums. Weights are given as logarithms, as those of a convex program may differ by exp(1000).
`curate.selection.supply.within_supply`, which the loader's mixers use, gives the same shares in exact rounds
over the pools; this one sorts once, for budgets of 100,000 pools.

Cost: a sort. Not here: whole tokens (whole.py).
"""

import numpy as np

from curate.selection.mixer import Floats


def capped_shares(weights: Floats, caps: Floats) -> tuple[Floats, np.ndarray]:
    """Share 1 out in proportion to exp(weights), none above its cap; and which are below it.

    The caps add up to at least 1.
    """
    log_caps = np.log(caps)
    order = np.argsort(log_caps - weights, kind="stable")  # the order in which pools are full
    capped = np.concatenate([[0.0], np.cumsum(caps[order])])[:-1]
    rest = np.logaddexp.accumulate(weights[order][::-1])[::-1]
    room = np.maximum(1.0 - capped, 1e-300)  # the caps before may be all there is, and a rounding more
    fits = np.log(room) - rest <= (log_caps - weights)[order]
    first = int(np.argmax(fits)) if fits.any() else len(caps)
    shares, is_free = caps.copy(), np.zeros(len(caps), dtype=bool)
    if first < len(caps):
        free = order[first:]
        is_free[free] = True
        parts = np.exp(weights[free] - weights[free].max())
        shares[free] = np.minimum(parts / parts.sum() * room[first], caps[free])
    return shares, is_free
