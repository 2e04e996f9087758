"""Data-constrained law: published values, its 182 runs, what they leave open, allocations, nonsense."""

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError, DataError
from curate.laws.chinchilla import Chinchilla
from curate.laws.data_constrained import DataConstrained
from curate.laws.law import Fitted
from curate.laws.registry import law_from_json

RUNS = Path(__file__).parents[1] / "golden/datablations/runs_fit182.csv"
LAW = DataConstrained.published()


@cache
def published_runs() -> pl.DataFrame:
    return pl.read_csv(RUNS).select(
        pl.col("params_N").alias("params"),
        pl.col("tokens_D").alias("tokens"),
        pl.col("unique_tokens_U").alias("unique"),
        pl.col("val_loss").alias("loss"),
    )


@cache
def refit() -> Fitted[DataConstrained]:
    return DataConstrained.fit_table(published_runs(), free="repeats")


def r_squared(law: DataConstrained) -> float:
    observed = published_runs()["loss"].to_numpy()
    left = law.predict_table(published_runs()) - observed
    return float(1 - (left**2).sum() / ((observed - observed.mean()) ** 2).sum())


def test_the_published_law_explains_its_runs_as_published() -> None:
    assert r_squared(LAW) == pytest.approx(0.7722046085, abs=5e-11)
    assert r_squared(DataConstrained.over(LAW.fresh, decay="none")) == pytest.approx(0.4451684379, abs=5e-11)
    assert r_squared(DataConstrained.over(LAW.fresh, decay="data", repeat_tokens=2.916)) == pytest.approx(
        0.7354, abs=6e-5
    )


def test_losses_allocation_and_worth_of_repeats_are_as_published() -> None:
    assert float(LAW.predict(6.34e9, 242e9, 25e9)) == pytest.approx(2.2256440890, abs=5e-11)
    assert float(LAW.predict(8.67e9, 178e9, 25e9)) == pytest.approx(2.2269634075, abs=5e-11)
    assert float(LAW.fresh.optimal_params(1e8)) == pytest.approx(5_098_651.77, abs=0.005)
    worth = LAW.value_of_repeats([0.5, 1, 2, 4, 8, 16, 40])
    assert worth.round(3).tolist() == [1, 1, 0.968, 0.909, 0.803, 0.639, 0.363]


def test_the_published_grid_gives_the_published_allocation_and_the_exact_one_is_no_worse() -> None:
    grid = LAW.optimal_allocation(1e22, 25e9, method="published_grid")
    assert grid.tokens == pytest.approx(237_336_955_477.55, abs=0.01)
    assert grid.params == pytest.approx(7_022_364_735.88, abs=0.01)
    assert grid.epochs == pytest.approx(9.4935, abs=5e-5)
    exact = LAW.optimal_allocation(1e22, 25e9)
    assert exact.loss <= grid.loss
    assert exact.tokens == pytest.approx(grid.tokens, rel=0.004)


def test_the_objective_at_the_published_point_is_the_published_one() -> None:
    problem = refit().fit.problem
    vector = problem.space.vector({"repeat_tokens": 15.387756, "repeat_params": 5.309743})
    assert problem.objective(vector) == pytest.approx(0.01582594, abs=5e-9)


def test_the_refit_finds_the_lower_optimum_and_its_profile_is_as_known() -> None:
    found = refit()
    assert found.fit.objective <= 0.01580466 + 5e-9
    assert found.law.repeat_tokens == pytest.approx(95.37, rel=0.01)
    assert found.law.repeat_params == pytest.approx(1.706, rel=0.01)
    profile = found.fit.profile("repeat_tokens", [5, 10, 20, 40])
    known = (0.016160, 0.015910, 0.015841, 0.015812)
    for objective, least in zip(profile.objectives, known, strict=True):
        assert objective <= least + 5e-7
        assert objective == pytest.approx(least, abs=2e-5)


def test_the_refit_says_that_the_worth_of_repeats_is_not_identified() -> None:
    found = refit()
    assert found.fit.identified["repeat_tokens"] is False
    text = found.as_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("repeat_tokens"))
    assert line.endswith("NOT IDENTIFIED")
    assert "repeat_tokens is not identified from above: all values from" in text


