"""Metrics against answers that were worked out by hand, and against slow definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.models import metrics

PAIRS = st.lists(st.tuples(st.integers(0, 6).map(lambda x: x / 8), st.booleans()), min_size=1, max_size=40)


def arrays(pairs: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in pairs], float), np.array([is_in for _, is_in in pairs], bool)


def test_the_area_is_the_share_of_pairs_in_order_and_ties_count_half() -> None:
    scores, positive = arrays([(0.9, True), (0.5, True), (0.5, False), (0.1, False)])
    # Pairs: 0.9 wins twice, 0.5 wins once and ties once: 3.5 of 4.
    found = metrics.roc_auc(scores, positive)
    assert found["value"] == 0.875
    # DeLong by hand: shares above are (1, 0.75), shares below (0.75, 1); both variances are 1/32.
    half = 1.959963984540054 * math.sqrt(2 * (1 / 32) / 2)
    assert found["low"] == pytest.approx(0.875 - half) and found["high"] == 1.0


@given(PAIRS)
def test_the_area_is_that_of_all_pairs(pairs: list[tuple[float, bool]]) -> None:
    scores, positive = arrays(pairs)
    first, second = scores[positive], scores[~positive]
    found = metrics.roc_auc(scores, positive)["value"]
    if not (len(first) and len(second)):
        assert found is None
        return
    wins = [(a > b) + (a == b) / 2 for a in first for b in second]
    assert found == pytest.approx(sum(wins) / len(wins))


def test_one_document_on_a_side_has_no_interval() -> None:
    scores, positive = arrays([(0.9, True), (0.1, False), (0.2, False)])
    assert metrics.roc_auc(scores, positive) == {"value": 1.0, "low": None, "high": None}


def test_average_precision_adds_precision_by_the_recall_it_brings() -> None:
    scores, positive = arrays([(0.9, True), (0.8, False), (0.7, True), (0.6, False)])
    assert metrics.average_precision(scores, positive) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    tied, both = arrays([(0.5, True), (0.5, False)])
    assert metrics.average_precision(tied, both) == 0.5
    assert metrics.average_precision(*arrays([(0.5, False)])) is None


@given(PAIRS)
def test_a_point_of_recall_is_the_highest_threshold_that_reaches_it(pairs: list[tuple[float, bool]]) -> None:
    scores, positive = arrays(pairs)
    points = metrics.precision_recall(scores, positive, (0.25, 0.5, 1.0))
    assert len(points) == (3 if positive.any() else 0)
    for recall, point in zip((0.25, 0.5, 1.0), points, strict=False):
        reached = {float(t): (positive & (scores >= t)).sum() / positive.sum() for t in set(scores.tolist())}
        assert point["threshold"] == max(t for t, share in reached.items() if share >= recall)
        assert point["recall"] == pytest.approx(reached[point["threshold"]])
        kept = scores >= point["threshold"]
        assert point["precision"] == pytest.approx((positive & kept).sum() / kept.sum())


@given(PAIRS)
def test_the_best_f1_is_that_of_no_other_threshold(pairs: list[tuple[float, bool]]) -> None:
    scores, positive = arrays(pairs)
    found = metrics.best_f1(scores, positive)
    if found is None:
        assert not positive.any()
        return
    values = {t: metrics.f1(scores >= t, positive) for t in scores.tolist()}
    assert found["f1"] == pytest.approx(max(values.values()))
    assert found["f1"] == pytest.approx(values[found["threshold"]])


def test_macro_f1_and_rmse_by_hand() -> None:
    predicted, true = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 1])
    # Class 0: 2 * 1 / (2 + 1), class 1: 2 * 2 / (2 + 4), class 2: nothing right.
    assert metrics.macro_f1(predicted, true) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert metrics.rmse(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == pytest.approx(math.sqrt(2))
    assert metrics.rmse(np.array([]), np.array([])) is None
    assert metrics.macro_f1(np.array([], int), np.array([], int)) is None


def test_calibration_compares_mean_probability_and_share() -> None:
    scores, positive = arrays([(0.05, False), (0.95, True), (0.95, False), (1.0, True)])
    found = metrics.calibration(scores, positive)
    assert [one["num_docs"] for one in found["bins"]] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert found["bins"][9]["mean_score"] == pytest.approx(2.9 / 3)
    assert found["bins"][9]["positive_frac"] == pytest.approx(2 / 3)
    assert found["ece"] == pytest.approx((1 * 0.05 + 3 * (2.9 - 2) / 3) / 4)


def test_a_threshold_keeps_the_share_of_text_that_was_asked_for() -> None:
    scores, weights = np.array([0.9, 0.7, 0.7, 0.1]), np.array([1.0, 2.0, 1.0, 6.0])
    assert metrics.threshold_for(scores, weights, 0.1) == {"threshold": 0.9, "kept_frac": 0.1}
    # The two documents of one score stay together.
    assert metrics.threshold_for(scores, weights, 0.2) == {"threshold": 0.7, "kept_frac": 0.4}
    assert metrics.threshold_for(scores, weights, 1.0) == {"threshold": 0.1, "kept_frac": 1.0}
    assert metrics.threshold_for(np.array([]), np.array([]), 0.5) is None
    assert metrics.kept_frac(scores, weights, 0.7) == 0.4 and metrics.kept_frac(scores, weights, 2.0) == 0.0


@given(PAIRS, st.floats(0.01, 1.0))
def test_a_threshold_is_the_highest_that_keeps_enough(pairs: list[tuple[float, bool]], keep: float) -> None:
    scores, _ = arrays(pairs)
    weights = np.arange(1.0, len(pairs) + 1)
    found = metrics.threshold_for(scores, weights, keep)
    assert found is not None and found["kept_frac"] >= keep - 1e-9
    for other in scores[scores > found["threshold"]]:
        assert metrics.kept_frac(scores, weights, float(other)) < keep
