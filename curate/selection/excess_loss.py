"""Excess loss over a reference, as DoReMi (Xie et al. 2023, arXiv:2305.10429; sangmichaelxie/doremi, MIT).

For each pool e_i = max(loss - reference loss, 0); where a pool was not seen, the last e_i counts again. Then
w <- w exp(eta e), scaled to the sum 1, and w <- (1 - c) w + c/K; eta = 1, c = 1e-3, even at first.

Published and here: DoReMi clips each token's excess, then takes the mean; here only a pool's mean loss is
known, and that is clipped, which gives less for pools with losses on both sides of the reference. Feedback
that is already a mean of clipped excess losses, with a reference of 0, is the published form. DoReMi draws
pools evenly and scales losses by w; its result is the mean of w over all steps, which `average` gives. A
block is one step of that, with the mean loss over the block.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from curate.errors import ConfigError
from curate.selection.bandit import Feedback, Learner, LearnerSettings
from curate.selection.mixer import Floats, by_pool, check_names, softmax


class ExcessLossSettings(LearnerSettings):
    """Settings of excess loss."""

    reference: dict[str, float]
    """Loss of a reference model on each pool, in nats a token."""
    eta: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Factor of the excess loss in the exponent."""
    smoothing: float = Field(default=1e-3, gt=0, le=1)
    """c: part of the weight that is spread evenly at each update."""
    average: bool = False
    """Use the mean of the weights after each update so far, not the newest ones."""

    @field_validator("reference")
    @classmethod
    def _check(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        for name, loss in value.items():
            if not math.isfinite(loss):
                raise ConfigError(f"excess_loss.reference: a loss is finite: {name!r} has {loss}")
        return value


class ExcessLoss(Learner):
    """Exponentiated gradient on the excess loss."""

    kind = "excess_loss"

    def __init__(self, settings: ExcessLossSettings) -> None:
        self.settings: ExcessLossSettings = settings

    def begin(self, names: list[str]) -> None:
        """Start with even weights and no excess."""
        at, table = "excess_loss.reference", self.settings.reference
        check_names(table, self.names, at=at)
        self._reference = np.array(by_pool({k: v for k, v in table.items() if k in names}, names, at=at))
        self.shares = np.full(len(names), 1.0 / len(names))
        self.excess, self.sums = np.zeros(len(names)), np.zeros(len(names))

    def policy(self) -> Sequence[float]:
        """Give the newest weights or their average."""
        if self.settings.average and self.num_updates:
            return list((self.sums / self.num_updates).tolist())
        return list(self.shares.tolist())

    def learn(self, feedback: Feedback) -> None:
        """Move the weights by the excess losses, the last known where a pool was not seen."""
        over = np.maximum(np.where(feedback.seen, feedback.losses, 0.0) - self._reference, 0.0)
        self.excess = np.where(feedback.seen, over, self.excess)
        eta, smoothing, size = self.settings.eta, self.settings.smoothing, len(self.shares)
        moved = softmax(
            [
                math.log(share) + eta * excess
                for share, excess in zip(self.shares.tolist(), self.excess.tolist(), strict=True)
            ]
        )
        self.shares = np.array([(1.0 - smoothing) * share + smoothing / size for share in moved])
        self.sums = self.sums + self.shares

    def learned(self) -> dict[str, Floats]:
        """Give the weights, their sum over the updates, and the last excess losses."""
        return {"shares": self.shares, "sums": self.sums, "excess": self.excess}
