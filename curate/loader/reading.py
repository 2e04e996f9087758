"""Tokens of documents: the texts of their blocks, tokenised, or stored tokens.

A reader is one for a process: it is pickled without what it has open, and a forked child opens everything
anew. Threads may read at the same time. Memory is `memory_bytes` for texts, and beside it what one call
returns and the row groups that are being fetched and decoded (texts.py). Answers do not depend on memory,
cache or threads.

Cost: that of decoding, at about 400 MB/s, and of the tokenizer. Not here: which documents are read, and when.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import ConfigError, DataError
from curate.loader.disk_cache import DiskCache
from curate.loader.index import Index
from curate.loader.stream import Places, as_arrow
from curate.loader.texts import BlockTexts, Stats

MEMORY_BYTES = 256 << 20
CACHE_BYTES = 64 << 30
BATCH_BYTES = 1 << 20
NUM_THREADS = 4
MAX_ID = (1 << 32) - 1
IN_PLACE = ("<u2", "<u4")
"""Types of stored tokens that are all ids, and which the core knows."""

Ids = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]


class Encoder(Protocol):
    """What makes tokens of texts: `curate.loader.tokenizer.Tokenizer`."""

    def encode(self, texts: pa.Array) -> tuple[Ids, Ints]:
        """Tokens of all texts, and where those of each begin, with the end of the last."""
        ...


@dataclass
class _Process:
    """What a reader has open in one process."""

    pid: int
    texts: BlockTexts | None
    stats: Stats
    tokens: dict[int, npt.NDArray[Any]] = field(default_factory=dict)
    stored: dict[int, pa.Array] = field(default_factory=dict)


class Reader:
    """Reads the documents of an index."""

    def __init__(
        self,
        index: Index,
        tokenizer: Encoder | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
        cache_dir: str | Path | None = None,
        cache_bytes: int = CACHE_BYTES,
        num_threads: int = NUM_THREADS,
    ) -> None:
        """Nothing is opened before the first `read`.

        Args:
            index: The documents.
            tokenizer: Makes tokens of texts; None for an index of token files.
            memory_bytes: What kept texts may take of the memory of a process; half of it are texts.
            cache_dir: Folder of a cache of remote shards, which processes of a machine share; None is none.
            cache_bytes: Most bytes of that cache.
            num_threads: Remote row groups that are fetched at the same time.

        Raises:
            ConfigError: a setting is out of its bounds, or a tokenizer is missing.
        """
        self.is_tokens = index.has("token_starts")
        if tokenizer is None and not self.is_tokens:
            raise ConfigError("the index holds texts, so a tokenizer is needed")
        if memory_bytes < 0 or num_threads < 1:
            raise ConfigError(
                f"memory_bytes is 0 or more and num_threads 1 or more: {memory_bytes} and {num_threads}"
            )
        self.index, self.tokenizer = index, tokenizer
        self.memory_bytes, self.num_threads = memory_bytes, num_threads
        self.cache_dir, self.cache_bytes = cache_dir, cache_bytes
        self.current: Any = np.full(1, -1, np.int64)
        """One number, the shard being read; put an array of shared memory here to see it from outside."""
        self._process: _Process | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None}

    @property
    def current_shard(self) -> int:
        """Position of the shard that is being read, -1 for none."""
        return int(self.current[0])

    @property
    def stats(self) -> Stats:
        """What this process read and served so far."""
        return self._here().stats

    def _here(self) -> _Process:
        """What is open in this process: after a fork nothing that the parent opened is used."""
        process = self._process
        if process is None or process.pid != os.getpid():
            process = self._process = self._open()
        return process

    def _open(self) -> _Process:
        stats = Stats()
        if self.is_tokens:
            return _Process(os.getpid(), None, stats)
        is_remote = any("://" in shard.uri for shard in self.index.shards)
        cache = None
        if self.cache_dir is not None and is_remote:
            cache = DiskCache(Path(self.cache_dir), self.cache_bytes)
        texts = BlockTexts(
            self.index,
            memory_bytes=self.memory_bytes,
            cache=cache,
            num_threads=self.num_threads,
            stats=stats,
            on_shard=self._note,
        )
        return _Process(os.getpid(), texts, stats)

    def _note(self, shard: int) -> None:
        self.current[0] = shard

    def read(self, docs: Ints) -> tuple[Ids, Ints]:
        """Tokens of documents in the order in which they are asked for, and where those of each begin.

        Raises:
            DataError: a shard is damaged, or not what it was when the index was built, by key.
            OSError: a shard cannot be read.
            IndexError: there is no such document.
        """
        docs = np.asarray(docs, np.int64)
        if len(docs) and not 0 <= docs.min() <= docs.max() < self.index.num_docs:
            raise IndexError(f"documents are 0 to {self.index.num_docs - 1}: {docs.min()} to {docs.max()}")
        process = self._here()
        if process.texts is None:
            return self._read_tokens(process, docs)
        known, inverse = np.unique(docs, return_inverse=True)
        ids: list[Ids] = [np.zeros(0, np.uint32)]
        lengths, starts = np.zeros(len(known), np.int64), np.zeros(len(known), np.int64)
        num_tokens = 0
        for places, texts in self._batches(process, known):
            found, offsets = self._encode(texts)
            lengths[places] = np.diff(offsets)
            starts[places] = offsets[:-1] + num_tokens
            num_tokens += len(found)
            ids.append(found)
            sizes = pc.binary_length(texts).to_numpy()
            times = np.bincount(inverse, minlength=len(known))[places]
            process.stats.add(bytes_served=int((sizes * times).sum()))
        return _gather(np.concatenate(ids), starts[inverse], lengths[inverse])

    def _encode(self, texts: pa.Array) -> tuple[Ids, Ints]:
        assert self.tokenizer is not None
        return self.tokenizer.encode(texts)

    def _batches(self, process: _Process, docs: Ints) -> Iterator[tuple[Ints, pa.Array]]:
        """Texts of documents in batches of about a megabyte, with their places in `docs`."""
        assert process.texts is not None
        blocks, first = np.unique(self.index.blocks_of(docs), return_index=True)
        bounds = np.append(first, len(docs)).tolist()
        place_of = {block: place for place, block in enumerate(blocks.tolist())}
        waiting: list[pa.Array] = []
        places: list[Ints] = []
        num_bytes = 0
        for block, texts in process.texts.iter_blocks(blocks.tolist()):
            place = place_of[block]
            own = np.arange(bounds[place], bounds[place + 1])
            wanted = docs[own] - int(self.index.block_starts[block])
            taken = texts if len(wanted) == len(texts) else texts.take(pa.array(wanted))
            waiting.append(taken)
            places.append(own)
            num_bytes += taken.nbytes
            if num_bytes >= BATCH_BYTES:
                yield np.concatenate(places), pa.concat_arrays(waiting)
                waiting, places, num_bytes = [], [], 0
        if waiting:
            yield np.concatenate(places), pa.concat_arrays(waiting)

    def _read_tokens(self, process: _Process, docs: Ints) -> tuple[Ids, Ints]:
        """Stored tokens of documents."""
        lengths = self.index.tokens[docs].astype(np.int64)
        starts = self.index.token_starts[docs].astype(np.int64)
        stops = (starts + lengths).tolist()
        shards = self.index.shard[docs].tolist()
        files = {shard: self._map(process, shard) for shard in set(shards)}
        bounds = zip(shards, starts.tolist(), stops, strict=True)
        parts = [files[shard][start:stop] for shard, start, stop in bounds]
        is_signed = any(file.dtype.kind != "u" for file in files.values())
        kind = np.int64 if is_signed else np.uint32
        out = np.concatenate([np.zeros(0, kind), *parts], dtype=kind, casting="unsafe")
        if not _are_ids(out):
            wrong = next(place for place, tokens in enumerate(parts) if not _are_ids(tokens))
            key, row = self.index.locate(int(docs[wrong]))
            raise DataError(f"{key}, document {row}: a token is not between 0 and {MAX_ID}")
        num_bytes = sum(tokens.nbytes for tokens in parts)
        process.stats.add(bytes_read=num_bytes, bytes_served=num_bytes)
        return out.astype(np.uint32, copy=False), np.concatenate([[0], np.cumsum(lengths)])

    def places(self, docs: Ints) -> Places | None:
        """Where the tokens of documents are stored; None for texts, and types of tokens that need checks."""
        shards = self.index.shard[docs] if self.is_tokens else np.zeros(0, np.uint32)
        numbers = np.unique(shards).tolist()
        if not numbers or any(self.index.shards[number].dtype not in IN_PLACE for number in numbers):
            return None
        process = self._here()
        for number in numbers:
            if number not in process.stored:
                process.stored[number] = as_arrow(self._map(process, number))
        lengths = self.index.tokens[docs].astype(np.int64)
        widths = np.array([np.dtype(self.index.shards[number].dtype).itemsize for number in numbers])
        which = np.searchsorted(numbers, shards)
        num_bytes = int((lengths * widths[which]).sum())
        process.stats.add(bytes_read=num_bytes, bytes_served=num_bytes)
        return Places(
            files=[process.stored[number] for number in numbers],
            file_of=which if len(numbers) > 1 else None,
            begins=self.index.token_starts[docs].astype(np.int64),
            lengths=lengths,
        )

    def _map(self, process: _Process, number: int) -> npt.NDArray[Any]:
        """The tokens of a file, mapped into memory."""
        found = process.tokens.get(number)
        if found is None:
            shard = self.index.shards[number]
            path = Path(shard.uri)
            size = path.stat().st_size
            if size != shard.size_bytes:
                raise DataError(
                    f"{shard.key} changed since the index was built: {size} bytes instead of "
                    f"{shard.size_bytes}",
                    hint="delete the index, or put the old file back",
                )
            dtype = np.dtype(shard.dtype)
            mapped = np.memmap(path, dtype, mode="r", shape=(size // dtype.itemsize,))
            found = process.tokens[number] = mapped.view(np.ndarray)  # whose slices cost a third
        return found


def _are_ids(tokens: npt.NDArray[Any]) -> bool:
    """Tell whether all tokens are numbers that ids can be."""
    if tokens.dtype.kind == "u" or not len(tokens):
        return True
    return int(tokens.min()) >= 0 and int(tokens.max()) <= MAX_ID


def _gather(ids: Ids, starts: Ints, lengths: Ints) -> tuple[Ids, Ints]:
    """Tokens of documents one after another."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if np.array_equal(starts, offsets[:-1]) and len(ids) == offsets[-1]:
        return ids, offsets
    out = np.empty(int(offsets[-1]), np.uint32)
    bounds = zip(offsets.tolist(), starts.tolist(), lengths.tolist(), strict=False)
    for place, start, length in bounds:
        out[place : place + length] = ids[start : start + length]
    return out, offsets
