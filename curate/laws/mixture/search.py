"""The best mixture under any law of mixtures, by simulation: draw mixtures, average the best.

As RegMix (Liu et al. 2024, arXiv:2407.01492): 100,000 mixtures from a Dirichlet distribution whose
concentrations are the natural shares, and the mean of the best 128. More rounds draw around the mean so far,
each with four times the strength (Olmix, arXiv:2602.12237, has ten rounds). `kl` adds that many units of loss
for each nat of divergence from the natural mix; caps hold for every mixture that is looked at: what is above
goes to the other pools in proportion.

Cost: a prediction of 100,000 mixtures a round, 50 ms for log-linear laws, seconds for trees. Not here: the
exact convex program for log-linear laws (selection/allocation).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.errors import ConfigError
from curate.laws.mixture.runs import checked_shares
from curate.laws.mixture.swarm import dirichlet, natural_shares
from curate.laws.mixture.targets import MixtureLaw
from curate.laws.parameters import Floats

STRENGTH_STEP = 4.0
MAX_SAMPLES = 10_000_000
CHUNK = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """A mixture and what the law says about it."""

    pools: tuple[str, ...]
    shares: Floats
    objective: float
    """What the law predicts for it, without the divergence."""
    divergence: float
    """From the natural mixture, in nats."""

    def by_pool(self) -> dict[str, float]:
        """Shares by name."""
        return dict(zip(self.pools, self.shares.tolist(), strict=True))


def divergence(shares: Floats, natural: Floats) -> Floats:
    """Kullback-Leibler divergence of rows of shares from the natural ones, in nats."""
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(shares > 0, shares * np.log(shares / natural), 0.0)
    return np.asarray(parts.sum(axis=-1))


def caps_of(caps: Mapping[str, float] | None, pools: Sequence[str]) -> Floats:
    """Greatest shares in the order of the pools; 1 for those without.

    Raises:
        ConfigError: a cap is of no pool, is not a share above 0, or all sum to less than 1.
    """
    given = {} if caps is None else caps
    if unknown := sorted(set(given) - set(pools)):
        raise ConfigError(f"a cap is of no pool: {unknown[0]}", hint=f"pools are {', '.join(pools)}")
    for pool, cap in given.items():
        if not (math.isfinite(cap) and cap > 0):
            raise ConfigError(f"a cap is a share above 0, that of {pool} is: {cap}")
    found = np.array([min(given.get(pool, 1.0), 1.0) for pool in pools])
    if found.sum() < 1:
        raise ConfigError(
            f"caps of all pools sum to less than 1: {found.sum():.6g}",
            hint=f"raise them {1 / found.sum():.4g} times",
        )
    return found


def capped(shares: Floats, caps: Floats) -> Floats:
    """Bring rows of shares below their caps; what is above goes to the others in proportion.

    Where the others have nothing, it goes to them in proportion to their room.
    """
    found = shares.copy()
    for _ in range(found.shape[1] + 1):
        above = np.maximum(found - caps, 0).sum(axis=1)
        rows = np.flatnonzero(above > 1e-15)
        if not len(rows):
            break
        part = np.minimum(found[rows], caps)
        room = caps - part
        weight = np.where(room > 0, part, 0.0)
        # Shares of next to nothing count as none: quotients of the smallest numbers do not add up to 1.
        weight = np.where(weight.sum(axis=1, keepdims=True) > 1e-200, weight, room)
        total = weight.sum(axis=1, keepdims=True)
        part_of = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        found[rows] = part + above[rows, None] * part_of
    return np.minimum(found, caps)


def simulate(  # over: what is drawn, and what is minimised
    law: MixtureLaw,
    natural: Mapping[str, float],
    *,
    num_samples: int = 100_000,
    keep: int = 128,
    rounds: int = 1,
    kl: float = 0.0,
    caps: Mapping[str, float] | None = None,
    seed: int = 42,
) -> Best:
    """Find the mixture with the least objective of a law.

    Args:
        law: Any law of mixtures.
        natural: Amount of each pool of the law, as tokens or shares.
        num_samples: Mixtures a round.
        keep: How many of the best are averaged.
        rounds: More than one draws again around the mean.
        kl: Loss for a nat of divergence.
        caps: Greatest shares.
        seed: Of the draw.

    Raises:
        ConfigError: pools are not those of the law, or a setting is wrong.
    """
    shares = in_order(natural, law.pools)
    if not 1 <= keep <= num_samples <= MAX_SAMPLES:
        raise ConfigError(f"keep, num_samples and {MAX_SAMPLES} are in order: {keep}, {num_samples}")
    if not (1 <= rounds <= 100 and math.isfinite(kl) and kl >= 0):
        raise ConfigError(f"rounds are 1 to 100 and kl is not below 0: {rounds}, {kl}")
    limits, draw = caps_of(caps, law.pools), np.random.Generator(np.random.PCG64(seed))
    mean = shares
    for number in range(rounds):
        tried, values = [], []
        for first in range(0, num_samples, CHUNK):
            count = min(CHUNK, num_samples - first)
            strength = STRENGTH_STEP**number
            drawn = dirichlet(np.broadcast_to(np.maximum(strength * mean, 1e-9), (count, len(mean))), draw)
            tried.append(capped(drawn, limits))
            values.append(_value(law, tried[-1], shares, kl))
        points, value = np.concatenate(tried), np.concatenate(values)
        chosen = np.argsort(value, kind="stable")[:keep]
        mean = points[chosen].mean(axis=0)
    return best_at(law, mean, shares)


def _value(law: MixtureLaw, shares: Floats, natural: Floats, kl: float) -> Floats:
    found = law.objective(shares)
    return found if kl == 0 else found + kl * divergence(shares, natural)


def best_at(law: MixtureLaw, shares: Floats, natural: Floats) -> Best:
    """What a law says about one mixture."""
    given = checked_shares(shares, law.pools, at="mixture")[0]
    return Best(
        pools=tuple(law.pools),
        shares=given,
        objective=float(law.objective(given)[0]),
        divergence=float(divergence(given, natural)),
    )


def in_order(natural: Mapping[str, float], pools: Sequence[str]) -> Floats:
    """Natural shares in the order of a law's pools.

    Raises:
        ConfigError: a pool is unknown to the law, or the law has one that is not given.
    """
    for name in [*natural, *pools]:
        if name not in pools or name not in natural:
            where = "the law does not know" if name not in pools else "there is no natural share of"
            raise ConfigError(f"{where} the pool {name}", hint=f"the law has {', '.join(pools)}")
    return natural_shares({pool: natural[pool] for pool in pools}, at="natural shares")
