"""Linear and quadratic baselines: exact for planted polynomials."""

import numpy as np
import pytest

from curate.errors import ConfigError
from curate.laws.mixture.polynomial import Polynomial
from curate.laws.registry import law_from_json
from tests.laws.mixture.planted import POOLS, runs_with, shares

LINEAR = Polynomial(
    pools=POOLS, targets=("t",), degree=1, intercepts=(2.0,), coefficients=((-1.0, 0.5, 0.2, 0.3),)
)
SQUARE = Polynomial(
    pools=POOLS,
    targets=("t",),
    degree=2,
    intercepts=(3.0,),
    coefficients=((-1.0, 0.5, 0.2, 0.3, *np.linspace(-1, 1, 10).tolist()),),
)


@pytest.mark.parametrize("law", [LINEAR, SQUARE])
def test_planted_polynomials_predict_unseen_mixtures_exactly(law: Polynomial) -> None:
    found = Polynomial.fit(runs_with(law, 40), degree=law.degree).law
    given = shares(20, seed=4)
    assert found.predict(given) == pytest.approx(law.predict(given), abs=1e-9)
    assert law_from_json(found.to_json()) == found


def test_the_formula_has_every_pair_once() -> None:
    given = np.array([0.1, 0.2, 0.3, 0.4])
    pairs = [given[i] * given[j] for i in range(4) for j in range(i, 4)]
    wanted = 3 + given @ [-1.0, 0.5, 0.2, 0.3] + np.linspace(-1, 1, 10) @ pairs
    assert SQUARE.predict(given)[0, 0] == pytest.approx(wanted)


def test_too_few_runs_give_the_least_norm_and_a_note() -> None:
    runs = runs_with(SQUARE, 6)
    found = Polynomial.fit(runs, degree=2)
    assert found.law.predict(runs.shares) == pytest.approx(runs.losses, abs=1e-9)
    assert any("the runs tell 5 of 10 terms apart" in note for note in found.notes)
    assert "its numbers are in its JSON" in found.as_text()


def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="degree 1 or 2 and at most 128 pools: 3, 4"):
        Polynomial.fit(runs_with(LINEAR, 10), degree=3)
    with pytest.raises(ConfigError, match=r"polynomial\.degree is 1 or 2: 0"):
        law_from_json(LINEAR.to_json() | {"degree": 0})
    with pytest.raises(ConfigError, match="coefficients of t has 4 numbers: 14"):
        law_from_json(SQUARE.to_json() | {"degree": 1})
