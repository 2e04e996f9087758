import math
import re

import numpy as np
import pytest

from curate.errors import ConfigError, DataError
from curate.selection.allocation.pools import (
    Supply,
    check_supply,
    exact_sum,
    parse_target,
    pools_of,
    rounded_up,
)


def supply(name: str, tokens: int) -> Supply:
    return Supply(name=name, unique_tokens=tokens, num_docs=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": ""}, "a pool has a name, not: ''"),
        ({"unique_tokens": -5}, "pool 'a': unique_tokens is above 0 and below 2^60, not: -5"),
        ({"unique_tokens": 0}, "pool 'a': unique_tokens is above 0 and below 2^60, not: 0"),
        ({"unique_tokens": 2**60}, "not: 1152921504606846976"),
        ({"unique_tokens": math.nan}, "pool 'a': unique_tokens is a whole number, not: nan"),
        ({"unique_tokens": 10.0}, "pool 'a': unique_tokens is a whole number, not: 10.0"),
        ({"num_docs": 0}, "pool 'a': num_docs is above 0"),
        ({"content": "xyz"}, "a content is 32 hexadecimal digits, not: 'xyz'"),
    ],
)
def test_nonsense_in_a_pool_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        Supply(**{"name": "a", "unique_tokens": 10, "num_docs": 1, **given})  # type: ignore[arg-type]


def test_numbers_of_numpy_are_taken() -> None:
    found = Supply(name="a", unique_tokens=np.int64(7), num_docs=np.uint32(1))  # type: ignore[arg-type]
    assert found.unique_tokens == 7 and type(found.unique_tokens) is int


@pytest.mark.parametrize(
    ("value", "tokens"), [("300B", 300 * 10**9), (5, 5), ("1_000", 1000), (np.int64(9), 9), (1e9, 10**9)]
)
def test_targets_are_read(value: int | str, tokens: int) -> None:
    assert parse_target(value) == tokens


@pytest.mark.parametrize("value", [0, -3, "10%", 0.5, math.nan, math.inf, "many", True, 2**60])
def test_a_target_that_is_no_number_of_tokens_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(str(value))):
        parse_target(value)  # type: ignore[arg-type]


def test_no_pools_and_two_of_a_name_are_refused() -> None:
    with pytest.raises(DataError, match="there are: 0"):
        pools_of([], 4)
    with pytest.raises(DataError, match="'a' is given so many times: 2"):
        pools_of([supply("a", 1), supply("b", 1), supply("a", 2)], 4)


def test_caps_are_the_decimals_that_were_written_rounded_down() -> None:
    assert pools_of([supply("a", 10)], 1.1).caps.tolist() == [11]
    assert pools_of([supply("a", 100)], 1.15).caps.tolist() == [115]  # 1.15 * 100 is below 115 in doubles
    assert pools_of([supply("a", 7)], 0.5).caps.tolist() == [3]
    assert pools_of([supply("a", 2**59)], 1e9).caps.tolist() == [2**60 - 1]


def test_a_table_of_caps_may_stand_for_all_others() -> None:
    pools = [supply("b", 10), supply("a", 10)]
    assert pools_of(pools, {"a": 2, "*": 4}).caps.tolist() == [20, 40]
    with pytest.raises(ConfigError, match="leaves out pools: 'b'"):
        pools_of(pools, {"a": 2})
    with pytest.raises(ConfigError, match="no pool is named 'c'"):
        pools_of(pools, {"c": 2, "*": 4})


def test_a_budget_beyond_the_caps_names_the_pools_and_the_factor() -> None:
    pools = pools_of([supply("a", 100), supply("b", 150)], 4)
    check_supply(pools, 1000)
    with pytest.raises(
        ConfigError, match=r"all 2 pools at the cap give 1000 tokens .*'a', 'b'.*: 1300"
    ) as info:
        check_supply(pools, 1300)
    hint = "raise the cap from 4 to 5.2, or find 1.3 times the tokens, or lower the budget to 1000"
    assert info.value.hint == hint
    pools_of([supply("a", 100), supply("b", 150)], 5.2)
    check_supply(pools_of([supply("a", 100), supply("b", 150)], 5.2), 1300)  # the way out is one
    check_supply(pools_of([supply("a", 130), supply("b", 195)], 4), 1300)
    with pytest.raises(ConfigError, match="pool at the cap give") as info:
        check_supply(pools, 900, np.array([0.0, 1.0]))
    assert "weight 0" in str(info.value.hint) and "to 6," in str(info.value.hint)
    with pytest.raises(ConfigError) as info:
        check_supply(pools_of([supply("a", 100), supply("b", 150)], {"a": 1, "b": 2}), 500)
    assert "raise the caps 1.25 times" in str(info.value.hint)
    with pytest.raises(ConfigError, match="give 0 tokens"):
        check_supply(pools_of([supply("a", 1)], 0.5), 1)


def test_factors_are_never_rounded_down() -> None:
    assert [rounded_up(value) for value in (1.0, 1.3, 1.00001, 12345.6, 0.0123456)] == [
        "1",
        "1.3",
        "1.001",
        "12346",
        "0.01235",
    ]


def test_sums_do_not_overflow() -> None:
    assert exact_sum(np.full(1000, 2**60 - 1)) == 1000 * (2**60 - 1)
    assert exact_sum(np.array([], dtype=np.int64)) == 0
