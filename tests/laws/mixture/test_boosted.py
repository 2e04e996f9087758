"""Boosted trees: learned, kept as text, refused where damaged."""

import sys

import numpy as np
import pytest

from curate.errors import ConfigError, DataError, MissingExtra
from curate.laws.mixture.boosted import Boosted
from curate.laws.mixture.polynomial import Polynomial
from curate.laws.mixture.validation import held_out, mean_spearman
from curate.laws.registry import law_from_json
from tests.laws.mixture.planted import LAW, POOLS, runs_with

pytest.importorskip("lightgbm")


@pytest.fixture(scope="module")
def fitted() -> Boosted:
    return Boosted.fit(runs_with(LAW, 200, noise=0.01)).law


def test_trees_order_unseen_runs_better_than_a_line(fitted: Boosted) -> None:
    rest = runs_with(LAW, 80, seed=3)
    line = Polynomial.fit(runs_with(LAW, 200, noise=0.01)).law
    ours, base = held_out(fitted, rest), held_out(line, rest)
    assert mean_spearman(ours) > max(0.97, mean_spearman(base))


def test_the_json_form_predicts_the_same_bits_and_a_second_fit_is_the_same_text(fitted: Boosted) -> None:
    again = law_from_json(fitted.to_json())
    given = runs_with(LAW, 20, seed=4).shares
    assert again == fitted and (again.predict(given) == fitted.predict(given)).all()
    assert Boosted.fit(runs_with(LAW, 200, noise=0.01)).law == fitted


def test_stopping_on_the_test_runs_is_a_named_switch_and_noted() -> None:
    runs, test = runs_with(LAW, 60, noise=0.05), runs_with(LAW, 40, seed=2)
    found = Boosted.fit(runs, stop_on=test)
    assert found.notes == ("the runs that stopped the training measure nothing else",)
    assert found.law != Boosted.fit(runs).law
    other = test.of_targets(["prose"])
    with pytest.raises(DataError, match="stop_on has other pools or targets"):
        Boosted.fit(runs, stop_on=other)
    with pytest.raises(ConfigError, match="stop_on cannot be given as a plain value: 'x'"):
        Boosted.fit_table(runs.table(), stop_on="x")


def test_damaged_models_are_refused_before_they_are_read(fitted: Boosted) -> None:
    value = fitted.to_json()
    text = value["models"][0]
    for model, message in (
        ("", "no model of lightgbm: ''"),
        ("tree\nnothing", "no model of lightgbm"),
        (text[: len(text) // 2], "the model is damaged"),
        (text.replace("Tree=1\n", "Tree=1\n\n", 1), "the model is damaged"),
        (text.replace("leaf_value=", "leaf_value=9", 1), "the model is damaged"),
        (text.replace("max_feature_idx=3", "max_feature_idx=9"), r"a model of 4 pools, not of: 9 \+ 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            law_from_json(value | {"models": [model, value["models"][1]]})
    with pytest.raises(ConfigError, match="models are one for each of 2: 1"):
        law_from_json(value | {"models": [text]})


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"max_trees": 0}, ConfigError, "above 0, the rate at most 1: 0"),
        ({"learning_rate": 2.0}, ConfigError, "the rate at most 1: 1000, 2.0"),
        ({"held_out_frac": 1.0}, ConfigError, "held_out_frac lies between 0 and 1: 1"),
    ],
)
def test_wrong_settings_are_refused(changed, error, message) -> None:
    with pytest.raises(error, match=message):
        Boosted.fit(runs_with(LAW, 30), **changed)


def test_few_runs_are_refused() -> None:
    with pytest.raises(DataError, match="boosted needs at least 20 runs: 19"):
        Boosted.fit(runs_with(LAW, 60).take(np.arange(19)))
    assert "30 runs of 4 pools" not in str(Boosted.fit(runs_with(LAW, 30)).notes)
    assert len(POOLS) == 4


def test_without_the_package_the_extra_is_named(fitted: Boosted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    for call in (
        lambda: fitted.predict(np.full(4, 0.25)),
        lambda: Boosted.fit(runs_with(LAW, 30)),
    ):
        with pytest.raises(MissingExtra) as caught:
            call()
        assert caught.value.hint == "pip install curate[laws]"
    assert law_from_json(fitted.to_json()) == fitted
