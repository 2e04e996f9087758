"""`curate mix` on the command line: from pools to a swarm, from results to weights and evidence."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.selection.allocation import read_evidence
from tests.command import Curate
from tests.laws.mixture.planted import LAW, POOLS, PRIOR


@pytest.fixture
def pools(tmp_path: Path) -> Path:
    path = tmp_path / "pools.csv"
    frame = pl.DataFrame(
        {
            "pool": POOLS,
            "tokens": [int(PRIOR[pool] * 1e9) for pool in POOLS],
            "content": [f"{at + 1:032x}" for at in range(4)],
        }
    )
    frame.write_csv(path)
    return path


def results(swarm: Path, path: Path) -> Path:
    """What training on the swarm gave."""
    frame = pl.read_csv(swarm)
    losses = LAW.predict(frame.select(f"share.{pool}" for pool in POOLS).to_numpy())
    losses = losses + np.random.default_rng(0).normal(0, 0.002, losses.shape)
    frame.with_columns(
        pl.Series("loss.prose", losses[:, 0]), pl.Series("loss.programs", losses[:, 1])
    ).write_csv(path)
    return path


def test_from_pools_to_a_swarm_to_weights_to_evidence(curate: Curate, pools: Path, tmp_path: Path) -> None:
    swarm = tmp_path / "swarm.csv"
    done = curate("mix", "swarm", pools, "--runs", 30, "--out", swarm)
    assert done.code == 0 and "3 (pools + 1) = 15 runs: they suffice" in done.out
    evidence = tmp_path / "evidence.json"
    path = results(swarm, tmp_path / "results.csv")
    done = curate("mix", "fit", path, "--pools", pools, "--out", evidence)
    assert done.code == 0, done.err
    assert "Spearman x 100" in done.out and "exact" in done.out and "times natural" in done.out
    found = read_evidence(evidence)
    assert found.law["law"] == "log_linear" and {pool.content for pool in found.pools} == {
        f"{at + 1:032x}" for at in range(4)
    }
    assert "predicted" in curate("laws", "predict", evidence, path).out


def test_the_swarm_goes_to_stdout_and_the_rest_to_stderr(curate: Curate, pools: Path) -> None:
    done = curate("mix", "swarm", pools, "--max-share", "code=0.2", "--seed", 1)
    frame = pl.read_csv(done.out.encode())
    assert len(frame) == 15 and frame["share.code"].max() <= 0.2002
    assert "they suffice" in done.err


def test_weights_as_json_under_caps_by_simulation(curate: Curate, pools: Path, tmp_path: Path) -> None:
    swarm = tmp_path / "swarm.csv"
    curate("mix", "swarm", pools, "--out", swarm)
    path = results(swarm, tmp_path / "results.csv")
    value = curate(
        "mix", "fit", path, "--law", "polynomial", "--pools", pools, "--kl", 0, "--tokens", "300B",
        "--target", "programs", "--max-share", "books=0.05", "--json",
    ).value  # fmt: skip
    assert value["is_exact"] is False and value["law"] == "polynomial"
    assert value["weights"]["code"] <= 0.8 / 3 + 1e-9 and value["weights"]["books"] <= 0.05 + 1e-9
    assert sum(value["weights"].values()) == pytest.approx(1) and list(value["held_out"]) == ["programs"]


def test_without_tokens_the_law_is_written_by_name(curate: Curate, pools: Path, tmp_path: Path) -> None:
    swarm, out = tmp_path / "swarm.csv", tmp_path / "law.json"
    curate("mix", "swarm", pools, "--out", swarm)
    path = results(swarm, tmp_path / "results.csv")
    done = curate("mix", "fit", path, "--law", "polynomial", "--out", out)
    assert done.code == 0 and "their tokens are not known" in done.err
    assert "natural is the mean of the runs" in done.out
    assert curate("laws", "predict", out, path).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("swarm", "{pools}", "--max-share", "code"), 2, "--max-share is POOL=SHARE: code"),
        (("swarm", "{pools}", "--max-share", "x=0.5"), 2, "a cap is of no pool: x"),
        (("swarm", "{tmp}"), 1, "no plan with a table of pools"),
        (("fit", "{results}", "--law", "cubic"), 2, "there is no law of mixtures cubic"),
        (("fit", "{results}", "--target", "x"), 1, "there is no column loss.x"),
        (("fit", "{pools}"), 1, "there is no target"),
        (("fit", "{results}", "--tokens", "many"), 2, "many"),
        (("fit", "{results}", "--cap", "0"), 2, "cap"),
    ],
)
def test_errors_name_what_is_wrong(
    curate: Curate, pools: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    swarm = tmp_path / "swarm.csv"
    curate("mix", "swarm", pools, "--out", swarm)
    path = results(swarm, tmp_path / "results.csv")
    done = curate("mix", *(part.format(pools=pools, results=path, tmp=tmp_path) for part in arguments))
    assert done.code == code and message in done.err
