"""Quality-quantity law: published tables, an obvious twin, planted parameters, nonsense."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError, DataError
from curate.laws.quality_quantity import QualityQuantity
from curate.laws.registry import law_from_json

POOL = 12.8e6
BEST = ("q0-10", "q10-20", "q20-30", "q30-40")

ERRORS = {
    "q0-10": (0.8416, 0.7718, 0.7408, 0.7234, 0.7127),
    "q10-20": (0.8906, 0.8293, 0.8005, 0.7836, 0.7727),
    "q20-30": (0.9318, 0.8859, 0.8660, 0.8554, 0.8492),
    "q30-40": (0.9631, 0.9360, 0.9277, 0.9245, 0.9231),
    "random": (0.9005, 0.8455, 0.8212, 0.8078, 0.7997),
}
"""Published fit: error at 2, 4, 6, 8, 10 passes over 12.8M samples."""

ACCURACIES = {
    32e6: (18.247, 15.836, 13.422, 11.677),
    64e6: (24.621, 23.301, 20.398, 17.989),
    128e6: (28.729, 29.600, 26.766, 24.128),
    640e6: (31.176, 38.552, 37.565, 35.136),
}
"""Published fit: accuracy in per cent of the unions of the best 1, 2, 3, 4 pools, by samples seen."""


def slow_error(law: QualityQuantity, pool: str, samples: float, size: float) -> float:
    """Pass by pass, as the paper's section 4 says."""
    at = law.pools.index(pool)
    b, half_life, factor = law.utilities[at], law.half_lives[at], law.scale / law.unit
    last = math.floor(samples / size)
    if law.form == "effective_data":
        fresh = 0.0
        for e in range(last + 1):
            fresh += (min(size * (e + 1), samples) - size * e) * factor * 0.5 ** (e / half_life)
        return fresh**b + law.floor
    y = (min(size, samples) * factor) ** b + (law.floor if law.floor_inside else 0.0)
    for e in range(1, last + 1):
        y *= (min(size * (e + 1), samples) / (size * e)) ** (b * 0.5 ** (e / half_life))
    return y + (0.0 if law.floor_inside else law.floor)


def slow_mixture_error(law: QualityQuantity, pools: list[str], samples: float, size: float) -> float:
    """k equal pools of `size`, as the published code does it: merged passes, k times the half-lives."""
    k, factor = len(pools), law.scale / law.unit
    places = [law.pools.index(pool) for pool in pools]
    merged, last = k * size, math.floor(samples / (k * size))
    y, before = 1.0, 0.0
    for e in range(last + 1):
        worth = [0.5 ** (e / (k * law.half_lives[at])) for at in places]
        b = [law.utilities[at] for at in places]
        end, start = min(merged * (e + 1), samples), merged * e
        if law.form == "effective_data":
            exponent = sum(x * w for x, w in zip(b, worth, strict=True)) / sum(worth)
            now = before + sum((end - start) * factor / k * w for w in worth)
            y *= now**exponent if e == 0 else (now / before) ** exponent
            before = now
        else:
            exponent = sum(x * w for x, w in zip(b, worth, strict=True)) / k
            y *= (end * factor) ** exponent if e == 0 else (end / start) ** exponent
            if e == 0 and law.floor_inside:
                y += law.floor
    return y + (0.0 if law.floor_inside else law.floor)


def laws() -> st.SearchStrategy[QualityQuantity]:
    return st.builds(
        lambda form, inside, b, tau, scale, floor: QualityQuantity(
            pools=("a", "b", "c"),
            utilities=tuple(b),
            half_lives=tuple(tau),
            scale=scale,
            floor=floor,
            form=form,
            floor_inside=inside and form == "utility",
        ),
        st.sampled_from(["utility", "effective_data"]),
        st.booleans(),
        st.lists(st.floats(-1.5, -0.01), min_size=3, max_size=3),
        st.lists(st.floats(0.2, 30), min_size=3, max_size=3),
        st.floats(1e-3, 10),
        st.floats(0, 0.5),
    )


