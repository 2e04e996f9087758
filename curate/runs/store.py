"""The store of measured columns: shared by recipes, keyed by content and by the settings of stages.

A *pass* is a set of stages that one native call measures together; its column files hold one row for each row
of a piece, in order. A piece that any pass has measured a stage for is not measured again. Files are written
in row groups of 65,536 rows whatever the batches were, with fixed Parquet settings, so equal rows give equal
bytes (for one version of Arrow, which puts its name into the file). Any number of processes may measure into
one store.

Positions are checked: a file carries the fingerprint of its shard, its first row and its number of rows, and
a reader refuses one that is not of its piece. Not here: what stages measure, what pieces are (shards.py).
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from curate import files
from curate.errors import DataError, StateError
from curate.runs.draft import Draft
from curate.runs.ledger import Ledger
from curate.runs.records import FORMAT, SHORT, Commit, Task, Verify, check_format
from curate.schema import fingerprint

ROW_GROUP_ROWS = 65_536

_NAME = re.compile(r"[a-z0-9_]+")

_SETTINGS: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "version": "2.6",
    "data_page_version": "1.0",
    "write_statistics": False,
    "write_page_checksum": True,
    "write_batch_size": 1024,
}


class Shard(Protocol):
    """What the store wants to know of a shard."""

    @property
    def fingerprint(self) -> str:
        """Hash of its content."""
        ...


class Piece(Protocol):
    """What the store wants to know of a piece."""

    @property
    def shard(self) -> Shard:
        """The shard it is of."""
        ...

    @property
    def ordinal(self) -> int:
        """Its position among the pieces of the shard."""
        ...

    @property
    def first_row(self) -> int:
        """Its first row in the shard."""
        ...

    @property
    def num_rows(self) -> int | None:
        """Its number of rows, None where that is not known before reading."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of its shard and position."""
        ...


