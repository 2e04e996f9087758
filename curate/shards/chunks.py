"""The text of single row groups: where its bytes lie, and their decoding without the file around them.

`locate_text` reads the footer of a Parquet shard once and gives a table of column chunks. Who keeps that
table (30 bytes a row group) reads a row group by one exact range and needs no footer any more: `decode_text`
puts a footer of its own, of one column, around the bytes of a chunk, and pyarrow reads that. Page checksums
are verified. Plain JSONL has no row groups; lines are put together to ranges of about a megabyte, which a
pass over the whole file finds and hashes.

Cost: one or two requests a Parquet shard and 30 us for each column of each row group; JSONL 400 MB/s. Not
here: opening files (ranges.py), other columns (parquet.py).
"""

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import DataError
from curate.shards.columns import convert
from curate.shards.footer import BYTE_ARRAY, OPTIONAL, REPEATED, RowGroup, decode_with_schema
from curate.shards.jsonl import text_of_line
from curate.shards.lines import HashingReader, iter_lines, line_ranges
from curate.shards.parquet import MIN_BYTES, check_ends, translated
from curate.shards.ranges import RangeFile

CHUNKS = np.dtype(
    [
        ("start", "<u8"),
        ("packed_bytes", "<u8"),
        ("unpacked_bytes", "<u8"),
        ("num_rows", "<u4"),
        ("codec", "u1"),
        ("is_optional", "u1"),
    ]
)
"""A row group's text: its bytes in the file; for JSONL a range of lines, whose codec is `LINES`."""

LINES = 255
TAIL_BYTES = 64 << 10
STEP_BYTES = 4 << 20
MAX_STEP_ROWS = 1024
RANGE_BYTES = 1 << 20

Chunks = npt.NDArray[np.void]


def locate_text(file: RangeFile, key: str, *, text: str) -> tuple[Chunks, int]:
    """Find the text of every row group of a Parquet shard; with the bytes that were read for it.

    Raises:
        DataError: the file is damaged, or its text is not stored as strings.
    """
    tail_bytes = min(file.size_bytes, TAIL_BYTES)
    tail = file.read(file.size_bytes - tail_bytes, tail_bytes)
    if file.size_bytes < MIN_BYTES:
        raise DataError(f"{key}: not Parquet: {file.size_bytes} bytes")
    footer_bytes = check_ends(b"PAR1", tail[-8:], file.size_bytes, key)
    num_read = tail_bytes
    if footer_bytes + 8 > tail_bytes:
        missing = footer_bytes + 8 - tail_bytes
        tail = file.read(file.size_bytes - footer_bytes - 8, missing) + tail
        num_read += missing
    data = tail[len(tail) - 8 - footer_bytes : len(tail) - 8]
    try:
        groups, leaves = decode_with_schema(data, file_bytes=file.size_bytes)
    except DataError as exc:
        raise DataError(f"{key}: damaged Parquet: {exc}") from exc
    leaf = leaves.get(text)
    if leaf is None:
        raise DataError(f"{key}: no column {text}; there are: {', '.join(leaves)}")
    if leaf.kind != BYTE_ARRAY or leaf.repetition >= REPEATED:
        raise DataError(f"{key}: column {text} is not stored as strings")
    return _chunks_of(groups, key, text, is_optional=leaf.repetition == OPTIONAL), num_read


def _chunks_of(groups: list[RowGroup], key: str, text: str, *, is_optional: bool) -> Chunks:
    found = np.zeros(len(groups), CHUNKS)
    for index, group in enumerate(groups):
        chunk = next((chunk for chunk in group.chunks if chunk.path == text), None)
        if chunk is None:
            raise DataError(f"{key}: row group {index} has no column {text}")
        found[index] = (
            chunk.start,
            chunk.packed_bytes,
            chunk.unpacked_bytes,
            group.num_rows,
            min(chunk.codec, LINES - 1),
            is_optional,
        )
    return found


def locate_lines(reader: HashingReader, key: str) -> Chunks:
    """Divide a plain JSONL file into ranges of whole lines; the reader is at the end then, its hash complete.

    Raises:
        DataError: the file is compressed: ranges of it cannot be read.
    """
    if reader.peek(4)[:2] == b"\x1f\x8b" or reader.peek(4) == b"\x28\xb5\x2f\xfd":
        raise DataError(
            f"{key}: compressed JSONL cannot be read in ranges",
            hint="deliver it first: `curate deliver` writes Parquet shards that the loader reads",
        )
    found = [(start, size, size, rows, LINES, 0) for start, size, rows in line_ranges(reader, RANGE_BYTES)]
    return np.array(found, CHUNKS)


