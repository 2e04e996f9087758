"""The best mixture under a log-linear law: a convex program on the simplex with caps, solved by its dual.

Minimise over shares x, with 0 <= x <= cap and sum 1,

    mean over targets m of exp(b_m + a_m . x)  +  kl * sum_i x_i ln(x_i / prior_i)

the form of Olmix (arXiv:2602.12237) and of the log-linear law of RegMix (arXiv:2407.01492). For given prices
y of the targets the best shares are closed: min(cap, s * prior * exp(-(y . a) / kl)) with s such that they
add up to 1. What is left is a concave function of the prices alone, one number a target, which Newton's
method with step halving maximises. The difference of the two objectives bounds the error, and is returned.

The shares are found on logarithms, as weights of exp(-1000) to one another are common where kl is small.

Cost: a sort of the pools and m^2 products a pool, for each of 10 to 40 steps: 0.1 s for 1,000 pools and 10
targets. Not here: where the law comes from (laws.py of this package).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate.errors import ConfigError
from curate.selection.allocation.capped import capped_shares
from curate.selection.mixer import Floats

MAX_STEPS = 300
TOLERANCE = 1e-13
"""Wanted difference of primal and dual objective, relative to their size."""
MAX_GAP = 1e-8
MAX_EXPONENT = 600.0
"""Greatest exponent of a law at any mixture: exp of more does not fit a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The problem: arrays by pool, `slopes` with a row for each target."""

    intercepts: Floats
    slopes: Floats
    prior: Floats
    """Shares of the natural mix, above 0, sum 1."""
    caps: Floats
    """Greatest shares; they add up to at least 1."""
    kl: float

    def objective(self, shares: Floats) -> float:
        """Loss of a mixture and its divergence."""
        used = shares > 0
        divergence = float((shares[used] * np.log(shares[used] / self.prior[used])).sum())
        return float(np.exp(self.intercepts + self.slopes @ shares).mean()) + self.kl * divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The best shares, the objective, and how far above the least one it can be at most."""

    shares: Floats
    objective: float
    gap: float
    num_steps: int


def solve(program: Program) -> Solution:
    """Find the best mixture; the same numbers give the same bits.

    Raises:
        ConfigError: The law grows beyond what fits a number, or no mixture of a small enough error was found.
    """
    logs, caps = np.log(program.prior), program.caps
    widest = float((program.intercepts + program.slopes.max(axis=1)).max())
    if not widest <= MAX_EXPONENT:
        raise ConfigError(f"a log-linear law reaches an exponent above {MAX_EXPONENT:g}: {widest:g}")
    num_targets = len(program.intercepts)

    def state(prices: Floats) -> _Point:
        return _Point.at(program, logs, prices)

    first = np.exp(program.intercepts + program.slopes @ np.minimum(program.prior, caps))
    prices = np.maximum(first, 1e-300) / num_targets
    point = state(prices)
    steps = 0
    while point.gap > TOLERANCE * max(1.0, abs(point.primal)) and steps < MAX_STEPS:
        steps += 1
        better = _step(point, program, state)
        if better is None:
            break
        point = better
    if not point.gap <= MAX_GAP * max(1.0, abs(point.primal)):
        raise ConfigError(
            f"no mixture was found with an objective within {MAX_GAP:g} of the best; the gap: {point.gap:g}",
            hint=f"a larger kl makes the problem easier than: {program.kl:g}",
        )
    return Solution(shares=point.shares, objective=point.primal, gap=max(point.gap, 0.0), num_steps=steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """Prices of the targets with the shares that are best for them."""

    prices: Floats
    shares: Floats
    is_free: np.ndarray
    dual: float
    primal: float
    gradient: Floats

    @property
    def gap(self) -> float:
        return self.primal - self.dual

    @classmethod
    def at(cls, program: Program, logs: Floats, prices: Floats) -> "_Point":
        weights = logs - (prices @ program.slopes) / program.kl
        shares, is_free = capped_shares(weights, program.caps)
        exponents = program.intercepts + program.slopes @ shares
        # With y = prices: y - y ln(k y) + y b + y . a x, the conjugate of exp(.) / k, for k targets.
        prices_log = np.log(prices * len(prices))
        used = shares > 0
        divergence = program.kl * float((shares[used] * (np.log(shares[used]) - logs[used])).sum())
        gradient = exponents - prices_log
        return cls(
            prices=prices,
            shares=shares,
            is_free=is_free,
            dual=float((prices * (1.0 + gradient)).sum()) + divergence,
            primal=float(np.exp(exponents).mean()) + divergence,
            gradient=gradient,
        )


def _step(point: _Point, program: Program, state: "Callable[[Floats], _Point]") -> _Point | None:
    """Go one step up the dual; None where no step goes up in doubles."""
    free, shares = program.slopes[:, point.is_free], point.shares[point.is_free]
    total = shares.sum()
    spread = (free * shares) @ free.T
    if total > 0:
        mean = free @ shares
        spread -= np.outer(mean, mean) / total
    hessian = np.diag(1.0 / point.prices) + spread / program.kl
    direction = np.linalg.solve(hessian, point.gradient)
    slope = float(direction @ point.gradient)
    is_flat = slope < 1e-11 * max(1.0, abs(point.dual))  # what is left to gain is lost in rounding
    length = 0.9 / max(0.9, float((-direction / point.prices).max()))  # prices stay above 0
    for _ in range(60):
        found = state(point.prices + length * direction)
        if found.dual >= point.dual + 1e-4 * length * slope:
            return found
        if is_flat and found.gap < 0.5 * point.gap:
            return found
        length /= 2
    return None
