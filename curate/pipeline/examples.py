"""Documents to make models from, of shards, of what the plans of runs keep, and of training files.

Every source gives the same batches, in an order of its own, as often as asked; or its stretches, each of
which gives batches. Only columns that are needed are read. Cost: one pass over the source each time. Not
here: which documents are taken (models/).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate import text
from curate.errors import ConfigError, DataError
from curate.files import hash_file
from curate.filters.expression import check_expression, parse_expression, prepare
from curate.models.drawing import POOL, Batch
from curate.models.settings import PREFIX, FileSource, RunSource, ShardSource, Source, TrainClassifier
from curate.pipeline.kept import SPANS_TYPE
from curate.pipeline.openrun import OpenRun, open_run
from curate.pipeline.session import PieceEntry
from curate.pipeline.transform import SPANS
from curate.schema import TEXT
from curate.shards import Piece, Shard, carried_schema, iter_batches, list_shards, split_pieces

BATCH_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a source."""

    at: str
    """Key path in the settings, for messages."""
    label: int | None
    """Number of the label of all documents; None where each has a label or grade of its own."""
    name: str
    """The label itself; a training file gives the lines that have it."""
    stratify: str | None
    column: str | None = None
    """Where a document's own label or grade stands."""
    values: tuple[str, ...] = ()
    """The labels, by number; none for grades."""
    max_grade: int = 0


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A part of a source that can be read without the rest."""

    key: str
    """Hash of its content; two copies have the same one."""
    num_bytes: int
    """Its size, about."""
    batches: Callable[[], Iterator[Batch]]
    """Reads its documents."""


class Examples(Protocol):
    """A source of examples."""

    @property
    def num_bytes(self) -> int:
        """Its size, about."""
        ...

    def describe(self) -> dict[str, object]:
        """What it is and the fingerprints of its content, for the card."""
        ...

    def stretches(self) -> list[Stretch]:
        """Its parts, in order."""
        ...

    def batches(self) -> Iterator[Batch]:
        """All of its documents."""
        ...


def open_examples(settings: TrainClassifier) -> list[Examples]:
    """Open all sources, those of the pool last.

    Raises:
        ConfigError: a source is not there, or names a column that it does not have.
    """
    names = settings.label_names
    found: list[Examples] = []
    for index, (label, source) in enumerate(settings.sources):
        wanted = Wanted(
            at=f"labels.{label}" if label is not None else f"examples[{index}]",
            label=None if label is None else names.index(label),
            name=label or "",
            stratify=settings.stratify,
            column=settings.label or settings.grade if label is None else None,
            values=tuple(settings.values),
            max_grade=settings.max_grade,
        )
        found.append(open_source(source, wanted))
    for index, source in enumerate(settings.pool_sources):
        pool = Wanted(at=f"pool[{index}]", label=POOL, name="", stratify=None)
        found.append(open_source(source, pool))
    return found


def open_source(source: Source, wanted: Wanted) -> Examples:
    """Open a source of any kind.

    Raises:
        ConfigError: it is not there, or a column is named that it does not have.
    """
    if isinstance(source, ShardSource):
        return ShardExamples(source, wanted)
    return RunExamples(source, wanted) if isinstance(source, RunSource) else FileExamples(source, wanted)


class ShardExamples:
    """Documents of shards."""

    def __init__(self, source: ShardSource, wanted: Wanted) -> None:
        self._source, self._wanted = source, wanted
        self._shards = list_shards(source)
        everything = carried_schema(self._shards, source)
        needed = [name for name in _columns(source.where, source.source, wanted) if name in everything.names]
        self._columns = pa.schema([everything.field(name) for name in needed])
        _check_columns(source.where, everything, wanted)

    @property
    def num_bytes(self) -> int:
        """Text of Parquet shards, bytes of JSONL ones."""
        return sum(stretch.num_bytes for stretch in self.stretches())

    def describe(self) -> dict[str, object]:
        """The shards, by key."""
        return {"at": self._wanted.at, "shards": _fingerprints(self._shards)}

    def stretches(self) -> list[Stretch]:
        """The pieces of the shards."""
        return [
            Stretch(key=piece.fingerprint, num_bytes=piece.num_bytes, batches=partial(self._of_piece, piece))
            for shard in self._shards
            for piece in split_pieces(shard)
        ]

    def batches(self) -> Iterator[Batch]:
        """All documents for which `where` is true."""
        return _chained(self.stretches())

    def _of_piece(self, piece: Piece) -> Iterator[Batch]:
        for batch in iter_batches(piece, self._source, max_bytes=BATCH_BYTES, schema=self._columns):
            columns = batch.select(self._columns.names)
            frame = pl.DataFrame(pl.from_arrow(columns)) if columns.num_columns else pl.DataFrame()
            rows = _where(self._source.where, frame, batch.num_rows)
            yield _batch(batch[TEXT], frame, rows, self._source.source, self._wanted)


class RunExamples:
    """Documents that the current plan of a run keeps, once each."""

    def __init__(self, source: RunSource, wanted: Wanted) -> None:
        self._source, self._wanted = source, wanted
        self._run: OpenRun = open_run(source.run)
        session = self._session = self._run.located()
        everything = pa.schema([*session.carried, *session.measured_schema])
        own = session.recipe.input.source
        self._source_column = own if own in session.carried.names else None
        self._needed = [
            name for name in _columns(source.where, self._source_column, wanted) if name in everything.names
        ]
        _check_columns(source.where, everything, wanted)

    @property
    def num_bytes(self) -> int:
        """Text of all documents, kept or not."""
        return sum(entry.piece.num_bytes for entry in self._session.entries)

    def describe(self) -> dict[str, object]:
        """The plan and the shards behind it."""
        plan = self._run.plan_file.fingerprint
        return {"at": self._wanted.at, "plan": plan, "shards": _fingerprints(self._session.shards)}

    def stretches(self) -> list[Stretch]:
        """The pieces of the run."""
        return [
            Stretch(
                key=entry.piece.fingerprint,
                num_bytes=entry.piece.num_bytes,
                batches=partial(self._of_entry, entry),
            )
            for entry in self._session.entries
        ]

    def batches(self) -> Iterator[Batch]:
        """All kept documents for which `where` is true, edited as the run delivers them."""
        return _chained(self.stretches())

    def _kept(self, entry: PieceEntry) -> npt.NDArray[np.bool_]:
        rows = self._run.plan_file.rows(
            entry.shard_index,
            start=entry.first_row,
            stop=entry.first_row + entry.length,
            columns=["repeats"],
        )
        return np.asarray(rows["repeats"].to_numpy() > 0)

    def _of_entry(self, entry: PieceEntry) -> Iterator[Batch]:
        session, kept = self._session, self._kept(entry)
        if not kept.any():
            return
        frame = session.read_columns(entry, self._needed) if self._needed else pl.DataFrame()
        spans = None
        if session.recipe.transforms:
            spans = session.read_columns(entry, [SPANS])[SPANS].to_arrow().cast(SPANS_TYPE)
        first = 0
        none = pa.schema([])
        for batch in iter_batches(entry.piece, session.recipe.input, max_bytes=BATCH_BYTES, schema=none):
            texts, size = batch[TEXT], batch.num_rows
            if spans is not None:
                texts = text.apply_edits(texts, spans.slice(first, size))
            part = frame[first : first + size] if frame.width else frame
            rows = _where(self._source.where, part, size) & kept[first : first + size]
            yield _batch(texts, part, rows, self._source_column, self._wanted)
            first += size


class FileExamples:
    """Lines of a training file; the name of the file is their source."""

    def __init__(self, source: FileSource, wanted: Wanted) -> None:
        self._path, self._wanted = Path(source.fasttext_file), wanted
        if not self._path.is_file():
            raise ConfigError(f"{wanted.at}.fasttext_file is not a file: {self._path}")

    @property
    def num_bytes(self) -> int:
        """Bytes of the file."""
        return self._path.stat().st_size

    @cached_property
    def _fingerprint(self) -> str:
        return hash_file(self._path)

    def describe(self) -> dict[str, object]:
        """The content of the file."""
        return {"at": self._wanted.at, "file": self._fingerprint}

    def stretches(self) -> list[Stretch]:
        """The file."""
        return [Stretch(key=self._fingerprint, num_bytes=self.num_bytes, batches=self.batches)]

    def batches(self) -> Iterator[Batch]:
        """The lines that have the label; for a pool all lines, for labels or grades those that have one."""
        texts: list[bytes] = []
        labels: list[int] = []
        num_bytes = num_none = 0
        with self._path.open("rb") as file:
            for line in file:
                found, words = split_line(line)
                label = self._label(found)
                if label is None:
                    num_none += not found or self._wanted.label is None
                    continue
                texts.append(words)
                labels.append(label)
                num_bytes += len(line)
                if num_bytes >= BATCH_BYTES:
                    yield self._batch(texts, labels, num_none)
                    texts, labels, num_bytes, num_none = [], [], 0, 0
        yield self._batch(texts, labels, num_none)

    def _label(self, found: list[str]) -> int | None:
        wanted = self._wanted
        if wanted.label == POOL:
            return POOL
        if wanted.label is not None:
            return wanted.label if wanted.name in found else None
        if wanted.values:
            return next((wanted.values.index(label) for label in found if label in wanted.values), None)
        if not found:
            return None
        try:
            return round(min(max(float(found[0]), 0.0), wanted.max_grade))
        except ValueError as exc:
            raise DataError(f"{self._path}: a label is not a grade: {found[0]}") from exc

    def _batch(self, texts: list[bytes], labels: list[int], num_none: int) -> Batch:
        return Batch(
            texts=pa.array(texts, pa.large_binary()),
            labels=np.array(labels, np.int32),
            strata=[""] * len(texts),
            sources=[self._path.name] * len(texts),
            num_no_label=num_none,
        )


def _chained(stretches: list[Stretch]) -> Iterator[Batch]:
    return chain.from_iterable(stretch.batches() for stretch in stretches)


def split_line(line: bytes) -> tuple[list[str], bytes]:
    """The labels that a line of a training file begins with, and the rest of it."""
    labels: list[str] = []
    rest = line.strip()
    while rest.startswith(PREFIX.encode()):
        label, *more = rest.split(None, 1)
        labels.append(label.decode("utf-8", "replace").removeprefix(PREFIX))
        rest = more[0] if more else b""
    return labels, rest


def _columns(where: str | None, source: str | None, wanted: Wanted) -> list[str]:
    """Columns that a source reads beside the text."""
    names = [source, wanted.stratify, wanted.column]
    names += parse_expression(where).columns if where else ()
    return list(dict.fromkeys(name for name in names if name is not None))


def _check_columns(where: str | None, schema: pa.Schema, wanted: Wanted) -> None:
    known = ", ".join(schema.names)
    own = "label" if wanted.values else "grade"
    for key, name in (("stratify", wanted.stratify), (own, wanted.column)):
        if name is not None and name not in schema.names:
            raise ConfigError(f"{key}: {wanted.at} has no such column: {name}", hint=f"known are {known}")
    if where is not None:
        kinds = pl.DataFrame(pl.from_arrow(schema.empty_table())).schema
        try:
            check_expression(parse_expression(where), kinds)
        except ConfigError as exc:
            raise ConfigError(f"{wanted.at}.where: {exc}", hint=exc.hint) from exc


def _where(where: str | None, frame: pl.DataFrame, size: int) -> npt.NDArray[np.bool_]:
    """Rows for which an expression is true; null is not."""
    if where is None:
        return np.ones(size, bool)
    expression = parse_expression(where)
    rows = pl.DataFrame({"": np.ones(size, bool)}).hstack(prepare(frame, expression.columns))
    found = rows.select(pl.col("") & expression.expr.fill_null(False)).to_series()
    return np.asarray(found.to_numpy(), bool)


def _batch(
    texts: pa.Array, frame: pl.DataFrame, rows: npt.NDArray[np.bool_], source: str | None, wanted: Wanted
) -> Batch:
    labels = np.full(len(texts), wanted.label if wanted.label is not None else 0, np.int32)
    num_none = 0
    if wanted.column is not None:
        labels, known = _own_labels(frame[wanted.column], wanted)
        num_none = int((rows & ~known).sum())
        rows = rows & known
    chosen = np.flatnonzero(rows)
    return Batch(
        texts=texts if len(chosen) == len(texts) else texts.take(pa.array(chosen, pa.int64())),
        labels=labels[chosen],
        strata=_names(frame, wanted.stratify, chosen),
        sources=_names(frame, source, chosen),
        num_no_label=num_none,
    )


def _own_labels(column: pl.Series, wanted: Wanted) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Numbers of the labels in a column, and which of them are known."""
    if wanted.values:
        numbers = {value: number for number, value in enumerate(wanted.values)}
        if column.dtype.is_nested() or column.dtype.is_float():
            raise ConfigError(
                f"{wanted.at}: labels are texts or whole numbers, {wanted.column} has: {column.dtype}"
            )
        texts = column.cast(pl.String).to_list()
        found = np.array([numbers.get(text, -1) for text in texts], np.int32)
        return np.maximum(found, 0), found >= 0
    try:
        grades = np.asarray(column.cast(pl.Float64).fill_null(float("nan")).to_numpy(), np.float64)
    except pl.exceptions.PolarsError as exc:
        raise DataError(f"{wanted.at}: the column has values that are no numbers: {wanted.column}") from exc
    whole = np.rint(np.clip(np.nan_to_num(grades), 0, wanted.max_grade))
    return whole.astype(np.int32), ~np.isnan(grades)


def _names(frame: pl.DataFrame, column: str | None, rows: npt.NDArray[np.int64]) -> list[str]:
    if column is None or column not in frame.columns:
        return [""] * len(rows)
    names: list[str] = frame[column].cast(pl.String).fill_null("").to_list()
    return [names[row] for row in rows]


def _fingerprints(shards: list[Shard]) -> dict[str, str]:
    return {shard.key: shard.fingerprint for shard in shards}
