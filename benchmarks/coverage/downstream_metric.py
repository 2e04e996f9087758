"""48 runs over four factors of ten of tokens, noise of 1 % in the metric."""

import numpy as np
import polars as pl

from curate.laws.downstream import DownstreamMetric, middle

TOKENS = np.geomspace(1e8, 1e12, 48)
LAW = DownstreamMetric(log_factor=4.0, alpha=0.35, beta=1.6, unit=middle(TOKENS))
NOISE = 0.01


def truth() -> dict[str, float]:
    """Parameters by the names that the fit gives them."""
    return {"log_factor": LAW.log_factor, "alpha": LAW.alpha, "beta": LAW.beta}


def simulate(seed: int) -> pl.DataFrame:
    """One table of runs."""
    noise = np.random.Generator(np.random.PCG64(seed)).normal(0, NOISE, len(TOKENS))
    return pl.DataFrame({"tokens": TOKENS, "metric": LAW.predict(TOKENS) * np.exp(noise)})


def fit(frame: pl.DataFrame, bootstrap: int):  # type: ignore[no-untyped-def]
    """Fit as a user would."""
    return DownstreamMetric.fit_table(frame, bootstrap=bootstrap)
