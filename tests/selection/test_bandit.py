import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError, StateError
from curate.selection.bandit import Exp3, Exp3Settings
from curate.selection.mixer import Mixer
from tests.reference import mixtures
from tests.selection.mixing import give, pools_of, started

LEARNERS = (
    "exp3",
    {"exp3": {"reward": "fall", "gamma": 0.3, "scale": 2.0}},
    {"exp3": {"reward": "fall", "warmup_blocks": 2}},
    "odm",
    {"odm": {"form": "smoothed_mean"}},
    {"odm": {"form": "group_update", "smoothing": 0.5}},
    "ucb",
    {"ucb": {"form": "plus_one", "alpha": 1e-4, "normalise": False, "num_pools": 2, "floor": 0.1}},
    {"ucb": {"reward": "fall", "discount": 0.9}},
    {"excess_loss": {"reference": {f"p{number:04d}": 2.0 + number % 3 for number in range(4)}}},
    {"excess_loss": {"reference": {f"p{number:04d}": -1.0 for number in range(4)}, "average": True}},
)
SIZES = (100, 1, 5_000, 40)
LOSSES = st.one_of(
    st.floats(0, 12), st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, -3.0, 0.0, 5e-324])
)
BLOCK = st.tuples(
    st.lists(LOSSES, min_size=4, max_size=4), st.lists(st.integers(0, 9), min_size=4, max_size=4)
)
BLOCKS = st.lists(BLOCK, max_size=12)
Blocks = list[tuple[list[float], list[int]]]


def run(mixer: Mixer, blocks: Blocks, *, first: int = 0, delay: int = 2) -> list[list[float]]:
    """Feed blocks whose feedback is `delay - 1` blocks late; give the weights of every block."""
    weights = []
    for number, (losses, counts) in enumerate(blocks, first):
        weights.append(mixer.weights(number + delay - 1, number, 10).tolist())
        mixer.update(number, np.array(losses), np.array(counts), np.zeros(len(losses), np.int64))
    return weights


@pytest.mark.parametrize("spec", LEARNERS, ids=str)
@given(blocks=BLOCKS)
def test_weights_are_weights_whatever_the_losses_are(spec: object, blocks: Blocks) -> None:
    mixer = started(spec, SIZES)  # type: ignore[arg-type]
    for weights in [*run(mixer, blocks), mixer.weights(len(blocks) + 1, 0, 10).tolist()]:
        assert all(math.isfinite(weight) and weight >= 0 for weight in weights)
        assert abs(math.fsum(weights) - 1) < 1e-12


@pytest.mark.parametrize("spec", LEARNERS, ids=str)
@given(blocks=BLOCKS, cut=st.integers(0, 12))
def test_a_state_through_json_goes_on_bit_by_bit(spec: object, blocks: Blocks, cut: int) -> None:
    cut = min(cut, len(blocks))
    whole, first = started(spec, SIZES), started(spec, SIZES)  # type: ignore[arg-type]
    expected = run(whole, blocks)[cut:]
    run(first, blocks[:cut])
    saved = json.dumps(first.state(), allow_nan=False)
    second = started(spec, SIZES)  # type: ignore[arg-type]
    second.load(json.loads(saved))
    assert run(second, blocks[cut:], first=cut) == expected
    assert second.state() == whole.state()


@pytest.mark.parametrize("spec", LEARNERS, ids=str)
@given(blocks=BLOCKS, order=st.permutations(range(4)))
def test_the_order_of_the_pools_does_not_matter(spec: object, blocks: Blocks, order: list[int]) -> None:
    straight, moved = started(spec, SIZES), started(spec, SIZES)  # type: ignore[arg-type]
    pools = pools_of(SIZES)
    natural = np.array(SIZES) / sum(SIZES)
    moved.start([pools[pool] for pool in order], natural[order])
    shuffled = [([losses[p] for p in order], [counts[p] for p in order]) for losses, counts in blocks]
    expected = [[weights[pool] for pool in order] for weights in run(straight, blocks)]
    assert run(moved, shuffled) == expected


@pytest.mark.parametrize("spec", LEARNERS, ids=str)
def test_what_is_not_finite_or_has_no_tokens_was_not_seen(spec: object) -> None:
    mixer = started(spec, SIZES)  # type: ignore[arg-type]
    give(mixer, 0, {0: 3.0, 1: 2.0}, 4)
    before = {key: value for key, value in mixer.state().items() if key not in ("last_block", "issued")}
    losses = np.array([math.nan, math.inf, -math.inf, 3.0])
    mixer.update(1, losses, np.array([5, 5, 5, 0]), np.zeros(4, np.int64))
    after = mixer.state()
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize("spec", LEARNERS[:9], ids=str)
def test_pools_that_are_excluded_or_empty_have_no_weight(spec: object) -> None:
    name, settings = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))  # type: ignore[attr-defined]
    mixer = started({name: {**settings, "exclude": ["p0002"]}}, [10, 0, 30, 5])  # type: ignore[dict-item]
    for block in range(6):
        weights = give(mixer, block, {0: 3.0, 1: 9.0, 2: 9.0, 3: 1.0}, 4)
        assert weights[1] == 0 and weights[2] == 0
        assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["exp3", "odm", "ucb"])
