"""48 runs of up to 40 epochs, noise of 0.5 % in the loss; the law of fresh tokens is known."""

import numpy as np
import polars as pl

from curate.laws.chinchilla import Chinchilla
from curate.laws.data_constrained import DataConstrained

LAW = DataConstrained.over(Chinchilla.published(), repeat_tokens=7.0, repeat_params=3.0)
NOISE = 0.005


def truth() -> dict[str, float]:
    """Parameters by the names that the fit gives them."""
    return {"repeat_tokens": LAW.repeat_tokens, "repeat_params": LAW.repeat_params}


def simulate(seed: int) -> pl.DataFrame:
    """One table of runs."""
    rows = [
        (params, unique * epochs, unique)
        for params in (2e7, 1e8, 5e8, 2e9)
        for unique in (1e8, 1e9, 1e10)
        for epochs in (1, 3, 10, 40)
    ]
    frame = pl.DataFrame(rows, schema=["params", "tokens", "unique"], orient="row")
    noise = np.random.Generator(np.random.PCG64(seed)).normal(0, NOISE, frame.height)
    return frame.with_columns(loss=LAW.predict_table(frame) * np.exp(noise))


def fit(frame: pl.DataFrame, bootstrap: int):  # type: ignore[no-untyped-def]
    """Fit as a user would."""
    return DataConstrained.fit_table(frame, free="repeats", bootstrap=bootstrap)
