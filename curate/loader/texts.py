"""Texts of blocks: row groups are fetched by exact ranges, decoded once, and what was decoded is kept.

A row group that holds documents of several blocks is decoded for all of them, as far as memory goes. A
quarter of the memory is for blocks that were asked for, the one used longest ago goes first; a quarter for
those that were decoded beside them; the rest is what allocators hold beside texts of all sizes, which was
measured to be nearly as much. Row groups that are being fetched take at most an eighth, or one row group, for
each thread that reads. Remote ranges are fetched by a few threads ahead of decoding.

One object belongs to one process; threads share it, and a row group that one of them loads is waited for by
the others. Cost: decoding at about 400 MB/s and core. Not here: tokens (reading.py), ranges on disk
(disk_cache.py).
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import text
from curate.errors import DataError
from curate.loader.disk_cache import DiskCache
from curate.loader.index import Index
from curate.pipeline.transform import SCHEMA, SPANS
from curate.shards import locate
from curate.shards.chunks import decode_text
from curate.shards.ranges import RangeFile

MAX_FILES = 128
Part = tuple[int, int]
"""A block and a row group: the documents of the block that lie in it."""


@dataclass
class Stats:
    """What one process read and served."""

    bytes_read: int = 0
    """From storage."""
    bytes_cached: int = 0
    """From the cache on disk."""
    bytes_served: int = 0
    """Texts, or stored tokens, that were handed out."""
    groups_read: int = 0
    """Row groups that were decoded."""
    blocks_read: int = 0
    """Blocks that were asked for and had to be decoded."""
    memory_hits: int = 0
    """Blocks that were asked for and were in memory."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, **counts: int) -> None:
        """Count, from any thread."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def as_dict(self) -> dict[str, int]:
        """All counters by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if not one.name.startswith("_")}

    @property
    def amplification(self) -> float:
        """Bytes read from storage for each byte of text served; 0 before anything was."""
        return self.bytes_read / self.bytes_served if self.bytes_served else 0.0


