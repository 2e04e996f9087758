"""JSONL shards: each non-empty line is a row, good or quarantined.

A line that is not UTF-8, not a JSON object, without text or too long is a row without text that carries its
reason; a lone surrogate, NaN, a number past the range of a double and nesting deeper than 1,024 are not JSON.
Columns are found by one pass over the whole shard while it is hashed, so a key that appears only in the last
line is not lost; they are int64, double, bool or string, and a column of mixed types or of nested values is a
string of JSON.

Cost: about 350 MB/s and core for the pass that lists, 150 for the one that reads, plain lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from curate.errors import DataError
from curate.schema import BAD_JSON, BAD_TEXT_TYPE, ERROR, INVALID_UTF8, LINE_TOO_LONG, NULL_TEXT, TEXT
from curate.shards import storage
from curate.shards.columns import convert
from curate.shards.lines import HashingReader, escape, is_utf8, iter_chunks, iter_lines
from curate.shards.model import ERROR_DETAIL, Input, Shard, check_unchanged

MAX_COLUMNS = 10_000

_BOOL, _INT, _FLOAT, _STRING, _OTHER = 1, 2, 4, 8, 16
_KINDS = {type(None): 0, bool: _BOOL, int: _INT, float: _FLOAT, str: _STRING}
_TYPES = {
    0: pa.null(),
    _BOOL: pa.bool_(),
    _INT: pa.int64(),
    _FLOAT: pa.float64(),
    _INT | _FLOAT: pa.float64(),
}
_MAX_INT = 1 << 63


@dataclass(frozen=True)
class Listing:
    """What one pass over a JSONL file finds."""

    fingerprint: str
    size_bytes: int
    schema: pa.Schema
    """Every key, the text included, in the order of first appearance."""


@dataclass
class _Rows:
    """Rows that wait to become a batch."""

    texts: list[bytes | None] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)
    details: list[str | None] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    num_bytes: int = 0


def scan(place: storage.Place, key: str, *, max_line_bytes: int) -> Listing:
    """Read a whole file once: its hash and the types of its columns."""
    kinds: dict[str, int] = {}
    with _open(place) as reader:
        for line, is_too_long in iter_lines(iter_chunks(reader, key), max_line_bytes):
            value = None if is_too_long else _parse(line)
            if isinstance(value, dict):
                for name, item in value.items():
                    kinds[name] = kinds.get(name, 0) | _kind(item)
                if len(kinds) > MAX_COLUMNS:
                    raise DataError(
                        f"{key}: more than {MAX_COLUMNS} different keys",
                        hint="put free-form keys into one object",
                    )
        fields = [(name, _TYPES.get(kind, pa.string())) for name, kind in kinds.items()]
        return Listing(reader.hexdigest(), reader.num_bytes, pa.schema(fields))


def iter_rows(
    shard: Shard, settings: Input, *, schema: pa.Schema, max_bytes: int, max_rows: int, with_text: bool
) -> Iterator[pa.RecordBatch]:
    """Read a shard in batches of at most `max_bytes` (or one larger row), columns as in `schema`."""
    rows = _Rows()
    with _open(storage.locate(shard.uri, settings.storage_options)) as reader:
        for line, is_too_long in iter_lines(iter_chunks(reader, shard.key), settings.max_line_bytes):
            value, text, error = _read_line(line, is_too_long, settings.text)
            size = len(line) if value else 0
            if rows.errors and (rows.num_bytes + size > max_bytes or len(rows.errors) >= max_rows):
                yield _to_batch(rows, shard, schema=schema, with_text=with_text)
                rows = _Rows()
            rows.texts.append(text if with_text else None)
            rows.errors.append(error)
            rows.details.append(None if error is None else escape(line))
            rows.values.append({name: value.get(name) for name in schema.names})
            rows.num_bytes += size
        if rows.errors:
            yield _to_batch(rows, shard, schema=schema, with_text=with_text)
        check_unchanged(shard, reader.num_bytes)
        if reader.hexdigest() != shard.fingerprint:
            raise DataError(f"{shard.key} changed after it was listed: its content differs ({shard.uri})")


def _open(place: storage.Place) -> HashingReader:
    block_bytes = storage.LOCAL_BLOCK_BYTES if place.is_local else storage.REMOTE_BLOCK_BYTES
    return HashingReader(storage.open_file(place), block_bytes=block_bytes)


def _parse(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _read_line(line: bytes, is_too_long: bool, text: str) -> tuple[dict[str, Any], bytes | None, str | None]:
    """Give the object of a line, its text, and the reason code if it has none."""
    if is_too_long:
        return {}, None, LINE_TOO_LONG
    value = _parse(line)
    if not isinstance(value, dict):
        return {}, None, BAD_JSON if value is not None or is_utf8(line) else INVALID_UTF8
    found = value.get(text)
    if isinstance(found, str):
        return value, found.encode(), None
    return value, None, NULL_TEXT if found is None else BAD_TEXT_TYPE


def text_of_line(line: bytes, is_too_long: bool, text: str) -> bytes | None:
    """Give the text of a row; None for one that is quarantined."""
    return _read_line(line, is_too_long, text)[1]


def _kind(item: Any) -> int:
    kind = _KINDS.get(type(item), _OTHER)
    if kind == _INT and not -_MAX_INT <= item < _MAX_INT:
        return _OTHER
    return kind


def _to_batch(rows: _Rows, shard: Shard, *, schema: pa.Schema, with_text: bool) -> pa.RecordBatch:
    arrays: dict[str, pa.Array] = {}
    if with_text:
        arrays[TEXT] = pa.array(rows.texts, pa.large_binary())
        arrays[ERROR] = pa.array(rows.errors, pa.string())
        arrays[ERROR_DETAIL] = pa.array(rows.details, pa.string())
    for column in schema:
        values = [value[column.name] for value in rows.values]
        try:
            arrays[column.name] = _to_array(values, shard, column)
        except (pa.ArrowException, TypeError, OverflowError) as exc:
            raise DataError(
                f"{shard.key}: column {column.name} cannot be read as {column.type}: {exc}"
            ) from exc
    return pa.record_batch(arrays)


def _to_array(values: list[Any], shard: Shard, column: pa.Field) -> pa.Array:
    if column.name not in shard.schema.names:
        return pa.nulls(len(values), column.type)
    if column.type == pa.string():
        return pa.array([_to_string(item) for item in values], pa.string())
    kind = shard.schema.field(column.name).type
    if kind == pa.float64():
        values = [None if item is None else float(item) for item in values]
    return convert(pa.array(values, kind), column.type)


def _to_string(item: Any) -> str | None:
    if item is None or isinstance(item, str):
        return item
    return orjson.dumps(item).decode()
