"""Files of written rows are whole, pinned, and depend on the rows alone."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DataError
from curate.files import hash_file
from curate.shards import ShardWriter, WrittenFile

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string()), ("tags", pa.list_(pa.string()))])
ROWS = pa.table(
    {
        "id": range(300),
        "text": [None if row % 11 == 0 else f"text {row} " * (row % 23) for row in range(300)],
        "tags": [None if row % 5 == 0 else ["a"] * (row % 4) for row in range(300)],
    },
    schema=SCHEMA,
)


@pytest.fixture(autouse=True, scope="module")
def without_sync() -> Iterator[None]:
    """What reaches the disk after a crash is tested with the files; here syncing only costs time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def write(folder: Path, cuts: list[int], **options: int | None) -> list[WrittenFile]:
    with ShardWriter(folder, SCHEMA, **options) as writer:  # type: ignore[arg-type]
        edges = [0, *sorted(cuts), ROWS.num_rows]
        for start, stop in itertools.pairwise(edges):
            writer.write(ROWS.slice(start, stop - start))
        return writer.close()


@given(
    cuts=st.lists(st.integers(0, 300), max_size=8),
    rows_per_file=st.none() | st.integers(20, 400),
    row_group_bytes=st.integers(500, 40_000),
    max_file_bytes=st.none() | st.integers(2000, 20_000),
)
def test_bytes_do_not_depend_on_how_the_rows_came(
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[int],
    rows_per_file: int | None,
    row_group_bytes: int,
    max_file_bytes: int | None,
) -> None:
    options = {
        "rows_per_file": rows_per_file,
        "row_group_bytes": row_group_bytes,
        "max_file_bytes": max_file_bytes,
    }
    folder = tmp_path_factory.mktemp("written")
    whole = write(folder / "a", [], **options)
    assert write(folder / "b", cuts, **options) == whole
    table = pa.concat_tables(pq.read_table(folder / "b" / file.name) for file in whole)
    assert table.equals(ROWS)


def test_files_end_at_the_rows_asked_for(tmp_path: Path) -> None:
    files = write(tmp_path, [7], rows_per_file=128)
    assert [(file.name, file.num_rows) for file in files] == [
        ("part-00000.parquet", 128),
        ("part-00001.parquet", 128),
        ("part-00002.parquet", 44),
    ]
    for file in files:
        path = tmp_path / file.name
        assert (path.stat().st_size, hash_file(path)) == (file.size_bytes, file.blake3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name for file in files]


def test_row_groups_end_with_the_row_that_fills_them(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.large_binary())])
    with ShardWriter(tmp_path, schema, row_group_bytes=100) as writer:
        writer.write(pa.table({"text": [b"x" * 60, b"x" * 40, b"y" * 500, b"z"]}, schema=schema))
        writer.close()
    metadata = pq.read_metadata(tmp_path / "part-00000.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [2, 1, 1]


def test_settings_are_pinned(tmp_path: Path) -> None:
    write(tmp_path, [])
    path = tmp_path / "part-00000.parquet"
    metadata = pq.read_metadata(path)
    assert metadata.format_version == "2.6"
    text = metadata.row_group(0).column(1)
    assert (text.path_in_schema, text.compression) == ("text", "ZSTD")
    assert not text.has_dictionary_page
    assert text.has_offset_index
    data = bytearray(path.read_bytes())
    data[text.data_page_offset + text.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"CRC|checksum"):
        pq.read_table(path, page_checksum_verification=True)


def test_no_rows_are_one_file_without_rows(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, SCHEMA) as writer:
        (file,) = writer.close()
    assert file.num_rows == 0
    assert pq.read_table(tmp_path / file.name).schema.equals(SCHEMA)


def test_rows_of_another_schema_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="do not fit the schema"),
        ShardWriter(tmp_path, SCHEMA) as writer,
    ):
        writer.write(pa.table({"id": [1]}))


def test_an_exception_leaves_only_whole_files(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError),
        ShardWriter(tmp_path, SCHEMA, rows_per_file=100, row_group_bytes=10) as writer,
    ):
        writer.write(ROWS.slice(0, 150))
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]
