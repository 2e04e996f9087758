"""Runs of planted laws of mixtures."""

import numpy as np

from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.runs import MixtureRuns
from curate.laws.mixture.swarm import SwarmSettings, swarm

POOLS = ("web", "code", "books", "papers")
LAW = LogLinear(
    pools=POOLS,
    targets=("prose", "programs"),
    constants=(np.log(1.8), np.log(0.9)),
    slopes=((-1.5, 0.6, -0.4, 0.2), (0.5, -3.0, 0.3, -0.2)),
)
PRIOR = {"web": 60.0, "code": 20.0, "books": 12.0, "papers": 8.0}


def shares(count: int, *, seed: int = 0, pools: tuple[str, ...] = POOLS) -> np.ndarray:
    prior = {pool: PRIOR.get(pool, 10.0) for pool in pools}
    return swarm(prior, count, seed=seed, settings=SwarmSettings(max_factor=None)).shares


def runs_with(law, count: int = 60, *, noise: float = 0.0, seed: int = 0) -> MixtureRuns:
    """Runs of a law with normal noise on the losses."""
    given = shares(count, seed=seed, pools=law.pools)
    losses = law.predict(given)
    losses = losses + np.random.default_rng(seed).normal(0, noise, losses.shape)
    return MixtureRuns(pools=law.pools, targets=law.targets, shares=given, losses=losses)
