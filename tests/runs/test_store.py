"""The store: measured columns are found by content, checked by position, equal to the byte."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import files
from curate.errors import DataError, StateError
from curate.runs import Commit, Pass, Store
from curate.runs import store as store_module

STAGES = {"gopher": "f-gopher", "document": "f-document"}


@dataclass(frozen=True)
class Shard:
    fingerprint: str = "shard-1"


@dataclass(frozen=True)
class Piece:
    shard: Shard = field(default_factory=Shard)
    ordinal: int = 3
    first_row: int = 700
    num_rows: int | None = 5
    fingerprint: str = "0123456789abcdef0123456789abcdef"


PIECE = Piece()


def columns(num_rows: int = 5) -> pa.RecordBatch:
    numbers = np.arange(num_rows, dtype=np.uint32)
    return pa.record_batch(
        {
            "doc_id": pa.array([b"%016d" % (n * n) for n in range(num_rows)], pa.binary(16)),
            "gopher.num_words": pa.array(numbers),
            "gopher.alpha_word_frac": pa.array(
                [None if n % 3 == 0 else n / 7 for n in range(num_rows)], pa.float64()
            ),
            "document.num_bytes": pa.array(numbers * 10),
        }
    )


def measure(
    store: Store,
    *,
    piece: Piece = PIECE,
    batches: list[pa.RecordBatch] | None = None,
    name: str = "heuristics",
) -> Commit:
    one = store.add_pass(name, STAGES)
    with store.write_columns(one, piece) as writer:
        for batch in batches or [columns()]:
            writer.write(batch)
        return writer.commit(meta={"num_quarantined": {"input.null_text": 1}})


def test_columns_come_back_by_stage_in_the_order_asked_for(tmp_path: Path) -> None:
    commit = measure(Store(tmp_path))
    assert commit.meta == {"num_rows": 5, "num_quarantined": {"input.null_text": 1}}
    assert commit.files[0].num_rows == 5
    folder = Pass("heuristics", STAGES).folder
    assert commit.files[0].path == f"{folder}/000003-0123456789abcdef.parquet"
    wanted = {"f-gopher": ["gopher.alpha_word_frac", "doc_id"], "f-document": ["document.num_bytes"]}
    table = Store(tmp_path).read_columns(PIECE, wanted)
    assert table.column_names == ["gopher.alpha_word_frac", "doc_id", "document.num_bytes"]
    assert table.equals(pa.table(columns()).select(table.column_names))
    assert Store(tmp_path).verify() == []


def test_a_column_file_says_where_its_rows_are_from(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.path_of(measure(store).files[0])
    assert {
        key: value for key, value in pq.read_metadata(path).metadata.items() if key.startswith(b"curate.")
    } == {
        b"curate.format": b"1",
        b"curate.shard": b"shard-1",
        b"curate.first_row": b"700",
        b"curate.num_rows": b"5",
    }


@pytest.mark.parametrize(
    ("piece", "what"),
    [
        (Piece(shard=Shard("shard-2")), "curate.shard"),
        (Piece(first_row=0), "curate.first_row"),
        (Piece(num_rows=4), "curate.num_rows"),
    ],
)
def test_columns_of_other_rows_are_refused_by_name(tmp_path: Path, piece: Piece, what: str) -> None:
    store = Store(tmp_path)
    measure(store)
    with pytest.raises(StateError, match=f"another {what} than its piece"):
        store.read_columns(piece, {"f-gopher": ["doc_id"]})


def test_a_column_file_with_fewer_rows_than_it_says_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = store.add_pass("heuristics", STAGES)

    def write(output: Any) -> int:
        table = pa.table(columns(4)).replace_schema_metadata(
            {
                "curate.format": "1",
                "curate.shard": "shard-1",
                "curate.first_row": "700",
                "curate.num_rows": "5",
            }
        )
        pq.write_table(table, output)
        return 5

    store.write(one.task(PIECE), {one.path(PIECE): write})
    with pytest.raises(StateError, match="another number of rows than its piece: 4 and 5"):
        store.read_columns(PIECE, {"f-gopher": ["doc_id"]})
    assert ["another number of rows than recorded: 4 and 5" in str(p) for p in store.verify()] == [True]


def test_a_stage_that_any_pass_measured_is_not_missing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = measure(store)
    store.add_pass("tokens", {"tokens": "f-tokens"})
    found = store.find(PIECE, ["f-gopher", "f-tokens", "f-document"])
    assert found == {"f-gopher": first, "f-document": first}
    assert store.find(Piece(fingerprint="f" * 32), ["f-gopher"]) == {}
    with pytest.raises(StateError, match="has no columns of stage f-tokens"):
        store.read_columns(PIECE, {"f-gopher": ["doc_id"], "f-tokens": ["tokens.count"]})
    with pytest.raises(StateError, match=r"has no column 'gopher.gone'"):
        store.read_columns(PIECE, {"f-gopher": ["gopher.gone"]})


def test_stages_of_several_passes_are_read_as_one_table(tmp_path: Path) -> None:
    store = Store(tmp_path)
    measure(store)
    tokens = store.add_pass("tokens", {"tokens": "f-tokens"})
    with store.write_columns(tokens, PIECE) as writer:
        writer.write(pa.record_batch({"tokens.count": pa.array(range(5), pa.uint32())}))
        writer.commit()
    table = store.read_columns(PIECE, {"f-tokens": ["tokens.count"], "f-gopher": ["gopher.num_words"]})
    assert table.column_names == ["tokens.count", "gopher.num_words"]
    assert table["tokens.count"].to_pylist() == table["gopher.num_words"].to_pylist() == [0, 1, 2, 3, 4]


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 25), max_size=8), slack=st.integers(0, 3))
def test_the_bytes_of_a_column_file_do_not_depend_on_batches(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], slack: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "ROW_GROUP_ROWS", 7)
        piece = Piece(num_rows=25)
        padded = pa.concat_batches([columns(slack), columns(25)]) if slack else columns(25)
        whole = padded.slice(slack)
        bounds = [0, *sorted(cuts), 25]
        batches = [whole.slice(a, b - a) for a, b in itertools.pairwise(bounds)]
        root = tmp_path_factory.mktemp("store")
        split = measure(Store(root / "split"), piece=piece, batches=batches)
        plain = measure(Store(root / "whole"), piece=piece, batches=[columns(25)])
        assert split == plain
        groups = pq.read_metadata(Store(root / "split").path_of(split.files[0]))
        assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [7, 7, 7, 4]


def test_polars_reads_a_column_file_as_it_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    batch = columns(1000).append_column("input.error", pa.array([None, "input.null_text"] * 500))
    path = store.path_of(measure(store, piece=Piece(num_rows=1000), batches=[batch]).files[0])
    assert polars.read_parquet(path).rows() == [tuple(row.values()) for row in batch.to_pylist()]


def test_a_real_row_group_has_65536_rows_whatever_the_batches(tmp_path: Path) -> None:
    num_rows = 2 * store_module.ROW_GROUP_ROWS + 10
    batch = columns(num_rows)
    piece = Piece(num_rows=num_rows)
    split = [batch.slice(start, 50_001) for start in range(0, num_rows, 50_001)]
    commits = [
        measure(Store(tmp_path / str(n)), piece=piece, batches=b) for n, b in enumerate([[batch], split])
    ]
    assert commits[0] == commits[1]
    metadata = pq.read_metadata(tmp_path / "0" / commits[0].files[0].path)
    assert [metadata.row_group(n).num_rows for n in range(3)] == [65_536, 65_536, 10]


def test_a_piece_without_rows_has_a_column_file_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    piece = Piece(num_rows=0)
    measure(store, piece=piece, batches=[columns(0)])
    table = store.read_columns(piece, {"f-gopher": ["doc_id", "gopher.num_words"]})
    assert (table.num_rows, table.schema.field("doc_id").type) == (0, pa.binary(16))


def test_a_piece_that_knows_its_rows_only_after_reading_is_checked_by_its_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    piece = Piece(num_rows=None)
    assert measure(store, piece=piece).meta["num_rows"] == 5
    assert store.read_columns(piece, {"f-gopher": ["doc_id"]}).num_rows == 5


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([columns(4)], "another number of rows in piece 3 than its footer says: 4 and 5"),
        ([columns(4), columns(2)], "another number of rows in piece 3 than its footer says: 6 and 5"),
    ],
)
def test_rows_lost_or_gained_while_measuring_are_an_error_and_leave_no_file(
    tmp_path: Path, batches: list[pa.RecordBatch], message: str
) -> None:
    store = Store(tmp_path)
    with pytest.raises(DataError, match=message):
        measure(store, batches=batches)
    assert store.find(PIECE, ["f-gopher"]) == {}
    assert [p.name for p in (tmp_path / Pass("heuristics", STAGES).folder).iterdir()] == ["pass.json"]


def test_a_batch_of_another_schema_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(pa.ArrowInvalid):
        measure(store, batches=[columns(4), pa.record_batch({"other": [1]})])
    assert [p.name for p in (tmp_path / Pass("heuristics", STAGES).folder).iterdir()] == ["pass.json"]


def test_a_flipped_bit_in_a_page_is_found_when_it_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.path_of(measure(store).files[0])
    data = bytearray(path.read_bytes())
    offset = pq.read_metadata(path).row_group(0).column(1).data_page_offset
    data[offset + 45] ^= 255
    path.write_bytes(data)
    with pytest.raises((StateError, OSError)):
        store.read_columns(PIECE, {"f-gopher": ["gopher.num_words"]})
    assert len(store.verify("hash")) == 1


@pytest.mark.parametrize("name", ["", "../x", "Heuristics", "a b", "a/b"])
def test_a_pass_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="a pass has stages and a name"):
        Store(tmp_path).add_pass(name, STAGES)


def test_a_pass_that_is_not_of_its_folder_is_refused(tmp_path: Path) -> None:
    one = Store(tmp_path).add_pass("heuristics", STAGES)
    path = tmp_path / one.folder / "pass.json"
    assert files.read_json(path) == {"format": 1, "stages": STAGES}
    files.replace_json(path, {"format": 1, "stages": {"gopher": "other"}})
    with pytest.raises(StateError, match="is not of its folder"):
        Store(tmp_path).passes()


@pytest.mark.parametrize(("record", "error"), [({"format": 2}, StateError), ({}, DataError), ([], DataError)])
def test_a_store_of_an_unknown_version_is_refused(
    tmp_path: Path, record: object, error: type[Exception]
) -> None:
    files.replace_json(tmp_path / "store.json", record)
    with pytest.raises(error, match=r"store\.json has"):
        Store(tmp_path)
