"""The text of single row groups, read by exact ranges, is that of the whole file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import shards
from curate.errors import DataError
from curate.shards import chunks
from curate.shards.lines import HashingReader, iter_chunks, iter_lines, line_ranges
from curate.shards.ranges import RangeFile
from tests.shards.corpus import write_all

TEXTS = [None if row % 11 == 5 else f"text {row} \u00e9\u4e2d" * (row % 9) for row in range(500)]

WRITERS: dict[str, dict[str, Any]] = {
    "plain": {"use_dictionary": False},
    "dictionary": {"use_dictionary": True},
    "small pages": {"data_page_size": 200, "write_batch_size": 10},
    "second pages": {"data_page_version": "2.0"},
    "checksums": {"write_page_checksum": True, "write_page_index": True},
    **{codec: {"compression": codec} for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli")},
}


def texts_of(path: Path, *, text: str = "text") -> list[bytes | None]:
    file = RangeFile(shards.locate(str(path)))
    table, _ = chunks.locate_text(file, "key", text=text)
    found: list[bytes | None] = []
    for chunk in table:
        data = file.read(int(chunk["start"]), int(chunk["packed_bytes"]))
        for step in chunks.decode_text(data, chunk, "key"):
            assert step.type == pa.large_binary()
            found += step.to_pylist()
    return found


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string())])
def test_chunks_decode_alone(tmp_path: Path, name: str, kind: pa.DataType) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"id": list(range(500)), "text": pa.array(TEXTS, pa.string()).cast(kind)})
    pq.write_table(table, path, row_group_size=77, **WRITERS[name])
    assert texts_of(path) == [None if text is None else text.encode() for text in TEXTS]


def test_a_column_that_is_required_decodes(tmp_path: Path) -> None:
    schema = pa.schema(
        [pa.field("nested", pa.list_(pa.int8())), pa.field("body", pa.string(), nullable=False)]
    )
    table = pa.table({"nested": [[1], [], [2, 3]], "body": ["a", "", "c"]}, schema=schema)
    pq.write_table(table, tmp_path / "a.parquet")
    assert texts_of(tmp_path / "a.parquet", text="body") == [b"a", b"", b"c"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-20], "truncated Parquet"),
        (lambda data: data[:6], "not Parquet"),
        (lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1", "damaged Parquet: a footer of"),
    ],
)
def test_damaged_footers_are_named(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"]}), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        texts_of(path)


@pytest.mark.parametrize("column", [pa.array([1, 2]), pa.array([["a"], ["b"]]), pa.array([{"a": "b"}] * 2)])
def test_what_is_not_stored_as_strings_is_refused(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="is not stored as strings"):
        texts_of(tmp_path / "a.parquet")


def test_a_flipped_bit_of_a_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["abc" * 50] * 9}), path, write_page_checksum=True, use_dictionary=False)
    file = RangeFile(shards.locate(str(path)))
    (chunk,) = chunks.locate_text(file, "key", text="text")[0]
    data = file.read(int(chunk["start"]), int(chunk["packed_bytes"]))
    for position in range(0, len(data), 7):
        flipped = data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]
        try:
            found = list(chunks.decode_text(flipped, chunk, "key"))
        except DataError:
            continue
        assert pa.chunked_array(found).to_pylist() == [b"abc" * 50] * 9


def test_ranges_end_where_the_file_ends(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    file = RangeFile(shards.locate(str(tmp_path / "a")))
    assert file.read(3, 4) == b"3456" and file.read(10, 0) == b""
    for start, size in ((8, 3), (11, 0), (-1, 2), (0, -1)):
        with pytest.raises(DataError, match="in 10"):
            file.read(start, size)


LINES = st.lists(
    st.sampled_from([b"", b" ", b"\t\r", b"{}", b'{"text": "a"}', b"\xef\xbb\xbf{}", b"x" * 30]), max_size=30
)


@given(lines=LINES, mark=st.booleans(), end=st.booleans(), block=st.integers(1, 40), size=st.integers(1, 60))
def test_ranges_of_lines_hold_the_rows_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], mark: bool, end: bool, block: int, size: int
) -> None:
    data = (b"\xef\xbb\xbf" if mark else b"") + b"\n".join(lines) + (b"\n" if end else b"")
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(data)
    with HashingReader(path.open("rb", buffering=0), block_bytes=block) as reader:
        ranges = list(line_ranges(reader, size))
    assert sum(part for _, part, _ in ranges) == len(data)
    rows = []
    for start, part, num_rows in ranges:
        inside = data[start : start + part]
        found = list(iter_lines(iter([inside] if start == 0 else [b"\n", inside]), 20))
        assert len(found) == num_rows
        rows += found
    with HashingReader(path.open("rb", buffering=0), block_bytes=block) as reader:
        assert rows == list(iter_lines(iter_chunks(reader, "lines.jsonl"), 20))


def test_jsonl_decodes_by_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "RANGE_BYTES", 300)
    paths = write_all(tmp_path)
    file = RangeFile(shards.locate(str(paths[".jsonl"])))
    with HashingReader(paths[".jsonl"].open("rb", buffering=0), block_bytes=1000) as reader:
        table = chunks.locate_lines(reader, "docs.jsonl")
    assert len(table) > 5
    found = [
        step
        for chunk in table
        for step in chunks.decode_text(
            file.read(int(chunk["start"]), int(chunk["packed_bytes"])), chunk, "docs.jsonl"
        )
    ]
    expected = pq.read_table(paths[".parquet"])["text"].to_pylist()
    assert [text.decode() for step in found for text in step.to_pylist()] == expected
    table["num_rows"] += np.uint32(1)
    with pytest.raises(DataError, match=r"docs: \d+ rows instead of"):
        list(chunks.decode_text(file.read(0, int(table[0]["packed_bytes"])), table[0], "docs"))


@pytest.mark.parametrize("name", [".jsonl.gz", ".jsonl.zst"])
def test_compressed_jsonl_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    path = write_all(tmp_path)[name]
    reader = HashingReader(path.open("rb", buffering=0), block_bytes=1000)
    with reader, pytest.raises(DataError, match="compressed JSONL") as caught:
        chunks.locate_lines(reader, path.name)
    assert caught.value.hint is not None and "deliver it first" in caught.value.hint
