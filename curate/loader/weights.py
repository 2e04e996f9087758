"""Weights of the pools, sealed block by block: what a lane may rely on, and what replays a run.

A block is B steps. Feedback of block b decides the weights of block b + D, which are sealed just before
step (b + D) * B - A is handed out: workers may then be A batches ahead and never wait, and since (D - 1) *
B >= A all batches of block b were handed out by then. Feedback that has not come counts as none. What is
sealed never changes, so the log of the weights and the index give every batch again, without a model.

Sums over ranks are of 64-bit integers, so they do not depend on who hosts which lane. Not here: the rules
that make weights of losses (curate.selection).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curate.errors import ConfigError, StateError
from curate.loader.feedback import mean_losses
from curate.loader.settings import Constants
from curate.loader.state import Floats, Ints
from curate.selection.mixer import Mixer, check_names, checked
from curate.selection.supply import within_supply


@dataclass
class WeightLog:
    """Sealed weights by block, without gaps up to `sealed`; older ones may be forgotten."""

    blocks: dict[int, Floats] = field(default_factory=dict)
    sealed: int = 0
    """Blocks that are sealed, counted from 0."""

    def seal(self, weights: Floats) -> None:
        """Add the next block's."""
        self.blocks[self.sealed] = weights
        self.sealed += 1

    def of(self, block: int) -> Floats:
        """Weights of a sealed block."""
        return self.blocks[block]

    def forget(self, before: int) -> None:
        """Drop the blocks below `before`."""
        for block in [block for block in self.blocks if block < before]:
            del self.blocks[block]


class Mixing:
    """Seals blocks: asks the mixer, sees to it that no pool is asked for more than it may give."""

    def __init__(  # over: what weights are made of
        self, constants: Constants, mixer: Mixer, names: Sequence[str], allowed: Floats, *, sealed: int = 0
    ) -> None:
        """Start after `sealed` blocks; `allowed` are the tokens that each pool may give, or infinite."""
        self.log = WeightLog(sealed=sealed)
        self.mixer = mixer
        self._constants, self._names, self._allowed = constants, list(names), allowed
        self._set: Floats | None = None

    def due(self, step: int) -> bool:
        """Whether a block is to be sealed before `step` is handed out."""
        return self.log.sealed * self._constants.block_steps - self._constants.max_in_flight <= step

    def seal(self, sums: Ints, served: Ints, step: int) -> Floats:
        """Seal the next block.

        Args:
            sums: losses in fixed point and their tokens, [pools, 2], of the block that decides.
            served: tokens handed out so far, [pools].
            step: the step that is handed out next.
        """
        constants, block = self._constants, self.log.sealed
        if block >= constants.delay:
            losses, counts = mean_losses(sums)
            self.mixer.update(block - constants.delay, losses, counts, served)
        first_step = block * constants.block_steps
        weights = self._set
        if weights is None:
            weights = self.mixer.weights(block, first_step, constants.tokens_per_step)
        self.log.seal(np.array(self._within_supply(weights, served, step), np.float64))
        return self.log.of(block)

    def _within_supply(self, weights: Floats, served: Ints, step: int) -> Floats:
        """Ask no pool for more than its cap leaves; a run that ends asks on, its lanes give what there is."""
        constants = self._constants
        if constants.end != "never" or not np.isfinite(self._allowed).any():
            return weights
        remaining = np.maximum(self._allowed - served - self._promised(step), 0.0)
        block_tokens = constants.tokens_per_step * constants.block_steps
        within = within_supply(weights, remaining=remaining, block_tokens=block_tokens)
        return within if within.any() else weights

    def _promised(self, step: int) -> Floats:
        """Tokens of each pool that sealed weights ask for from `step` on."""
        constants = self._constants
        total = np.zeros(len(self._names))
        for block in range(constants.block_of(step), self.log.sealed):
            first = max(step, block * constants.block_steps)
            num_steps = (block + 1) * constants.block_steps - first
            total += self.log.of(block) * (num_steps * constants.tokens_per_step)
        return total

    def set(self, weights: Mapping[str, float] | None) -> int:
        """Use these weights from the first block that is not sealed, and return it; None: the mixer's.

        Raises:
            ConfigError: an unknown pool, a negative or infinite weight, or no weight above 0.
        """
        self._set = None if weights is None else weight_array(weights, self._names)
        return self.log.sealed

    @property
    def current_set(self) -> Floats | None:
        """What `set` was given last."""
        return self._set

    def state(self, step: int) -> dict[str, Any]:
        """JSON values that go on from `step`."""
        first = max(self._constants.block_of(step) - 1, 0)
        return {
            "sealed": self.log.sealed,
            "weights": {
                str(block): list(map(float, weights))
                for block, weights in sorted(self.log.blocks.items())
                if block >= first
            },
            "set": None if self._set is None else list(map(float, self._set)),
            "mixer": self.mixer.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave.

        Raises:
            StateError: the weights are of another number of pools.
        """
        blocks = {int(block): np.array(weights, np.float64) for block, weights in state["weights"].items()}
        for block, weights in blocks.items():
            if len(weights) != len(self._names):
                raise StateError(
                    f"the weights of block {block} are of {len(weights)} pools, this run has "
                    f"{len(self._names)}"
                )
        self.log = WeightLog(blocks, int(state["sealed"]))
        self._set = None if state["set"] is None else np.array(state["set"], np.float64)
        self.mixer.load(state["mixer"])


def weight_array(weights: Mapping[str, float], names: Sequence[str]) -> Floats:
    """Weights in the order of the pools, scaled to a sum of 1; pools that are not named get 0."""
    if not isinstance(weights, Mapping):
        raise ConfigError(f"set_weights takes a mapping from pools to numbers: {weights!r}")
    check_names(weights, names, at="set_weights")
    try:
        values = [float(weights.get(name, 0.0)) for name in names]
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"set_weights: a weight is a number: {dict(weights)}") from exc
    return checked(values, at="set_weights")
