"""Documents that a plan keeps, with the columns that are asked for, in the order in which shards are read.

What leaves the pipeline is read here: delivery and exports differ in what they add to the tables (`_finish`).
Texts are read through the edits of the recipe. Cost: one more read of the kept text. Not here: what is kept
(plan.py), what becomes of it (deliver.py, export/).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate import text
from curate.pipeline.planfile import PlanFile
from curate.pipeline.readahead import read_ahead
from curate.pipeline.session import Block, PieceEntry, Session
from curate.pipeline.transform import SCHEMA, SPANS
from curate.schema import TEXT
from curate.shards import iter_batches

REPEATS = "repeats"
SPANS_TYPE = SCHEMA.field(SPANS).type


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What plan and columns say of a block of rows."""

    block: Block
    plan: pa.Table
    """Columns `plan_columns` of the plan's rows."""
    repeats: Any
    """How often each document is wanted; 0 is not at all."""
    extra: pl.DataFrame | None
    """Measured columns that are wanted, and those that `_finish` needs."""
    spans: pa.Array | None
    """Edits of the texts."""


class KeptDocuments:
    """Reads the kept documents of pieces as tables of `schema`, and of what `_finish` adds."""

    plan_columns: ClassVar[tuple[str, ...]] = ("repeats", "order")

    def __init__(self, session: Session, plan: PlanFile, schema: pa.Schema) -> None:
        """Take the columns of a schema: the text, columns of the input, measured ones and `repeats`."""
        self.session, self.plan, self.schema = session, plan, schema
        self.carried = session.carried
        own = [*session.measured_columns, *session.facts_schema.names]
        self.measured = [name for name in self.schema.names if name in own]

    def rows(self, rows: PieceEntry | Block, columns: list[str]) -> pa.Table:
        """Columns of the plan's rows of one piece or block."""
        stop = rows.first_row + rows.length
        return self.plan.rows(rows.shard_index, start=rows.first_row, stop=stop, columns=columns)

    def kept_bytes(self, rows: PieceEntry | Block) -> Any:
        """Bytes of each text that is kept and one more, which makes empty texts count; 0 for the others."""
        repeats = self.rows(rows, ["repeats"])["repeats"].to_numpy()
        sizes = self.session.read_columns(rows, ["document.num_bytes"])["document.num_bytes"]
        return np.where(repeats > 0, sizes.fill_null(0).to_numpy().astype(np.int64) + 1, 0)

    def kept(self, entry: PieceEntry) -> Iterator[pa.Table]:
        """Kept documents of a piece in input order."""
        if not any(
            self._wanted(block, self.rows(block, list(self.plan_columns))).any() for block in entry.blocks()
        ):
            return
        batches = iter_batches(
            entry.piece,
            self.session.recipe.input,
            max_bytes=self.session.limits.batch_bytes,
            schema=self.carried,
        )
        for batch, first, decided in self._by_block(entry, read_ahead(batches)):
            keep = np.flatnonzero(decided.repeats[first : first + batch.num_rows])
            if len(keep):
                yield self._finish(self._assemble(batch, keep, first, decided), keep + first, decided)
            self.session.progress.advance(num_bytes=int(pc.sum(pc.binary_length(batch[TEXT])).as_py() or 0))

    def _extra_columns(self) -> list[str]:
        """Measured columns that `_finish` needs beside those of the schema."""
        return []

    def _wanted(self, block: Block, plan: pa.Table) -> Any:
        """How often each document of a block is wanted."""
        return plan["repeats"].to_numpy()

    def _finish(self, table: pa.Table, rows: Any, decided: Decided) -> pa.Table:
        """Add what the user of the documents needs; `rows` are their places in the block."""
        return table

    def _by_block(
        self, entry: PieceEntry, batches: Iterator[pa.RecordBatch]
    ) -> Iterator[tuple[pa.RecordBatch, int, Decided]]:
        """Cut batches where blocks end; with each its first row in the block, and what is decided of that."""
        blocks = entry.blocks()
        decided, first = self._decided(next(blocks)), 0
        for batch in batches:
            start = 0
            while start < batch.num_rows:
                if first == decided.block.length:
                    decided, first = self._decided(next(blocks)), 0
                part = batch.slice(start, decided.block.length - first)
                yield part, first, decided
                start += part.num_rows
                first += part.num_rows

    def _decided(self, block: Block) -> Decided:
        rows = self.rows(block, list(self.plan_columns))
        names = list(dict.fromkeys([*self.measured, *self._extra_columns()]))
        return Decided(
            block=block,
            plan=rows,
            repeats=self._wanted(block, rows),
            extra=self.session.read_columns(block, names) if names else None,
            spans=spans_of(self.session, block) if self.session.recipe.transforms else None,
        )

    def _assemble(self, batch: pa.RecordBatch, keep: Any, first: int, decided: Decided) -> pa.Table:
        rows = keep + first
        if decided.spans is not None:
            batch = _edit(batch, decided.spans.slice(first, batch.num_rows))
        taken = batch.take(pa.array(keep))
        measured = decided.extra[rows].to_arrow() if decided.extra is not None else None
        arrays = []
        for field in self.schema:
            if field.name == self.session.recipe.input.text:
                array = taken[TEXT].cast(pa.large_string())
            elif field.name == REPEATS:
                array = pa.array(decided.repeats[rows], pa.uint16())
            elif field.name in self.measured and measured is not None:
                array = measured[field.name].combine_chunks().cast(field.type)
            else:
                array = taken[field.name].cast(field.type)
            arrays.append(array)
        return pa.Table.from_arrays(arrays, schema=self.schema)


def spans_of(session: Session, block: Block) -> pa.Array:
    """What the recipe's transforms remove of the raw text of each row of a block."""
    return session.read_columns(block, [SPANS])[SPANS].to_arrow().cast(SPANS_TYPE)


def _edit(batch: pa.RecordBatch, spans: pa.Array) -> pa.RecordBatch:
    """Read the texts of a batch through the edits."""
    position = batch.schema.get_field_index(TEXT)
    edited = text.apply_edits(batch[TEXT], spans)
    return batch.set_column(position, batch.schema.field(position), edited)
