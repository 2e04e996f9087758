"""The recipes of the repository: they are strict YAML, and what they filter by exists."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import curate
from curate.filters.entries import entry_rules, parse_entry
from curate.pipeline.witnesses import check_witnesses
from curate.schema import is_reason

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def read(path: Path) -> dict[str, Any]:
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(recipe, dict)
    return recipe


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_recipe_has_all_sections_and_filters_that_exist(path: Path) -> None:
    recipe = read(path)
    assert {"input", "measure", "filter", "dedup", "plan", "output", "run", "store"} == set(recipe)
    entries = [parse_entry(entry, path=f"filter[{n}]") for n, entry in enumerate(recipe["filter"])]
    rules = [rule for entry in entries for rule in entry_rules(entry)]
    assert len(rules) > 10 and all(is_reason(rule.reason) for rule in rules)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_recipe_writes_inside_its_run(path: Path) -> None:
    recipe = read(path)
    assert recipe["output"]["path"].startswith(recipe["run"] + "/")


def test_near_duplicates_of_the_sample_have_witnesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CONFIGS[0].parents[1])
    places = {"run": tmp_path / "run", "store": tmp_path / "store", "output.path": tmp_path / "out"}
    run = curate.run("configs/near.yaml", overrides=[f"{key}={value}" for key, value in places.items()])
    checked = check_witnesses(run)
    assert checked.problems == [] and checked.num_dropped > 50 and checked.num_recomputed > 10
    assert pl.read_parquet(tmp_path / "out" / "*.parquet")["minhash.cluster_size"].max() > 1


@pytest.mark.parametrize("name", ["dclm", "languages"])
def test_a_recipe_with_a_classifier_trained_on_the_spot_runs_end_to_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CONFIGS[0].parents[1])
    model = tmp_path / "model.bin"
    trained = curate.train_classifier(f"configs/train/{name}.yaml", overrides=[f"output={model}"])
    assert trained.card["held_out"]["roc_auc"]["value"] > 0.9
    stage = "classifier" if name == "dclm" else "language"
    places = {"run": tmp_path / "run", "store": tmp_path / "store", "output.path": tmp_path / "out"}
    overrides = [f"{key}={value}" for key, value in places.items()]
    run = curate.run(f"configs/{name}.yaml", overrides=[*overrides, f"measure.1.{stage}.model={model}"])
    assert run.verify()[0] == []
    plan = run.plan()
    kept = plan["repeats"] > 0
    if name == "dclm":
        scores = run.columns(["quality.score"])["quality.score"]
        cut = scores.filter(plan["reasons"].list.contains("plan.below_threshold"))
        assert scores.filter(kept).min() >= cut.max() and 10 < int(kept.sum()) < 300
        return
    columns = run.columns(["language.label", "lang"]).filter(kept)
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == {f"language.label={label}" for label in columns["language.label"].unique()}
    right = columns.filter(pl.col("lang").is_in(["en", "de", "da", "fr", "it"]))
    assert (right["language.label"] == right["lang"]).mean() > 0.9


def test_a_recipe_with_a_budget_takes_good_tiers_often_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CONFIGS[0].parents[1])
    places = {"run": tmp_path / "run", "store": tmp_path / "store", "output.path": tmp_path / "out"}
    run = curate.run("configs/budget.yaml", overrides=[f"{key}={value}" for key, value in places.items()])
    pools = {pool["pool"]: pool for pool in run.pools().iter_rows(named=True)}
    assert list(pools) == ["q0-10", "q10-20", "q20-40", "q40-100"]
    epochs = {name: pool["planned_tokens"] / pool["num_unique_tokens"] for name, pool in pools.items()}
    assert epochs["q0-10"] == pytest.approx(4, rel=0.1) and epochs["q40-100"] < 0.5
    assert run.verify()[0] == []
    written = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert written.height == run.plan()["repeats"].cast(pl.Int64).sum() > run.plan()["repeats"].len() // 2
    assert "how sure" in run.as_text() and "next token" in run.as_text()
