"""Rows set aside on disk and read back by partition: the out-of-core shuffle of duplicates.

Rows are collected up to a quarter of the memory budget, sorted by partition and written as one Arrow IPC
file; reading a partition maps one slice of each file. Many partitions cost nothing, so readers join
neighbours until the memory is used.

Cost: one write and one read of the rows, sequential. Not here: what the partitions mean. Files are scratch:
no fsync, no manifest; `close` removes them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from curate.files import naming_errors

NUM_PARTITIONS = 4096
"""Partitions of every spill; codes are below it."""


class Spill:
    """A bag of rows in `NUM_PARTITIONS` partitions; all rows have the same columns and types."""

    def __init__(self, directory: Path, name: str, *, memory_bytes: int) -> None:
        self._directory = directory
        self._name = name
        self._flush_bytes = max(memory_bytes // 4, 1)
        self._waiting: list[tuple[np.ndarray, pa.Table]] = []
        self._waiting_bytes = 0
        self._files: list[tuple[Path, np.ndarray]] = []
        self._tables: dict[Path, pa.Table] = {}

    def add(self, codes: np.ndarray, rows: pl.DataFrame) -> None:
        """Set rows aside; `codes` names the partition of each."""
        if rows.height == 0:
            return
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        self._waiting.append((codes.astype(np.uint16), table))
        self._waiting_bytes += table.nbytes + 2 * len(codes)
        if self._waiting_bytes >= self._flush_bytes:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        codes = np.concatenate([codes for codes, _ in self._waiting])
        table = pa.concat_tables([table for _, table in self._waiting])
        self._waiting, self._waiting_bytes = [], 0
        table = table.take(np.argsort(codes, kind="stable")).combine_chunks()
        offsets = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=NUM_PARTITIONS))])
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{self._name}-{len(self._files)}.arrow"
        with (
            naming_errors(path),
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)
        self._files.append((path, offsets))

    def groups(self, max_rows: int) -> Iterator[tuple[int, int]]:
        """Ranges of partitions, each of at most `max_rows` rows or of one partition; none is empty."""
        self._flush()
        if not self._files:
            return
        counts = np.sum([np.diff(offsets) for _, offsets in self._files], axis=0)
        start = held = 0
        for code, count in enumerate(counts.tolist()):
            if held and held + count > max_rows:
                yield start, code
                start, held = code, 0
            held += count
        if held:
            yield start, NUM_PARTITIONS

    def read(self, start: int, stop: int) -> Iterator[pl.DataFrame]:
        """Rows of the partitions from `start` up to `stop`, in parts no larger than one file."""
        self._flush()
        for path, offsets in self._files:
            first, last = int(offsets[start]), int(offsets[stop])
            if last > first:
                rows = pl.from_arrow(self._mapped(path).slice(first, last - first))
                assert isinstance(rows, pl.DataFrame)
                yield rows

    def _mapped(self, path: Path) -> pa.Table:
        if path not in self._tables:
            self._tables[path] = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        return self._tables[path]

    def close(self) -> None:
        """Remove the files."""
        self._waiting, self._tables = [], {}
        for path, _ in self._files:
            path.unlink(missing_ok=True)
        self._files = []


class ByOrdinal:
    """A spill read back by ranges of ordinals; ordinals are below `num_ordinals`."""

    def __init__(self, directory: Path, name: str, *, memory_bytes: int, num_ordinals: int) -> None:
        self._spill = Spill(directory, name, memory_bytes=memory_bytes)
        self._shift = max(0, (max(num_ordinals, 1) - 1).bit_length() - (NUM_PARTITIONS - 1).bit_length())

    def add(self, rows: pl.DataFrame) -> None:
        """Set rows aside by their column `ordinal`."""
        self._spill.add(rows["ordinal"].to_numpy() >> self._shift, rows)

    def read(self, first: int, num_rows: int) -> pl.DataFrame | None:
        """Rows with ordinals from `first` up to `first + num_rows`, by ordinal; None where there are none."""
        stop = min(NUM_PARTITIONS, ((first + num_rows - 1) >> self._shift) + 1)
        start = first >> self._shift
        if num_rows == 0 or start >= stop:
            return None
        inside = pl.col("ordinal").is_between(first, first + num_rows, closed="left")
        parts = [part.filter(inside) for part in self._spill.read(start, stop)]
        return pl.concat(parts).sort("ordinal") if parts else None

    def close(self) -> None:
        """Remove the files."""
        self._spill.close()
