"""Orders as functions: permutations, shares of lanes, passes of repeated documents."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.loader.order import key, levels, mix, permute, pool_order, stratified
from curate.loader.settings import Constants
from tests.loader.fakes import FakeIndex


@given(st.integers(1, 300), st.integers(0, 2**63 - 1))
def test_permute_is_a_permutation_whatever_is_asked_at_once(size, seed):
    whole = permute(np.arange(size), size, seed)
    assert sorted(whole.tolist()) == list(range(size))
    assert [int(permute(np.array([place]), size, seed)[0]) for place in range(0, size, 7)] == whole[
        ::7
    ].tolist()


def test_permutations_of_large_sizes_stay_inside():
    for size in (2**31 + 5, 2**40 - 1, 2**40):
        places = permute(np.array([0, 1, size // 2, size - 1]), size, 3)
        assert len(set(places.tolist())) == 4 and (places >= 0).all() and (places < size).all()


def test_permutations_are_spread_evenly():
    """Over many seeds every place is as likely for the first position: chi-square below its 99.9 % bound."""
    size, draws = 13, 13_000
    counts = Counter(int(permute(np.array([0]), size, key(seed, 9))[0]) for seed in range(draws))
    chi = sum((counts[place] - draws / size) ** 2 / (draws / size) for place in range(size))
    assert chi < 32.9


def test_key_is_mix_of_single_numbers():
    state = np.array([5], np.uint64)
    state = mix((state + np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(77))
    assert int(state[0]) == key(5, 77) and key(5, 77, 1) != key(5, 77)


@given(st.integers(1, 200), st.integers(0, 99))
def test_stratified_numbers_have_one_in_each_part(num_lanes, seed):
    parts = np.floor(stratified(num_lanes, seed) * num_lanes)
    assert sorted(parts.astype(int).tolist()) == list(range(num_lanes))


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=40),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from(["shuffle", "plan"]),
    st.integers(1, 4),
)
def test_lanes_share_each_epoch_exactly(repeats, num_lanes, block_docs, order, epochs):
    index = FakeIndex({"a": [9] * len(repeats)}, {"a": repeats}, block_docs=block_docs)
    constants = Constants(seq_len=4, global_batch=num_lanes, order=order, max_epochs=epochs, window_tokens=20)
    table = pool_order(index, constants, 0)
    counts = Counter()
    for lane in range(num_lanes):
        number = 0
        while (window := table.window(lane, number)) is not None:
            assert len(window) and len(table.window_epochs(lane, number)) == len(window)
            counts.update(window.tolist())
            number += 1
        assert bool(table.is_empty(np.array([lane]))[0]) == (number == 0)
    assert counts == {doc: times * epochs for doc, times in enumerate(repeats)}
    assert levels(index, 0).num_blocks == sum(
        max(repeats[first : first + block_docs]) for first in range(0, len(repeats), block_docs)
    )


def test_the_plan_order_is_served_as_it_is():
    index = FakeIndex({"a": [9] * 20}, block_docs=1)
    constants = Constants(seq_len=4, global_batch=1, order="plan")
    table = pool_order(index, constants, 0)
    served = np.concatenate([table.window(0, number) for number in range(3)])
    assert served[:20].tolist() == list(range(20))


def test_how_well_documents_are_mixed():
    """Neighbours of a shard do not stay neighbours, and every part of an epoch is drawn from the whole pool.

    64 lanes, 64 blocks a lane of 16 documents each, four blocks to a window.
    """
    num_docs, num_lanes = 65_536, 64
    index = FakeIndex({"a": [512] * num_docs}, block_docs=16)
    constants = Constants(seq_len=512, global_batch=num_lanes, window_tokens=4 * 16 * 512)
    table = pool_order(index, constants, 0)
    windows = [[table.window(lane, number) for number in range(16)] for lane in range(num_lanes)]
    streams = np.array([np.concatenate(lane) for lane in windows])
    served = streams.T.ravel()
    assert sorted(served.tolist()) == list(range(num_docs))
    steps = np.diff(streams, axis=1)
    assert (steps == 1).mean() < 0.02, "within a lane: rows that follow one another"
    same_block = (streams[:, 1:] // 16 == streams[:, :-1] // 16).mean()
    assert 0.2 < same_block < 0.3, "a quarter, since four blocks share a window"
    distances = np.abs(np.diff(served.astype(np.int64)))
    assert abs(distances.mean() / (num_docs / 3) - 1) < 0.02, "across lanes as far as in a random order"
    for part in np.split(served, 16):
        blocks = np.bincount(part // (num_docs // 16), minlength=16) / 16
        assert np.abs(blocks - 16).max() <= 4 * np.sqrt(16), "as drawing blocks at random"
