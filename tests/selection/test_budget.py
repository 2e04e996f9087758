"""Budgets as they are written, and as they are shared."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.selection.budget import parse_budget, pool_budgets, resolve_budget, split_budget
from tests.reference import selection as twin

READ = [
    ("3B", 3_000_000_000),
    ("200M", 200_000_000),
    ("1.5T", 1_500_000_000_000),
    ("0.5 K", 500),
    ("1_000", 1000),
    ("3e6", 3_000_000),
    ("1.5e+9", 1_500_000_000),
    ("7", 7),
    (7, 7),
    (0, 0),
    ("0.1", Fraction(1, 10)),
    (0.1, Fraction(1, 10)),
    (1e-05, Fraction(1, 100_000)),
    (1.0, Fraction(1)),
    ("10%", Fraction(1, 10)),
    ("100%", Fraction(1)),
]


@pytest.mark.parametrize(("written", "budget"), READ)
def test_a_budget_is_tokens_or_a_fraction(written, budget):
    found = parse_budget(written)
    assert found == budget and type(found) is type(budget)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "a budget looks like 3B"),
        ("3 billion", "a budget looks like 3B"),
        ("-3B", "a budget looks like 3B"),
        ("nan", "a budget looks like 3B"),
        (float("inf"), "a budget looks like 3B"),
        (-1, "not below 0"),
        (True, "not: True"),
        (3.0, "a fraction of the tokens is above 0 and at most 1: 3.0"),
        (0.0, "above 0"),
        (-0.5, "above 0"),
        ("101%", "at most 1"),
        ("1.0001K", "a whole number of tokens: 1.0001K"),
        ("1/2", "a budget looks like 3B"),
        ("1e-3", "a budget looks like 3B"),
        ("1.5e0", "a whole number of tokens: 1.5e0"),
    ],
)
def test_what_is_no_budget_is_refused(written, message):
    with pytest.raises(ConfigError) as caught:
        parse_budget(written)
    assert message in str(caught.value)


@given(st.integers(0, 10**12), st.dictionaries(st.text(max_size=2), st.integers(0, 10**12), max_size=6))
def test_shares_equal_the_twins_and_add_up(budget, available):
    parts = split_budget(budget, available)
    assert parts == twin.shares(budget, available)
    assert sum(parts.values()) == (budget if sum(available.values()) else 0)


def test_shares_follow_the_tokens_of_the_pools():
    assert split_budget(10, {"b": 100, "a": 100, "c": 100}) == {"a": 4, "b": 3, "c": 3}
    assert pool_budgets(Fraction(1, 2), {"a": 30, "b": 11}) == {"a": 15, "b": 5}
    assert pool_budgets(None, {"a": 30}) == {"a": None}
    assert resolve_budget(Fraction(1, 3), 10) == 3


def test_a_table_names_every_pool_that_has_tokens():
    assert pool_budgets({"a": Fraction(1, 2), "b": 7, "x": 5}, {"a": 9, "b": 1, "e": 0}) == {
        "a": 4,
        "b": 7,
        "e": 0,
        "x": 5,
    }
    with pytest.raises(ConfigError, match="leaves out pools: b, c") as caught:
        pool_budgets({"a": 1}, {"c": 1, "b": 2, "a": 3})
    assert "`b: 0`" in str(caught.value.hint)
