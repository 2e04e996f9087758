"""The bivariate law: planted recovery with and without steps."""

import math

import numpy as np
import polars as pl
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.mixture.bivariate import Bivariate
from curate.laws.mixture.runs import MixtureRuns
from curate.laws.mixture.search import simulate
from curate.laws.registry import law_from_json
from tests.laws.mixture.planted import shares

POOLS = ("web", "code", "books")
PLAIN = Bivariate(
    pools=POOLS,
    targets=("web", "books"),
    exponents=(0.1, 0.25),
    floors=(2.0, 2.5),
    factors=(0.0, 0.0),
    decays=(0.0, 0.0),
)
STEPPED = Bivariate(
    pools=POOLS,
    targets=("web", "books"),
    exponents=(0.1, 0.25),
    floors=(1.5, 2.0),
    factors=(1.0, 0.6),
    decays=(0.5, 0.4),
    unit=1e4,
    steps=1e5,
)
MIXTURES = np.maximum(shares(30, pools=POOLS), 0.01)
MIXTURES = MIXTURES / MIXTURES.sum(axis=1, keepdims=True)
STEPS = np.geomspace(1e3, 1e5, 30)


def runs(law: Bivariate, *, noise: float = 0.0) -> MixtureRuns:
    losses = law.predict(MIXTURES, STEPS)
    losses = losses * np.exp(np.random.default_rng(0).normal(0, noise, losses.shape))
    return MixtureRuns(pools=POOLS, targets=law.targets, shares=MIXTURES, losses=losses)


def test_the_formula() -> None:
    assert STEPPED.predict([0.5, 0.3, 0.2], 4e4)[0] == pytest.approx(
        [(1.5 + 4**-0.5) * 0.5**-0.1, (2.0 + 0.6 * 4**-0.4) * 0.2**-0.25]
    )


def test_planted_parameters_come_back_without_steps() -> None:
    found = Bivariate.fit(runs(PLAIN)).law
    assert found.exponents == pytest.approx(PLAIN.exponents, abs=1e-4)
    assert found.floors == pytest.approx(PLAIN.floors, rel=1e-4) and found.steps is None
    noisy = Bivariate.fit(runs(PLAIN, noise=0.005), bootstrap=50)
    for target, truth in zip(PLAIN.targets, PLAIN.exponents, strict=True):
        low, high = noisy.fits[target].intervals(0.99)["exponent"]
        assert low < truth < high and high - low < 0.05


def test_planted_curves_come_back_with_steps() -> None:
    found = Bivariate.fit(runs(STEPPED), steps=STEPS).law
    assert found.predict(MIXTURES[::-1], STEPS) == pytest.approx(
        STEPPED.predict(MIXTURES[::-1], STEPS), rel=1e-4
    )
    assert found.exponents == pytest.approx(STEPPED.exponents, abs=1e-3)
    assert found.steps == pytest.approx(1e5)
    best = simulate(found, dict.fromkeys(POOLS, 1.0), num_samples=5000)
    assert best.by_pool()["code"] < 0.1  # nobody asks for code


def test_a_table_has_steps_or_not() -> None:
    frame = runs(STEPPED).table().with_columns(pl.Series("steps", STEPS))
    found = Bivariate.fit_table(frame).law
    assert found.predict_table(frame) == pytest.approx(
        STEPPED.predict(MIXTURES, STEPS).mean(axis=1), rel=1e-4
    )
    assert law_from_json(found.to_json()) == found
    assert Bivariate.fit_table(runs(PLAIN).table()).law.factors == (0.0, 0.0)


def test_runs_without_the_pool_are_left_out_and_noted_and_have_no_prediction() -> None:
    wide = runs(PLAIN)
    given = np.concatenate([wide.shares, [[0.0, 0.5, 0.5]]])
    losses = np.concatenate([wide.losses, [[9.0, PLAIN.predict([0.0, 0.5, 0.5])[0, 1]]]])
    found = Bivariate.fit(MixtureRuns(pools=POOLS, targets=PLAIN.targets, shares=given, losses=losses))
    assert found.law.exponents == pytest.approx(PLAIN.exponents, abs=1e-4)
    assert found.notes == ("web: 1 of 31 runs have none of it and are left out",)
    assert math.isinf(PLAIN.predict([0.0, 0.5, 0.5])[0, 0])
    with pytest.raises(DataError, match=r"share\.web of row 0 is 0, where the law bivariate has no loss"):
        PLAIN.predict_table(pl.DataFrame({"share.web": [0.0], "share.code": [0.5], "share.books": [0.5]}))


def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"bivariate\.floors are not below 0: -1"):
        law_from_json(PLAIN.to_json() | {"floors": [-1.0, 1.0]})
    with pytest.raises(ConfigError, match="a target is a pool, this one is none: x"):
        law_from_json(PLAIN.to_json() | {"targets": ["web", "x"]})
    with pytest.raises(ConfigError, match=r"bivariate\.unit is above 0: 0"):
        law_from_json(PLAIN.to_json() | {"unit": 0.0})
    wide = runs(PLAIN)
    strange = MixtureRuns(pools=POOLS, targets=("web", "x"), shares=wide.shares, losses=wide.losses)
    with pytest.raises(DataError, match="a target is a pool, this one is none: x"):
        Bivariate.fit(strange)
    with pytest.raises(DataError, match="steps are one a run, 30"):
        Bivariate.fit(wide, steps=[1.0])
    with pytest.raises(DataError, match="steps of row 3 is not above 0: -1"):
        Bivariate.fit(wide, steps=np.where(np.arange(30) == 3, -1.0, 1.0))
    without = Bivariate(
        pools=POOLS, targets=("web",), exponents=(0.1,), floors=(1.0,), factors=(1.0,), decays=(0.5,)
    )
    with pytest.raises(ConfigError, match="was fitted with steps"):
        without.predict(MIXTURES)
