import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError, StateError
from curate.selection.fixed import Replay, Seen, unimax_tokens
from curate.selection.mixers import make_mixer
from tests.selection.mixing import give, started

STATIC = (
    "natural",
    "uniform",
    {"temperature": 3.0},
    {"temperature": math.inf},
    {"unimax": {"budget": 1000, "max_epochs": 2}},
    {"schedule": [{"step": 0, "weights": "natural"}, {"step": 30, "weights": "uniform"}]},
)


@pytest.mark.parametrize("spec", STATIC, ids=str)
@given(sizes=st.lists(st.integers(0, 10**15), min_size=1, max_size=9), step=st.integers(0, 100))
def test_weights_add_up_and_pools_without_tokens_have_none(spec: object, sizes: list[int], step: int) -> None:
    weights = started(spec, sizes).weights(0, step, 100)  # type: ignore[arg-type]
    assert (weights[np.array(sizes) == 0] == 0).all()
    assert np.isfinite(weights).all() and (weights >= 0).all()
    assert abs(math.fsum(weights.tolist()) - (1 if any(sizes) else 0)) < 1e-12


@pytest.mark.parametrize("spec", STATIC, ids=str)
def test_feedback_changes_nothing_and_states_go_through_json(spec: object) -> None:
    mixer = started(spec, [3, 5])  # type: ignore[arg-type]
    before = mixer.weights(1, 10, 100).tolist()
    assert give(mixer, 0, {0: 9.0}, 2).tolist() == before
    again = started(spec, [3, 5])  # type: ignore[arg-type]
    again.load(json.loads(json.dumps(mixer.state(), allow_nan=False)))
    assert not mixer.needs_feedback and again.weights(1, 10, 100).tolist() == before
    with pytest.raises(StateError, match="another pools"):
        started(spec, [3, 5, 1]).load(mixer.state())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        ("natural", [0.6, 0.4, 0.0]),
        ("uniform", [0.5, 0.5, 0.0]),
        ({"fixed": {"p0000": 1, "p0001": 0, "p0002": 3}}, [0.25, 0.0, 0.75]),
        ({"temperature": 1.0}, [0.6, 0.4, 0.0]),
        ({"temperature": math.inf}, [0.5, 0.5, 0.0]),
        ({"temperature": {"temperature": 2.0}}, [0.5505102572, 0.4494897428, 0.0]),
        ({"unimax": 50}, [0.5, 0.5, 0.0]),
    ],
    ids=str,
)
def test_every_rule_gives_the_weights_by_hand(spec: object, weights: list[float]) -> None:
    assert started(spec, [60, 40, 0]).weights(0, 0, 1) == pytest.approx(weights)  # type: ignore[arg-type]


def test_unimax_gives_the_known_tokens() -> None:
    tokens = unimax_tokens([1000, 200, 50, 5], 600, max_epochs=4)
    assert tokens == pytest.approx(
        [193.33333333333331, 193.33333333333331, 193.33333333333334, 20.0], rel=1e-14
    )
    weights = started({"unimax": {"budget": 600}}, [1000, 200, 50, 5]).weights(0, 0, 1)
    assert weights == pytest.approx([0.3222222222222222] * 3 + [0.03333333333333333], rel=1e-14)


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=9),
    st.integers(1, 5000),
    st.floats(0.5, 8),
    st.randoms(),
)
def test_unimax_keeps_the_caps_and_spends_the_budget(
    sizes: list[int], budget: int, epochs: float, random: object
) -> None:
    tokens = unimax_tokens(sizes, budget, max_epochs=epochs)
    assert all(0 <= got <= size * epochs for got, size in zip(tokens, sizes, strict=True))
    assert sum(tokens) == pytest.approx(min(budget, epochs * sum(sizes)))
    uncapped = [got for got, size in zip(tokens, sizes, strict=True) if got < size * epochs * (1 - 1e-9)]
    if uncapped:
        assert max(tokens) == pytest.approx(max(uncapped)) and min(uncapped) == pytest.approx(max(uncapped))


