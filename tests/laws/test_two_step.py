"""Two steps from compute to accuracy: planted curves come back, intervals hold, bad proxies are refused."""

import json
import math

import numpy as np
import polars as pl
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.power import PowerLaw
from curate.laws.registry import LAWS, law_from_json
from curate.laws.two_step import TwoStep, predict_intervals

TRUE = TwoStep(
    loss=PowerLaw(floors=(0.6,), scales=(1e18,), exponents=(0.2,)),
    low=0.25,
    high=0.9,
    slope=5.0,
    midpoint=1.15,
)
COMPUTE = np.geomspace(1e17, 1e22, 20)


def runs(seed: int, loss_noise: float = 0.005, noise: float = 0.008) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    loss = TRUE.loss.predict(COMPUTE) * np.exp(draw.normal(0, loss_noise, len(COMPUTE)))
    return loss, TRUE.accuracy(loss) + draw.normal(0, noise, len(COMPUTE))


def test_the_steps_are_their_formulas() -> None:
    loss = 0.6 + (1e18 / 1e20) ** 0.2
    wanted = 0.25 + 0.65 / (1 + math.exp(5.0 * (loss - 1.15)))
    assert TRUE.predict(1e20) == pytest.approx(wanted)
    assert TRUE.accuracy(loss) == pytest.approx(wanted)
    assert TRUE.accuracy(1.15) == pytest.approx((0.25 + 0.9) / 2)


def test_planted_steps_come_back_without_noise() -> None:
    loss, accuracy = runs(0, 0.0, 0.0)
    found = TwoStep.fit(COMPUTE, loss, accuracy).law
    for name in ("low", "high", "slope", "midpoint"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=1e-4)
    assert (*found.loss.floors, *found.loss.scales, *found.loss.exponents) == pytest.approx(
        (0.6, 1e18, 0.2), rel=1e-3
    )


def test_chance_and_ceiling_are_held() -> None:
    fitted = TwoStep.fit(COMPUTE, *runs(1), chance=0.25, ceiling=0.9)
    assert (fitted.law.low, fitted.law.high) == (0.25, 0.9)
    assert fitted.law.slope == pytest.approx(5.0, rel=0.1)
    assert set(fitted.fits) == {"loss", "accuracy"}


def test_checkpoints_on_the_way_are_in_the_second_step_only() -> None:
    loss, accuracy = runs(2)
    final = np.arange(20) % 2 == 0
    off = np.where(final, COMPUTE, 1e19)
    fitted = TwoStep.fit(off, loss, accuracy, final=final)
    assert fitted.fits["loss"].num_points == 10 and fitted.fits["accuracy"].num_points == 20
    assert fitted.law.loss == TwoStep.fit(COMPUTE[final], loss[final], accuracy[final]).law.loss


def test_tables_and_json_come_and_go() -> None:
    loss, accuracy = runs(3)
    frame = pl.DataFrame({"compute": COMPUTE, "loss": loss, "accuracy": accuracy, "final": [True] * 20})
    found = LAWS["two_step"].fit_table(frame, chance=0.25).law
    assert found == TwoStep.fit(COMPUTE, loss, accuracy, chance=0.25).law
    assert found.predict_table(frame.select("compute")) == pytest.approx(TRUE.predict(COMPUTE), abs=0.02)
    assert law_from_json(json.loads(json.dumps(found.to_json()))) == found


def test_intervals_hold_the_curve_beyond_the_runs_and_widen_there() -> None:
    fitted = TwoStep.fit(COMPUTE, *runs(4), chance=0.25, bootstrap=40)
    far = np.array([1e20, 1e24])
    low, high = predict_intervals(fitted, far, level=0.98)
    assert (low < TRUE.predict(far)).all() and (TRUE.predict(far) < high).all()
    assert high[1] - low[1] > high[0] - low[0]
    again = predict_intervals(TwoStep.fit(COMPUTE, *runs(4), chance=0.25, bootstrap=40), far, level=0.98)
    assert (again[0] == low).all() and (again[1] == high).all()
    narrow = predict_intervals(fitted, far, level=0.5)
    assert (narrow[0] >= low).all() and (narrow[1] <= high).all()


@pytest.mark.slow
def test_most_intervals_hold_the_curve() -> None:
    """Of 12 intervals at 90 % fewer than 8 hold the truth once in 200 such tests."""
    inside, far = np.zeros(2), np.array([1e19, 1e23])
    for seed in range(12):
        fitted = TwoStep.fit(COMPUTE, *runs(100 + seed), chance=0.25, ceiling=0.9, bootstrap=30)
        low, high = predict_intervals(fitted, far)
        inside += (low <= TRUE.predict(far)) & (TRUE.predict(far) <= high)
    assert (inside >= 8).all()


def test_a_loss_that_misleads_is_refused_unless_told_otherwise() -> None:
    loss, _ = runs(5, 0.0)
    turning = 0.6 - 0.02 * (np.log10(COMPUTE) - 20) ** 2
    with pytest.raises(DataError, match="do not trust the loss as a proxy"):
        TwoStep.fit(COMPUTE, loss, turning)
    assert TwoStep.fit(COMPUTE, loss, turning, trust_loss=True).law.high >= 0.5


LOSSES, ACCURACIES = runs(6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: TwoStep.fit(COMPUTE, LOSSES, 100 * ACCURACIES), DataError, "accuracy of row 0 lies between"),
        (lambda: TwoStep.fit(COMPUTE, -LOSSES, ACCURACIES), DataError, "loss of row 0 is not above 0"),
        (lambda: TwoStep.fit([1e18], [2.0], [0.5]), DataError, "all 1 points have the same accuracy: 0.5"),
        (lambda: TwoStep.fit(COMPUTE, LOSSES, np.full(20, 0.5)), DataError, "same accuracy: 0.5"),
        (lambda: TwoStep.fit(COMPUTE, LOSSES, ACCURACIES, chance=0.7), ConfigError, "chance .*: 0.7"),
        (lambda: TwoStep.fit(COMPUTE, LOSSES, ACCURACIES, ceiling=0.3), ConfigError, "ceiling .*: 0.3"),
        (lambda: TwoStep.fit(COMPUTE, LOSSES, ACCURACIES, final=[1] * 20), DataError, "final is true or"),
        (
            lambda: TwoStep.fit(COMPUTE, LOSSES, ACCURACIES, final=[False] * 20),
            DataError,
            "no point is the end of a run",
        ),
        (lambda: TRUE.predict(-1.0), DataError, "compute .* -1.0"),
        (lambda: TRUE.accuracy(math.nan), DataError, "loss .* nan"),
        (lambda: TwoStep(loss=TRUE.loss, low=0.5, high=0.4, slope=1, midpoint=1), ConfigError, "0.5, 0.4"),
        (
            lambda: TwoStep(loss=TRUE.loss, low=0.2, high=0.4, slope=-1, midpoint=1),
            ConfigError,
            "slope .*: -1",
        ),
        (
            lambda: predict_intervals(TwoStep.fit(COMPUTE, LOSSES, ACCURACIES, chance=0.25), 1e20),
            ConfigError,
            "need a bootstrap",
        ),
        (
            lambda: predict_intervals(TwoStep.fit(COMPUTE, LOSSES, ACCURACIES), 1e20, level=2),
            ConfigError,
            "between 0 and 1: 2",
        ),
    ],
)
def test_nonsense_is_named(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
