"""Losses that the training loop gives back, summed by lane, block and pool as 64-bit fixed point.

Integers add up to the same number in any order, so sums over ranks do not depend on who hosts a lane. A loss
is rounded to 2^-20 and cut to 10,000; NaN is not counted. Cost: a pass over the tokens of a batch on the CPU.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError
from curate.loader.state import Floats, Ints

SCALE = float(1 << 20)
MAX_LOSS = 10_000.0
LOSS, COUNT = 0, 1
NO_SOURCE = -1
"""Pool of padding."""
IGNORED = -100
"""Label of what no loss is of."""


def open_blocks(block_steps: int, delay: int, in_flight: int) -> int:
    """How many blocks may have feedback that is not used yet."""
    return delay + -(-in_flight // block_steps) + 1


class Feedback:
    """Sums of the lanes of a rank."""

    def __init__(self, num_lanes: int, num_pools: int, num_blocks: int) -> None:
        self.sums = np.zeros((num_lanes, num_blocks, num_pools, 2), np.int64)

    def add(self, block: int, source_id: Any, loss: Any, labels: Any = None) -> None:
        """Add the losses of a batch or a part of it.

        Args:
            block: the block that the batch is of.
            source_id: pool of each token, [rows, seq_len]; or of each sequence, [rows].
            loss: of each token, or each but the first of a row, or of each sequence, or one for all.
            labels: of the shape of `source_id`; where they are -100 the loss does not count.

        Raises:
            ConfigError: the shapes do not match.
        """
        pools_of = _to_numpy(source_id)
        if labels is not None:
            pools_of = np.where(_to_numpy(labels) == IGNORED, NO_SOURCE, pools_of)
        sources, losses = _aligned(pools_of, _to_numpy(loss))
        known = (sources >= 0) & ~np.isnan(losses)
        pools = sources[known].astype(np.int64)
        if len(pools) and pools.max() >= self.sums.shape[2]:
            raise ConfigError(f"source_id is above the last pool, {self.sums.shape[2] - 1}: {pools.max()}")
        fixed = np.rint(np.clip(losses[known], -MAX_LOSS, MAX_LOSS) * SCALE).astype(np.int64)
        into = self.sums[0, block % self.sums.shape[1]]
        np.add.at(into[:, LOSS], pools, fixed)
        into[:, COUNT] += np.bincount(pools, minlength=len(into))

    def total(self, block: int) -> Ints:
        """Sums of a block over the lanes of this rank, [pools, 2]."""
        return self.sums[:, block % self.sums.shape[1]].sum(axis=0)  # type: ignore[no-any-return]

    def clear(self, block: int) -> None:
        """Forget a block whose sums were used."""
        self.sums[:, block % self.sums.shape[1]] = 0


def mean_losses(sums: Ints) -> tuple[Floats, Ints]:
    """Mean loss of each pool, NaN where none was given, and the number of tokens that gave it."""
    counts = sums[:, COUNT]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, sums[:, LOSS] / SCALE / counts, np.nan)
    return means, counts


def _to_numpy(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().to("cpu")
        value = value.float().numpy() if value.is_floating_point() else value.numpy()
    return np.asarray(value)


def _aligned(sources: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, npt.NDArray[np.float64]]:
    """Bring both to one shape."""
    losses = losses.astype(np.float64)
    if sources.ndim == 2 and losses.ndim == 2 and losses.shape[1] == sources.shape[1] - 1:
        sources = sources[:, 1:]
    if sources.ndim == 2 and losses.shape in ((len(sources),), (len(sources), 1)):
        losses = np.broadcast_to(losses.reshape(-1, 1), sources.shape)
    if losses.size == 1:
        losses = np.broadcast_to(losses.reshape(()), sources.shape)
    if losses.shape != sources.shape:
        raise ConfigError(
            f"feedback: the shapes of source_id and loss do not match: {sources.shape} and {losses.shape}",
            hint="give a loss for each token, for each sequence, or one number",
        )
    return sources, losses
