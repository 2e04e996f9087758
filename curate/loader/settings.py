"""Constants of a training run: all that decides its batches beside the documents and the weights.

They are in every saved state, and a state of other constants is refused by name. What does not decide the
batches (workers, memory, caches) is an argument of the functions that need it, not a constant.
"""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from curate.errors import ConfigError
from curate.schema import Settings

BLOCK_TOKENS = 65_536
"""Tokens of a block of documents that lie together, at most: about 256 KiB of text."""


class Constants(Settings):
    """What every rank and worker must agree on."""

    seq_len: int = Field(ge=1, le=1 << 24)
    """Tokens of a sequence."""
    global_batch: int = Field(ge=1)
    """Sequences of a step, over all ranks."""
    lanes: int = Field(default=0, ge=0)
    """Independent streams of sequences; ranks and workers share them out. 0 is `global_batch`."""
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    """Seed of all orders."""
    packing: Literal["split", "first_fit", "best_fit"] = "split"
    """`split` joins documents and cuts at the end of a sequence; the others cut only documents that are
    longer than a sequence, and pad."""
    pack_pieces: int = Field(default=64, ge=1, le=4096)
    """Pieces of documents that a lane chooses from, with a packing that fits."""
    order: Literal["shuffle", "plan"] = "shuffle"
    """Seeded, anew in each epoch; or the `order` of the plan, as a curriculum."""
    window_tokens: int = Field(default=4 * BLOCK_TOKENS, ge=1)
    """Tokens within which a lane shuffles the documents of its blocks, about."""
    block_tokens: int = Field(default=BLOCK_TOKENS, ge=1)
    """Tokens of a block, about; one larger document is a block."""
    block_steps: int = Field(default=32, ge=1)
    """B: steps with the same weights."""
    delay: int = Field(default=2, ge=2)
    """D: feedback of block b changes the weights of block b + D."""
    in_flight: int = Field(default=0, ge=0)
    """A: batches that may be handed out or prefetched ahead of feedback; 0 is (D - 1) * B."""
    end: Literal["never", "stop", "pad"] = "never"
    """What happens when lanes run out of documents: it is an error; or all stop at the first step that a
    lane cannot fill; or such lanes give padding until the last one is done."""
    max_epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How often a pool may be served as a whole, beside the plan's caps; None is no limit of its own. With
    `end` other than `never` None is 1."""
    pad_id: int = Field(default=0, ge=0)
    """Token of padding; its label is -100."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.global_batch % self.num_lanes:
            raise ConfigError(
                f"lanes do not divide global_batch: {self.num_lanes} and {self.global_batch}",
                hint="choose a divisor of global_batch, or leave lanes out",
            )
        if self.max_in_flight > (self.delay - 1) * self.block_steps:
            raise ConfigError(
                f"in_flight is above (delay - 1) * block_steps = {(self.delay - 1) * self.block_steps}: "
                f"{self.max_in_flight}",
                hint="feedback would come too late; lower in_flight, or raise delay or block_steps",
            )
        return self

    @property
    def num_lanes(self) -> int:
        """Number of lanes."""
        return self.lanes or self.global_batch

    @property
    def rows(self) -> int:
        """Sequences of one lane in a step."""
        return self.global_batch // self.num_lanes

    @property
    def max_in_flight(self) -> int:
        """A, resolved."""
        return self.in_flight or (self.delay - 1) * self.block_steps

    @property
    def tokens_per_step(self) -> int:
        """Tokens of a global batch, padding included."""
        return self.seq_len * self.global_batch

    @property
    def epochs(self) -> float:
        """How often a pool may be served, plan's caps aside; may be infinite."""
        if self.max_epochs is not None:
            return self.max_epochs
        return math.inf if self.end == "never" else 1.0

    def block_of(self, step: int) -> int:
        """The block that a step is in."""
        return step // self.block_steps
