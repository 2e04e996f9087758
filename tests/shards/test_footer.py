"""The footer that is decoded here says what pyarrow says; a damaged one is an error, not a crash."""

import random
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import DataError
from curate.shards import footer
from tests.shards.corpus import DOCUMENTS


def footer_of(path: Path) -> bytes:
    data = path.read_bytes()
    (size,) = struct.unpack("<I", data[-8:-4])
    return data[-8 - size : -8]


def write(path: Path, **options: object) -> Path:
    table = pa.Table.from_pylist(DOCUMENTS)
    table = table.append_column("meta", pa.array([{"a": 1, "b": ["x"]}] * len(table)))
    table = table.append_column("meta.lang", pa.array(["en"] * len(table)))
    pq.write_table(table, path, row_group_size=7, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zstd", "use_dictionary": False, "write_page_index": True},
        {"data_page_version": "2.0", "write_statistics": False, "store_schema": False},
        {"bloom_filter_options": {"id": True}, "sorting_columns": [pq.SortingColumn(0)]},
    ],
)
def test_row_groups_and_chunks_are_those_of_pyarrow(tmp_path: Path, options: dict[str, object]) -> None:
    path = write(tmp_path / "a.parquet", **options)
    metadata = pq.read_metadata(path)
    groups = footer.decode(footer_of(path), file_bytes=path.stat().st_size)
    expected = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [group.num_rows for group in expected]
    for mine, theirs in zip(groups, expected, strict=True):
        chunks = [theirs.column(index) for index in range(theirs.num_columns)]
        assert [(c.path, c.packed_bytes, c.unpacked_bytes, c.has_dictionary) for c in mine.chunks] == [
            (c.path_in_schema, c.total_compressed_size, c.total_uncompressed_size, c.has_dictionary_page)
            for c in chunks
        ]
    assert len(groups[0].below(["meta"])) == 3
    assert len(groups[0].below(["id", "meta.lang"])) == 2


def test_a_damaged_footer_is_decoded_or_refused(tmp_path: Path) -> None:
    data = footer_of(write(tmp_path / "a.parquet"))
    rng = random.Random(0)
    num_refused = 0
    for _ in range(2000):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 3])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            footer.decode(bytes(damaged), file_bytes=1 << 20)
        except DataError:
            num_refused += 1
    assert num_refused > 200
    for size in range(0, len(data), 13):
        with pytest.raises(DataError, match="cannot be decoded"):
            footer.decode(data[:size], file_bytes=1 << 20)


def number(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    data = b""
    while value >= 0x80:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def one_group(*, rows: int = 1, total: int = 1, unpacked: int = 9, packed: int = 9, start: int = 4) -> bytes:
    """A footer with one row group of one column named t."""
    meta = b"\x39\x18\x01t" + b"\x26" + number(1) + b"\x16" + number(unpacked) + b"\x16" + number(packed)
    meta += b"\x26" + number(start) + b"\0"
    group = b"\x19\x1c" + b"\x3c" + meta + b"\0" + b"\x26" + number(rows) + b"\0"
    return b"\x36" + number(total) + b"\x19\x1c" + group + b"\0"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 2}, "1 rows of which row groups hold 2"),
        ({"rows": -1}, "row group 0 has -1 rows"),
        ({"rows": 1 << 32, "total": 1 << 32}, "at most 4294967295"),
        ({"packed": -1}, "row group 0, column t: -1 bytes"),
        ({"packed": 1000}, "column t: 1000 bytes from 4 on in a file of 100"),
        ({"start": -5}, "bytes from -5 on"),
        ({"unpacked": 1 << 40}, "1099511627776 bytes in 9 compressed ones"),
    ],
)
def test_numbers_that_cannot_be_true_are_refused(values: dict[str, int], message: str) -> None:
    (group,) = footer.decode(one_group(), file_bytes=100)
    assert group == footer.RowGroup(1, (footer.Chunk("t", 9, 9, False, 4, 0),))
    with pytest.raises(DataError, match=message):
        footer.decode(one_group(**values), file_bytes=100)


@pytest.mark.parametrize(
    "data", [b"\x19\xfc\xff\xff\xff\xff\x0f", b"\x1c" * 5000, b"\x18\xff\xff\xff\x7f", b"\x1d"]
)
def test_lengths_and_depths_that_cannot_be_true_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="cannot be decoded"):
        footer.decode(data, file_bytes=100)
