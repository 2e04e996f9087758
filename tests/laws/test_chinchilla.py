"""Chinchilla's law: planted parameters, ties, optimal allocation, nonsense."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError, DataError
from curate.laws.chinchilla import PUBLISHED, Chinchilla
from curate.laws.registry import law_from_json

PARAMETERS = ("ln_a", "ln_b", "ln_e", "alpha", "beta")


def runs(law: Chinchilla, *, noise: float = 0.0) -> pl.DataFrame:
    rows = [(n, n * per) for n in (1e7, 4e7, 2e8, 1e9, 5e9) for per in (2, 8, 30, 120)]
    frame = pl.DataFrame(rows, schema=["params", "tokens"], orient="row")
    draw = np.random.default_rng(1)
    return frame.with_columns(loss=law.predict_table(frame) * np.exp(draw.normal(0, noise, frame.height)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_planted_parameters_come_back(name: str) -> None:
    law = Chinchilla.published(name)
    found = Chinchilla.fit_table(runs(law), is_tied=name == "c4_tied").law
    for key in PARAMETERS:
        assert getattr(found, key) == pytest.approx(getattr(law, key), rel=1e-4), key


@pytest.mark.slow
def test_a_tie_gives_one_exponent_and_a_worse_fit_of_other_curves() -> None:
    frame = runs(Chinchilla.published("c4_untied"), noise=0.002)
    tied, free = (Chinchilla.fit_table(frame, is_tied=is_tied) for is_tied in (True, False))
    assert tied.law.alpha == tied.law.beta
    assert [each.name for each in tied.fit.problem.space.free] == ["ln_a", "ln_b", "ln_e", "alpha"]
    assert tied.fit.objective > free.fit.objective


def test_the_constants_are_the_published_ones() -> None:
    law = Chinchilla.published("c4_tied")
    assert np.exp([law.ln_a, law.ln_b, law.ln_e]).round(5).tolist() == [520.82495, 1487.71609, 1.86914]
    assert law.balance == pytest.approx(0.22580194342312088, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PUBLISHED)), st.floats(15, 27))
def test_no_other_split_is_better_and_it_is_the_optimum_for_its_tokens(name: str, log_flops: float) -> None:
    law, flops = Chinchilla.published(name), 10**log_flops
    params, tokens = law.optimal_allocation(flops)
    assert 6 * params * tokens == pytest.approx(flops)
    least = float(law.predict(params, tokens))
    for factor in (0.3, 0.99, 1.01, 3.0):
        assert least <= float(law.predict(params * factor, tokens / factor)) * (1 + 1e-13)
    assert float(law.optimal_params(tokens)) == pytest.approx(float(params))


def test_the_json_form_comes_back_and_is_registered() -> None:
    law = Chinchilla.published("c4_untied")
    assert law_from_json(law.to_json()) == law


def test_nonsense_is_refused_by_name() -> None:
    law = Chinchilla.published()
    with pytest.raises(ConfigError, match="there is no set c5"):
        Chinchilla.published("c5")
    with pytest.raises(ConfigError, match=r"chinchilla\.beta is above 0: -1"):
        Chinchilla(ln_a=1.0, ln_b=1.0, ln_e=1.0, alpha=1.0, beta=-1.0)
    with pytest.raises(ConfigError, match=r"chinchilla\.ln_a is a finite number: inf"):
        Chinchilla(ln_a=float("inf"), ln_b=1.0, ln_e=1.0, alpha=1.0, beta=1.0)
    with pytest.raises(DataError, match="tokens is a finite number above 0: -5"):
        law.predict(1e9, [1e9, -5])
    with pytest.raises(DataError, match="params is not of numbers: 'many'"):
        law.predict("many", 1e9)
    with pytest.raises(DataError, match="flops is a finite number above 0: 0"):
        law.optimal_allocation(0)
    with pytest.raises(DataError, match="need more than 5 runs: 1"):
        Chinchilla.fit_table(runs(law).head(1))
    with pytest.raises(DataError, match=r"loss of row 0 is not above 0: -1\.0"):
        Chinchilla.fit_table(runs(law).with_columns(loss=pl.lit(-1.0)))
    with pytest.raises(ConfigError, match="a fit has no setting tied"):
        Chinchilla.fit_table(runs(law), tied=True)
