"""The log-linear law of five pools: a swarm of 64 mixtures, normal noise of .02 on the losses."""

import numpy as np
import polars as pl

from curate.laws.law import Fitted
from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.runs import MixtureRuns
from curate.laws.mixture.swarm import SwarmSettings, swarm

PRIOR = {"web": 55.0, "code": 20.0, "books": 12.0, "papers": 8.0, "dialogue": 5.0}
TRUTH = LogLinear(
    pools=tuple(PRIOR),
    targets=("loss",),
    constants=(float(np.log(1.8)),),
    slopes=((-1.5, 0.6, -0.4, 0.2, -2.5),),
)
NUM_RUNS = 64
NOISE = 0.02


def truth() -> dict[str, float]:
    found = {"constant": float(np.exp(TRUTH.constants[0]))}
    return found | {f"slope of {pool}": at for pool, at in zip(TRUTH.pools, TRUTH.slopes[0], strict=True)}


def simulate(seed: int) -> pl.DataFrame:
    shares = swarm(PRIOR, NUM_RUNS, seed=seed, settings=SwarmSettings(max_factor=None)).shares
    losses = TRUTH.predict(shares) + np.random.default_rng(seed).normal(0, NOISE, (NUM_RUNS, 1))
    return MixtureRuns(pools=TRUTH.pools, targets=TRUTH.targets, shares=shares, losses=losses).table()


def fit(frame: pl.DataFrame, bootstrap: int) -> Fitted[LogLinear]:
    return LogLinear.fit_table(frame, bootstrap=bootstrap)
