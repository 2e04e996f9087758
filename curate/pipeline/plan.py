"""Plan: decide for every document, from columns alone.

Passes over blocks of rows in key order, which bound the memory: draft (filters, pools, tokens; spilled),
keepers of duplicates among the survivors, where tiers end, selection under the budget, the places in a
curriculum, and the rows. Nothing here opens a shard.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.filters.expression import parse_expression
from curate.filters.rules import check_rules
from curate.pipeline.budget import Budget, decide_budget
from curate.pipeline.cells import NULL_TIER, Cells
from curate.pipeline.draft import Draft, all_reasons, draft_block, needed_columns, spill, unspill
from curate.pipeline.duplicates import REASONS as DUPLICATES
from curate.pipeline.duplicates import Duplicates
from curate.pipeline.planfile import (
    BUDGET,
    FORMAT,
    ROWS_PER_GROUP,
    ROWS_SCHEMA,
    WITNESSES,
    PlanFile,
    add_reason,
)
from curate.pipeline.progress import Timing
from curate.pipeline.resolve import all_tasks, open_facts, read_factors
from curate.pipeline.session import Block, PieceEntry, Session
from curate.pipeline.tally import Tally
from curate.runs import Draft as Files
from curate.runs import Task
from curate.selection.candidates import values_of
from curate.selection.curriculum import Curriculum, Lesson
from curate.selection.sample import hash_uniform
from curate.selection.select import REASONS, Outcome, Selector

NO_REASON = 0xFFFF
MANY_POOLS = 1024
"""Pools above which a block of rows names only its own."""
ROWS_SETTINGS: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "version": "2.6",
    "data_page_version": "1.0",
    "write_page_checksum": True,
}


def plan_task(session: Session) -> Task:
    """The task that decides the plan; its fingerprint is the plan's."""
    inputs = [*session.stage_fingerprints.values()]
    inputs += [task.fingerprint for task in all_tasks(session).values()]
    inputs += [f"{entry.shard.key} {entry.fingerprint}" for entry in session.entries]
    return Task(
        step="plan",
        name="plan",
        inputs=inputs,
        settings={"version": 4, "recipe": session.recipe.plan_fingerprint()},
    )


