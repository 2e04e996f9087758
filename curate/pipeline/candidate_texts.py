"""The second look at text: wanted documents, read in order, row groups without any skipped.

Cost: decoding the row groups that have a wanted document. Not here: what is done with the texts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate import _rust, text
from curate.dedup.near import Boilerplate
from curate.pipeline.decoding import read_batches
from curate.pipeline.session import PieceEntry, Session
from curate.pipeline.transform import SCHEMA, SPANS
from curate.schema import TEXT
from curate.shards import Input, Piece, join, row_groups

NO_BUCKET = 0xFFFF_FFFF
_MAX_LINES = 100
"""Different lines for each document of the sample, at most: more is an error."""
_SPANS_TYPE = SCHEMA.field(SPANS).type

Buckets = Callable[[PieceEntry], npt.NDArray[np.uint32]]
"""A bucket for each document of a piece; `NO_BUCKET` for those that are not wanted."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """A few texts that are wanted, as the signatures saw them."""

    texts: pa.Array
    ordinals: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.uint32]
    sources: pa.Array | None
    """Numbers of their sources, where they are asked for."""


def read_texts(
    session: Session, buckets: Buckets, *, is_edited: bool, sources: "Sources | None" = None
) -> Iterator[Texts]:
    """Read the texts that have a bucket, those of the raw view or through the edits of the recipe."""
    for entry in session.entries:
        wanted = buckets(entry)
        if not (wanted != NO_BUCKET).any():
            continue
        for texts, places in read_wanted(
            entry.piece,
            session.recipe.input,
            wanted != NO_BUCKET,
            max_bytes=session.limits.batch_bytes,
            num_threads=session.limits.num_threads,
        ):
            yield Texts(
                texts=text.apply_edits(texts, _spans(session, entry, places)) if is_edited else texts,
                ordinals=places + entry.first_ordinal,
                buckets=wanted[places],
                sources=None if sources is None else sources.codes(entry, places),
            )


def read_wanted(
    piece: Piece, settings: Input, is_wanted: npt.NDArray[np.bool_], *, max_bytes: int, num_threads: int
) -> Iterator[tuple[pa.Array, npt.NDArray[np.int64]]]:
    """Wanted texts of a piece, and their rows in it; row groups without any are not read."""
    for group in _wanted_groups(piece, is_wanted):
        first = group.first_row - piece.first_row
        none = pa.schema([])
        for batch in read_batches(group, settings, max_bytes=max_bytes, num_threads=num_threads, schema=none):
            rows = np.flatnonzero(is_wanted[first : first + batch.num_rows])
            if len(rows):
                yield batch[TEXT].take(pa.array(rows)), rows + first
            first += batch.num_rows


def _wanted_groups(piece: Piece, is_wanted: npt.NDArray[np.bool_]) -> list[Piece]:
    """The row groups of a piece that have wanted rows; those beside each other are one piece."""
    found: list[Piece] = []
    for group in row_groups(piece):
        first = group.first_row - piece.first_row
        stop = len(is_wanted) if group.num_rows is None else first + group.num_rows
        if is_wanted[first:stop].any():
            beside = found and found[-1].stop_row_group == group.start_row_group
            found.append(join(found.pop(), group) if beside else group)
    return found


def _spans(session: Session, entry: PieceEntry, places: npt.NDArray[np.int64]) -> pa.Array:
    return _pick(session, entry, SPANS, places).to_arrow().cast(_SPANS_TYPE)


def _pick(session: Session, entry: PieceEntry, name: str, places: npt.NDArray[np.int64]) -> pl.Series:
    """A column of a few rows of a piece, which ascend."""
    parts = []
    for block in entry.blocks():
        low, high = np.searchsorted(places, [block.offset, block.offset + block.length])
        if low < high:
            parts.append(session.read_columns(block, [name])[name][places[low:high] - block.offset])
    return pl.concat(parts)


class Sources:
    """Numbers of the sources of documents, by first appearance; one source where the input names none."""

    def __init__(self, session: Session) -> None:
        """Read the column of sources once."""
        self._session = session
        name = session.recipe.input.source
        self._name = name if name is not None and name in session.carried.names else None
        self._codes: dict[str | None, int] = {}
        for block in session.blocks() if self._name else ():
            values = session.read_columns(block, [str(self._name)])[str(self._name)].cast(pl.String)
            for value in values.unique(maintain_order=True):
                self._codes.setdefault(value, len(self._codes))

    def codes(self, entry: PieceEntry, places: npt.NDArray[np.int64]) -> pa.Array:
        """Numbers of the sources of a few documents of a piece."""
        if self._name is None:
            return pa.array(np.zeros(len(places), np.uint32))
        values = _pick(self._session, entry, self._name, places).cast(pl.String)
        return pa.array([self._codes[value] for value in values], pa.uint32())


def find_boilerplate(
    session: Session, settings: Boilerplate, sources: Sources, *, is_edited: bool
) -> _rust.Boilerplate:
    """Count lines by source in a sample of documents, drawn by the hash of their content."""
    num_docs = sum(entry.length for entry in session.entries)
    limit = np.uint64(min(int(settings.sample_docs / max(num_docs, 1) * 2.0**64), 2**64 - 1))

    def sampled(entry: PieceEntry) -> npt.NDArray[np.uint32]:
        ids = session.read_columns(entry, ["doc_id"])["doc_id"].to_arrow().cast(pa.binary(16))
        is_valid = ids.is_valid().to_numpy(zero_copy_only=False)
        return np.where((_first_halves(ids) <= limit) & is_valid, 0, NO_BUCKET).astype(np.uint32)

    counts = _rust.LineCounts(_MAX_LINES * settings.sample_docs)
    for part in read_texts(session, sampled, is_edited=is_edited, sources=sources):
        counts.add(part.texts, part.sources)
    return counts.finish(settings.min_share, settings.min_docs)


def _first_halves(ids: pa.FixedSizeBinaryArray) -> npt.NDArray[np.uint64]:
    data = ids.buffers()[1]
    if data is None or not len(ids):
        return np.zeros(len(ids), np.uint64)
    return np.frombuffer(data, "<u8", 2 * len(ids), 16 * ids.offset)[::2]
