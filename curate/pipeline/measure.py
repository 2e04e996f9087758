"""Measure: text to columns, one task per piece, everything that is missing in one fused native call.

A piece that the store already has for a stage is not measured again for it. While the native pass runs on
one batch, the next is decoded and the columns of the last are written; memory is a few batches and one row
group of columns, whatever the size of the piece.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import text
from curate.errors import ConfigError
from curate.pipeline.decoding import read_batches
from curate.pipeline.foundparts import FoundParts
from curate.pipeline.progress import Timing
from curate.pipeline.quarantine import write_quarantine
from curate.pipeline.readahead import map_ahead, read_ahead
from curate.pipeline.session import DETAIL, EDITS_STAGE, INPUT_STAGE, PieceEntry, Session
from curate.pipeline.transform import edit
from curate.runs import Commit
from curate.schema import ERROR, INPUT_ERRORS, INVALID_UTF8, TEXT
from curate.shards.lines import escape


def parse_part(text: str | None) -> tuple[int, int] | None:
    """Read `--part i/n`, with i from 1 to n.

    Raises:
        ConfigError: it is not two such numbers.
    """
    if text is None:
        return None
    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ConfigError(f"--part is i/n with 1 <= i <= n: {text}")
    return int(first), int(last)


def measure(
    session: Session, *, part: tuple[int, int] | None = None, stages: Collection[str] | None = None
) -> Timing:
    """Measure every piece for every stage that the store lacks; with `part` only every n-th piece.

    With `stages` only for those, and for the input's own columns.

    Afterwards each entry of the session knows its column files and, unless only a part was measured, its
    rows and place, and the rows that could not be read are listed in quarantine.

    Raises:
        DataError: a shard cannot be read.
    """
    locate(session)
    mine = session.entries if part is None else session.entries[part[0] - 1 :: part[1]]
    wanted = set(session.stage_fingerprints) if stages is None else {INPUT_STAGE, *stages}
    wanted -= {each.name for each in session.recipe.rounds}
    todo = [(entry, missing_stages(session, entry, wanted)) for entry in mine]
    todo = [(entry, missing) for entry, missing in todo if missing]
    timing = Timing(step="measure", num_tasks=len(todo), num_cached=len(mine) - len(todo))
    session.timings.append(timing)
    with timing:
        session.progress.start(
            "measure", num_bytes=sum(entry.piece.num_bytes for entry, _ in todo), num_tasks=len(todo)
        )
        _warn_of_slow_tokenizer(session, [name for _, missing in todo for name in missing])
        for entry, missing in todo:
            session.stop.check()
            timing.num_bytes += measure_piece(session, entry, missing)
            session.progress.advance(num_tasks=1)
    if part is None:
        place(session)
        session.store.close_step("measure", _used_commits(session))
        write_quarantine(session)
    session.progress.finish(_summary(timing))
    return timing


def _warn_of_slow_tokenizer(session: Session, missing: list[str]) -> None:
    tokens = session.recipe.tokens
    if tokens.key in missing and not tokens.is_native():
        session.progress.warn(
            f"{tokens.tokenizer} has parts that are not counted natively: about 2 MB/s per core instead of 40"
        )


def _summary(timing: Timing) -> str:
    if timing.num_tasks == 0:
        return f"{timing.num_cached} pieces were measured already"
    rate = timing.num_bytes / 1e6 / max(timing.wall_s, 1e-9)
    return f"{timing.num_bytes / 1e6:.1f} MB of text in {timing.wall_s:.1f} s, {rate:.1f} MB/s"


def locate(session: Session) -> None:
    """Find the committed column files of every piece; nothing is measured."""
    for entry in session.entries:
        _locate_piece(session, entry)


def _locate_piece(session: Session, entry: PieceEntry) -> None:
    found = session.store.find(entry, list(session.stage_fingerprints.values()))
    entry.commits = {name: found[key] for name, key in session.stage_fingerprints.items() if key in found}


def _used_commits(session: Session) -> list[Commit]:
    """The commits whose column files this recipe reads, each once, in key order."""
    used = {c.task.fingerprint: c for entry in session.entries for c in entry.commits.values()}
    return list(used.values())


def missing_stages(session: Session, entry: PieceEntry, wanted: Collection[str] | None = None) -> list[str]:
    """Names of the stages, of all or those wanted, that the store lacks for a piece, in recipe order.

    Rounds come first.
    """
    names = (name for name in session.stage_fingerprints if wanted is None or name in wanted)
    return [name for name in names if name not in entry.commits]


def place(session: Session) -> None:
    """Number the rows of measured pieces: rows of each, row in the shard, ordinal in the corpus."""
    ordinal = 0
    for _, entries in groupby(session.entries, key=lambda entry: entry.shard_index):
        for entry in entries:
            entry.length = int(entry.commits[INPUT_STAGE].meta["num_rows"])
            entry.first_ordinal = ordinal
            ordinal += entry.length


Found = dict[str, pa.RecordBatch]
"""Duplicate parts of the documents of a batch, for each transform that sees the corpus."""


def measure_piece(session: Session, entry: PieceEntry, missing: list[str]) -> int:
    """Measure one piece for `missing` stages and commit the columns; returns the bytes of text read."""
    views = View.of(session, missing)
    with_input = INPUT_STAGE in missing
    num_bytes, bad = 0, dict.fromkeys(INPUT_ERRORS, 0)
    one = session.store.add_pass("measure", {name: session.stage_fingerprints[name] for name in missing})
    with session.store.write_columns(one, entry) as writer:
        for columns, size in _measured(session, entry, views, missing):
            writer.write(columns)
            if with_input:
                for code in INPUT_ERRORS:
                    bad[code] += pc.sum(pc.equal(columns[ERROR], code)).as_py() or 0
            session.progress.advance(num_bytes=size)
            num_bytes += size
        meta = {"columns": columns.schema.names, "num_quarantined": {code: n for code, n in bad.items() if n}}
        writer.commit(meta=meta)
    _locate_piece(session, entry)
    return num_bytes


def _measured(
    session: Session, entry: PieceEntry, views: list["View"], missing: list[str]
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Columns of each batch, and the bytes of its text; texts are not held.

    With several threads two batches are in work at a time: when a thread finds nothing more to do in the one
    it goes on with the other.
    """

    def job(given: tuple[pa.RecordBatch, Found]) -> tuple[pa.RecordBatch, int]:
        batch, found = given
        size = int(pc.sum(pc.binary_length(batch[TEXT])).as_py() or 0)
        return _measure_batch(session, batch, found, views, missing), size

    is_edited = EDITS_STAGE in missing or len(views) > 1
    parts = FoundParts(session, entry, session.recipe.transforms if is_edited else ())
    batches = ((batch, parts.take(batch.num_rows)) for batch in _batches(session, entry))
    depth = min(session.limits.num_threads, 2)
    yield from read_ahead(map_ahead(job, batches, depth=depth))


