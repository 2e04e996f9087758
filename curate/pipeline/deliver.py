"""Deliver: write the documents that the plan keeps as curated shards.

Here is what a task of delivery reads: the kept documents of a piece with the columns of the output. Cost:
one more read of the kept text. Not here: what is kept (plan.py), tasks and files (write.py).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate import text
from curate.errors import ConfigError
from curate.pipeline.planfile import PlanFile
from curate.pipeline.readahead import read_ahead
from curate.pipeline.session import PieceEntry, Session
from curate.pipeline.transform import SCHEMA, SPANS
from curate.schema import TEXT, fingerprint
from curate.shards import iter_batches

REPEATS = "repeats"
SPANS_TYPE = SCHEMA.field(SPANS).type
ORDER = ("__order", "__ordinal")
"""Sort columns of a shuffled delivery, after those of the output."""


class Delivery:
    """What one call of `deliver` works on."""

    def __init__(self, session: Session, plan: PlanFile) -> None:
        """Resolve the output schema and where every piece's rows are."""
        if session.recipe.output is None:
            raise ConfigError(
                "the recipe has no section `output`", hint="add `output: {path: ...}` or use --no-write"
            )
        self.session, self.plan, self.output = session, plan, session.recipe.output
        self.carried = session.carried
        self.measured = [name for name in self.output.columns or [] if name in session.measured_columns]
        self.schema = self._schema()
        self.shuffled = session.recipe.plan.order == "shuffle"

    @property
    def settings(self) -> str:
        """Fingerprint of the output settings."""
        return fingerprint(
            [
                "deliver",
                1,
                self.output.model_dump(mode="json", exclude={"path", "storage_options"}),
                self.schema.to_string(),
            ]
        )

    def _schema(self) -> pa.Schema:
        names = self.output.columns
        if names is None:
            names = [TEXT, *self.carried.names]
        fields = []
        for name in names:
            if name in (TEXT, self.session.recipe.input.text):
                fields.append(pa.field(self.session.recipe.input.text, pa.large_string()))
            elif name in self.carried.names:
                fields.append(self.carried.field(name))
            elif name in self.session.measured_columns:
                fields.append(pa.field(name, self.session.measured_type(name)))
            else:
                known = [TEXT, *self.carried.names, *self.session.measured_columns]
                raise ConfigError(
                    f"output.columns names an unknown column: {name}", hint=f"known are {', '.join(known)}"
                )
        if not self.output.materialize_repeats and self.session.recipe.repeats_vary:
            fields.append(pa.field(REPEATS, pa.uint16()))
        return pa.schema(fields)

    def rows(self, entry: PieceEntry) -> pa.Table:
        """The plan's rows of one piece: repeats and order."""
        stop = entry.first_row + entry.length
        return self.plan.rows(
            entry.shard_index, start=entry.first_row, stop=stop, columns=["repeats", "order"]
        )

    def kept(self, entry: PieceEntry) -> Iterator[pa.Table]:
        """Kept documents of a piece in input order, with two sort columns when the order is shuffled."""
        rows = self.rows(entry)
        repeats = rows["repeats"].to_numpy()
        if not repeats.any():
            return
        order = rows["order"].to_numpy()
        extra = self.session.read_columns(entry, self.measured) if self.measured else None
        spans = self._spans(entry)
        settings, first = self.session.recipe.input, 0
        batches = iter_batches(
            entry.piece, settings, max_bytes=self.session.limits.batch_bytes, schema=self.carried
        )
        for batch in read_ahead(batches):
            stop = first + batch.num_rows
            keep = np.flatnonzero(repeats[first:stop])
            if len(keep):
                edited = batch if spans is None else _edit(batch, spans.slice(first, batch.num_rows))
                yield self._assemble(edited, keep, first, repeats, order, entry, extra)
            self.session.progress.advance(num_bytes=int(pc.sum(pc.binary_length(batch[TEXT])).as_py() or 0))
            first = stop

    def _spans(self, entry: PieceEntry) -> pa.Array | None:
        if not self.session.recipe.transforms:
            return None
        return self.session.read_columns(entry, [SPANS])[SPANS].to_arrow().cast(SPANS_TYPE)

    def _assemble(
        self,
        batch: pa.RecordBatch,
        keep: Any,
        first: int,
        repeats: Any,
        order: Any,
        entry: PieceEntry,
        extra: pl.DataFrame | None,
    ) -> pa.Table:
        rows = keep + first
        taken = batch.take(pa.array(keep))
        measured = extra[rows].to_arrow() if extra is not None else None
        arrays = []
        for field in self.schema:
            if field.name == self.session.recipe.input.text:
                array = taken[TEXT].cast(pa.large_string())
            elif field.name == REPEATS:
                array = pa.array(repeats[rows], pa.uint16())
            elif field.name in self.measured and measured is not None:
                array = measured[field.name].combine_chunks().cast(field.type)
            else:
                array = taken[field.name].cast(field.type)
            arrays.append(array)
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        if self.shuffled:
            table = table.append_column(ORDER[0], pa.array(order[rows], pa.uint64()))
            table = table.append_column(ORDER[1], pa.array(rows + entry.first_ordinal, pa.int64()))
        if self.output.materialize_repeats and (repeats[rows] != 1).any():
            table = table.take(pa.array(np.repeat(np.arange(len(rows)), repeats[rows])))
        return table


def _edit(batch: pa.RecordBatch, spans: pa.Array) -> pa.RecordBatch:
    """Read the texts of a batch through the edits."""
    position = batch.schema.get_field_index(TEXT)
    edited = text.apply_edits(batch[TEXT], spans)
    return batch.set_column(position, batch.schema.field(position), edited)
