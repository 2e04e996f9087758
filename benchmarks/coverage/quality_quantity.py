"""Two pools, ten numbers of passes each, noise of 0.5 % in the error."""

import numpy as np
import polars as pl

from curate.laws.quality_quantity import QualityQuantity

LAW = QualityQuantity(pools=("good", "poor"), utilities=(-0.18, -0.1), half_lives=(4.0, 2.5), scale=0.03)
POOL = 12.8e6
PASSES = (0.2, 0.4, 0.7, 1, 2, 3, 4, 6, 8, 10)
NOISE = 0.005


def truth() -> dict[str, float]:
    """Parameters by the names that the fit gives them."""
    found = {"scale": LAW.scale}
    for pool, utility, half_life in zip(LAW.pools, LAW.utilities, LAW.half_lives, strict=True):
        found |= {f"utility[{pool}]": utility, f"half_life[{pool}]": half_life}
    return found


def simulate(seed: int) -> pl.DataFrame:
    """One table of runs."""
    rows = [(pool, POOL * passes, POOL) for pool in LAW.pools for passes in PASSES]
    frame = pl.DataFrame(rows, schema=["pool", "samples", "size"], orient="row")
    noise = np.random.Generator(np.random.PCG64(seed)).normal(0, NOISE, frame.height)
    return frame.with_columns(error=LAW.predict_table(frame) * np.exp(noise))


def fit(frame: pl.DataFrame, bootstrap: int):  # type: ignore[no-untyped-def]
    """Fit as a user would."""
    return QualityQuantity.fit_table(frame, bootstrap=bootstrap)
