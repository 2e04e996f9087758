"""`curate plan` from the command line: budgets as tokens, compute or parameters, and what is printed."""

import json
import math

import numpy as np
import polars as pl
import pytest
import yaml

import curate as package
from curate.laws.data_constrained import DataConstrained
from curate.laws.quality_quantity import QualityQuantity
from tests.test_cli import write_recipe

TIERS = {"of": "gopher.alpha_word_frac", "quantiles": [0.1, 0.2, 0.4]}


@pytest.fixture
def path(tmp_path):
    """A recipe with tiers and a budget by marginal utility."""
    plan = {
        "pools": {"tiers": TIERS},
        "budget": "100K",
        "allocate": {"rule": "marginal", "prior": "qqt_tmars_imagenet", "cap": 8},
    }
    return write_recipe(tmp_path, plan=plan)


def test_tokens_and_params_give_the_table_and_a_loss(curate, path, tmp_path):
    done = curate("plan", path, "--tokens", "300K", "--params", "1e6", "-q")
    assert done.code == 0, done.err
    assert "300,000 tokens of 4 pools by the rule marginal" in done.out
    assert all(f"\n{name} " in done.out for name in ("q0-10", "q10-20", "q20-40", "q40-100"))
    assert (
        "FLOPs" in done.out and "natural" in done.out and "stratified" in done.out and "how sure" in done.out
    )
    assert done.out.count("not measured on these pools") == 1
    found = curate("plan", path, "--tokens", "3e5", "--params", "1M", "-q", "--json").value["budget"]
    unique = min(found["unique_tokens"], 300_000)
    assert found["predicted_loss"] == float(DataConstrained.published().predict(1e6, 300_000, unique))
    assert f"predicted loss {found['predicted_loss']:.4f}" in done.out
    assert found["flops"] == 6 * 1e6 * 300_000
    assert sum(found["allocation"]["pools"]["tokens"]) == 300_000
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert recipe["plan"]["budget"] == "3e5" and recipe["plan"]["compute"]["params"] == 1e6


def test_growing_budgets_widen_the_tiers_and_repeat_more(curate, path):
    epochs = []
    for tokens in ("10K", "60K", "400K"):
        table = curate("plan", path, "--tokens", tokens, "-q", "--json").value["budget"]["allocation"][
            "pools"
        ]
        epochs.append(dict(zip(table["name"], table["epochs"], strict=True)))
    used = [sum(value > 0 for value in each.values()) for each in epochs]
    assert used == sorted(used) and used[0] < used[-1]
    assert [each["q0-10"] for each in epochs] == sorted(each["q0-10"] for each in epochs)
    assert epochs[-1]["q0-10"] > 1


def test_flops_without_params_take_the_best_for_the_tokens_that_survive(curate, path):
    found = curate("plan", path, "--flops", "1e12", "-q", "--json").value["budget"]
    best = DataConstrained.published().optimal_allocation(1e12, found["unique_tokens"])
    assert found["target_tokens"] == int(best.tokens) and found["params"] == best.params
    assert math.isclose(found["flops"], 1e12, rel_tol=1e-6)


def test_the_function_takes_the_same_numbers(curate, path):
    found = package.plan(path, flops=6e11, params=1e6).plan_file.budget()
    assert curate("plan", path, "--flops", "6e11", "--params", "1e6", "-q", "--json").value["budget"] == found


def test_flops_and_params_are_tokens(curate, path):
    found = curate("plan", path, "--flops", "6e11", "--params", "1e6", "-q", "--json").value["budget"]
    assert found["target_tokens"] == 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokens", "1M", "--flops", "1e12"], "both say how many tokens"),
        (["--tokens", "1G"], "a budget looks like"),
        (["--params", "7X"], "a number looks like 7B, 350M or 1e22, not: 7X"),
        (["--tokens", "-5"], "not below 0"),
        (["--flops", "nan"], "plan.compute.flops"),
        (["--flops", "0"], "greater than 0"),
        (["--tokens", "1M", "--params", "0"], "greater than or equal to 1"),
        (["--tokens", "1B"], "fewer than the budget: 1000000000"),
    ],
)
def test_nonsense_has_exit_code_2_and_names_the_value(curate, path, arguments, message):
    done = curate("plan", path, *arguments, "-q")
    assert done.code == 2 and message in done.err, done.err


def test_a_budget_above_the_supply_without_allocate_says_what_is_missing(curate, tmp_path):
    path = write_recipe(tmp_path, plan={"pools": {"by": "source"}})
    done = curate("plan", path, "--flops", "6e15", "--params", "1e6", "-q")
    assert done.code == 0 and "nothing says that they may be repeated: add plan.allocate" in done.out


def test_fitted_runs_become_evidence_that_is_of_their_documents(curate, path, tmp_path):
    """Runs on the tiers, fitted; the evidence applies to the same documents alone."""
    assert curate("plan", path, "-q").code == 0
    truth = QualityQuantity(
        pools=("q0-10", "q10-20", "q20-40", "q40-100"),
        utilities=(-0.2, -0.15, -0.12, -0.05),
        half_lives=(6.0, 5.0, 4.0, 3.0),
        scale=0.05,
    )
    runs = pl.DataFrame(
        [
            {"pool": pool, "samples": 1e7 * passes, "size": 1e7}
            for pool in truth.pools
            for passes in (1, 2, 4, 7, 10)
        ]
    )
    noise = np.random.default_rng(1).normal(0, 0.001, len(runs))
    runs = runs.with_columns(error=pl.Series(truth.predict_table(runs) * np.exp(noise)))
    runs.write_csv(tmp_path / "runs.csv")
    evidence = tmp_path / "evidence.json"
    done = curate(
        "laws",
        "fit",
        "quality_quantity",
        tmp_path / "runs.csv",
        "--pools",
        tmp_path / "run",
        "--out",
        evidence,
    )
    assert done.code == 0, done.err
    pools = json.loads(evidence.read_text("utf-8"))["pools"]
    assert pools["q0-10"]["utility"] == pytest.approx(-0.2, rel=0.05) and pools["q0-10"]["content"]
    low, high = pools["q0-10"]["interval"]
    assert low < pools["q0-10"]["utility"] < high
    settings = ["--set", "plan.allocate.prior=null", "--set", f"plan.allocate.evidence={evidence}"]
    found = curate("plan", path, *settings, "-q")
    assert found.code == 0 and "evidence" in found.out and "not measured on these pools" not in found.out
    # Tiers of other documents are refused by name.
    other = curate("plan", path, *settings, "--set", "plan.pools.tiers.quantiles=[0.1, 0.2, 0.3]", "-q")
    assert other.code == 2 and "q20-30" in other.errors[0] and "q30-100" in other.errors[0]


def test_only_laws_of_utility_are_evidence_on_pools(curate, tmp_path):
    curve = pl.DataFrame({"x": np.geomspace(1e2, 1e6, 12)}).with_columns(loss=1.5 + 20 / pl.col("x") ** 0.4)
    curve.write_csv(tmp_path / "curve.csv")
    pl.DataFrame({"pool": ["a"], "tokens": [10]}).write_csv(tmp_path / "pools.csv")
    done = curate("laws", "fit", "power", tmp_path / "curve.csv", "--pools", tmp_path / "pools.csv")
    assert done.code == 2 and "come from the law quality_quantity, not from: power" in done.errors[0]
