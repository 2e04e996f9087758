"""Tiers: exact quantiles by tokens, ties never apart, whatever the chunks and the memory."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.selection.tiers import Tiers, find_tiers, ranks_of, tier_names

SCORES = st.sampled_from([math.nan, -math.inf, math.inf, -1.0, 0.0, -0.0, 0.25, 0.5, 1.0]) | st.floats(-1, 1)
ROWS = st.lists(st.tuples(st.integers(0, 2), SCORES, st.integers(1, 9)), max_size=40)


def twin(rows: list[tuple[int, float, int]], quantiles: list[float], within: str) -> list[int]:
    """The tier of each row: the first whose quantile the tokens of no worse documents reach."""
    out = []
    for pool, score, _ in rows:
        group = [row for row in rows if not math.isnan(row[1]) and (within == "corpus" or row[0] == pool)]
        total = sum(tokens for _, _, tokens in group)
        ends = []
        for quantile in quantiles:
            wanted = Fraction(repr(quantile)) * total
            reach = [s for _, s, _ in group if sum(t for _, other, t in group if other >= s) >= wanted]
            ends.append(max(reach, default=-math.inf))
        tier = next((number for number, end in enumerate(ends) if score >= end), len(quantiles))
        out.append(len(quantiles) + 1 if math.isnan(score) else tier)
    return out


@given(
    rows=ROWS,
    quantiles=st.sampled_from([[0.1], [0.1, 0.2, 0.4], [0.001, 0.5, 0.999]]),
    within=st.sampled_from(["corpus", "pool"]),
    size=st.integers(1, 9),
    max_rows=st.sampled_from([0, 3, 1 << 20]),
)
def test_tiers_equal_the_twin_for_any_chunks_and_memory(rows, quantiles, within, size, max_rows):
    settings = Tiers(of="a", quantiles=quantiles, within=within)
    pools = np.array([row[0] for row in rows], np.uint32)
    ranks = ranks_of(np.array([row[1] for row in rows], np.float64))
    tokens = np.array([row[2] for row in rows], np.uint32)
    parts = [slice(first, first + size) for first in range(0, len(rows), size)]
    cuts = find_tiers(
        settings, lambda: [(pools[p], ranks[p], tokens[p]) for p in parts], num_pools=3, max_rows=max_rows
    )
    assert cuts.tiers(pools, ranks).tolist() == twin(rows, quantiles, within)


def test_names_say_what_share_of_the_tokens_a_tier_has():
    tiers = Tiers(of="a", quantiles=[0.005, 0.1, 0.29])
    assert tiers.names == ("q0-0.5", "q0.5-10", "q10-29", "q29-100")
    assert tier_names(["web", "books"], ("q0-10", "q10-100"), unscored="(none)", single=False) == [
        "web/q0-10",
        "web/q10-100",
        "web/(none)",
        "books/q0-10",
        "books/q10-100",
        "books/(none)",
    ]
    assert tier_names(["all"], ("q0-10", "q10-100"), unscored="(none)", single=True)[0] == "q0-10"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"of": "a", "quantiles": []}, "at least 1 item"),
        ({"of": "a", "quantiles": [0.2, 0.1]}, r"ascend, each above 0 and below 1: \[0.2, 0.1\]"),
        ({"of": "a", "quantiles": [0.5, 0.5]}, "ascend"),
        ({"of": "a", "quantiles": [0.0]}, "ascend"),
        ({"of": "a", "quantiles": [1.0]}, "ascend"),
        ({"of": "a", "quantiles": [math.nan]}, "ascend"),
        ({"of": "1 + 1", "quantiles": [0.5]}, "reads at least one column"),
        ({"of": "ln(a)", "quantiles": [0.5]}, "not a function of one row"),
        ({"of": "a", "quantiles": [0.5], "within": "shard"}, "Input should be"),
    ],
)
def test_settings_without_sense_are_refused(chosen, message):
    with pytest.raises(ValidationError, match=message):
        Tiers(**chosen)