@pytest.mark.parametrize("num_pools", [1, 2, 1000])
def test_one_pool_and_a_thousand(name: str, num_pools: int) -> None:
    mixer = started(name, [7] * num_pools)
    for block in range(8):
        weights = give(mixer, block, {pool: 2.0 + pool % 5 for pool in range(0, num_pools, 3)}, num_pools)
        assert abs(math.fsum(weights.tolist()) - 1) < 1e-12 and (weights >= 0).all()
    if num_pools == 1:
        assert weights.tolist() == [1.0]


def test_exp3_on_single_draws_is_the_published_one() -> None:
    draws = [(0, 4.0), (1, 2.0), (2, 9.0), (0, 3.0), (2, 12.0), (1, 1.0), (0, 5.0)]
    expected = mixtures.exp3(3, [(pool, min(loss / 10, 1)) for pool, loss in draws], gamma=0.1)
    mixer = started("exp3", [1, 1, 1])
    for block, (pool, loss) in enumerate(draws):
        assert give(mixer, block, {pool: loss}, 3) == pytest.approx(expected[block], rel=1e-13)


def test_exp3_adds_the_mean_of_the_draws_of_a_block() -> None:
    mixer = Exp3(Exp3Settings(gamma=0.2))
    mixer.start(pools_of([1, 1]), np.array([0.5, 0.5]))
    mixer.weights(0, 0, 1)
    mixer.update(0, np.array([4.0, 2.0]), np.array([300, 100]), np.zeros(2, np.int64))
    draws = [0.1 * (0.4 / 0.5)] * 3, [0.1 * (0.2 / 0.5)]
    difference = sum(draws[0]) / 4 - sum(draws[1]) / 4
    assert mixer.exponents[0] - mixer.exponents[1] == pytest.approx(difference, rel=1e-13)


def test_feedback_meets_the_weights_of_its_own_block() -> None:
    late, early = started("odm", [1, 1, 1]), started("odm", [1, 1, 1])
    for mixer in (late, early):
        for block in range(5):
            give(mixer, block, {0: 9.0, 1: 1.0, 2: 1.0}, 3)
    issued = late.weights(5, 0, 1)
    late.update(5, np.full(3, np.nan), np.zeros(3, np.int64), np.zeros(3, np.int64))
    assert issued[0] > issued[1]
    state = early.state()
    assert list(state["issued"]) == ["5"] and state["issued"]["5"] == issued.tolist()


def test_a_warm_up_keeps_natural_weights_and_is_not_learned_from() -> None:
    mixer = started({"odm": {"warmup_blocks": 3}}, [30, 60, 10])
    for block in range(2):
        assert give(mixer, block, {0: 9.0}, 3).tolist() == pytest.approx([0.3, 0.6, 0.1])
    assert mixer.state()["num_updates"] == 0
    assert give(mixer, 2, {0: 9.0}, 3).tolist() == pytest.approx([0.3, 0.6, 0.1])
    give(mixer, 3, {0: 9.0, 1: 1.0, 2: 1.0}, 3)
    assert mixer.state()["num_updates"] == 1


def test_losses_are_cut_to_100_nats() -> None:
    weights = [give(started("exp3", [1, 1]), 0, {0: loss}, 2).tolist() for loss in (100.0, 1e308)]
    assert weights[0] == weights[1]


def test_states_of_something_else_are_refused_with_both_values() -> None:
    state = started("exp3", SIZES).state()
    for other, message in (
        (started("odm", SIZES), "another mixer: 'exp3', not 'odm'"),
        (started({"exp3": {"gamma": 0.5}}, SIZES), "another settings"),
        (started("exp3", SIZES[:3]), "another pools"),
    ):
        with pytest.raises(StateError, match=message):
            other.load(state)
    for key, value in (("learned", {"exponents": [1.0]}), ("last_losses", "x"), ("num_updates", -1)):
        with pytest.raises(StateError, match=r"exponents|last_losses|num_updates"):
            started("exp3", SIZES).load({**state, key: value})


def test_feedback_out_of_order_is_refused() -> None:
    mixer = started("exp3", [1, 1])
    give(mixer, 4, {0: 1.0}, 2)
    with pytest.raises(StateError, match="block 4 already, then for block 4"):
        give(mixer, 4, {0: 1.0}, 2)


def test_wrong_lengths_and_names_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no pool is named 'x'; there are: 'p0000', 'p0001'"):
        started({"exp3": {"exclude": ["x"]}}, [1, 1])
    with pytest.raises(ConfigError, match="no pool with tokens is left of: 2"):
        started({"exp3": {"exclude": ["p0000"]}}, [1, 0])
    with pytest.raises(ConfigError, match=r"each of 2 pools: \(3,\)"):
        started("exp3", [1, 1]).update(0, np.zeros(3), np.zeros(3, np.int64), np.zeros(3, np.int64))
