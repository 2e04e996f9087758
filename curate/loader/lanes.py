"""Lanes at work: from documents to the sequences of a step, for the lanes that a process hosts.

A lane depends on the index, the constants and the sealed weights alone, so a batch is the same whoever hosts
its lanes. Cost: about 4 us for a piece of a document beside its reading and tokenising. Not here: how ranks
and workers share lanes (feeds.py, world.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from heapq import heapreplace

import numpy as np

from curate.loader.index import Index
from curate.loader.lane import Lane, heap_of
from curate.loader.order import Ints, pool_order
from curate.loader.packing import Piece, pack
from curate.loader.schedule import first_passes, phases, reweigh
from curate.loader.settings import Constants
from curate.loader.state import EMPTY, Delta, Floats, LaneArrays
from curate.loader.stream import Chunks, Reads, Stream, Tokens

PACK_SEQUENCES = 8
"""Sequences' worth of tokens that a lane's packer holds, about."""
SPAN = 6
"""Numbers of a span: row, start, length, pool, document, offset in the document."""


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
        numbers = range(len(arrays))
        self._lanes = [Lane(arrays, number, partial(self._stream, first + number)) for number in numbers]
        self._block = -1
        self._weights: Floats = np.zeros(len(index.pools))
        self._costs: list[float] = []

    def next(self) -> Sequences:
        """The sequences of the next step; lanes that cannot fill theirs are counted in the delta."""
        self._enter_block()
        rows, seq_len = self._constants.rows, self._constants.seq_len
        tokens = np.full((len(self._lanes) * rows, seq_len), self._constants.pad_id, np.int32)
        spans: list[int] = []
        fill = self._split if self._constants.packing == "split" else self._fit
        num_ended, row = 0, 0
        for lane in self._lanes:
            is_filled = True
            for out in tokens[row : row + rows]:
                is_filled &= fill(lane, row, out, spans)
                row += 1
            num_ended += not is_filled
        delta = self._delta(num_ended)
        delta.apply(self.arrays, self.first)
        self.step += 1
        return Sequences(tokens, np.array(spans, np.int64).reshape(-1, SPAN), delta)

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
        for lane in self._lanes:
            lane.take_passes(self._weights.tolist())
        with np.errstate(divide="ignore"):
            self._costs = (1.0 / self._weights).tolist()
        self._block = block

    def _stream(self, lane: int, pool: int) -> Stream:
        return Stream(self._orders[pool], lane, self._reader, self._chunks)

    def _delta(self, num_ended: int) -> Delta:
        """What the step changed."""
        numbers: list[int] = []
        passes: list[float] = []
        for number, lane in enumerate(self._lanes):
            for pool in sorted(lane.touched):
                course = lane.courses[pool]
                numbers += (number, pool, course.window, course.item, course.offset)
                numbers += (course.tokens, course.docs, course.is_done)
                passes.append(lane.passes[pool])
            lane.touched.clear()
        table = np.array(numbers, np.int64).reshape(-1, 8)
        return Delta(
            step=self.step,
            first_lane=self.first,
            touched=table[:, :2].copy(),
            cursor=table[:, 2:5].copy(),
            served=table[:, 5:7].copy(),
            passes=np.array(passes, np.float64),
            done=table[:, 7] > 0,
            clock=np.array([lane.clock for lane in self._lanes]),
            pieces=np.array(self.arrays.pieces),
            num_ended=num_ended,
        )

    def _split(self, lane: Lane, row: int, out: Ints, spans: list[int]) -> bool:
        """Fill a sequence with pieces that are cut where it ends."""
        at, seq_len, heap, costs = 0, self._constants.seq_len, lane.heap, self._costs
        while at < seq_len:
            piece = lane.take(heap, seq_len - at)
            if piece is None:
                return False
            pool = piece.pool
            at = _serve(lane, piece, row, at, out, spans)
            heapreplace(heap, (lane.pay(pool, piece.num_tokens, costs[pool]), pool))
        return True

    def _fit(self, lane: Lane, row: int, out: Ints, spans: list[int]) -> bool:
        """Fill a sequence with whole pieces of the buffer: one of the pool that is due, then what fits."""
        buffer, constants, passes = self._fill_buffer(lane), self._constants, lane.passes
        if not buffer:
            return False
        due = min((passes[piece.pool], piece.pool) for piece in buffer)[1]
        at = 0
        for piece in pack(buffer, constants.seq_len, due=due, best=constants.packing == "best_fit"):
            at = _serve(lane, piece, row, at, out, spans)
            lane.pay(piece.pool, piece.num_tokens, self._costs[piece.pool])
            lane.touched.add(piece.pool)
        held = self.arrays.pieces[lane.number]
        held[:] = EMPTY
        if buffer:
            held[: len(buffer)] = [piece.numbers() for piece in buffer]
        return True

    def _fill_buffer(self, lane: Lane) -> list[Piece]:
        """The lane's pieces, made up to its limits: of each pool as its weight wants beside what is there."""
        buffer, constants, costs = lane.pieces(), self._constants, self._costs
        passes, held = lane.passes.copy(), 0
        for piece in buffer:
            held += piece.num_tokens
            passes[piece.pool] += piece.num_tokens * costs[piece.pool]
        heap = heap_of(passes)
        while len(buffer) < constants.pack_pieces and held < PACK_SEQUENCES * constants.seq_len:
            taken = lane.take(heap, constants.seq_len)
            if taken is None:
                break
            buffer.append(taken)
            held += taken.num_tokens
            heapreplace(heap, (heap[0][0] + taken.num_tokens * costs[taken.pool], taken.pool))
        return buffer


def _serve(lane: Lane, piece: Piece, row: int, at: int, out: Ints, spans: list[int]) -> int:
    """Put a piece into a sequence at a place and count it; where it ends."""
    stop = at + piece.num_tokens
    out[at:stop] = piece.tokens
    spans += (row, at, piece.num_tokens, piece.pool, piece.document, piece.offset)
    course = lane.course(piece.pool)
    course.tokens += piece.num_tokens
    course.docs += piece.ends
    return stop
