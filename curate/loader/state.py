"""Where lanes stand: a few numbers for each lane and pool, and the changes that a step makes to them.

A worker moves its lanes ahead; with every step it sends what changed, and the main process applies that to
its own copy when it hands the step out. So the copy describes what was handed out, never what was prefetched.
All arrays have a fixed shape, which is what checkpoints of many ranks want. 49 bytes a lane and pool.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from curate.errors import StateError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

WINDOW, ITEM, OFFSET = 0, 1, 2
"""Columns of a cursor: the window, the document in it, tokens of that which are served."""
TOKENS, DOCS = 0, 1
"""Columns of what was served: tokens, and documents to their last token."""
EMPTY = -1
"""Pool of a place in the packer's buffer that holds nothing."""
PIECE = 6
"""Numbers of a buffered piece: pool, window, item, offset, tokens, tokens of the document."""


@dataclass
class LaneArrays:
    """State of some lanes; the first axis is the lane."""

    cursor: Ints
    served: Ints
    passes: Floats
    """Of each pool, in tokens by weight: the least is served next. Infinite where it cannot be."""
    done: npt.NDArray[np.bool_]
    """Whether the pool has no document left for the lane."""
    clock: Floats
    """Tokens that the lane served, by the weights of the pools that had something left."""
    pieces: Ints
    """Pieces that the packer holds, oldest first."""

    @classmethod
    def new(cls, num_lanes: int, num_pools: int, num_pieces: int) -> Self:
        """Lanes that have served nothing; `passes` are still to be set."""
        return cls(
            cursor=np.zeros((num_lanes, num_pools, 3), np.int64),
            served=np.zeros((num_lanes, num_pools, 2), np.int64),
            passes=np.zeros((num_lanes, num_pools)),
            done=np.zeros((num_lanes, num_pools), np.bool_),
            clock=np.zeros(num_lanes),
            pieces=np.full((num_lanes, num_pieces, PIECE), EMPTY, np.int64),
        )

    def __len__(self) -> int:
        return len(self.clock)

    def lane(self, number: int) -> dict[str, np.ndarray]:
        """The arrays of one lane, copied."""
        return {field.name: np.array(getattr(self, field.name)[number]) for field in fields(self)}

    def set_lane(self, number: int, arrays: dict[str, np.ndarray], name: str) -> None:
        """Take the arrays of one lane over.

        Raises:
            StateError: an array is missing or of another shape.
        """
        for field in fields(self):
            mine = getattr(self, field.name)
            if field.name not in arrays:
                raise StateError(f"the state of {name} has no {field.name}")
            value = np.asarray(arrays[field.name])
            if value.shape != mine[number].shape or value.dtype != mine.dtype:
                raise StateError(
                    f"{field.name} of {name} has another shape or type than this run: {value.shape} "
                    f"{value.dtype} and {mine[number].shape} {mine.dtype}"
                )
            if np.isnan(value).any() or (field.name != "pieces" and (value < 0).any()):
                raise StateError(f"{field.name} of {name} has numbers that cannot be: NaN or below 0")
            mine[number] = value

    def part(self, first: int, stop: int) -> "LaneArrays":
        """Copy of the lanes `first` to `stop`."""
        return LaneArrays(*(np.array(getattr(self, field.name)[first:stop]) for field in fields(self)))


@dataclass
class Delta:
    """What one step changed of some consecutive lanes, and what it served."""

    step: int
    first_lane: int
    touched: Ints
    """Pairs of lane (from 0 in the delta) and pool."""
    cursor: Ints
    served: Ints
    passes: Floats
    done: npt.NDArray[np.bool_]
    clock: Floats
    pieces: Ints
    num_ended: int = 0
    """Lanes that could not fill their sequences."""

    def apply(self, arrays: LaneArrays, first_lane: int) -> None:
        """Bring arrays that begin with lane `first_lane` up to the end of the step."""
        start = self.first_lane - first_lane
        lanes, pools = self.touched[:, 0] + start, self.touched[:, 1]
        arrays.cursor[lanes, pools] = self.cursor
        arrays.served[lanes, pools] = self.served
        arrays.passes[lanes, pools] = self.passes
        arrays.done[lanes, pools] = self.done
        stop = start + len(self.clock)
        arrays.clock[start:stop] = self.clock
        arrays.pieces[start:stop] = self.pieces