@dataclass(frozen=True)
class Pass:
    """Stages that are measured together: a name for people, and the fingerprint of each stage by its name."""

    name: str
    stages: Mapping[str, str]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the fingerprints of the stages."""
        return fingerprint(sorted(self.stages.values()))

    @property
    def folder(self) -> str:
        """Where its column files are, relative to the store."""
        return f"columns/{self.name}-{self.fingerprint[:SHORT]}"

    def task(self, piece: Piece) -> Task:
        """Return the task that measures a piece."""
        return Task(step="measure", name=self.name, inputs=(piece.fingerprint,), settings=dict(self.stages))

    def path(self, piece: Piece) -> str:
        """Return the column file of a piece, relative to the store."""
        return f"{self.folder}/{piece.ordinal:06d}-{piece.fingerprint[:SHORT]}.parquet"


class Store(Ledger):
    """Measured columns under one folder, which is made where it is missing, unless `create` is false."""

    data_folders = ("columns",)

    def __init__(self, root: Path, *, create: bool = True) -> None:
        super().__init__(root, create=create)
        path = root / "store.json"
        if create:
            files.create_json(path, {"format": FORMAT})
        if create or path.is_file():
            check_format(files.read_json(path), path)
        self._passes: dict[str, Pass] = {}

    @property
    def shard_cache(self) -> Path:
        """The file that remembers fingerprints of shards."""
        return self.root / "shards.json"

    def add_pass(self, name: str, stages: Mapping[str, str]) -> Pass:
        """Declare a pass; the same stages under the same name are the same pass."""
        if not _NAME.fullmatch(name) or not stages:
            raise DataError(f"a pass has stages and a name of lower-case letters, digits and _: {name!r}")
        made = Pass(name, dict(sorted(stages.items())))
        path = self.root / made.folder / "pass.json"
        files.make_dirs(path.parent)
        files.create_json(path, {"format": FORMAT, "stages": dict(made.stages)})
        return self._read_pass(path)

    def passes(self) -> list[Pass]:
        """List the passes of the store in the order of their folders."""
        return [self._read_pass(path) for path in sorted(self.root.glob("columns/*/pass.json"))]

    def find(self, piece: Piece, stages: Sequence[str], *, verify: Verify = "size") -> dict[str, Commit]:
        """Find who measured a piece: for each of the given stage fingerprints that is done, the commit."""
        found: dict[str, Commit] = {}
        for one in self.passes():
            new = set(stages) & set(one.stages.values()) - set(found)
            commit = self.lookup(one.task(piece), verify=verify) if new else None
            if commit is not None:
                found.update(dict.fromkeys(sorted(new), commit))
        return found

    def write_columns(self, one: Pass, piece: Piece) -> "ColumnWriter":
        """Start the column file of a piece; use as a context manager and call its `commit`."""
        return ColumnWriter(self.begin(one.task(piece)), one.path(piece), piece)

    def read_columns(
        self, piece: Piece, wanted: Mapping[str, Sequence[str]], *, row_group: int | None = None
    ) -> pa.Table:
        """Read columns of a piece: for each stage fingerprint, names of its columns, in that order.

        With `row_group` only those rows: `ROW_GROUP_ROWS` of them, or fewer in the last one.

        Raises:
            StateError: a stage was not measured, or a file is not of this piece.
        """
        found = self.find(piece, list(wanted))
        table: dict[str, pa.ChunkedArray] = {}
        for commit in {id(commit): commit for commit in found.values()}.values():
            names = [name for key in wanted if found.get(key) is commit for name in wanted[key]]
            columns = self._read_file(commit, piece, names, row_group)
            table.update({name: columns[name] for name in names})
        missing = [key for key in wanted if key not in found]
        if missing:
            raise StateError(
                f"piece {piece.ordinal} of shard {piece.shard.fingerprint} "
                f"has no columns of stage {missing[0]}",
                hint="measure it first",
            )
        return pa.table({name: table[name] for names in wanted.values() for name in names})

    def _read_file(
        self, commit: Commit, piece: Piece, names: Sequence[str], row_group: int | None
    ) -> pa.Table:
        path = self.path_of(commit.files[0])
        try:
            with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=True) as file:
                _check_position(path, file, piece)
                unknown = [name for name in names if name not in file.schema_arrow.names]
                if unknown:
                    raise StateError(f"{path} has no column {unknown[0]!r}")
                columns = list(dict.fromkeys(names))
                if row_group is None or file.metadata.num_rows == 0:
                    return file.read(columns=columns)
                return file.read_row_group(row_group, columns=columns)
        except pa.ArrowException as exc:
            raise StateError(
                f"{path} cannot be read: {exc}", hint="curate verify says what is damaged"
            ) from exc

    def _read_pass(self, path: Path) -> Pass:
        folder = f"columns/{path.parent.name}"
        if folder in self._passes:
            return self._passes[folder]
        record = files.read_json(path)
        check_format(record, path)
        one = Pass(path.parent.name.rpartition("-")[0], record.get("stages", {}))
        if one.folder != folder:
            raise StateError(f"{path} is not of its folder: {one.folder} and {folder}")
        self._passes[folder] = one
        return one


class ColumnWriter:
    """Writes the column file of a piece, batch by batch; leaving its block without `commit` removes it."""

    def __init__(self, draft: Draft, path: str, piece: Piece) -> None:
        self._draft = draft
        self._piece = piece
        self._output = draft.create(path)
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._num_waiting = 0
        self._num_rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows; all batches have the schema of the first."""
        if self._writer is None:
            schema = batch.schema.remove_metadata()
            self._writer = parquet_writer(self._output, schema)
        self._waiting.append(batch.replace_schema_metadata(None))
        self._num_waiting += batch.num_rows
        self._num_rows += batch.num_rows
        if self._num_waiting >= ROW_GROUP_ROWS:
            self._write_groups(whole=True)

    def commit(self, *, meta: Mapping[str, Any] | None = None) -> Commit:
        """Finish the file and commit the task; `meta` gets `num_rows`."""
        if self._writer is None:
            raise DataError(f"no batch was written for piece {self._piece.fingerprint}")
        expected = self._piece.num_rows
        if expected is not None and expected != self._num_rows:
            raise DataError(
                f"shard {self._piece.shard.fingerprint} has another number of rows "
                f"in piece {self._piece.ordinal} than its footer says: {self._num_rows} and {expected}"
            )
        self._write_groups(whole=False)
        self._writer.add_key_value_metadata(_position(self._piece, self._num_rows))
        self._writer.close()
        self._output.num_rows = self._num_rows
        self._output.seal()
        return self._draft.commit(meta={**(meta or {}), "num_rows": self._num_rows})

    def _write_groups(self, *, whole: bool) -> None:
        """Write waiting rows in groups of ROW_GROUP_ROWS; a smaller last one only if not `whole`.

        Every group is one contiguous table: pages then do not depend on how rows came in batches.
        """
        assert self._writer is not None
        rows = pa.Table.from_batches(self._waiting).combine_chunks() if self._waiting else None
        start = 0
        while rows is not None and (rest := rows.num_rows - start) > 0:
            if rest < ROW_GROUP_ROWS and whole:
                break
            group = rows.slice(start, ROW_GROUP_ROWS)
            self._writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            start += group.num_rows
        self._waiting = rows.slice(start).to_batches() if rows is not None else []
        self._num_waiting = sum(batch.num_rows for batch in self._waiting)

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(self, kind: object, exc: object, traceback: object) -> None:
        self._draft.__exit__(kind, exc, traceback)
        if self._writer is not None:
            with contextlib.suppress(pa.ArrowException, OSError):  # what it still writes goes nowhere
                self._writer.close()


def parquet_writer(output: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a column file for writing, with the settings that all of them have."""
    return pq.ParquetWriter(output, schema, **_SETTINGS, **_encodings(schema))


def _encodings(schema: pa.Schema) -> dict[str, list[str]]:
    """Choose encodings by type: numbers split by byte, which takes 40 % of the time that dictionaries take.

    Ids stay plain: not every reader knows the splitting of fixed-size binary.
    """
    numbers, others = [], []
    for field in schema:
        kind = field.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            numbers.append(field.name)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
            others.append(field.name)
    return {"use_byte_stream_split": numbers, "use_dictionary": others}


def _position(piece: Piece, num_rows: int) -> dict[str, str]:
    return {
        "curate.format": str(FORMAT),
        "curate.shard": piece.shard.fingerprint,
        "curate.first_row": str(piece.first_row),
        "curate.num_rows": str(num_rows),
    }


def _check_position(path: Path, file: pq.ParquetFile, piece: Piece) -> None:
    """Compare what a column file says about itself with the piece, by name of the field."""
    metadata = file.metadata.metadata or {}
    expected = file.metadata.num_rows if piece.num_rows is None else piece.num_rows
    for key, value in _position(piece, expected).items():
        found = metadata.get(key.encode(), b"").decode("utf-8", "replace")
        if found != value:
            raise StateError(f"{path} has another {key} than its piece: {found!r} and {value!r}")
    if file.metadata.num_rows != expected:
        raise StateError(
            f"{path} has another number of rows than its piece: {file.metadata.num_rows} and {expected}"
        )
