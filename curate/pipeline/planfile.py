"""The plan on disk: what writer and loader obey. The format is in docs/formats.md.

A plan is written once, under the fingerprint of everything that decided it, and never changed. Rows are
read by shard and range, so a reader holds one range at a time. Not here: how a plan is decided (plan.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import StateError
from curate.files import hash_file, read_json

FORMAT = 4
ROWS_PER_GROUP = 65_536
WITNESSES = "duplicates.parquet"
"""File of a plan: for every dropped duplicate the document that stays."""
BUDGET = "budget.json"
"""File of a plan that says how its budget came about; only where the recipe says more than tokens."""

ROWS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("doc_id", pa.binary(16)),
        pa.field("reasons", pa.list_(pa.dictionary(pa.uint16(), pa.string())), nullable=False),
        pa.field("pool", pa.dictionary(pa.uint16(), pa.string())),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("repeats", pa.uint16(), nullable=False),
        pa.field("order", pa.uint64(), nullable=False),
        pa.field("tokens", pa.uint32(), nullable=False),
    ]
)

POOLS_SCHEMA = pa.schema(
    [
        pa.field("pool", pa.string(), nullable=False),
        pa.field("num_docs", pa.int64(), nullable=False),
        pa.field("num_tokens", pa.int64(), nullable=False),
        pa.field("num_unique_docs", pa.int64(), nullable=False),
        pa.field("num_unique_tokens", pa.int64(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("budget_tokens", pa.int64()),
        pa.field("planned_docs", pa.int64(), nullable=False),
        pa.field("planned_tokens", pa.int64(), nullable=False),
        pa.field("cap", pa.float64()),
        pa.field("threshold", pa.float64()),
        pa.field("token_error_frac", pa.float64()),
    ]
)


def reasons_array(offsets: npt.NDArray[np.int32], codes: npt.NDArray[np.uint16], names: pa.Array) -> pa.Array:
    """Build the `reasons` column from list offsets and codes into `names`."""
    values = pa.DictionaryArray.from_arrays(pa.array(codes, pa.uint16()), names)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def add_reason(
    reasons: pa.Array, extra: npt.NDArray[np.uint16], names: pa.Array, *, none: int = 0xFFFF
) -> pa.Array:
    """Append `extra[i]` (a code into `names`, or `none`) to the reasons of row i."""
    offsets = reasons.offsets.to_numpy()
    codes = reasons.values.indices.to_numpy()[offsets[0] : offsets[-1]]
    added = extra != none
    lengths = np.diff(offsets) + added
    new_offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    is_extra = np.zeros(int(new_offsets[-1]), bool)
    is_extra[new_offsets[1:][added] - 1] = True
    merged = np.empty(len(is_extra), np.uint16)
    merged[is_extra] = extra[added]
    merged[~is_extra] = codes
    return reasons_array(new_offsets, merged, names)


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """One immutable plan."""

    path: Path
    header: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "PlanFile":
        """Read the header of a plan.

        Raises:
            StateError: the plan is of another format.
            FileNotFoundError: there is no plan.
        """
        header = read_json(path / "plan.json")
        if header.get("format") != FORMAT:
            raise StateError(
                f"{path} has plan format {header.get('format')}, this version reads format {FORMAT}"
            )
        return cls(path=path, header=header)

    @property
    def fingerprint(self) -> str:
        """What the plan was decided from."""
        return str(self.header["fingerprint"])

    def budget(self) -> dict[str, Any] | None:
        """How the budget came about; None where the recipe says tokens alone."""
        return read_json(self.path / BUDGET) if self.header["budget_blake3"] else None

    def pools(self) -> pa.Table:
        """The table of pools."""
        return pq.read_table(self.path / "pools.parquet")

    def rows(
        self, shard: int, *, start: int = 0, stop: int | None = None, columns: list[str] | None = None
    ) -> pa.Table:
        """Rows `start` to `stop` of the shard at position `shard`, in order.

        Raises:
            StateError: the file has another number of rows than the plan says.
        """
        with self._open_rows(shard) as file:
            stop = file.metadata.num_rows if stop is None else stop
            parts, first = [], 0
            for group in range(file.metadata.num_row_groups):
                num_rows = file.metadata.row_group(group).num_rows
                if first < stop and first + num_rows > start:
                    table = file.read_row_group(group, columns=columns, use_threads=False)
                    low, high = max(start - first, 0), min(stop - first, num_rows)
                    parts.append(table.slice(low, high - low))
                first += num_rows
            if not parts:
                return (
                    file.schema_arrow.empty_table()
                    if columns is None
                    else file.schema_arrow.empty_table().select(columns)
                )
        return pa.concat_tables(parts).unify_dictionaries()

    def iter_rows(self, shard: int, *, columns: list[str]) -> Iterator[pa.Table]:
        """Rows of the shard at position `shard`, in order, in the row groups in which they were written.

        Raises:
            StateError: the file has another number of rows than the plan says.
        """
        with self._open_rows(shard) as file:
            for group in range(file.metadata.num_row_groups):
                yield file.read_row_group(group, columns=columns, use_threads=False)

    def _open_rows(self, shard: int) -> pq.ParquetFile:
        entry = self.header["shards"][shard]
        file = pq.ParquetFile(self.path / entry["rows"], pre_buffer=False)
        if file.metadata.num_rows != entry["num_rows"]:
            raise StateError(
                f"{entry['rows']} has {file.metadata.num_rows} rows, the plan says {entry['num_rows']}"
            )
        return file

    def iter_shards(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Position and entry of each shard, in key order."""
        yield from enumerate(self.header["shards"])

    def check_files(self) -> list[str]:
        """Compare every file of the plan with the header; returns what is wrong."""
        problems = []
        files = [(entry["rows"], entry["rows_blake3"]) for _, entry in self.iter_shards()]
        files += [(WITNESSES, self.header["duplicates_blake3"])]
        files += [(BUDGET, self.header["budget_blake3"])] if self.header["budget_blake3"] else []
        for name, expected in files:
            path = self.path / name
            if not path.is_file():
                problems.append(f"{path} is missing")
            elif (found := hash_file(path)) != expected:
                problems.append(f"{path} has BLAKE3 {found}, the plan says {expected}")
        return problems
