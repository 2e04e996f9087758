"""Tokens of one lane's documents of one pool, read some documents at a time and ahead of their use.

What is in memory is a cache: a piece of a document can be asked for again after it was dropped, and is read
again. All streams of a process share one limit of bytes; the stream that was used least recently gives up its
tokens first. Not here: which piece is next (lane.py), how documents are read (reading.py).
"""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.loader.order import Ints, PoolOrder

FIRST_CHUNK_TOKENS = 1_024
TOKEN_BYTES = 4
CHUNK_TOKENS = 16_384
"""Tokens that are read at once, about: few at first, so that a run begins soon."""
PLACE_BYTES = 24
"""Of a document whose tokens stay where they are stored."""
CHUNK_DOCS = 2_048
"""Such documents that are looked up at once."""

Tokens = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the tokens of some documents lie."""

    files: list[pa.Array]
    """Arrays of uint16 or uint32: files that are mapped into memory, or tokens that were read."""
    file_of: Ints | None
    """The file of each document; None where all are in the first."""
    begins: Ints
    lengths: Ints


class Reads(Protocol):
    """Gives the tokens of documents, whatever thread asks."""

    current: Any
    """One number: the shard that is being read."""

    @property
    def stats(self) -> Any:
        """`bytes_read` from storage and `bytes_served` so far."""

    def read(self, docs: Ints) -> tuple[Tokens, Ints]:
        """Tokens of documents one after another, and where each begins, with the end behind them."""

    def places(self, docs: Ints) -> Places | None:
        """Where the tokens of documents are stored, if they can be used from there."""


@dataclass(slots=True)
class Chunk:
    """Consecutive documents of a window, with their tokens or with where these lie."""

    window: int
    first: int
    docs: Ints
    """Positions of the documents in the index."""
    tokens: Tokens
    starts: Ints
    """Where each document begins in `tokens`, and the end of the last."""
    places: Places | None = None
    """Of tokens that were not read."""

    @property
    def stop(self) -> int:
        """The first item behind it."""
        return self.first + len(self.docs)

    @property
    def nbytes(self) -> int:
        """What it takes of memory."""
        return self.tokens.nbytes if self.places is None else PLACE_BYTES * len(self.docs)

    def stored(self) -> tuple[list[pa.Array], Ints | None, tuple[Ints, Ints, Ints]]:
        """Arrays of tokens, which of them a document is in, and begins, lengths and numbers of documents."""
        places = self.places
        if places is None:
            files = [as_arrow(np.ascontiguousarray(self.tokens, np.uint32))]
            places = Places(files, None, self.starts[:-1], np.diff(self.starts))
        return places.files, places.file_of, (places.begins, places.lengths, self.docs)


def as_arrow(tokens: Tokens) -> pa.Array:
    """The same memory as an array of Arrow."""
    return pa.Array.from_buffers(pa.from_numpy_dtype(tokens.dtype), len(tokens), [None, pa.py_buffer(tokens)])


class Chunks:
    """The chunks in memory, the least recently used first, and who reads ahead."""

    def __init__(self, memory_bytes: int, executor: Executor | None) -> None:
        """Hold at most `memory_bytes`, or the one chunk that is in use; None reads nothing ahead."""
        self.executor = executor
        self._memory_bytes = memory_bytes
        self._sizes: OrderedDict[Stream, int] = OrderedDict()
        self._num_bytes = 0
        self.num_streams = 0

    @property
    def most_tokens(self) -> int:
        """Tokens that a stream reads at once: less where so many streams would not fit into memory."""
        share = self._memory_bytes // (2 * TOKEN_BYTES * max(self.num_streams, 1))
        return min(max(share, FIRST_CHUNK_TOKENS), CHUNK_TOKENS)

    def used(self, stream: "Stream", num_bytes: int) -> None:
        """Note that a stream holds `num_bytes` and was used; others are dropped if it is too much."""
        self._num_bytes += num_bytes - self._sizes.pop(stream, 0)
        self._sizes[stream] = num_bytes
        while self._num_bytes > self._memory_bytes and len(self._sizes) > 1:
            oldest, size = self._sizes.popitem(last=False)
            oldest.drop()
            self._num_bytes -= size

    @property
    def has_room(self) -> bool:
        """Whether more may be read ahead."""
        return self._num_bytes < self._memory_bytes * 3 // 4


class Stream:
    """Documents of one pool on one lane."""

    def __init__(
        self, order: PoolOrder, lane: int, reader: Reads, chunks: Chunks, *, in_place: bool = False
    ) -> None:
        """With `in_place` tokens that are stored are not read, but told where they lie."""
        self._order, self._lane, self._in_place = order, lane, in_place
        self.on_drop: Callable[[], None] | None = None
        """Hears when the tokens in memory are dropped."""
        self._planned = order.index.tokens
        self._reader = reader
        self._chunks = chunks
        self._window = -1
        self._docs: Ints | None = None
        self._chunk: Chunk | None = None
        self._ahead: Future[Chunk] | None = None
        self._ahead_at = (-1, -1)
        self._chunk_tokens = FIRST_CHUNK_TOKENS
        chunks.num_streams += 1

    def docs(self, window: int) -> Ints | None:
        """Positions of the documents of a window, in order; None past the end."""
        if window != self._window:
            self._window, self._docs = window, self._order.window(self._lane, window)
        return self._docs

    def settle(self, window: int, item: int) -> tuple[int, int] | None:
        """The place itself if it holds a document, else the next one that does; None where none is left."""
        while (docs := self.docs(window)) is not None:
            if item < len(docs):
                return window, item
            window, item = window + 1, 0
        return None

    def chunk_at(self, window: int, item: int) -> Chunk | None:
        """The chunk of a place, or, if no document is there, of the next one; None where none is left."""
        chunk = self._chunk
        if chunk is not None and chunk.window == window and chunk.first <= item < chunk.stop:
            return chunk
        place = self.settle(window, item)
        if place is None:
            return None
        chunk = self._chunk = self._load(*place)
        self._chunks.used(self, chunk.nbytes)
        if self._chunks.executor is not None and self._chunks.has_room:
            self.read_ahead(chunk.window, chunk.stop)
        return chunk

    def drop(self) -> None:
        """Forget the tokens in memory."""
        self._chunk = None
        self._ahead = None
        if self.on_drop is not None:
            self.on_drop()

    def read_ahead(self, window: int, item: int) -> None:
        """Begin to read the chunk at a place, if there is one, in another thread."""
        docs = self.docs(window)
        executor = self._chunks.executor
        if docs is not None and item < len(docs) and executor is not None and self._ahead is None:
            self._ahead = executor.submit(self._read, window, item, docs)
            self._ahead_at = (window, item)

    def _load(self, window: int, item: int) -> Chunk:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and self._ahead_at == (window, item):
            return ahead.result()
        docs = self.docs(window)
        assert docs is not None
        return self._read(window, item, docs)

    def _read(self, window: int, item: int, docs: Ints) -> Chunk:
        if self._in_place:
            some = docs[item : item + CHUNK_DOCS]
            places = self._reader.places(some)
            if places is not None:
                return Chunk(window, item, some, np.zeros(0, np.uint32), np.zeros(1, np.int64), places)
        num_docs = _fitting(self._planned[docs[item : item + self._chunk_tokens]], self._chunk_tokens)
        self._chunk_tokens = min(2 * self._chunk_tokens, self._chunks.most_tokens)
        docs = docs[item : item + num_docs]
        tokens, offsets = self._reader.read(docs)
        return Chunk(window, item, docs, tokens, offsets)


def _fitting(planned: npt.NDArray[np.integer], most: int) -> int:
    """How many of the next documents have `most` tokens together, about: at least one."""
    totals = np.cumsum(planned.astype(np.int64) + 1)
    return max(1, int(np.searchsorted(totals, most, side="right")))
