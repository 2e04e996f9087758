"""Mixtures to train proxies on: a swarm around the natural mix, from nearly one pool to nearly natural.

As RegMix (Liu et al. 2024, arXiv:2407.01492): the natural shares to the power of `temperature` give the
mean of a Dirichlet distribution, its strength is drawn from a logarithmic grid, mixtures with more of a
pool than `max_factor` times its natural share are drawn again, shares below `minimum` become 0, and the
rest is rounded to multiples of `minimum`. Here the rounded shares sum to exactly 1 (largest remainders),
and a mixture nearer than `min_distance` to an earlier one is drawn again. Of laws of m pools, 3 (m + 1)
runs or more suffice (Olmix, arXiv:2602.12237, which also found that caps belong to the best mixture, not to
the swarm).

Cost: 20 ms for 512 mixtures of 17 pools. Not here: what the runs say (log_linear.py and its neighbours).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.mixture.runs import SHARE, different
from curate.laws.mixture.targets import enough
from curate.laws.parameters import Floats

MAX_RUNS = 100_000
MAX_DRAWS = 2_000
"""For each mixture that is wanted; reached where bounds leave hardly any."""
BATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmSettings:
    """How far mixtures go from the natural one."""

    temperature: float = 0.5
    """Power of the natural shares: 1 is natural, 0 the same of every pool."""
    min_strength: float = 0.1
    """Least strength of the Dirichlet distribution: mixtures of few pools."""
    max_strength: float = 5.0
    """Greatest strength: mixtures near the mean."""
    num_strengths: int = 15
    """Points of the logarithmic grid of strengths."""
    max_factor: float | None = 15.0
    """Greatest share of a pool in natural shares; None is no bound."""
    minimum: float = 2e-4
    """Least share of a pool that is used at all, and the grid of shares."""
    min_distance: float = 1e-5
    """Least sum of absolute differences of two mixtures."""
    caps: Mapping[str, float] = field(default_factory=dict)
    """Greatest shares by pool, of those that have one."""

    def __post_init__(self) -> None:
        for key in ("temperature", "min_strength", "max_strength", "minimum", "min_distance"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"swarm: {key} is a finite number, not below 0: {value}")
        if not 0 < self.min_strength <= self.max_strength:
            raise ConfigError(
                f"swarm: strengths are above 0 and in order: {self.min_strength}, {self.max_strength}"
            )
        if self.num_strengths < 1:
            raise ConfigError(f"swarm: num_strengths is above 0: {self.num_strengths}")
        if self.max_factor is not None and not (math.isfinite(self.max_factor) and self.max_factor > 0):
            raise ConfigError(f"swarm: max_factor is above 0, or none: {self.max_factor}")
        if not 1e-6 <= self.minimum <= 0.1:
            raise ConfigError(f"swarm: minimum lies between 1e-6 and 0.1: {self.minimum}")
        for pool, cap in self.caps.items():
            if not 0 < cap <= 1:
                raise ConfigError(f"swarm: a cap is a share above 0 and at most 1, that of {pool} is: {cap}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swarm:
    """Mixtures to train on."""

    pools: tuple[str, ...]
    runs: tuple[str, ...]
    """A name for each mixture."""
    shares: Floats
    """Shape [runs, pools]; multiples of the minimum, rows sum to 1."""
    num_drawn: int
    """Mixtures that were drawn for these."""

    def table(self) -> pl.DataFrame:
        """Columns `run` and `share.<pool>`, to which the losses of the runs are added as `loss.<target>`."""
        columns = {SHARE + pool: self.shares[:, at] for at, pool in enumerate(self.pools)}
        return pl.DataFrame({"run": list(self.runs), **columns})

    def as_text(self) -> str:
        """How many there are, how many suffice, and how far each pool's shares go."""
        count, wanted = len(self.runs), enough(len(self.pools))
        enough_text = "they suffice" if count >= wanted else f"too few: at least {wanted} are wanted"
        lines = [
            f"{count} mixtures of {len(self.pools)} pools ({self.num_drawn} drawn); a law of mixtures wants "
            f"3 (pools + 1) = {wanted} runs: {enough_text}",
            f"{'pool':<32} {'mean':>8} {'greatest':>9} {'used by':>8}",
        ]
        for at, pool in enumerate(self.pools):
            column = self.shares[:, at]
            lines.append(
                f"{pool:<32} {column.mean():>8.4f} {column.max():>9.4f} {int((column > 0).sum()):>8}"
            )
        return "\n".join(lines)


def natural_shares(prior: Mapping[str, float], *, at: str = "swarm") -> Floats:
    """Take amounts of pools, such as tokens, as shares.

    Raises:
        DataError: there is no pool, or an amount is not a finite number above 0.
    """
    different(list(prior), "pool", at=at)
    for pool, amount in prior.items():
        if isinstance(amount, bool) or not isinstance(amount, int | float | np.number):
            raise DataError(f"{at}: the amount of pool {pool} is a number: {amount!r}")
        if not (math.isfinite(amount) and amount > 0):
            raise DataError(f"{at}: the amount of pool {pool} is above 0: {amount}")
    amounts = np.array([float(amount) for amount in prior.values()])
    return np.asarray(amounts / math.fsum(amounts.tolist()))