def decode_text(
    data: bytes, chunk: np.void, where: str, *, text: str = "text", max_line_bytes: int = 64 << 20
) -> Iterator[pa.Array]:
    """Decode the bytes of a chunk in steps of a few megabytes: texts (large_binary) of its rows, in order.

    Raises:
        DataError: the bytes are damaged, or hold another number of rows.
    """
    if int(chunk["codec"]) == LINES:
        steps = _decode_lines(data, text, is_first=int(chunk["start"]) == 0, max_line_bytes=max_line_bytes)
    else:
        steps = _decode_parquet(data, chunk, where)
    num_rows = 0
    for step in steps:
        num_rows += len(step)
        yield step
    if num_rows != int(chunk["num_rows"]):
        raise DataError(f"{where}: {num_rows} rows instead of {int(chunk['num_rows'])}")


def _decode_parquet(data: bytes, chunk: np.void, where: str) -> Iterator[pa.Array]:
    rows = _step_rows(int(chunk["unpacked_bytes"]), int(chunk["num_rows"]))
    with translated(where):
        source = pa.BufferReader(_as_file(data, chunk))
        file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
        batches = file.iter_batches(rows, use_threads=False)
    while True:
        with translated(where):
            batch = next(batches, None)
            if batch is None:
                return
            step = convert(batch.column(0), pa.large_binary())
        yield step


def _step_rows(num_bytes: int, num_rows: int) -> int:
    """Rows to decode at once; an average that a dictionary may have made tiny is not trusted."""
    size = num_bytes / max(num_rows, 1)
    most = MAX_STEP_ROWS if size >= 64 else MAX_STEP_ROWS // 8
    return int(min(max(STEP_BYTES / max(size, 1), 1), most))


def _decode_lines(data: bytes, text: str, *, is_first: bool, max_line_bytes: int) -> Iterator[pa.Array]:
    # A byte order mark is one at the start of the file only: no other range begins with its first byte.
    lines = iter_lines(iter([data] if is_first else [b"\n", data]), max_line_bytes)
    texts: list[bytes | None] = []
    num_bytes = 0
    for line, is_too_long in lines:
        found = text_of_line(line, is_too_long, text)
        texts.append(found)
        num_bytes += len(found or b"")
        if num_bytes >= STEP_BYTES:
            yield pa.array(texts, pa.large_binary())
            texts, num_bytes = [], 0
    yield pa.array(texts, pa.large_binary())


def _as_file(data: bytes, chunk: np.void) -> bytes:
    """A Parquet file of one column and row group around the bytes of a chunk."""
    footer = _footer(chunk, start=4)
    return b"".join([b"PAR1", data, footer, struct.pack("<I", len(footer)), b"PAR1"])


def _footer(chunk: np.void, *, start: int) -> bytes:
    """Metadata in Thrift's compact protocol, by the numbers of the Parquet format.

    Pages say themselves how they are encoded, and the reader takes a dictionary where it meets one.
    """
    name, num_rows = b"text", int(chunk["num_rows"])
    root = _field(4, _BINARY, _binary(b"schema")) + _field(5, _I32, _zigzag(1), after=4) + b"\0"
    leaf = _field(1, _I32, _zigzag(BYTE_ARRAY))
    leaf += _field(3, _I32, _zigzag(int(chunk["is_optional"])), after=1)
    leaf += _field(4, _BINARY, _binary(name), after=3) + b"\0"
    meta = _field(1, _I32, _zigzag(BYTE_ARRAY))
    meta += _field(2, _LIST, _list(_I32, [_zigzag(encoding) for encoding in (0, 3, 8)]), after=1)
    meta += _field(3, _LIST, _list(_BINARY, [_binary(name)]), after=2)
    meta += _field(4, _I32, _zigzag(int(chunk["codec"])), after=3)
    meta += _field(5, _I64, _zigzag(num_rows), after=4)
    meta += _field(6, _I64, _zigzag(int(chunk["unpacked_bytes"])), after=5)
    meta += _field(7, _I64, _zigzag(int(chunk["packed_bytes"])), after=6)
    meta += _field(9, _I64, _zigzag(start), after=7) + b"\0"
    column = _field(2, _I64, _zigzag(start)) + _field(3, _STRUCT, meta, after=2) + b"\0"
    group = _field(1, _LIST, _list(_STRUCT, [column]))
    group += _field(2, _I64, _zigzag(int(chunk["unpacked_bytes"])), after=1)
    group += _field(3, _I64, _zigzag(num_rows), after=2) + b"\0"
    footer = _field(1, _I32, _zigzag(2)) + _field(2, _LIST, _list(_STRUCT, [root, leaf]), after=1)
    footer += _field(3, _I64, _zigzag(num_rows), after=2)
    return footer + _field(4, _LIST, _list(_STRUCT, [group]), after=3) + b"\0"


_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12


def _field(number: int, kind: int, value: bytes, *, after: int = 0) -> bytes:
    return bytes([(number - after) << 4 | kind]) + value


def _list(kind: int, items: list[bytes]) -> bytes:
    assert len(items) < 15
    return bytes([len(items) << 4 | kind]) + b"".join(items)


def _binary(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
