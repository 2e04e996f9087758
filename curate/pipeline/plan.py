"""Plan: decide for every document, from columns alone.

Passes over blocks of rows in key order, which bound the memory: draft (filters, pools, tokens; spilled),
keepers of duplicates among the survivors, selection under the budget, and the rows. Nothing here opens a
shard.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.filters.rules import check_rules
from curate.pipeline.draft import Draft, PoolNames, all_reasons, draft_block, needed_columns, spill, unspill
from curate.pipeline.duplicates import REASONS as DUPLICATES
from curate.pipeline.duplicates import Duplicates
from curate.pipeline.planfile import (
    FORMAT,
    POOLS_SCHEMA,
    ROWS_PER_GROUP,
    ROWS_SCHEMA,
    WITNESSES,
    PlanFile,
    add_reason,
)
from curate.pipeline.progress import Timing
from curate.pipeline.resolve import all_tasks, open_facts, read_factors
from curate.pipeline.rounds import filter_state
from curate.pipeline.session import Block, PieceEntry, Session
from curate.pipeline.transform import columns_of, count_removed
from curate.runs import Draft as Files
from curate.runs import Task
from curate.schema import INPUT_ERRORS, NULL_TEXT
from curate.selection.sample import hash_uniform
from curate.selection.select import REASONS, Outcome, Selector

NO_REASON = 0xFFFF
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
        settings={"version": 3, "recipe": session.recipe.plan_fingerprint()},
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


class _Planner:
    """The state of one decision."""

    def __init__(self, session: Session, task: Task) -> None:
        self.session, self.task, self.recipe = session, task, session.recipe
        self.entries = session.entries
        self.names = all_reasons(session, [*DUPLICATES, *REASONS])
        self.codes = {name: code for code, name in enumerate(self.names.to_pylist())}
        self.pools = PoolNames()
        self.scratch = session.run.scratch
        open_facts(session)
        self.duplicates = Duplicates(session)
        self.factors = read_factors(session)
        self.estimates: list[pl.DataFrame] = []
        self.edited: dict[str, Counter[str]] = {each.name: Counter() for each in self.recipe.transforms}
        self.first: Counter[str] = Counter()
        self.any: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.pool_docs: Counter[str] = Counter()
        self.pool_tokens: Counter[str] = Counter()

    def decide(self) -> None:
        """Run all passes and commit the plan."""
        self._draft_all()
        self.duplicates.choose(lambda block: unspill(self._spill_path(block)).survives)
        self.outcome = self._select()
        with self.session.run.begin(self.task) as files:
            shards = [self._write_shard(files, index, list(entries)) for index, entries in self._by_shard()]
            self._write_witnesses(files)
            self._write_pools(files)
            self._write_header(files, shards)
            files.commit(meta={"totals": dict(sorted(self.totals.items()))})

    def _by_shard(self) -> Iterator[tuple[int, Iterator[PieceEntry]]]:
        return groupby(self.entries, key=lambda entry: entry.shard_index)

    def _spill_path(self, block: Block) -> Path:
        return self.scratch / f"draft-{block.shard_index}-{block.entry.ordinal}-{block.number}.arrow"

    def _draft_all(self) -> None:
        names = needed_columns(self.session)
        if self.entries:
            check_rules(
                self.recipe.rules, self.session.read_columns(next(self.session.blocks()), names).schema
            )
        for block in self.session.blocks():
            draft = draft_block(self.session, block, names, self.pools, factors=self.factors)
            self.estimates.append(draft.estimates)
            spill(draft, self._spill_path(block))

    def _select(self) -> Outcome:
        """Choose under the budget among what filters and duplicates leave."""
        memory = self.session.limits.memory_bytes // 2
        selector = Selector(self.recipe.plan.selection, scratch=self.scratch, memory_bytes=memory)
        for block in self.session.blocks():
            draft = unspill(self._spill_path(block))
            left, _ = self._left(block, draft)
            selector.add(
                block.first_ordinal,
                doc_ids=draft.doc_id,
                tokens=draft.tokens,
                survived=left,
                columns=self._selection_columns(block),
            )
        return selector.finish()

    def _selection_columns(self, block: Block) -> pl.DataFrame:
        return self.session.read_columns(block, self.recipe.plan.selection.columns())

    def _left(self, block: Block, draft: Draft) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint16]]:
        """Rows that filters and duplicates leave, and the reason code of the duplicates."""
        left = draft.survives
        extra = np.full(block.length, NO_REASON, np.uint16)
        for reason, places in self.duplicates.drop(block, left):
            extra[places] = self.codes[reason]
        return left, extra

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
        draft = unspill(self._spill_path(block))
        left, extra = self._left(block, draft)
        columns = self._selection_columns(block)
        for reason, mask in self.outcome.decide(
            block.first_ordinal, doc_ids=draft.doc_id, survived=left, columns=columns
        ):
            extra[mask] = self.codes[reason]
        reasons = add_reason(draft.reasons, extra, self.names, none=NO_REASON)
        kept = reasons.value_lengths().to_numpy() == 0
        self._count(reasons, kept, draft)
        self._count_edits(block, kept)
        pool = pa.DictionaryArray.from_arrays(pa.array(draft.pool, pa.uint16()), pa.array(self.pools.names))
        order = (
            order_of(draft.doc_id, self.recipe.plan.selection.seed)
            if self.recipe.plan.order == "shuffle"
            else np.zeros(block.length, np.uint64)
        )
        first = block.first_row
        arrays = [
            pa.array(np.arange(first, first + block.length, dtype=np.uint32)),
            draft.doc_id,
            reasons,
            pool,
            pa.array(np.ones(block.length)),
            pa.array(kept.astype(np.uint16)),
            pa.array(order),
            pa.array(draft.tokens),
        ]
        return pa.Table.from_arrays(arrays, schema=ROWS_SCHEMA)

    def _count_edits(self, block: Block, kept: npt.NDArray[np.bool_]) -> None:
        """Add to the ledger of each transform what it removed from a block."""
        for each in self.recipe.transforms:
            names = columns_of(each).names
            self.edited[each.name].update(count_removed(each, self.session.read_columns(block, names), kept))

    def _count(self, reasons: pa.Array, kept: npt.NDArray[np.bool_], draft: Draft) -> None:
        tokens = draft.tokens
        docs = np.bincount(draft.pool, minlength=len(self.pools.names))
        sums = np.bincount(draft.pool, tokens, minlength=len(self.pools.names))
        for code, name in enumerate(self.pools.names):
            self.pool_docs[name] += int(docs[code])
            self.pool_tokens[name] += int(sums[code])
        offsets = reasons.offsets.to_numpy()
        codes = reasons.values.indices.to_numpy()
        first = np.bincount(codes[offsets[:-1][~kept]], minlength=len(self.names))
        every = np.bincount(codes, minlength=len(self.names))
        for name, code in self.codes.items():
            self.first[name] += int(first[code])
            self.any[name] += int(every[code])
        self.totals["num_docs"] += len(kept)
        self.totals["kept_docs"] += int(kept.sum())
        self.totals["num_tokens"] += int(tokens.sum(dtype=np.int64))
        self.totals["planned_tokens"] += int(tokens[kept].sum(dtype=np.int64))

    def _write_witnesses(self, files: Files) -> None:
        with files.create(f"plans/{self.task.fingerprint}/{WITNESSES}") as output:
            output.num_rows = self.duplicates.write(output)
        self.witnesses_blake3 = output.to_record().blake3

    def _write_pools(self, files: Files) -> None:
        path = f"plans/{self.task.fingerprint}/pools.parquet"
        errors = self._token_errors()
        records = [
            {
                "pool": pool.pool,
                "num_docs": self.pool_docs[pool.pool],
                "num_tokens": self.pool_tokens[pool.pool],
                "num_unique_tokens": pool.num_tokens,
                "budget_tokens": pool.budget_tokens,
                "planned_docs": pool.planned_docs,
                "planned_tokens": pool.planned_tokens,
                "cap": None,
                "token_error_frac": errors.get(pool.pool),
                "threshold": pool.threshold,
            }
            for pool in self.outcome.pools
        ]
        table = pa.Table.from_pylist(records, schema=POOLS_SCHEMA)
        with files.create(path) as output:
            pq.write_table(table, output, compression="zstd")
            output.num_rows = table.num_rows

    def _token_errors(self) -> dict[str, float]:
        """Expected error of each pool's token count, as a share of it: one standard deviation.

        Pools that are not calibrated are left out; the whole corpus is under the empty name.
        """
        keys = ["pool", "source", "language"]
        sums = pl.concat(self.estimates).group_by(keys).sum().sort(keys) if self.estimates else pl.DataFrame()
        variance: dict[str, float] = defaultdict(float)
        tokens: dict[str, int] = defaultdict(int)
        for pool, source, language, num_tokens, left in sums.iter_rows():
            for name in (self.pools.names[pool], ""):
                variance[name] += self.factors.pool(source, language).error(left) ** 2
                tokens[name] += num_tokens
        if not self.factors.calibrated:
            return {}
        found = {name: math.sqrt(variance[name]) / max(tokens[name], 1) for name in tokens}
        return {name: error for name, error in found.items() if math.isfinite(error)}

    def _write_header(self, files: Files, shards: list[dict[str, Any]]) -> None:
        bad = sum(self.first[code] for code in INPUT_ERRORS if code != NULL_TEXT)
        header = {
            "format": FORMAT,
            "fingerprint": self.task.fingerprint,
            "shards": shards,
            "edits": [
                {"name": each.name, "fingerprint": each.fingerprint(), **self.edited[each.name]}
                | filter_state(self.session, each)
                for each in self.recipe.transforms
            ],
            "tokenizer": {"fingerprint": self.recipe.tokens.content(), "mode": self.recipe.tokens.mode},
            "seed": self.recipe.plan.selection.seed,
            "recipe": self.recipe.plan_settings(),
            "token_error_frac": self._token_errors().get(""),
            "scale": asdict(self.outcome.scale),
            "totals": {**self.totals, "bad_docs": bad},
            "reasons": {
                name: {"first": self.first[name], "any": self.any[name]}
                for name in self.codes
                if self.any[name]
            },
            "duplicates_blake3": self.witnesses_blake3,
            "warnings": [*self.duplicates.warnings, *self.outcome.warnings],
        }
        with files.create(f"plans/{self.task.fingerprint}/plan.json") as output:
            output.write((json.dumps(header, indent=1, sort_keys=True) + "\n").encode())


def order_of(doc_ids: pa.Array, seed: int) -> npt.NDArray[np.uint64]:
    """Delivery order of a shuffle: a hash of seed and document, so that no shard and no worker decides it.

    Keys are uniform over 64 bits, so equal ranges of keys hold about as many documents.
    """
    values = np.nan_to_num(hash_uniform(doc_ids, seed=seed, purpose="plan.order"))
    keys: npt.NDArray[np.uint64] = (values * 2.0**53).astype(np.uint64) << np.uint64(11)
    return keys
