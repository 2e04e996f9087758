"""Read and write shards: the only place that opens corpus files.

`list_shards` finds and fingerprints them, `split_pieces` cuts them into tasks, `iter_batches` reads a piece,
`ShardWriter` writes. Parquet and JSONL (plain, gzip, zstd), local or remote, give the same rows.
"""

from curate.shards.columns import carried_schema, shard_schema
from curate.shards.listing import list_shards
from curate.shards.model import ERROR_DETAIL, Input, Piece, Shard, join, row_groups, split_pieces
from curate.shards.reading import batch_schema, iter_batches, read_rows
from curate.shards.storage import Place, locate, open_file
from curate.shards.writer import ShardWriter, WrittenFile

__all__ = [
    "ERROR_DETAIL",
    "Input",
    "Piece",
    "Place",
    "Shard",
    "ShardWriter",
    "WrittenFile",
    "batch_schema",
    "carried_schema",
    "iter_batches",
    "join",
    "list_shards",
    "locate",
    "open_file",
    "read_rows",
    "row_groups",
    "shard_schema",
    "split_pieces",
]
