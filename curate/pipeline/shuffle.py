"""The sort behind a shuffled delivery: documents by order key, out of core.

Kept documents are collected up to a share of the memory budget, sorted and spilled as runs. The keys are cut
into ranges, the buckets; a bucket is gathered from a slice of every run, sorted again and handed out in
parts. How many runs there are depends on the memory, what a bucket holds does not.

Cost: one write and one read of the kept text, beside reading the shards. Memory: about three runs while
spilling, about two buckets while reading. Files are scratch, in a folder that is emptied after a kill.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.files import naming_errors

ORDER = ("__order", "__ordinal")
"""Columns that a delivery is sorted by: key, then ordinal; they are not written."""

PART_BYTES = 8 << 20


class Shuffle:
    """Takes documents in any order and gives them back bucket by bucket, each sorted."""

    def __init__(self, folder: Path, *, bounds: list[int], run_bytes: int) -> None:
        """Sort in `folder`; `bounds` are the least keys of the buckets after the first."""
        self._folder = folder
        self._bounds = np.array(bounds, np.uint64)
        self._run_bytes = run_bytes
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._runs: list[tuple[Path, npt.NDArray[np.int64]]] = []

    def add(self, table: pa.Table) -> None:
        """Take documents; the table has the columns `ORDER`."""
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes
        if self._waiting_bytes >= self._run_bytes:
            self.flush()

    def flush(self) -> None:
        """Spill what waits."""
        if not self._waiting:
            return
        table = _sorted(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        inner = np.searchsorted(table[ORDER[0]].to_numpy(), self._bounds, side="left")
        offsets = np.concatenate([[0], inner, [table.num_rows]]).astype(np.int64)
        path = self._folder / f"run-{len(self._runs):05d}.arrow"
        with (
            naming_errors(path),
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)
        self._runs.append((path, offsets))
        del table
        pa.default_memory_pool().release_unused()

    def read(self, bucket: int) -> Iterator[pa.Table]:
        """Documents of a bucket in order, in parts, without the columns `ORDER`."""
        slices = []
        for path, offsets in self._runs:
            start, stop = int(offsets[bucket]), int(offsets[bucket + 1])
            if stop > start:
                with pa.memory_map(str(path)) as source:
                    slices.append(pa.ipc.open_file(source).read_all().slice(start, stop - start))
        if not slices:
            return
        table = pa.concat_tables(slices)
        order = _order(table)
        table = table.drop_columns(list(ORDER)).combine_chunks()
        del slices
        num_rows = max(1, PART_BYTES * table.num_rows // max(table.nbytes, 1))
        for start in range(0, len(order), num_rows):
            yield table.take(pa.array(order[start : start + num_rows]))


def equal_bounds(num_buckets: int) -> list[int]:
    """Bounds of buckets that are equal ranges of 64-bit keys."""
    width = (1 << 64) // num_buckets + 1
    return [width * bucket for bucket in range(1, num_buckets)]


def _order(table: pa.Table) -> Any:
    return np.lexsort((table[ORDER[1]].to_numpy(), table[ORDER[0]].to_numpy()))


def _sorted(tables: list[pa.Table]) -> pa.Table:
    """Sort documents; the tables are emptied from the list, so that they are held once."""
    table = pa.concat_tables(tables)
    tables.clear()
    order = _order(table)
    table = table.combine_chunks()
    return table.take(pa.array(order)).combine_chunks()
