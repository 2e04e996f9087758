"""Perplexity correlations: published rankings, estimators pair by pair, their expectations, projections."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from curate.errors import ConfigError, DataError
from curate.laws import correlation

GOLDEN = Path(__file__).parents[1] / "golden" / "perplexity_correlations"

LOSSES = [[1.0, 2.0, 1.5], [0.9, 1.8, 1.6], [0.8, 2.1, 1.4], [0.7, 1.7, 1.3], [0.75, 1.9, 1.2]]
ERRORS = [0.7, 0.6, 0.5, 0.3, 0.35]


@pytest.mark.parametrize("ties", correlation.RANK_TIES)
def test_spearman_gives_the_known_estimate(ties: correlation.RankTies) -> None:
    assert correlation.estimate(LOSSES, ERRORS, ties=ties) == pytest.approx([1.0, 0.5, 0.8], abs=1e-12)


@pytest.mark.parametrize(("benchmark", "least"), [("sciq", 8), ("arc_easy", 9)])
def test_the_ten_best_texts_are_the_published_ones(benchmark: str, least: int) -> None:
    losses, errors = pl.read_csv(GOLDEN / "bits_per_byte.csv"), pl.read_csv(GOLDEN / "errors.csv")
    row = errors.filter(pl.col("benchmark") == benchmark).drop("benchmark").row(0, named=True)
    table, column, models = correlation.matched(losses.drop("domain").to_dict(as_series=False), row)
    assert table.shape == (90, 263) and len(models) == 90
    best = np.argsort(-correlation.estimate(table, column), kind="stable")[:10]
    wanted = json.loads((GOLDEN / "top_ten.json").read_text("utf-8"))[benchmark]
    assert len(set(best.tolist()) & set(wanted)) >= least


def by_pairs(losses: np.ndarray, errors: np.ndarray, method: str) -> np.ndarray:
    size, found = len(errors), np.zeros(losses.shape[1])
    ranks = np.array([[(column <= value).mean() for value in column] for column in losses.T]).T
    for k, g in itertools.combinations(range(size), 2):
        sign = np.sign(errors[g] - errors[k])
        part = {
            "sign": losses[g] - losses[k],
            "sign_cdf": ranks[g] - ranks[k],
            "sign_sign": np.sign(losses[g] - losses[k]),
        }[method]
        found += sign * part
    return 2 * found / (size * (size - 1))


@pytest.mark.parametrize("method", ["sign", "sign_cdf", "sign_sign"])
@given(seed=st.integers(0, 1000), size=st.integers(3, 9), domains=st.integers(1, 5))
def test_estimators_are_means_over_pairs_of_models(method, seed: int, size: int, domains: int) -> None:
    draw = np.random.default_rng(seed)
    losses, errors = draw.uniform(0.5, 2, (size, domains)), draw.permutation(size) / size
    found = correlation.estimate(losses, errors, method)
    assert found == pytest.approx(by_pairs(losses, errors, method), abs=1e-12)


def test_product_is_the_mean_of_loss_times_error() -> None:
    found = correlation.estimate(LOSSES, ERRORS, "product")
    assert found[0] == pytest.approx(np.mean([a[0] * b for a, b in zip(LOSSES, ERRORS, strict=True)]))


def test_blocks_of_domains_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    losses, errors = draw.uniform(0, 1, (12, 20)), draw.uniform(0, 1, 12)
    whole = correlation.estimate(losses, errors, "sign_sign")
    monkeypatch.setattr(correlation, "BLOCK", 7)
    assert (correlation.estimate(losses, errors, "sign_sign") == whole).all()


@pytest.mark.parametrize("method", ["sign_cdf", "sign_sign", "spearman"])
def test_expectations_under_the_single_index_model(method: correlation.Method) -> None:
    """3,000 models: y rises with <w, x> + noise; the standard error of an estimate is about .02."""
    draw, noise = np.random.default_rng(1), 0.5
    weights = np.array([0.8, 0.5, -0.3, 0.1])
    weights /= np.linalg.norm(weights)
    hidden = draw.normal(size=(3000, 4))
    index = hidden @ weights + noise * draw.normal(size=3000)
    errors = 1 / (1 + np.exp(-index))
    found = correlation.estimate(hidden - hidden.min(), errors, method)
    size = math.sqrt(1 + noise**2)
    wanted = {
        "sign_cdf": 2 / math.pi * np.arcsin(weights / (2 * size)),
        "sign_sign": 2 / math.pi * np.arcsin(weights / size),
        "spearman": 6 / math.pi * np.arcsin(weights / (2 * size)),
    }[method]
    assert found == pytest.approx(wanted, abs=0.05)
    assert correlation.single_index_weights(found, method) == pytest.approx(weights / size, abs=0.06)
    assert correlation.single_index_weights(wanted, method) == pytest.approx(weights / size, abs=1e-12)


def test_ties_share_their_rank_or_are_numbered_as_published() -> None:
    losses, errors = [[1.0], [1.0], [2.0], [3.0]], [0.1, 0.2, 0.3, 0.4]
    assert correlation.estimate(losses, errors, ties="published") == pytest.approx([1.0])
    assert correlation.estimate(losses, errors) == pytest.approx([4.5 / math.sqrt(4.5 * 5)])
    assert correlation.estimate([[1.0, 1], [1, 2], [1, 3]], [0.1, 0.2, 0.3]).tolist() == [0.0, 1.0]


def test_the_linear_projection_gives_the_known_weights() -> None:
    weights = correlation.project_linear([0.1, 0.9, 0.4, -0.2], [0.5, 0.3, 0.4, 0.6])
    assert weights == pytest.approx([0.3, 0.3, 0.4, 0.0], abs=1e-15)


projections = st.integers(1, 8).flatmap(
    lambda size: st.tuples(
        st.lists(st.floats(-2, 2), min_size=size, max_size=size),
        st.lists(st.floats(0.01, 1), min_size=size, max_size=size),
    )
)


@given(projections)
def test_the_linear_projection_is_the_linear_program(case: tuple[list[float], list[float]]) -> None:
    estimates, caps = np.array(case[0]), np.array(case[1])
    caps = caps * max(1.0, 1.001 / caps.sum())
    weights = correlation.project_linear(estimates, caps)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all() and (weights <= caps + 1e-12).all()
    best = optimize.linprog(
        -estimates, A_eq=np.ones((1, len(caps))), b_eq=[1], bounds=list(zip(caps * 0, caps, strict=True))
    )
    assert weights @ estimates == pytest.approx(-best.fun, abs=1e-6)


@given(projections)
def test_the_l2_projection_meets_its_optimality_conditions(case: tuple[list[float], list[float]]) -> None:
    estimates, caps = np.array(case[0]), np.array(case[1])
    caps = caps * max(1.0, 1.001 / caps.sum())
    weights = correlation.project_l2(estimates, caps)
    assert weights.sum() == pytest.approx(1, abs=1e-9)
    shift = weights - estimates
    free = (weights > 1e-9) & (weights < caps - 1e-9)
    if free.any():
        level = shift[free].mean()
        assert shift[free] == pytest.approx(level, abs=1e-7)
        assert (shift[weights <= 1e-9] >= level - 1e-7).all()
        assert (shift[weights >= caps - 1e-9] <= level + 1e-7).all()


def test_caps_come_from_shares_of_tokens() -> None:
    assert correlation.caps_of_shares([0.02, 0.9, 0.08], 0.1) == pytest.approx([0.2, 9.0, 0.8])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: correlation.estimate(LOSSES, ERRORS[:4]), DataError, r"\(5, 3\) and \(4,\)"),
        (lambda: correlation.estimate(LOSSES[:2], ERRORS[:2]), DataError, "at least 3: 2"),
        (lambda: correlation.estimate(np.negative(LOSSES), ERRORS), DataError, "model 0 on domain 0 .* -1.0"),
        (lambda: correlation.estimate(LOSSES, [50, 60, 70, 80, 90]), DataError, "error of model 0 .* 50.0"),
        (lambda: correlation.estimate(LOSSES, [0.1, math.nan, 0.2, 0.3, 0.4]), DataError, "model 1 .* nan"),
        (lambda: correlation.estimate(LOSSES, [0.5] * 5), DataError, "all 5 models have the same error: 0.5"),
        (lambda: correlation.estimate(LOSSES, ERRORS, "best"), ConfigError, "'best'"),  # type: ignore[arg-type]
        (lambda: correlation.single_index_weights([0.1], "product"), ConfigError, "'product'"),
        (lambda: correlation.matched({"a": [1.0]}, {"a": 0.1, "b": 0.2}), DataError, "among the errors: 'b'"),
        (lambda: correlation.matched({"a": [1.0], "b": []}, {"a": 0.1, "b": 0.2}), DataError, "'b' has"),
        (lambda: correlation.project_linear([1, 2], [0.2, 0.3]), DataError, "at least 1: 0.5"),
        (lambda: correlation.project_l2([1, 2], [0.2, -0.3]), DataError, "cap of domain 1 .*: -0.3"),
        (lambda: correlation.project_l2([math.inf, 2], [1, 1]), DataError, "estimate of domain 0 .*: inf"),
        (lambda: correlation.project_l2([1, 2], [1, 1], tolerance=0), ConfigError, "above 0: 0"),
        (lambda: correlation.project_l2([], []), DataError, "one cap for each"),
        (lambda: correlation.caps_of_shares([0.5, 0.4], 0.1), DataError, "sum to 1: 0.9"),
        (lambda: correlation.caps_of_shares([1.0], 0), ConfigError, "filter_ratio .*: 0"),
        (lambda: correlation.caps_of_shares([1.5, -0.5], 0.5), DataError, "not below 0"),
    ],
)
def test_nonsense_is_named(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
