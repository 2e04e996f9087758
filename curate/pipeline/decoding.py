"""Batches of a piece in order, decoded ahead: on several threads neighbouring row groups at the same time.

Where texts are only hashed, decoding takes as long as the rest, and one thread of it holds the others up.
Memory: two more batches on several threads; row groups larger than a batch are read by one thread. Not here:
what is read (shards/).
"""

from collections.abc import Iterator

import pyarrow as pa

from curate.pipeline.readahead import map_ahead, read_ahead
from curate.shards import Input, Piece, iter_batches, join, row_groups

_NUM_READERS = 2


def read_batches(
    piece: Piece, settings: Input, *, max_bytes: int, num_threads: int, schema: pa.Schema | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a piece as `iter_batches` does, ahead of the caller; the rows do not depend on the threads."""

    def decode(part: Piece) -> list[pa.RecordBatch]:
        return list(iter_batches(part, settings, max_bytes=max_bytes, schema=schema))

    parts = _parts(piece, max_bytes) if num_threads > 1 else [piece]
    if len(parts) < 2 or any(part.num_bytes > max_bytes for part in parts):
        yield from read_ahead(iter_batches(piece, settings, max_bytes=max_bytes, schema=schema))
        return
    for batches in map_ahead(decode, parts, depth=_NUM_READERS):
        yield from batches


def _parts(piece: Piece, max_bytes: int) -> list[Piece]:
    """Row groups of a piece, joined with the next ones up to `max_bytes` of text."""
    found: list[Piece] = []
    for group in row_groups(piece):
        if found and found[-1].num_bytes + group.num_bytes <= max_bytes:
            group = join(found.pop(), group)
        found.append(group)
    return found
