"""Swarms of mixtures: on the grid, inside bounds, apart, the same for the same seed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError, DataError
from curate.laws.mixture.runs import runs_of
from curate.laws.mixture.swarm import SwarmSettings, dirichlet, natural_shares, on_grid, swarm

PRIOR = {"web": 700, "code": 200, "books": 95, "notes": 5}


def test_mixtures_are_multiples_of_the_minimum_within_bounds_and_different() -> None:
    found = swarm(PRIOR, 300)
    shares, natural = found.shares, natural_shares(PRIOR)
    assert shares.shape == (300, 4) and len(set(found.runs)) == 300
    steps = shares / 2e-4
    assert np.abs(steps - np.round(steps)).max() < 1e-6
    assert np.abs(shares.sum(axis=1) - 1).max() < 1e-12
    assert (shares <= np.minimum(15 * natural, 1) + 2e-4).all()
    assert len(np.unique(np.round(steps), axis=0)) == 300
    assert shares[:, 3].max() > 0.03


def test_the_first_mixtures_of_more_are_the_same_and_another_seed_is_another_swarm() -> None:
    few, many = swarm(PRIOR, 10), swarm(PRIOR, 50)
    assert (few.shares == many.shares[:10]).all()
    assert not (few.shares == swarm(PRIOR, 10, seed=1).shares).all()


def test_the_mean_is_the_tempered_prior() -> None:
    # Weak strengths give many equal mixtures of one pool, which are drawn again: here they are strong.
    wide = SwarmSettings(max_factor=None, minimum=1e-4, min_strength=2.0)
    found = swarm(PRIOR, 4000, settings=wide).shares.mean(axis=0)
    tempered = np.sqrt(natural_shares(PRIOR))
    assert found == pytest.approx(tempered / tempered.sum(), abs=0.02)
    natural = SwarmSettings(max_factor=None, temperature=1.0, minimum=1e-4, min_strength=4.0)
    assert swarm(PRIOR, 4000, settings=natural).shares.mean(axis=0) == pytest.approx(
        natural_shares(PRIOR), abs=0.02
    )


def test_caps_and_distances_hold() -> None:
    found = swarm(PRIOR, 50, settings=SwarmSettings(caps={"code": 0.3, "web": 0.8}, min_distance=0.1)).shares
    assert found[:, 1].max() <= 0.3 + 2e-4 and found[:, 0].max() <= 0.8 + 2e-4
    gaps = np.abs(found[:, None] - found[None]).sum(axis=2)
    assert gaps[~np.eye(50, dtype=bool)].min() > 0.1


def test_the_text_says_whether_the_runs_suffice() -> None:
    assert "3 (pools + 1) = 15 runs: they suffice" in swarm(PRIOR, 15).as_text()
    assert "too few: at least 15 are wanted" in swarm(PRIOR, 14).as_text()
    frame = swarm(PRIOR, 15).table()
    assert frame.columns == ["run", "share.web", "share.code", "share.books", "share.notes"]
    assert runs_of(frame.with_columns(**{"loss.t": 1.0}), targets=["t"]).num_runs == 15


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1), min_size=2, max_size=40),
    st.sampled_from([1e-4, 2e-4, 1e-3, 0.01]),
)
def test_rounding_keeps_the_sum_and_stays_near(weights: list[float], minimum: float) -> None:
    shares = np.array([weights]) / math.fsum(weights)
    kept = np.where(shares < minimum, 0, shares)
    if kept.sum() == 0:
        return
    found = on_grid(shares, minimum)
    assert found.sum() == pytest.approx(1, abs=1e-9)
    assert (found[shares < minimum] == 0).all() or minimum * len(weights) > 0.5
    assert np.abs(found - kept / kept.sum()).max() <= minimum * (1 + 1e-6)


def test_dirichlet_has_its_moments_also_where_gamma_variates_underflow() -> None:
    draw = np.random.Generator(np.random.PCG64(0))
    for total in (5.0, 0.5, 1e-3):
        mean = np.array([0.5, 0.3, 0.2])
        found = dirichlet(np.tile(total * mean, (40_000, 1)), draw)
        assert np.isfinite(found).all()
        assert found.mean(axis=0) == pytest.approx(mean, abs=0.01)
        assert found.var(axis=0) == pytest.approx(mean * (1 - mean) / (total + 1), abs=0.01)


@pytest.mark.parametrize(
    ("prior", "num_runs", "changed", "error", "message"),
    [
        ({}, 5, {}, DataError, "there is no pool"),
        ({"a": 1}, 5, {}, DataError, "two pools or more: a"),
        ({"a": 1, "b": 0}, 5, {}, DataError, "the amount of pool b is above 0: 0"),
        ({"a": 1, "b": math.nan}, 5, {}, DataError, "the amount of pool b is above 0: nan"),
        ({"a": 1, "b": "x"}, 5, {}, DataError, "the amount of pool b is a number: 'x'"),
        (PRIOR, 0, {}, ConfigError, "1 to 100000 runs: 0"),
        (PRIOR, 5, {"caps": {"x": 0.5}}, ConfigError, "a cap is of no pool: x"),
        (PRIOR, 5, {"max_factor": 0.5}, ConfigError, "sum to less than 1: 0.5"),
        (PRIOR, 5, {"caps": {"web": 1.5}}, ConfigError, "that of web is: 1.5"),
        (PRIOR, 5, {"minimum": 0.5}, ConfigError, "minimum lies between 1e-6 and 0.1: 0.5"),
        (PRIOR, 5, {"min_strength": 0.0}, ConfigError, "strengths are above 0 and in order: 0.0, 5.0"),
        (PRIOR, 5, {"num_strengths": 0}, ConfigError, "num_strengths is above 0: 0"),
        (PRIOR, 5, {"max_factor": -1.0}, ConfigError, "max_factor is above 0, or none: -1"),
        (
            PRIOR,
            5,
            {"temperature": math.inf},
            ConfigError,
            "temperature is a finite number, not below 0: inf",
        ),
        (PRIOR, 20, {"min_distance": 1.9}, ConfigError, "bounds leave too few mixtures"),
    ],
)
def test_nonsense_is_refused(prior, num_runs, changed, error, message) -> None:
    with pytest.raises(error, match=message):
        swarm(prior, num_runs, settings=SwarmSettings(**changed))
