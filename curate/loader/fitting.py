"""Sequences of whole pieces that fit, chosen from a buffer of each lane.

Cost: about 4 us for a piece of a document, and the sorting of the buffer. Not here: which pieces fit
(packing.py), sequences that are cut where they end (splitting.py).
"""

from collections.abc import Callable
from functools import partial
from heapq import heapreplace

import numpy as np

from curate.loader.lane import Lane, heap_of
from curate.loader.packing import Piece, pack
from curate.loader.settings import Constants
from curate.loader.splitting import SPAN, Moved
from curate.loader.state import EMPTY, Floats, LaneArrays
from curate.loader.stream import Stream, Tokens

PACK_SEQUENCES = 8
"""Sequences' worth of tokens that a lane's packer holds, about."""


class Fit:
    """Some consecutive lanes, whose documents are cut only where they are longer than a sequence."""

    def __init__(
        self, constants: Constants, arrays: LaneArrays, stream_of: Callable[[int, int], Stream]
    ) -> None:
        """`stream_of` gives the stream of a lane, from 0 here, and a pool; pieces are kept in `arrays`."""
        self._constants, self._arrays = constants, arrays
        self._lanes = [Lane(arrays, lane, partial(stream_of, lane)) for lane in range(len(arrays))]
        self._costs: list[float] = []

    def reweigh(self, weights: Floats, arrays: LaneArrays) -> None:
        """Go on with other weights, passes and clocks."""
        for lane in self._lanes:
            lane.take_passes(weights.tolist())
        with np.errstate(divide="ignore"):
            self._costs = (1.0 / weights).tolist()

    def step(self, tokens: Tokens) -> Moved:
        """Fill the sequences of a step, [lanes * rows, seq_len] of int32."""
        rows, row, num_ended = self._constants.rows, 0, 0
        tokens[:] = self._constants.pad_id
        spans: list[int] = []
        for lane in self._lanes:
            is_filled = True
            for out in tokens[row : row + rows]:
                is_filled &= self._fill(lane, row, out, spans)
                row += 1
            num_ended += not is_filled
        return self._moved(spans, num_ended)

    def _moved(self, spans: list[int], num_ended: int) -> Moved:
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
        return Moved(
            np.array(spans, np.int64).reshape(-1, SPAN),
            np.array(numbers, np.int64).reshape(-1, 8),
            np.array(passes, np.float64),
            np.array([lane.clock for lane in self._lanes]),
            num_ended,
        )

    def _fill(self, lane: Lane, row: int, out: Tokens, spans: list[int]) -> bool:
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
        held = self._arrays.pieces[lane.number]
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


def _serve(lane: Lane, piece: Piece, row: int, at: int, out: Tokens, spans: list[int]) -> int:
    """Put a piece into a sequence at a place and count it; where it ends."""
    stop = at + piece.num_tokens
    out[at:stop] = piece.tokens
    spans += (row, at, piece.num_tokens, piece.pool, piece.document, piece.offset)
    course = lane.course(piece.pool)
    course.tokens += piece.num_tokens
    course.docs += piece.ends
    return stop
