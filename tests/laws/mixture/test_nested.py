"""Extrapolation over steps, then sizes: planted curves, shared exponents, doubts."""

import numpy as np
import polars as pl
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.nested import extrapolate, shared_power
from tests.laws.mixture.planted import LAW, POOLS, shares

SIZES = (70e6, 160e6, 305e6, 410e6)
STEPS = np.arange(10, 31, 2.0) * 1000


def loss_at(mixture: np.ndarray, size: float, steps: float) -> np.ndarray:
    """Floor and factor depend on the mixture, exponents do not."""
    base = LAW.predict(mixture)[0]
    return base * (1 + (size / 1e8) ** -0.2 * 0.3) + 0.5 * base * (steps / 1e4) ** -0.5


def grid(count: int = 12, *, noise: float = 0.0) -> pl.DataFrame:
    draw, rows = np.random.default_rng(1), []
    for number, mixture in enumerate(shares(count)):
        for size in SIZES:
            for steps in STEPS:
                losses = loss_at(mixture, size, steps) * np.exp(draw.normal(0, noise, 2))
                rows.append(
                    {"run": f"r{number}", "size": size, "steps": steps}
                    | {f"share.{pool}": share for pool, share in zip(POOLS, mixture, strict=True)}
                    | {"loss.prose": losses[0], "loss.programs": losses[1]}
                )
    return pl.DataFrame(rows)


def test_losses_of_a_long_run_of_a_large_model_come_out_without_noise() -> None:
    found = extrapolate(grid(), steps=100_000, size=1e9)
    assert set(found.names) == {f"r{number}" for number in range(12)}
    for mixture, losses in zip(found.runs.shares, found.runs.losses, strict=True):
        assert losses == pytest.approx(loss_at(mixture, 1e9, 100_000), rel=1e-4)
    assert found.fits["prose, over sizes"].values["exponent"] == pytest.approx(0.2, abs=1e-3)
    assert found.fits["prose, over steps at size 7e+07"].values["exponent"] == pytest.approx(0.5, abs=1e-3)
    assert found.doubts() == ()


def test_names_go_with_the_shares() -> None:
    frame = grid(6)
    found = extrapolate(frame.sample(fraction=1.0, shuffle=True, seed=3), steps=50_000, size=5e8)
    for name, mixture in zip(found.names, found.runs.shares, strict=True):
        row = frame.filter(pl.col("run") == name).row(0, named=True)
        assert [row[f"share.{pool}"] for pool in POOLS] == mixture.tolist()


def test_a_law_of_mixtures_fits_what_comes_out_of_noisy_runs() -> None:
    found = extrapolate(grid(40, noise=0.001), steps=60_000, size=1e9)
    law = LogLinear.fit(found.runs).law
    given = shares(20, seed=8)
    wanted = np.array([loss_at(mixture, 1e9, 60_000) for mixture in given])
    assert np.abs(law.predict(given) / wanted - 1).mean() < 0.01


def test_steps_or_sizes_alone() -> None:
    one = grid().filter(pl.col("size") == SIZES[0])
    found = extrapolate(one, steps=100_000)
    assert found.runs.losses[0] == pytest.approx(loss_at(found.runs.shares[0], SIZES[0], 100_000), rel=1e-4)
    assert found.runs.num_runs == 12
    last = grid().filter(pl.col("steps") == STEPS[-1])
    found = extrapolate(last, size=1e9, targets=["programs"])
    assert found.runs.losses[0, 0] == pytest.approx(
        loss_at(found.runs.shares[0], 1e9, STEPS[-1])[1], rel=1e-4
    )


def test_far_extrapolations_and_open_exponents_are_said() -> None:
    found = extrapolate(grid(noise=0.05), steps=1e6, size=1e9)
    assert any("1e+06 is 33.3 times the greatest observed" in text for text in found.doubts())
    short = grid(4, noise=0.2).filter(pl.col("steps") < 15_000, pl.col("size") == SIZES[0])
    assert any("exponent is not identified" in text for text in extrapolate(short, steps=20_000).doubts())


def test_a_flat_curve_stays_flat() -> None:
    groups, x = np.array([0, 0, 0, 1, 1, 1]), np.array([1.0, 2, 4, 1, 2, 4])
    found = shared_power(groups, x, np.array([2.0, 2, 2, 3, 2.5, 2.25]))
    assert found.predict(1e9) == pytest.approx([2.0, 2.0], abs=1e-2)
    assert found.factors[0] == pytest.approx(0, abs=1e-9)
    rising = shared_power(groups, x, np.array([2.0, 2.1, 2.2, 3, 2.5, 2.25]))
    assert rising.factors[0] == 0


def test_nonsense_is_refused() -> None:
    frame = grid(3)
    with pytest.raises(ConfigError, match="to steps, to a size, or both"):
        extrapolate(frame)
    with pytest.raises(ConfigError, match="steps are above 0: -1"):
        extrapolate(frame, steps=-1)
    with pytest.raises(DataError, match="there is no column size"):
        extrapolate(frame.drop("size"), steps=1e5, size=1e9)
    with pytest.raises(ConfigError, match="several sizes, and none is wanted: 7e"):
        extrapolate(frame, steps=1e5)
    with pytest.raises(DataError, match="a curve needs two points or more, group 0 has: 1"):
        extrapolate(frame.filter(pl.col("steps") == STEPS[0]), steps=1e5, size=1e9)
    with pytest.raises(DataError, match="steps of row 0 is not above 0: 0"):
        extrapolate(frame.with_columns(steps=pl.lit(0.0)), steps=1e5, size=1e9)
