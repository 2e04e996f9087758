"""Upper confidence bounds, as Quad chooses clusters (arXiv:2409.16986, ICLR 2025).

Each pool has a score: its mean reward plus alpha sqrt(2 ln(T) / T_i), where T_i counts the blocks that it was
seen in and T all of them. The paper's form has T_i = 0 first of all; the code's (iTheresaApocalypse/Quad at
c2f0b39) divides by T_i + 1. The `num_pools` best share the weight evenly, ties by name.

Quad takes 50 of 9,873 clusters an iteration and alpha = 1e-4, because influences are about 1e-3: alpha must
have the size of the rewards. Hence rewards are brought to [0, 1] by the range of the pools' means unless
`normalise` is off. A block is one visit of each pool seen in it. Here rewards do not spread to neighbours.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from curate.selection.bandit import Feedback, Learner, RewardSettings
from curate.selection.mixer import Floats


class UcbSettings(RewardSettings):
    """Settings of the upper confidence bounds."""

    form: Literal["paper", "plus_one"] = "paper"
    """Whether the bound divides by T_i, or, as the code of Quad, by T_i + 1."""
    alpha: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Weight of uncertainty, in units of the (normalised) reward."""
    normalise: bool = True
    """Bring mean rewards to [0, 1] by their range over the pools; off, alpha is in units of the reward."""
    num_pools: int | None = Field(default=None, ge=1)
    """Pools that share the weight of a block; None is a tenth of them, at least one."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Part of the weight that is spread evenly over all pools."""
    discount: float = Field(default=1.0, gt=0, le=1)
    """What a visit counts after each later block (Garivier and Moulines 2011); 1 forgets nothing."""


def upper_bounds(
    means: Sequence[float], visits: Sequence[float], *, alpha: float, form: Literal["paper", "plus_one"]
) -> list[float]:
    """Score pools; infinite, in the paper's form, where there was no visit."""
    total = math.fsum(visits)
    logarithm = math.log(total) if total > 1 else 0.0
    more = 1 if form == "plus_one" else 0
    return [
        mean + alpha * math.sqrt(2.0 * logarithm / (count + more)) if count + more > 0 else math.inf
        for mean, count in zip(means, visits, strict=True)
    ]


class Ucb(Learner):
    """The pools with the highest upper confidence bounds."""

    kind = "ucb"

    def __init__(self, settings: UcbSettings) -> None:
        self.settings: UcbSettings = settings

    def begin(self, names: list[str]) -> None:
        """No visits yet."""
        self._names = names
        self.sums, self.visits = np.zeros(len(names)), np.zeros(len(names))

    def policy(self) -> Sequence[float]:
        """Give the best pools even weights."""
        settings, size = self.settings, len(self._names)
        scores = upper_bounds(self._means(), self.visits.tolist(), alpha=settings.alpha, form=settings.form)
        number = min(size, settings.num_pools or max(1, size // 10))
        best = sorted(range(size), key=lambda pool: (-scores[pool], self._names[pool]))[:number]
        weights = [settings.floor / size] * size
        for pool in best:
            weights[pool] += (1.0 - settings.floor) / number
        return weights

    def _means(self) -> list[float]:
        """Mean rewards, normalised where asked; 0 for pools without visits."""
        means = [
            total / count if count > 0 else 0.0
            for total, count in zip(self.sums.tolist(), self.visits.tolist(), strict=True)
        ]
        if not self.settings.normalise:
            return means
        known = [mean for mean, count in zip(means, self.visits.tolist(), strict=True) if count > 0]
        low, high = (min(known), max(known)) if known else (0.0, 0.0)
        if high <= low:
            return [0.0] * len(means)
        return [
            (mean - low) / (high - low) if count > 0 else 0.0
            for mean, count in zip(means, self.visits.tolist(), strict=True)
        ]

    def learn(self, feedback: Feedback) -> None:
        """Count a visit of each pool seen; with `fall`, of each pool seen before."""
        rewards = feedback.losses if self.settings.reward == "loss" else feedback.falls
        known = np.isfinite(rewards)
        keep = self.settings.discount
        self.sums = keep * self.sums + np.where(known, rewards, 0.0)
        self.visits = keep * self.visits + np.where(known, 1.0, 0.0)

    def learned(self) -> dict[str, Floats]:
        """Give sums of rewards and numbers of visits."""
        return {"sums": self.sums, "visits": self.visits}
