"""Deliver: write the documents that the plan keeps as curated shards.

Here is what a task of delivery reads: the kept documents of a piece (kept.py) with the columns of the output,
sorted and repeated where that is asked for. Not here: tasks and files (write.py).
"""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.errors import ConfigError
from curate.pipeline.kept import REPEATS, Decided, KeptDocuments
from curate.pipeline.planfile import PlanFile
from curate.pipeline.session import Session
from curate.pipeline.shuffle import ORDER
from curate.pipeline.split import Split, check_kind
from curate.schema import TEXT, fingerprint

BUCKET_BYTES = 64 << 20
"""Text of a bucket of a sorted delivery, about, which is sorted in memory. It decides the files."""


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


class Delivery(KeptDocuments):
    """What one call of `deliver` works on."""

    def __init__(self, session: Session, plan: PlanFile) -> None:
        """Resolve the output schema and where every piece's rows are."""
        output = session.recipe.output
        super().__init__(session, plan, output_schema(session))
        assert output is not None
        self.output = output
        self.shuffled = session.recipe.plan.is_sorted
        self.split = self._split()
        self.passes = self._passes()

    @property
    def is_sorted(self) -> bool:
        """Whether documents do not go out in the order in which they are read."""
        return self.shuffled or self.split is not None

    def _split(self) -> Split | None:
        """The folders of the output, by a pass over columns; None where there is one."""
        column = self.output.split_by
        if column is None:
            return None
        split = self._new_split(column)
        for block in self.session.blocks():
            frame = self.session.read_columns(block, [column])
            order = self.rows(block, ["order"])["order"].to_numpy()
            split.add(frame[column], self.kept_bytes(block), block.first_ordinal, order)
        return split

    def _new_split(self, column: str) -> Split:
        is_even = self.session.recipe.plan.order == "shuffle"
        return Split(column=column, bucket_bytes=BUCKET_BYTES, shuffled=self.shuffled, is_even=is_even)

    def _passes(self) -> Split | None:
        """The passes of a sorted delivery with copies: all documents once, then those that come again."""
        if not (
            self.shuffled
            and self.split is None
            and self.output.materialize_repeats
            and self.session.recipe.repeats_vary
        ):
            return None
        passes = self._new_split("pass")
        for block in self.session.blocks():
            plan, sizes = self.rows(block, ["repeats", "order"]), self.kept_bytes(block)
            repeats, order = plan["repeats"].to_numpy(), plan["order"].to_numpy()
            for number in range(int(repeats.max(initial=0))):
                wanted = np.where(repeats > number, sizes, 0)
                passes.add(_pass(number, block.length), wanted, block.first_ordinal, order)
        return passes

    @property
    def settings(self) -> str:
        """Fingerprint of the output settings."""
        return fingerprint(
            [
                "deliver",
                2 if self.passes is not None else 1,
                self.output.model_dump(mode="json", exclude={"path", "storage_options"}),
                self.schema.to_string(),
            ]
        )

    def _extra_columns(self) -> list[str]:
        return [self.split.column] if self.split else []

    def _finish(self, table: pa.Table, rows: Any, decided: Decided) -> pa.Table:
        """Add two sort columns where documents are to be sorted, and copies where repeats are written out."""
        if self.passes is not None:
            return self._copied(table, rows, decided)
        if self.is_sorted:
            ordinals, order = rows + decided.block.first_ordinal, decided.plan["order"].to_numpy()[rows]
            if self.split is not None and decided.extra is not None:
                order = self.split.keys(decided.extra[self.split.column][rows], order, ordinals)
            table = table.append_column(ORDER[0], pa.array(order, pa.uint64()))
            table = table.append_column(ORDER[1], pa.array(ordinals, pa.int64()))
        repeats = decided.repeats[rows]
        if self.output.materialize_repeats and (repeats != 1).any():
            table = table.take(pa.array(np.repeat(np.arange(len(rows)), repeats)))
        return table

    def _copied(self, table: pa.Table, rows: Any, decided: Decided) -> pa.Table:
        """A row for each copy, with the place of each in its pass."""
        assert self.passes is not None
        ordinals, order = rows + decided.block.first_ordinal, decided.plan["order"].to_numpy()[rows]
        repeats = decided.repeats[rows]
        tables = []
        for number in range(int(repeats.max())):
            mine = np.flatnonzero(repeats > number)
            keys = self.passes.keys(_pass(number, len(mine)), order[mine], ordinals[mine])
            copies = table.take(pa.array(mine)).append_column(ORDER[0], pa.array(keys, pa.uint64()))
            tables.append(copies.append_column(ORDER[1], pa.array(ordinals[mine], pa.int64())))
        return pa.concat_tables(tables)


def _pass(number: int, num_rows: int) -> pl.Series:
    """Names of a pass, which sort as passes do."""
    return pl.Series([f"{number:05d}"]).new_from_index(0, num_rows)
