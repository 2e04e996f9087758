import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.selection.allocation.pools import Pools, Supply, exact_sum, pools_of
from curate.selection.allocation.utilities import Utilities, marginal_tokens
from tests.reference.allocation import all_allocations, smooth_worth, stepwise_worth

STRENGTHS = st.one_of(st.floats(1e-3, 10), st.sampled_from([0.25, 0.5, 1.0, 2.0]))
LIVES = st.one_of(st.floats(0.05, 20), st.sampled_from([0.5, 1.0, 2.0]))
CAPS = st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, 4.7])
Case = tuple[list[int], list[float], list[float], float, float]


def pools_with(sizes: list[int], cap: float) -> Pools:
    return pools_of(
        [Supply(name=f"p{n:03}", unique_tokens=size, num_docs=1) for n, size in enumerate(sizes)], cap
    )


def utilities_with(decay: str, strengths: list[float], lives: list[float]) -> Utilities:
    return Utilities(
        source="test",
        decay=decay,
        strengths=np.array(strengths),
        half_lives=np.array(lives),  # type: ignore[arg-type]
    )


def cases(max_size: int, max_pools: int) -> st.SearchStrategy[Case]:
    return st.integers(1, max_pools).flatmap(
        lambda count: st.tuples(
            st.lists(st.integers(1, max_size), min_size=count, max_size=count),
            st.lists(STRENGTHS, min_size=count, max_size=count),
            st.lists(LIVES, min_size=count, max_size=count),
            CAPS,
            st.floats(0, 1),
        )
    )


def target_of(pools: Pools, part: float) -> int:
    return max(1, round(part * pools.total_cap()))


def allocated(decay: str, case: Case) -> tuple[Pools, Utilities, np.ndarray, float, int] | None:
    sizes, strengths, lives, cap, part = case
    pools = pools_with(sizes, cap)
    if pools.total_cap() == 0:
        return None
    utilities = utilities_with(decay, strengths, lives)
    target = target_of(pools, part)
    tokens, level = marginal_tokens(pools, target, utilities)
    assert exact_sum(tokens) == target and (tokens >= 0).all() and (tokens <= pools.caps).all()
    return pools, utilities, tokens, level, target


@given(cases(4, 4))
def test_no_other_whole_numbers_are_worth_more_when_utility_falls_by_steps(case: Case) -> None:
    found = allocated("half_life", case)
    if found is None:
        return
    pools, utilities, tokens, _, target = found
    worth = [
        [stepwise_worth(n, size, strength, life) for n in range(cap + 1)]
        for size, strength, life, cap in zip(*case[:3], pools.caps.tolist(), strict=True)
    ]
    best = max(
        math.fsum(table[n] for table, n in zip(worth, each, strict=True))
        for each in all_allocations(pools.caps.tolist(), target)
    )
    reached = math.fsum(table[n] for table, n in zip(worth, tokens.tolist(), strict=True))
    assert reached == pytest.approx(best, rel=1e-12)
    assert utilities.total(tokens, pools.unique).sum() == pytest.approx(best, rel=1e-9)


@given(cases(4, 4))
def test_no_other_whole_numbers_are_worth_more_when_utility_falls_smoothly(case: Case) -> None:
    found = allocated("data_constrained", case)
    if found is None:
        return
    pools, utilities, tokens, _, target = found
    worth = [
        [smooth_worth(n, size, strength, life / math.log(2)) for n in range(cap + 1)]
        for size, strength, life, cap in zip(*case[:3], pools.caps.tolist(), strict=True)
    ]
    best = max(
        math.fsum(table[n] for table, n in zip(worth, each, strict=True))
        for each in all_allocations(pools.caps.tolist(), target)
    )
    reached = math.fsum(table[n] for table, n in zip(worth, tokens.tolist(), strict=True))
    assert reached == pytest.approx(best, rel=1e-12)
    assert utilities.total(tokens, pools.unique).sum() == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("decay", ["half_life", "data_constrained"])
