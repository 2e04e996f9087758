"""Deliver: write the documents that the plan keeps as curated shards.

Here is what a task of delivery reads: the kept documents of a piece with the columns of the output. Cost:
one more read of the kept text. Not here: what is kept (plan.py), tasks and files (write.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate import text
from curate.errors import ConfigError
from curate.pipeline.planfile import PlanFile
from curate.pipeline.readahead import read_ahead
from curate.pipeline.session import Block, PieceEntry, Session
from curate.pipeline.shuffle import ORDER
from curate.pipeline.split import Split, check_kind
from curate.pipeline.transform import SCHEMA, SPANS
from curate.schema import TEXT, fingerprint
from curate.shards import iter_batches

REPEATS = "repeats"
BUCKET_BYTES = 64 << 20
"""Text of a bucket of a sorted delivery, about, which is sorted in memory. It decides the files."""
SPANS_TYPE = SCHEMA.field(SPANS).type


@dataclass(frozen=True, kw_only=True)
class _Decided:
    """What plan and columns say of a block of rows."""

    block: Block
    repeats: Any
    order: Any
    extra: pl.DataFrame | None
    """Measured columns of the output, and the one that it is split by."""
    spans: pa.Array | None
    """Edits of the texts."""


def output_schema(session: Session) -> pa.Schema:
    """Columns of the output files; that which they are split by is in the names of their folders instead.

    Raises:
        ConfigError: the recipe has no output, or names a column that is not there or cannot be split by.
    """
    output, source = session.recipe.output, session.recipe.input
    if output is None:
        raise ConfigError(
            "the recipe has no section `output`", hint="add `output: {path: ...}` or use --no-write"
        )
    known = pa.schema([*session.carried, *session.measured_schema, *session.facts_schema])
    split = output.split_by
    if split is not None:
        _check_known(session, "split_by", split, known)
        check_kind(pl.DataFrame(pl.from_arrow(known.empty_table().select([split]))).schema[split], split)
    fields = []
    for name in output.columns if output.columns is not None else [TEXT, *session.carried.names]:
        if name in (TEXT, source.text):
            fields.append(pa.field(source.text, pa.large_string()))
        elif name != split:
            _check_known(session, "columns", name, known)
            fields.append(known.field(name))
    if not output.materialize_repeats and session.recipe.repeats_vary:
        fields.append(pa.field(REPEATS, pa.uint16()))
    return pa.schema(fields)


def _check_known(session: Session, key: str, name: str, known: pa.Schema) -> None:
    if name not in known.names:
        names = ", ".join([TEXT, *known.names])
        raise ConfigError(f"output.{key} names an unknown column: {name}", hint=f"known are {names}")


class Delivery:
    """What one call of `deliver` works on."""

    def __init__(self, session: Session, plan: PlanFile) -> None:
        """Resolve the output schema and where every piece's rows are."""
        self.schema = output_schema(session)
        output = session.recipe.output
        assert output is not None
        self.session, self.plan, self.output = session, plan, output
        self.carried = session.carried
        own = [*session.measured_columns, *session.facts_schema.names]
        self.measured = [name for name in self.schema.names if name in own]
        self.shuffled = session.recipe.plan.order == "shuffle"
        self.split = self._split()

    @property
    def is_sorted(self) -> bool:
        """Whether documents do not go out in the order in which they are read."""
        return self.shuffled or self.split is not None

    def _split(self) -> Split | None:
        """The folders of the output, by a pass over columns; None where there is one."""
        column = self.output.split_by
        if column is None:
            return None
        split = Split(column=column, bucket_bytes=BUCKET_BYTES, shuffled=self.shuffled)
        for block in self.session.blocks():
            frame = self.session.read_columns(block, [column])
            split.add(frame[column], self.kept_bytes(block), block.first_ordinal)
        return split

    def kept_bytes(self, rows: PieceEntry | Block) -> Any:
        """Bytes of each text that is kept and one more, which makes empty texts count; 0 for the others."""
        repeats = self.rows(rows, ["repeats"])["repeats"].to_numpy()
        sizes = self.session.read_columns(rows, ["document.num_bytes"])["document.num_bytes"]
        return np.where(repeats > 0, sizes.fill_null(0).to_numpy().astype(np.int64) + 1, 0)

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

    def rows(self, rows: PieceEntry | Block, columns: list[str]) -> pa.Table:
        """Columns of the plan's rows of one piece or block."""
        stop = rows.first_row + rows.length
        return self.plan.rows(rows.shard_index, start=rows.first_row, stop=stop, columns=columns)

    def kept(self, entry: PieceEntry) -> Iterator[pa.Table]:
        """Kept documents of a piece in input order, with two sort columns where they are to be sorted."""
        if not self.rows(entry, ["repeats"])["repeats"].to_numpy().any():
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
                yield self._assemble(batch, keep, first, decided)
            self.session.progress.advance(num_bytes=int(pc.sum(pc.binary_length(batch[TEXT])).as_py() or 0))

    def _by_block(
        self, entry: PieceEntry, batches: Iterator[pa.RecordBatch]
    ) -> Iterator[tuple[pa.RecordBatch, int, "_Decided"]]:
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

    def _decided(self, block: Block) -> "_Decided":
        rows = self.rows(block, ["repeats", "order"])
        names = list(dict.fromkeys([*self.measured, *([self.split.column] if self.split else [])]))
        extra = self.session.read_columns(block, names) if names else None
        return _Decided(
            block=block,
            repeats=rows["repeats"].to_numpy(),
            order=rows["order"].to_numpy(),
            extra=extra,
            spans=spans_of(self.session, block) if self.session.recipe.transforms else None,
        )

    def _assemble(self, batch: pa.RecordBatch, keep: Any, first: int, decided: "_Decided") -> pa.Table:
        rows = keep + first
        if decided.spans is not None:
            batch = _edit(batch, decided.spans.slice(first, batch.num_rows))
        taken = batch.take(pa.array(keep))
        repeats = decided.repeats[rows]
        measured = decided.extra[rows].to_arrow() if decided.extra is not None else None
        arrays = []
        for field in self.schema:
            if field.name == self.session.recipe.input.text:
                array = taken[TEXT].cast(pa.large_string())
            elif field.name == REPEATS:
                array = pa.array(repeats, pa.uint16())
            elif field.name in self.measured and measured is not None:
                array = measured[field.name].combine_chunks().cast(field.type)
            else:
                array = taken[field.name].cast(field.type)
            arrays.append(array)
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        if self.is_sorted:
            ordinals, order = rows + decided.block.first_ordinal, decided.order[rows]
            if self.split is not None and decided.extra is not None:
                order = self.split.keys(decided.extra[self.split.column][rows], order, ordinals)
            table = table.append_column(ORDER[0], pa.array(order, pa.uint64()))
            table = table.append_column(ORDER[1], pa.array(ordinals, pa.int64()))
        if self.output.materialize_repeats and (repeats != 1).any():
            table = table.take(pa.array(np.repeat(np.arange(len(rows)), repeats)))
        return table


def spans_of(session: Session, block: Block) -> pa.Array:
    """What the recipe's transforms remove of the raw text of each row of a block."""
    return session.read_columns(block, [SPANS])[SPANS].to_arrow().cast(SPANS_TYPE)


def _edit(batch: pa.RecordBatch, spans: pa.Array) -> pa.RecordBatch:
    """Read the texts of a batch through the edits."""
    position = batch.schema.get_field_index(TEXT)
    edited = text.apply_edits(batch[TEXT], spans)
    return batch.set_column(position, batch.schema.field(position), edited)
