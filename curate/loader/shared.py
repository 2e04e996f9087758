"""Sealed weights in memory that worker processes share, and what each worker is reading.

The memory is anonymous (torch's `share_memory_` over a file descriptor), so nothing is left behind whoever is
killed. A worker that needs a block that is not sealed looks every millisecond; it ends with its parent, and
gives up after a time with an error that says what it waited for.
"""

import os
import time
import zlib

import numpy as np
import torch

from curate.errors import StateError
from curate.loader.state import Floats
from curate.loader.weights import WeightLog

POLL_S = 0.001
NO_SHARD = -1


class Closed(Exception):
    """The training process wants no more batches."""


class SharedLog:
    """The newest sealed blocks; written by one process, read by its workers."""

    def __init__(self, num_pools: int, num_blocks: int, num_workers: int) -> None:
        """Make room for `num_blocks` blocks."""
        self._values = _shared(torch.zeros((num_blocks, num_pools), dtype=torch.float64))
        self._slots = _shared(torch.full((num_blocks, 2), -1, dtype=torch.int64))
        self._reading = _shared(torch.full((max(num_workers, 1),), NO_SHARD, dtype=torch.int64))
        self._bytes = _shared(torch.zeros((max(num_workers, 1), 2), dtype=torch.int64))
        self._is_closed = _shared(torch.zeros(1, dtype=torch.int64))

    def close(self) -> None:
        """Let workers that wait end."""
        self._is_closed[0] = 1

    @property
    def is_closed(self) -> bool:
        """Whether workers are to end."""
        return bool(self._is_closed[0])

    def write(self, block: int, weights: Floats) -> None:
        """Publish a sealed block."""
        slot = block % len(self._slots)
        self._slots[slot, 0] = -1
        self._values[slot] = torch.from_numpy(weights)
        self._slots[slot, 1] = _checksum(block, weights)
        self._slots[slot, 0] = block

    def read(self, block: int) -> Floats | None:
        """Weights of a block, or None while it is not sealed (or was overwritten)."""
        slot = block % len(self._slots)
        if int(self._slots[slot, 0]) != block:
            return None
        weights = self._values[slot].numpy().copy()
        return weights if int(self._slots[slot, 1]) == _checksum(block, weights) else None

    def reading_of(self, worker: int) -> np.ndarray:
        """One number, which says to all processes what shard a worker reads."""
        return self._reading[worker : worker + 1].numpy()

    def note_bytes(self, worker: int, counts: tuple[int, int]) -> None:
        """Say how many bytes a worker read and served."""
        self._bytes[worker] = torch.tensor(counts)

    def bytes_read(self) -> tuple[int, int]:
        """Bytes that all workers read and served."""
        read, served = self._bytes.sum(dim=0).tolist()
        return read, served

    def reading(self, worker: int) -> int:
        """The shard that a worker read last, or `NO_SHARD`."""
        return int(self._reading[worker])


class WaitingLog:
    """A worker's view of the log: what was sealed when it began, then what is shared."""

    def __init__(self, log: WeightLog, shared: SharedLog, *, timeout_s: float) -> None:
        self._log, self._shared, self._timeout_s = log, shared, timeout_s
        self._parent = os.getppid()

    def of(self, block: int) -> Floats:
        """Weights of a block, waited for.

        Raises:
            Closed: the feed was closed.
            StateError: the parent is gone, or nothing was sealed in time.
        """
        if block in self._log.blocks:
            return self._log.of(block)
        start = time.monotonic()
        while (weights := self._shared.read(block)) is None:
            if self._shared.is_closed:
                raise Closed
            if os.getppid() != self._parent:
                raise StateError(f"the process that seals weights is gone: {self._parent}")
            if time.monotonic() - start > self._timeout_s:
                raise StateError(
                    f"no weights for block {block} within {self._timeout_s:g} s",
                    hint="the training loop takes no batches; raise seal_timeout_s if it may pause so long",
                )
            time.sleep(POLL_S)
        self._log.blocks[block] = weights
        self._log.forget(block - 1)
        return weights


def _checksum(block: int, weights: np.ndarray) -> int:
    return zlib.crc32(weights.tobytes(), block & 0xFFFFFFFF)


def _shared(tensor: torch.Tensor) -> torch.Tensor:
    """Move a tensor to memory that child processes see."""
    tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor
