"""48 runs over four factors of ten of tokens, noise of 0.3 % in the loss."""

import math

import numpy as np
import polars as pl

from curate.laws.downstream import DownstreamLoss

TOKENS = np.geomspace(1e8, 1e12, 48)
LAW = DownstreamLoss(floors=(1.2,), scales=(4e9,), exponents=(0.25,))
NOISE = 0.003


def truth() -> dict[str, float]:
    """Parameters by the names that the fit gives them."""
    return {"floor": LAW.floors[0], "ln_scale": math.log(LAW.scales[0]), "exponent": LAW.exponents[0]}


def simulate(seed: int) -> pl.DataFrame:
    """One table of runs."""
    noise = np.random.Generator(np.random.PCG64(seed)).normal(0, NOISE, len(TOKENS))
    return pl.DataFrame({"tokens": TOKENS, "loss": LAW.predict(TOKENS) * np.exp(noise)})


def fit(frame: pl.DataFrame, bootstrap: int):  # type: ignore[no-untyped-def]
    """Fit as a user would."""
    return DownstreamLoss.fit_table(frame, bootstrap=bootstrap)
