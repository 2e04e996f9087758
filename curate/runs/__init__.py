"""What survives: tasks, commits, the store of measured columns, and runs. See docs/formats.md."""

from curate.runs.draft import Draft, Output
from curate.runs.ledger import Ledger, Problem
from curate.runs.records import Commit, FileRecord, Task, Verify
from curate.runs.run import Run, quarantine_path
from curate.runs.store import ROW_GROUP_ROWS, ColumnWriter, Pass, Store, parquet_writer

__all__ = [
    "ROW_GROUP_ROWS",
    "ColumnWriter",
    "Commit",
    "Draft",
    "FileRecord",
    "Ledger",
    "Output",
    "Pass",
    "Problem",
    "Run",
    "Store",
    "Task",
    "Verify",
    "parquet_writer",
    "quarantine_path",
]
