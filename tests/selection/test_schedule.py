import pytest

from curate.errors import ConfigError
from curate.selection.mixers import make_mixer
from tests.selection.mixing import started

A, B = {"p0000": 1.0, "p0001": 0.0}, {"p0000": 0.0, "p0001": 2.0}


def at(spec: object, *steps: int, tokens_per_step: int = 10) -> list[list[float]]:
    mixer = started(spec, [30, 10])  # type: ignore[arg-type]
    return [mixer.weights(0, step, tokens_per_step).tolist() for step in steps]


def test_constant_weights_hold_until_the_next_point() -> None:
    points = [
        {"step": 5, "weights": A},
        {"step": 10, "weights": "natural"},
        {"step": 20, "weights": "uniform"},
    ]
    found = at({"schedule": points}, 0, 5, 9, 10, 19, 20, 10**9)
    assert found == [[1, 0]] * 3 + [[0.75, 0.25]] * 2 + [[0.5, 0.5]] * 2


def test_linear_weights_move_between_mixtures() -> None:
    points = [{"step": 10, "weights": A}, {"step": 20, "weights": B}, {"step": 30, "weights": "uniform"}]
    found = at({"schedule": {"points": points, "between": "linear"}}, 0, 10, 15, 20, 25, 30, 99)
    expected = [[1, 0], [1, 0], [0.5, 0.5], [0, 1], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5]]
    for weights, wanted in zip(found, expected, strict=True):
        assert weights == pytest.approx(wanted)


def test_points_may_be_tokens() -> None:
    points = [{"tokens": 0, "weights": A}, {"tokens": "2K", "weights": B}]
    assert at({"schedule": points}, 0, 199, 200) == [[1, 0], [1, 0], [0, 1]]
    linear = {"schedule": {"points": points, "between": "linear"}}
    assert at(linear, 50)[0] == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "points"),
        ([{"step": 5, "weights": A}, {"step": 5, "weights": B}], "points grow: 5 comes after 5"),
        ([{"step": 5, "weights": A}, {"tokens": 9, "weights": B}], "all by step or all by tokens"),
        ([{"weights": A}], "either a step or tokens"),
        ([{"step": 1, "tokens": 1, "weights": A}], "either a step or tokens"),
        ([{"step": -1, "weights": A}], "-1"),
        ([{"tokens": "10%", "weights": A}], "not a fraction: 10%"),
        ([{"step": 0, "weights": {"p0000": -1.0}}], "from 0 on: a weight is finite and not below 0: -1.0"),
        ([{"step": 0, "weights": {"p0000": 0}}], "all are: 0"),
        ([{"step": 0, "weights": "naturl"}], "naturl"),
        ([{"step": 0, "weight": A}], "did you mean `weights`|not a known key"),
    ],
    ids=str,
)
def test_wrong_points_are_named(points: list[object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_mixer({"schedule": points})


def test_unknown_and_missing_pools_are_named() -> None:
    with pytest.raises(ConfigError, match=r"schedule: no pool is named 'web'; there are: 'p0000', 'p0001'"):
        started({"schedule": [{"step": 0, "weights": {**A, "web": 1.0}}]}, [1, 1])
    with pytest.raises(ConfigError, match="leaves out pools: 'p0001'"):
        started({"schedule": [{"step": 0, "weights": {"p0000": 1.0}}]}, [1, 1])
