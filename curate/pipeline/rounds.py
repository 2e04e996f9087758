"""Rounds: what the transforms that see the whole corpus remove, found before anything else is measured.

A round reads all texts in key order, through the transforms before its own, and writes for every piece which
parts of its documents are duplicate; a column file in the store, as of a measuring stage. Its fingerprint is
made of the transforms so far and of all pieces, so an added shard makes a new round. Measuring then turns
the parts into byte spans.

After a kill the round is made again from the start, and only files that are missing are written: a piece's
parts depend on the pieces before it alone, never on threads, batches or memory. Not here: what duplicate
parts are (dedup/parts.py).
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import text
from curate.dedup.parts import FOUND_SCHEMA, DuplicateParts, ExactParts, NgramOverlap
from curate.errors import ConfigError
from curate.pipeline.foundparts import FoundParts
from curate.pipeline.measure import locate
from curate.pipeline.progress import Timing
from curate.pipeline.readahead import read_ahead
from curate.pipeline.session import PieceEntry, Session
from curate.pipeline.transform import Transform, edit
from curate.runs.store import ColumnWriter
from curate.schema import TEXT
from curate.shards import iter_batches
from curate.shards.columns import convert, shard_schema


def find_parts(session: Session) -> Timing | None:
    """Make every round that the store lacks; None where the recipe has none. The run has to be locked.

    Raises:
        ConfigError: a Bloom filter is larger than half the memory, or there is no column `within`.
    """
    rounds = [
        Round(session=session, transform=each, before=session.recipe.transforms[:position])
        for position, each in enumerate(session.recipe.transforms)
        if isinstance(each, DuplicateParts | NgramOverlap)
    ]
    if not rounds:
        return None
    locate(session)
    todo = [(each, each.missing()) for each in rounds]
    todo = [(each, missing) for each, missing in todo if missing]
    timing = Timing(step="transform", num_tasks=len(todo), num_cached=len(rounds) - len(todo))
    session.timings.append(timing)
    with timing:
        size = sum(entry.piece.num_bytes for entry in session.entries) * len(todo)
        session.progress.start("transform", num_bytes=size, num_tasks=len(todo))
        for each, _ in todo:
            each.check()
        for each, missing in todo:
            timing.num_bytes += each.make(missing)
            session.progress.advance(num_tasks=1)
    session.progress.finish(f"{len(todo)} rounds made, {timing.num_cached} were there, {timing.wall_s:.1f} s")
    return timing


@dataclass(kw_only=True)
class Round:
    """One transform that sees the corpus, and those that come before it."""

    session: Session
    transform: DuplicateParts | NgramOverlap
    before: tuple[Transform, ...]
    num_bytes: int = 0
    """Text that was read."""

    def missing(self) -> list[PieceEntry]:
        """Pieces whose duplicate parts the store lacks."""
        return [entry for entry in self.session.entries if self.transform.name not in entry.commits]

    def check(self) -> None:
        """Refuse what cannot work before texts are read."""
        self.transform.check_memory(self.session.limits.memory_bytes)
        carried, at = self.session.carried, f"transform.{self.transform.name}.within"
        for name in self.transform.columns():
            if name not in carried.names or pa.types.is_nested(carried.field(name).type):
                raise ConfigError(
                    f"{at} names no column of the input with plain values: {name}",
                    hint=f"columns are {', '.join(carried.names)}",
                )

    def make(self, missing: list[PieceEntry]) -> int:
        """Find the parts and write those of the missing pieces; returns the bytes of text read."""
        wanted = {id(entry) for entry in missing}
        settings = self.transform.filter_settings()
        if settings is not None:
            self._filter(settings, wanted)
        elif isinstance(self.transform, DuplicateParts):
            self._find_exactly(self.transform, wanted)
        locate(self.session)
        return self.num_bytes

    def _filter(self, settings: text.PartFilterSettings, wanted: set[int]) -> None:
        seen = text.PartFilter(settings)
        num_left = len(wanted)
        for entry in self.session.entries:
            if num_left == 0:
                break
            parts = (
                seen.find(texts, scopes, num_threads=self.session.limits.num_threads)
                for texts, scopes in self._texts(entry)
            )
            if id(entry) in wanted:
                self._write(
                    entry, parts, lambda: {"num_items": seen.num_items, "false_positive_rate": seen.error}
                )
                num_left -= 1
            else:
                deque(parts, maxlen=0)
        if seen.error > settings.false_positive_rate:
            self.session.progress.warn(
                f"{self.transform.name}: {seen.num_items} different items were seen, more than expected: new "
                f"ones are taken for duplicate with a probability of {seen.error:.2g}"
            )

    def _find_exactly(self, transform: DuplicateParts, wanted: set[int]) -> None:
        limits = self.session.limits
        parts = ExactParts(
            transform,
            scratch=self.session.run.scratch,
            memory_bytes=limits.memory_bytes // 2,
            num_threads=limits.num_threads,
        )
        with closing(parts) as exact:
            exact.find(self._texts(entry) for entry in self.session.entries)
            for number, entry in enumerate(self.session.entries):
                if id(entry) in wanted:
                    self._write(entry, exact.read(number), dict)

    def _texts(self, entry: PieceEntry) -> Iterator[tuple[pa.Array, pa.Array | None]]:
        """Texts of a piece as the transforms before leave them, and the values inside which to compare."""
        session, within = self.session, self.transform.within
        session.stop.check()
        named = {name for each in (*self.before, self.transform) for name in each.columns()}
        own = shard_schema(entry.shard, session.recipe.input)
        batches = iter_batches(
            entry.piece,
            session.recipe.input,
            max_bytes=session.limits.batch_bytes,
            schema=pa.schema([column for column in own if column.name in named]),
        )
        found = FoundParts(session, entry, self.before)
        for batch in read_ahead(batches):
            texts = batch[TEXT]
            if self.before:
                _, texts = edit(self.before, batch, found.take(batch.num_rows))
            yield texts, None if within is None else self._scopes(batch, within)
            size = int(pc.sum(pc.binary_length(batch[TEXT])).as_py() or 0)
            self.num_bytes += size
            session.progress.advance(num_bytes=size)

    def _scopes(self, batch: pa.RecordBatch, within: str) -> pa.Array:
        """The values of a column as text, in the type that it has in the whole corpus."""
        if within not in batch.schema.names:
            return pa.nulls(batch.num_rows, pa.string())
        return convert(convert(batch[within], self.session.carried.field(within).type), pa.string())

    def _write(
        self, entry: PieceEntry, parts: Iterator[pa.RecordBatch], state: Callable[[], dict[str, Any]]
    ) -> None:
        store, name = self.session.store, self.transform.name
        one = store.add_pass(name, {name: self.session.stage_fingerprints[name]})
        with store.write_columns(one, entry) as writer:
            num_parts = 0
            for batch in parts:
                num_parts += len(batch[0].values)
                _write_found(writer, name, batch)
            _write_found(writer, name, pa.RecordBatch.from_pylist([], schema=FOUND_SCHEMA))
            writer.commit(meta={"num_parts": num_parts, **state()})


def filter_state(session: Session, transform: Transform) -> dict[str, float]:
    """Items in the Bloom filter of a transform at the end, and its error then; nothing where it has none."""
    if transform not in session.recipe.rounds or not session.entries:
        return {}
    meta = session.entries[-1].commits[transform.name].meta
    return {name: meta[name] for name in ("num_items", "false_positive_rate") if name in meta}


def _write_found(writer: ColumnWriter, name: str, batch: pa.RecordBatch) -> None:
    names = [f"{name}.{column}" for column in FOUND_SCHEMA.names]
    columns = [batch[field.name].cast(field.type) for field in FOUND_SCHEMA]
    writer.write(pa.RecordBatch.from_arrays(columns, names=names))
