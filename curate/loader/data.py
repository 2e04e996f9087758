"""The loader's face: an iterable data set of batches that knows where it stands.

Iterated in the training process it gives this rank's part of each global batch; in a worker of somebody
else's DataLoader it gives the part of that worker's lanes, with weights that do not change. `loader` runs
worker processes of its own and joins their parts. The state describes batches that were handed out.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from curate.errors import ConfigError
from curate.loader.batch import assemble
from curate.loader.feeds import Feed, LocalFeed, Start, WorkerFeed, WorkerSettings
from curate.loader.lanes import Sequences
from curate.loader.opening import source_name
from curate.loader.run import TrainingRun
from curate.loader.weights import WeightLog
from curate.loader.world import World, share

Batch = dict[str, Any]


class Data(TrainingRun, IterableDataset[Batch]):
    """Batches of one rank; see `open` for what decides them."""

    read_threads: int = 2
    """Threads that read ahead where no workers do."""

    # Iterating

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        if info is None:
            return self.iterate(lambda start, log: LocalFeed(start, log, num_threads=self.read_threads))
        self.keep(share(self.lanes, info.id, info.num_workers, "number of workers"))
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
                if self.is_swap_due():
                    feed.close()
                    self.swap()
                    feed = self._feed(make_feed)
                for block, weights in self.seal_due():
                    feed.seal(block, weights)
                parts = feed.next()
                if self.is_over(parts):
                    return
                yield self._hand_out(parts)
        finally:
            feed.close()
            if self.log is not None:
                self.log.close()

    def _feed(self, make_feed: Callable[[Start, WeightLog], Feed]) -> Feed:
        began = self.stages[-1].first_step
        return make_feed(Start(self.corpus, self.arrays, self.lanes, self.step, began), self.mixing.log)

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
    ) -> "Loader":
        """Batches made by worker processes; 0 makes them in this process.

        Args:
            num_workers: processes of this rank; they must be able to share its lanes equally.
            multiprocessing_context: fork, spawn or forkserver; None is Python's default.
            prefetch_steps: steps that workers are ahead; above `in_flight` they wait for weights.
            seal_timeout_s: how long a worker waits for weights while the training loop takes no batch.
        """
        settings = WorkerSettings(multiprocessing_context, prefetch_steps, seal_timeout_s)
        return Loader(self, num_workers, settings)

    # Weights

    def feedback(self, source_id: Any, loss: Any, *, step: int | None = None) -> None:
        """Give losses back; nothing happens for weights that need none.

        Args:
            source_id: `batch["source_id"]`, or a part of it.
            loss: of each token, each but the first of a row, each sequence, or one number.
            step: `batch["step"]`; None is the batch that was handed out last.
        """
        if not self._mixer.needs_feedback:
            return
        block = self.corpus.constants.block_of(max(self.step - 1, 0) if step is None else step)
        if block >= self.mixing.log.sealed - self.corpus.constants.delay:
            self._feedback.add(block, source_id, loss)

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

    def __init__(self, data: Data, num_workers: int, settings: WorkerSettings) -> None:
        self.data, self._num_workers, self._settings = data, num_workers, settings
        self.feedback, self.set_weights, self.weights = data.feedback, data.set_weights, data.weights
        self.swap_plan = data.swap_plan
        self.state_dict, self.load_state_dict = data.state_dict, data.load_state_dict
        self.full_state_dict = data.full_state_dict

    def __iter__(self) -> Iterator[Batch]:
        if self._num_workers == 0:
            return iter(self.data)
        data = self.data
        number, settings = self._num_workers, self._settings
        return data.iterate(lambda start, log: WorkerFeed(start, log, num_workers=number, settings=settings))


__all__ = ["Batch", "Data", "Loader"]