@pytest.mark.parametrize("pool", ERRORS)
def test_single_pools_have_the_published_errors(pool: str) -> None:
    found = QualityQuantity.published().predict(POOL * np.array([2, 4, 6, 8, 10.0]), pool=pool, size=POOL)
    assert found.round(4).tolist() == list(ERRORS[pool])


def test_unions_have_the_published_accuracies_and_the_best_filter_widens_with_compute() -> None:
    found = QualityQuantity.published().best_pool(list(ACCURACIES), sizes=dict.fromkeys(BEST, POOL))
    assert (100 * (1 - found.errors)).round(3).tolist() == [list(row) for row in ACCURACIES.values()]
    assert found.unions[:2] == (("q0-10",), ("q0-10", "q10-20"))
    assert found.best.tolist() == [0, 0, 1, 1]


@settings(max_examples=60, deadline=None)
@given(laws(), st.floats(0.01, 40), st.sampled_from(["a", "b", "c"]))
def test_one_pool_is_as_pass_by_pass(law: QualityQuantity, passes: float, pool: str) -> None:
    found = law.predict(passes * 3e6, pool=pool, size=3e6)
    assert float(found) == pytest.approx(slow_error(law, pool, passes * 3e6, 3e6), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(laws(), st.lists(st.floats(0.01, 20), min_size=1, max_size=5), st.integers(1, 3))
def test_a_union_of_equal_pools_is_as_the_published_code(
    law: QualityQuantity, passes: list[float], count: int
) -> None:
    pools = ["a", "b", "c"][:count]
    samples = np.array(passes) * 3e6
    found = law.predict_mixture(samples, sizes=dict.fromkeys(pools, 3e6))
    expected = [slow_mixture_error(law, pools, n, 3e6) for n in samples]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(laws(), st.floats(0.05, 0.95), st.floats(0.1, 20))
def test_cutting_a_pool_into_two_alike_changes_nothing_but_the_half_life(
    law: QualityQuantity, share: float, passes: float
) -> None:
    """Two halves of one pool, drawn as they are large: the theorem with b and half-life / share."""
    twin = QualityQuantity(
        pools=("x", "y", "whole"),
        utilities=(law.utilities[0],) * 3,
        half_lives=(law.half_lives[0] * share, law.half_lives[0] * (1 - share), law.half_lives[0]),
        scale=law.scale,
        floor=law.floor,
        form=law.form,
        floor_inside=law.floor_inside,
    )
    halves = twin.predict_mixture(passes * 1e6, sizes={"x": share * 1e6, "y": (1 - share) * 1e6})
    np.testing.assert_allclose(halves, twin.predict(passes * 1e6, pool="whole", size=1e6), rtol=1e-9)


@pytest.mark.parametrize("form", ["utility", "effective_data"])
def test_a_share_of_nothing_is_as_a_pool_left_out(form: str) -> None:
    law = QualityQuantity(
        pools=("a", "b"), utilities=(-0.2, -0.1), half_lives=(3.0, 5.0), scale=0.1, form=form
    )
    samples = np.geomspace(1e4, 1e8, 30)
    alone = law.predict_mixture(samples, sizes={"a": 1e6, "b": 1e6}, shares={"a": 1.0, "b": 0.0})
    np.testing.assert_allclose(alone, law.predict(samples, pool="a", size=1e6), rtol=1e-12)


@pytest.mark.parametrize("form", ["utility", "effective_data"])
def test_more_samples_never_hurt_and_the_end_of_a_pass_is_no_step(form: str) -> None:
    law = QualityQuantity(
        pools=("a", "b"), utilities=(-0.2, -0.1), half_lives=(2.0, 0.5), scale=0.1, form=form
    )
    for shares in (None, {"a": 0.9, "b": 0.1}):
        samples = np.linspace(1e4, 5e7, 20_001)
        errors = law.predict_mixture(samples, sizes={"a": 1e6, "b": 3e6}, shares=shares)
        assert (np.diff(errors) <= 1e-12).all()
        assert np.abs(np.diff(np.log(errors)))[100:].max() < 1e-2


@pytest.mark.parametrize("form", ["utility", "effective_data"])
def test_very_many_passes_come_to_an_end(form: str) -> None:
    law = QualityQuantity(pools=("a",), utilities=(-0.2,), half_lives=(2.0,), scale=0.1, form=form)
    late = law.predict([1e9, 1e15, 1e18], pool="a", size=1e3)
    assert late[0] == pytest.approx(late[2], rel=1e-9)
    np.testing.assert_allclose(late, law.predict_mixture([1e9, 1e15, 1e18], sizes={"a": 1e3}), rtol=1e-9)
    endless = QualityQuantity(pools=("a",), utilities=(-0.2,), half_lives=(1e9,), scale=0.1)
    with pytest.raises(DataError, match="a pool is read 1e\\+15 times, at most 4000000"):
        endless.predict([1e18], pool="a", size=1e3)


def runs(law: QualityQuantity, *, noise: float = 0.0, seed: int = 0) -> pl.DataFrame:
    passes = (0.25, 0.5, 1, 2, 4, 6, 8, 10)
    rows = [(pool, POOL * part, POOL) for pool in law.pools for part in passes]
    frame = pl.DataFrame(rows, schema=["pool", "samples", "size"], orient="row")
    draw = np.random.default_rng(seed)
    return frame.with_columns(error=law.predict_table(frame) * np.exp(draw.normal(0, noise, frame.height)))


PLANTED = QualityQuantity(
    pools=("good", "fair", "poor"), utilities=(-0.18, -0.13, -0.09), half_lives=(4.0, 8.0, 2.5), scale=0.03
)


@pytest.mark.parametrize(
    "change",
    [{}, {"form": "effective_data"}, {"floor_inside": True}, {"floor": 0.05, "unit": 1e6, "scale": 0.3}],
)
@pytest.mark.parametrize("is_floor_free", [False, True])
def test_planted_parameters_come_back_from_clean_curves(change: dict, is_floor_free: bool) -> None:
    law = QualityQuantity.from_json({**PLANTED.to_json(), **change})
    given_settings = {"form": law.form, "floor_inside": law.floor_inside, "unit": law.unit}
    found = QualityQuantity.fit_table(
        runs(law), floor=None if is_floor_free else law.floor, **given_settings
    ).law
    np.testing.assert_allclose(found.utilities, law.utilities, rtol=1e-4)
    np.testing.assert_allclose(found.half_lives, law.half_lives, rtol=1e-4)
    assert found.scale == pytest.approx(law.scale, rel=1e-4)
    assert found.floor == pytest.approx(law.floor, rel=1e-3)


@pytest.mark.slow
def test_planted_parameters_lie_in_the_intervals_of_noisy_curves() -> None:
    found = QualityQuantity.fit_table(runs(PLANTED, noise=0.003), bootstrap=60)
    ends = found.fit.intervals(0.99)
    for at, pool in enumerate(PLANTED.pools):
        low, high = ends[f"utility[{pool}]"]
        assert low < PLANTED.utilities[at] < high
        low, high = ends[f"half_life[{pool}]"]
        assert low < PLANTED.half_lives[at] < high
    assert all(found.fit.identified.values())


@pytest.mark.slow
def test_a_half_life_without_repeats_is_not_identified_and_says_so() -> None:
    once = runs(PLANTED, noise=0.002).filter((pl.col("pool") != "poor") | (pl.col("samples") <= POOL))
    found = QualityQuantity.fit_table(once)
    text = found.as_text()
    assert "half_life[poor] is not identified: every value" in text
    assert next(line for line in text.splitlines() if "half_life[poor]" in line).endswith("NOT IDENTIFIED")
    assert found.fit.identified["half_life[good]"]


def test_the_json_form_comes_back_and_is_registered() -> None:
    for law in (PLANTED, QualityQuantity.published("tmars_imagenet1k_data")):
        assert law_from_json(law.to_json()) == law


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"utilities": (-0.1, 0.0, -0.1)}, "quality_quantity.utilities of fair is below 0: 0"),
        ({"utilities": (-0.1, float("nan"), -0.1)}, "utilities of fair is a finite number: nan"),
        ({"half_lives": (1.0, 2.0, 0.0)}, "half_lives of poor is above 0: 0"),
        ({"half_lives": (1.0, 2.0)}, "half_lives has a value for each of 3 pools: 2"),
        ({"pools": ("a", "a", "b")}, "pools are different names"),
        ({"scale": -1.0}, "scale is above 0: -1"),
        ({"floor": -0.1}, "floor is not below 0: -0.1"),
        ({"form": "else"}, "form is one of utility, effective_data: 'else'"),
        ({"form": "effective_data", "floor_inside": True}, "floor_inside goes with the form utility"),
    ],
)
def test_nonsense_parameters_are_refused_by_name(change: dict, message: str) -> None:
    whole = {"pools": PLANTED.pools, "utilities": PLANTED.utilities, "half_lives": PLANTED.half_lives}
    with pytest.raises(ConfigError, match=message):
        QualityQuantity(**{**whole, "scale": 0.1, **change})


