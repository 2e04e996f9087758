"""Rows to Parquet files: explicit schema, whole files, bytes that depend on the rows alone.

Rows are collected until a row group is full by bytes or rows, so the cut does not depend on how they came.
Each file is written under a temporary name, synced and renamed; where the target is remote it is uploaded
when it is whole. Settings are pinned: zstd, format 2.6, page checksums and index, no dictionary for the text.
The bytes are the same for one version of pyarrow, whose name is in every file. Cost: zstd 3 at about 150 MB/s
and core, level 1 at 200.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import DataError
from curate.files import atomic_file, hash_file, make_dirs, naming_errors
from curate.shards import storage
from curate.shards.columns import is_binarylike, is_stringlike, row_bytes

MAX_GROUP_ROWS = 10_000


@dataclass(frozen=True)
class WrittenFile:
    """A file that is whole and in its place."""

    name: str
    num_rows: int
    size_bytes: int
    blake3: str


class ShardWriter:
    """Write rows to `<prefix>-00000.parquet`, `<prefix>-00001.parquet` and so on, in a folder or below a URL.

    A file ends at `rows_per_file` exactly, or with the first row group that brings it to `max_file_bytes` on
    disk. Leaving a `with` block by an exception leaves the finished files and no other.
    """

    def __init__(  # over: each is an independent setting of the output
        self,
        directory: str | Path | storage.Place,
        schema: pa.Schema,
        *,
        rows_per_file: int | None = None,
        max_file_bytes: int | None = 1 << 30,
        row_group_bytes: int = 512 << 10,
        compression_level: int = 3,
        text: str = "text",
        prefix: str = "part",
    ) -> None:
        self._place = directory if isinstance(directory, storage.Place) else storage.locate(str(directory))
        self._prefix = prefix
        self._schema = schema
        self._text = text
        self._rows_per_file = rows_per_file
        self._max_file_bytes = max_file_bytes
        self._row_group_bytes = row_group_bytes
        self._compression_level = compression_level
        self._dictionary = [
            column.name
            for column in schema
            if column.name != text and (is_stringlike(column.type) or is_binarylike(column.type))
        ]
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._file: _OpenFile | None = None
        self._written: list[WrittenFile] = []
        self._scratch = contextlib.ExitStack()
        self._folder = self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows; their columns must be the schema's, by name, type and order."""
        if rows.schema.names != self._schema.names or rows.schema.types != self._schema.types:
            raise DataError(f"rows to write do not fit the schema: {rows.schema} instead of {self._schema}")
        for batch in rows.to_batches() if isinstance(rows, pa.Table) else [rows]:
            for part, size, is_full in self._cut(batch):
                self._pending.append(part)
                self._pending_rows += part.num_rows
                self._pending_bytes += size
                if is_full:
                    self._write_group()

    def close(self) -> list[WrittenFile]:
        """Finish the last file and list all of them; no rows at all are one file without rows."""
        if self._pending or (self._file is None and not self._written):
            self._write_group()
        self._finish_file()
        self._scratch.close()
        return list(self._written)

    def abort(self) -> None:
        """Drop what is not yet a whole file."""
        if self._file is not None:
            self._file.drop()
            self._file = None
        self._scratch.close()

    def _prepare(self) -> Path:
        if self._place.is_local:
            folder = Path(self._place.path)
            make_dirs(folder)
            return folder
        return Path(self._scratch.enter_context(tempfile.TemporaryDirectory(prefix="curate-")))

    def _cut(self, batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, int, bool]]:
        """Cut a batch where row groups end; a row group ends with the row that fills it."""
        sizes = np.zeros(batch.num_rows, np.int64)
        for column in batch.columns:
            sizes += row_bytes(column).to_numpy(zero_copy_only=False)
        ends = np.cumsum(sizes)
        start, before = 0, 0
        while start < batch.num_rows:
            missing = self._row_group_bytes - self._pending_bytes
            filled = int(np.searchsorted(ends, before + missing, side="left")) + 1
            stop = min(filled, start + self._rows_left(), batch.num_rows)
            size = int(ends[stop - 1]) - before
            is_full = size >= missing or stop - start == self._rows_left()
            yield batch.slice(start, stop - start), size, is_full
            start, before = stop, int(ends[stop - 1])

    def _rows_left(self) -> int:
        left = MAX_GROUP_ROWS - self._pending_rows
        if self._rows_per_file is not None:
            in_file = 0 if self._file is None else self._file.num_rows
            left = min(left, self._rows_per_file - in_file - self._pending_rows)
        return left

    def _write_group(self) -> None:
        """Write what is pending as one row group, from one chunk a column: pages are cut by chunks."""
        if self._file is None:
            self._file = self._open_file()
        group = pa.Table.from_batches(self._pending, self._schema).combine_chunks()
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        size_bytes = self._file.add(group)
        is_long = self._rows_per_file is not None and self._file.num_rows >= self._rows_per_file
        if is_long or (self._max_file_bytes is not None and size_bytes >= self._max_file_bytes):
            self._finish_file()

    def _open_file(self) -> "_OpenFile":
        path = self._folder / f"{self._prefix}-{len(self._written):05d}.parquet"
        return _OpenFile(
            path, self._schema, dictionary=self._dictionary, text=self._text, level=self._compression_level
        )

    def _finish_file(self) -> None:
        if self._file is None:
            return
        path, num_rows = self._file.path, self._file.num_rows
        self._file.finish()
        self._file = None
        self._written.append(WrittenFile(path.name, num_rows, path.stat().st_size, hash_file(path)))
        if not self._place.is_local:
            self._upload(path)
            path.unlink()

    def _open_remote(self, path: str) -> pa.NativeFile:
        return self._place.filesystem.open_output_stream(path, compression=None)

    def _upload(self, path: Path) -> None:
        """Copy a whole file to its remote place; object stores show it only when the upload is complete."""
        target = f"{self._place.path.rstrip('/')}/{path.name}"

        def send() -> None:
            with path.open("rb") as source, self._open_remote(target) as sink:
                while block := source.read(storage.REMOTE_BLOCK_BYTES):
                    sink.write(block)

        storage.retry(send, self._place.at(target).uri)


class _Dropped(Exception):
    """Tells `atomic_file` that its file is not wanted."""


class _OpenFile:
    """A Parquet file that gets its name when it is finished."""

    def __init__(
        self, path: Path, schema: pa.Schema, *, dictionary: list[str], text: str, level: int
    ) -> None:
        self.path = path
        self.num_rows = 0
        self._stack = contextlib.ExitStack()
        self._handle: BinaryIO = self._stack.enter_context(atomic_file(path))
        self._writer = pq.ParquetWriter(
            self._handle,
            schema,
            version="2.6",
            compression="zstd",
            compression_level=level,
            use_dictionary=dictionary or False,
            data_page_size=1 << 20,
            data_page_version="1.0",
            write_batch_size=128,
            write_page_index=True,
            write_page_checksum=True,
            write_statistics=[name for name in schema.names if name != text],
            store_schema=True,
        )

    def add(self, group: pa.Table) -> int:
        """Write one row group; the bytes of the file so far."""
        self.num_rows += group.num_rows
        if group.num_rows:
            with naming_errors(self.path):
                self._writer.write_table(group, row_group_size=group.num_rows)
        return self._handle.tell()

    def finish(self) -> None:
        """Write the footer, sync, give the file its name."""
        with self._stack:
            self._writer.close()

    def drop(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(_Dropped, OSError), self._stack:
            self._writer.close()
            raise _Dropped
