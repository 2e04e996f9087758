"""One lane while a process fits whole pieces into its sequences: its numbers as plain Python ones.

The pool whose pass is least is at the top of a heap, ties by name. Cost: about 4 us for a piece,
however many pools there are. Not here: how pieces become sequences (fitting.py), reading (stream.py).
"""

from collections.abc import Callable
from heapq import heapify, heappop
from math import inf

from curate.errors import DataError
from curate.loader.packing import Piece
from curate.loader.state import EMPTY, LaneArrays
from curate.loader.stream import Stream

MAX_EMPTY = 1_000_000
"""Documents without any token that a lane skips for one piece."""


class Course:
    """Where a lane stands in a pool, and what it served of it."""

    __slots__ = ("docs", "is_done", "item", "offset", "stream", "tokens", "window")

    def __init__(self, arrays: LaneArrays, number: int, pool: int, stream: Stream) -> None:
        self.window, self.item, self.offset = arrays.cursor[number, pool].tolist()
        self.tokens, self.docs = arrays.served[number, pool].tolist()
        self.is_done = bool(arrays.done[number, pool])
        self.stream = stream


class Lane:
    """A lane; `arrays` are taken over when it is made, and when weights change."""

    def __init__(self, arrays: LaneArrays, number: int, stream_of: Callable[[int], Stream]) -> None:
        self._arrays, self.number, self._stream_of = arrays, number, stream_of
        self.courses: dict[int, Course] = {}
        self.touched: set[int] = set()
        """Pools that changed since the last step."""
        self._pieces: list[Piece] | None = None
        self._weights: list[float] = []
        self.take_passes([])

    def take_passes(self, weights: list[float]) -> None:
        """Take passes and clock from the arrays, to go on with these weights."""
        self.clock = float(self._arrays.clock[self.number])
        self._weights = weights
        self.passes: list[float] = self._arrays.passes[self.number].tolist()
        self.heap = heap_of(self.passes)
        self._share_out()

    def _share_out(self) -> None:
        """See how fast the clock goes: pools that have something left share all tokens."""
        live = 0.0
        for weight, least in zip(self._weights, self.passes, strict=False):
            if least < inf:  # one after another: sum() of Python 3.12 rounds in another way
                live += weight
        self._clock_rate = 1.0 / live if live > 0 else 0.0

    def pay(self, pool: int, num_tokens: int, cost: float) -> float:
        """Count tokens that a pool served; its new pass."""
        if self.passes[pool] < inf:
            self.clock += num_tokens * self._clock_rate
            self.passes[pool] += num_tokens * cost
        return self.passes[pool]

    def course(self, pool: int) -> Course:
        """Where the lane stands in a pool."""
        found = self.courses.get(pool)
        if found is None:
            found = Course(self._arrays, self.number, pool, self._stream_of(pool))
            self.courses[pool] = found
        return found

    def take(self, heap: list[tuple[float, int]], most: int) -> Piece | None:
        """The next piece, of at most `most` tokens, of the pool at the top; None where none is left.

        `heap` is the lane's, or made of other passes; a pool that has nothing left is taken off it.
        """
        num_empty = 0
        while heap:
            least, pool = heap[0]
            if num_empty > MAX_EMPTY:
                raise DataError(
                    f"{num_empty} documents without a token, one after another, the last of pool {pool}",
                    hint="give the tokenizer a token that ends documents (eos=), or drop empty documents",
                )
            if least == inf:
                return None
            course = self.courses.get(pool) or self.course(pool)
            self.touched.add(pool)
            chunk = course.stream.chunk_at(course.window, course.item)
            if chunk is None:
                heappop(heap)
                self.passes[pool] = inf
                self._share_out()
                course.is_done = True
                continue
            if course.window != chunk.window:
                course.window, course.item = chunk.window, chunk.first
            window, item, offset = course.window, course.item, course.offset
            place = item - chunk.first
            begin = int(chunk.starts[place])
            total = int(chunk.starts[place + 1]) - begin
            num_tokens = min(most, total - offset)
            if num_tokens <= 0 and total:
                raise DataError(
                    f"document {chunk.docs[place]} has {total} tokens, {offset} were served before"
                )
            stop = offset + num_tokens
            if stop == total:
                course.item, course.offset = item + 1, 0
            else:
                course.offset = stop
            if num_tokens:
                part = chunk.tokens[begin + offset : begin + stop]
                return Piece(pool, window, item, offset, part, num_tokens, int(chunk.docs[place]), total)
            course.docs += 1
            num_empty += 1
        return None

    def pieces(self) -> list[Piece]:
        """Pieces that the packer holds, read again after a resume."""
        if self._pieces is None:
            self._pieces = []
            for pool, window, item, offset, num_tokens, total in self._arrays.pieces[self.number].tolist():
                if pool != EMPTY:
                    chunk = self.course(pool).stream.chunk_at(window, item)
                    assert chunk is not None
                    place = item - chunk.first
                    begin = int(chunk.starts[place]) + offset
                    part = chunk.tokens[begin : begin + num_tokens]
                    document = int(chunk.docs[place])
                    piece = Piece(pool, window, item, offset, part, num_tokens, document, total)
                    self._pieces.append(piece)
        return self._pieces


def heap_of(passes: list[float]) -> list[tuple[float, int]]:
    """Passes with their pools, the least on top; without those that are infinite."""
    heap = [(number, pool) for pool, number in enumerate(passes) if number < inf]
    heapify(heap)
    return heap