def test_nonsense_points_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="the law knows no pool bad"):
        PLANTED.predict(1e6, pool="bad", size=1e6)
    with pytest.raises(DataError, match="samples is a finite number above 0: -1"):
        PLANTED.predict([1e6, -1], pool="good", size=1e6)
    with pytest.raises(DataError, match="size is a finite number above 0: 0"):
        PLANTED.predict([1e6], pool="good", size=0)
    with pytest.raises(DataError, match="size of good is a finite number above 0: nan"):
        PLANTED.predict_mixture([1e6], sizes={"good": float("nan")})
    with pytest.raises(DataError, match=r"shares add to 1: 0\.9"):
        PLANTED.predict_mixture([1e6], sizes={"good": 1e6, "fair": 1e6}, shares={"good": 0.5, "fair": 0.4})
    with pytest.raises(DataError, match=r"a share lies between 0 and 1: good 1\.5"):
        PLANTED.predict_mixture([1e6], sizes={"good": 1e6, "fair": 1e6}, shares={"good": 1.5, "fair": -0.5})
    with pytest.raises(ConfigError, match="shares and sizes have different pools: fair"):
        PLANTED.predict_mixture([1e6], sizes={"good": 1e6, "fair": 1e6}, shares={"good": 1.0})
    with pytest.raises(ConfigError, match="sizes has a value for each of 3 pools: 1"):
        PLANTED.best_pool([1e6], sizes=[1e6])
    with pytest.raises(ConfigError, match="sizes names no pool"):
        PLANTED.predict_mixture([1e6], sizes={})


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("error", -0.2, "error of row 0 is not above 0: -0.2"),
        ("error", float("nan"), "error of row 0 is not a finite number: nan"),
        ("size", 0.0, "size of row 0 is not above 0: 0.0"),
        ("samples", 0.0, "samples of row 0 is not above 0: 0.0"),
        ("pool", None, "pool of row 0 is empty"),
    ],
)
def test_nonsense_runs_are_refused_by_name(column: str, value: float | None, message: str) -> None:
    frame = runs(PLANTED)
    values = [value, *frame[column].to_list()[1:]]
    with pytest.raises(DataError, match=message):
        QualityQuantity.fit_table(frame.with_columns(pl.Series(column, values)))


def test_too_few_runs_or_a_floor_out_of_reach_are_refused() -> None:
    with pytest.raises(DataError, match="need more than 3 runs: 1"):
        QualityQuantity.fit_table(runs(PLANTED).head(1))
    with pytest.raises(ConfigError, match=r"floor is below every error, the least is 0\.\d+: 0\.99"):
        QualityQuantity.fit_table(runs(PLANTED), floor=0.99)
    with pytest.raises(DataError, match="there is no column pool"):
        QualityQuantity.fit_table(runs(PLANTED).drop("pool"))
