"""The best mixture by simulation: near the optimum, within caps, nearer to natural with a divergence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.search import best_at, capped, caps_of, divergence, simulate
from tests.laws.mixture.planted import LAW, POOLS, PRIOR

OLMIX = LogLinear(
    pools=("a", "b", "c"),
    targets=("x", "y"),
    constants=(-50.0, -50.0),
    slopes=((-2.0, 0.1, 0.2), (0.3, -1.0, 0.1)),
)
"""The example of the exact program: .558268 at (.48401, .51588, .00012), prior (.5, .3, .2), KL .05."""


def test_rounds_of_simulation_come_to_the_exact_mixture() -> None:
    found = simulate(OLMIX, {"a": 0.5, "b": 0.3, "c": 0.2}, kl=0.05, num_samples=20_000, keep=16, rounds=5)
    assert found.shares == pytest.approx([0.48401, 0.51588, 0.00012], abs=0.01)
    assert found.objective + 0.05 * found.divergence == pytest.approx(0.558268, abs=1e-3)


def test_more_divergence_is_nearer_to_natural_and_costs_loss() -> None:
    free, bound = (simulate(LAW, PRIOR, kl=kl, num_samples=20_000) for kl in (0.0, 5.0))
    assert free.objective < bound.objective and free.divergence > bound.divergence
    assert list(free.by_pool()) == list(POOLS)


def test_caps_hold_and_the_same_seed_is_the_same_mixture() -> None:
    found = [simulate(LAW, PRIOR, caps={"code": 0.1, "web": 0.5}, num_samples=5000) for _ in range(2)]
    assert (found[0].shares == found[1].shares).all()
    assert found[0].by_pool()["code"] <= 0.1 + 1e-12 and found[0].by_pool()["web"] <= 0.5 + 1e-12
    other = simulate(LAW, PRIOR, num_samples=5000, seed=1)
    assert not (other.shares == found[0].shares).all()


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=12))
def test_capped_shares_keep_their_sum_their_caps_and_their_order(parts: list[tuple[float, float]]) -> None:
    weights, caps = np.array(parts).T
    if weights.sum() < 1e-3 or caps.sum() < 1:
        return
    shares = weights / weights.sum()
    found = capped(shares[None], caps)[0]
    assert found.sum() == pytest.approx(1, abs=1e-9) and (found <= caps + 1e-12).all()
    free = (found < caps - 1e-9) & (shares > 1e-6)
    ratios = found[free] / shares[free]
    assert len(ratios) == 0 or ratios.max() / ratios.min() < 1 + 1e-6
    if (shares <= caps).all():
        assert found == pytest.approx(shares)


def test_divergence_is_0_for_natural_and_infinite_for_nothing() -> None:
    assert divergence(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0
    assert divergence(np.array([1.0, 0.0]), np.array([0.25, 0.75])) == pytest.approx(np.log(4))
    best = best_at(LAW, np.full(4, 0.25), np.array([0.6, 0.2, 0.12, 0.08]))
    assert best.objective == pytest.approx(float(LAW.predict(np.full(4, 0.25)).mean()))


@pytest.mark.parametrize(
    ("prior", "settings_", "message"),
    [
        ({**PRIOR, "x": 1.0}, {}, "the law does not know the pool x"),
        ({"web": 1.0}, {}, "there is no natural share of the pool code"),
        (PRIOR, {"keep": 0}, "keep, num_samples and .* in order: 0"),
        (PRIOR, {"rounds": 0}, "rounds are 1 to 100"),
        (PRIOR, {"kl": -1.0}, "kl is not below 0: 1, -1"),
        (PRIOR, {"caps": {"x": 0.5}}, "a cap is of no pool: x"),
        (PRIOR, {"caps": {"web": 0.0}}, "that of web is: 0"),
        (PRIOR, {"caps": dict.fromkeys(POOLS, 0.2)}, "sum to less than 1: 0.8"),
    ],
)
def test_nonsense_is_refused(prior, settings_, message) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate(LAW, prior, **settings_)


def test_caps_beyond_1_are_no_caps() -> None:
    assert caps_of({"web": 7.0}, POOLS).tolist() == [1.0] * 4
