"""Which rank this is, and sums over all ranks: the one place that speaks to torch.distributed.

Collectives go over a gloo group of the loader's own, so they never wait behind those of the model and need no
GPU. One small sum is made for each block of steps. Not here: what is summed (data.py).
"""

from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from curate.errors import ConfigError, StateError
from curate.loader.settings import Constants
from curate.loader.state import Ints


class World:
    """The ranks that share the lanes."""

    def __init__(self, rank: int | None = None, size: int | None = None, group: Any = None) -> None:
        """Take rank and size as given, or of `group`, or of torch.distributed where it runs, or be alone.

        Raises:
            ConfigError: rank and size are not given together, or the rank is not below the size.
        """
        if (rank is None) != (size is None):
            raise ConfigError(f"rank and world_size go together: {rank} and {size}")
        self._group = group
        if rank is None and dist.is_available() and dist.is_initialized():
            self._group = dist.new_group(backend="gloo") if group is None else group
            rank, size = dist.get_rank(self._group), dist.get_world_size(self._group)
        self.rank, self.size = rank or 0, 1 if size is None else size
        if not 0 <= self.rank < self.size:
            raise ConfigError(f"rank is not in 0 ... world_size - 1: {self.rank}, {self.size}")

    @property
    def can_sum(self) -> bool:
        """Whether sums over all ranks can be made."""
        return self.size == 1 or self._group is not None

    def need_all(self, what: str) -> None:
        """See that ranks can speak to each other.

        Raises:
            ConfigError: `what` cannot be done.
        """
        if not self.can_sum:
            raise ConfigError(
                f"{what} needs all ranks, but rank and world_size were given without a group",
                hint="start torch.distributed first, or pass group=",
            )

    def sum(self, values: Ints) -> Ints:
        """Sum of each number over all ranks; every rank must call it."""
        if self.size == 1:
            return values
        tensor = torch.from_numpy(np.ascontiguousarray(values, np.int64).copy())
        dist.all_reduce(tensor, op=dist.ReduceOp.SUM, group=self._group)
        return tensor.numpy()

    def check_same(self, what: str, number: int) -> None:
        """See that a number of 63 bits is the same on all ranks.

        Raises:
            StateError: it is not.
        """
        if self.size == 1:
            return
        both = torch.tensor([number, -number], dtype=torch.int64)
        dist.all_reduce(both, op=dist.ReduceOp.MAX, group=self._group)
        if int(both[0]) != -int(both[1]):
            raise StateError(f"{what} is not the same on all ranks, as on rank {self.rank}")

    def gather(self, value: Any) -> list[Any]:
        """A picklable value of every rank, in their order."""
        if self.size == 1:
            return [value]
        self.need_all("this")
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._group)
        return values

    def lanes(self, constants: Constants) -> range:
        """The lanes of this rank.

        Raises:
            ConfigError: the number of lanes is no multiple of the ranks.
        """
        return share(range(constants.num_lanes), self.rank, self.size, "world size")


def share(lanes: range, part: int, num_parts: int, what: str) -> range:
    """The consecutive lanes of one of some equal parts."""
    if len(lanes) % num_parts:
        raise ConfigError(
            f"{what} does not divide the number of lanes: {num_parts} and {len(lanes)}",
            hint="lanes (default: global_batch) must be a multiple of world size times workers",
        )
    size = len(lanes) // num_parts
    return lanes[part * size : (part + 1) * size]
