"""Every format gives the same rows, however they are cut."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import schema, shards
from curate.errors import DataError
from tests.shards.corpus import DOCUMENTS, only_shard, read, read_shard, write_all


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("name", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_jsonl_and_parquet_of_the_same_documents_give_equal_batches(
    paths: dict[str, Path], name: str
) -> None:
    expected = read(paths[".parquet"])
    assert expected.num_rows == len(DOCUMENTS)
    assert read(paths[name]).equals(expected)


def test_batches_have_the_text_the_error_and_the_carried_columns(paths: dict[str, Path]) -> None:
    table = read(paths[".parquet"])
    assert table.schema == pa.schema(
        [
            ("text", pa.large_binary()),
            ("input.error", pa.string()),
            ("input.error_detail", pa.string()),
            ("id", pa.string()),
            ("source", pa.string()),
            ("score", pa.float64()),
            ("year", pa.int64()),
            ("is_good", pa.bool_()),
        ]
    )
    assert table["text"].to_pylist() == [document["text"].encode() for document in DOCUMENTS]
    assert table["input.error"].null_count == len(DOCUMENTS)


@given(
    max_bytes=st.integers(1, 5000),
    max_rows=st.integers(1, 60),
    piece_bytes=st.integers(0, 3000),
    name=st.sampled_from([".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst"]),
)
@settings(max_examples=80)
def test_limits_never_change_the_rows(
    paths: dict[str, Path], max_bytes: int, max_rows: int, piece_bytes: int, name: str
) -> None:
    shard, options = only_shard(paths[name])
    table = read_shard(shard, options, max_bytes=max_bytes, max_rows=max_rows, piece_bytes=piece_bytes)
    assert table.equals(read_shard(shard, options))


@given(max_bytes=st.integers(1, 5000), max_rows=st.integers(1, 60))
def test_a_batch_passes_the_limits_only_for_one_large_row(
    paths: dict[str, Path], max_bytes: int, max_rows: int
) -> None:
    for name in (".parquet", ".jsonl"):
        shard, options = only_shard(paths[name])
        (piece,) = shards.split_pieces(shard)
        for batch in shards.iter_batches(piece, options, max_bytes=max_bytes, max_rows=max_rows):
            size = sum(len(text) for text in batch["text"].to_pylist())
            assert 0 < batch.num_rows <= max_rows
            assert size <= max_bytes or batch.num_rows == 1


def test_only_the_chosen_columns_id_and_source_are_carried(paths: dict[str, Path]) -> None:
    for name in (".parquet", ".jsonl"):
        table = read(paths[name], columns=["year"])
        assert table.schema.names[3:] == ["id", "source", "year"]
        table = read(paths[name], columns=[], id=None, source=None)
        assert table.schema.names == ["text", "input.error", "input.error_detail"]


def test_without_text_the_carried_columns_come_alone(paths: dict[str, Path]) -> None:
    for name in (".parquet", ".jsonl"):
        shard, options = only_shard(paths[name])
        (piece,) = shards.split_pieces(shard)
        batches = list(shards.iter_batches(piece, options, max_bytes=100, with_text=False))
        table = pa.Table.from_batches(batches)
        assert table.schema.names == ["id", "source", "score", "year", "is_good"]
        assert table["year"].to_pylist() == [document["year"] for document in DOCUMENTS]


def test_a_column_that_the_shard_lacks_is_null(paths: dict[str, Path]) -> None:
    wanted = pa.schema([("extra", pa.float64()), ("year", pa.string())])
    for name in (".parquet", ".jsonl"):
        table = read(paths[name], schema=wanted)
        assert table["extra"].null_count == len(DOCUMENTS)
        assert table["year"].to_pylist() == [str(document["year"]) for document in DOCUMENTS]


@pytest.mark.parametrize("name", [".parquet", ".jsonl.gz"])
def test_rows_are_read_by_their_numbers(paths: dict[str, Path], name: str) -> None:
    shard, options = only_shard(paths[name])
    table = shards.read_rows(shard, options, [0, 12, 13, 49], ["year", "text"])
    assert table.schema.names == ["year", "text"]
    assert table["year"].to_pylist() == [1900, 1912, 1913, 1949]
    assert table["text"].to_pylist() == [DOCUMENTS[row]["text"].encode() for row in (0, 12, 13, 49)]
    assert shards.read_rows(shard, options, [], ["year"]).num_rows == 0
    with pytest.raises(DataError, match="not there"):
        shards.read_rows(shard, options, [50], ["year"])
    with pytest.raises(DataError, match="no column nothing"):
        shards.read_rows(shard, options, [0], ["nothing"])


def test_pieces_are_whole_row_groups_up_to_the_limit(paths: dict[str, Path]) -> None:
    shard, _ = only_shard(paths[".parquet"])
    assert shard.row_groups == (13, 13, 13, 11)
    pieces = shards.split_pieces(shard, max_bytes=2 * max(shard.row_group_bytes))
    assert [(piece.start_row_group, piece.stop_row_group) for piece in pieces] == [(0, 2), (2, 4)]
    assert [piece.first_row for piece in pieces] == [0, 26]
    assert [piece.ordinal for piece in pieces] == [0, 1]
    assert len({piece.fingerprint for piece in pieces}) == 2
    assert [piece.num_rows for piece in shards.split_pieces(shard, max_bytes=0)] == [13, 13, 13, 11]


def test_a_piece_is_fingerprinted_by_content_not_by_place(tmp_path: Path) -> None:
    first = write_all(tmp_path / "a")[".parquet"]
    second = tmp_path / "b.parquet"
    second.write_bytes(first.read_bytes())
    pieces = [shards.split_pieces(only_shard(path)[0])[0] for path in (first, second)]
    assert pieces[0].fingerprint == pieces[1].fingerprint


@pytest.mark.parametrize("groups", [0, 1])
def test_a_file_with_zero_rows_is_one_piece_without_batches(tmp_path: Path, groups: int) -> None:
    table = pa.table({"text": pa.array([], pa.string())})
    path = tmp_path / "empty.parquet"
    with pq.ParquetWriter(path, table.schema) as writer:
        if groups:
            writer.write_table(table)
    shard, options = only_shard(path)
    assert shard.num_rows == 0
    (piece,) = shards.split_pieces(shard)
    assert piece.num_rows == 0
    assert list(shards.iter_batches(piece, options, max_bytes=100)) == []


def test_a_jsonl_file_with_zero_rows_has_no_batches(tmp_path: Path) -> None:
    for name, data in (("a.jsonl", b""), ("b.jsonl", b"\n \r\n\n")):
        (tmp_path / name).write_bytes(data)
        assert read(tmp_path / name).num_rows == 0


def test_null_text_is_quarantined_and_empty_text_is_not(tmp_path: Path) -> None:
    documents = [{"id": "a", "text": None}, {"id": "b", "text": ""}, {"id": "c", "text": "x"}]
    for path in write_all(tmp_path, documents).values():
        table = read(path)
        assert table["text"].to_pylist() == [None, b"", b"x"]
        assert table["input.error"].to_pylist() == [schema.NULL_TEXT, None, None]
        assert table["id"].to_pylist() == ["a", "b", "c"]


def test_a_carried_column_with_a_name_of_the_engine_is_refused(tmp_path: Path) -> None:
    paths = write_all(tmp_path, [{"content": "x", "text": "y"}])
    for path in paths.values():
        with pytest.raises(DataError, match="text cannot be carried"):
            read(path, text="content")
        assert read(path, text="content", columns=[])["text"].to_pylist() == [b"x"]


def test_a_shard_that_changed_after_listing_is_refused(tmp_path: Path) -> None:
    for name, path in write_all(tmp_path).items():
        shard, options = only_shard(path)
        data = path.read_bytes()
        path.write_bytes(data + data if name != ".parquet" else data[:4] + data)
        with pytest.raises(DataError, match="changed after it was listed"):
            read_shard(shard, options)


def test_a_jsonl_shard_with_other_content_of_the_same_size_is_refused(tmp_path: Path) -> None:
    path = write_all(tmp_path)[".jsonl"]
    shard, options = only_shard(path)
    path.write_bytes(path.read_bytes().replace(b"text 1", b"text 2"))
    with pytest.raises(DataError, match="its content differs"):
        read_shard(shard, options)
