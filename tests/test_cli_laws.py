"""`curate laws` on the command line: fit, predict, list, the same for every law."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.laws.registry import LAWS
from tests.command import Curate
from tests.laws.mixture.planted import LAW, runs_with

POWER = pl.DataFrame({"x": np.geomspace(1e2, 1e6, 12)}).with_columns(loss=1.5 + 20 / pl.col("x") ** 0.4)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    runs_with(LAW, 40, noise=0.002).table().write_csv(path)
    return path


def test_a_law_is_fitted_written_and_predicts(curate: Curate, runs: Path, tmp_path: Path) -> None:
    law = tmp_path / "law.json"
    done = curate("laws", "fit", "polynomial", runs, "--set", "degree=2", "--out", law)
    assert done.code == 0 and "its numbers are in its JSON" in done.out
    assert json.loads(law.read_text("utf-8"))["degree"] == 2
    printed = curate("laws", "predict", law, runs)
    frame = pl.read_csv(printed.out.encode())
    wanted = pl.read_csv(runs)
    assert frame.columns[-3:] == ["predicted", "predicted.prose", "predicted.programs"]
    assert frame["predicted.prose"].to_numpy() == pytest.approx(wanted["loss.prose"].to_numpy(), abs=0.1)
    for name in ("out.csv", "out.parquet"):
        assert curate("laws", "predict", law, runs, "--out", tmp_path / name).code == 0
    assert pl.read_parquet(tmp_path / "out.parquet").shape == pl.read_csv(tmp_path / "out.csv").shape


def test_a_fit_prints_intervals_and_profiles(curate: Curate, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    noise = np.random.default_rng(0).normal(0, 0.002, len(POWER))
    POWER.with_columns(pl.col("loss") * (1 + noise)).write_csv(path)
    done = curate("laws", "fit", "power", path, "--bootstrap", 20, "--profile", "exponent")
    assert done.code == 0, done.err
    assert "exponent" in done.out and "90 %" in done.out and "profile of exponent" in done.out
    value = curate("laws", "fit", "power", path, "--json").value
    (only,) = value["fits"].values()
    assert value["law"]["law"] == "power" and only["values"]["exponent"] == pytest.approx(0.4, abs=0.05)
    assert only["identified"]["exponent"] is True
    assert (
        curate("laws", "fit", "power", path, "--profile", "x")
        .errors[0]
        .startswith("error: there is no free parameter x")
    )


def test_what_runs_do_not_identify_is_marked(curate: Curate, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    noise = np.random.default_rng(0).normal(0, 0.05, len(POWER))
    POWER.with_columns(pl.col("loss") * (1 + noise)).head(6).write_csv(path)
    assert "NOT IDENTIFIED" in curate("laws", "fit", "power", path).out


def test_every_law_is_listed_with_its_columns(curate: Curate) -> None:
    assert set(curate("laws", "list", "--json").value) == set(LAWS)
    assert "share.*" in curate("laws", "list").out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("fit", "cubic", "{runs}"), 2, "there is no law cubic"),
        (("fit", "polynomial", "{runs}", "--set", "degree=9"), 2, "degree 1 or 2"),
        (("fit", "polynomial", "{runs}", "--set", "degree=x"), 2, "the setting degree is wrong"),
        (("fit", "polynomial", "{runs}", "--set", "colour=1"), 2, "a fit has no setting colour"),
        (("fit", "polynomial", "{runs}", "--set", "targets=x"), 1, "there is no column loss.x"),
        (("fit", "polynomial", "{tmp}/none.csv"), 1, "no such file"),
        (("fit", "chinchilla", "{runs}"), 1, "there is no column params"),
        (("predict", "{runs}", "{runs}"), 1, "is not JSON"),
    ],
)
def test_errors_name_what_is_wrong(
    curate: Curate, runs: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = curate("laws", *(part.format(runs=runs, tmp=tmp_path) for part in arguments))
    assert done.code == code and message in done.err


def test_a_law_file_of_another_kind_is_refused(curate: Curate, runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    for value, message in (
        ({"a": 1}, "a law is an object with its name"),
        ({"law": "cubic"}, "there is no law cubic"),
        ({"law": "polynomial", "format": 1}, "lacks coefficients"),
        ([1], "a law is an object"),
    ):
        path.write_text(json.dumps(value), "utf-8")
        done = curate("laws", "predict", path, runs)
        assert done.code == 2 and message in done.err
