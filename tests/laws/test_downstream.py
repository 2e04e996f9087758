"""Downstream laws: planted parameters come back, and a loss that misleads is no proxy."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError, DataError
from curate.laws.downstream import (
    DownstreamLoss,
    DownstreamMetric,
    alignment,
    translation_alignment,
)
from curate.laws.registry import LAWS, law_from_json

TOKENS = np.geomspace(1e8, 1e12, 24)
METRIC = DownstreamMetric(log_factor=4.0, alpha=0.35, beta=2.0, unit=1e10)
LOSS = DownstreamLoss(floors=(1.2,), scales=(5e9,), exponents=(0.25,))


def test_the_metric_is_the_formula_of_the_paper() -> None:
    law = DownstreamMetric(log_factor=math.log(3.0), alpha=0.4, beta=1.5)
    assert law.predict([1e6, 1e9]) == pytest.approx(
        [math.log(3.0 * 1e6**0.4) ** 1.5, math.log(3.0 * 1e9**0.4) ** 1.5]
    )
    same = DownstreamMetric(log_factor=math.log(3.0 * 1e8**0.4), alpha=0.4, beta=1.5, unit=1e8)
    assert same.predict([1e6, 1e9]) == pytest.approx(law.predict([1e6, 1e9]))
    assert same.least_tokens == pytest.approx(3.0 ** (-1 / 0.4))


@pytest.mark.parametrize("truth", [METRIC, DownstreamMetric(log_factor=6.0, alpha=0.2, beta=0.7, unit=1e10)])
def test_planted_metrics_come_back_without_noise(truth: DownstreamMetric) -> None:
    found = DownstreamMetric.fit(TOKENS, truth.predict(TOKENS)).law
    assert found.unit == 1e10
    for name in ("log_factor", "alpha", "beta"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), rel=1e-4)


def test_planted_losses_come_back_without_noise() -> None:
    found = DownstreamLoss.fit(TOKENS, LOSS.predict(TOKENS)).law
    assert (*found.floors, *found.scales, *found.exponents) == pytest.approx((1.2, 5e9, 0.25), rel=1e-4)


def test_noisy_curves_predict_four_times_the_tokens() -> None:
    draw, far = np.random.default_rng(2), 4 * TOKENS[-1:]
    metric = METRIC.predict(TOKENS) * np.exp(draw.normal(0, 0.01, 24))
    loss = LOSS.predict(TOKENS) * np.exp(draw.normal(0, 0.003, 24))
    fitted = DownstreamMetric.fit(TOKENS, metric, loss=loss, bootstrap=60)
    assert fitted.law.predict(far) == pytest.approx(METRIC.predict(far), rel=0.03)
    assert fitted.notes == ()
    for name, (low, high) in fitted.fit.intervals(0.98).items():
        assert low < getattr(METRIC, name) < high
    assert DownstreamLoss.fit(TOKENS, loss).law.predict(far) == pytest.approx(LOSS.predict(far), rel=0.01)


def test_a_short_curve_says_that_its_parameters_are_not_identified() -> None:
    draw = np.random.default_rng(0)
    tokens = np.geomspace(1e10, 2e10, 8)
    metric = METRIC.predict(tokens) * np.exp(draw.normal(0, 0.02, 8))
    fitted = DownstreamMetric.fit(tokens, metric)
    assert "not identified" in fitted.as_text()
    assert not fitted.fit.identified["beta"]


def test_tables_and_json_come_and_go() -> None:
    frame = pl.DataFrame({"tokens": TOKENS, "metric": METRIC.predict(TOKENS), "loss": LOSS.predict(TOKENS)})
    for law in ("downstream_metric", "downstream_loss"):
        found = LAWS[law].fit_table(frame, delta=0.05).law
        observed = frame["metric" if law == "downstream_metric" else "loss"].to_numpy()
        assert found.predict_table(frame.select("tokens")) == pytest.approx(observed, rel=1e-6)
        assert law_from_json(json.loads(json.dumps(found.to_json()))) == found


def turning(tokens: np.ndarray) -> np.ndarray:
    logs = np.log10(tokens)
    return 30 - 2.0 * (logs - 10.5) ** 2


def test_a_metric_that_turns_while_the_loss_falls_is_misaligned() -> None:
    found = alignment(TOKENS, turning(TOKENS), LOSS.predict(TOKENS))
    assert found.verdict == "misaligned" and not found.is_monotone
    assert found.from_tokens == pytest.approx(10**10.5, rel=0.3) and found.to_tokens == TOKENS[-1]
    assert found.metric_fall == pytest.approx(2.0 * 1.5**2, rel=0.01)
    assert found.loss_change < 0
    with pytest.raises(DataError, match="do not trust the loss as a proxy") as caught:
        found.check_proxy()
    assert caught.value.hint == "fit the metric itself"
    notes = DownstreamMetric.fit(TOKENS, turning(TOKENS), loss=LOSS.predict(TOKENS)).notes
    assert notes == (found.as_text(),)
    assert "it does not describe this curve" in DownstreamMetric.fit(TOKENS, turning(TOKENS)).notes[0]


def test_aligned_curves_pass_and_a_rising_loss_does_not() -> None:
    found = alignment(TOKENS, METRIC.predict(TOKENS), LOSS.predict(TOKENS))
    assert (found.verdict, found.metric_fall, found.as_text()) == (
        "aligned",
        0.0,
        "the metric rises with tokens",
    )
    found.check_proxy()
    rising = alignment(TOKENS, METRIC.predict(TOKENS), 1 / LOSS.predict(TOKENS))
    assert rising.verdict == "loss_rises"
    with pytest.raises(DataError, match="no proxy for anything"):
        rising.check_proxy()
    turning_both = alignment(TOKENS, turning(TOKENS), 3 - turning(TOKENS) / 30 - 0.001 * np.arange(24))
    assert turning_both.verdict == "loss_rises"
    with pytest.raises(DataError, match="without losses"):
        alignment(TOKENS, METRIC.predict(TOKENS)).check_proxy()


@given(seed=st.integers(0, 10_000))
def test_a_known_size_of_noise_is_not_taken_for_a_turn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    metric = METRIC.predict(TOKENS) + draw.uniform(-0.05, 0.05, 24)
    assert alignment(TOKENS, metric, LOSS.predict(TOKENS), tolerance=0.1).verdict == "aligned"


def test_noise_is_measured_along_the_curve_and_between_runs_of_equal_tokens() -> None:
    draw = np.random.default_rng(1)
    flat, wrong = np.full(24, 20.0), {"curve": 0, "repeats": 0}
    for _ in range(100):
        metric = flat + draw.normal(0, 0.3, 24)
        wrong["curve"] += alignment(TOKENS, metric, LOSS.predict(TOKENS)).verdict != "aligned"
        sizes = np.repeat(TOKENS[::2], 4)
        metric = 20.0 + draw.normal(0, 0.3, len(sizes))
        wrong["repeats"] += alignment(sizes, metric, LOSS.predict(sizes)).verdict != "aligned"
    # Flat curves are the worst case: 17 % and 5 % of 400.
    assert wrong["curve"] <= 30 and wrong["repeats"] <= 12
    noisy = turning(TOKENS) + draw.normal(0, 0.3, 24)
    assert alignment(TOKENS, noisy, LOSS.predict(TOKENS)).verdict == "misaligned"


def test_the_alignment_score_of_languages() -> None:
    assert translation_alignment(0.5, 0.5) == 1.0
    assert translation_alignment(1.0, 0.0) == 0.7
    assert translation_alignment(0.0, 0.25) == 0.2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: METRIC.predict([1.0]), DataError, r"above 1.\d+e\+05 tokens only: 1"),
        (lambda: METRIC.predict([-5.0]), DataError, "tokens is a finite number above 0: -5.0"),
        (lambda: DownstreamMetric(log_factor=1, alpha=-1, beta=1), ConfigError, "alpha .*: -1"),
        (lambda: DownstreamMetric(log_factor=math.nan, alpha=1, beta=1), ConfigError, "log_factor .*: nan"),
        (lambda: DownstreamMetric(log_factor=1, alpha=1, beta=1, unit=0), ConfigError, "unit .*: 0"),
        (lambda: DownstreamMetric.fit([1e9], [20.0]), DataError, "4 numbers of tokens: 1"),
        (lambda: DownstreamMetric.fit(TOKENS, -TOKENS), DataError, "metric of row 0 is not above 0"),
        (lambda: DownstreamMetric.fit([1e8, math.nan], [1, 2]), DataError, "tokens of row 1 .*: nan"),
        (lambda: DownstreamMetric.fit([], []), DataError, "there is no row"),
        (lambda: DownstreamLoss.fit([1e8, 1e9], [3, 2]), DataError, "need more than 3 runs: 2"),
        (lambda: DownstreamLoss.fit(TOKENS, -TOKENS), DataError, "loss of row 0 is not above 0"),
        (lambda: alignment([1, 2], [1, 2]), DataError, "at least 3 sizes: 2"),
        (lambda: alignment([1, 2, 3], [1, 2, 3], tolerance=-1), ConfigError, "not below 0: -1"),
        (lambda: translation_alignment(0.7, 0.7), ConfigError, "0.7, 0.7"),
        (
            lambda: DownstreamLoss.fit_table(pl.DataFrame({"tokens": [1.0]})),
            DataError,
            "no column loss",
        ),
        (
            lambda: DownstreamMetric.fit_table(pl.DataFrame({"tokens": [1.0], "metric": [1.0]}), colour=1),
            ConfigError,
            "no setting colour",
        ),
    ],
)
def test_nonsense_is_named(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
