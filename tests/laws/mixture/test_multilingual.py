"""The joint law of languages: planted recovery, effective parameters, ends of f."""

import numpy as np
import polars as pl
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.mixture.multilingual import Multilingual
from curate.laws.registry import law_from_json

LAW = Multilingual(
    languages=("de", "zh"),
    factors=(1.2, 1.5),
    exponents=(0.25, 0.3),
    floors=(1.0, 1.4),
    lifts=(0.3, 0.1),
    rises=(0.8, 0.6),
    falls=(1.0, 1.5),
    unit=1e8,
)


def table(*, noise: float = 0.0) -> pl.DataFrame:
    draw, rows = np.random.default_rng(0), []
    for language in LAW.languages:
        for params in np.geomspace(2e7, 1e9, 6):
            for share in (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
                loss = float(LAW.predict(params, share, language=language)) * np.exp(draw.normal(0, noise))
                rows.append({"language": language, "params": params, "share": share, "loss": loss})
    return pl.DataFrame(rows)


def test_f_is_0_and_1_at_its_ends_and_above_the_share_between() -> None:
    assert LAW.effective_frac([0.0, 1.0], language="de").tolist() == [0.0, 1.0]
    assert LAW.effective_frac(0.3, language="de") == pytest.approx(0.3 + 0.3 * 0.3**0.8 * 0.7)
    assert LAW.effective_params(1e9, 1.0, language="zh") == pytest.approx(1e9)
    # The share moves the factor alone: beta_p = beta_1 f(p)**-alpha.
    frac = LAW.effective_frac(0.3, language="zh")
    wanted = 1.5 * frac**-0.3 * 4**-0.3 + 1.4
    assert LAW.predict(4e8, 0.3, language="zh") == pytest.approx(wanted)


def test_planted_parameters_come_back() -> None:
    found = Multilingual.fit_table(table()).law
    assert found.exponents == pytest.approx(LAW.exponents, abs=1e-3)
    assert found.floors == pytest.approx(LAW.floors, rel=1e-3)
    shares = np.linspace(0.05, 1, 12)
    for language in LAW.languages:
        assert found.effective_frac(shares, language=language) == pytest.approx(
            LAW.effective_frac(shares, language=language), rel=1e-2
        )
    assert law_from_json(found.to_json()) == found


def test_noisy_runs_predict_unseen_points() -> None:
    found = Multilingual.fit_table(table(noise=0.005)).law
    points = pl.DataFrame({"language": ["zh", "de"], "params": [3e9, 2e9], "share": [0.2, 0.6]})
    wanted = [float(LAW.predict(3e9, 0.2, language="zh")), float(LAW.predict(2e9, 0.6, language="de"))]
    assert found.predict_table(points) == pytest.approx(wanted, rel=0.02)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no language fr"):
        LAW.predict(1e9, 0.5, language="fr")
    with pytest.raises(DataError, match=r"a share lies between 0 and 1: 1.5"):
        LAW.effective_frac(1.5, language="de")
    with pytest.raises(DataError, match="params of row 0 is not above 0: 0"):
        LAW.predict(0.0, 0.5, language="de")
    for key, value in (("share", 1.5), ("share", 0.0), ("loss", -1.0), ("params", 0.0)):
        with pytest.raises(DataError, match=f"{value}"):
            Multilingual.fit_table(table().with_columns(pl.lit(value).alias(key)))
    with pytest.raises(DataError, match="every row names its language"):
        Multilingual.fit_table(table().drop("language"))
    with pytest.raises(DataError, match=r"6 parameters .* need more than 6 runs: 6"):
        Multilingual.fit_table(table().head(6))
    with pytest.raises(DataError, match="a language is needed for each of 2: 1"):
        Multilingual.fit(["de"], [1e9, 1e9], [0.5, 0.5], [1.0, 1.0])
    with pytest.raises(ConfigError, match="rises"):
        law_from_json(LAW.to_json() | {"rises": [0.0, 1.0]})
