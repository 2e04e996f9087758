"""Quarantine: the rows that could not be read, each with its shard, row, reason and first bytes.

A file for each piece that has such rows, made from the measured columns alone after measuring, committed as a
task of the run. Nothing decides by these files: the plan has the reasons too. The format is in
docs/formats.md.
"""

from collections import Counter

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.pipeline.session import DETAIL, INPUT_STAGE, PieceEntry, Session
from curate.runs import Output, Task, quarantine_path
from curate.schema import ERROR, fingerprint

SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
    ]
)


def num_quarantined(session: Session) -> dict[str, int]:
    """Rows that could not be read by reason, over the pieces that are measured."""
    found: Counter[str] = Counter()
    for entry in session.entries:
        if INPUT_STAGE in entry.commits:
            found.update(entry.commits[INPUT_STAGE].meta["num_quarantined"])
    return dict(sorted(found.items()))


def write_quarantine(session: Session) -> list[str]:
    """List the bad rows of every piece that has any; pieces must be measured and placed.

    Returns the paths of the files, relative to the run, in key order; what is there is not made again.
    """
    paths = []
    for entry in session.entries:
        if any(entry.commits[INPUT_STAGE].meta["num_quarantined"].values()):
            task = quarantine_task(entry)
            path = quarantine_path(task.fingerprint)
            if session.run.lookup(task) is None:
                _write(session, entry, task, path)
            paths.append(path)
    return paths


def quarantine_task(entry: PieceEntry) -> Task:
    """The task that lists the bad rows of one piece of one shard; copies of a shard have one each."""
    inputs = [fingerprint(entry.shard.key), entry.fingerprint]
    return Task(step="quarantine", name="quarantine", inputs=inputs, settings={"version": 1})


def _write(session: Session, entry: PieceEntry, task: Task, path: str) -> None:
    table = _bad_rows(session, entry)

    def write(output: Output) -> int:
        pq.write_table(table, output, compression="zstd", write_page_checksum=True)
        return int(table.num_rows)

    session.run.write(task, {path: write})


def _bad_rows(session: Session, entry: PieceEntry) -> pa.Table:
    columns = session.read_columns(entry, [ERROR, DETAIL])
    rows = np.flatnonzero(columns[ERROR].is_not_null().to_numpy())
    bad = columns[rows]
    arrays = [
        pa.repeat(pa.scalar(entry.shard.key), len(rows)),
        pa.array(rows + entry.first_row, pa.int64()),
        bad[ERROR].cast(pl.String).to_arrow().cast(pa.string()),
        bad[DETAIL].cast(pl.String).to_arrow().cast(pa.string()),
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
