"""Hashed randomness: pinned, independent of batches, and distributed as it says."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.selection.sample import gumbel_keys, hash_uniform, log_weights, order_keys
from tests.reference import selection as twin

CHI_SQUARE_999 = {3: 16.27, 9: 27.88, 15: 37.70}
"""Quantiles 0.999 by degrees of freedom."""


def doc_ids(count: int, first: int = 0) -> pa.FixedSizeBinaryArray:
    return pa.array(
        [bytes.fromhex(_rust.blake3_hex(b"%d" % i)) for i in range(first, first + count)], pa.binary(16)
    )


def test_numbers_of_the_documentation_are_pinned():
    ids = pa.array([bytes.fromhex(_rust.blake3_hex(bytes([i]))) for i in (0, 1)], pa.binary(16))
    assert hash_uniform(ids, seed=42, purpose="sample").tolist() == [0.18854530244577583, 0.8228342774753964]


@given(
    st.lists(st.none() | st.binary(min_size=16, max_size=16)),
    st.integers(0, 2**64 - 1),
    st.sampled_from(["", "sample", "x" * 40]),
)
def test_numbers_equal_the_twins(ids, seed, purpose):
    found = hash_uniform(pa.array([b"." * 16, *ids], pa.binary(16))[1:], seed=seed, purpose=purpose).tolist()
    for doc_id, value in zip(ids, found, strict=True):
        assert math.isnan(value) if doc_id is None else value == twin.hash_uniform(doc_id, seed, purpose)


@given(st.lists(st.floats(allow_nan=True), max_size=20), st.sampled_from([0.25, 1.0, 2.0]))
def test_keys_equal_the_twins_up_to_the_last_digits_of_the_logarithm(scores, temperature):
    ids = doc_ids(len(scores))
    found = gumbel_keys(ids, np.array(scores), temperature=temperature, seed=3, purpose="t").tolist()
    for doc_id, score, key in zip(ids.to_pylist(), scores, found, strict=True):
        expected = score / temperature + twin.gumbel(doc_id, 3, "t")
        assert math.isnan(key) if math.isnan(score) else key == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_numbers_are_uniform_for_every_seed_and_independent_between_purposes():
    ids = doc_ids(20_000)
    for seed in (0, 1, 2**63):
        one = hash_uniform(ids, seed=seed, purpose="one")
        two = hash_uniform(ids, seed=seed, purpose="two")
        assert one.min() > 0 and one.max() < 1
        assert chi_square(np.histogram(one, 10, (0, 1))[0], np.full(10, 2000)) < CHI_SQUARE_999[9]
        cells = (one * 4).astype(int) * 4 + (two * 4).astype(int)
        assert chi_square(np.bincount(cells, minlength=16), np.full(16, 1250)) < CHI_SQUARE_999[15]


def chi_square(found: np.ndarray, expected: np.ndarray) -> float:
    return float(((found - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_largest_key_follows_the_softmax_of_scores(temperature):
    ids, scores, draws = doc_ids(4), np.array([0.0, 1.0, -0.5, 0.7]), 4000
    keys = [
        gumbel_keys(ids, scores, temperature=temperature, seed=seed, purpose="g") for seed in range(draws)
    ]
    chosen = np.bincount(np.argmax(keys, axis=1), minlength=4)
    chances = np.exp(scores / temperature)
    assert chi_square(chosen, draws * chances / chances.sum()) < CHI_SQUARE_999[3]


def test_weights_draw_in_proportion():
    ids, weights, draws = doc_ids(4), np.array([1.0, 2.0, 3.0, 4.0]), 4000
    logs = log_weights(weights)
    keys = [gumbel_keys(ids, logs, temperature=1.0, seed=seed, purpose="w") for seed in range(draws)]
    chosen = np.bincount(np.argmax(keys, axis=1), minlength=4)
    assert chi_square(chosen, draws * weights / 10) < CHI_SQUARE_999[3]


def test_weights_without_sense_have_no_logarithm_and_zero_is_never():
    logs = log_weights(np.array([0.0, 1.0, math.e, -1.0, math.inf, math.nan]))
    assert logs[:3].tolist() == [-math.inf, 0.0, 1.0]
    assert np.isnan(logs[3:]).all()


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_order_keys_sort_as_floats_do(values):
    keys = order_keys(np.array(values)).tolist()
    for a, key_a in zip(values, keys, strict=True):
        for b, key_b in zip(values, keys, strict=True):
            assert (a < b) == (key_a < key_b)


def test_a_batch_split_changes_no_number():
    ids = doc_ids(50)
    whole = hash_uniform(ids, seed=1, purpose="p")
    parts = [hash_uniform(ids[i : i + 7], seed=1, purpose="p") for i in range(0, 50, 7)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_settings_without_sense_are_refused():
    with pytest.raises(ConfigError, match="a purpose has at most 40 bytes"):
        hash_uniform(doc_ids(1), seed=1, purpose="x" * 41)
    with pytest.raises(ConfigError, match="temperature is not a number above 0: 0"):
        gumbel_keys(doc_ids(1), np.zeros(1), temperature=0.0, seed=1, purpose="p")
    with pytest.raises(DataError, match="differ in length: 1 and 2"):
        gumbel_keys(doc_ids(1), np.zeros(2), temperature=1.0, seed=1, purpose="p")
    with pytest.raises(DataError, match="ids has the wrong Arrow type: Utf8"):
        hash_uniform(pa.array(["x"]), seed=1, purpose="p")
