import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.selection.allocation.pools import Supply, exact_sum, pools_of
from curate.selection.allocation.proportional import (
    natural_tokens,
    proportional,
    stratified_tokens,
    weights_of,
)
from curate.selection.allocation.settings import Allocate
from curate.selection.allocation.whole import shared_out, whole_tokens
from curate.selection.fixed import unimax_tokens
from tests.reference.allocation import proportional as reference

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "unimax.json").read_text("utf-8"))


def supplies(sizes: list[int]) -> list[Supply]:
    return [Supply(name=f"p{n:03}", unique_tokens=size, num_docs=1) for n, size in enumerate(sizes)]


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 9)), min_size=1, max_size=12),
    st.sampled_from([0.1, 1.0, 2.5, 4.0]),
    st.floats(0, 1),
)
def test_whole_tokens_are_within_one_of_the_exact_shares(
    pairs: list[tuple[int, int]], cap: float, part: float
) -> None:
    weights = np.array([float(weight) for _, weight in pairs])
    pools = pools_of(supplies([size for size, _ in pairs]), cap)
    most = exact_sum(pools.caps[weights > 0])
    if most == 0:
        return
    target = max(1, round(part * most))
    tokens = proportional(pools, target, weights)
    exact = reference([weight for _, weight in pairs], pools.caps.tolist(), target)
    assert exact_sum(tokens) == target and (tokens <= pools.caps).all() and (tokens[weights == 0] == 0).all()
    assert all(abs(n - each) <= 1 for n, each in zip(tokens.tolist(), exact, strict=True))


def test_unimax_is_stratified_under_caps_and_meets_the_published_example() -> None:
    sizes, budget, cap = GOLDEN["chars"], GOLDEN["budget"], GOLDEN["max_epochs"]
    pools = pools_of(supplies(sizes), cap)
    tokens = proportional(pools, budget, weights_of(pools, Allocate(rule="unimax", cap=cap)))
    assert tokens.tolist() == stratified_tokens(pools, budget).tolist()
    assert np.abs(tokens - np.array(GOLDEN["U"])).max() < 1
    assert unimax_tokens(sizes, budget, max_epochs=cap) == pytest.approx(GOLDEN["U"])
    assert tokens.tolist() == [194, 193, 193, 20]


def test_natural_is_in_proportion_to_unique_tokens() -> None:
    assert natural_tokens(pools_of(supplies([100, 300, 600]), 4), 50).tolist() == [5, 15, 30]


def test_temperature_lies_between_natural_and_stratified() -> None:
    pools = pools_of(supplies([100, 10_000]), 100)
    shares = {}
    for temperature in (1.0, 2.0, 1e9):
        settings = Allocate(rule="temperature", temperature=temperature)
        shares[temperature] = proportional(pools, 1010, weights_of(pools, settings)).tolist()
    assert shares[1.0] == [10, 1000]
    assert shares[2.0] == [92, 918]  # 1 to 10
    assert shares[1e9] == [505, 505]


def test_a_fixed_share_above_its_cap_goes_to_the_others_in_proportion() -> None:
    pools = pools_of(supplies([10, 1000, 1000]), 2)
    settings = Allocate(rule="fixed", weights={"p000": 0.5, "p001": 0.4, "p002": 0.1})
    assert proportional(pools, 120, weights_of(pools, settings)).tolist() == [20, 80, 20]


def test_a_table_of_weights_names_every_pool_and_no_other() -> None:
    pools = pools_of(supplies([10, 1000]), 2)
    with pytest.raises(ConfigError, match="leaves out pools: 'p001'"):
        weights_of(pools, Allocate(rule="fixed", weights={"p000": 1.0}))
    with pytest.raises(ConfigError, match="no pool is named 'web'"):
        weights_of(pools, Allocate(rule="fixed", weights={"p000": 0.5, "p001": 0.4, "web": 0.1}))


def test_a_rule_without_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="weights: marginal"):
        weights_of(pools_of(supplies([1]), 1), Allocate(rule="marginal"))


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 60)), min_size=1, max_size=10), st.floats(0, 1))
def test_rounding_keeps_sum_and_caps_even_where_the_numbers_do_not_add_up(
    pairs: list[tuple[float, int]], part: float
) -> None:
    parts, caps = np.array([value for value, _ in pairs]), np.array([cap for _, cap in pairs])
    target = round(part * caps.sum())
    tokens = whole_tokens(parts, caps, target)
    assert tokens.sum() == target and (tokens >= 0).all() and (tokens <= caps).all()


def test_the_largest_remainder_gets_the_token_and_the_first_of_equals() -> None:
    caps = np.array([9, 9, 9])
    assert whole_tokens(np.array([1.2, 1.5, 1.3]), caps, 4).tolist() == [1, 2, 1]
    assert whole_tokens(np.array([1.5, 1.5, 1.0]), caps, 4).tolist() == [2, 1, 1]
    assert whole_tokens(np.array([1.5, 1.5, 1.0]), caps, 4, values=np.array([0, 1, 0.0])).tolist() == [
        1,
        2,
        1,
    ]
    assert shared_out(5, np.array([1, 0, 9])).tolist() == [1, 0, 4]
