"""Gradients by source agree with finite differences of exact transport; searches find planted mixtures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from curate.errors import ConfigError, DataError
from curate.laws.source_selection import (
    Search,
    best_mixture,
    calibrated_gradient,
    mixture_distances,
    move_mixture,
    project_simplex,
    select_sources,
)
from curate.laws.transport import Slopes, TransportLaw
from curate.laws.transport_terms import simplex_grid
from curate.laws.wasserstein import TransportSettings

EXACT = TransportSettings(method="exact")


def linear_program(points: np.ndarray, weights: np.ndarray, target: np.ndarray) -> float:
    """A slow twin: the cost of exact transport in one dimension by SciPy's general solver."""
    costs = (points[:, 0][:, None] - target[:, 0]) ** 2
    size, goals = costs.shape
    sums = np.zeros((size + goals, size * goals))
    for at in range(size):
        sums[at, at * goals : (at + 1) * goals] = 1
    for at in range(goals):
        sums[size + at, at::goals] = 1
    right = np.concatenate([weights, np.full(goals, 1 / goals)])
    return float(optimize.linprog(costs.ravel(), A_eq=sums, b_eq=right).fun)


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_by_source_is_that_of_exact_transport(seed: int) -> None:
    draw = np.random.default_rng(seed)
    sources = [draw.normal(at, 1, (4 + at, 1)) for at in range(3)]
    target = draw.normal(0.7, 1, (7, 1))
    points = np.concatenate(sources)
    owner = np.repeat([0, 1, 2], [4, 5, 6])
    shares = draw.dirichlet([3, 3, 3])
    moved = move_mixture(sources, shares, target, settings=EXACT)
    weights = shares[owner] / np.bincount(owner)[owner]
    assert moved.cost == pytest.approx(linear_program(points, weights, target))
    found = calibrated_gradient(moved.source_potential, owner, 3)
    for source in range(3):
        # One unit more of a source, evenly over its points; one less of the others, evenly over theirs.
        inside = owner == source
        change = np.where(inside, 1 / inside.sum(), -1 / (~inside).sum()) * 1e-6
        up, down = (linear_program(points, weights + sign * change, target) for sign in (1, -1))
        assert found[source] == pytest.approx((up - down) / 2e-6, abs=1e-3)


def test_the_calibrated_gradient_by_hand_and_without_the_constant() -> None:
    found = calibrated_gradient([1.0, 3.0, 5.0, 9.0], [0, 0, 1, 2], 3)
    assert found == pytest.approx([2 - 7, 5 - 13 / 3, 9 - 3])
    assert calibrated_gradient([1e6 + 1, 1e6 + 3, 1e6 + 5, 1e6 + 9], [0, 0, 1, 2], 3) == pytest.approx(found)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_the_projection_is_on_the_simplex_and_nearest(values: list[float]) -> None:
    found = project_simplex(values)
    assert found.sum() == pytest.approx(1) and found.min() >= 0
    inside = np.flatnonzero(found > 1e-9)
    gaps = np.array(values) - found
    assert gaps[inside] == pytest.approx(gaps[inside[0]], abs=1e-9)
    assert (gaps <= gaps[inside[0]] + 1e-9).all()


def test_the_cost_of_mixtures_is_least_for_the_planted_one() -> None:
    """The target is 30 % of the first source, 70 % of the second."""
    draw = np.random.default_rng(0)
    sources = [draw.normal((3 * at, 0), 0.3, (400, 2)) for at in range(2)]
    target = np.concatenate([draw.normal((0, 0), 0.3, (60, 2)), draw.normal((3, 0), 0.3, (140, 2))])
    grid = simplex_grid(2, 10)
    settings = {"num_points": 100, "repeats": 3, "settings": EXACT}
    found = mixture_distances(sources, grid, target, **settings)  # type: ignore[arg-type]
    assert grid[np.argmin(found), 0] == pytest.approx(0.3, abs=0.11)
    assert (found == mixture_distances(sources, grid, target, **settings)).all()  # type: ignore[arg-type]
    assert (found != mixture_distances(sources, grid, target, **settings, seed=1)).any()  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["exact", "sinkhorn"])