def function(block: int, step: int, seen: Seen) -> dict[str, float]:
    worst = np.nan_to_num(seen.losses, nan=0.0) + 0.1
    return dict(zip(seen.names, worst.tolist(), strict=True))


def test_a_function_sees_the_last_losses_and_goes_on_from_its_state() -> None:
    mixer = started(function, [1, 1])
    assert mixer.needs_feedback
    give(mixer, 0, {0: 0.9}, 2)
    assert give(mixer, 1, {1: 2.9, 0: math.inf}, 2) == pytest.approx([0.25, 0.75])
    again = started(function, [1, 1])
    again.load(json.loads(json.dumps(mixer.state(), allow_nan=False)))
    assert again.weights(2, 20, 1).tolist() == mixer.weights(2, 20, 1).tolist()


def test_a_function_sees_counts_and_what_was_served() -> None:
    seen: list[Seen] = []

    def look(block: int, step: int, given: Seen) -> list[float]:
        seen.append(given)
        return [1.0, 2.0]

    mixer = started(look, [1, 1])
    mixer.update(0, np.array([1.0, 2.0]), np.array([3, 4]), np.array([30, 40]))
    mixer.update(1, np.array([1.0, 2.0]), np.array([3, 4]), np.array([60, 80]))
    assert mixer.weights(3, 9, 1) == pytest.approx([1 / 3, 2 / 3])
    assert (seen[0].last_block, seen[0].counts.tolist(), seen[0].served.tolist()) == (1, [6, 8], [60, 80])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"p0000": 1.0}, "leaves out pools: 'p0001'"),
        ({"p0000": 1.0, "p0001": 0.0, "x": 1.0}, "no pool is named 'x'"),
        ([1.0], "one for each of 2 pools, not: 1"),
        ([1.0, -1.0], "block 0: a weight is finite and not below 0: -1.0"),
        ([0.0, 0.0], "all are: 0"),
        ([math.nan, 1.0], "finite"),
    ],
    ids=str,
)
def test_wrong_weights_of_a_function_are_named(result: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        started(lambda block, step, seen: result, [1, 1]).weights(0, 0, 1)  # type: ignore[arg-type,return-value]


def test_replay_gives_the_logged_weights_by_step_and_holds_the_last() -> None:
    tables = [{"p0000": 0.1, "p0001": 0.9}, {"p0001": 1.0, "gone": 0.0}]
    mixer = started(Replay([0, 30], tables, end_step=None), [1, 1])
    assert [mixer.weights(0, step, 1).tolist() for step in (0, 29, 30, 999)] == [[0.1, 0.9]] * 2 + [
        [0.0, 1.0]
    ] * 2
    ended = started(Replay([10], tables[:1], end_step=20), [1, 1])
    for step, message in ((20, "ends before step 20: 20"), (9, "begins at step 10: 9")):
        with pytest.raises(ConfigError, match=message):
            ended.weights(0, step, 1)
    with pytest.raises(ConfigError, match="no pool is named 'gone'"):
        started(Replay([0], [{"gone": 0.5, "p0000": 0.5}], end_step=None), [1, 1]).weights(0, 0, 1)
    with pytest.raises(ConfigError, match="no blocks"):
        Replay([], [], end_step=None)


def test_a_table_is_part_of_the_state() -> None:
    fixed = {"fixed": {"p0000": 1.0, "p0001": 2.0}}
    started(fixed, [1, 1]).load(started(fixed, [1, 1]).state())
    with pytest.raises(StateError, match="another table"):
        started({"fixed": {"p0000": 1.0, "p0001": 3.0}}, [1, 1]).load(started(fixed, [1, 1]).state())


def test_many_pools_are_not_all_listed() -> None:
    with pytest.raises(ConfigError, match=r"'p0007' and 92 more") as caught:
        make_mixer({"fixed": {"web": 1.0}}).start(
            [type("P", (), {"name": f"p{n:04d}", "num_unique_tokens": 1}) for n in range(100)],  # type: ignore[misc]
            np.full(100, 0.01),
        )
    assert len(str(caught.value)) < 300