@pytest.mark.parametrize(("decay", "least"), [("data", 0.016930), ("parameters", 0.0166)])
def test_one_sided_variants_fit_worse_than_both(decay: str, least: float) -> None:
    found = DataConstrained.fit_table(published_runs(), free="repeats", decay=decay)
    assert refit().fit.objective < found.fit.objective < least
    if decay == "data":
        assert found.law.repeat_tokens == pytest.approx(2.916, abs=0.005)
    assert len(found.fit.problem.space.free) == 1


@pytest.mark.slow
def test_all_parameters_fit_better_than_the_law_of_other_runs() -> None:
    tied = DataConstrained.fit_table(published_runs())
    assert tied.law.alpha == tied.law.beta
    assert tied.fit.objective < 0.5 * refit().fit.objective
    free = DataConstrained.fit_table(published_runs(), is_tied=False)
    assert free.law.alpha != free.law.beta
    assert free.fit.objective < tied.fit.objective


def test_the_worth_of_repeats_can_be_held_while_the_rest_is_fitted() -> None:
    law = DataConstrained.over(Chinchilla.published("c4_tied"))
    found = DataConstrained.fit_table(curves(law), free="fresh")
    assert [each.name for each in found.fit.problem.space.free] == ["ln_a", "ln_b", "ln_e", "alpha"]
    assert found.law.repeat_tokens == law.repeat_tokens
    assert found.law.alpha == pytest.approx(law.alpha, rel=1e-4)


def curves(law: DataConstrained, *, noise: float = 0.0) -> pl.DataFrame:
    rows = [
        (params, unique * epochs, unique)
        for params in (2e7, 1e8, 5e8, 2e9)
        for unique in (1e8, 1e9, 1e10)
        for epochs in (1, 3, 10, 40)
    ]
    frame = pl.DataFrame(rows, schema=["params", "tokens", "unique"], orient="row")
    draw = np.random.default_rng(3)
    return frame.with_columns(loss=law.predict_table(frame) * np.exp(draw.normal(0, noise, frame.height)))


@pytest.mark.parametrize("decay", ["both", "data", "parameters"])
def test_the_planted_worth_of_repeats_comes_back(decay: str) -> None:
    law = DataConstrained.over(LAW.fresh, repeat_tokens=7.0, repeat_params=3.0, decay=decay)
    found = DataConstrained.fit_table(curves(law), free="repeats", decay=decay).law
    if decay != "parameters":
        assert found.repeat_tokens == pytest.approx(7, rel=1e-4)
    if decay != "data":
        assert found.repeat_params == pytest.approx(3, rel=1e-4)


@pytest.mark.slow
def test_all_planted_parameters_come_back() -> None:
    law = DataConstrained.over(Chinchilla.published("c4_untied"), repeat_tokens=7.0, repeat_params=3.0)
    found = DataConstrained.fit_table(curves(law), is_tied=False).law
    for name, value in law.to_json().items():
        if name not in ("law", "format", "decay"):
            assert getattr(found, name) == pytest.approx(value, rel=1e-3), name


def test_runs_without_repeats_say_so() -> None:
    once = curves(LAW, noise=0.002).filter(pl.col("tokens") == pl.col("unique"))
    found = DataConstrained.fit_table(once, free="repeats")
    assert not found.fit.identified["repeat_tokens"]
    assert any("no run repeats a token" in text for text in found.doubts())


@settings(max_examples=60, deadline=None)
@given(st.floats(16, 25), st.floats(7, 13), st.floats(0.5, 200), st.floats(0.5, 50))
def test_the_exact_allocation_is_better_than_its_neighbours(
    log_flops: float, log_unique: float, repeat_tokens: float, repeat_params: float
) -> None:
    law = DataConstrained.over(LAW.fresh, repeat_tokens=repeat_tokens, repeat_params=repeat_params)
    flops, unique = 10**log_flops, 10**log_unique
    found = law.optimal_allocation(flops, unique)
    assert 6 * found.params * found.tokens == pytest.approx(flops, rel=1e-9)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        tokens = found.tokens * factor
        assert found.loss <= float(law.predict(flops / 6 / tokens, tokens, unique)) * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(st.floats(6, 11), st.floats(8, 12), st.floats(7, 12))
