"""Tables of runs: CSV and Parquet, refused where they are none."""

from pathlib import Path

import polars as pl
import pytest

from curate.errors import DataError
from curate.laws.tables import read_table


def test_csv_and_parquet_give_the_same_table(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1.5, 2.0], "b": ["x", "y"]})
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.csv").equals(frame) and read_table(tmp_path / "t.parquet").equals(frame)
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbfa,b\n1.5,x\n2.0,y\n")
    assert read_table(tmp_path / "bom.csv").equals(frame)


def test_names_and_contents_of_digits_stay_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"pool,content,tokens\n007,{1:032d},5\n")
    assert read_table(tmp_path / "t.csv").row(0) == ("007", f"{1:032d}", 5)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"a,b,a\n1,2,3\n", "a column stands twice: a"),
        ("t.csv", b"a,b\n", "has no row"),
        ("t.csv", b"", "is no table in CSV"),
        ("t.csv", b"a,b\n1,2,3,4\n", "is no table in CSV"),
        ("t.csv", b"\xff\xfe\x00\x01", "is no table in CSV"),
        ("t.parquet", b"nothing", "is no table in Parquet"),
    ],
)
def test_what_is_no_table_is_refused_with_its_path(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        read_table(tmp_path / name)


def test_a_missing_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")
