"""Where a rank stands in a run: its lanes, the sealed weights, the stages, and how all that is saved.

Everything here happens at the step that is handed out, alike on all ranks. Not here: where sequences come
from (feeds.py), batches (data.py).
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import get_worker_info

from curate.errors import ConfigError, DataError, StateError
from curate.loader import saved
from curate.loader.corpus import Corpus
from curate.loader.feedback import Feedback, open_blocks
from curate.loader.lanes import Sequences, new_lanes
from curate.loader.rewind import KEPT_STEPS, Rewind
from curate.loader.schedule import phases, reweigh
from curate.loader.served import RunLog
from curate.loader.stages import Opener, Stage, restore, succeed
from curate.loader.state import TOKENS, Floats, Ints, LaneArrays
from curate.loader.weights import Mixing
from curate.loader.world import World, share
from curate.schema import fingerprint
from curate.selection.mixer import Mixer

_log = logging.getLogger(__name__)


class TrainingRun:
    """The part of a run that one rank hosts."""

    def __init__(  # over: what a run is made of
        self,
        corpus: Corpus,
        mixer: Mixer,
        world: World,
        *,
        source: str = "",
        opener: Opener | None = None,
        log: Path | None = None,
        swaps: Sequence[tuple[int, str]] = (),
    ) -> None:
        """Begin a run.

        Args:
            corpus: what is served.
            source: the name by which `opener` opens it again.
            opener: opens plans by their names.
            mixer: gives the weights.
            world: the ranks that share the lanes.
            log: file that gets a line for each block of steps.
            swaps: first steps and sources of plans to move to, as a log has them.

        Raises:
            ConfigError: the lanes cannot be shared out, or the mixer needs sums that cannot be made.
        """
        self.world, self._mixer, self._opener, self._swaps = world, mixer, opener, list(swaps)
        self.log = None if log is None else RunLog(log, corpus, corpus.index.fingerprint)
        if not any(pool.num_tokens for pool in corpus.index.pools):
            raise ConfigError(f"there are no documents to serve: {source or 'every pool is empty'}")
        self.lanes, self._is_part = world.lanes(corpus.constants), False
        self.corpora = [corpus]
        self.stages = [Stage(source, corpus.index.fingerprint, 0)]
        self.pending: tuple[int, str, Corpus] | None = None
        capped = bool(np.isfinite(corpus.allowed).any())
        if mixer.needs_feedback or capped:
            world.need_all("what these weights are made of")
        self._check_ranks(log)
        self.step = 0
        self._feedback = self._no_feedback(len(corpus.names))
        mixer.start(corpus.index.pools, corpus.natural)
        self._enter_stage(0)
        self._follow_swaps()

    def _check_ranks(self, log: Path | None) -> None:
        """See that all ranks opened the same.

        Raises:
            StateError: names what differs.
        """
        if not self.world.can_sum:
            return
        for what, value in {
            "constants": self.corpus.constants.model_dump(mode="json"),
            "plan": self.corpus.index.fingerprint,
            "tokenizer": self.corpus.tokenizer,
            "mixer": type(self._mixer).__qualname__,
            "whether there is a log": log is None,
        }.items():
            self.world.check_same(f"what was opened ({what})", _number(value))

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
        self._line: tuple[int, Ints | None] | None = None
        self.rewind = Rewind()
        constants, corpus = self.corpus.constants, self.corpus
        self.mixing = Mixing(constants, self._mixer, corpus.names, corpus.allowed, sealed=first_block)
        self.arrays = LaneArrays.new(len(self.lanes), len(corpus.names), 0)
        self.seal_due()
        first, stop = self.lanes.start, self.lanes.stop
        self.phases = phases(corpus.index, constants, first, stop)
        self.arrays = new_lanes(corpus.index, constants, self.mixing.log.of(first_block), first, stop)

    # Moving ahead

    def seal_due(self) -> list[tuple[int, Floats]]:
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
                self.world.check_same(
                    "the step, or what was set (weights, next plan)", self._fingerprint_set()
                )
                sums = self.world.sum(sums)
            sealed.append((block, self.mixing.seal(sums[:, :2], sums[:, 2], self.step)))
            self._report_exhausted(np.flatnonzero(sums[:, 2] >= self.corpus.allowed))
            if block >= constants.delay:
                self._feedback.clear(decides)
        self.mixing.log.forget(constants.block_of(max(self.step - KEPT_STEPS, 0)) - 1)
        return sealed

    def _fingerprint_set(self) -> int:
        weights = self.mixing.current_set
        plan = None if self.pending is None else self.pending[2].index.fingerprint
        sealed = [list(self.mixing.log.of(block)) for block in sorted(self.mixing.log.blocks)[-1:]]
        return _number([None if weights is None else list(weights), plan, self.step, sealed])

    def is_swap_due(self) -> bool:
        """Whether the next step is of the plan that waits."""
        return self.pending is not None and self.step == self.pending[0] * self.corpus.constants.block_steps

    def swap(self) -> None:
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
        if self.log is not None:
            self.log.close()
            self.log.note({"swap": source, "first_step": self.step})
        self._enter_stage(block)
        self._follow_swaps()

    def _follow_swaps(self) -> None:
        """Wait for the next plan of a log that is replayed."""
        left = [swap for swap in self._swaps if swap[0] > self.step]
        if left and self.pending is None:
            self._wait_for(left[0][0] // self.corpus.constants.block_steps, left[0][1])

    def is_over(self, parts: list[Sequences]) -> bool:
        """Whether the run ends before this step: agreed by all ranks where it can end at all."""
        end = self.corpus.constants.end
        ended = sum(part.delta.num_ended for part in parts)
        if end == "never":
            if ended:
                raise DataError(
                    f"{ended} lanes of this rank have no document left at step {self.step}: what they own of "
                    "the pools that have a weight was served as often as caps and max_epochs allow",
                    hint='raise these, give other pools a weight, or open with end="stop" or end="pad"',
                )
            return False
        spans = sum(len(part.spans) for part in parts)
        total = self.world.sum(np.array([ended, spans], np.int64))
        return bool(total[0] > 0) if end == "stop" else bool(total[1] == 0)

    def move_on(self, parts: list[Sequences]) -> None:
        """Take over what a step changed; the next step is due then."""
        constants = self.corpus.constants
        reweighs = self.step % constants.block_steps == 0 and self.step != self.stages[-1].first_step
        self.rewind.keep(self.arrays, parts, self.lanes.start, reweighs=reweighs)
        if reweighs:
            block = constants.block_of(self.step)
            reweigh(self.arrays, self.mixing.log.of(block - 1), self.mixing.log.of(block), self.phases)
        for part in parts:
            part.delta.apply(self.arrays, self.lanes.start)
        for part in parts:
            self._report_exhausted(np.unique(part.delta.touched[part.delta.done, 1]))
        self.step += 1
        if self.log is not None and self.step % constants.block_steps == 0:
            block = constants.block_of(self.step) - 1
            self._line = (block, self._line_sums(block))

    def _line_sums(self, block: int) -> Ints:
        """Tokens and documents so far, losses of a block and their counts, over all ranks, [pools, 4]."""
        sums = np.concatenate([self.arrays.served.sum(axis=0), self._feedback.total(block)], axis=1)
        return self.world.sum(sums) if self.world.can_sum else sums

    def write_log(self, *, is_last: bool = False) -> None:
        """Write the line of a block that was handed out, once the losses of its last step have come.

        That is before the next step is handed out, alike on all ranks. Several ranks may end apart, so their
        last line has the losses up to the step before.
        """
        if self.log is None or self._line is None:
            return
        (block, sums), self._line = self._line, None
        if not is_last or self.world.size == 1:
            sums = self._line_sums(block)
        if self.world.rank == 0 and sums is not None:
            began = self.corpus.constants.block_of(self.stages[-1].first_step)
            self.log.write(self.corpus, block, self.mixing.log.of(block), sums, first_block=began)

    def _report_exhausted(self, pools: Ints) -> None:
        """Say that pools have nothing left, for a lane of this rank or for all, once each."""
        for pool in pools.tolist():
            if pool not in self._exhausted and self.corpus.index.pools[pool].num_tokens:
                self._exhausted.add(pool)
                name = self.corpus.names[pool]
                _log.warning("pool %s is at its cap from step %d on", name, self.step)
                if self.log is not None and self.world.rank == 0:
                    self.log.note({"exhausted": name, "step": self.step})

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
            self.keep_part(info.id, info.num_workers)
        learned = self._mixer.state()
        try:
            with saved.damage_named():
                self._load(state, on_mismatch)
        except StateError as exc:
            self._mixer.start(self.corpus.index.pools, self.corpus.natural)
            self._mixer.load(learned)
            if on_mismatch != "restart":
                raise
            _log.warning("starting from the first step: %s", exc)
            self._restart()
        if info is None and self.world.can_sum:
            self.world.check_same("the step of the state that was loaded", self.step)

    def _restart(self) -> None:
        """Go back to the first step of the plan that was opened."""
        self.corpora, self.stages = self.corpora[:1], [replace(self.stages[0], cursor=None, pieces=None)]
        self.step, self.pending = 0, None
        self._feedback = self._no_feedback(len(self.corpus.names))
        self._mixer.start(self.corpus.index.pools, self.corpus.natural)
        self._enter_stage(0)
        self._follow_swaps()

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
        saved.check_position(self.corpus.constants, common, mixing.log, names)
        self.corpora, self.stages, self.arrays, self.mixing = corpora, stages, arrays, mixing
        self._feedback, self.step = feedback, int(common["step"])
        self.rewind.clear()
        self.phases = phases(corpora[-1].index, self.corpus.constants, self.lanes.start, self.lanes.stop)
        self.pending = None
        self._exhausted = set()
        is_boundary = self.step % self.corpus.constants.block_steps == 0
        is_due = is_boundary and self.step != stages[-1].first_step
        self._line = (self.corpus.constants.block_of(self.step) - 1, None) if is_due else None
        if self.log is not None:
            self.log.close()
            self.log = RunLog(self.log.path, corpora[0], stages[0].plan)
            first_step = (
                self.corpus.constants.block_of(self.step) - is_due
            ) * self.corpus.constants.block_steps
            if len(stages) > 1 and stages[-1].first_step == first_step:
                self.log.note({"swap": stages[-1].source, "first_step": first_step})
        if common["pending"] is not None:
            self._wait_for(*common["pending"])
        self._follow_swaps()
        if on_mismatch == "append" and opened.index.fingerprint not in (stages[0].plan, stages[-1].plan):
            self.pending = (self.corpus.constants.block_of(self.step), source, opened)
            self.swap()

    def _wait_for(self, block: int, source: str) -> None:
        if self._opener is None:
            raise ConfigError("this data set was made without a way to open plans")
        self.world.need_all("moving to another plan")
        corpus = self._opener(source)
        if corpus.tokenizer != self.corpus.tokenizer:
            raise ConfigError(
                f"the next plan has another tokenizer: {corpus.tokenizer} and {self.corpus.tokenizer}",
                hint="pass tokenizer= to open",
            )
        self.pending = (block, source, corpus)

    def keep_part(self, worker: int, num_workers: int) -> None:
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


def _number(value: Any) -> int:
    """A number of 60 bits for a JSON value."""
    return int(fingerprint(value)[:15], 16)
