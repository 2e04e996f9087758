"""Documents of a delivered folder: the files that its `_manifest.json` names.

Pools are the folders of `output.split_by`, else the values of a column, else one. Tokens of a document are
`tokens.count` and one for its end where that column was delivered; else a quarter of the bytes of its text,
from `document.num_bytes`, or as the average of its row group from the footer, so that no text is read; or
they are counted by a tokenizer, which reads all texts once. The numbers cut blocks and are the supply of a
pool; what is served are the true tokens. Not here: how the folder is written (pipeline/write.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import ConfigError, DataError
from curate.loader.sources import NO_CAP, Rows, SourceShard, locate_chunks
from curate.pipeline.kept import REPEATS
from curate.pipeline.output import MANIFEST, OutputFolder
from curate.pipeline.split import as_text, value_of
from curate.selection.candidates import ALL, NO_POOL
from curate.shards import Input, Piece, Shard, iter_batches, locate
from curate.shards.chunks import Chunks, decode_text
from curate.shards.parquet import read_footer
from curate.shards.ranges import RangeFile

COUNT, NUM_BYTES = "tokens.count", "document.num_bytes"
BYTES_PER_TOKEN = 4
BATCH_BYTES = 8 << 20
MAX_POOLS = 1 << 16


class Counter(Protocol):
    """What counts tokens: a tokenizer of the loader."""

    content: str

    def encode(self, texts: pa.Array) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Tokens of all texts, and where those of each begin."""
        ...


