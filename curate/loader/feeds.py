"""Where the sequences of a step come from: lanes in this process, or lanes in worker processes.

A worker hosts some consecutive lanes of its rank and gives their sequences, some steps as an item; the main
process takes one item of each worker and joins them step by step. Tokens travel as one int32 tensor in
shared memory, the rest is small. Workers may be forked, spawned or from a fork server; nothing is opened
before they start.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from curate.errors import StateError, WorkerError
from curate.loader.corpus import Corpus
from curate.loader.lanes import Lanes, Sequences
from curate.loader.shared import Closed, SharedLog, WaitingLog
from curate.loader.state import Floats, LaneArrays
from curate.loader.stream import Chunks
from curate.loader.weights import WeightLog
from curate.loader.world import share

ITEM_BYTES = 1 << 21
"""Tokens that a worker hands over at once: each time costs some hundred us, whatever the size."""


@dataclass(frozen=True)
class Start:
    """Where a rank's lanes go on from."""

    corpus: Corpus
    arrays: LaneArrays
    lanes: range
    step: int
    began: int
    """Step at which the lanes were new."""

    def host(
        self, lanes: range, weights: Callable[[int], Floats], *, executor: Any = None, current: Any = None
    ) -> Lanes:
        """Bring some of the lanes to work in this process; `current[0]` gets the shard that is read."""
        first = lanes.start - self.lanes.start
        corpus = self.corpus
        reader = corpus.reader()
        if current is not None:
            reader.current = current
        return Lanes(
            corpus.index,
            corpus.constants,
            reader,
            Chunks(corpus.memory_bytes // 4, executor),
            weights=weights,
            arrays=self.arrays.part(first, first + len(lanes)),
            first=lanes.start,
            step=self.step,
            began=self.began,
        )


class Feed(Protocol):
    """Gives the sequences of step after step."""

    def next(self) -> list[Sequences]:
        """Those of the next step, in the order of the lanes."""

    def seal(self, block: int, weights: Floats) -> None:
        """Hear that a block is sealed."""

    def bytes_read(self) -> tuple[int, int]:
        """Bytes read from storage and bytes served of them, by all its processes."""

    def close(self) -> None:
        """End."""


class LocalFeed:
    """Lanes in this process; some threads read ahead where there are texts to be made tokens of."""

    def __init__(self, start: Start, log: WeightLog, *, num_threads: int) -> None:
        if start.corpus.tokenizer is None:
            num_threads = 0  # stored tokens are there sooner than a thread
        self._executor = ThreadPoolExecutor(num_threads, "curate-read") if num_threads else None
        self._lanes = start.host(start.lanes, log.of, executor=self._executor)

    def next(self) -> list[Sequences]:
        """Sequences of the next step."""
        return [self._lanes.next()]

    def seal(self, block: int, weights: Floats) -> None:
        """Nothing to do: the log is the same."""

    def bytes_read(self) -> tuple[int, int]:
        """Those of this process."""
        return self._lanes.bytes_read()

    def close(self) -> None:
        """End the threads."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


Item = tuple[torch.Tensor, list[Sequences]]
"""Tokens [steps, rows, seq_len] of some steps of a block, and beside them what they are."""


class LaneDataset(IterableDataset[Item]):
    """What worker processes iterate: the sequences of their lanes, some steps at a time."""

    def __init__(self, start: Start, log: WeightLog, shared: SharedLog, timeout_s: float) -> None:
        self._start, self._log, self._shared, self._timeout_s = start, log, shared, timeout_s

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        assert info is not None
        lanes = share(self._start.lanes, info.id, info.num_workers, "number of workers")
        waiting = WaitingLog(self._log, self._shared, timeout_s=self._timeout_s)
        hosted = self._start.host(lanes, waiting.of, current=self._shared.reading_of(info.id))
        for parts in _in_items(hosted, self._start.corpus.constants.block_steps):
            tokens = torch.from_numpy(np.stack([part.tokens for part in parts]))
            self._shared.note_bytes(info.id, hosted.bytes_read())
            yield tokens, [replace(part, tokens=part.tokens[:, :0]) for part in parts]


def _in_items(lanes: Lanes, block_steps: int) -> Iterator[list[Sequences]]:
    """Steps in items that grow to `ITEM_BYTES` and end with a block, until the feed is closed.

    Nothing waits for weights inside an item, and steps before an error are handed out first.
    """
    parts: list[Sequences] = []
    most = 1
    while True:
        try:
            parts.append(lanes.next())
        except Closed:
            return
        except Exception:
            if parts:
                yield parts
            raise
        if len(parts) >= most or lanes.step % block_steps == 0:
            most = min(2 * most, max(1, ITEM_BYTES // parts[0].tokens.nbytes))
            yield parts
            parts = []


class WorkerFeed:
    """Lanes in worker processes."""

    def __init__(self, start: Start, log: WeightLog, *, num_workers: int, settings: "WorkerSettings") -> None:
        constants = start.corpus.constants
        for part in range(num_workers):
            share(start.lanes, part, num_workers, "number of workers")
        num_blocks = -(-constants.max_in_flight // constants.block_steps) + 3
        self._shared = SharedLog(len(start.corpus.index.pools), num_blocks, num_workers)
        self._start, self._num_workers = start, num_workers
        dataset = LaneDataset(
            start, WeightLog(dict(log.blocks), log.sealed), self._shared, settings.timeout_s
        )
        self._waiting: list[deque[Sequences]] = [deque() for _ in range(num_workers)]
        self._turn = 0
        self._items = iter(
            DataLoader(
                dataset,
                batch_size=None,
                num_workers=num_workers,
                prefetch_factor=settings.prefetch_steps,
                multiprocessing_context=settings.context,
            )
        )

    def next(self) -> list[Sequences]:
        """One part of each worker, checked to be of one step."""
        for waiting in self._waiting:
            while not waiting:
                self._receive()
        parts = [waiting.popleft() for waiting in self._waiting]
        lanes = [
            lane
            for part in parts
            for lane in range(part.delta.first_lane, part.delta.first_lane + len(part.delta.clock))
        ]
        if lanes != list(self._start.lanes) or len({part.delta.step for part in parts}) != 1:
            raise StateError(f"workers gave other lanes or steps than expected: {lanes}")
        return parts

    def _receive(self) -> None:
        """Take the next item; items come from one worker after another."""
        try:
            tokens, parts = next(self._items)
        except (RuntimeError, ConnectionError, EOFError) as exc:
            if _is_death(exc):
                raise WorkerError(self._describe_death(str(exc) or type(exc).__name__)) from exc
            raise
        steps = tokens.numpy()
        taken = [replace(part, tokens=own) for part, own in zip(parts, steps, strict=True)]
        self._waiting[self._turn].extend(taken)
        self._turn = (self._turn + 1) % self._num_workers

    def _describe_death(self, message: str) -> str:
        keys = self._start.corpus.index.shard_keys
        doing = []
        for worker in range(self._num_workers):
            lanes = share(self._start.lanes, worker, self._num_workers, "number of workers")
            shard = self._shared.reading(worker)
            where = f"reading {keys[shard]}" if shard >= 0 else "reading nothing"
            doing.append(f"worker {worker}: lanes {lanes.start} to {lanes.stop - 1}, {where}")
        first_line = message.splitlines()[0]
        return f"a loader worker died: {first_line} ({'; '.join(doing)})"

    def seal(self, block: int, weights: Floats) -> None:
        """Tell the workers."""
        self._shared.write(block, weights)

    def bytes_read(self) -> tuple[int, int]:
        """Those of the workers, up to the items that they gave last."""
        return self._shared.bytes_read()

    def close(self) -> None:
        """End the workers."""
        self._shared.close()
        shutdown = getattr(self._items, "_shutdown_workers", None)
        if shutdown is not None:
            try:
                shutdown()
            except RuntimeError as exc:  # torch's signal handler speaks up anywhere
                if not _is_death(exc):
                    raise


def _is_death(exc: BaseException) -> bool:
    """Whether an error of a DataLoader says that one of its workers is gone."""
    is_gone = isinstance(exc, ConnectionError | EOFError)  # its end of a pipe or of shared memory is closed
    return is_gone or "exited unexpectedly" in str(exc) or "is killed by signal" in str(exc)


@dataclass(frozen=True)
class WorkerSettings:
    """How worker processes run; nothing here decides a batch."""

    context: str | None = None
    """fork, spawn or forkserver; None is Python's default."""
    prefetch_steps: int = 2
    """Items of steps, each of up to `ITEM_BYTES`, that a worker is ahead."""
    timeout_s: float = 1800.0
    """Seconds that a worker waits for weights."""