@given(case=cases(10**12, 30))
def test_the_conditions_of_an_optimum_hold(decay: str, case: Case) -> None:
    """Next tokens of pools with room are worth no more than the level, last tokens of taken ones no less."""
    found = allocated(decay, case)
    if found is None:
        return
    pools, utilities, tokens, level, target = found
    has_room = tokens < np.minimum(pools.caps, target)
    after = utilities.marginal(tokens, pools.unique)
    before = utilities.marginal(np.maximum(tokens - 1, 0), pools.unique)
    # A token is a step in a smooth curve: its worth may fall by this much within it.
    slack = 1e-9 + (0 if decay == "half_life" else (2 / (pools.unique * utilities.repeats())))
    assert (after <= level * (1 + slack))[has_room].all()
    assert (before >= level * (1 - slack))[tokens > 0].all()


@given(cases(1000, 12), st.randoms())
def test_the_order_of_the_pools_does_not_matter(case: Case, random: object) -> None:
    sizes, _, _, cap, _ = case
    supplies = [Supply(name=f"p{n:03}", unique_tokens=size, num_docs=1) for n, size in enumerate(sizes)]
    mixed = list(supplies)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    there, back = pools_of(supplies, cap), pools_of(mixed, cap)
    assert there.names == back.names and there.caps.tolist() == back.caps.tolist()


def test_passes_of_the_same_utility_are_cut_in_proportion_to_their_tokens() -> None:
    pools = pools_with([300, 100, 100], 4)
    utilities = utilities_with("half_life", [0.5, 0.5, 1.0], [1, 1, 1])
    tokens, level = marginal_tokens(pools, 400, utilities)
    # 100 of the third, then its second pass, worth .5, and the first passes of the others: 300 of 500 tokens.
    assert tokens.tolist() == [180, 60, 160] and level == 0.5
    smooth = utilities_with("data_constrained", [0.5, 0.5, 1.0], [1, 1, 0.001])
    tokens, level = marginal_tokens(pools, 300, smooth)
    assert tokens[:2].tolist() == [150, 50] and level == pytest.approx(0.5)


def test_a_large_cap_costs_nothing() -> None:
    pools = pools_with([1, 10**9, 7], 1e9)
    utilities = utilities_with("half_life", [1.0, 1e-9, 2.0], [1e6, 1.0, 1e7])
    tokens, _ = marginal_tokens(pools, 10**9, utilities)
    assert exact_sum(tokens) == 10**9
    best = utilities_with("data_constrained", [1.0, 1.0, 1.0], [1e6, 1.0, 1.0])
    tokens, level = marginal_tokens(pools, 2 * 10**9, best)
    assert exact_sum(tokens) == 2 * 10**9 and 0 < level < 1


def test_pools_widen_with_the_budget_and_repeats_stop_where_fresh_tiers_pay_more() -> None:
    pools = pools_with([100] * 4, 50)
    utilities = utilities_with("half_life", [0.16, 0.125, 0.1, 0.085], [6.7273, 8.5455, 5.2727, 2.2727])
    budgets = [100, 200, 400, 800, 1600, 3200]
    plans = [marginal_tokens(pools, budget, utilities)[0] for budget in budgets]
    used = [int((plan > 0).sum()) for plan in plans]
    assert used == sorted(used) and used[0] == 1 and used[-1] == 4
    assert plans[1].tolist() == [200, 0, 0, 0]  # the second pass of the best is worth more than the next tier
    assert all((later >= sooner).all() for sooner, later in itertools.pairwise(plans))


@pytest.mark.parametrize("decay", ["half_life", "data_constrained"])
def test_very_large_numbers_keep_the_sum(decay: str) -> None:
    pools = pools_with([2**59, 2**58, 3], 3)
    tokens, _ = marginal_tokens(pools, 2**60 - 1, utilities_with(decay, [1.0, 1.0, 0.5], [3.0, 3.0, 1.0]))
    assert exact_sum(tokens) == 2**60 - 1 and (tokens <= pools.caps).all()
