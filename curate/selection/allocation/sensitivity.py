"""How an allocation moves when what it rests on is another: the table that goes with every budget by utility.

Ratios of utilities are shrunk and stretched: the logarithm of every strength, from their mean, times 0.8 and
1.25. Half lives are halved and doubled. Where there are intervals, all utilities are put to their weak and
their strong ends, then those of each pool alone, of the pools whose interval is widest.

Cost: one allocation a row. Not here: intervals of the fit (curate.laws).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from curate.selection.allocation.allocation import Shift
from curate.selection.allocation.pools import Pools
from curate.selection.allocation.utilities import Utilities, marginal_tokens
from curate.selection.mixer import Floats, Ints

RATIOS = (0.8, 1.25)
HALF_LIVES = (0.5, 2.0)
MAX_ALONE = 8
"""Pools whose utility is moved alone."""
MAX_SHOWN = 12
"""Pools in a row of the table."""


def marginal_shifts(pools: Pools, target: int, utilities: Utilities, tokens: Ints) -> tuple[Shift, ...]:
    """Allocate again with other utilities."""
    return tuple(
        shift_of(change, pools, target, tokens, marginal_tokens(pools, target, changed)[0])
        for change, changed in _changes(utilities, pools.names)
    )


def shift_of(change: str, pools: Pools, target: int, before: Ints, after: Ints) -> Shift:
    """Compare two allocations of the same target."""
    moved = np.abs(after - before)
    order = np.lexsort((np.arange(len(before)), -before))
    most = np.lexsort((np.arange(len(before)), -moved))
    places = dict.fromkeys([*order[: MAX_SHOWN // 2].tolist(), *most[:MAX_SHOWN].tolist()])
    names = pools.names
    return Shift(
        change=change,
        moved=float(moved.sum(dtype=np.float64)) / 2 / target,
        pools=tuple(
            (names[place], float(after[place] / target), float(after[place] / pools.unique[place]))
            for place in sorted(list(places)[:MAX_SHOWN])
        ),
    )


def _changes(utilities: Utilities, names: Sequence[str]) -> Iterator[tuple[str, Utilities]]:
    logs = np.log(utilities.strengths)
    for factor in RATIOS:
        changed = np.exp(logs.mean() + factor * (logs - logs.mean()))
        yield f"utility ratios x {factor:g}", replace(utilities, strengths=changed)
    for factor in HALF_LIVES:
        yield f"half lives x {factor:g}", replace(utilities, half_lives=factor * utilities.half_lives)
    if utilities.low is None or utilities.high is None:
        return
    for end, values in (("weak", utilities.low), ("strong", utilities.high)):
        yield f"utilities at the {end} ends of their intervals", replace(utilities, strengths=values)
    width = np.log(utilities.high) - np.log(utilities.low)
    widest = np.lexsort((np.arange(len(width)), -width))[:MAX_ALONE]
    for place in widest[width[widest] > 0].tolist():
        for end, values in (("weak", utilities.low), ("strong", utilities.high)):
            alone = _with(utilities.strengths, place, float(values[place]))
            yield f"{names[place]} at its {end} end", replace(utilities, strengths=alone)


def _with(values: Floats, place: int, value: float) -> Floats:
    changed = values.copy()
    changed[place] = value
    return changed
