"""Tables of runs and points for laws: CSV or Parquet files.

A name of a column that stands twice is an error here, where readers of CSV would rename the second. Cost: the
file in memory. Not here: what columns mean (each law).
"""

import csv
from collections import Counter
from pathlib import Path

import polars as pl

from curate.errors import DataError

MAX_BYTES = 1 << 30


TEXTS = ("run", "pool", "language", "content")
"""Columns that are text whatever they look like: a pool may be called 2024."""


def read_table(path: Path) -> pl.DataFrame:
    """Read a table.

    Raises:
        DataError: it is neither CSV nor Parquet, is too large, has no row, or a column twice.
    """
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES} bytes")
    is_parquet = path.suffix == ".parquet"
    try:
        frame = pl.read_parquet(path) if is_parquet else _read_csv(path)
    except (UnicodeDecodeError, csv.Error, pl.exceptions.PolarsError) as exc:
        raise DataError(f"{path} is no table in {'Parquet' if is_parquet else 'CSV'}: {exc!s:.200}") from exc
    if not len(frame):
        raise DataError(f"{path} has no row")
    return frame


def _read_csv(path: Path) -> pl.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        header = next(csv.reader(handle), [])
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path}: a column stands twice: {twice[0]}")
    texts = {name: pl.String for name in TEXTS if name in header}
    return pl.read_csv(path, infer_schema_length=None, schema_overrides=texts)
