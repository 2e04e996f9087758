"""Rows of a shard, whatever its format: in batches, or a few by their numbers.

A batch has `text` (large_binary, null where it is missing; UTF-8 is not checked here), `input.error` (the
reason code of a row that could not be read, else null), `input.error_detail`, then the carried columns. The
concatenated rows do not depend on the limits. Peak memory is about three times `max_bytes` beside the largest
row and page.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from curate.errors import DataError
from curate.schema import ERROR, TEXT
from curate.shards import jsonl, parquet
from curate.shards.columns import shard_schema
from curate.shards.model import ERROR_DETAIL, Input, Piece, Shard, split_pieces

READ_BYTES = 16 << 20


def iter_batches(
    piece: Piece,
    settings: Input,
    *,
    max_bytes: int,
    max_rows: int = 8192,
    with_text: bool = True,
    schema: pa.Schema | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read a piece in order, in batches of at most `max_bytes` (or one larger row) and `max_rows`.

    `schema` names and types the carried columns, as from `carried_schema`; None is what this shard has.
    Columns that the shard lacks are null. Without text, `input.error` and its detail are left out too; a
    Parquet shard that then has no column to read gives no batches.
    """
    carried = shard_schema(piece.shard, settings) if schema is None else schema
    if piece.shard.format == "jsonl":
        return jsonl.iter_rows(
            piece.shard, settings, schema=carried, max_bytes=max_bytes, max_rows=max_rows, with_text=with_text
        )
    return parquet.iter_rows(
        piece, settings, schema=carried, max_bytes=max_bytes, max_rows=max_rows, with_text=with_text
    )


def batch_schema(carried: pa.Schema) -> pa.Schema:
    """Schema of the batches with text for these carried columns."""
    engine = [(TEXT, pa.large_binary()), (ERROR, pa.string()), (ERROR_DETAIL, pa.string())]
    return pa.schema([*map(pa.field, *zip(*engine, strict=True)), *carried])


def read_rows(shard: Shard, settings: Input, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """Read a few rows by their numbers, ascending; row groups without any of them are not read.

    Columns are named as in the batches; a JSONL shard is read up to the last row. A row that is not there is
    a DataError, and so is an unknown column.
    """
    carried = shard_schema(shard, settings)
    schema = batch_schema(carried)
    unknown = [name for name in columns if name not in schema.names]
    if unknown:
        raise DataError(f"{shard.key}: no column {', '.join(unknown)}; there are: {', '.join(schema.names)}")
    wanted = pa.schema([column for column in carried if column.name in columns])
    parts: list[pa.RecordBatch] = []
    num_left = len(rows)
    for piece in split_pieces(shard, max_bytes=0):
        mine = [row for row in rows if piece.num_rows is None or 0 <= row - piece.first_row < piece.num_rows]
        if mine:
            found = _pick(piece, settings, rows=mine, schema=wanted)
            parts += found
            num_left -= sum(part.num_rows for part in found)
    if num_left:
        raise DataError(f"{shard.key}: {num_left} of the rows {min(rows)} to {max(rows)} are not there")
    empty = batch_schema(wanted)
    return pa.Table.from_batches(parts, empty).select(list(columns))


def _pick(piece: Piece, settings: Input, *, rows: list[int], schema: pa.Schema) -> list[pa.RecordBatch]:
    parts: list[pa.RecordBatch] = []
    first = piece.first_row
    for batch in iter_batches(piece, settings, max_bytes=READ_BYTES, schema=schema):
        inside = [row - first for row in rows if first <= row < first + batch.num_rows]
        if inside:
            parts.append(batch.take(pa.array(inside, pa.int64())))
        first += batch.num_rows
        if first > rows[-1]:
            break
    return parts
