"""What a token of each pool is worth, and how that falls when the pool is repeated.

After x passes over a pool the next token is worth, with its strength s (above 0):

    half_life           s * 0.5^(floor(x) / t)                         Goyal et al. 2024, arXiv:2404.07177
    data_constrained    s for x < 1, then s * exp(-(x - 1) / R)        Muennighoff et al. 2023,
    arXiv:2305.16264

Where one form is asked for and the other was fitted, t = R ln 2. Only ratios of strengths matter for budgets.

Not here: where the numbers come from (priors.py, evidence.py), who gets what (stepwise.py, smooth.py).
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from curate.errors import ConfigError
from curate.selection.allocation.pools import Pools, check_supply
from curate.selection.allocation.settings import Decay
from curate.selection.allocation.smooth import smooth_tokens
from curate.selection.allocation.stepwise import stepwise_tokens
from curate.selection.mixer import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilities:
    """Strength and decay of each pool, in the order of the pools."""

    source: str
    """Where the numbers come from, for people."""
    decay: Decay
    strengths: Floats
    half_lives: Floats
    """Epochs in which the utility halves, whatever the form of the decay."""
    low: Floats | None = None
    """Weakest strength that the evidence allows; NaN where it gives no interval."""
    high: Floats | None = None
    law: Any = None
    """The fitted law, for predictions; None has none."""
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for key in ("strengths", "half_lives"):
            values = getattr(self, key)
            wrong = values[~(np.isfinite(values) & (values > 0))]
            if len(wrong):
                raise ConfigError(f"utilities of {self.source}: {key} are finite and above 0: {wrong[0]}")

    def repeats(self) -> Floats:
        """Repeated passes in which the utility falls to 1/e."""
        return np.asarray(self.half_lives / math.log(2))

    def with_decay(self, decay: Decay | None) -> "Utilities":
        """Give the same half lives in another form; None changes nothing."""
        return self if decay is None else replace(self, decay=decay)

    def marginal(self, tokens: Ints, unique: Ints) -> Floats:
        """What the next token of each pool is worth after `tokens` of it."""
        if self.decay == "half_life":
            return np.asarray(self.strengths * np.exp2(-(tokens // unique) / self.half_lives))
        passes = tokens / unique
        return np.asarray(self.strengths * np.exp(-np.maximum(passes - 1.0, 0.0) / self.repeats()))

    def total(self, tokens: Ints, unique: Ints) -> Floats:
        """What the tokens of each pool are worth together: the integral of `marginal`."""
        if self.decay == "half_life":
            full = tokens // unique
            ratio = np.exp2(-1.0 / self.half_lives)
            passes = np.expm1(-full * math.log(2) / self.half_lives) / np.expm1(
                -math.log(2) / self.half_lives
            )
            rest = (tokens - full * unique) / unique
            return np.asarray(self.strengths * unique * (passes + rest * ratio**full))
        passes, repeats = tokens / unique, self.repeats()
        repeated = -np.expm1(-np.maximum(passes - 1.0, 0.0) / repeats) * repeats
        return np.asarray(self.strengths * unique * (np.minimum(passes, 1.0) + repeated))


def marginal_tokens(pools: Pools, target: int, utilities: Utilities) -> tuple[Ints, float]:
    """Give each next token to the pool where it is worth most, under the caps.

    Returns:
        Tokens of each pool, and the utility at which the budget was full.

    Raises:
        ConfigError: The pools cannot give the target under their caps.
    """
    check_supply(pools, target)
    if utilities.decay == "half_life":
        logs = np.array([math.log2(value) for value in utilities.strengths.tolist()])
        tokens, level = stepwise_tokens(pools, target, logs, utilities.half_lives)
        return tokens, 2.0**level
    logs = np.array([math.log(value) for value in utilities.strengths.tolist()])
    tokens, level = smooth_tokens(pools, target, logs, utilities.repeats())
    return tokens, math.exp(level)