def test_the_law_is_chinchillas_where_nothing_is_repeated_and_never_below(
    log_params: float, log_tokens: float, log_unique: float
) -> None:
    params, tokens, unique = 10**log_params, 10**log_tokens, 10**log_unique
    fresh = float(LAW.fresh.predict(params, tokens))
    found = float(LAW.predict(params, tokens, unique))
    assert found >= fresh * (1 - 1e-12)
    if tokens <= unique and params <= float(LAW.fresh.optimal_params(tokens)):
        assert found == pytest.approx(fresh, rel=1e-12)


def test_more_repeats_never_hurt_and_come_to_an_end() -> None:
    epochs = np.geomspace(1, 1e6, 500)
    losses = LAW.predict(1e8, 1e9 * epochs, 1e9)
    assert (np.diff(losses) <= 0).all()
    assert float(LAW.effective_tokens(1e15, 1e9)) == pytest.approx(1e9 * (1 + LAW.repeat_tokens))


def test_the_json_form_comes_back_and_is_registered() -> None:
    assert law_from_json(LAW.to_json()) == LAW


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "data_constrained.alpha is above 0: 0"),
        ({"ln_e": float("nan")}, "data_constrained.ln_e is a finite number: nan"),
        ({"repeat_tokens": -1.0}, "data_constrained.repeat_tokens is above 0: -1"),
        ({"decay": "some"}, "decay is one of both, data, parameters, none: 'some'"),
    ],
)
def test_nonsense_parameters_are_refused_by_name(change: dict, message: str) -> None:
    values = {name: getattr(LAW, name) for name in ("ln_a", "ln_b", "ln_e", "alpha", "beta")}
    with pytest.raises(ConfigError, match=message):
        DataConstrained(**{**values, **change})


def test_nonsense_points_and_settings_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="unique is a finite number above 0: 0"):
        LAW.predict(1e9, 1e10, 0)
    with pytest.raises(DataError, match="epochs is a finite number above 0: -2"):
        LAW.value_of_repeats([1, -2])
    with pytest.raises(DataError, match="flops is a finite number above 0: nan"):
        LAW.optimal_allocation(float("nan"), 1e9)
    with pytest.raises(ConfigError, match="method is exact or published_grid: 'best'"):
        LAW.optimal_allocation(1e20, 1e9, method="best")
    for setting, message in {
        "free": "free is repeats, fresh or all: 'x'",
        "decay": "decay is one of both, data, parameters, none: 'x'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            DataConstrained.fit_table(published_runs(), **{setting: "x"})
    with pytest.raises(ConfigError, match="base is the law that free=repeats holds"):
        DataConstrained.fit_table(published_runs(), base=LAW.fresh)
    with pytest.raises(ConfigError, match="a fit has no setting ties"):
        DataConstrained.fit_table(published_runs(), ties=True)
    with pytest.raises(ConfigError, match="nothing is left to fit"):
        DataConstrained.fit_table(published_runs(), free="repeats", decay="none")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("loss", -2.0, "loss of row 0 is not above 0: -2.0"),
        ("loss", float("nan"), "loss of row 0 is not a finite number: nan"),
        ("unique", 0.0, "unique of row 0 is not above 0: 0.0"),
        ("params", None, "params of row 0 is empty"),
    ],
)
def test_nonsense_runs_are_refused_by_name(column: str, value: float | None, message: str) -> None:
    frame = published_runs().with_columns(pl.col(column).cast(pl.Float64))
    values = [value, *frame[column].to_list()[1:]]
    with pytest.raises(DataError, match=message):
        DataConstrained.fit_table(frame.with_columns(pl.Series(column, values)))


def test_one_run_is_too_few() -> None:
    with pytest.raises(
        DataError, match=r"2 parameters \(repeat_tokens, repeat_params\) need more than 2 runs: 1"
    ):
        DataConstrained.fit_table(published_runs().head(1), free="repeats")
