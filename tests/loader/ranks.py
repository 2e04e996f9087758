"""Ranks of a run as threads of this process, for tests that need many of them quickly."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from curate.loader.world import World


class Hub:
    """Where the ranks of one world meet."""

    def __init__(self, size):
        self.size = size
        self._barrier = threading.Barrier(size, timeout=60)
        self._values = [None] * size

    def exchange(self, rank, value):
        self._values[rank] = value
        self._barrier.wait()
        values = list(self._values)
        self._barrier.wait()
        return values


class ThreadWorld(World):
    """A world whose collectives go through a hub."""

    def __init__(self, rank, hub):
        super().__init__(rank, hub.size)
        self._hub = hub

    @property
    def can_sum(self):
        return True

    def sum(self, values):
        return np.sum(self._hub.exchange(self.rank, values), axis=0)

    def check_same(self, what, number):
        assert len(set(self._hub.exchange(self.rank, number))) == 1, what

    def gather(self, value):
        return self._hub.exchange(self.rank, value)


class Ranks:
    """All ranks of a run; `make(world)` gives the data set of one."""

    def __init__(self, size, make):
        hub = Hub(size)
        self._pool = ThreadPoolExecutor(size)
        self.data = self.each(lambda rank: make(ThreadWorld(rank, hub)), range(size))
        self._batches = None

    def each(self, call, arguments=None):
        return list(self._pool.map(call, self.data if arguments is None else arguments))

    def next(self):
        """The next global batch."""
        if self._batches is None:
            self._batches = [iter(data) for data in self.data]
        return joined(self.each(next, self._batches))

    def state(self):
        """States of all ranks as one, as a distributed checkpoint keeps them."""
        return {key: value for data in self.data for key, value in data.state_dict().items()}

    def load(self, state):
        self.each(lambda data: data.load_state_dict(state))

    def close(self):
        for batches in self._batches or []:
            batches.close()
        self._pool.shutdown()


def joined(parts):
    """One global batch of the parts of ranks or workers."""
    batch = {name: torch.cat([part[name] for part in parts]) for name in parts[0] if name != "step"}
    first, spans = 0, []
    for part in parts:
        spans.append(part["doc_spans"] + torch.tensor([first, 0, 0, 0, 0, 0]))
        first += len(part["input_ids"])
    assert len({part["step"] for part in parts}) == 1
    return {**batch, "doc_spans": torch.cat(spans), "step": parts[0]["step"]}


def same(a, b):
    assert a["step"] == b["step"]
    for name in ("input_ids", "labels", "positions", "source_id", "doc_spans"):
        assert torch.equal(a[name], b[name]), (a["step"], name)