def _batches(session: Session, entry: PieceEntry) -> Iterator[pa.RecordBatch]:
    settings, limits = session.recipe.input, session.limits
    yielded = False
    for batch in read_batches(
        entry.piece, settings, max_bytes=limits.batch_bytes, num_threads=limits.num_threads
    ):
        yielded = True
        yield batch
    if not yielded:
        empty = [
            pa.field(TEXT, pa.large_binary()),
            pa.field(ERROR, pa.string()),
            pa.field(DETAIL, pa.string()),
        ]
        yield pa.RecordBatch.from_pylist([], schema=pa.schema(empty))


@dataclass(frozen=True, kw_only=True)
class View:
    """What is measured in one native call: stages on the raw text, or on the text through the edits."""

    is_edited: bool
    spec: text.NativeSpec
    names: tuple[str, ...]

    @classmethod
    def of(cls, session: Session, missing: list[str]) -> list["View"]:
        """The calls that measure the `missing` stages; the raw text comes first, as it is also validated."""
        found = []
        for is_edited in (False, True):
            stages = [
                stage
                for stage in session.recipe.stages
                if stage.key in missing and session.is_edited(stage.key) == is_edited
            ]
            if stages or not is_edited:
                spec = text.NativeSpec.union([session.stage_specs[stage.key] for stage in stages])
                names = tuple(name for stage in stages for name in stage.columns())
                found.append(cls(is_edited=is_edited, spec=spec, names=names))
        return found


def _measure_batch(
    session: Session, batch: pa.RecordBatch, found: Found, views: list[View], missing: list[str]
) -> pa.RecordBatch:
    num_threads = session.limits.num_threads
    raw = text.measure(batch[TEXT], views[0].spec, num_threads=num_threads)
    columns: dict[str, pa.Array] = {}
    if INPUT_STAGE in missing:
        columns |= _input_columns(session, batch, raw[text.INVALID_UTF8])
    columns |= {name: raw[name] for name in views[0].names}
    if EDITS_STAGE in missing or len(views) > 1:
        edits, edited = edit(session.recipe.transforms, batch, found)
        if EDITS_STAGE in missing:
            columns |= {name: edits[name] for name in edits.schema.names}
        for view in views[1:]:
            measured = text.measure(edited, view.spec, num_threads=num_threads)
            columns |= {name: measured[name] for name in view.names}
    return pa.RecordBatch.from_pydict(columns)


def _input_columns(session: Session, batch: pa.RecordBatch, invalid: pa.Array) -> dict[str, pa.Array]:
    columns = _errors(batch, invalid)
    for name in batch.schema.names:
        if name not in (TEXT, ERROR, DETAIL) and _is_scalar(batch[name].type):
            if name in session.measured_columns:
                raise ConfigError(
                    f"a column of the input has the name of a measured one: {name}",
                    hint="leave it out with `input.columns`",
                )
            columns[name] = batch[name]
    return columns


def _errors(batch: pa.RecordBatch, invalid: pa.Array) -> dict[str, pa.Array]:
    """Reason and first bytes of every row that could not be read: those of the reader, and bad UTF-8."""
    errors = pc.coalesce(batch[ERROR], pc.if_else(invalid, INVALID_UTF8, None).cast(pa.string()))
    details = batch[DETAIL]
    rows = pc.indices_nonzero(pc.and_(pc.fill_null(invalid, False), pc.is_null(batch[ERROR])))
    if len(rows):
        shown = pa.array([escape(value.as_buffer()) for value in batch[TEXT].take(rows)], pa.string())
        mask = np.zeros(batch.num_rows, bool)
        mask[rows.to_numpy()] = True
        details = pc.replace_with_mask(details.cast(pa.string()), pa.array(mask), shown)
    return {ERROR: errors, DETAIL: details}


def _is_scalar(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
