"""Batch-aware law: the implicit solution, its hyperbola, the fit in stages, nonsense."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from curate.errors import ConfigError, DataError
from curate.laws.batch import BatchLaw
from curate.laws.batch_fit import contour_points, critical_batches, fit_stages
from curate.laws.registry import law_from_json

LAW = BatchLaw(ln_n_c=32.0, alpha_n=0.08, ln_s_c=8.0, alpha_s=0.7, ln_b_star=18.0, alpha_b=0.25)
"""Made-up constants."""
BATCHES = (3e4, 2e5, 1e6, 8e6)
NAMES = ("ln_n_c", "alpha_n", "ln_s_c", "alpha_s", "ln_b_star", "alpha_b")


def laws() -> st.SearchStrategy[BatchLaw]:
    return st.builds(
        lambda a, b, c, d, e, f: BatchLaw(ln_n_c=a, alpha_n=b, ln_s_c=c, alpha_s=d, ln_b_star=e, alpha_b=f),
        st.floats(10, 40),
        st.floats(0.02, 0.5),
        st.floats(2, 15),
        st.floats(0.1, 2),
        st.floats(5, 25),
        st.floats(0.05, 3),
    )


points = st.tuples(st.floats(13, 25), st.floats(3, 15), st.floats(5, 20))


def slow_loss(law: BatchLaw, params: float, steps: float, batch: float) -> float:
    """The equation as it is written, solved by bisection of one point."""

    def gap(log_loss: float) -> float:
        critical = law.ln_b_star - log_loss / law.alpha_b
        least = steps / (1 + np.exp(critical) / batch)
        first = (np.exp(law.ln_n_c) / params) ** law.alpha_n
        return log_loss - np.log(first + (np.exp(law.ln_s_c) / least) ** law.alpha_s)

    low = law.alpha_n * (law.ln_n_c - np.log(params))
    return float(np.exp(optimize.brentq(gap, low - 1e-9, low + 200, xtol=1e-13)))


@settings(max_examples=150, deadline=None)
@given(laws(), points)
def test_the_loss_solves_the_equation(law: BatchLaw, point: tuple[float, float, float]) -> None:
    params, steps, batch = np.exp(point)
    found = float(law.predict(params, steps, batch))
    assert found == pytest.approx(slow_loss(law, params, steps, batch), rel=1e-9)


@settings(max_examples=150, deadline=None)
@given(laws(), points)
def test_steps_of_a_loss_are_those_it_was_predicted_for(
    law: BatchLaw, point: tuple[float, float, float]
) -> None:
    params, steps, batch = np.exp(point)
    loss = law.predict(params, steps, batch)
    if float(loss / law.final_loss(params)) > 1 + 1e-6:
        np.testing.assert_allclose(law.steps(params, loss, batch), steps, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(laws(), st.floats(13, 25), st.floats(0.05, 3), st.floats(5, 20))
def test_steps_and_examples_lie_on_the_hyperbola(
    law: BatchLaw, log_params: float, above: float, log_batch: float
) -> None:
    params, batch = np.exp(log_params), np.exp(log_batch)
    loss = law.final_loss(params) * (1 + above)
    steps, least = law.steps(params, loss, batch), law.min_steps(params, loss)
    examples, fewest = steps * batch, law.min_examples(params, loss)
    ratio = float(law.critical_batch(loss) / batch)
    if 1e-6 < ratio < 1e6:
        assert float((steps / least - 1) * (examples / fewest - 1)) == pytest.approx(1, rel=1e-6)
    assert float(law.critical_batch(loss)) == pytest.approx(float(fewest / least))
    at_critical = law.steps(params, loss, law.critical_batch(loss))
    assert float(at_critical) == pytest.approx(2 * float(least))


def test_more_of_anything_never_hurts() -> None:
    steps = np.geomspace(10, 1e7, 400)
    assert (np.diff(LAW.predict(1e8, steps, 1e5)) < 0).all()
    assert (np.diff(LAW.predict(1e8, 1e4, steps)) < 0).all()
    assert (np.diff(LAW.predict(steps * 1e3, 1e4, 1e5)) < 0).all()


def test_an_endless_batch_is_the_law_of_least_steps() -> None:
    expected = LAW.final_loss(1e8) + (np.exp(LAW.ln_s_c) / 5000) ** LAW.alpha_s
    assert float(LAW.predict(1e8, 5000, 1e30)) == pytest.approx(float(expected), rel=1e-9)


def runs(*, noise: float = 0.0) -> pl.DataFrame:
    rows = [(n, s, b) for n in (1e6, 6e6, 2e7, 6e7) for s in (300.0, 1e3, 5e3, 3e4) for b in BATCHES]
    frame = pl.DataFrame(rows, schema=["params", "steps", "batch"], orient="row")
    draw = np.random.default_rng(0)
    return frame.with_columns(loss=LAW.predict_table(frame) * np.exp(draw.normal(0, noise, frame.height)))


def stages() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    sizes = np.array([1e6, 4e6, 2e7, 6e7])
    converged = pl.DataFrame({"params": sizes, "loss": LAW.final_loss(sizes)})
    steps = np.geomspace(300, 1e5, 12)
    large = pl.DataFrame({"params": 6e7, "steps": steps, "loss": LAW.predict(6e7, steps, 1e14)})
    dense = np.geomspace(10, 1e7, 6000)
    curves = pl.concat(
        pl.DataFrame({"batch": batch, "steps": dense, "loss": LAW.predict(6e7, dense, batch)})
        for batch in BATCHES
    )
    return converged, large, contour_points(curves, [3.6, 3.9, 4.3, 5.0])


def test_planted_constants_come_back_at_once() -> None:
    found = BatchLaw.fit_table(runs()).law
    for name in NAMES:
        assert getattr(found, name) == pytest.approx(getattr(LAW, name), rel=1e-5), name


def test_planted_constants_come_back_in_stages() -> None:
    found = fit_stages(*stages())
    assert list(found.fits) == ["size", "steps", "batch"]
    for name in NAMES:
        assert getattr(found.law, name) == pytest.approx(getattr(LAW, name), rel=1e-4), name
    assert found.as_text().startswith("size: objective")


def test_contours_are_where_the_law_says() -> None:
    _, _, contours = stages()
    assert contours.height == 16
    exact = LAW.steps(6e7, contours["loss"].to_numpy(), contours["batch"].to_numpy())
    np.testing.assert_allclose(contours["steps"], exact, rtol=1e-4)
    losses, critical = critical_batches(contours)
    np.testing.assert_allclose(critical, LAW.critical_batch(losses), rtol=1e-3)


@pytest.mark.slow
def test_planted_constants_lie_near_the_fit_of_noisy_runs() -> None:
    found = BatchLaw.fit_table(runs(noise=0.002))
    for name in NAMES:
        assert getattr(found.law, name) == pytest.approx(getattr(LAW, name), rel=0.05), name
    assert all(found.fit.identified.values())


def test_the_json_form_comes_back_and_is_registered() -> None:
    assert law_from_json(LAW.to_json()) == LAW


def test_nonsense_is_refused_by_name() -> None:
    values = {name: getattr(LAW, name) for name in NAMES}
    with pytest.raises(ConfigError, match=r"batch\.alpha_b is above 0: 0"):
        BatchLaw(**{**values, "alpha_b": 0.0})
    with pytest.raises(ConfigError, match=r"batch\.ln_s_c is a finite number: nan"):
        BatchLaw(**{**values, "ln_s_c": float("nan")})
    with pytest.raises(DataError, match="batch is a finite number above 0: 0"):
        LAW.predict(1e8, 1e3, 0)
    with pytest.raises(DataError, match=r"a model's loss stays above 3\.\d+: 1 is not reached"):
        LAW.steps(6e7, 1.0, 1e6)
    with pytest.raises(DataError, match="need more than 6 runs: 1"):
        BatchLaw.fit_table(runs().head(1))
    with pytest.raises(DataError, match=r"loss of row 0 is not above 0: -3\.0"):
        BatchLaw.fit_table(runs().with_columns(loss=pl.lit(-3.0)))
    with pytest.raises(DataError, match="a loss has two batches or more: 4 has 1"):
        critical_batches(pl.DataFrame({"loss": [4.0], "batch": [1e5], "steps": [100.0]}))
    with pytest.raises(DataError, match="steps at the loss 4 do not lie on a hyperbola"):
        critical_batches(pl.DataFrame({"loss": [4.0, 4.0], "batch": [1e5, 1e6], "steps": [100.0, 200.0]}))