@pytest.mark.parametrize("maximise", [True, False])
def test_a_search_finds_the_mixture_that_the_target_was_made_of(method: str, maximise: bool) -> None:
    draw = np.random.default_rng(3)
    sources = [draw.normal((2.0 * at, 0), 0.2, (12, 2)) for at in range(3)]
    target = np.concatenate(
        [draw.normal((2.0 * at, 0), 0.2, (count, 2)) for at, count in enumerate((12, 5, 3))]
    )
    sign = -1.0 if maximise else 1.0

    def objective(shares: np.ndarray, distance: float) -> Slopes:
        return Slopes(sign * distance, np.zeros(3), sign)

    found = select_sources(
        objective, sources, target,
        search=Search(rate=0.05, decay=0.95, steps=80, maximise=maximise),
        settings=TransportSettings(method=method),  # type: ignore[arg-type]
    )  # fmt: skip
    assert found.shares == pytest.approx([0.6, 0.25, 0.15], abs=0.06)
    assert found.path.shape == (81, 3) and found.values.shape == (81,)
    assert found.path[0] == pytest.approx([1 / 3] * 3)
    assert found.value == (found.values.max() if maximise else found.values.min())


def test_the_search_follows_the_law_and_the_published_rates() -> None:
    law = TransportLaw(sources=("a", "b"), coefficients=(-0.5, 0.1, 0.2, 1.0, 0.3, -0.4))
    draw = np.random.default_rng(1)
    sources, target = [draw.normal(at, 1, (5, 1)) for at in range(2)], draw.normal(0.4, 1, (6, 1))
    found = select_sources(law.slopes, sources, target, search=Search(steps=3), settings=EXACT)
    shares = np.array([0.5, 0.5])
    for step in range(3):
        moved = move_mixture(sources, shares, target, settings=EXACT)
        slopes = law.slopes(shares, moved.cost)
        by_source = calibrated_gradient(moved.source_potential, np.repeat([0, 1], 5), 2)
        slope = slopes.by_share + slopes.by_distance * by_source
        shares = project_simplex(shares + 5e-4 * 0.9**step * slope)
        assert found.path[step + 1] == pytest.approx(shares)


def test_the_best_of_a_grid() -> None:
    grid = simplex_grid(2, 2)
    assert best_mixture([1.0, 3.0, 3.0], grid)[0].tolist() == grid[1].tolist()
    shares, value = best_mixture([1.0, 3.0, 3.0], grid, maximise=False)
    assert (shares.tolist(), value) == (grid[0].tolist(), 1.0)


ONE = np.zeros((2, 1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: project_simplex([]), DataError, r"\[\]"),
        (lambda: project_simplex([math.nan]), DataError, "nan"),
        (lambda: calibrated_gradient([1, 2], [0], 2), DataError, r"\(2,\), \(1,\)"),
        (lambda: calibrated_gradient([1, 2], [0, 0], 2), DataError, "source 1 has no points"),
        (lambda: calibrated_gradient([1, 2], [0, 5], 2), DataError, "from 0 to 1: 0 to 5"),
        (lambda: calibrated_gradient([1, 2], [0.0, 1.0], 2), DataError, "float64"),
        (lambda: move_mixture([ONE], [1.0], ONE), DataError, "two or more sources: 1"),
        (lambda: move_mixture([ONE, np.zeros((2, 2))], [1, 0], ONE), DataError, r"\[1, 2\]"),
        (lambda: move_mixture([ONE, ONE], [0.5, 0.4], ONE), DataError, "sum to 1: 0.9"),
        (
            lambda: mixture_distances([ONE, ONE], [[1.0, 0.0]], ONE, num_points=3),
            DataError,
            "source 0 has fewer points than its share of 3: 2, 3",
        ),
        (lambda: mixture_distances([ONE, ONE], [[1, 0]], ONE, num_points=0), ConfigError, "1 or more: 0, 5"),
        (lambda: best_mixture([1.0], simplex_grid(2, 2)), DataError, r"\(1,\), \(3, 2\)"),
        (lambda: best_mixture([1.0, math.nan, 2], simplex_grid(2, 2)), DataError, "mixture 1 is not finite"),
        (
            lambda: select_sources(lambda p, t: Slopes(0.0, np.array([math.nan, 0]), 0.0), [ONE, ONE], ONE),
            DataError,
            "slope of source 0",
        ),
    ],
)
def test_nonsense_is_named(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
