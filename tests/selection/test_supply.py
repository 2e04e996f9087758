from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.selection.supply import within_supply
from tests.reference.mixtures import within_supply as reference

WEIGHT = st.one_of(
    st.floats(0, 1),
    st.just(0.0),
    st.sampled_from([1e-300, 5e-324, 1e300, 1.0, 0.1, 1 / 3]),
    st.floats(0, 1e308),
)
LEFT = st.one_of(
    st.integers(0, 3_000).map(float), st.just(np.inf), st.floats(0, 1e15), st.integers(0, 10**12).map(float)
)
PAIRS = st.lists(st.tuples(WEIGHT, LEFT), min_size=1, max_size=12).filter(
    lambda pairs: any(weight > 0 for weight, _ in pairs)
)
BLOCKS = st.integers(1, 10**9)


def arrays(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([weight for weight, _ in pairs]), np.array([left for _, left in pairs])


@given(PAIRS, BLOCKS)
def test_no_pool_is_asked_for_more_than_remains_and_shares_add_up(
    pairs: list[tuple[float, float]], block: int
) -> None:
    weights, left = arrays(pairs)
    result = within_supply(weights, remaining=left, block_tokens=block)
    assert np.isfinite(result).all() and (result >= 0).all()
    assert (result[weights == 0] == 0).all()
    total = (
        sum(Fraction(each) for each in left[weights > 0]) if np.isfinite(left[weights > 0]).all() else None
    )
    if total == 0:
        assert not result.any()
        return
    assert abs(sum(map(Fraction, result.tolist())) - 1) < Fraction(1, 10**12)
    if total is None or total > block:
        for share, rest in zip(result.tolist(), left.tolist(), strict=True):
            assert rest == np.inf or Fraction(share) * block <= Fraction(rest)
    else:  # all that is left can be handed out, not more
        assert np.allclose(result * float(total), np.where(weights > 0, left, 0), rtol=1e-12)


@given(PAIRS, BLOCKS, st.randoms())
def test_the_order_of_the_pools_does_not_matter(
    pairs: list[tuple[float, float]], block: int, random: object
) -> None:
    order = list(range(len(pairs)))
    random.shuffle(order)  # type: ignore[attr-defined]
    weights, left = arrays(pairs)
    there = within_supply(weights, remaining=left, block_tokens=block)
    moved = within_supply(weights[order], remaining=left[order], block_tokens=block)
    assert (moved == there[order]).all()


@given(PAIRS, BLOCKS)
def test_doing_it_twice_changes_nothing(pairs: list[tuple[float, float]], block: int) -> None:
    weights, left = arrays(pairs)
    once = within_supply(weights, remaining=left, block_tokens=block)
    if once.any():
        again = within_supply(once, remaining=left, block_tokens=block)
        assert (again == once).all()


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=8).filter(
        lambda pairs: any(weight for weight, _ in pairs)
    ),
    st.integers(1, 200),
)
def test_it_equals_exact_water_filling(pairs: list[tuple[int, int]], block: int) -> None:
    weights, left = arrays([(float(a), float(b)) for a, b in pairs])
    exact = reference([a for a, _ in pairs], [b for _, b in pairs], block)
    result = within_supply(weights, remaining=left, block_tokens=block)
    assert np.allclose(result, [float(each) for each in exact], rtol=1e-12, atol=0)


def test_excess_goes_to_the_others_in_proportion() -> None:
    result = within_supply(
        np.array([0.6, 0.3, 0.1]), remaining=np.array([200, np.inf, np.inf]), block_tokens=1000
    )
    assert result == pytest.approx([0.2, 0.6, 0.2])


def test_weights_that_fit_come_back_bit_by_bit() -> None:
    weights = np.full(10, 0.1)
    assert (within_supply(weights, remaining=np.full(10, 1e9), block_tokens=10) == weights).all()


def test_less_than_a_block_is_shared_by_what_is_left() -> None:
    result = within_supply(np.array([0.9, 0.1, 0.0]), remaining=np.array([1.0, 3.0, 9.0]), block_tokens=100)
    assert result.tolist() == [0.25, 0.75, 0.0]


def test_a_thousand_pools_that_run_out_one_after_another() -> None:
    weights = np.arange(1, 1001) / 500_500
    result = within_supply(weights, remaining=np.full(1000, 1100.0), block_tokens=1_000_000)
    assert result.sum() == pytest.approx(1) and (result * 1_000_000 <= 1100).all()


@pytest.mark.parametrize(
    ("weights", "left", "block", "message"),
    [
        ([0.5, -0.1], [1, 1], 1, "not below 0: -0.1"),
        ([0.5, np.nan], [1, 1], 1, "finite"),
        ([0.0, 0.0], [1, 1], 1, "all are: 0"),
        ([0.5, 0.5], [1], 1, "each of 2 pools"),
        ([0.5, 0.5], [1, np.nan], 1, "each of 2 pools"),
        ([0.5, 0.5], [1, 1], 0, "at least one token: 0"),
    ],
)
def test_wrong_arguments_are_named(weights: list[float], left: list[float], block: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        within_supply(np.array(weights), remaining=np.array(left, float), block_tokens=block)
