import math

import pytest

from curate.selection.ucb import upper_bounds
from tests.selection.mixing import give, started


@pytest.mark.parametrize(
    ("form", "value"), [("paper", 0.00561493508753513), ("plus_one", 0.0053985748112682684)]
)
def test_the_bounds_of_both_forms_are_the_known_ones(form: str, value: float) -> None:
    bounds = upper_bounds([0.004, 0.0], [3.0, 47.0], alpha=0.001, form=form)  # type: ignore[arg-type]
    assert bounds[0] == pytest.approx(value, rel=1e-14)


def test_a_pool_never_visited_comes_first_in_the_paper_s_form_only() -> None:
    assert upper_bounds([1.0, 0.0], [5, 0], alpha=0.1, form="paper")[1] == math.inf
    assert upper_bounds([1.0, 0.0], [5, 0], alpha=0.1, form="plus_one")[1] < 1


def test_pools_are_visited_one_after_another_then_the_best_stays() -> None:
    mixer = started({"ucb": {"alpha": 0.0}}, [1] * 5)
    losses = [1.0, 2.0, 5.0, 3.0, 4.0]
    weights = mixer.weights(0, 0, 1)
    visited = []
    for block in range(7):
        pool = int(weights.argmax())
        visited.append(pool)
        weights = give(mixer, block, {pool: losses[pool]}, 5)
    assert visited == [0, 1, 2, 3, 4, 2, 2]


def test_the_best_pools_share_the_weight_above_the_floor() -> None:
    mixer = started({"ucb": {"num_pools": 2, "floor": 0.1, "alpha": 0.0}}, [1] * 4)
    weights = give(mixer, 0, {0: 1.0, 1: 4.0, 2: 3.0, 3: 2.0}, 4)
    assert weights == pytest.approx([0.025, 0.475, 0.475, 0.025])


def test_alpha_means_the_same_on_any_scale_of_rewards_when_normalised() -> None:
    results = []
    for scale in (1e-3, 1.0):
        mixer = started({"ucb": {"num_pools": 1, "alpha": 0.3}}, [1] * 3)
        results.append([give(mixer, b, {b % 3: scale * (b % 3 + 1)}, 3).tolist() for b in range(12)])
    assert results[0] == results[1]


def test_more_alpha_visits_more_pools() -> None:
    spread = []
    for alpha in (0.0, 3.0):
        mixer = started({"ucb": {"alpha": alpha}}, [1] * 8)
        chosen, weights = [], mixer.weights(0, 0, 1)
        for block in range(80):
            pool = int(weights.argmax())
            chosen.append(pool)
            weights = give(mixer, block, {pool: pool / 8}, 8)
        spread.append(min(chosen.count(pool) for pool in range(8)))
    assert spread[0] == 1 and spread[1] >= 4