@dataclass(kw_only=True)
class DeliveredSource:
    """Documents of a delivered folder."""

    folder: OutputFolder
    text: str = "text"
    storage_options: dict[str, str] = field(default_factory=dict)
    by: str | None = None
    """Column whose values name the pools; None is that of the folders, else `source`, else one pool."""
    count: Counter | None = None
    """Counts the tokens exactly."""
    max_line_bytes: int = 64 << 20
    has_edits: bool = False

    def __post_init__(self) -> None:
        """Read the manifest, and the footer of the first file for its columns."""
        manifest = self.folder.read_manifest()
        if manifest is None:
            raise ConfigError(
                f"not a delivered folder, it has no {MANIFEST}: {self.folder.place.uri}",
                hint="write one with `curate deliver`, or give the run",
            )
        self.shards = [
            SourceShard(
                key=file["name"],
                uri=self.folder.uri(file["name"]),
                format="parquet",
                size_bytes=file["size_bytes"],
                fingerprint=file["blake3"],
                num_rows=file["num_rows"],
            )
            for file in sorted(manifest["files"], key=lambda file: str(file["name"]).encode())
        ]
        self.caps = NO_CAP
        self.pool_names: list[str] = []
        self._codes: dict[str, int] = {}
        self._chunks: dict[int, Chunks] = {}
        self._choose_columns()
        counted = None if self.count is None else self.count.content
        named = [[shard.key, shard.fingerprint] for shard in self.shards]
        self.content: list[Any] = ["delivered", 1, named, self.text, self._by, self._size, counted]

    def _choose_columns(self) -> None:
        """Find which columns are read beside the text."""
        names = list(self._shard(0).schema.names) if self.shards else []
        folders = {value_of(shard.key.rpartition("/")[0])[0] for shard in self.shards if "/" in shard.key}
        in_folders = all("/" in shard.key for shard in self.shards) and len(folders) == 1
        self._folder_column = folders.pop() if in_folders else None
        self._by: str | None = self.by
        if self.by is None:
            self._by = self._folder_column or ("source" if "source" in names else None)
        elif self.by not in (*names, self._folder_column):
            raise ConfigError(f"the shards have no column {self.by}; there are: {', '.join(names)}")
        has_count = [name for name in (COUNT, NUM_BYTES) if name in names]
        self._size = has_count[0] if has_count and self.count is None else None
        wanted = [REPEATS if REPEATS in names else None, self._size]
        if self._by != self._folder_column:
            wanted.append(self._by)
        self._columns = [name for name in wanted if name is not None]

    def _shard(self, index: int) -> Shard:
        """A shard as the readers of other columns take it."""
        found = self.shards[index]
        place = locate(found.uri, self.storage_options)
        footer = read_footer(place, found.key, text=self.text)
        return Shard(
            key=found.key,
            uri=found.uri,
            format="parquet",
            fingerprint=found.fingerprint,
            size_bytes=found.size_bytes,
            num_rows=found.num_rows,
            row_groups=footer.row_groups,
            row_group_bytes=footer.row_group_bytes,
            schema=footer.schema,
        )

    def chunks(self, shard: int) -> Chunks:
        """Where the text of each row group lies."""
        found = locate_chunks(self.shards[shard], text=self.text, storage_options=self.storage_options)
        self._chunks[shard] = found
        return found

    def rows(self) -> Iterator[Rows]:
        """All documents that are repeated once at least."""
        for index, shard in enumerate(self.shards):
            chunks = self._chunks.pop(index)
            estimates = self._counted(index, chunks) if self.count is not None else _averages(chunks)
            first = 0
            for batch in self._batches(index):
                num_rows = shard.num_rows if batch is None else batch.num_rows
                part = slice(first, first + num_rows)
                yield self._rows(index, first, batch, estimates[part])
                first += num_rows

    def _batches(self, index: int) -> Iterator[pa.RecordBatch | None]:
        """Columns beside the text; None where there are none to read."""
        if not self._columns:
            yield None
            return
        shard = self._shard(index)
        settings = Input(paths=shard.uri, text=self.text, storage_options=self.storage_options)
        piece = Piece(shard, 0, 0, len(shard.row_groups), 0, shard.num_rows, 0)
        schema = pa.schema([shard.schema.field(name) for name in self._columns])
        yield from iter_batches(
            piece, settings, max_bytes=BATCH_BYTES, max_rows=1 << 17, with_text=False, schema=schema
        )

    def _rows(
        self, index: int, first: int, batch: pa.RecordBatch | None, estimates: npt.NDArray[np.uint32]
    ) -> Rows:
        import polars as pl

        shard, num_rows = self.shards[index], len(estimates)
        repeats = np.ones(num_rows, np.uint16)
        if REPEATS in self._columns and batch is not None:
            repeats = batch[REPEATS].cast(pa.uint16()).fill_null(0).to_numpy(zero_copy_only=False)
        if self._by is not None and self._by in self._columns and batch is not None:
            values = as_text(pl.Series(pl.from_arrow(batch[self._by])), self._by)
            pool = self._pools(values)
        else:
            name = None if self._by is None else value_of(shard.key.rpartition("/")[0])[1] or NO_POOL
            pool = np.full(num_rows, self._code(ALL if name is None else name), np.uint32)
        tokens = estimates
        if self._size is not None and batch is not None:
            sizes = batch[self._size].cast(pa.int64())
            known = sizes.is_valid().to_numpy(zero_copy_only=False)
            counts = sizes.fill_null(0).to_numpy(zero_copy_only=False)
            counts = counts if self._size == COUNT else counts // BYTES_PER_TOKEN
            tokens = np.where(known, counts + 1, estimates).astype(np.uint32)
        kept = np.flatnonzero(repeats)
        row = (kept + first).astype(np.uint32)
        return Rows(shard=index, row=row, pool=pool[kept], repeats=repeats[kept], tokens=tokens[kept])

    def _pools(self, values: Any) -> npt.NDArray[np.uint32]:
        import polars as pl

        values = values.fill_null(NO_POOL)
        known = {name: self._code(name) for name in values.unique(maintain_order=True)}
        return np.asarray(values.replace_strict(known, return_dtype=pl.UInt32).to_numpy())

    def _code(self, name: str) -> int:
        if name not in self._codes:
            if len(self._codes) == MAX_POOLS:
                raise ConfigError(f"more than {MAX_POOLS} pools, of column {self._by}")
            self._codes[name] = len(self.pool_names)
            self.pool_names.append(name)
        return self._codes[name]

    def _counted(self, index: int, chunks: Chunks) -> npt.NDArray[np.uint32]:
        """Tokens of all documents of a shard, by the tokenizer."""
        assert self.count is not None
        shard = self.shards[index]
        file = RangeFile(locate(shard.uri, self.storage_options))
        found = [np.zeros(0, np.uint32)]
        for number, chunk in enumerate(chunks):
            data = file.read(int(chunk["start"]), int(chunk["packed_bytes"]))
            for texts in decode_text(data, chunk, f"{shard.key}, row group {number}"):
                if texts.null_count:
                    raise DataError(f"{shard.key}, row group {number}: a text is null")
                found.append(np.diff(self.count.encode(texts)[1]).astype(np.uint32))
        return np.concatenate(found)


def _averages(chunks: Chunks) -> npt.NDArray[np.uint32]:
    """Tokens of all documents of a shard: the average of its row group; a stored text has 4 bytes more."""
    rows = chunks["num_rows"].astype(np.int64)
    text_bytes = np.maximum(chunks["unpacked_bytes"].astype(np.int64) - 4 * rows, 0)
    tokens = text_bytes // np.maximum(rows, 1) // BYTES_PER_TOKEN + 1
    return np.repeat(np.minimum(tokens, (1 << 32) - 1).astype(np.uint32), rows)


def open_delivered(
    path: str,
    *,
    by: str | None = None,
    text: str = "text",
    storage_options: dict[str, str] | None = None,
    count: Counter | None = None,
) -> DeliveredSource:
    """The documents of a delivered folder, local or below a URL.

    Raises:
        ConfigError: there is no manifest, or no column `by`.
    """
    folder = OutputFolder(path, storage_options)
    return DeliveredSource(
        folder=folder, by=by, text=text, storage_options=storage_options or {}, count=count
    )
