"""projektor: planted coefficients, the line in ln N, and mixtures found on a grid."""

import itertools
import json
import math

import numpy as np
import polars as pl
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.registry import LAWS, law_from_json
from curate.laws.transport import TransportLaw, TransportProjection, project
from curate.laws.transport_terms import FORMS, Form, simplex_grid, terms

SOURCES = ("web", "code", "books")


def planted(form: Form, seed: int = 0, sources: tuple[str, ...] = SOURCES) -> TransportLaw:
    count = len(terms(len(sources), form))
    values = np.random.default_rng(seed).uniform(-1, 1, count)
    return TransportLaw(sources=sources, form=form, coefficients=tuple(values.tolist()))


def distances_of(shares: np.ndarray, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return (
        1
        + ((shares - [0.2, 0.3, 0.5][: shares.shape[1]]) ** 2).sum(axis=1)
        + draw.uniform(0, 0.3, len(shares))
    )


def test_the_known_extrapolation() -> None:
    found = project(0.9, 0.8, small_scale=1000, large_scale=1500, scale=10_000)
    assert float(found) == pytest.approx(0.33211264127324325, rel=1e-13)
    ends = [float(project(0.9, 0.8, small_scale=1000, large_scale=1500, scale=n)) for n in (1000, 1500)]
    assert ends == pytest.approx([0.9, 0.8])


def test_features_are_those_of_the_notebook_for_three_sources() -> None:
    names = {term.named(("q1", "q2", "q3")) for term in terms(3, "published")}
    assert names == {
        "1", "distance", "share.q1", "share.q2", "share.q1 x distance", "share.q2 x distance",
        "share.q1^2 x distance", "share.q2^2 x distance",
    }  # fmt: skip
    assert {term.named(("q1", "q2", "q3")) for term in terms(3, "reduced")} == names | {
        "share.q1^2",
        "share.q2^2",
    }
    assert len(terms(3, "full")) == 12 and len(terms(2, "full")) == len(terms(2, "reduced")) == 6


@pytest.mark.parametrize("form", FORMS)
def test_planted_coefficients_come_back_from_noiseless_features(form: Form) -> None:
    truth, grid = planted(form), simplex_grid(3)
    costs = distances_of(grid)
    found = TransportLaw.fit(grid, costs, truth.predict(grid, costs), sources=SOURCES, form=form)
    assert found.law.coefficients == pytest.approx(truth.coefficients, abs=1e-6)
    by_hand = sum(
        by
        * (1 if term.source is None else grid[7, term.source] ** term.power)
        * (costs[7] if term.has_distance else 1)
        for by, term in zip(truth.coefficients, truth.terms, strict=True)
    )
    assert truth.predict(grid, costs)[7] == pytest.approx(by_hand)


def test_noisy_runs_give_least_squares_and_intervals_that_hold_the_truth() -> None:
    truth, grid = planted("published"), simplex_grid(3)
    costs = distances_of(grid)
    noisy = truth.predict(grid, costs) + np.random.default_rng(1).normal(0, 0.01, len(grid))
    found = TransportLaw.fit(grid, costs, noisy, sources=SOURCES, form="published", bootstrap=40)
    design = np.stack([term.value(grid, costs) for term in truth.terms], axis=1)
    assert found.law.coefficients == pytest.approx(np.linalg.lstsq(design, noisy)[0], abs=1e-5)
    ends = list(found.fit.intervals(0.99).values())
    inside = [low < value < high for (low, high), value in zip(ends, truth.coefficients, strict=True)]
    assert sum(inside) >= 7


@pytest.mark.parametrize("form", FORMS)
def test_slopes_are_finite_differences(form: Form) -> None:
    law, shares = planted(form), np.array([0.5, 0.3, 0.2])
    found = law.slopes(shares, 1.7)
    assert found.value == pytest.approx(law.predict(shares, 1.7)[0])
    up, down = (law.predict(shares, 1.7 + sign * 1e-5)[0] for sign in (1, -1))
    assert found.by_distance == pytest.approx((up - down) / 2e-5, abs=1e-7)
    for one, other in itertools.combinations(range(3), 2):
        change = np.zeros(3)
        change[one], change[other] = 1e-5, -1e-5
        up, down = (law.predict(shares + sign * change, 1.7)[0] for sign in (1, -1))
        assert found.by_share[one] - found.by_share[other] == pytest.approx((up - down) / 2e-5, abs=1e-7)


def projection() -> TransportProjection:
    return TransportProjection(
        small=planted("reduced", 1), large=planted("reduced", 2), small_scale=1000.0, large_scale=1500.0
    )


def test_both_stages_come_from_one_table_and_go_to_json() -> None:
    law, grid = projection(), simplex_grid(3)
    costs = distances_of(grid)
    rows = [
        {**{f"share.{name}": share for name, share in zip(SOURCES, row, strict=True)}, "scale": scale,
         "distance": cost, "performance": value}
        for part, scale in ((law.small, 1000.0), (law.large, 1500.0))
        for row, cost, value in zip(grid, costs, part.predict(grid, costs), strict=True)
    ]  # fmt: skip
    frame = pl.DataFrame(rows)
    found = LAWS["transport_projection"].fit_table(frame)
    assert set(found.fits) == {"scale 1000", "scale 1500"}
    points = frame.head(66).with_columns(scale=pl.lit(10_000.0))
    wanted = law.predict(grid, costs, scale=10_000)
    assert found.law.predict_table(points) == pytest.approx(wanted, abs=1e-4)
    assert law.predict_table(points) == pytest.approx(wanted)
    assert law.predict_table(frame) == pytest.approx(frame["performance"].to_numpy())
    other = law.predict(grid, costs, scale=1500, large_distances=costs + 1)
    assert law.predict_table(
        frame.tail(66).with_columns(large_distance=pl.col("distance") + 1)
    ) == pytest.approx(other)
    assert law_from_json(json.loads(json.dumps(law.to_json()))) == law
    small = LAWS["transport"].fit_table(frame.filter(pl.col("scale") == 1000))
    assert small.law.predict_table(frame.head(66)) == pytest.approx(law.small.predict(grid, costs), abs=1e-6)


def test_the_best_ratio_at_a_scale_differs_from_that_at_the_small_scales() -> None:
    """Two sources; the optimum of each small scale is planted, and the line carries it on."""

    def peak(at: float) -> TransportLaw:
        # 1 - (p - at)^2 with a transport cost that does not count.
        return TransportLaw(
            sources=("a", "b"), coefficients=(0.0, 0.0, 0.0, 1 - at * at, 2 * at, -1.0), form="reduced"
        )

    law = TransportProjection(small=peak(0.4), large=peak(0.45), small_scale=1000.0, large_scale=1500.0)
    grid = simplex_grid(2, 200)
    predicted = law.predict(grid, np.ones(201), scale=10_000)
    up = math.log(10) / math.log(1.5)
    assert grid[np.argmax(predicted), 0] == pytest.approx(up * 0.45 + (1 - up) * 0.4, abs=0.0026)
    slopes = law.slopes([0.3, 0.7], 1.0, scale=10_000)
    assert slopes.value == pytest.approx(law.predict([0.3, 0.7], 1.0, scale=10_000)[0])


def test_a_grid_has_every_mixture_once() -> None:
    grid = simplex_grid(3, 10)
    assert grid.shape == (66, 3) and len({tuple(row) for row in grid.tolist()}) == 66
    assert grid.sum(axis=1) == pytest.approx(np.ones(66)) and grid.min() == 0 and grid.max() == 1
    assert simplex_grid(2, 10)[:, 0].tolist() == pytest.approx([at / 10 for at in range(11)])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: planted("reduced").predict([0.5, 0.4, 0.2], 1.0), DataError, "row 0 sum to 1: 1.1"),
        (lambda: planted("reduced").predict([1.5, -0.5, 0.0], 1.0), DataError, "code in row 0 .*: -0.5"),
        (
            lambda: planted("reduced").predict([0.5, 0.5], 1.0),
            DataError,
            r"each of 3 sources: shape \(1, 2\)",
        ),
        (lambda: planted("reduced").predict(simplex_grid(3, 1), [1.0, 2.0]), DataError, "each of 3 mixtures"),
        (lambda: planted("reduced").predict([0.5, 0.5, 0], math.nan), DataError, "distance of row 0"),
        (lambda: TransportLaw(sources=("a", "a"), coefficients=()), ConfigError, "different names"),
        (lambda: TransportLaw(sources=("a", "b"), coefficients=(1.0,)), ConfigError, "6 coefficients: 1"),
        (
            lambda: TransportLaw(sources=("a", "b"), coefficients=(1.0, 1, 1, 1, 1, math.inf)),
            ConfigError,
            r"share.a\^2 is inf",
        ),
        (lambda: TransportLaw(sources=("a", "b"), coefficients=(), form="x"), ConfigError, "'x'"),  # type: ignore[arg-type]
        (
            lambda: TransportLaw.fit(simplex_grid(3, 2), np.ones(6), np.ones(6), sources=SOURCES),
            DataError,
            "10 coefficients need more mixtures than that: 6",
        ),
        (
            lambda: TransportLaw.fit(simplex_grid(3), np.ones(66), np.ones(66), sources=SOURCES),
            DataError,
            "only 5 of 10 coefficients apart",
        ),
        (
            lambda: TransportLaw.fit(simplex_grid(3), np.ones(66), -np.full(65, 1.0), sources=SOURCES),
            DataError,
            "different lengths",
        ),
        (lambda: project(1, 2, small_scale=2, large_scale=2, scale=3), DataError, "below large_scale: 2, 2"),
        (lambda: project(1, 2, small_scale=-1, large_scale=2, scale=3), DataError, "small_scale .*: -1"),
        (lambda: simplex_grid(1), ConfigError, "1, 10"),
        (lambda: simplex_grid(30, 30), ConfigError, "at most 1000000 mixtures"),
        (
            lambda: TransportProjection(
                small=planted("reduced"), large=planted("reduced"), small_scale=2.0, large_scale=1.0
            ),
            ConfigError,
            "small_scale is between 0 and 1: 2",
        ),
        (lambda: LAWS["transport"].fit_table(pl.DataFrame({"share.a": [1.0]})), DataError, "share.SOURCE: 1"),
        (
            lambda: LAWS["transport_projection"].fit_table(pl.DataFrame({"scale": [1.0, 2.0, 3.0]})),
            DataError,
            "two scales: 3",
        ),
    ],
)
def test_nonsense_is_named(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
