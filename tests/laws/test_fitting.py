"""The fitter: planted parameters come back, doubts are said, nonsense is refused."""

import numpy as np
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.fitting import Fit, checked_data, fit, positive
from curate.laws.parameters import Parameter, Space

POWER = [
    Parameter(name="floor", low=0.01, high=10.0, starts=(0.5, 2.0), log=True),
    Parameter(name="factor", low=0.1, high=1e4, starts=(1.0, 100.0), log=True),
    Parameter(name="exponent", low=0.01, high=2.0, starts=(0.2, 0.8)),
]


def power_residuals(values, data):
    predicted = values["floor"] + values["factor"] / data["x"] ** values["exponent"]
    return np.log(predicted) - np.log(data["y"])


def power_runs(count: int = 40, *, noise: float = 0.003, low: float = 1e2, high: float = 1e6, seed: int = 0):
    draw = np.random.default_rng(seed)
    x = np.geomspace(low, high, count)
    y = (1.5 + 20 / x**0.4) * np.exp(draw.normal(0, noise, count))
    return {"x": x, "y": y}


def fitted(**settings) -> Fit:
    return fit(POWER, power_residuals, power_runs(), **settings)


def test_planted_parameters_come_back_without_noise() -> None:
    found = fit(POWER, power_residuals, power_runs(noise=0.0))
    assert found.values == pytest.approx({"floor": 1.5, "factor": 20, "exponent": 0.4}, rel=1e-5)
    assert found.objective < 1e-12


@pytest.mark.parametrize("loss", ["huber", "squares"])
def test_intervals_hold_the_truth_and_grow_with_the_level(loss: str) -> None:
    found = fitted(loss=loss, bootstrap=100)
    wide, narrow = found.intervals(0.98), found.intervals(0.5)
    for name, truth in {"floor": 1.5, "factor": 20, "exponent": 0.4}.items():
        assert wide[name][0] < truth < wide[name][1]
        assert wide[name][0] <= narrow[name][0] < narrow[name][1] <= wide[name][1]
    assert found.identified == {"floor": True, "factor": True, "exponent": True}


def test_an_outlier_moves_hubers_fit_less_than_squares() -> None:
    data = power_runs()
    data["y"][5] *= 1.5
    errors = {
        loss: abs(fit(POWER, power_residuals, data, loss=loss).values["exponent"] - 0.4)
        for loss in ("huber", "squares")
    }
    assert errors["huber"] < 0.3 * errors["squares"]


def test_a_floor_out_of_reach_is_not_identified_and_says_so() -> None:
    far = fit(POWER, power_residuals, power_runs(low=1.0, high=20.0, noise=0.05, seed=2))
    assert not far.identified["floor"]
    assert "floor is not identified from below" in far.doubts["floor"]


def test_profiles_have_their_least_value_at_the_fit_and_rise_from_there() -> None:
    found = fitted()
    profile = found.profile("exponent", [0.3, 0.35, found.values["exponent"], 0.45, 0.5])
    objectives = profile.objectives
    assert objectives[2] == pytest.approx(found.objective, rel=1e-6)
    assert objectives[0] > objectives[1] > objectives[2] < objectives[3] < objectives[4]
    assert len(found.profile("floor").values) == 21


def test_ties_and_fixed_values() -> None:
    space = Space(
        [
            Parameter(name="a", low=0.0, high=1.0, starts=(0.25,)),
            Parameter(name="b", low=0.0, high=1.0, tied="a"),
            Parameter(name="c", low=0.0, high=1.0, fixed=0.5),
        ]
    )
    assert space.values(np.array([0.25])) == {"a": 0.25, "b": 0.25, "c": 0.5}
    assert space.without("a", 0.75).values(np.array([])) == {"a": 0.75, "b": 0.75, "c": 0.5}


def test_the_same_fit_twice_is_the_same_to_the_bit() -> None:
    first, second = (fitted(bootstrap=20, seed=7) for _ in range(2))
    assert first.values == second.values
    assert all((first.draws[name] == second.draws[name]).all() for name in first.draws)


def test_groups_are_drawn_whole() -> None:
    found = fitted(bootstrap=20, groups=[at // 4 for at in range(40)])
    assert found.intervals()["floor"][0] < 1.5 < found.intervals(0.99)["floor"][1]
    with pytest.raises(ConfigError, match="a group is needed for each of 40 rows, there are 2"):
        fitted(bootstrap=20, groups=[1, 2])


def test_a_large_grid_of_starts_is_sampled() -> None:
    parameters = [Parameter(name=f"p{n}", low=0.0, high=1.0, starts=(0.1, 0.5, 0.9)) for n in range(9)]
    assert len(Space(parameters).grid(1)) == 4096


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": [1.0, 2.0], "y": [1.0, float("nan")]}, "y of row 1 is not a finite number: nan"),
        ({"x": [1.0, 2.0], "y": [1.0]}, "different lengths"),
        ({"x": [], "y": []}, "there is no row"),
        ({"x": ["a"], "y": [1.0]}, "the column x is not of numbers"),
        ({"x": [1.0], "y": [1.0]}, "need more than 3 runs: 1"),
    ],
)
def test_bad_data_are_refused_by_name(data: dict[str, list[float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(POWER, power_residuals, data)


def test_values_for_logarithms_are_above_0() -> None:
    with pytest.raises(DataError, match=r"loss of row 1 is not above 0: -2\.0"):
        positive(checked_data({"loss": [1.0, -2.0]}), ["loss"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": 2.0}, "two finite numbers in order"),
        ({"low": 0.0, "log": True}, "searched as a logarithm"),
        ({"starts": (3.0,)}, "lies between"),
    ],
)
def test_wrong_parameters_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Parameter(**{"name": "p", "low": 0.5, "high": 1.0, **change})


def test_wrong_settings_are_refused() -> None:
    for settings, message in (({"delta": 0.0}, "delta"), ({"bootstrap": 5}, "at least 20")):
        with pytest.raises(ConfigError, match=message):
            fitted(**settings)
    with pytest.raises(ConfigError, match="need a bootstrap"):
        fitted().intervals()
    with pytest.raises(ConfigError, match="no free parameter"):
        fitted().profile("speed")
