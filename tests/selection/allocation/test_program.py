import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from curate.errors import ConfigError
from curate.selection.allocation.capped import capped_shares
from curate.selection.allocation.program import Program, solve

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "olmix_exact.json").read_text("utf-8"))


def program(slopes: list[list[float]], prior: list[float], caps: list[float], kl: float) -> Program:
    return Program(
        intercepts=np.zeros(len(slopes)),
        slopes=np.array(slopes),
        prior=np.array(prior),
        caps=np.array(caps),
        kl=kl,
    )


@pytest.mark.parametrize("case", ["solution", "solution_capped"])
def test_the_published_example_is_met(case: str) -> None:
    caps = [1.0] * 3 if case == "solution" else GOLDEN["caps"]
    found = solve(program(GOLDEN["A"], GOLDEN["prior"], caps, GOLDEN["kl_reg"]))
    assert found.shares == pytest.approx(GOLDEN[case], abs=1e-7)
    assert found.objective == pytest.approx(GOLDEN["objective"], abs=1e-12)
    assert found.gap < 1e-12


@st.composite
def programs(draw: st.DrawFn, max_pools: int = 8) -> Program:
    count = draw(st.integers(1, max_pools))
    slopes = draw(
        st.lists(st.lists(st.floats(-5, 5), min_size=count, max_size=count), min_size=1, max_size=4)
    )
    sizes = np.array(draw(st.lists(st.floats(0.01, 1), min_size=count, max_size=count)))
    prior = sizes / sizes.sum()
    return Program(
        intercepts=np.array(draw(st.lists(st.floats(-2, 2), min_size=len(slopes), max_size=len(slopes)))),
        slopes=np.array(slopes),
        prior=prior,
        caps=np.minimum(1.0, draw(st.sampled_from([1.0, 1.1, 2.0, 4.0])) * prior),
        kl=draw(st.sampled_from([1e-3, 0.05, 1.0])),
    )


@given(programs())
def test_shares_are_a_mixture_under_the_caps_with_a_small_gap(posed: Program) -> None:
    found = solve(posed)
    assert found.shares.sum() == pytest.approx(1, abs=1e-10)
    assert (found.shares >= 0).all() and (found.shares <= posed.caps * (1 + 1e-12)).all()
    assert found.objective == pytest.approx(posed.objective(found.shares), abs=1e-10)
    assert found.gap <= 1e-8 * max(1.0, found.objective)


@given(programs(), st.randoms())
def test_no_other_mixture_is_better(posed: Program, random: object) -> None:
    """Convexity: a better mixture anywhere would show on the way to it; many random ways are tried."""
    found = solve(posed)
    for _ in range(30):
        weights = np.array([random.random() ** 3 + 1e-9 for _ in posed.prior])  # type: ignore[attr-defined]
        other, _ = capped_shares(np.log(weights), posed.caps)
        for step in (1e-4, 1e-2, 1.0):
            mixed = (1 - step) * found.shares + step * other
            assert posed.objective(mixed) >= found.objective - 1e-9 * max(1.0, found.objective)


@given(programs())
def test_the_conditions_of_an_optimum_hold(posed: Program) -> None:
    """The slope of the objective is the same for all pools below their cap, and lower for those at it."""
    found = solve(posed)
    prices = np.exp(posed.intercepts + posed.slopes @ found.shares) / len(posed.intercepts)
    used = found.shares > 1e-200
    slopes = (prices @ posed.slopes)[used] + posed.kl * np.log(found.shares[used] / posed.prior[used])
    free = (found.shares < posed.caps * (1 - 1e-9))[used]
    if free.any():
        common = float(slopes[free].mean())
        assert slopes[free] == pytest.approx(common, abs=1e-4)
        assert (slopes[~free] <= common + 1e-4).all()


def test_another_solver_agrees() -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    prior = rng.dirichlet(np.ones(6))
    posed = Program(
        intercepts=rng.normal(size=3), slopes=rng.normal(size=(3, 6)), prior=prior, caps=1.5 * prior, kl=0.05
    )
    found = solve(posed)
    other = optimize.minimize(
        lambda x: posed.objective(np.maximum(x, 1e-300)),
        prior,
        method="SLSQP",
        bounds=[(0, cap) for cap in posed.caps],
        constraints=[{"type": "eq", "fun": lambda x: x.sum() - 1}],
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert found.objective == pytest.approx(other.fun, abs=1e-9)
    assert found.shares == pytest.approx(other.x, abs=1e-4)


@pytest.mark.parametrize("kl", [0.05, 1e-3, 1e-5])
def test_a_thousand_pools_and_fifty_targets_are_solved(kl: float) -> None:
    rng = np.random.Generator(np.random.PCG64(4))
    prior = rng.dirichlet(np.full(1000, 0.3)) + 1e-12
    prior /= prior.sum()
    found = solve(
        Program(
            intercepts=np.zeros(50),
            slopes=5 * rng.normal(size=(50, 1000)),
            prior=prior,
            caps=2 * prior,
            kl=kl,
        )
    )
    assert found.gap < 1e-8


def test_a_law_that_does_not_fit_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="exponent above 600: 1000"):
        solve(program([[1000.0, 0.0]], [0.5, 0.5], [1.0, 1.0], 0.05))


def test_pools_that_saturate_have_steep_slopes() -> None:
    found = solve(program([[-1000.0, 0.0, -3.0], [2.0, -900.0, 0.0]], [0.5, 0.2, 0.3], [1.0] * 3, 0.05))
    assert found.gap < 1e-10 and found.objective < 0.05
    assert (found.shares > 0.01).all()


@given(
    st.lists(st.tuples(st.floats(-1000, 1000), st.floats(0.01, 1)), min_size=1, max_size=10).filter(
        lambda pairs: sum(cap for _, cap in pairs) >= 1
    )
)
def test_capped_shares_are_in_proportion_below_the_caps(pairs: list[tuple[float, float]]) -> None:
    weights, caps = np.array([w for w, _ in pairs]), np.array([c for _, c in pairs])
    shares, is_free = capped_shares(weights, caps)
    assert shares.sum() == pytest.approx(1) and (shares <= caps).all()
    below = is_free & (shares > 1e-250) & (shares < caps)
    if below.sum() > 1:
        level = np.log(shares[below]) - weights[below]
        assert level == pytest.approx(level[0], abs=1e-6)
        # A pool at its cap would take more at that level.
        assert (np.log(caps) - weights <= level[0] + 1e-6)[~is_free].all()


def test_caps_that_are_all_there_is_leave_nothing_for_the_rest() -> None:
    shares, _ = capped_shares(np.array([0.0, 0.0, 0.0, -50.0, -50.0, -90.0]), np.full(6, 0.16666667 * 2))
    assert shares[:3] == pytest.approx(1 / 3) and shares[3:] == pytest.approx(0, abs=1e-7)
