"""Sequences of joined documents that are cut where a sequence ends, made by the native core.

The core chooses pools, cuts pieces and copies tokens; it stops where it has no documents of a pool at hand,
and goes on when the lane's stream has given them. Stored tokens are copied from where they are mapped. Cost:
about 0.2 us a piece, and the copying. Not here: the plain twin of it (tests/reference/loader.py), packing
that does not cut (fitting.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate import _rust
from curate.loader.lane import MAX_EMPTY
from curate.loader.order import Ints
from curate.loader.settings import Constants
from curate.loader.state import Floats, LaneArrays
from curate.loader.stream import Stream, Tokens

SPAN = 6
"""Numbers of a span: row, start, length, pool, document, offset in the document."""


@dataclass
class Moved:
    """What a step changed of some lanes."""

    spans: Ints
    """For each span row of the batch, start, length, pool, document (position in the index), offset."""
    places: Ints
    """Lane, pool, cursor, tokens, documents and whether it is done, of each place that changed."""
    passes: Floats
    """Of the same."""
    clock: Floats
    num_ended: int
    """Lanes that could not fill their sequences."""


class Split:
    """Some consecutive lanes, whose sequences are filled to their ends."""

    def __init__(
        self, constants: Constants, arrays: LaneArrays, stream_of: Callable[[int, int], Stream]
    ) -> None:
        """`stream_of` gives the stream of a lane, from 0 here, and a pool."""
        self._stream_of, self._streams = stream_of, dict[tuple[int, int], Stream]()
        num_lanes, num_pools = arrays.done.shape
        shape = (num_lanes, num_pools, constants.rows, constants.seq_len, constants.pad_id, MAX_EMPTY)
        done = np.ascontiguousarray(arrays.done).view(np.uint8)
        self._core = _rust.LaneFiller(shape, arrays.cursor, arrays.served, done)

    def reweigh(self, weights: Floats, arrays: LaneArrays) -> None:
        """Go on with other weights, passes and clocks."""
        self._core.reweigh(weights, arrays.passes, arrays.clock)

    def step(self, tokens: Tokens) -> Moved:
        """Fill the sequences of a step, [lanes * rows, seq_len] of int32."""
        while (need := self._core.fill()) is not None:
            self._supply(*need)
        spans, places, passes, clock, num_ended = self._core.finish(tokens)
        return Moved(
            np.frombuffer(spans, np.int64).reshape(-1, SPAN),
            np.frombuffer(places, np.int64).reshape(-1, 8),
            np.frombuffer(passes, np.float64),
            np.frombuffer(clock, np.float64),
            num_ended,
        )

    def _supply(self, lane: int, pool: int, window: int, item: int) -> None:
        """Give the core the documents of a place, or of the next one that has some."""
        stream = self._streams.get((lane, pool))
        if stream is None:
            stream = self._streams[lane, pool] = self._stream_of(lane, pool)
            stream.on_drop = lambda: self._core.forget(lane, pool)
        chunk = stream.chunk_at(window, item)
        if chunk is None:
            self._core.exhaust(lane, pool)
        else:
            self._core.supply((lane, pool), (chunk.window, chunk.first), *chunk.stored())
