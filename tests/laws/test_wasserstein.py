"""Optimal transport: exact answers, potentials as gradients, Sinkhorn near them."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from curate.errors import DataError, MissingExtra
from curate.laws import wasserstein
from curate.laws.wasserstein import TransportSettings, transport

EXACT = TransportSettings(method="exact")


def points(seed: int, count: int, width: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width))


@given(seed=st.integers(0, 200), count=st.integers(1, 12), other=st.integers(1, 12))
def test_in_one_dimension_the_cost_is_that_of_sorted_values(seed: int, count: int, other: int) -> None:
    source, target = points(seed, count, 1), points(seed + 1000, other, 1)
    found = transport(source, target, settings=TransportSettings(method="exact", power=1))
    assert found.cost == pytest.approx(stats.wasserstein_distance(source[:, 0], target[:, 0]), abs=1e-9)
    if count == other:
        squares = ((np.sort(source[:, 0]) - np.sort(target[:, 0])) ** 2).mean()
        assert transport(source, target, settings=EXACT).cost == pytest.approx(squares, abs=1e-9)


@pytest.mark.parametrize("other", [7, 11])
@given(seed=st.integers(0, 100))
def test_potentials_are_feasible_and_add_up_to_the_cost(other: int, seed: int) -> None:
    source, target = points(seed, 7), points(seed + 1, other)
    found = transport(source, target, settings=EXACT)
    slack = wasserstein.pair_costs(source, target) - found.source_potential[:, None] - found.target_potential
    assert slack.min() > -1e-9
    assert found.source_potential.mean() + found.target_potential.mean() == pytest.approx(found.cost)
    assert found.objective == found.cost and found.num_iterations == 0


def test_equal_sizes_give_what_the_linear_program_gives() -> None:
    source, target = points(1, 20), points(2, 20)
    costs, even = wasserstein.pair_costs(source, target), np.full(20, 1 / 20)
    assert wasserstein._program(costs, even, even)[0] == pytest.approx(
        transport(source, target, settings=EXACT).cost
    )


def test_the_potential_of_a_point_is_what_more_mass_there_costs() -> None:
    source, target = points(3, 6, 1), points(4, 9, 1)
    draw = np.random.default_rng(0)
    weights = draw.dirichlet(np.ones(6))
    found = transport(source, target, source_weights=weights, settings=EXACT)
    for at in range(1, 6):
        change = np.zeros(6)
        change[at], change[0] = 1e-6, -1e-6
        up, down = (
            transport(source, target, source_weights=weights + sign * change, settings=EXACT).cost
            for sign in (1, -1)
        )
        slope = found.source_potential[at] - found.source_potential[0]
        assert (up - down) / 2e-6 == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("method", ["exact", "sinkhorn"])
def test_a_point_without_mass_has_the_potential_of_the_first_mass_there(method: str) -> None:
    settings = TransportSettings(method=method, tolerance=1e-9)  # type: ignore[arg-type]
    source, target = points(5, 5, 1), points(6, 8, 1)
    weights = np.array([0.4, 0.0, 0.3, 0.2, 0.1])
    found = transport(source, target, source_weights=weights, settings=settings)
    more = np.array([0.4 - 1e-6, 1e-6, 0.3, 0.2, 0.1])
    up = transport(source, target, source_weights=more, settings=settings).objective
    slope = found.source_potential[1] - found.source_potential[0]
    assert (up - found.objective) / 1e-6 == pytest.approx(slope, abs=1e-3)
    alone = transport(source[weights > 0], target, source_weights=weights[weights > 0], settings=settings)
    assert found.cost == pytest.approx(alone.cost)


@pytest.mark.parametrize("debias", [False, True])
def test_sinkhorns_potentials_are_the_gradient_of_its_objective(debias: bool) -> None:
    settings = TransportSettings(regularisation=0.1, debias=debias, tolerance=1e-10)
    source, target = points(7, 6), points(8, 7)
    weights = np.random.default_rng(1).dirichlet(np.ones(6))
    found = transport(source, target, source_weights=weights, settings=settings)
    for at in range(1, 6):
        change = np.zeros(6)
        change[at], change[0] = 1e-5, -1e-5
        up, down = (
            transport(source, target, source_weights=weights + sign * change, settings=settings).objective
            for sign in (1, -1)
        )
        slope = found.source_potential[at] - found.source_potential[0]
        assert (up - down) / 2e-5 == pytest.approx(slope, abs=1e-5)


def test_sinkhorn_nears_exact_transport_as_regularisation_falls() -> None:
    source, target = points(9, 30), points(10, 40) + 0.5
    exact = transport(source, target, settings=EXACT).cost
    errors = [
        transport(source, target, settings=TransportSettings(regularisation=by)).cost - exact
        for by in (1.0, 0.1, 0.01)
    ]
    assert errors[0] > errors[1] > errors[2] > -1e-6
    assert errors[2] < 0.005 * exact


def test_sinkhorn_solves_its_own_equations() -> None:
    """A slow twin: the plan by alternate scaling of the plain kernel."""
    source, target = points(11, 8), points(12, 5)
    costs = wasserstein.pair_costs(source, target)
    kernel, rows, columns = np.exp(-costs / 0.5), np.ones(8), np.ones(5)
    for _ in range(5000):
        rows = (1 / 8) / (kernel @ columns)
        columns = (1 / 5) / (kernel.T @ rows)
    plan = rows[:, None] * kernel * columns
    found = transport(source, target, settings=TransportSettings(regularisation=0.5, tolerance=1e-12))
    assert found.cost == pytest.approx((plan * costs).sum(), rel=1e-9)
    entropy = (plan * np.log(plan * 40)).sum()
    assert found.objective == pytest.approx((plan * costs).sum() + 0.5 * entropy, rel=1e-9)


def test_a_set_is_at_no_debiased_distance_from_itself() -> None:
    source = points(13, 25)
    settings = TransportSettings(debias=True, regularisation=0.5, tolerance=1e-9)
    assert transport(source, source, settings=settings).cost == pytest.approx(0, abs=1e-8)
    shifted = transport(source, source + np.array([3.0, 0.0]), settings=settings).cost
    assert shifted == pytest.approx(9.0, rel=1e-3)


def test_a_translation_costs_its_square() -> None:
    source = points(14, 12, 3)
    assert transport(source, source + 2.0, settings=EXACT).cost == pytest.approx(12.0)


def test_large_problems_of_unequal_weights_need_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    monkeypatch.setattr(wasserstein, "MAX_CELLS", 10)
    with pytest.raises(MissingExtra, match=r"pip install 'curate\[transport\]': 4 x 5"):
        transport(points(0, 4), points(1, 5), settings=EXACT)


def test_that_package_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ot")
    source, target = points(15, 9), points(16, 13)
    own = transport(source, target, settings=EXACT)
    monkeypatch.setattr(wasserstein, "MAX_CELLS", 10)
    other = transport(source, target, settings=EXACT)
    assert other.cost == pytest.approx(own.cost)
    assert other.source_potential.mean() + other.target_potential.mean() == pytest.approx(own.cost)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transport(np.zeros((0, 2)), points(0, 3)), r"source: embeddings .*\(0, 2\)"),
        (lambda: transport([1.0, 2.0], points(0, 3)), r"\(2,\)"),
        (lambda: transport([[math.nan, 1.0]], points(0, 3)), "source: the embedding of point 0"),
        (lambda: transport(points(0, 3, 3), points(0, 3)), "different dimensions: 3, 2"),
        (lambda: transport(points(0, 3), points(0, 3), source_weights=[1, 1, 1]), "sum to 1: 3"),
        (lambda: transport(points(0, 3), points(0, 3), target_weights=[1, 1, -1]), "point 2 .*: -1.0"),
        (lambda: transport(points(0, 3), points(0, 3), target_weights=[1]), r"each of 3 points: \(1,\)"),
        (lambda: transport(points(0, 3) * 1e200, points(0, 3)), "not finite for some points"),
        (
            lambda: transport(points(0, 9), points(1, 9), settings=TransportSettings(max_iterations=1)),
            "misplaced after 1 iterations",
        ),
    ],
)
def test_nonsense_is_named(call, message) -> None:
    with pytest.raises(DataError, match=message), np.errstate(over="ignore"):
        call()
