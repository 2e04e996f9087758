"""Importance weights from counts: the formula, its switches, and settings that are refused."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config import build
from curate.errors import ConfigError, DataError
from curate.models.importance import TrainImportance, divergence, log_ratios, shares

SOURCE = {"paths": "a.parquet"}
COUNTS = st.lists(st.integers(0, 1 << 40), min_size=4, max_size=4).filter(any)


def settings(**changes: Any) -> dict[str, Any]:
    values = {"targets": {"books": [SOURCE]}, "raw": [SOURCE], "output": "model.safetensors", **changes}
    return {key: value for key, value in values.items() if value is not None}


@given(COUNTS, COUNTS, st.sampled_from([0.0, 1e-3, 1.0]), st.sampled_from([1e-8, 1e-3]))
def test_a_weight_is_the_logarithm_of_the_ratio_of_shares(
    target: list[int], raw: list[int], smoothing: float, floor: float
) -> None:
    p = shares(np.array(target, np.uint64), smoothing=smoothing)
    q = shares(np.array(raw, np.uint64))
    assert math.isclose(p.sum(), 1) and math.isclose(q.sum(), 1)
    total = sum(target) + 4 * smoothing
    wanted = [
        math.log((a + smoothing) / total + floor) - math.log(b / sum(raw) + floor)
        for a, b in zip(target, raw, strict=True)
    ]
    np.testing.assert_allclose(log_ratios(p, q, floor=floor), wanted, rtol=1e-9, atol=1e-9)


@given(COUNTS)
def test_text_of_the_same_distribution_has_no_weight_and_no_divergence(counts: list[int]) -> None:
    same = shares(np.array(counts, np.uint64))
    assert not log_ratios(same, same).any() and divergence(same, same) == 0


def test_divergence_is_in_nats() -> None:
    p, q = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    assert math.isclose(divergence(p, q), math.log(2), rel_tol=1e-6)


def test_counts_that_say_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="there are none: 0"):
        shares(np.zeros(3, np.uint64), smoothing=1.0)
    with pytest.raises(DataError, match="different numbers of buckets: 1 and 2"):
        log_ratios(np.ones(1), np.ones(2))


def test_defaults_are_the_published_ones() -> None:
    found = build(TrainImportance, settings())
    assert (found.buckets, found.ngrams, found.min_tokens, found.smoothing, found.floor) == (
        10_000,
        2,
        100,
        0,
        1e-8,
    )
    assert found.max_raw_ngrams == 10**9
    assert build(TrainImportance, settings(raw_ngrams="all")).max_raw_ngrams is None
    assert build(TrainImportance, settings(raw_ngrams=7)).max_raw_ngrams == 7
    assert found.public()["targets"] == {"books": [SOURCE]} and "output" not in found.public()


def test_secrets_of_stores_are_in_no_card() -> None:
    source = {"paths": "s3://b/x", "storage_options": {"key": "secret"}}
    assert "secret" not in str(build(TrainImportance, settings(raw=[source])).public())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": {}}, "targets has not 1 to 4096 entries: 0"),
        ({"targets": {"a b": [SOURCE]}}, "the name of an output is not .*: a b"),
        ({"targets": {"books": []}}, "targets.books has no source"),
        ({"raw": []}, "raw has no source"),
        ({"raw": [{"path": "x"}]}, "raw.0. has one of paths, run, fasttext_file: none"),
        ({"targets": {"books": [{"paths": "x", "run": "y"}]}}, "targets.books.0. has one of"),
        ({"raw_ngrams": 0}, "raw_ngrams is auto, all or a number from 1 on: 0"),
        ({"raw_ngrams": "some"}, "raw_ngrams is auto, all or a number from 1 on: some"),
        ({"raw_ngrams": True}, "raw_ngrams is auto, all or a number from 1 on: True"),
        ({"raw_ngrams": 1.5}, "raw_ngrams is auto, all or a number from 1 on: 1.5"),
        ({"buckets": 0}, "buckets"),
        ({"buckets": (1 << 28) + 1}, "buckets"),
        ({"ngrams": 9}, "ngrams"),
        ({"tokens": "nltk"}, "tokens"),
        ({"hash": "md5"}, "hash"),
        ({"aggregate": "max"}, "aggregate"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"smoothing": -0.5}, "smoothing"),
        ({"smoothing": math.inf}, "smoothing"),
        ({"smoothing": math.nan}, "smoothing"),
        ({"floor": 0}, "floor"),
        ({"floor": 2}, "floor"),
        ({"output": "model.bin"}, "output is a local file that ends in .safetensors: model.bin"),
        ({"output": "s3://b/m.safetensors"}, "output is a local file"),
        ({"bucket": 5}, "bucket is not a known key, did you mean `buckets`"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(TrainImportance, settings(**changes))
