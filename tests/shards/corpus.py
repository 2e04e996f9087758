"""Small corpora on disk, the same documents in every format."""

import gzip
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate import shards

DOCUMENTS: list[dict[str, Any]] = [
    {
        "id": f"doc-{row}",
        "text": f"text {row} \u00e9\u4e2d\U0001f600 " * (row % 7),
        "source": ["web", "books"][row % 2],
        "score": row / 4,
        "year": 1900 + row,
        "is_good": row % 3 == 0,
    }
    for row in range(50)
]


def to_jsonl(documents: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(document) + b"\n" for document in documents)


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def write_all(folder: Path, documents: Sequence[dict[str, Any]] = DOCUMENTS) -> dict[str, Path]:
    """Write the same documents once in each format."""
    folder.mkdir(parents=True, exist_ok=True)
    data = to_jsonl(documents)
    middle = data.index(b"\n", len(data) // 2) + 1
    paths = {name: folder / f"docs{name}" for name in (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst")}
    pq.write_table(pa.Table.from_pylist(list(documents)), paths[".parquet"], row_group_size=13)
    paths[".jsonl"].write_bytes(data)
    paths[".jsonl.gz"].write_bytes(gzip.compress(data[:middle]) + gzip.compress(data[middle:]))
    paths[".jsonl.zst"].write_bytes(zstd(data[:middle]) + zstd(data[middle:]))
    return paths


def age(*paths: Path) -> None:
    """Make files old enough for the cache."""
    for path in paths:
        os.utime(path, (time.time() - 60, time.time() - 60))


def only_shard(path: Path | str, **options: Any) -> tuple[shards.Shard, shards.Input]:
    settings = shards.Input(paths=str(path), **options)
    (shard,) = shards.list_shards(settings)
    return shard, settings


def read(path: Path | str, **options: Any) -> pa.Table:
    """Read one file whole, through pieces and batches."""
    limits = {"max_bytes": options.pop("max_bytes", 1 << 20), "max_rows": options.pop("max_rows", 8192)}
    schema = options.pop("schema", None)
    shard, settings = only_shard(path, **options)
    return read_shard(shard, settings, schema=schema, **limits)


def read_shard(
    shard: shards.Shard,
    settings: shards.Input,
    *,
    max_bytes: int = 1 << 20,
    max_rows: int = 8192,
    schema: pa.Schema | None = None,
    piece_bytes: int = 256 << 20,
) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    for piece in shards.split_pieces(shard, max_bytes=piece_bytes):
        rows = 0
        for batch in shards.iter_batches(
            piece, settings, max_bytes=max_bytes, max_rows=max_rows, schema=schema
        ):
            batch.validate(full=True)
            rows += batch.num_rows
            batches.append(batch)
        assert piece.num_rows is None or rows == piece.num_rows
    carried = shards.shard_schema(shard, settings) if schema is None else schema
    return pa.Table.from_batches(batches, shards.batch_schema(carried)).combine_chunks()