class _Memory:
    """Texts by part, the one used longest ago first, up to a limit of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._texts: OrderedDict[Part, pa.Array] = OrderedDict()

    def get(self, part: Part) -> pa.Array | None:
        found = self._texts.get(part)
        if found is not None:
            self._texts.move_to_end(part)
        return found

    def pop(self, part: Part) -> pa.Array | None:
        found = self._texts.pop(part, None)
        if found is not None:
            self.num_bytes -= found.nbytes
        return found

    def put(self, part: Part, texts: pa.Array) -> None:
        self.pop(part)
        if texts.nbytes > self.max_bytes:
            return
        self._texts[part] = texts
        self.num_bytes += texts.nbytes
        while self.num_bytes > self.max_bytes:
            _, oldest = self._texts.popitem(last=False)
            self.num_bytes -= oldest.nbytes

    def __contains__(self, part: Part) -> bool:
        return part in self._texts


class BlockTexts:
    """Texts of the blocks of an index."""

    def __init__(
        self,
        index: Index,
        *,
        memory_bytes: int,
        cache: DiskCache | None,
        num_threads: int,
        stats: Stats,
        on_shard: Callable[[int], None],
    ) -> None:
        """`on_shard` is told the position of a shard before it is read, and -1 afterwards."""
        self.index, self.cache, self.stats, self.on_shard = index, cache, stats, on_shard
        self._used, self._ahead = _Memory(memory_bytes // 4), _Memory(memory_bytes // 4)
        self._fetch_bytes = max(memory_bytes // 8, 1)
        self._lock = threading.Lock()
        self._loading: dict[int, threading.Event] = {}
        self._files: OrderedDict[int, RangeFile] = OrderedDict()
        self._num_threads = num_threads
        self._is_ordered = bool(index.settings["ordered"])
        self._pool: ThreadPoolExecutor | None = None

    def iter_blocks(self, blocks: Sequence[int]) -> Iterator[tuple[int, pa.Array]]:
        """Texts of blocks (large_binary, a document each), in the order of their row groups.

        Raises:
            DataError: a shard is damaged, or not what it was when the index was built.
        """
        wanted: dict[int, list[int]] = {}
        waiting: dict[int, dict[int, pa.Array | None]] = {}
        for block, groups in zip(blocks, self._groups(blocks), strict=True):
            waiting[block] = dict.fromkeys(groups)
            for group in groups:
                wanted.setdefault(group, []).append(block)
        order = sorted(wanted)
        for group, fetched in zip(order, self._fetch_ahead(order, wanted), strict=True):
            found = self._load(group, wanted[group], fetched)
            for block in wanted[group]:
                parts = waiting[block]
                parts[group] = found[block]
                if all(part is not None for part in parts.values()):
                    yield block, self._assemble(block, parts)
                    del waiting[block]

    def _shard(self, group: int) -> int:
        """Position of the shard of a row group."""
        return int(np.searchsorted(self.index.first_group, group, side="right")) - 1

    def _groups(self, blocks: Sequence[int]) -> list[list[int]]:
        """Row groups of each block; one, where the index is not ordered."""
        firsts = self.index.block_starts[np.array(blocks, np.int64)]
        if not self._is_ordered:
            return [[group] for group in self.index.groups_of(firsts).tolist()]
        stops = self.index.block_starts[np.array(blocks, np.int64) + 1]
        bounds = zip(firsts.tolist(), stops.tolist(), strict=True)
        return [np.unique(self.index.groups_of(np.arange(*bound))).tolist() for bound in bounds]

    def _docs(self, block: int, group: int) -> npt.NDArray[np.int64]:
        """Documents of a block that lie in a row group."""
        start, stop = self.index.block_starts[block : block + 2].tolist()
        docs = np.arange(start, stop)
        return docs[self.index.groups_of(docs) == group] if self._is_ordered else docs

    def _assemble(self, block: int, parts: dict[int, pa.Array | None]) -> pa.Array:
        """The texts of a block in the order of its documents."""
        if len(parts) == 1:
            return next(iter(parts.values()))
        start, stop = self.index.block_starts[block : block + 2].tolist()
        groups = self.index.groups_of(np.arange(start, stop))
        places = np.argsort(groups, kind="stable")
        inverse = np.empty_like(places)
        inverse[places] = np.arange(len(places))
        joined = pa.concat_arrays([parts[group] for group in sorted(parts)])
        return joined.take(pa.array(inverse))

    # Memory

    def _known(self, group: int, blocks: Sequence[int]) -> dict[int, pa.Array]:
        """Texts of parts that are in memory; the lock is held."""
        found = {}
        for block in blocks:
            texts = self._used.get((block, group))
            if texts is None:
                texts = self._ahead.pop((block, group))
                if texts is not None:
                    self._used.put((block, group), texts)
            if texts is not None:
                found[block] = texts
        return found

    def _load(self, group: int, blocks: list[int], fetched: "Future[bytes] | None") -> dict[int, pa.Array]:
        """Texts of the parts of blocks in a row group, from memory or decoded."""
        found: dict[int, pa.Array] = {}
        while True:
            with self._lock:
                found |= self._known(group, [block for block in blocks if block not in found])
                missing = [block for block in blocks if block not in found]
                if not missing:
                    self.stats.add(memory_hits=len(blocks))
                    return found
                event = self._loading.get(group)
                if event is None:
                    event = self._loading[group] = threading.Event()
                    break
            event.wait()
        self.on_shard(self._shard(group))
        try:
            data = self._fetch(group) if fetched is None else fetched.result()
            decoded = self._decode(group, missing, data)
            with self._lock:
                for block, texts in decoded.items():
                    memory = self._used if block in missing else self._ahead
                    memory.put((block, group), texts)
        finally:
            with self._lock:
                del self._loading[group]
            event.set()
        self.on_shard(-1)
        self.stats.add(groups_read=1, blocks_read=len(missing), memory_hits=len(blocks) - len(missing))
        return found | {block: decoded[block] for block in missing}

    # Decoding

    def _decode(self, group: int, wanted: Sequence[int], data: bytes) -> dict[int, pa.Array]:
        """Decode a row group: texts of the wanted blocks, and of others as far as there is room."""
        index, chunk = self.index, self.index.groups[group]
        shard = self._shard(group)
        where = f"{index.shards[shard].key}, row group {group - int(index.first_group[shard])}"
        parts = self._parts(group, wanted, int(chunk["unpacked_bytes"]), int(chunk["num_rows"]))
        first_row = int(index.group_rows[group])
        rows = {block: index.row[docs].astype(np.int64) - first_row for block, docs in parts.items()}
        kept = np.unique(np.concatenate(list(rows.values())))
        pieces, first = [], 0
        for step in decode_text(data, chunk, where, text=index.text, max_line_bytes=index.max_line_bytes):
            inside = kept[(kept >= first) & (kept < first + len(step))] - first
            if len(inside):
                pieces.append(step.take(pa.array(inside)))
            first += len(step)
        texts = pa.concat_arrays(pieces)
        if texts.null_count:
            row = int(kept[int(np.argmax(texts.is_null().to_numpy(zero_copy_only=False)))]) + first_row
            raise DataError(f"{index.shards[shard].key} changed since it was planned: row {row} has no text")
        return {
            block: self._edit(texts.take(pa.array(np.searchsorted(kept, own))), parts[block])
            for block, own in rows.items()
        }

    def _parts(
        self, group: int, wanted: Sequence[int], num_bytes: int, num_rows: int
    ) -> dict[int, npt.NDArray[np.int64]]:
        """Documents of the wanted blocks in a row group, and of others while there is room beside."""
        found = {block: self._docs(block, group) for block in wanted}
        start, stop = self.index.group_block_starts[group : group + 2].tolist()
        room = self._ahead.max_bytes
        for block in self.index.group_blocks[start:stop].tolist():
            part = (block, group)
            if block in found or part in self._ahead or part in self._used:
                continue
            docs = self._docs(block, group)
            room -= num_bytes * len(docs) // max(num_rows, 1)
            if room < 0:
                break
            found[block] = docs
        return found

    def _edit(self, texts: pa.Array, docs: npt.NDArray[np.int64]) -> pa.Array:
        """Read texts through the edits of the plan."""
        if not self.index.has("spans"):
            return texts
        offsets, spans = self.index.spans_of(docs)
        kind = SCHEMA.field(SPANS).type
        flat = pa.StructArray.from_arrays(
            [pa.array(np.ascontiguousarray(spans[:, side])) for side in (0, 1)], fields=list(kind.value_type)
        )
        return text.apply_edits(texts, pa.ListArray.from_arrays(pa.array(offsets), flat).cast(kind))

    # Bytes

    def _fetch_ahead(
        self, groups: list[int], wanted: dict[int, list[int]]
    ) -> Iterator["Future[bytes] | None"]:
        """Fetch remote row groups by threads, a bounded number of bytes ahead; None is left to the caller."""
        waiting: deque[Future[bytes] | None] = deque()
        num_bytes, sizes, place = 0, deque[int](), 0
        for _ in groups:
            while place < len(groups) and len(waiting) < self._num_threads:
                group = groups[place]
                size = int(self.index.groups[group]["packed_bytes"])
                if waiting and num_bytes + size > self._fetch_bytes:
                    break
                waiting.append(self._submit(group, wanted[group]) if len(groups) > 1 else None)
                sizes.append(size)
                num_bytes, place = num_bytes + size, place + 1
            num_bytes -= sizes.popleft()
            yield waiting.popleft()

    def _submit(self, group: int, blocks: Sequence[int]) -> "Future[bytes] | None":
        if "://" not in self.index.shards[self._shard(group)].uri:
            return None
        with self._lock:
            parts = [(block, group) for block in blocks]
            if group in self._loading or all(part in self._used or part in self._ahead for part in parts):
                return None
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._num_threads, thread_name_prefix="read-shards")
        return self._pool.submit(self._fetch, group)

    def _fetch(self, group: int) -> bytes:
        """The bytes of a row group's text, from the cache on disk or from storage."""
        index, chunk = self.index, self.index.groups[group]
        number = self._shard(group)
        shard = index.shards[number]
        start, size = int(chunk["start"]), int(chunk["packed_bytes"])
        cache = self.cache if "://" in shard.uri else None
        key = ""
        if cache is not None:
            key = cache.key([shard.uri, shard.size_bytes, shard.fingerprint, start, size])
            data = cache.get(key, size)
            if data is not None:
                self.stats.add(bytes_cached=size)
                return data
        data = self._open(number).read(start, size)
        self.stats.add(bytes_read=size)
        if cache is not None:
            cache.put(key, data)
        return data

    def _open(self, number: int) -> RangeFile:
        """A shard, opened; it is closed when it has not been used for long and nobody reads it."""
        with self._lock:
            file = self._files.get(number)
            if file is not None:
                self._files.move_to_end(number)
                return file
        shard = self.index.shards[number]
        file = RangeFile(locate(shard.uri, self.index.storage_options))
        if file.size_bytes != shard.size_bytes:
            raise DataError(
                f"{shard.key} changed since it was planned or written: {file.size_bytes} bytes "
                f"instead of {shard.size_bytes} ({shard.uri})",
                hint="plan or deliver again, or put the old shard back",
            )
        with self._lock:
            self._files[number] = file
            while len(self._files) > MAX_FILES:
                self._files.popitem(last=False)
        return file
