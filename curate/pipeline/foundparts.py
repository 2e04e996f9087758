"""Duplicate parts of the documents of a piece, as a round has found them, read as texts go by.

Memory: one row group of each transform that sees the corpus. Not here: how they are found (rounds.py).
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from curate.dedup.parts import FOUND_SCHEMA, CorpusTransform
from curate.errors import StateError
from curate.pipeline.session import PieceEntry, Session
from curate.pipeline.transform import Transform
from curate.runs import ROW_GROUP_ROWS


class FoundParts:
    """Duplicate parts of the documents of a piece, for the given transforms, a few rows after the other."""

    def __init__(self, session: Session, entry: PieceEntry, transforms: Sequence[Transform]) -> None:
        """Read nothing yet.

        Raises:
            StateError: they have not been found.
        """
        names = [each.name for each in transforms if isinstance(each, CorpusTransform)]
        for name in names:
            if name not in entry.commits:
                raise StateError(
                    f"{name} has not seen the whole corpus yet",
                    hint="run `curate measure RECIPE`, or its part 1/n, which finds the parts for all others",
                )
        self._readers = {name: self._read(session, entry, name) for name in names}
        self._waiting = {name: FOUND_SCHEMA.empty_table() for name in names}

    @staticmethod
    def _read(session: Session, entry: PieceEntry, name: str) -> Iterator[pa.Table]:
        stage = session.stage_fingerprints[name]
        columns = [f"{name}.{column}" for column in FOUND_SCHEMA.names]
        num_rows = int(entry.commits[name].meta["num_rows"])
        for group in range(-(-num_rows // ROW_GROUP_ROWS)):
            table = session.store.read_columns(entry, {stage: columns}, row_group=group)
            yield table.rename_columns(FOUND_SCHEMA.names).cast(FOUND_SCHEMA)

    def take(self, num_rows: int) -> dict[str, pa.RecordBatch]:
        """Those of the next rows, by transform."""
        return {name: self._take(name, num_rows) for name in self._readers}

    def _take(self, name: str, num_rows: int) -> pa.RecordBatch:
        table = self._waiting[name]
        while table.num_rows < num_rows:
            table = pa.concat_tables([table, next(self._readers[name])])
        self._waiting[name] = table.slice(num_rows)
        batches = table.slice(0, num_rows).combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=FOUND_SCHEMA)
