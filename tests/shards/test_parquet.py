"""Every kind of text column is read; every kind of damage is one clear error; memory stays bounded."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import shards
from curate.errors import DataError
from tests.shards.corpus import DOCUMENTS, only_shard, read, read_shard, write_all

TEXTS = ["a", None, "", "\u00e9\u4e2d\U0001f600", "a", "long " * 1000]

KINDS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
    pa.dictionary(pa.int64(), pa.binary()),
]


def encode(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def write(path: Path, columns: dict[str, object], **options: object) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_text_column_gives_the_same_bytes(
    tmp_path: Path, kind: pa.DataType, store_schema: bool
) -> None:
    values = [encode(text) for text in TEXTS] if "binary" in str(kind) else TEXTS
    if pa.types.is_dictionary(kind):
        array = pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    else:
        array = pa.array(values, kind)
    path = write(tmp_path / "a.parquet", {"text": array, "copy": array}, store_schema=store_schema)
    for max_bytes in (1, 100, 1 << 20):
        table = read(path, max_bytes=max_bytes)
        assert table["text"].to_pylist() == [encode(text) for text in TEXTS]
        assert table["input.error"].to_pylist() == [None, "input.null_text", None, None, None, None]
        assert table["copy"].type in (pa.string(), pa.binary())
        assert [encode(v) if isinstance(v, str) else v for v in table["copy"].to_pylist()] == table[
            "text"
        ].to_pylist()


def test_sliced_and_chunked_columns_are_read_whole(tmp_path: Path) -> None:
    array = pa.chunked_array([pa.array(["x", "y", None, "z"]).slice(1, 2), pa.array(["w"])])
    assert read(write(tmp_path / "a.parquet", {"text": array}))["text"].to_pylist() == [b"y", None, b"w"]


def test_bytes_that_are_not_utf8_are_passed_on_for_the_native_pass_to_judge(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": pa.array([b"\xff\xfe", b"ok"])})
    table = read(path)
    assert table["text"].to_pylist() == [b"\xff\xfe", b"ok"]
    assert table["input.error"].null_count == 2


def test_a_carried_string_that_is_not_utf8_quarantines_its_row(tmp_path: Path) -> None:
    urls = pa.array([b"good", b"bad\xff", None]).view(pa.string())
    path = write(tmp_path / "a.parquet", {"text": ["x", "y", "z"], "url": urls})
    table = read(path)
    assert table["text"].to_pylist() == [b"x", None, b"z"]
    assert table["url"].to_pylist() == ["good", None, None]
    assert table["input.error"].to_pylist() == [None, "input.invalid_utf8", None]
    assert table["input.error_detail"].to_pylist() == [None, "url: bad\\xff", None]
    assert read(path, columns=[])["text"].to_pylist() == [b"x", b"y", b"z"]


def test_nested_and_other_types_are_carried_unchanged(tmp_path: Path) -> None:
    columns = {
        "text": ["x", "y"],
        "meta": [{"a": 1, "b": "x"}, None],
        "meta.lang": ["en", "de"],
        "tags": [["a", "b"], []],
        "when": pa.array([1, None], pa.timestamp("ms", "UTC")),
        "small": pa.array([1, 2], pa.int8()),
        "nothing": pa.nulls(2),
    }
    path = write(tmp_path / "a.parquet", columns)
    table = read(path, max_bytes=1)
    assert (
        table.select([name for name in columns if name != "text"]).to_pylist()
        == pa.table(columns).drop(["text"]).to_pylist()
    )
    assert table["small"].type == pa.int8()
    assert table["when"].type == pa.timestamp("ms", "UTC")
    assert read(path, columns=["meta"]).schema.names[3:] == ["meta"]


def test_a_missing_text_column_names_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"content": ["x"], "url": ["y"]})
    with pytest.raises(DataError, match=r"a\.parquet: no column text; there are: content, url") as caught:
        read(path)
    assert caught.value.hint == "name the text column in input.text"
    assert read(path, text="content")["text"].to_pylist() == [b"x"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, 2], "int64"), ([["x"], ["y"]], "list"), ([{"a": "x"}, None], "struct"), ([None], "null")],
)
def test_a_text_column_of_the_wrong_type_is_named(tmp_path: Path, values: list[object], kind: str) -> None:
    path = write(tmp_path / "a.parquet", {"text": values})
    with pytest.raises(DataError, match=rf"a\.parquet: column text is {kind}.* instead of string or binary"):
        read(path)


def test_columns_that_occur_twice_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="columns that occur twice: text"):
        read(tmp_path / "a.parquet")


def test_a_truncated_file_is_an_error_at_every_length(tmp_path: Path) -> None:
    data = write_all(tmp_path)[".parquet"].read_bytes()
    path = tmp_path / "cut.parquet"
    for size in [*range(12), *range(12, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match=r"cut\.parquet: (not Parquet|truncated Parquet)"):
            read(path)


def test_another_kind_of_file_is_not_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b'{"text": "x"}\n' * 100)
    with pytest.raises(DataError, match=r"not Parquet: the file starts with b'\{"):
        read(path)
    path.write_bytes(b"PARE" + b"x" * 100 + b"PARE")
    with pytest.raises(DataError, match="the Parquet footer is encrypted"):
        read(path)


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_flipped_bit_in_a_page_with_a_checksum_is_an_error(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.parquet"
    table = pa.Table.from_pylist(DOCUMENTS)
    pq.write_table(table, path, write_page_checksum=True, compression=compression, use_dictionary=False)
    chunk = pq.read_metadata(path).row_group(0).column(1)
    assert chunk.path_in_schema == "text"
    shard, settings = only_shard(path)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size - 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet, row group 0: damaged Parquet: .*(CRC|checksum)"):
        read_shard(shard, settings)


def test_a_flipped_byte_anywhere_is_an_error_or_the_same_number_of_rows(tmp_path: Path) -> None:
    data = write_all(tmp_path)[".parquet"].read_bytes()
    path = tmp_path / "flipped.parquet"
    num_errors = 0
    for position in range(0, len(data), 29):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert read(path).num_rows == len(DOCUMENTS)
        except DataError as exc:
            num_errors += 1
            assert "flipped.parquet" in str(exc)
    assert num_errors > 10


def test_sizes_that_cannot_be_true_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["x" * 10] * 10})
    data = path.read_bytes()
    path.write_bytes(data[:-8] + (1 << 30).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(DataError, match="a footer of 1073741824 bytes"):
        read(path)


def test_a_missing_file_stays_an_os_error(tmp_path: Path) -> None:
    path = write_all(tmp_path)[".parquet"]
    shard, settings = only_shard(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"docs\.parquet"):
        read_shard(shard, settings)


def test_a_carried_value_that_does_not_fit_the_schema_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["x"], "year": ["none"]})
    with pytest.raises(DataError, match=r"a\.parquet: column year cannot be read as int64"):
        read(path, schema=pa.schema([("year", pa.int64())]))


def test_documents_of_100_mb_are_read_one_by_one(tmp_path: Path) -> None:
    big = "x" * (100 << 20)
    path = write(
        tmp_path / "a.parquet", {"text": ["a", big, "b", big]}, compression="zstd", use_dictionary=False
    )
    shard, settings = only_shard(path)
    (piece,) = shards.split_pieces(shard)
    sizes = [
        [len(text.as_buffer()) for text in batch["text"]]
        for batch in shards.iter_batches(piece, settings, max_bytes=8 << 20)
    ]
    assert sizes == [[1], [len(big)], [1], [len(big)]]


MEMORY = """
    import resource
    import pyarrow as pa
    from curate import shards
    settings = shards.Input(paths={path!r}, columns=[])
    (shard,) = shards.list_shards(settings)
    assert len(shard.row_groups) == 1
    (piece,) = shards.split_pieces(shard)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batches = shards.iter_batches(piece, settings, max_bytes=16 << 20)
    num_bytes = sum(batch["text"].nbytes for batch in batches)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(num_bytes >> 20, grown >> 10)
"""


@pytest.mark.parametrize("kind", ["plain", "dictionary"])
@pytest.mark.parametrize("num_rows", [50_000, pytest.param(250_000, marks=pytest.mark.slow)])
def test_a_large_row_group_is_read_in_bounded_memory(tmp_path: Path, kind: str, num_rows: int) -> None:
    """4 KB a row: 200 MB, and 1 GB in the slow run, in one row group."""
    path = tmp_path / "a.parquet"
    schema = pa.schema([("text", pa.string())])
    options = {"use_dictionary": kind == "dictionary", "compression": "zstd", "compression_level": 1}
    with pq.ParquetWriter(path, schema, **options) as writer:
        distinct = 100 if kind == "dictionary" else num_rows
        texts = [f"{row % distinct:08d} {row % distinct * 7919:08x} " * 228 for row in range(num_rows)]
        writer.write_table(pa.table({"text": texts}, schema=schema), row_group_size=num_rows)
        del texts
    script = textwrap.dedent(MEMORY.format(path=str(path)))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100
    )
    num_mib, grown_mib = map(int, done.stdout.split())
    assert num_mib > num_rows * 4 // 1100
    assert grown_mib < 100
