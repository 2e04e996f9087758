"""Power laws with floors: planted curves, shared exponents, inverses, nonsense."""

import numpy as np
import polars as pl
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.power import PowerLaw
from curate.laws.registry import law_from_json

SHARED = PowerLaw(
    groups=("web", "code", "books"), floors=(1.0, 2.0, 0.5), scales=(20.0, 3.0, 100.0), exponents=(0.4,) * 3
)
ONE = PowerLaw(floors=(1.5,), scales=(50.0,), exponents=(0.3,))


def curves(law: PowerLaw, *, noise: float = 0.0) -> pl.DataFrame:
    draw, x = np.random.default_rng(0), np.geomspace(10, 1e5, 20)
    parts = [
        pl.DataFrame(
            {"group": name, "x": x, "loss": law.predict(x, group=name) * np.exp(draw.normal(0, noise, 20))}
        )
        for name in law.groups
    ]
    whole = pl.concat(parts)
    return whole if law.groups != ("",) else whole.drop("group")


def close(found: PowerLaw, law: PowerLaw, rel: float = 1e-5) -> None:
    assert found.groups == law.groups
    for key in ("floors", "scales", "exponents"):
        np.testing.assert_allclose(getattr(found, key), getattr(law, key), rtol=rel, err_msg=key)


def test_one_planted_curve_comes_back() -> None:
    close(PowerLaw.fit_table(curves(ONE)).law, ONE)


def test_a_known_floor_is_held() -> None:
    found = PowerLaw.fit_table(curves(ONE, noise=0.01), floor=1.5)
    assert found.law.floors == (1.5,)
    assert [each.name for each in found.fit.problem.space.free] == ["exponent", "ln_scale"]


@pytest.mark.parametrize("is_shared", [True, False])
def test_planted_curves_of_groups_come_back(is_shared: bool) -> None:
    close(PowerLaw.fit_table(curves(SHARED), is_shared=is_shared).law, SHARED)


def test_a_shared_exponent_is_one_number_and_pools_what_the_curves_know() -> None:
    frame = curves(SHARED, noise=0.01)
    found = PowerLaw.fit_table(frame)
    assert len(set(found.law.exponents)) == 1
    assert len(found.fit.problem.space.free) == 7
    own = PowerLaw.fit_table(frame, is_shared=False).law.exponents
    assert abs(found.law.exponents[0] - 0.4) < max(abs(each - 0.4) for each in own)


def test_predictions_of_a_table_and_inverses_hold() -> None:
    frame = curves(SHARED).sample(fraction=1.0, shuffle=True, seed=1)
    np.testing.assert_allclose(SHARED.predict_table(frame), frame["loss"].to_numpy())
    np.testing.assert_allclose(
        SHARED.inverse(SHARED.predict([5.0, 50.0], group="code"), group="code"), [5, 50]
    )


@pytest.mark.slow
def test_a_short_curve_does_not_know_its_floor_and_says_so() -> None:
    found = PowerLaw.fit_table(curves(ONE, noise=0.02).filter(pl.col("x") < 200))
    assert "floor" in found.fit.doubts
    assert "NOT IDENTIFIED" in found.as_text()


def test_the_json_form_comes_back_and_is_registered() -> None:
    for law in (SHARED, ONE):
        assert law_from_json(law.to_json()) == law


def test_nonsense_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"power\.exponents of code is above 0: 0"):
        PowerLaw(groups=("web", "code"), floors=(1.0, 1.0), scales=(1.0, 1.0), exponents=(0.1, 0.0))
    with pytest.raises(ConfigError, match=r"power\.floors is not below 0: -1"):
        PowerLaw(floors=(-1.0,), scales=(1.0,), exponents=(0.1,))
    with pytest.raises(ConfigError, match=r"power\.scales has a value for each of 1 groups: 2"):
        PowerLaw(floors=(1.0,), scales=(1.0, 2.0), exponents=(0.1,))
    with pytest.raises(ConfigError, match=r"power\.groups are different names"):
        PowerLaw(groups=("a", "a"), floors=(1.0, 1.0), scales=(1.0, 2.0), exponents=(0.1, 0.1))
    with pytest.raises(ConfigError, match="the law knows no group 'wiki'"):
        SHARED.predict(1.0, group="wiki")
    with pytest.raises(DataError, match="x is a finite number above 0: nan"):
        ONE.predict(float("nan"))
    with pytest.raises(DataError, match=r"a loss lies above the floor 1\.5: 1\.5"):
        ONE.inverse(1.5)
    with pytest.raises(DataError, match=r"x of row 0 is not above 0: 0\.0"):
        PowerLaw.fit_table(curves(ONE).with_columns(x=pl.lit(0.0)))
    with pytest.raises(DataError, match="need more than 3 runs: 1"):
        PowerLaw.fit_table(curves(ONE).head(1))
    with pytest.raises(ConfigError, match=r"floor is 0 or more and below every loss, the least is .*: 99"):
        PowerLaw.fit_table(curves(ONE), floor=99.0)
    with pytest.raises(DataError, match="there is no column group"):
        SHARED.predict_table(curves(ONE))
    with pytest.raises(DataError, match="the column group is of text in every row: Int64"):
        SHARED.predict_table(curves(ONE).with_columns(group=pl.lit(1, dtype=pl.Int64)))
