"""The loader's face: an iterable data set of batches that knows where it stands.

Iterated in the training process it gives this rank's part of each global batch; in a worker of somebody
else's DataLoader it gives the part of that worker's lanes, with weights that do not change. `loader` runs
worker processes of its own and joins their parts. The state describes batches that were handed out.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from curate.errors import ConfigError, DataError, StateError
from curate.loader import saved
from curate.loader.batch import assemble
from curate.loader.corpus import Corpus
from curate.loader.feedback import Feedback, open_blocks
from curate.loader.feeds import Feed, LocalFeed, Start, WorkerFeed, WorkerSettings
from curate.loader.lanes import Sequences, new_lanes
from curate.loader.opening import source_name
from curate.loader.rewind import KEPT_STEPS, Rewind
from curate.loader.schedule import phases, reweigh
from curate.loader.served import ServedLog
from curate.loader.stages import Opener, Stage, restore, succeed
from curate.loader.state import TOKENS, Floats, LaneArrays
from curate.loader.weights import Mixing, WeightLog
from curate.loader.world import World, share
from curate.loader.wrappers import refuse_wrappers
from curate.schema import fingerprint
from curate.selection.mixer import Mixer

Batch = dict[str, Any]

_log = logging.getLogger(__name__)


class Data(IterableDataset[Batch]):
    """Batches of one rank; see `open` for what decides them."""

    def __init__(  # over: what a run is made of
        self,
        corpus: Corpus,
        mixer: Mixer,
        world: World,
        *,
        source: str = "",
        opener: Opener | None = None,
        read_threads: int = 2,
        log: Path | None = None,
        swaps: Sequence[tuple[int, str]] = (),
    ) -> None:
        """Begin a run.

        Args:
            corpus: what is served; `source` is the name by which `opener` opens it again.
            mixer: gives the weights.
            world: the ranks that share the lanes.
            read_threads: threads that read ahead where no workers do.
            log: file that gets a line for each block of steps.
            swaps: first steps and sources of plans to move to, as a log has them.

        Raises:
            ConfigError: the lanes cannot be shared out, or the mixer needs sums that cannot be made.
        """
        self.world, self._mixer, self._opener, self._read_threads = world, mixer, opener, read_threads
        self._log_path, self._log, self._events, self._swaps = log, None, [], list(swaps)
        self.lanes, self._is_part = world.lanes(corpus.constants), False
        self.corpora = [corpus]
        self.stages = [Stage(source, corpus.index.fingerprint, 0)]
        self.pending: tuple[int, str, Corpus] | None = None
        capped = bool(np.isfinite(corpus.allowed).any())
        if (mixer.needs_feedback or capped) and not world.can_sum:
            raise ConfigError(
                "these weights need sums over all ranks, but rank and world_size were given without a group",
                hint="start torch.distributed first, or pass group=",
            )
        self.step = 0
        self._feedback = self._no_feedback(len(corpus.names))
        mixer.start(corpus.index.pools, corpus.natural)
        self._enter_stage(0)
        self._follow_swaps()

    @property
    def corpus(self) -> Corpus:
        """What the current stage serves."""
        return self.corpora[-1]

    def _no_feedback(self, num_pools: int) -> Feedback:
        constants = self.corpus.constants
        num_blocks = open_blocks(constants.block_steps, constants.delay, constants.max_in_flight)
        return Feedback(len(self.lanes), num_pools, num_blocks)

    def _enter_stage(self, first_block: int) -> None:
        """New lanes for the corpus, from a block on."""
        self._exhausted: set[int] = set()
        self.rewind = Rewind()
        constants, corpus = self.corpus.constants, self.corpus
        self.mixing = Mixing(constants, self._mixer, corpus.names, corpus.allowed, sealed=first_block)
        self.arrays = LaneArrays.new(len(self.lanes), len(corpus.names), 0)
        self._seal_due()
        first, stop = self.lanes.start, self.lanes.stop
        self.phases = phases(corpus.index, constants, first, stop)
        self.arrays = new_lanes(corpus.index, constants, self.mixing.log.of(first_block), first, stop)

    # Iterating

    def __iter__(self) -> Iterator[Batch]:
        refuse_wrappers()
        info = get_worker_info()
        if info is None:
            return self.iterate(lambda start, log: LocalFeed(start, log, num_threads=self._read_threads))
        self._keep_part(info.id, info.num_workers)
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
                if self._is_swap_due():
                    feed.close()
                    self._swap()
                    feed = self._feed(make_feed)
                for block, weights in self._seal_due():
                    feed.seal(block, weights)
                parts = feed.next()
                if parts[0].delta.step != self.step:
                    raise StateError(
                        f"this iterator gives step {parts[0].delta.step} next, but its data set is at step "
                        f"{self.step}",
                        hint="another iterator or load_state_dict moved it: iterate anew",
                    )
                if self._is_over(parts):
                    return
                yield self._hand_out(parts)
        finally:
            feed.close()
            self._close_log()

    def _feed(self, make_feed: Callable[[Start, WeightLog], Feed]) -> Feed:
        began = self.stages[-1].first_step
        return make_feed(Start(self.corpus, self.arrays, self.lanes, self.step, began), self.mixing.log)

    def _seal_due(self) -> list[tuple[int, Floats]]:
        """Seal every block that is due before this step is handed out, but none of the next plan."""
        constants, sealed = self.corpus.constants, []
        while self.mixing.due(self.step) and (
            self.pending is None or self.mixing.log.sealed < self.pending[0]
        ):
            block = self.mixing.log.sealed
            decides = max(block - constants.delay, 0)
            served = self.arrays.served[:, :, TOKENS].sum(axis=0)
            sums = np.concatenate([self._feedback.total(decides), served[:, None]], axis=1)
            if self.world.can_sum:
                self.world.check_same("what was set (weights, next plan)", self._fingerprint_set())
                sums = self.world.sum(sums)
            sealed.append((block, self.mixing.seal(sums[:, :2], sums[:, 2], self.step)))
            if block >= constants.delay:
                self._feedback.clear(decides)
        self.mixing.log.forget(constants.block_of(max(self.step - KEPT_STEPS, 0)) - 1)
        return sealed

    def _fingerprint_set(self) -> int:
        weights = self.mixing.current_set
        plan = None if self.pending is None else self.pending[2].index.fingerprint
        return int(fingerprint([None if weights is None else list(weights), plan])[:15], 16)

    def _is_swap_due(self) -> bool:
        return self.pending is not None and self.step == self.pending[0] * self.corpus.constants.block_steps

    def _swap(self) -> None:
        """Enter the stage of the plan that waits; every rank does so at the same step."""
        assert self.pending is not None
        block, source, corpus = self.pending
        gathered = self.world.gather((self.arrays.cursor, self.arrays.pieces))
        cursor, pieces = (np.concatenate(arrays) for arrays in zip(*gathered, strict=True))
        self.stages[-1] = replace(self.stages[-1], cursor=cursor, pieces=pieces)
        same_pools = corpus.names == self.corpus.names
        self.corpora.append(succeed(self.corpora, self.stages, corpus))
        self.stages.append(Stage(source, corpus.index.fingerprint, self.step))
        self.pending = None
        state = self._mixer.state()
        self._mixer.start(corpus.index.pools, corpus.natural)
        if same_pools and self._mixer.needs_feedback:
            self._mixer.load(state)
        else:
            self._feedback = self._no_feedback(len(corpus.names))
        self._close_log()
        self._events.append({"swap": source, "first_step": self.step})
        self._enter_stage(block)
        self._follow_swaps()

    def _follow_swaps(self) -> None:
        """Wait for the next plan of a log that is replayed."""
        left = [swap for swap in self._swaps if swap[0] > self.step]
        if left and self.pending is None:
            self._wait_for(left[0][0] // self.corpus.constants.block_steps, left[0][1])

    def _is_over(self, parts: list[Sequences]) -> bool:
        """Whether the run ends before this step: agreed by all ranks where it can end at all."""
        end = self.corpus.constants.end
        ended = sum(part.delta.num_ended for part in parts)
        if end == "never":
            if ended:
                raise DataError(
                    f"{ended} lanes have no document left at step {self.step}: every pool is at its cap",
                    hint='raise max_epochs or the caps, or open with end="stop" or end="pad"',
                )
            return False
        spans = sum(len(part.spans) for part in parts)
        total = self.world.sum(np.array([ended, spans], np.int64))
        return bool(total[0] > 0) if end == "stop" else bool(total[1] == 0)

    def _hand_out(self, parts: list[Sequences]) -> Batch:
        constants = self.corpus.constants
        reweighs = self.step % constants.block_steps == 0 and self.step != self.stages[-1].first_step
        self.rewind.keep(self.arrays, parts, self.lanes.start, reweighs=reweighs)
        if reweighs:
            block = constants.block_of(self.step)
            reweigh(self.arrays, self.mixing.log.of(block - 1), self.mixing.log.of(block), self.phases)
        for part in parts:
            part.delta.apply(self.arrays, self.lanes.start)
        batch: Batch = {name: torch.from_numpy(array) for name, array in assemble(parts).items()}
        batch["step"] = self.step
        self._report_exhausted(parts)
        self.step += 1
        if self._log_path is not None and self.step % constants.block_steps == 0:
            self._write_log(constants.block_of(self.step) - 1)
        return batch

    def _report_exhausted(self, parts: list[Sequences]) -> None:
        """Say which pools have nothing left for a lane of this rank, once each."""
        for part in parts:
            for pool in np.unique(part.delta.touched[part.delta.done, 1]).tolist():
                if pool not in self._exhausted:
                    self._exhausted.add(pool)
                    name = self.corpus.names[pool]
                    _log.warning("pool %s is at its cap from step %d on", name, self.step)
                    self._events.append({"exhausted": name, "step": self.step})

    def _write_log(self, block: int) -> None:
        """Write the line of a block that is handed out."""
        assert self._log_path is not None
        sums = np.concatenate([self.arrays.served.sum(axis=0), self._feedback.total(block)], axis=1)
        if self.world.can_sum:
            sums = self.world.sum(sums)
        if self.world.rank == 0:
            if self._log is None:
                number = len(self.stages) - 1
                path = (
                    self._log_path.with_suffix(f".stage{number}{self._log_path.suffix}")
                    if number
                    else self._log_path
                )
                self._log = ServedLog(path, self.corpus, self.stages[-1].plan, block)
            weights = self.mixing.log.of(block)
            self._log.write(block, weights, sums[:, :2], sums[:, 2:], self._events)
        self._events = []

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

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
            prefetch_steps: steps that workers are ahead; above `in_flight` they wait for weights.
            seal_timeout_s: how long a worker waits for weights while the training loop takes no batch.
            look_ahead: batches that the training loop fetches before it trains on them; states of the loader
                leave that many out.
        """
        settings = WorkerSettings(multiprocessing_context, prefetch_steps, seal_timeout_s)
        return Loader(self, num_workers, settings, look_ahead=look_ahead)

    def set_epoch(self, epoch: int) -> None:
        """Nothing: a run is one sequence of steps. Accelerate calls it, and is refused where it would re-shard."""
        refuse_wrappers()

    @property
    def needs_feedback(self) -> bool:
        """Whether the weights are made of losses."""
        return self._mixer.needs_feedback

    # Weights

    def feedback(self, source_id: Any, loss: Any, *, step: int | None = None) -> None:
        """Give losses back; shapes are in `feedback.Feedback.add`. Nothing happens for weights that need none.

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

    # State

    def state_dict(self, *, step: int | None = None) -> dict[str, Any]:
        """Where the batches that were handed out end; keys `lane_00012` are of the lanes of this rank.

        Args:
            step: the step to go on with, `batch["step"] + 1` of the batch that was trained on last, where
                later ones were only fetched; at most `KEPT_STEPS` of them. None is after all of them.

        Raises:
            StateError: the step is too far back, or was not handed out.
        """
        step = self.step if step is None else step
        arrays = self.rewind.back(self.arrays, self.lanes.start, self.step - step)
        common = {
            "format": saved.FORMAT,
            "step": step,
            "constants": self.corpus.constants.model_dump(mode="json"),
            "tokenizer": self.corpus.tokenizer,
            "pools": self.corpus.names,
            "mixing": self.mixing.state(step),
            "stages": [saved.stage_to_json(stage) for stage in self.stages],
            "pending": None if self.pending is None else list(self.pending[:2]),
        }
        lanes = saved.lane_states(arrays, self._feedback, self.lanes)
        return {saved.RUN: json.dumps(common), **lanes}

    def full_state_dict(self, *, step: int | None = None) -> dict[str, Any]:
        """The state with the lanes of all ranks, on every rank; all ranks must call it."""
        states = self.world.gather(self.state_dict(step=step))
        return {key: value for state in states for key, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Any], *, on_mismatch: saved.OnMismatch = "error") -> None:
        """Go on from a state, whatever the number of ranks and workers was.

        Args:
            state: of all lanes that this rank hosts, at least.
            on_mismatch: what to do with a state of another plan or other constants: `error`; `append` the
                plan of this run to what was served, as `swap_plan` does; or `restart` from the first step.

        Raises:
            StateError: the state is of another plan, tokenizer or constants, or lacks lanes of this rank.
        """
        info = get_worker_info()
        if info is not None:
            self._keep_part(info.id, info.num_workers)
        try:
            self._load(state, on_mismatch)
        except StateError as exc:
            if on_mismatch != "restart":
                raise
            _log.warning("starting from the first step: %s", exc)

    def _load(self, state: Mapping[str, Any], on_mismatch: saved.OnMismatch) -> None:
        common = saved.read_common(state)
        saved.check_constants(self.corpus.constants, common["constants"], on_mismatch)
        if common["tokenizer"] != self.corpus.tokenizer:
            raise StateError(
                f"the state is of another tokenizer: {common['tokenizer']} and {self.corpus.tokenizer}"
            )
        opened, source = self.corpora[0], self.stages[0].source
        stages = [saved.stage_from_json(record) for record in common["stages"]]
        is_last = opened.index.fingerprint == stages[-1].plan
        corpora = restore(opened, stages, self._opener, reopen=is_last or on_mismatch == "append")
        names = corpora[-1].names
        mixing = Mixing(self.corpus.constants, self._mixer, names, corpora[-1].allowed)
        feedback = self._no_feedback(len(names))
        arrays = LaneArrays.new(len(self.lanes), len(names), self.arrays.pieces.shape[1])
        saved.load_lanes(arrays, feedback, self.lanes, state)
        self._mixer.start(corpora[-1].index.pools, corpora[-1].natural)
        mixing.load(common["mixing"])
        self.corpora, self.stages, self.arrays, self.mixing = corpora, stages, arrays, mixing
        self._feedback, self.step = feedback, int(common["step"])
        self.rewind.clear()
        self.phases = phases(corpora[-1].index, self.corpus.constants, self.lanes.start, self.lanes.stop)
        self.pending = None
        self._close_log()
        self._exhausted = set()
        if common["pending"] is not None:
            self._wait_for(*common["pending"])
        self._follow_swaps()
        if on_mismatch == "append" and opened.index.fingerprint not in (stages[0].plan, stages[-1].plan):
            self.pending = (self.corpus.constants.block_of(self.step), source, opened)
            self._swap()

    def _wait_for(self, block: int, source: str) -> None:
        if self._opener is None:
            raise ConfigError("this data set was made without a way to open plans")
        self.pending = (block, source, self._opener(source))

    def _keep_part(self, worker: int, num_workers: int) -> None:
        """In a worker of another DataLoader: host its lanes, however often it begins or loads."""
        if not self._is_part:
            self.keep(share(self.lanes, worker, num_workers, "number of workers"))
            self._is_part = True

    def keep(self, lanes: range) -> None:
        """Host only some of the lanes."""
        if lanes == self.lanes:
            return
        first, stop = lanes.start - self.lanes.start, lanes.stop - self.lanes.start
        self.arrays = self.arrays.part(first, stop)
        self.rewind.clear()
        self.phases = self.phases[first:stop]
        self._feedback.sums = self._feedback.sums[first:stop]
        self.lanes = lanes


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
        self.swap_plan = data.swap_plan
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


__all__ = ["Batch", "Data", "LaneArrays", "Loader"]
