"""Lanes at work: from documents to the sequences of a step, for the lanes that a process hosts.

A lane depends on the index, the constants and the sealed weights alone, so a batch is the same whoever hosts
its lanes. Not here: how pieces of documents fill sequences (splitting.py, fitting.py), how ranks and workers
share lanes (feeds.py, world.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate.loader.fitting import Fit
from curate.loader.index import Index
from curate.loader.order import Ints, pool_order
from curate.loader.schedule import first_passes, phases, reweigh
from curate.loader.settings import Constants
from curate.loader.splitting import Moved, Split
from curate.loader.state import Delta, Floats, LaneArrays
from curate.loader.stream import Chunks, Reads, Stream, Tokens


@dataclass
class Sequences:
    """What some lanes give in one step: tokens [rows, seq_len], and the spans of documents in them."""

    tokens: Tokens
    spans: Ints
    """For each span row of the batch, start, length, pool, document (position in the index), offset."""
    delta: Delta


def new_lanes(index: Index, constants: Constants, weights: Floats, first: int, stop: int) -> LaneArrays:
    """Lanes `first` to `stop` as they begin a run."""
    num_pieces = 0 if constants.packing == "split" else constants.pack_pieces
    arrays = LaneArrays.new(stop - first, len(index.pools), num_pieces)
    for pool in range(len(index.pools)):
        arrays.done[:, pool] = pool_order(index, constants, pool).is_empty(np.arange(first, stop))
    passes = first_passes(index, constants, weights, first, stop)
    arrays.passes[:] = np.where(arrays.done, np.inf, passes)
    return arrays


class Lanes:
    """Some consecutive lanes, moved ahead step by step."""

    def __init__(  # over: what a lane depends on, and where it stands
        self,
        index: Index,
        constants: Constants,
        reader: Reads,
        chunks: Chunks,
        *,
        weights: Callable[[int], Floats],
        arrays: LaneArrays,
        first: int,
        step: int,
        began: int,
    ) -> None:
        """Go on from `arrays` at `step`; `weights` gives those of a block, and may wait for them.

        The lanes were new at the step `began`.
        """
        self.arrays, self.first, self.step, self._began = arrays, first, step, began
        self._constants, self._reader, self._chunks = constants, reader, chunks
        self._weights_of = weights
        self._phases = phases(index, constants, first, first + len(arrays))
        self._orders = [pool_order(index, constants, pool) for pool in range(len(index.pools))]
        work = Split if constants.packing == "split" else Fit
        self._work: Split | Fit = work(constants, arrays, self._stream)
        self._block = -1
        self._weights: Floats = np.zeros(len(index.pools))

    def next(self) -> Sequences:
        """The sequences of the next step; lanes that cannot fill theirs are counted in the delta."""
        self._enter_block()
        rows = len(self.arrays) * self._constants.rows
        tokens = np.empty((rows, self._constants.seq_len), np.int32)
        moved = self._work.step(tokens)
        delta = self._delta(moved)
        delta.apply(self.arrays, self.first)
        self.step += 1
        return Sequences(tokens, moved.spans, delta)

    def bytes_read(self) -> tuple[int, int]:
        """Bytes that were read from storage, and bytes that were served of them."""
        stats = self._reader.stats
        return stats.bytes_read, stats.bytes_served

    def _enter_block(self) -> None:
        block, steps = self._constants.block_of(self.step), self._constants.block_steps
        if block == self._block:
            return
        old, self._weights = self._weights, self._weights_of(block)
        if self.step % steps == 0 and self.step != self._began:
            if self._block < 0:
                old = self._weights_of(block - 1)
            reweigh(self.arrays, old, self._weights, self._phases)
        self._work.reweigh(self._weights, self.arrays)
        self._block = block

    def _stream(self, lane: int, pool: int) -> Stream:
        in_place = self._constants.packing == "split"
        return Stream(self._orders[pool], self.first + lane, self._reader, self._chunks, in_place=in_place)

    def _delta(self, moved: Moved) -> Delta:
        """What the step changed."""
        places = moved.places
        return Delta(
            step=self.step,
            first_lane=self.first,
            touched=places[:, :2].copy(),
            cursor=places[:, 2:5].copy(),
            served=places[:, 5:7].copy(),
            passes=moved.passes,
            done=places[:, 7] > 0,
            clock=moved.clock,
            pieces=np.array(self.arrays.pieces),
            num_ended=moved.num_ended,
        )
