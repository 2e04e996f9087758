"""Excess loss over a reference, as DoReMi (Xie et al. 2023, arXiv:2305.10429; sangmichaelxie/doremi, MIT).

For each pool e_i = max(loss - reference loss, 0); where a pool was not seen, the last e_i counts again. Then
w <- w exp(eta e), scaled to the sum 1, and w <- (1 - c) w + c/K; eta = 1, c = 1e-3, even at first.

Published and here: DoReMi clips each token's excess, then takes the mean; here only a pool's mean loss is
known, and that is clipped, which gives less for pools with losses on both sides of the reference. Feedback
that is already a mean of clipped excess losses, with a reference of 0, is the published form. DoReMi draws
pools evenly and scales losses by w; its result is the mean of w over all steps, which `average` gives. A
block is one step of that, with the mean loss over the block.

`doremi_weights` is the same update over excess losses that were measured before, step by step;
`clipped_excess` makes them from losses of tokens as published. Cost: nothing worth a number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from curate.errors import ConfigError, DataError
from curate.selection.bandit import Feedback, Learner, LearnerSettings
from curate.selection.mixer import Floats, by_pool, check_names, checked, softmax


def moved(shares: Floats, excess: Floats, *, eta: float, smoothing: float) -> Floats:
    """One update of the weights: w exp(eta e) scaled to the sum 1, and a part of it spread evenly."""
    grown = softmax(
        [math.log(share) + eta * over for share, over in zip(shares.tolist(), excess.tolist(), strict=True)]
    )
    return np.array([(1.0 - smoothing) * share + smoothing / len(grown) for share in grown])


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
        self.shares = moved(
            self.shares, self.excess, eta=self.settings.eta, smoothing=self.settings.smoothing
        )
        self.sums = self.sums + self.shares

    def learned(self) -> dict[str, Floats]:
        """Give the weights, their sum over the updates, and the last excess losses."""
        return {"shares": self.shares, "sums": self.sums, "excess": self.excess}


@dataclass(frozen=True, slots=True)
class DoReMiWeights:
    """Weights after each step, and their mean, which is what DoReMi trains on."""

    after_each: Floats
    """Shape [steps, domains]."""
    average: Floats


def doremi_weights(
    excess_losses: ArrayLike,
    *,
    eta: float = 1.0,
    smoothing: float = 1e-3,
    start: Sequence[float] | None = None,
) -> DoReMiWeights:
    """Run DoReMi's update over excess losses.

    Args:
        excess_losses: Mean excess loss of each domain at each step, shape [steps, domains]; what is below 0
            counts as 0, NaN is a domain that was not seen, whose last excess counts again (0 at first).
        eta: Factor in the exponent.
        smoothing: Part of the weight that is spread evenly at each step.
        start: Weights before the first step, all above 0; None is even weights.

    Raises:
        DataError: the shape is wrong, or an excess is infinite.
        ConfigError: a setting is out of range.
    """
    table = np.asarray(excess_losses, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise DataError(f"excess losses have the shape [steps, domains]: {table.shape}")
    if np.isinf(table).any():
        step, domain = (int(at[0]) for at in np.nonzero(np.isinf(table)))
        raise DataError(f"excess loss of domain {domain} at step {step} is infinite: {table[step, domain]}")
    if not (math.isfinite(eta) and eta > 0 and 0 < smoothing <= 1):
        raise ConfigError(f"eta is above 0, smoothing above 0 and at most 1: {eta}, {smoothing}")
    size = table.shape[1]
    shares = np.full(size, 1.0 / size) if start is None else checked(start, at="start")
    if len(shares) != size or not shares.all():
        raise ConfigError(f"start has a weight above 0 for each of {size} domains: {list(start or [])}")
    excess, after = np.zeros(size), np.empty_like(table)
    for step, seen in enumerate(table):
        excess = np.where(np.isnan(seen), excess, np.maximum(seen, 0.0))
        after[step] = shares = moved(shares, excess, eta=eta, smoothing=smoothing)
    return DoReMiWeights(after, after.mean(axis=0))


def clipped_excess(losses: ArrayLike, reference: ArrayLike, domains: ArrayLike, num_domains: int) -> Floats:
    """Mean over the tokens of each domain of max(loss - reference loss, 0); NaN for a domain without tokens.

    The clip is of each token, before the mean, as published.

    Args:
        losses: Of each token, in nats.
        reference: Loss of the reference model on it.
        domains: Place of its domain.
        num_domains: Length of the answer.

    Raises:
        DataError: lengths differ, a loss is not finite, or a place is out of range.
    """
    loss, base = np.asarray(losses, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    owner = np.asarray(domains)
    if loss.ndim != 1 or loss.shape != base.shape or loss.shape != owner.shape:
        raise DataError(
            f"losses, reference and domains are of the same tokens: {loss.shape}, {base.shape}, {owner.shape}"
        )
    over = loss - base
    if not np.isfinite(over).all():
        at = int(np.flatnonzero(~np.isfinite(over))[0])
        raise DataError(f"the losses of token {at} are finite: {loss[at]}, {base[at]}")
    if not np.issubdtype(owner.dtype, np.integer) and len(owner):
        raise DataError(f"domains are whole numbers: {owner.dtype}")
    if len(owner) and not (owner.min() >= 0 and owner.max() < num_domains):
        raise DataError(f"a domain lies from 0 to {num_domains - 1}: {owner.min()} to {owner.max()}")
    places = owner.astype(np.int64)
    total = np.bincount(places, weights=np.maximum(over, 0.0), minlength=num_domains)
    count = np.bincount(places, minlength=num_domains)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
