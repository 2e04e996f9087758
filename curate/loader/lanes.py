"""Lanes at work: from documents to the sequences of a step, for the lanes that a process hosts.

A lane depends on the index, the constants and the sealed weights alone, so a batch is the same whoever hosts
its lanes. Cost: about 5 us for a piece of a document beside its reading and tokenising. Not here: how ranks
and workers share lanes (dataset.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate.errors import DataError
from curate.loader.index import Index
from curate.loader.order import Ints, pool_order
from curate.loader.packing import Piece, pack
from curate.loader.schedule import NO_POOL, choose, first_passes, phases, reweigh
from curate.loader.settings import Constants
from curate.loader.state import DOCS, EMPTY, ITEM, OFFSET, WINDOW, Delta, Floats, LaneArrays
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
        self._streams: dict[tuple[int, int], Stream] = {}
        self._buffers: dict[int, list[Piece]] = {}
        self._block = -1
        self._weights: Floats = np.zeros(len(index.pools))
        self._costs: Floats = np.zeros(len(index.pools))
        self._touched: set[tuple[int, int]] = set()

    def next(self) -> Sequences:
        """The sequences of the next step; lanes that cannot fill theirs are counted in the delta."""
        self._enter_block()
        rows, seq_len = self._constants.rows, self._constants.seq_len
        tokens = np.full((len(self.arrays) * rows, seq_len), self._constants.pad_id, np.int32)
        spans: list[tuple[int, ...]] = []
        fill = self._split if self._constants.packing == "split" else self._fit
        num_ended = 0
        for lane in range(len(self.arrays)):
            filled = [fill(lane, row, tokens[row], spans) for row in range(lane * rows, (lane + 1) * rows)]
            num_ended += not all(filled)
        delta = Delta.take(self.arrays, self._touched, step=self.step, first_lane=self.first)
        delta.num_ended = num_ended
        self._touched = set()
        self.step += 1
        return Sequences(tokens, np.array(spans, np.int64).reshape(-1, SPAN), delta)

    def _enter_block(self) -> None:
        block, steps = self._constants.block_of(self.step), self._constants.block_steps
        if block == self._block:
            return
        old, self._weights = self._weights, self._weights_of(block)
        if self.step % steps == 0 and self.step != self._began:
            if self._block < 0:
                old = self._weights_of(block - 1)
            reweigh(self.arrays, old, self._weights, self._phases)
        with np.errstate(divide="ignore"):
            self._costs = 1.0 / self._weights
        self._block = block

    def _stream(self, lane: int, pool: int) -> Stream:
        stream = self._streams.get((lane, pool))
        if stream is None:
            order = self._orders[pool]
            stream = self._streams[lane, pool] = Stream(order, self.first + lane, self._reader, self._chunks)
        return stream

    def _take(self, lane: int, passes: Floats, most: int) -> Piece | None:
        """The next piece, of at most `most` tokens, of the pool whose pass is least; None where none is left.

        `passes` are the lane's, or a copy; a pool that has nothing left becomes infinite in both.
        """
        while (pool := choose(passes)) != NO_POOL:
            cursor = self.arrays.cursor[lane, pool]
            stream = self._stream(lane, pool)
            place = stream.settle(int(cursor[WINDOW]), int(cursor[ITEM]))
            self._touched.add((lane, pool))
            if place is None:
                passes[pool] = self.arrays.passes[lane, pool] = np.inf
                self.arrays.done[lane, pool] = True
                continue
            document, tokens = stream.document(*place)
            offset, total = int(cursor[OFFSET]), len(tokens)
            num_tokens = min(most, total - offset)
            if num_tokens <= 0 and total:
                raise DataError(f"document {document} has {total} tokens, {offset} were served before")
            cursor[:] = (
                (place[0], place[1] + 1, 0) if offset + num_tokens == total else (*place, offset + num_tokens)
            )
            if num_tokens:
                return Piece(pool, *place, offset, tokens[offset : offset + num_tokens], document, total)
            self.arrays.served[lane, pool, DOCS] += 1
        return None

    def _serve(self, lane: int, piece: Piece, row: int, start: int, spans: list[tuple[int, ...]]) -> None:
        """Count a piece that is in a sequence."""
        num_tokens, pool = len(piece.tokens), piece.pool
        spans.append((row, start, num_tokens, pool, piece.document, piece.offset))
        self.arrays.passes[lane, pool] += num_tokens * self._costs[pool]
        served = self.arrays.served[lane, pool]
        served += (num_tokens, piece.ends)
        self._touched.add((lane, pool))

    def _split(self, lane: int, row: int, out: Ints, spans: list[tuple[int, ...]]) -> bool:
        """Fill a sequence with pieces that are cut where it ends."""
        at, seq_len, passes = 0, self._constants.seq_len, self.arrays.passes[lane]
        while at < seq_len:
            piece = self._take(lane, passes, seq_len - at)
            if piece is None:
                return False
            self.arrays.clock[lane] = passes[piece.pool]
            out[at : at + len(piece.tokens)] = piece.tokens
            self._serve(lane, piece, row, at, spans)
            at += len(piece.tokens)
        return True

    def _fit(self, lane: int, row: int, out: Ints, spans: list[tuple[int, ...]]) -> bool:
        """Fill a sequence with whole pieces of the buffer: one of the pool that is due, then what fits."""
        buffer, constants = self._fill_buffer(lane), self._constants
        if not buffer:
            return False
        passes = self.arrays.passes[lane]
        due = min((passes[piece.pool], piece.pool) for piece in buffer)[1]
        if (least := passes.min()) < np.inf:
            self.arrays.clock[lane] = least
        at = 0
        for piece in pack(buffer, constants.seq_len, due=due, best=constants.packing == "best_fit"):
            out[at : at + len(piece.tokens)] = piece.tokens
            self._serve(lane, piece, row, at, spans)
            at += len(piece.tokens)
        held = self.arrays.pieces[lane]
        held[:] = EMPTY
        for number, piece in enumerate(buffer):
            held[number] = piece.numbers()
        return True

    def _fill_buffer(self, lane: int) -> list[Piece]:
        """The lane's pieces, made up to its limits: of each pool as its weight wants beside what is there."""
        buffer, constants = self._buffer(lane), self._constants
        passes = self.arrays.passes[lane].copy()
        held = 0
        for piece in buffer:
            held += len(piece.tokens)
            passes[piece.pool] += len(piece.tokens) * self._costs[piece.pool]
        while len(buffer) < constants.pack_pieces and held < PACK_SEQUENCES * constants.seq_len:
            taken = self._take(lane, passes, constants.seq_len)
            if taken is None:
                break
            buffer.append(taken)
            held += len(taken.tokens)
            passes[taken.pool] += len(taken.tokens) * self._costs[taken.pool]
        return buffer

    def _buffer(self, lane: int) -> list[Piece]:
        """The lane's pieces, read again after a resume."""
        buffer = self._buffers.get(lane)
        if buffer is None:
            buffer = self._buffers[lane] = []
            for pool, window, item, offset, num_tokens, total in self.arrays.pieces[lane].tolist():
                if pool != EMPTY:
                    document, tokens = self._stream(lane, pool).document(window, item)
                    part = tokens[offset : offset + num_tokens]
                    buffer.append(Piece(pool, window, item, offset, part, document, total))
        return buffer
