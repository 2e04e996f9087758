"""The S-curve of bands against its definition, the published layouts and simulated signatures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dedup import scurve
from curate.dedup.scurve import Bands, preset_bands, solve
from curate.errors import ConfigError

PUBLISHED_THRESHOLDS = [
    (14, 8, 0.72),
    (26, 11, 0.74),
    (20, 5, 0.55),
    (20, 13, 0.79),
    (14, 9, 0.75),
    (9, 13, 0.84),
]


@pytest.mark.parametrize(("num_bands", "num_rows", "threshold"), PUBLISHED_THRESHOLDS)
def test_thresholds_are_the_published_ones(num_bands: int, num_rows: int, threshold: float) -> None:
    assert round(Bands(num_bands, num_rows).threshold, 2) == threshold


@given(st.integers(1, 60), st.integers(1, 30), st.floats(0, 1))
def test_probability_is_its_definition(num_bands: int, num_rows: int, similarity: float) -> None:
    expected = 1 - (1 - similarity**num_rows) ** num_bands
    assert Bands(num_bands, num_rows).probability(similarity) == pytest.approx(expected, abs=1e-12)


def test_small_probabilities_keep_their_digits() -> None:
    assert Bands(10, 20).probability(0.01) == pytest.approx(1e-39)


def test_areas_are_the_integrals() -> None:
    # One band of one row: P = J. Two rows: J^2.
    assert Bands(1, 1).false_positive_area(0.6) == pytest.approx(0.18)
    assert Bands(1, 1).false_negative_area(0.6) == pytest.approx(0.08)
    assert Bands(1, 2).false_positive_area(0.5) == pytest.approx(0.125 / 3, rel=1e-6)
    assert Bands(1, 2).false_negative_area(0.5) == pytest.approx(0.5 - 0.875 / 3, rel=1e-6)


def test_expected_errors_count_over_the_given_pairs() -> None:
    positives, negatives = Bands(1, 1).expected_errors(np.array([0.1, 0.5, 0.8, 0.9]), 0.8)
    assert (positives, negatives) == (pytest.approx(0.6), pytest.approx(0.3))
    assert Bands(1, 1).expected_errors(np.array([]), 0.8) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("threshold", "num_hashes", "bands"),
    [(0.7, 128, (14, 9)), (0.8, 128, (9, 13)), (0.9, 128, (5, 25)), (0.7, 256, (25, 10))],
)
def test_solved_bands_are_those_that_others_publish(
    threshold: float, num_hashes: int, bands: tuple[int, int]
) -> None:
    assert solve(threshold, num_hashes) == Bands(*bands)


@given(st.floats(0.05, 0.95), st.integers(1, 20), st.floats(0, 3), st.floats(0.1, 3))
def test_no_bands_have_less_weighted_area(
    threshold: float, num_hashes: int, positive: float, negative: float
) -> None:
    def cost(bands: Bands) -> float:
        areas = bands.false_positive_area(threshold), bands.false_negative_area(threshold)
        return positive * areas[0] + negative * areas[1]

    best = solve(threshold, num_hashes, false_positive_weight=positive, false_negative_weight=negative)
    assert best.num_hashes <= num_hashes
    every = [Bands(b, r) for b in range(1, num_hashes + 1) for r in range(1, num_hashes // b + 1)]
    assert cost(best) == min(cost(bands) for bands in every)


def test_a_wanted_recall_is_had_at_the_threshold_with_the_fewest_false_positives() -> None:
    assert solve(0.8, 128, recall=0.95) == Bands(13, 7)
    for recall in (0.5, 0.9, 0.99):
        best = solve(0.8, 112, recall=recall)
        assert best.probability(0.8) >= recall
        every = [Bands(b, r) for b in range(1, 113) for r in range(1, 112 // b + 1)]
        enough = [bands for bands in every if bands.probability(0.8) >= recall]
        assert best.false_positive_area(0.8) == min(bands.false_positive_area(0.8) for bands in enough)


@pytest.mark.parametrize(
    ("name", "threshold", "bands"),
    [
        ("fineweb", None, (14, 8)),
        ("datatrove", None, (14, 8)),
        ("dolma3", None, (26, 11)),
        ("redpajama", 0.8, (9, 13)),
        ("datajuicer", None, (25, 10)),
    ],
)
def test_presets_have_their_bands(name: str, threshold: float | None, bands: tuple[int, int]) -> None:
    assert preset_bands(name, threshold) == Bands(*bands)


def test_a_solved_preset_takes_another_threshold() -> None:
    assert preset_bands("datajuicer", 0.9) == solve(0.9, 256)
    for threshold, bands in scurve.PUBLISHED["redpajama"].items():
        assert threshold is not None and solve(threshold, 128) == bands


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Bands(0, 1), "bands and rows are at least 1: 0 and 1"),
        (lambda: solve(1.0, 128), "a threshold lies between 0 and 1: 1.0"),
        (lambda: solve(0.5, 0), "from 1 to 1024 slots: 0"),
        (lambda: solve(0.5, 2000), "from 1 to 1024 slots: 2000"),
        (lambda: solve(0.5, 128, recall=1.0), "a recall lies between 0 and 1: 1.0"),
        (lambda: solve(0.1, 4, recall=0.9), "no bands of 4 slots have that recall at 0.1: 0.9"),
        (lambda: solve(0.5, 128, false_positive_weight=-1.0), "at least 0: -1.0 and 0.5"),
        (lambda: preset_bands("other"), "presets of bands are .* not: other"),
        (lambda: preset_bands("redpajama"), "published for the threshold 0.7, 0.8, 0.9, not for: None"),
        (lambda: preset_bands("fineweb", 0.8), "published for the threshold none, not for: 0.8"),
    ],
)
def test_what_makes_no_sense_is_refused(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()  # type: ignore[operator]


def test_candidates_among_simulated_signatures_follow_the_curve() -> None:
    rng, bands = np.random.default_rng(1), Bands(14, 8)
    for similarity in (0.6, 0.72, 0.85):
        equal = rng.random((4000, bands.num_bands, bands.num_rows)) < similarity
        share = equal.all(axis=2).any(axis=1).mean()
        assert share == pytest.approx(float(bands.probability(similarity)), abs=0.03)
