"""Data Mixing Laws: the published two-domain constants, planted recovery, hidden domains."""

import numpy as np
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.mixture.exponential import Exponential, scan_two
from curate.laws.mixture.runs import MixtureRuns
from curate.laws.registry import law_from_json
from tests.laws.mixture.planted import POOLS, runs_with, shares

GITHUB = (1.1096, -1.6401, -0.6822)
PILE_CC = (3.4182, -2.510, -0.629)
"""Published for a 70M model, 30k steps: floor, ln k and slope of the share of the domain itself."""
TWO = Exponential(
    pools=("github", "pile_cc"),
    targets=("github", "pile_cc"),
    floors=(GITHUB[0], PILE_CC[0]),
    factors=((GITHUB[1],), (PILE_CC[1],)),
    slopes=(((GITHUB[2], 0.0),), ((0.0, PILE_CC[2]),)),
)
COARSE = Exponential(
    pools=("academic", "prose", "dialogue", "symbolic", "internet"),
    targets=("academic",),
    floors=(float(np.exp(0.9750)),),
    factors=((-2.1391,),),
    slopes=(((-10.0864, 2.714, 2.7106, 2.6083, 1.5866),),),
)
"""The notebook's parameters of one of five coarse domains."""


def two_domain_runs() -> MixtureRuns:
    given = np.array([[r, 1 - r] for r in (0.25, 0.375, 0.5, 0.625, 0.75)])
    return MixtureRuns(pools=TWO.pools, targets=TWO.targets, shares=given, losses=TWO.predict(given))


def test_published_two_domain_constants_come_back_to_three_decimals() -> None:
    found = Exponential.fit(two_domain_runs()).law
    assert (found.floors[0], found.factors[0][0], found.slopes[0][0][0]) == pytest.approx(GITHUB, abs=1e-3)
    # The second domain's share is one minus the first's: its slope there is the negative, its factor moves.
    assert found.floors[1] == pytest.approx(PILE_CC[0], abs=1e-3)
    assert found.slopes[1][0][0] == pytest.approx(-PILE_CC[2], abs=1e-3)
    assert found.factors[1][0] == pytest.approx(PILE_CC[1] + PILE_CC[2], abs=1e-3)


def test_the_published_scan_finds_them_too() -> None:
    runs = two_domain_runs()
    found = scan_two(runs.shares[:, 0], runs.target("github"), num_floors=100_000)
    assert found == pytest.approx(GITHUB, abs=1e-3)
    assert scan_two(runs.shares[:, 1], runs.target("pile_cc"), num_floors=100_000) == pytest.approx(
        PILE_CC, abs=1e-3
    )
    with pytest.raises(DataError, match="three runs or more"):
        scan_two([0.1, 0.2], [1.0, 2.0])
    with pytest.raises(DataError, match="loss of row 0 is not above 0: -1"):
        scan_two([0.1, 0.2, 0.3], [-1.0, 2.0, 2.0])


def test_a_published_coarse_domain_comes_back_from_26_mixtures() -> None:
    runs = runs_with(COARSE, 26, noise=0.001)
    found = Exponential.fit(runs.take(np.arange(20))).law
    rest = runs.take(np.arange(20, 26))
    assert np.abs(found.predict(rest.shares) - rest.losses).mean() < 0.0086


def test_the_whole_is_the_mean_by_known_shares() -> None:
    found = Exponential.fit(two_domain_runs(), weights={"github": 0.2, "pile_cc": 0.8}).law
    given = np.array([0.3, 0.7])
    parts = TWO.predict(given)[0]
    assert found.objective(given)[0] == pytest.approx(0.2 * parts[0] + 0.8 * parts[1], abs=1e-3)


def test_hidden_domains_explain_a_whole_that_one_term_does_not() -> None:
    truth = Exponential(
        pools=POOLS,
        targets=("whole",),
        floors=(1.5,),
        factors=((0.0, -0.5),),
        slopes=(((-4.0, 1.0, 0.5, 0.0), (0.5, -5.0, 1.0, 0.0)),),
    )
    runs, rest = runs_with(truth, 120, noise=0.002), runs_with(truth, 60, seed=5)
    errors = {
        terms: float(
            np.abs(Exponential.fit(runs, num_terms=terms).law.predict(rest.shares) - rest.losses).mean()
        )
        for terms in (1, 2)
    }
    assert errors[2] < 0.002 and errors[1] > 5 * errors[2]


def test_json_comes_back_and_nonsense_is_refused() -> None:
    for law in (TWO, COARSE):
        assert law_from_json(law.to_json()) == law
    for changed, message in (
        ({"floors": [-1.0, 1.0]}, r"exponential\.floors are not below 0: -1"),
        ({"factors": [[0.0]]}, "factors and slopes for each of 2 targets: 1 and 2"),
        ({"factors": [[], [0.0]]}, "factors of github are at least one"),
        ({"slopes": [[[0.0]], [[0.0, 0.0]]]}, "slopes of term 0 of github has 2 numbers: 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            law_from_json(TWO.to_json() | changed)
    runs = two_domain_runs()
    with pytest.raises(ConfigError, match="num_terms is 1 to 64: 0"):
        Exponential.fit(runs, num_terms=0)
    with pytest.raises(DataError, match=r"5 parameters .* need more than 5 runs: 5"):
        Exponential.fit(runs, num_terms=2)
    one = MixtureRuns(pools=("a",), targets=("t",), shares=np.ones((5, 1)), losses=np.ones((5, 1)))
    with pytest.raises(DataError, match="2 to 256 pools: 1"):
        Exponential.fit(one)


def test_predictions_do_not_change_with_the_redundant_constant() -> None:
    moved = Exponential(
        pools=TWO.pools,
        targets=TWO.targets,
        floors=TWO.floors,
        factors=((GITHUB[1] - 2,), (PILE_CC[1] - 2,)),
        slopes=(((GITHUB[2] + 2, 2.0),), ((2.0, PILE_CC[2] + 2),)),
    )
    given = shares(10, pools=("github", "pile_cc"))
    assert moved.predict(given) == pytest.approx(TWO.predict(given))
