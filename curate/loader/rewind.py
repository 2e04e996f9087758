"""The last steps that were handed out, so that a state can be of a step before them.

Some training loops fetch a batch or more before they train on the one before (Accelerate, Lightning). A
state then has to leave out what was fetched only. Before lanes move, the numbers that a step will change are
kept, for a few steps. Cost: a copy of what a step touches, some hundred bytes a lane. Not here: the weights
(weights.py), which stay sealed however far a state goes back.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from curate.errors import StateError
from curate.loader.lanes import Sequences
from curate.loader.state import Delta, Floats, LaneArrays

KEPT_STEPS = 8
"""Steps that a state can go back."""


def undo(arrays: LaneArrays, delta: Delta, first_lane: int) -> Delta:
    """The delta that brings arrays, the first of lane `first_lane`, back from where `delta` moves them."""
    start = delta.first_lane - first_lane
    lanes, pools = delta.touched[:, 0] + start, delta.touched[:, 1]
    stop = start + len(delta.clock)
    return replace(
        delta,
        cursor=arrays.cursor[lanes, pools],
        served=arrays.served[lanes, pools],
        passes=arrays.passes[lanes, pools],
        done=arrays.done[lanes, pools],
        clock=arrays.clock[start:stop].copy(),
        pieces=arrays.pieces[start:stop].copy(),
    )


class Rewind:
    """What the last steps changed."""

    def __init__(self) -> None:
        self._steps: deque[tuple[list[Delta], Floats | None]] = deque(maxlen=KEPT_STEPS)

    def clear(self) -> None:
        """Forget all steps: from here on nothing goes further back."""
        self._steps.clear()

    def __len__(self) -> int:
        return len(self._steps)

    def keep(
        self, arrays: LaneArrays, parts: Sequence[Sequences], first_lane: int, *, reweighs: bool
    ) -> None:
        """Note a step before its parts are applied, and before weights change if it `reweighs`."""
        passes = arrays.passes.copy() if reweighs else None
        self._steps.append(([undo(arrays, part.delta, first_lane) for part in parts], passes))

    def back(self, arrays: LaneArrays, first_lane: int, num_steps: int) -> LaneArrays:
        """The arrays as they were some steps ago.

        Raises:
            StateError: these steps are not kept.
        """
        if not 0 <= num_steps <= len(self._steps):
            raise StateError(
                f"a state can go back {len(self._steps)} steps here, not {num_steps}",
                hint=f"at most {KEPT_STEPS} are kept, none before a state was loaded or the plan changed",
            )
        if num_steps == 0:
            return arrays
        before = arrays.part(0, len(arrays))
        for deltas, passes in list(self._steps)[: -num_steps - 1 : -1]:
            for delta in deltas:
                delta.apply(before, first_lane)
            if passes is not None:
                before.passes[:] = passes
        return before