def swarm(
    prior: Mapping[str, float], num_runs: int, *, seed: int = 42, settings: SwarmSettings | None = None
) -> Swarm:
    """Draw mixtures.

    Args:
        prior: Amount of each pool, as tokens or natural shares.
        num_runs: How many mixtures.
        seed: Of the draw; the first n of more runs are the same.
        settings: How far they go from the natural mixture.

    Raises:
        DataError: an amount is wrong.
        ConfigError: a setting is wrong, a cap is of no pool, or bounds leave too few mixtures.
    """
    settings = settings if settings is not None else SwarmSettings()
    natural, pools = natural_shares(prior), tuple(prior)
    if not 1 <= num_runs <= MAX_RUNS:
        raise ConfigError(f"a swarm has 1 to {MAX_RUNS} runs: {num_runs}")
    if len(pools) < 2:
        raise DataError(f"a mixture has two pools or more: {', '.join(pools)}")
    bounds = _bounds(natural, pools, settings)
    draw = np.random.Generator(np.random.PCG64(seed))
    taken, num_drawn = np.empty((0, len(pools))), 0
    while len(taken) < num_runs:
        if num_drawn >= MAX_DRAWS * num_runs + BATCH:
            raise ConfigError(
                f"bounds leave too few mixtures: {len(taken)} of {num_runs} wanted, after {num_drawn} draws",
                hint="raise max_factor or the caps, or lower min_distance or the number of runs",
            )
        drawn = _dirichlet(natural, settings, draw)
        num_drawn += len(drawn)
        inside = drawn[(drawn <= bounds).all(axis=1)]
        rounded = on_grid(inside, settings.minimum)
        inside = rounded[(rounded <= bounds + settings.minimum).all(axis=1)]
        taken = _apart(taken, inside, settings.min_distance, num_runs)
    width = len(str(num_runs - 1))
    runs = tuple(f"mix-{number:0{width}}" for number in range(num_runs))
    return Swarm(pools=pools, runs=runs, shares=taken, num_drawn=num_drawn)


def _bounds(natural: Floats, pools: Sequence[str], settings: SwarmSettings) -> Floats:
    """The greatest share of each pool."""
    if unknown := sorted(set(settings.caps) - set(pools)):
        raise ConfigError(f"swarm: a cap is of no pool: {unknown[0]}", hint=f"pools are {', '.join(pools)}")
    factor = math.inf if settings.max_factor is None else settings.max_factor
    caps = np.array([settings.caps.get(pool, 1.0) for pool in pools])
    bounds = np.minimum(np.minimum(natural * factor, 1.0), caps)
    if bounds.sum() < 1:
        raise ConfigError(
            f"swarm: the greatest shares of all pools sum to less than 1: {bounds.sum():.6g}",
            hint="raise max_factor or the caps",
        )
    return np.asarray(bounds)


def _dirichlet(natural: Floats, settings: SwarmSettings, draw: np.random.Generator) -> Floats:
    """A batch of mixtures, each with a strength of its own."""
    mean = natural**settings.temperature
    grid = np.geomspace(settings.min_strength, settings.max_strength, settings.num_strengths)
    strengths = draw.choice(grid, BATCH)
    return dirichlet(strengths[:, None] * (mean / mean.sum()), draw)


def dirichlet(concentrations: Floats, draw: np.random.Generator) -> Floats:
    """A mixture for each row of concentrations; exact where these are too small for plain gamma variates.

    A gamma variate of a is one of a + 1 times u**(1/a), which is taken on logarithms.
    """
    logs = np.log(draw.standard_gamma(concentrations + 1))
    logs -= draw.standard_exponential(concentrations.shape) / concentrations
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def on_grid(shares: Floats, minimum: float) -> Floats:
    """Drop shares below `minimum` and round to multiples of it that sum to 1, by largest remainders."""
    kept = np.where(shares < minimum, 0.0, shares)
    steps = round(1 / minimum)
    wanted = kept / kept.sum(axis=1, keepdims=True) * steps
    whole = np.floor(wanted)
    missing = (steps - whole.sum(axis=1)).astype(np.int64)
    order = np.argsort(-(wanted - whole), axis=1, kind="stable")
    ranks = np.argsort(order, axis=1, kind="stable")
    return np.asarray((whole + (ranks < missing[:, None])) / steps)


def _apart(taken: Floats, more: Floats, min_distance: float, count: int) -> Floats:
    """Add mixtures one by one, as long as none is too near."""
    found = np.empty((count, taken.shape[1]))
    found[: len(taken)], size = taken, len(taken)
    for row in more:
        if size == count:
            break
        if size == 0 or np.abs(found[:size] - row).sum(axis=1).min() > min_distance:
            found[size], size = row, size + 1
    return found[:size]
