"""Runs on mixtures: read by name, refused by name."""

import math

import numpy as np
import polars as pl
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.mixture.runs import MixtureRuns, checked_shares, runs_of, shares_of
from tests.laws.mixture.planted import LAW, runs_with

ROWS = {
    "run": ["a", "b"],
    "share.x": [0.25, 1.0],
    "share.y": [0.75, 0.0],
    "loss.t": [2.0, 3.0],
    "loss.u": [1.0, 4.0],
}


def table(**changed) -> pl.DataFrame:
    return pl.DataFrame({key.replace("__", "."): value for key, value in (ROWS | changed).items()})


def test_a_table_is_read_by_the_names_of_its_columns_and_written_again() -> None:
    found = runs_of(table())
    assert found.pools == ("x", "y") and found.targets == ("t", "u") and found.num_runs == 2
    assert found.shares.tolist() == [[0.25, 0.75], [1.0, 0.0]] and found.losses.tolist() == [
        [2.0, 1.0],
        [3.0, 4.0],
    ]
    again = runs_of(found.table())
    assert again.pools == found.pools and (again.losses == found.losses).all()
    assert runs_of(table(), targets=["u"]).losses.tolist() == [[1.0], [4.0]]
    assert runs_of(table(), targets=["loss.u"]).targets == ("u",)
    assert found.of_targets(["u"]).losses.tolist() == [[1.0], [4.0]]
    assert found.target("t").tolist() == [2.0, 3.0]
    assert found.take(np.array([1])).losses.tolist() == [[3.0, 4.0]]


def test_rounded_shares_are_used_as_they_are() -> None:
    assert checked_shares([0.333, 0.333, 0.333], "abc").tolist() == [[0.333, 0.333, 0.333]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"share.x": [0.5, 1.0]}, "shares of row 0 sum to 1, not to: 1.25"),
        (
            {"share.x": [-0.25, 1.0], "share.y": [1.25, 0.0]},
            "share of x in row 0 is not between 0 and 1: -0.25",
        ),
        ({"share.x": [0.25, math.nan]}, "share.x of row 1 is not a finite number: nan"),
        ({"share.x": [0.25, None]}, "share.x of row 1 is empty"),
        ({"share.x": ["a", "b"]}, "the column share.x is not of numbers"),
        ({"loss.t": [2.0, -3.0]}, "loss.t of row 1 is not above 0: -3.0"),
        ({"loss.t": [0.0, 3.0]}, "loss.t of row 0 is not above 0: 0.0"),
        ({"loss.u": [math.inf, 3.0]}, "loss.u of row 0 is not a finite number: inf"),
    ],
)
def test_wrong_values_are_refused_with_column_row_and_value(changed: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        runs_of(table(**changed))


def test_unknown_missing_and_double_names_are_refused() -> None:
    with pytest.raises(DataError, match=r"there is no column loss\.v"):
        runs_of(table(), targets=["v"])
    with pytest.raises(DataError, match="there is no target"):
        runs_of(table().select(pl.exclude("loss.t", "loss.u")))
    with pytest.raises(DataError, match="there is no pool"):
        runs_of(table().select("loss.t"))
    with pytest.raises(DataError, match="a target stands twice: t"):
        runs_of(table(), targets=["t", "t"])
    with pytest.raises(DataError, match="a pool stands twice: x"):
        MixtureRuns(pools=("x", "x"), targets=("t",), shares=np.ones((1, 2)) / 2, losses=np.ones((1, 1)))
    with pytest.raises(DataError, match="the law does not know the pool y"):
        shares_of(table(), ["x"])
    with pytest.raises(DataError, match=r"there is no column share\.z"):
        shares_of(table(), ["x", "y", "z"])
    with pytest.raises(ConfigError, match="there is no target v"):
        runs_of(table()).target("v")
    with pytest.raises(DataError, match="there is no row"):
        runs_of(table().head(0))
    with pytest.raises(DataError, match="a row a run and a column a target"):
        MixtureRuns(pools=("x",), targets=("t",), shares=np.ones((2, 1)), losses=np.ones((1, 1)))
    with pytest.raises(DataError, match="a share for each of 2 pools"):
        checked_shares([[1.0]], ["x", "y"])
    with pytest.raises(DataError, match="shares are numbers"):
        checked_shares(["a"], ["x"])


def test_planted_runs_are_those_of_the_law() -> None:
    found = runs_with(LAW, 20)
    assert (found.losses == LAW.predict(found.shares)).all()
