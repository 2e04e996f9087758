"""Mixers that learn from losses: what they share, and Exp3.

**A block instead of a draw.** The published bandits draw one pool, see its reward and update once. Here a
block of steps serves all pools by their weights and gives feedback for many of them at once. Every learner
makes one update a block, with the mean loss of each pool; `q` is a pool's part of the tokens that gave
feedback in the block, `p` its weight in that block (not the newest one: feedback comes late). A block that
gives feedback for one pool alone is the published update, number by number. How each learner treats several
is said in its docstring.

**What is feedback.** A loss that is not finite, or of no tokens, was not seen, and what was learned of that
pool stays. Other losses are cut to +-100 nats a token. Blocks of a warm-up are not learned from. Pools
without tokens and those of `exclude` have weight 0 and are not counted as pools.

Exp3 (Auer et al. 2002, "The nonstochastic multiarmed bandit problem"): p = (1 - gamma) softmax(s) + gamma/K,
s_i += (gamma/K) x_i / p_i for the drawn pool, with rewards x in [0, 1]. Over a block the mean of the n
one-draw estimates is x_i q_i / p_i, and that is added: about x_i itself where pools are served as asked.

Cost: a pass over the pools for each block. Not here: odm.py, ucb.py, excess_loss.py.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curate.errors import ConfigError, StateError
from curate.schema import Settings
from curate.selection.mixer import (
    MAX_LOSS,
    Floats,
    Ints,
    PoolSupply,
    check_header,
    check_names,
    header,
    normalised,
    pack,
    softmax,
    unpack,
    unpack_count,
)


class LearnerSettings(Settings):
    """What all learners have."""

    exclude: list[str] = Field(default=[])
    """Pools that have weight 0 throughout."""
    warmup_blocks: int = Field(default=0, ge=0)
    """Blocks with natural weights, not learned from; they last until a later block's feedback is there."""


