"""What is read: settings of the input, a shard, a piece of a shard.

A shard is one file, named by its path below the input root; its fingerprint hashes its bytes. A piece is what
one task covers: whole row groups of a Parquet shard up to a byte limit (a row group is never split), or a
whole JSONL shard. Not here: finding the files (listing.py), reading them (reading.py).
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from curate.errors import DataError
from curate.schema import Settings, fingerprint

ERROR_DETAIL = "input.error_detail"
"""Column beside `schema.ERROR`: first bytes of a row that could not be read, escaped; null for a good row."""

Format = Literal["parquet", "jsonl"]


class Input(Settings):
    """Where the documents are and which columns hold what."""

    paths: str | list[str]
    """Files, folders, globs (`**` is any depth) or URLs (`s3://`, `gs://`, `file://`, what fsspec knows)."""
    text: str = "text"
    """Column of the text; it must be there in every Parquet shard."""
    id: str | None = "id"
    """Column that identifies a document to its owner; carried where it exists."""
    source: str | None = "source"
    """Column that names where a document came from; carried where it exists."""
    columns: list[str] | None = None
    """Columns to carry besides id and source; None is every column but the text."""
    format: Literal["auto", "parquet", "jsonl"] = "auto"
    """Format of the files; auto goes by their names."""
    max_line_bytes: int = Field(default=64 << 20, ge=1)
    """A longer JSONL line is quarantined without being held in memory; inclusive."""
    storage_options: dict[str, str] = Field(default_factory=dict)
    """How to reach object stores: endpoint_url, anon, key, secret, token, region; see `storage.py`."""

    @property
    def patterns(self) -> list[str]:
        """The paths, always as a list."""
        return [self.paths] if isinstance(self.paths, str) else list(self.paths)

    def carries(self, name: str) -> bool:
        """Tell whether a column of the input is carried through."""
        if name == self.text:
            return False
        return self.columns is None or name in self.columns or name in (self.id, self.source)


@dataclass(frozen=True)
class Shard:
    """One input file: its place, its content's fingerprint, and what its metadata says."""

    key: str
    """Path relative to the input root, with `/`."""
    uri: str
    format: Format
    fingerprint: str
    size_bytes: int
    num_rows: int | None
    """None for JSONL: known only after parsing."""
    row_groups: tuple[int, ...] = ()
    """Rows of each row group; empty for JSONL."""
    row_group_bytes: tuple[int, ...] = ()
    """Uncompressed bytes of the text column in each row group."""
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))
    """Every column but the text, with canonical types; for JSONL found by reading the whole shard."""


@dataclass(frozen=True)
class Piece:
    """A part of a shard that one task covers."""

    shard: Shard
    ordinal: int
    """Position of the piece in its shard, from 0."""
    start_row_group: int
    stop_row_group: int
    """Past the last row group; 0 and 0 for a JSONL shard, which is always whole."""
    first_row: int
    num_rows: int | None
    num_bytes: int

    @property
    def fingerprint(self) -> str:
        """Hash what is read: the content of the shard and the row groups, never where the shard lies."""
        parts: list[Any] = [
            self.shard.fingerprint,
            self.shard.format,
            self.start_row_group,
            self.stop_row_group,
        ]
        return fingerprint(parts)


def row_groups(piece: Piece) -> list[Piece]:
    """The row groups of a piece, each a piece of its own with the same ordinal; one without any is itself."""
    if piece.stop_row_group == piece.start_row_group:
        return [piece]
    groups = split_pieces(piece.shard, max_bytes=0)[piece.start_row_group : piece.stop_row_group]
    return [replace(group, ordinal=piece.ordinal) for group in groups]


def join(first: Piece, second: Piece) -> Piece:
    """Two pieces of a shard, the second of which begins where the first ends, as one."""
    return replace(
        first,
        stop_row_group=second.stop_row_group,
        num_rows=(first.num_rows or 0) + (second.num_rows or 0),
        num_bytes=first.num_bytes + second.num_bytes,
    )


def split_pieces(shard: Shard, *, max_bytes: int = 256 << 20) -> list[Piece]:
    """Split a shard at row groups into pieces of at most `max_bytes` of text, or of one larger row group.

    A shard without row groups is one piece without rows.
    """
    if shard.format == "jsonl" or not shard.row_groups:
        return [Piece(shard, 0, 0, 0, 0, shard.num_rows, shard.size_bytes if shard.format == "jsonl" else 0)]
    pieces: list[Piece] = []
    start, first_row, num_rows, num_bytes = 0, 0, 0, 0
    for group, (rows, size) in enumerate(zip(shard.row_groups, shard.row_group_bytes, strict=True)):
        if group > start and num_bytes + size > max_bytes:
            pieces.append(Piece(shard, len(pieces), start, group, first_row, num_rows, num_bytes))
            start, first_row, num_rows, num_bytes = group, first_row + num_rows, 0, 0
        num_rows += rows
        num_bytes += size
    pieces.append(Piece(shard, len(pieces), start, len(shard.row_groups), first_row, num_rows, num_bytes))
    return pieces


def check_unchanged(shard: Shard, size_bytes: int) -> None:
    """Refuse a shard whose size is not what it was when it was listed."""
    if size_bytes != shard.size_bytes:
        raise DataError(
            f"{shard.key} changed after it was listed ({shard.uri}): "
            f"{size_bytes} bytes instead of {shard.size_bytes}",
            hint="run again: changed shards are listed and measured anew",
        )
