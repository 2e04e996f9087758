"""Natural pools from runs, plans and CSV files."""

import json
from pathlib import Path

import polars as pl
import pytest

from curate.errors import DataError
from curate.selection.pool_tables import read_pools

CONTENT = "0123456789abcdef" * 2
PLAN = "f" * 32


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_csv_has_tokens_or_shares(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", f"pool,tokens,content\nweb,1000,{CONTENT}\ncode,10,\n")
    web, code = read_pools(path)
    assert (web.name, web.amount, web.unique_tokens, web.content) == ("web", 1000.0, 1000, CONTENT)
    assert code.content is None and code.unique_tokens == 10
    (only,) = read_pools(write(tmp_path / "s.csv", "pool,share\nweb,0.4\n"))
    assert only.amount == 0.4 and only.unique_tokens is None


def test_the_current_plan_of_a_run_is_read(tmp_path: Path) -> None:
    for name, tokens in ((PLAN, 7), ("0" * 32, 9)):
        (tmp_path / "plans" / name).mkdir(parents=True)
        pl.DataFrame(
            {"pool": ["web"], "num_tokens": [99], "num_unique_tokens": [tokens], "content": [CONTENT]}
        ).write_parquet(tmp_path / "plans" / name / "pools.parquet")
    with pytest.raises(DataError, match="2 plans with a table of pools"):
        read_pools(tmp_path)
    (tmp_path / "current.json").write_text(json.dumps({"format": 1, "plan": PLAN}), "utf-8")
    assert read_pools(tmp_path)[0].unique_tokens == 7
    assert read_pools(tmp_path / "plans" / PLAN)[0].unique_tokens == 7
    with pytest.raises(DataError, match="no plan with a table of pools"):
        read_pools(tmp_path / "plans")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,tokens\nweb,1\n", "columns pool and tokens, or share: name, tokens"),
        ("pool,size\nweb,1\n", "columns pool and tokens, or share: pool, size"),
        ("pool,tokens\nweb,1\nweb,2\n", "a pool stands twice: web"),
        ("pool,tokens\nweb,0\n", "tokens of pool web is above 0 and below 2.60, not: 0"),
        ("pool,tokens\nweb,-5\n", "not: -5"),
        ("pool,tokens\nweb,\ncode,1\n", "not: None"),
        ("pool,tokens\nweb,NaN\n", "not: nan"),
        ("pool,tokens\nweb,1.5\n", "is a whole number, not: 1.5"),
        ("pool,tokens\nweb,many\n", "tokens is not of numbers"),
        ("pool,tokens,content\nweb,1,xyz\n", "32 hexadecimal digits, not: 'xyz'"),
    ],
)
def test_wrong_pools_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_pools(write(tmp_path / "p.csv", text))
