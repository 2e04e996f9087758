"""The loader's face: an iterable data set of batches that knows where it stands.

Iterated in the training process it gives this rank's part of each global batch; in a worker of somebody
else's DataLoader it gives the part of that worker's lanes, with weights that do not change. `loader` runs
worker processes of its own and joins their parts. The state describes batches that were handed out.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from curate.errors import ConfigError, StateError
from curate.loader.batch import assemble
from curate.loader.feeds import Feed, LocalFeed, Start, WorkerFeed, WorkerSettings
from curate.loader.lanes import Sequences
from curate.loader.opening import source_name
from curate.loader.rewind import KEPT_STEPS
from curate.loader.run import TrainingRun
from curate.loader.weights import WeightLog
from curate.loader.world import World
from curate.loader.wrappers import refuse_wrappers

Batch = dict[str, Any]


class Data(TrainingRun, IterableDataset[Batch]):
    """Batches of one rank; see `open` for what decides them."""

    read_threads: int = 2
    """Threads that read ahead where no workers do."""
    _current: Feed | None = None
    _bytes: tuple[int, int] = (0, 0)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker of another DataLoader gets: nothing that is at work here."""
        return {**self.__dict__, "_current": None}

    # Iterating

    def __iter__(self) -> Iterator[Batch]:
        refuse_wrappers()
        info = get_worker_info()
        if info is None:
            return self.iterate(lambda start, log: LocalFeed(start, log, num_threads=self.read_threads))
        self.keep_part(info.id, info.num_workers)
        if self._mixer.needs_feedback:
            raise ConfigError(
                "these weights need feedback, which workers of another DataLoader cannot get",
                hint="iterate data.loader(num_workers=...) instead",
            )
        self.world = World(0, 1)
        return self.iterate(lambda start, log: LocalFeed(start, log, num_threads=0))

    def iterate(self, make_feed: Callable[[Start, WeightLog], Feed]) -> Iterator[Batch]:
        """Batches from where the state is, with sequences of the feed that is made for each stage."""
        feed = self._feed(make_feed)
        try:
            while True:
                self.write_log()
                if self.is_swap_due():
                    self._end(feed)
                    self.swap()
                    feed = self._feed(make_feed)
                for block, weights in self.seal_due():
                    feed.seal(block, weights)
                parts = feed.next()
                if parts[0].delta.step != self.step:
                    raise StateError(
                        f"this iterator gives step {parts[0].delta.step} next, but its data set is at step "
                        f"{self.step}",
                        hint="another iterator or load_state_dict moved it: iterate anew",
                    )
                if self.is_over(parts):
                    return
                yield self._hand_out(parts)
        finally:
            self._end(feed)
            if self.log is not None:
                self.write_log(is_last=True)
                self.log.close()

    def _feed(self, make_feed: Callable[[Start, WeightLog], Feed]) -> Feed:
        start = Start(self.corpus, self.arrays, self.lanes, self.step, self.stages[-1].first_step)
        self._current = make_feed(start, self.mixing.log)
        return self._current

    def _end(self, feed: Feed) -> None:
        """End a feed and keep what it counted."""
        read, served = feed.bytes_read()
        self._bytes = (self._bytes[0] + read, self._bytes[1] + served)
        if self._current is feed:
            self._current = None
        feed.close()

    def reading(self) -> dict[str, float]:
        """What this rank read from storage so far, read ahead included.

        `bytes_read` from storage, `bytes_served` of texts (or stored tokens) that were made sequences of, and
        `amplification`, the first over the second: above 1.5 deliver the plan with `output.split_by`.
        """
        read, served = (0, 0) if self._current is None else self._current.bytes_read()
        read, served = read + self._bytes[0], served + self._bytes[1]
        return {"bytes_read": read, "bytes_served": served, "amplification": read / max(served, 1)}

    def _hand_out(self, parts: list[Sequences]) -> Batch:
        batch: Batch = {name: torch.from_numpy(array) for name, array in assemble(parts).items()}
        batch["step"] = self.step
        self.move_on(parts)
        return batch

    def loader(
        self,
        num_workers: int = 0,
        *,
        multiprocessing_context: str | None = None,
        prefetch_steps: int = 2,
        seal_timeout_s: float = 1800.0,
        look_ahead: int = 0,
    ) -> "Loader":
        """Batches made by worker processes; 0 makes them in this process.

        Args:
            num_workers: processes of this rank; they must be able to share its lanes equally.
            multiprocessing_context: fork, spawn or forkserver; None is Python's default.
            prefetch_steps: items that each worker is ahead: some steps of a block, up to a few megabytes.
                Beyond the sealed weights they wait.
            seal_timeout_s: how long a worker waits for weights while the training loop takes no batch.
            look_ahead: batches that the training loop fetches before it trains on them; states of the loader
                leave that many out.
        """
        contexts = multiprocessing.get_all_start_methods()
        if num_workers < 0 or prefetch_steps < 1 or multiprocessing_context not in (None, *contexts):
            raise ConfigError(
                "num_workers is 0 or more, prefetch_steps 1 or more, multiprocessing_context one of "
                f"{', '.join(contexts)}: {num_workers}, {prefetch_steps}, {multiprocessing_context}"
            )
        settings = WorkerSettings(multiprocessing_context, prefetch_steps, seal_timeout_s)
        return Loader(self, num_workers, settings, look_ahead=look_ahead)

    def set_epoch(self, epoch: int) -> None:
        """Nothing: a run is one sequence of steps. Accelerate calls it, and is refused where it re-shards."""
        refuse_wrappers()

    @property
    def needs_feedback(self) -> bool:
        """Whether the weights are made of losses."""
        return self._mixer.needs_feedback

    # Weights

    def feedback(self, source_id: Any, loss: Any, *, labels: Any = None, step: int | None = None) -> None:
        """Give losses back; nothing happens for weights that need none.

        Args:
            source_id: `batch["source_id"]`, or a part of it.
            loss: of each token, each but the first of a row, each sequence, or one number.
            labels: `batch["labels"]`, or the same part of it: where they are -100 the loss does not count.
                Without them NaN does not, but 0, which cross entropy gives for such labels, does.
            step: `batch["step"]`; None is the batch that was handed out last.

        Raises:
            ConfigError: the shapes do not match, or the step was not handed out.
        """
        if not self._mixer.needs_feedback:
            return
        step = self.step - 1 if step is None else int(step)
        if not 0 <= step < self.step:
            raise ConfigError(f"feedback is for a step that was not handed out: {step}, next is {self.step}")
        block = self.corpus.constants.block_of(step)
        if step < self.stages[-1].first_step and self.corpora[-2].names != self.corpus.names:
            return  # its pools are not those of this stage
        if block >= self.mixing.log.sealed - self.corpus.constants.delay:
            self._feedback.add(block, source_id, loss, labels)

    def set_weights(self, weights: Mapping[str, float] | None) -> int:
        """Use these weights instead of the mixer's; None gives them back to it. All ranks must call it alike.

        Returns the first step that obeys: blocks that are sealed stay as they are.
        """
        return self.mixing.set(weights) * self.corpus.constants.block_steps

    def weights(self) -> dict[str, float]:
        """Weights of the step that was handed out last; before the first step, of that."""
        values = self.mixing.log.of(self.corpus.constants.block_of(max(self.step - 1, 0)))
        return dict(zip(self.corpus.names, map(float, values), strict=True))

    def swap_plan(self, source: Any) -> int:
        """Move to another plan at the first block that is not sealed; all ranks must call it alike.

        Documents that were served in the current epoch are not served again in the first epoch of the new
        plan, unless it repeats them. A document that is partly served when plans change is not finished.

        Args:
            source: what `open` takes as the first argument.

        Returns:
            The first step that is of the new plan.
        """
        block = self.mixing.log.sealed
        self._wait_for(block, source_name(source))
        return block * self.corpus.constants.block_steps


