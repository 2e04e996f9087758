"""Build an index: documents of a source, arranged by pool and cut into blocks.

One pass over the source counts documents and tokens of each pool and spills the documents; the tables are
then filled and cut from that, a million documents at a time, so memory does not grow with the corpus. The
exception is `ordered`: a pool is sorted in memory, 16 bytes a document. The folder appears whole; of several
processes that build the same index one wins, and all use it. Cost: ten million documents take seconds
(measured by `benchmarks/loader_reads.py`) and as much scratch as the tables. Not here: what the tables hold
(index.py).
"""

import contextlib
import itertools
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError, DataError
from curate.files import make_dirs, sync_dir, to_json
from curate.loader.cutting import cut
from curate.loader.index import DTYPES, FORMAT, HEADER, Index, IndexShard, Pool, group_numbers
from curate.loader.sources import Rows, Source
from curate.loader.tables import Tables
from curate.schema import fingerprint

BLOCKS_PER_LANE = 8
CHUNK_DOCS = 1 << 20
NUM_THREADS = 8
GRACE_S = 24 * 3600

Ints = npt.NDArray[np.int64]


def build_index(
    source: Source, folder: Path, *, num_lanes: int, block_tokens: int = 65536, ordered: bool = False
) -> Index:
    """Build the index of a source below `folder`, or open it where it is there.

    With `ordered` documents of a pool are in the order of the plan and blocks may span row groups; else they
    are in key order.

    Raises:
        ConfigError: a setting is out of its bounds.
        DataError: a shard is not what the plan or manifest says, by key.
    """
    for name, value in (("num_lanes", num_lanes), ("block_tokens", block_tokens)):
        if value < 1:
            raise ConfigError(f"{name} is at least 1: {value}")
    settings = {"num_lanes": num_lanes, "block_tokens": block_tokens, "ordered": ordered}
    content = fingerprint(["index", FORMAT, source.content, settings])
    place = fingerprint([content, [shard.uri for shard in source.shards]])
    path = folder / f"index-{place[:16]}"
    if not (path / HEADER).is_file():
        make_dirs(folder)
        _remove_old(folder)
        with _new_folder(path) as temporary:
            _Builder(source, temporary, settings, content).build()
    return Index(path, source.storage_options)


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder that gets its name when the block ends; one that another process made first stays."""
    temporary = path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:12]}")
    temporary.mkdir()
    try:
        yield temporary
        sync_dir(temporary)
        try:
            temporary.rename(path)
        except OSError:
            if not (path / HEADER).is_file():  # not whole, so nobody can have opened it
                shutil.rmtree(path)
                temporary.rename(path)
        sync_dir(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_old(folder: Path) -> None:
    """Remove what killed processes left."""
    for path in folder.glob(".index-*.tmp-*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - GRACE_S:
                shutil.rmtree(path, ignore_errors=True)


class _Builder:
    """The tables of one index while they are made."""

    def __init__(self, source: Source, path: Path, settings: dict[str, Any], content: str) -> None:
        self.source, self.path, self.settings, self.content = source, path, settings, content
        self.is_tokens = any(shard.format == "tokens" for shard in source.shards)
        self.tables = Tables(path)
        fields = [("shard", "<u4"), ("row", "<u4"), ("pool", "<u4"), ("tokens", "<u4"), ("repeats", "<u2")]
        fields += [("start", "<u8")] * self.is_tokens + [("order", "<u8")] * settings["ordered"]
        self.record = np.dtype(fields)
        self.num_docs = 0
        self.docs, self.tokens, self.unique = (np.zeros(0, np.int64) for _ in range(3))
        self.levels = np.zeros(0, np.int64)

    def build(self) -> None:
        """Make all tables, then the header."""
        self._write_groups()
        self._spill()
        self._name_pools()
        self._fill()
        if self.settings["ordered"]:
            self._sort()
        if self.source.has_edits:
            self._write_spans()
        blocks = self._cut_all()
        if not self.is_tokens:
            self._write_group_blocks()
        for scratch in self.path.glob("_*"):
            scratch.unlink()
        self._write_header(blocks)

    # Row groups

    def _write_groups(self) -> None:
        """Find the row groups of all shards; footers are read by several threads."""
        numbers = range(len(self.source.shards))
        self.num_groups: list[int] = []
        with (
            self.tables.create("groups") as groups,
            self.tables.create("group_rows") as rows,
            ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="footers") as pool,
        ):
            for found in pool.map(self.source.chunks, numbers):
                self.num_groups.append(len(found))
                groups.write(found.tobytes())
                ends = np.cumsum(found["num_rows"], dtype=np.int64)
                rows.write((ends - found["num_rows"]).astype("<u4").tobytes())
        self.first_group = np.concatenate([[0], np.cumsum(self.num_groups)]).astype(np.int64)
        self.tables.note("groups", int(self.first_group[-1]))
        self.tables.note("group_rows", int(self.first_group[-1]))

    # Documents

    def _spill(self) -> None:
        """Write the documents as they come, and count."""
        with contextlib.ExitStack() as stack:
            docs = stack.enter_context(self.tables.create("_docs"))
            if self.source.has_edits:
                counts = stack.enter_context(self.tables.create("_span_counts"))
                spans = stack.enter_context(self.tables.create("_spans"))
            for rows in self.source.rows():
                self._count(rows)
                self._write_docs(docs, rows)
                if self.source.has_edits:
                    _write_removed(counts, spans, rows)

    def _write_docs(self, docs: BinaryIO, rows: Rows) -> None:
        records = np.zeros(len(rows.row), self.record)
        records["shard"], records["row"], records["pool"] = rows.shard, rows.row, rows.pool
        records["tokens"], records["repeats"] = np.maximum(rows.tokens, 1), rows.repeats
        if self.is_tokens and rows.start is not None:
            records["start"] = rows.start
        if self.settings["ordered"] and rows.order is not None:
            records["order"] = rows.order
        docs.write(records.tobytes())
        self.num_docs += len(records)

    def _count(self, rows: Rows) -> None:
        missing = len(self.source.pool_names) - len(self.docs)
        if missing > 0:
            grown = (self.docs, self.tokens, self.unique, self.levels)
            self.docs, self.tokens, self.unique, self.levels = (np.pad(one, (0, missing)) for one in grown)
        tokens = np.maximum(rows.tokens, 1).astype(np.int64)
        self.docs += np.bincount(rows.pool, minlength=len(self.docs))
        np.add.at(self.unique, rows.pool, tokens)
        np.add.at(self.tokens, rows.pool, tokens * rows.repeats)
        np.maximum.at(self.levels, rows.pool, rows.repeats.astype(np.int64))

    def _name_pools(self) -> None:
        """Sort the pools by name."""
        names = self.source.pool_names
        missing = len(names) - len(self.docs)
        grown = (self.docs, self.tokens, self.unique, self.levels)
        order = sorted(range(len(names)), key=lambda code: names[code])
        self.docs, self.tokens, self.unique, self.levels = (np.pad(one, (0, missing))[order] for one in grown)
        self.names = [names[code] for code in order]
        self.rank = np.zeros(len(names), np.int64)
        self.rank[order] = np.arange(len(names))
        self.first_doc = np.concatenate([[0], np.cumsum(self.docs)]).astype(np.int64)

    def _fill(self) -> None:
        """Put every document into its place: by pool, then as they came."""
        names = ["shard", "row", "tokens", "repeats"]
        tables = {name: self.tables.new(name, DTYPES[name], self.num_docs) for name in names}
        if self.is_tokens:
            tables["start"] = self.tables.new("token_starts", "<u8", self.num_docs)
        if self.settings["ordered"]:
            tables["order"] = self.tables.new("_order", "<u8", self.num_docs)
        came = self.tables.new("_came", "<i8", self.num_docs) if self.source.has_edits else None
        cursor = self.first_doc[:-1].copy()
        spilled = self.tables.map("_docs", self.record, self.num_docs)
        for first in range(0, self.num_docs, CHUNK_DOCS):
            records = np.array(spilled[first : first + CHUNK_DOCS])
            rank = self.rank[records["pool"]]
            short = (
                rank.astype(np.uint16) if len(cursor) <= 1 << 16 else rank
            )  # numbers of 16 bits sort faster
            order = np.argsort(short, kind="stable")
            counts = np.bincount(rank, minlength=len(cursor))
            before = np.cumsum(counts) - counts
            places = np.arange(len(records)) + np.repeat(cursor - before, counts)
            for name, table in tables.items():
                table[places] = records[name][order]
            if came is not None:
                came[places] = order + first
            cursor += counts

    def _sort(self) -> None:
        """Sort each pool by the plan's order; ties stay as they came."""
        columns = [("shard", "<u4"), ("row", "<u4"), ("tokens", "<u4"), ("repeats", "<u2")]
        columns += [("token_starts", "<u8")] * self.is_tokens + [("_came", "<i8")] * self.source.has_edits
        keys = self.tables.map("_order", "<u8", self.num_docs)
        for start, stop in zip(self.first_doc[:-1].tolist(), self.first_doc[1:].tolist(), strict=True):
            own = keys[start:stop]
            if (own[1:] >= own[:-1]).all():
                continue
            order = np.argsort(own, kind="stable")
            for name, dtype in columns:
                table = self.tables.map(name, dtype, self.num_docs, mode="r+")
                table[start:stop] = table[start:stop][order]

    def _write_spans(self) -> None:
        """Put the edits into the order of the documents."""
        came = self.tables.map("_came", "<i8", self.num_docs)
        counts = self.tables.map("_span_counts", "<u4", self.num_docs)
        total = int(np.sum(counts, dtype=np.int64))
        found = self.tables.map("_spans", "<u4", 2 * total).reshape(-1, 2)
        source_starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        starts = self.tables.new("span_starts", "<i8", self.num_docs + 1)
        with self.tables.create("spans") as output:
            for first in range(0, self.num_docs, CHUNK_DOCS // 8):
                docs = came[first : first + CHUNK_DOCS // 8]
                own = counts[docs].astype(np.int64)
                ends = np.cumsum(own)
                places = np.arange(ends[-1]) + np.repeat(source_starts[docs] - (ends - own), own)
                output.write(found[places].tobytes())
                starts[first + 1 : first + 1 + len(docs)] = starts[first] + ends
        self.tables.note("spans", 2 * total)

    # Blocks

    def _cut_all(self) -> list[int]:
        """Cut the documents of every pool; the number of blocks of each."""
        per_pool = []
        with self.tables.create("block_starts") as output:
            for pool, name in enumerate(self.names):
                num_blocks = 0
                for starts in self._cut_pool(pool):
                    output.write(starts.astype("<i8").tobytes())
                    num_blocks += len(starts)
                if self.docs[pool] and not num_blocks:
                    raise AssertionError(f"pool {name} has documents and no blocks")
                per_pool.append(num_blocks)
            output.write(np.array([self.num_docs], "<i8").tobytes())
        self.tables.note("block_starts", sum(per_pool) + 1)
        return per_pool

    def _cut_pool(self, pool: int) -> Iterator[Ints]:
        fair = int(self.unique[pool]) // (BLOCKS_PER_LANE * self.settings["num_lanes"])
        target = max(1, min(self.settings["block_tokens"], fair))
        tokens = self.tables.map("tokens", "<u4", self.num_docs)
        start, stop = int(self.first_doc[pool]), int(self.first_doc[pool + 1])
        size = max(CHUNK_DOCS, 4 * target)
        while start < stop:
            end = min(start + size, stop)
            starts, place = cut(tokens[start:end], self._runs(start, end), target, is_last=end == stop)
            yield starts + start
            start += place

    def _runs(self, start: int, stop: int) -> Ints:
        """Places where a row group ends and another begins, the first included."""
        if self.settings["ordered"]:
            return np.zeros(1, np.int64)
        groups = self._groups_at(slice(start, stop))
        return np.concatenate([[0], np.flatnonzero(np.diff(groups)) + 1])

    def _groups_at(self, docs: Ints | slice) -> Ints:
        """Row groups of documents, among those of all shards; a file of tokens is one."""
        shards = np.array(self.tables.map("shard", "<u4", self.num_docs)[docs])
        if self.is_tokens:
            return shards.astype(np.int64)
        rows = np.array(self.tables.map("row", "<u4", self.num_docs)[docs])
        starts = self.tables.map("group_rows", "<u4", self.tables.sizes["group_rows"])
        return group_numbers(shards, rows, self.first_group, starts)

    def _write_group_blocks(self) -> None:
        """List the blocks of each row group; a block of an ordered index may be of several."""
        starts = np.array(self.tables.map("block_starts", "<i8", self.tables.sizes["block_starts"]))
        found = [np.zeros(0, np.uint64)]
        for first in range(0, self.num_docs, CHUNK_DOCS):
            stop = min(first + CHUNK_DOCS, self.num_docs)
            groups = self._groups_at(slice(first, stop))
            blocks = np.searchsorted(starts, np.arange(first, stop), side="right") - 1
            pairs = groups.astype(np.uint64) << np.uint64(32) | blocks.astype(np.uint64)
            found.append(pairs[np.diff(pairs, prepend=np.uint64((1 << 64) - 1)) != 0])
        pairs = np.unique(np.concatenate(found))
        bounds = np.searchsorted(
            pairs >> np.uint64(32), np.arange(self.first_group[-1] + 1).astype(np.uint64)
        )
        for name, values in (
            ("group_blocks", pairs & np.uint64((1 << 32) - 1)),
            ("group_block_starts", bounds),
        ):
            with self.tables.create(name) as output:
                output.write(values.astype(DTYPES[name]).tobytes())
            self.tables.note(name, len(values))

    def _count_groups(self, blocks: list[int]) -> list[int]:
        """Row groups in which the blocks of each pool begin."""
        starts = np.array(self.tables.map("block_starts", "<i8", self.tables.sizes["block_starts"]))
        bounds = np.concatenate([[0], np.cumsum(blocks)]).tolist()
        found = []
        for first, stop in itertools.pairwise(bounds):
            groups = self._groups_at(starts[first:stop])
            found.append(int(np.count_nonzero(np.diff(groups))) + 1 if len(groups) else 0)
        return found

    def _write_header(self, blocks: list[int]) -> None:
        shards = [
            IndexShard(
                key=shard.key,
                uri=shard.uri,
                format=shard.format,
                size_bytes=shard.size_bytes,
                fingerprint=shard.fingerprint,
                num_groups=num_groups,
                dtype=shard.dtype,
            )
            for shard, num_groups in zip(self.source.shards, self.num_groups, strict=True)
        ]
        groups = self._count_groups(blocks)
        pools = [
            Pool(
                name=name,
                num_docs=int(self.docs[pool]),
                num_tokens=int(self.tokens[pool]),
                num_unique_tokens=int(self.unique[pool]),
                num_blocks=blocks[pool],
                num_groups=groups[pool],
                num_levels=int(self.levels[pool]),
                cap=self.source.caps.get(name),
            )
            for pool, name in enumerate(self.names)
        ]
        header = {
            "format": FORMAT,
            "fingerprint": self.content,
            "settings": self.settings,
            "text": self.source.text,
            "max_line_bytes": self.source.max_line_bytes,
            "shards": [asdict(shard) for shard in shards],
            "pools": [asdict(pool) for pool in pools],
            "files": self.tables.sizes,
        }
        self.tables.sync()
        with (self.path / HEADER).open("xb") as handle:
            handle.write(to_json(header))
            handle.flush()
            os.fsync(handle.fileno())


def _write_removed(counts: BinaryIO, spans: BinaryIO, rows: Rows) -> None:
    """Spill the edits of documents: how many spans each has, and their starts and ends."""
    found = rows.spans
    if found is None or len(found) != len(rows.row):
        raise DataError(f"shard {rows.shard}: documents without edits, in a plan that edits texts")
    counts.write(found.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype("<u4").tobytes())
    flat = found.flatten()
    pairs = np.stack([flat.field("start").to_numpy(), flat.field("end").to_numpy()], axis=1)
    spans.write(pairs.astype("<u4").tobytes())
