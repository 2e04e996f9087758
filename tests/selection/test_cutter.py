"""Cuts equal those of sorting everything, for any digits, chunks and order."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.selection.cutter import Candidates, find_cuts, taken
from curate.selection.exact_sum import ExactSum
from tests.reference import selection as twin

RANKS = st.sampled_from([0, 1, 255, 256, 65535, 65536, 2**40, 2**40 + 1, 2**63, 2**64 - 1])
ROWS = st.lists(st.tuples(st.integers(0, 3), RANKS, st.integers(0, 5)), max_size=40)


def candidates(rows: list[tuple[int, int, int, int]]) -> Candidates:
    pools, ranks, ordinals, tokens = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Candidates(
        np.array(pools, dtype=np.uint32),
        np.array(ranks, dtype=np.uint64),
        np.array(ordinals, dtype=np.int64),
        np.array(tokens, dtype=np.uint32),
    )


def supplies(rows: list[tuple[int, int, int, int]], num_pools: int) -> list[tuple[int, int]]:
    mine = [[row[3] for row in rows if row[0] == pool] for pool in range(num_pools)]
    return [(len(tokens), sum(tokens)) for tokens in mine]


@pytest.mark.parametrize("num_pools", [4, 40])
@pytest.mark.parametrize("max_rows", [0, 3, 1 << 20])
@given(
    rows=ROWS,
    budget=st.none() | st.integers(0, 30),
    size=st.integers(1, 9),
    seed=st.integers(0, 9),
    spread=st.sampled_from([1, 10**13]),
)
def test_cuts_equal_sorting_for_any_chunks_order_and_memory(
    num_pools, max_rows, rows, budget, size, seed, spread
):
    numbered = [(pool, rank, 7 + spread * i, tokens) for i, (pool, rank, tokens) in enumerate(rows)]
    mixed = list(numbered)
    random.Random(seed).shuffle(mixed)
    chunks = [candidates(mixed[i : i + size]) for i in range(0, len(mixed), size)]
    budgets = [budget] * num_pools
    cuts = find_cuts(lambda: chunks, budgets, supplies(numbered, num_pools), max_rows=max_rows)
    for pool in range(num_pools):
        mine = [row for row in numbered if row[0] == pool]
        expected = twin.take([-row[1] for row in mine], [row[3] for row in mine], budget)
        c = candidates(mine)
        found = set(np.flatnonzero(taken(cuts, c.pools, c.ranks, c.ordinals)).tolist())
        assert found == expected
        assert (cuts[pool].num_docs, cuts[pool].num_tokens) == (len(found), sum(mine[i][3] for i in found))


@pytest.mark.parametrize("max_rows", [0, 1 << 20])
@given(rows=ROWS, budget=st.integers(0, 30))
def test_ties_at_the_cut_are_all_taken_where_asked(max_rows, rows, budget):
    numbered = [(pool, rank, i, tokens) for i, (pool, rank, tokens) in enumerate(rows)]
    cuts = find_cuts(
        lambda: [candidates(numbered)], [budget] * 4, supplies(numbered, 4), with_ties=True, max_rows=max_rows
    )
    for pool in range(4):
        mine = [row for row in numbered if row[0] == pool]
        least = twin.take([-row[1] for row in mine], [row[3] for row in mine], budget)
        worst = max((mine[i][1] for i in least), default=-1)
        c = candidates(mine)
        found = taken(cuts, c.pools, c.ranks, c.ordinals).tolist()
        assert found == [row[1] <= worst for row in mine]
        assert (cuts[pool].num_docs, cuts[pool].num_tokens) == (
            sum(found),
            sum(r[3] for r in mine if r[1] <= worst),
        )


@given(st.integers(1, 10**6), st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=30))
def test_a_pool_is_over_its_budget_by_less_than_one_document(budget, tokens):
    rows = [(0, 5, i, count) for i, count in enumerate(tokens)]
    (cut,) = find_cuts(lambda: [candidates(rows)], [budget], supplies(rows, 1))
    if sum(tokens) > budget:
        assert budget <= cut.num_tokens < budget + max(tokens)
    else:
        assert cut.num_tokens == sum(tokens)


@given(st.lists(st.floats(-1e300, 1e300)), st.integers(1, 5), st.randoms())
def test_exact_sums_equal_fsum_in_any_order_and_chunks(values, size, shuffler):
    expected = math.fsum(values)
    shuffler.shuffle(values)
    total = ExactSum()
    for i in range(0, len(values), size):
        total.add(np.array(values[i : i + size]))
    assert total.value() == expected


def test_exact_sums_hold_for_many_values_and_the_smallest():
    values = np.random.default_rng(1).normal(size=3_000_000)
    values[:4] = [5e-324, -5e-324, 2.2e-308, 1e-320]
    total = ExactSum()
    total.add(values)
    assert total.value() == math.fsum(values.tolist())