def plan(session: Session) -> PlanFile:
    """Decide, or find what was decided from the same columns and settings; make it the current plan."""
    task = plan_task(session)
    done = session.run.lookup(task)
    timing = Timing(step="plan", num_tasks=int(done is None), num_cached=int(done is not None))
    session.timings.append(timing)
    with timing:
        session.progress.start("plan", num_bytes=0, num_tasks=timing.num_tasks)
        if done is None:
            _Planner(session, task).decide()
        session.run.set_current_plan(task.fingerprint)
    session.progress.finish(
        f"{'decided' if done is None else 'found'} {task.fingerprint[:16]} in {timing.wall_s:.1f} s"
    )
    return PlanFile.open(session.run.plan_folder(task.fingerprint))


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What is decided of a block, reasons before the selection aside."""

    draft: Draft
    left: npt.NDArray[np.bool_]
    """Rows that filters, duplicates and tiers leave."""
    extra: npt.NDArray[np.uint16]
    """Code of the last reason, of duplicates, tiers or selection; `NO_REASON` where there is none."""
    pool: npt.NDArray[np.uint32]


class _Planner:
    """The state of one decision."""

    def __init__(self, session: Session, task: Task) -> None:
        self.session, self.task, self.recipe = session, task, session.recipe
        self.settings = session.recipe.plan
        self.entries = session.entries
        self.cells = Cells(self.settings.pools)
        tier_reasons = [NULL_TIER] if self.cells.has_tiers else []
        self.names = all_reasons(session, [*DUPLICATES, *tier_reasons, *REASONS])
        self.codes = {name: code for code, name in enumerate(self.names.to_pylist())}
        self.scratch = session.run.scratch
        self.memory = session.limits.memory_bytes // 2
        open_facts(session)
        self.duplicates = Duplicates(session)
        self.factors = read_factors(session)
        self.lesson: Lesson | None = None
        self.budget: Budget | None = None
        self.warnings: list[str] = []

    def decide(self) -> None:
        """Run all passes and commit the plan."""
        self._draft_all()
        self.duplicates.choose(lambda block: self._draft(block).survives)
        self.cells.cut(self._scored, max_rows=max(1, self.memory // 4 // 128))
        self.outcome = self._select()
        self.tally = Tally(self.session, self.names, self.cells.names, self.factors)
        with closing(self.outcome):
            try:
                self._teach()
                self._commit()
            finally:
                if self.lesson is not None:
                    self.lesson.close()

    def _commit(self) -> None:
        """Write all files of the plan."""
        with self.session.run.begin(self.task) as files:
            shards = [self._write_shard(files, index, list(entries)) for index, entries in self._by_shard()]
            hashes = {
                "duplicates_blake3": self._write_witnesses(files),
                "budget_blake3": self._write_budget(files),
            }
            self._write_pools(files)
            self._write_header(files, shards, hashes)
            files.commit(meta={"totals": dict(sorted(self.tally.totals.items()))})

    def _by_shard(self) -> Iterator[tuple[int, Iterator[PieceEntry]]]:
        return groupby(self.entries, key=lambda entry: entry.shard_index)

    def _spill_path(self, block: Block) -> Path:
        return self.scratch / f"draft-{block.shard_index}-{block.entry.ordinal}-{block.number}.arrow"

    def _draft(self, block: Block) -> Draft:
        return unspill(self._spill_path(block))

    def _draft_all(self) -> None:
        names = needed_columns(self.session)
        if self.entries:
            check_rules(
                self.recipe.rules, self.session.read_columns(next(self.session.blocks()), names).schema
            )
        for block in self.session.blocks():
            draft = draft_block(self.session, block, names, self.cells.base, factors=self.factors)
            spill(draft, self._spill_path(block))

    def _scored(self) -> Iterator[tuple[Any, Any, Any]]:
        """Pools, ranks and tokens of what filters and duplicates leave, for the tiers."""
        for block in self.session.blocks():
            draft = self._draft(block)
            left = draft.survives
            for _, places in self.duplicates.drop(block, left):
                left[places] = False
            assert draft.ranks is not None
            if left.all():
                yield draft.pool, draft.ranks, draft.tokens
            else:
                yield draft.pool[left], draft.ranks[left], draft.tokens[left]

    def _left(self, block: Block) -> _Rows:
        """What filters, duplicates and tiers leave of a block."""
        draft = self._draft(block)
        left = draft.survives
        extra = np.full(block.length, NO_REASON, np.uint16)
        for reason, places in self.duplicates.drop(block, left):
            extra[places] = self.codes[reason]
        unscored = self.cells.unscored(draft.ranks)
        if unscored is not None:
            extra[unscored & left] = self.codes[NULL_TIER]
            left &= ~unscored
        return _Rows(draft=draft, left=left, extra=extra, pool=self.cells.codes(draft.pool, draft.ranks))

    def _select(self) -> Outcome:
        """Choose under the budget among what filters and duplicates leave."""
        with Selector(self.settings.selection, scratch=self.scratch, memory_bytes=self.memory) as selector:
            for block in self.session.blocks():
                rows = self._left(block)
                selector.add(
                    block.first_ordinal,
                    doc_ids=rows.draft.doc_id,
                    tokens=rows.draft.tokens,
                    pools=rows.pool,
                    survived=rows.left,
                    columns=self._selection_columns(block),
                )
            self.budget = decide_budget(self.settings, selector.supplies(self.cells.names))
            if self.budget is None or not self.settings.needs_allocation:
                return selector.finish(self.cells.names)
            tokens = self.budget.tokens
            return selector.finish(self.cells.names, budgets=tokens, can_repeat=self.budget.can_repeat)

    def _selection_columns(self, block: Block) -> pl.DataFrame:
        return self.session.read_columns(block, self.settings.selection.columns())

    def _decided(self, block: Block) -> tuple[_Rows, npt.NDArray[np.int64]]:
        """All that is decided of a block, and how often each row is taken."""
        rows = self._left(block)
        decision = self.outcome.decide(
            block.first_ordinal,
            doc_ids=rows.draft.doc_id,
            pools=rows.pool,
            survived=rows.left,
            columns=self._selection_columns(block),
        )
        for reason, mask in decision.reasons:
            rows.extra[mask] = self.codes[reason]
        return rows, decision.repeats

    def _teach(self) -> None:
        """Give every kept document its place, where the order is a curriculum."""
        order = self.settings.order
        if not isinstance(order, Curriculum):
            return
        seed = self.settings.selection.seed
        names = parse_expression(order.of).columns
        lesson = self.lesson = Lesson(order, seed=seed, scratch=self.scratch, memory_bytes=self.memory)
        for block in self.session.blocks():
            rows, repeats = self._decided(block)
            scores = values_of(order.of, self.session.read_columns(block, names), block.length)
            lesson.add(block.first_ordinal, doc_ids=rows.draft.doc_id, scores=scores, kept=repeats > 0)
        lesson.finish()

    def _write_shard(self, files: Files, index: int, entries: list[PieceEntry]) -> dict[str, Any]:
        """Write the rows of one shard and return its entry of the header."""
        path = f"plans/{self.task.fingerprint}/rows/{index:06d}.parquet"
        shard, num_rows = entries[0].shard, sum(entry.length for entry in entries)
        with files.create(path) as output:
            writer = pq.ParquetWriter(output, ROWS_SCHEMA, **ROWS_SETTINGS)
            for block in (block for entry in entries for block in entry.blocks()):
                writer.write_table(self._rows(block), row_group_size=ROWS_PER_GROUP)
            writer.close()
            output.num_rows = num_rows
        return {
            "key": shard.key,
            "uri": shard.uri,
            "format": shard.format,
            "fingerprint": shard.fingerprint,
            "num_rows": num_rows,
            "size_bytes": shard.size_bytes,
            "row_groups": list(shard.row_groups),
            "rows": f"rows/{index:06d}.parquet",
            "rows_blake3": output.to_record().blake3,
        }

    def _rows(self, block: Block) -> pa.Table:
        """Decide the rows of one block, and count them."""
        rows, repeats = self._decided(block)
        draft, first = rows.draft, block.first_row
        reasons = add_reason(draft.reasons, rows.extra, self.names, none=NO_REASON)
        self.tally.add(block, reasons=reasons, repeats=repeats, pools=rows.pool, tokens=draft.tokens)
        pool = _named(rows.pool, self.cells.names)
        arrays = [
            pa.array(np.arange(first, first + block.length, dtype=np.uint32)),
            draft.doc_id,
            reasons,
            pool,
            pa.array(np.ones(block.length)),
            pa.array(repeats.astype(np.uint16)),
            pa.array(self._order(block, draft)),
            pa.array(draft.tokens),
        ]
        return pa.Table.from_arrays(arrays, schema=ROWS_SCHEMA)

    def _order(self, block: Block, draft: Draft) -> npt.NDArray[np.uint64]:
        if self.lesson is not None:
            return self.lesson.read(block.first_ordinal, block.length)
        if self.settings.order == "shuffle":
            return order_of(draft.doc_id, self.settings.selection.seed)
        return np.zeros(block.length, np.uint64)

    def _write_witnesses(self, files: Files) -> str:
        with files.create(f"plans/{self.task.fingerprint}/{WITNESSES}") as output:
            output.num_rows = self.duplicates.write(output)
        return output.to_record().blake3

    def _write_budget(self, files: Files) -> str | None:
        if self.budget is None:
            return None
        with files.create(f"plans/{self.task.fingerprint}/{BUDGET}") as output:
            output.write(self.budget.to_bytes())
        return output.to_record().blake3

    def _write_pools(self, files: Files) -> None:
        caps = self.budget.caps if self.budget is not None else {}
        table = self.tally.pools_table(self.outcome.pools, caps)
        with files.create(f"plans/{self.task.fingerprint}/pools.parquet") as output:
            pq.write_table(table, output, compression="zstd")
            output.num_rows = table.num_rows

    def _write_header(
        self, files: Files, shards: list[dict[str, Any]], hashes: Mapping[str, str | None]
    ) -> None:
        warnings = [*self.duplicates.warnings, *self.outcome.warnings]
        warnings += self.budget.warnings if self.budget is not None else ()
        warnings += self.lesson.warnings if self.lesson is not None else ()
        header = {
            "format": FORMAT,
            "fingerprint": self.task.fingerprint,
            "shards": shards,
            "tokenizer": {"fingerprint": self.recipe.tokens.content(), "mode": self.recipe.tokens.mode},
            "seed": self.settings.selection.seed,
            "recipe": self.recipe.plan_settings(),
            "scale": asdict(self.outcome.scale),
            "warnings": warnings,
            **hashes,
            **self.tally.header(),
        }
        with files.create(f"plans/{self.task.fingerprint}/plan.json") as output:
            output.write((json.dumps(header, indent=1, sort_keys=True) + "\n").encode())


def _named(codes: npt.NDArray[np.uint32], names: list[str]) -> pa.DictionaryArray:
    """The column of pools; of many names a block has those that it uses."""
    if len(names) > MANY_POOLS:
        used, places = np.unique(codes, return_inverse=True)
        names, codes = [names[code] for code in used.tolist()], places.astype(np.uint32)
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.uint16()), pa.array(names, pa.string()))


def order_of(doc_ids: pa.Array, seed: int) -> npt.NDArray[np.uint64]:
    """Delivery order of a shuffle: a hash of seed and document, so that no shard and no worker decides it.

    Keys are uniform over 64 bits, so equal ranges of keys hold about as many documents.
    """
    values = np.nan_to_num(hash_uniform(doc_ids, seed=seed, purpose="plan.order"))
    keys: npt.NDArray[np.uint64] = (values * 2.0**53).astype(np.uint64) << np.uint64(11)
    return keys
