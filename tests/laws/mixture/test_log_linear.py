"""The log-linear law: planted parameters come back, what runs do not say is said."""

import math

import numpy as np
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.runs import MixtureRuns
from curate.laws.registry import law_from_json
from tests.laws.mixture.planted import LAW, POOLS, runs_with, shares


def test_the_formula_is_that_of_the_paper() -> None:
    assert LAW.predict([0.5, 0.25, 0.25, 0.0])[0] == pytest.approx(
        [1.8 + math.exp(-0.75 + 0.15 - 0.1), 0.9 + math.exp(0.25 - 0.75 + 0.075)]
    )


def test_planted_parameters_come_back_without_noise() -> None:
    found = LogLinear.fit(runs_with(LAW, 60)).law
    assert found.constants == pytest.approx(LAW.constants, abs=1e-4)
    assert np.array(found.slopes) == pytest.approx(np.array(LAW.slopes), abs=1e-3)


def test_intervals_hold_the_truth_and_the_parameters_are_identified() -> None:
    found = LogLinear.fit(runs_with(LAW, 100, noise=0.01, seed=3), bootstrap=60)
    for target, constant, row in zip(LAW.targets, LAW.constants, LAW.slopes, strict=True):
        ends = found.fits[target].intervals(0.99)
        truths = {"constant": math.exp(constant)} | {
            f"slope of {pool}": slope for pool, slope in zip(POOLS, row, strict=True)
        }
        for name, truth in truths.items():
            assert ends[name][0] - 0.02 < truth < ends[name][1] + 0.02, (target, name)
    assert all(found.fits["prose"].identified.values())


def test_a_pool_that_hardly_occurs_is_not_identified_and_says_so() -> None:
    runs = runs_with(LAW, 40, noise=0.01)
    given = np.concatenate([runs.shares, np.zeros((40, 1))], axis=1)
    wider = MixtureRuns(pools=(*POOLS, "new"), targets=("prose",), shares=given, losses=runs.losses[:, :1])
    found = LogLinear.fit(wider)
    assert "slope of new" in found.fit.doubts
    assert "NOT IDENTIFIED" in found.as_text() and "slope of new is not identified" in found.as_text()


def test_few_runs_are_noted_and_too_few_refused() -> None:
    assert "3 (pools + 1) or more are right, 15" in LogLinear.fit(runs_with(LAW, 12, noise=0.01)).notes[0]
    with pytest.raises(DataError, match=r"5 parameters .* need more than 5 runs: 5"):
        LogLinear.fit(runs_with(LAW, 5))
    with pytest.raises(DataError, match="need more than 5 runs: 1"):
        LogLinear.fit(runs_with(LAW, 60).take(np.array([0])))
    wide = tuple(f"p{number}" for number in range(300))
    given = np.full((2, 300), 1 / 300)
    with pytest.raises(DataError, match="at most 256 pools: 300"):
        LogLinear.fit(MixtureRuns(pools=wide, targets=("t",), shares=given, losses=np.ones((2, 1))))


def test_weights_of_targets_make_the_objective() -> None:
    runs = runs_with(LAW, 40)
    found = LogLinear.fit(runs, weights={"prose": 3.0, "programs": 1.0}).law
    losses = found.predict(runs.shares)
    assert found.weights == (0.75, 0.25)
    assert found.objective(runs.shares) == pytest.approx(0.75 * losses[:, 0] + 0.25 * losses[:, 1])
    assert LAW.objective(runs.shares) == pytest.approx(LAW.predict(runs.shares).mean(axis=1))
    for weights, message in (
        ({"prose": 1.0}, "weights name every target once, not so: programs"),
        ({"prose": 1.0, "programs": 1.0, "x": 1.0}, "not so: x"),
        ({"prose": -1.0, "programs": 2.0}, "not below 0"),
        ({"prose": 0.0, "programs": 0.0}, "not all 0"),
        ({"prose": math.nan, "programs": 1.0}, "not below 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            LogLinear.fit(runs, weights=weights)


def test_tables_of_points_are_predicted_by_name() -> None:
    frame = runs_with(LAW, 20).table()
    assert LAW.predict_table(frame.select(reversed(frame.columns))) == pytest.approx(
        frame.select("loss.prose", "loss.programs").mean_horizontal().to_numpy()
    )
    assert LAW.predict_targets(frame)["programs"] == pytest.approx(frame["loss.programs"].to_numpy())


def test_a_fit_does_not_depend_on_the_order_of_pools() -> None:
    runs = runs_with(LAW, 60, noise=0.02)
    turned = MixtureRuns(
        pools=POOLS[::-1], targets=runs.targets, shares=runs.shares[:, ::-1], losses=runs.losses
    )
    one, other = LogLinear.fit(runs).law, LogLinear.fit(turned).law
    given = shares(30, seed=9)
    assert one.predict(given) == pytest.approx(other.predict(given[:, ::-1]), abs=1e-5)


def test_the_json_form_comes_back_and_is_what_budgets_read() -> None:
    value = LAW.to_json()
    assert law_from_json(value) == LAW
    assert value["law"] == "log_linear" and value["format"] == 1 and value["pools"] == list(POOLS)
    assert value["slopes"][1][1] == -3.0 and value["weights"] is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pools": ["a", "a", "b", "c"]}, "a pool stands twice: a"),
        ({"pools": []}, "there is no pool"),
        ({"constants": [0.0]}, r"log_linear\.constants has a value for each of 2: 1"),
        ({"slopes": [[0.0] * 4]}, r"log_linear\.slopes has a row for each of 2: 1"),
        ({"slopes": [[0.0] * 4, [0.0] * 3]}, r"log_linear\.slopes of programs has 4 numbers: 3"),
        ({"constants": [math.nan, 0.0]}, r"constants\[0\] is a finite number: nan"),
        ({"weights": [0.5, 0.4]}, "weights are shares of 2 targets, sum 1"),
        ({"more": 1}, "the law log_linear has no more"),
        ({"law": "linear"}, "there is no law linear"),
        ({"format": 2}, "format 2"),
    ],
)
def test_wrong_json_is_refused_by_key_and_value(changed: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        law_from_json(LAW.to_json() | changed)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delta": -1.0}, "delta is above 0: -1"),
        ({"bootstrap": 3}, "at least 20 refits: 3"),
        ({"bootstrap": "many"}, "the setting bootstrap is wrong.*'many'"),
        ({"steps": 1}, "a fit has no setting steps"),
    ],
)
def test_wrong_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LogLinear.fit_table(runs_with(LAW, 30).table(), **settings)