class RewardSettings(LearnerSettings):
    """What is rewarded."""

    reward: Literal["loss", "fall"] = "loss"
    """`loss`: a high loss is worth training on. `fall`: how much a pool's loss fell since it was seen before,
    for each unit of its share of the block."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Feedback:
    """One block, the pools that may have weight only."""

    seen: NDArray[np.bool_]
    losses: Floats
    """Cut to +-MAX_LOSS; NaN where not seen."""
    falls: Floats
    """Fall of the loss by unit of share, cut likewise; NaN where a pool was not seen twice."""
    shares: Floats
    """Parts of the tokens that gave feedback; 0 where not seen."""
    policy: Floats
    """Weights of the block."""


class Learner(ABC):
    """A mixer that learns; children say how, on the pools that may have weight."""

    kind = ""
    needs_feedback = True
    settings: LearnerSettings

    def start(self, pools: Sequence[PoolSupply], weights: Floats) -> None:
        """Take the pools and their natural weights; nothing was learned yet.

        Raises:
            ConfigError: A name in `exclude` is no pool, or no pool is left.
        """
        self.names = [pool.name for pool in pools]
        check_names(self.settings.exclude, self.names, at=f"{self.kind}.exclude")
        natural = normalised(weights)
        excluded = np.isin(self.names, self.settings.exclude) if self.settings.exclude else False
        self.active = np.flatnonzero((natural > 0) & ~np.asarray(excluded))
        if not len(self.active):
            raise ConfigError(f"{self.kind}: no pool with tokens is left of: {len(pools)}")
        self.natural = normalised(natural[self.active])
        self.num_updates = 0
        self.last_block = -1
        self.last_losses = np.full(len(self.active), math.nan)
        self.issued: dict[int, Floats] = {}
        self.begin([self.names[pool] for pool in self.active])

    @abstractmethod
    def begin(self, names: list[str]) -> None:
        """Set what is learned to its start; `names` are the pools that may have weight."""

    @abstractmethod
    def policy(self) -> Sequence[float]:
        """Give the weights by what was learned."""

    @abstractmethod
    def learn(self, feedback: Feedback) -> None:
        """Learn from one block; `num_updates` counts it already."""

    @abstractmethod
    def learned(self) -> dict[str, Floats]:
        """Give what was learned, by the names of attributes."""

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Give the weights of a block, and remember them until its feedback comes."""
        warm = block < self.settings.warmup_blocks
        if warm or (self.settings.warmup_blocks and not self.num_updates):
            policy = self.natural
        else:
            policy = normalised(self.policy())
        self.issued[block] = policy
        result = np.zeros(len(self.names))
        result[self.active] = policy
        return result

    def update(self, block: int, losses: Floats, counts: Ints, served: Ints) -> None:
        """Learn from a block.

        Raises:
            StateError: A block comes twice or out of order.
        """
        if block <= self.last_block:
            raise StateError(f"feedback came for block {self.last_block} already, then for block {block}")
        for name, values in (("losses", losses), ("counts", counts)):
            if np.shape(values) != (len(self.names),):
                raise ConfigError(f"{name}: one for each of {len(self.names)} pools: {np.shape(values)}")
        self.last_block = block
        policy = self.issued.get(block)
        self.issued = {number: each for number, each in self.issued.items() if number > block}
        if block < self.settings.warmup_blocks:
            return
        feedback = self._feedback(losses, counts, normalised(self.policy()) if policy is None else policy)
        if feedback.seen.any():
            self.num_updates += 1
            self.learn(feedback)
            self.last_losses = np.where(feedback.seen, feedback.losses, self.last_losses)

    def _feedback(self, losses: Floats, counts: Ints, policy: Floats) -> Feedback:
        given = np.asarray(losses, dtype=np.float64)[self.active]
        tokens = np.asarray(counts)[self.active]
        seen = np.isfinite(given) & (tokens > 0)
        cut = np.where(seen, np.clip(np.where(seen, given, 0.0), -MAX_LOSS, MAX_LOSS), math.nan)
        shares = normalised(np.where(seen, tokens, 0))
        falls = (self.last_losses - cut) / np.where(seen, np.maximum(shares, 1e-300), 1.0)
        falls = np.clip(falls, -MAX_LOSS, MAX_LOSS)
        return Feedback(seen=seen, losses=cut, falls=falls, shares=shares, policy=policy)

    def _header(self) -> dict[str, Any]:
        return header(self.kind, self.settings, self.names)

    def state(self) -> dict[str, Any]:
        """Give all that later weights depend on."""
        return {
            **self._header(),
            "num_updates": self.num_updates,
            "last_block": self.last_block,
            "last_losses": pack(self.last_losses),
            "issued": {str(block): pack(policy) for block, policy in sorted(self.issued.items())},
            "learned": {name: pack(values) for name, values in self.learned().items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state.

        Raises:
            StateError: It is of another mixer, other settings or other pools, or not whole.
        """
        check_header(state, self._header())
        learned, issued = state.get("learned"), state.get("issued")
        if not isinstance(learned, dict) or not isinstance(issued, dict):
            raise StateError(f"the state of the mixer lacks learned or issued: {sorted(state)}")
        size = len(self.active)
        arrays = {name: unpack(learned, name, len(now)) for name, now in self.learned().items()}
        policies = {int(block): unpack(issued, block, size) for block in issued if block.isdecimal()}
        last_losses = unpack(state, "last_losses", size)
        self.num_updates = unpack_count(state, "num_updates")
        self.last_block = unpack_count(state, "last_block", least=-1)
        self.last_losses, self.issued = last_losses, policies
        for name, values in arrays.items():
            setattr(self, name, values)


class Exp3Settings(RewardSettings):
    """Settings of Exp3."""

    gamma: float = Field(default=0.1, gt=0, le=1)
    """Part of the weight that is spread evenly; the least weight of a pool is gamma/K."""
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Factor of the reward in the exponent; None is gamma/K, as published."""
    scale: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Reward that counts as 1; rewards are cut to [0, 1]. None is 10 for `loss`, and for `fall` the range of
    the block's rewards, its least counting as 0."""


class Exp3(Learner):
    """Exponential weights with even exploration."""

    kind = "exp3"

    def __init__(self, settings: Exp3Settings) -> None:
        self.settings: Exp3Settings = settings

    def begin(self, names: list[str]) -> None:
        """Set all exponents to 0."""
        self.exponents = np.zeros(len(names))

    def policy(self) -> Sequence[float]:
        """Mix the exponential weights with even ones."""
        gamma, size = self.settings.gamma, len(self.exponents)
        return [(1.0 - gamma) * part + gamma / size for part in softmax(self.exponents.tolist())]

    def learn(self, feedback: Feedback) -> None:
        """Add the mean of the one-draw estimates; only differences of exponents matter."""
        rewards = self._rewards(feedback)
        size = len(self.exponents)
        rate = self.settings.rate if self.settings.rate is not None else self.settings.gamma / size
        weighted = np.divide(
            rewards * feedback.shares, feedback.policy, out=np.zeros(size), where=feedback.policy > 0
        )
        exponents = self.exponents + rate * weighted
        self.exponents = exponents - exponents.max()

    def _rewards(self, feedback: Feedback) -> Floats:
        """The rewards in [0, 1]; 0 where a pool was not seen, which its share of 0 makes void anyway."""
        given = feedback.losses if self.settings.reward == "loss" else feedback.falls
        known = np.isfinite(given)
        scale, least = self.settings.scale, 0.0
        if scale is None and self.settings.reward == "loss":
            scale = 10.0
        elif scale is None:
            least = float(given[known].min()) if known.any() else 0.0
            scale = float(given[known].max()) - least if known.any() else 0.0
        if scale <= 0:
            return np.where(known, 0.5, 0.0)
        return np.clip(np.where(known, given - least, 0.0) / scale, 0.0, 1.0)

    def learned(self) -> dict[str, Floats]:
        """Give the exponents."""
        return {"exponents": self.exponents}
