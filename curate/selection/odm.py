"""Online Data Mixing (Albalak et al. 2023, arXiv:2312.02406): a high loss is worth training on.

The paper, for the pool i drawn at time t, with its loss L: R_i <- a R_i + (1 - a) L / p_i, a = 0.9, then
p_i = (1 - K E_t) exp(E_(t-1) R_i) / sum_j exp(E_(t-1) R_j) + E_t with E_t = min(1/K, sqrt(ln K / (K t))).
Weights are even while E_t = 1/K, which is until t > K ln K: the first 3 updates of 3 pools, 6,900 of 1,000.

Its code (alon-albalak/online-data-mixing at edbfdad, Apache-2.0) does two other things, which are here by
their names: `smoothed_mean` smooths exp(L) and does not divide by p_i; `group_update`, for all pools seen at
once, smooths exp(L) too, but with weights linear in R: p_i = (1 - K E_t) R_i / sum_j R_j + E_t.

A block is one time t; R of every pool seen in it is updated with its mean loss and its weight p_i in that
block, as the paper does for the pools that one iteration draws. R of the others stays. L / p_i pulls weights
together again: where a pool gets more, its reward falls; `smoothed_mean` prefers high losses more.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from curate.selection.bandit import Feedback, Learner, LearnerSettings
from curate.selection.mixer import Floats, softmax


class OdmSettings(LearnerSettings):
    """Settings of Online Data Mixing."""

    form: Literal["paper", "smoothed_mean", "group_update"] = "paper"
    """The paper's update, or one of the two in its code."""
    smoothing: float = Field(default=0.9, ge=0, lt=1)
    """a: part of the old reward that stays."""


def exploration(num_pools: int, time: int) -> float:
    """E_t: the least weight of a pool; 1/K at time 0."""
    if time < 1:
        return 1.0 / num_pools
    return min(1.0 / num_pools, math.sqrt(math.log(num_pools) / (num_pools * time)))


class Odm(Learner):
    """Exponential weights of smoothed losses, with exploration that fades."""

    kind = "odm"

    def __init__(self, settings: OdmSettings) -> None:
        self.settings: OdmSettings = settings

    def begin(self, names: list[str]) -> None:
        """Set all rewards to 0."""
        self.rewards = np.zeros(len(names))

    def policy(self) -> Sequence[float]:
        """Mix the weights by rewards with even ones; even before anything was seen."""
        size, time = len(self.rewards), self.num_updates
        least, before = exploration(size, time), exploration(size, time - 1)
        rewards: list[float] = self.rewards.tolist()
        if time == 0:
            return [1.0 / size] * size
        if self.settings.form == "group_update":
            total = math.fsum(rewards)
            parts = [reward / total for reward in rewards]
        else:
            parts = softmax([before * reward for reward in rewards])
        return [(1.0 - size * least) * part + least for part in parts]

    def learn(self, feedback: Feedback) -> None:
        """Smooth the rewards of the pools that were seen."""
        keep, seen = self.settings.smoothing, feedback.seen
        losses = np.where(seen, feedback.losses, 0.0)
        if self.settings.form == "paper":
            new = losses / np.where(feedback.policy > 0, feedback.policy, 1.0)
        else:
            new = np.array([math.exp(loss) for loss in losses.tolist()])
        self.rewards = np.where(seen, keep * self.rewards + (1.0 - keep) * new, self.rewards)

    def learned(self) -> dict[str, Floats]:
        """Give the rewards."""
        return {"rewards": self.rewards}
