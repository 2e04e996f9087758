"""Artefacts of resolve: one task over all pieces each, and files with a row for every document.

An artefact is found again as long as no piece and no setting that it reads changed. Not here: what is in one.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import StateError
from curate.pipeline.session import Block, PieceEntry, Session
from curate.runs import Commit, Output, Task


def inputs(session: Session, *names: str) -> list[str]:
    """What an artefact over all pieces depends on: the stages it reads and the pieces."""
    return [
        *(session.stage_fingerprints[name] for name in names),
        *(entry.fingerprint for entry in session.entries),
    ]


def path(task: Task, name: str) -> str:
    """Where a file of an artefact is, relative to the run."""
    return f"resolve/{task.name}-{task.fingerprint[:16]}/{name}"


def write_rows(
    session: Session, output: Output, schema: pa.Schema, read: Callable[[Block], pa.RecordBatch]
) -> int:
    """Write a row for every document, one row group for every block that has rows."""
    writer = pq.ParquetWriter(output, schema, compression="zstd", compression_level=1)
    for block in (block for block in session.blocks() if block.length):
        table = pa.Table.from_batches([read(block)]).select(schema.names).cast(schema)
        writer.write_table(table, row_group_size=block.length)
    writer.close()
    return sum(entry.length for entry in session.entries)


class FactFile:
    """The file of an artefact with a row for every document, read block by block, opened when it is read."""

    def __init__(
        self, session: Session, task_of: Callable[[Session], Task], schema: pa.Schema, *, position: int = 0
    ) -> None:
        """Of the files of the task the one at `position` has these columns."""
        self._session, self._task_of, self._schema, self._position = session, task_of, schema, position

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self._schema

    @cached_property
    def commit(self) -> Commit:
        """The record of the task.

        Raises:
            StateError: it has not been made.
        """
        commit = self._session.run.lookup(self._task_of(self._session))
        if commit is None:
            raise StateError("duplicates have not been resolved", hint="run `curate dedup RECIPE`")
        return commit

    @property
    def meta(self) -> dict[str, Any]:
        """What the task says of itself."""
        return dict(self.commit.meta)

    @cached_property
    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._session.run.path_of(self.commit.files[self._position]))

    @cached_property
    def _groups(self) -> dict[int, int]:
        ordinals = (block.first_ordinal for block in self._session.blocks() if block.length)
        return {ordinal: group for group, ordinal in enumerate(ordinals)}

    def read(self, rows: PieceEntry | Block) -> pa.Table:
        """Its columns for one piece or block."""
        blocks = [rows] if isinstance(rows, Block) else rows.blocks()
        groups = [self._groups[block.first_ordinal] for block in blocks if block.length]
        if not groups:
            return self._schema.empty_table()
        return self._file.read_row_groups(groups, use_threads=False).combine_chunks()