class Loader:
    """Batches of a `Data`, made by worker processes; state and weights are those of the `Data`."""

    def __init__(
        self, data: Data, num_workers: int, settings: WorkerSettings, *, look_ahead: int = 0
    ) -> None:
        if not 0 <= look_ahead <= KEPT_STEPS:
            raise ConfigError(f"look_ahead must be in 0 ... {KEPT_STEPS}: {look_ahead}")
        self.data, self._num_workers, self._settings = data, num_workers, settings
        self._look_ahead, self._is_over = look_ahead, False
        self.feedback, self.set_weights, self.weights = data.feedback, data.set_weights, data.weights
        self.swap_plan, self.reading = data.swap_plan, data.reading
        self.load_state_dict = data.load_state_dict

    @property
    def trained(self) -> int:
        """The first step that was not trained on: those that are only looked ahead at are not counted."""
        return self.data.step - (0 if self._is_over else min(self._look_ahead, len(self.data.rewind)))

    def state_dict(self) -> dict[str, Any]:
        """Where the batches that were trained on end; see `Data.state_dict`."""
        return self.data.state_dict(step=self.trained)

    def full_state_dict(self) -> dict[str, Any]:
        """The state with the lanes of all ranks, on every rank; all ranks must call it."""
        return self.data.full_state_dict(step=self.trained)

    def __iter__(self) -> Iterator[Batch]:
        data, number, settings = self.data, self._num_workers, self._settings
        if self.trained != data.step:  # what was looked ahead at was dropped: give it again
            data.load_state_dict(self.state_dict())
        self._is_over = False
        if number == 0:
            yield from data
        else:
            yield from data.iterate(
                lambda start, log: WorkerFeed(start, log, num_workers=number, settings=settings)
            )
        self._is_over = True


class AllRanks:
    """A loader whose state is that of all ranks, for libraries that save what one rank says (Accelerate).

    All ranks must ask for the state, as they do where rank 0 is to write it.
    """

    def __init__(self, loader: Loader) -> None:
        self.state_dict, self.load_state_dict = loader.full_state_dict, loader.load_state_dict


__all__ = ["AllRanks", "Batch", "Data", "Loader"]
