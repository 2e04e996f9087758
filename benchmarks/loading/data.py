"""The same documents for all sides: mixed source shards, delivered shards by pool, files of tokens, rows.

The four largest sources of the corpus, without documents above 200 kB. Each is a pool of a quarter of the
tokens that are served. Tokens are those of GPT-2, with the end-of-document token after each document. `rows`
are documents in random order, cut into sequences: what peers read that cannot cut token streams themselves.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import curate
from curate.files import replace_json
from curate.loader.tokenizer import Tokenizer
from curate.pipeline.recipe import Output
from curate.pipeline.split import folder_of
from curate.shards import ShardWriter

NUM_POOLS, MAX_BYTES, FILES = 4, 200_000, 4
GROUP = Output.model_fields["row_group_bytes"].default


@dataclass(frozen=True)
class Made:
    """Where everything lies."""

    folder: Path
    tokenizer: Path
    pools: tuple[str, ...]
    num_tokens: int

    @property
    def token_files(self) -> dict[str, str]:
        """Flat files of tokens by pool."""
        return {pool: str(self.folder / "tokens" / f"{pool}.npy") for pool in self.pools}

    def recipe(self) -> dict[str, Any]:
        """A plan over the source shards in place."""
        tokens = {"tokens": {"tokenizer": str(self.tokenizer), "mode": "exact"}}
        return {
            "input": {"paths": str(self.folder / "source" / "*.parquet")},
            "measure": [tokens],
            "plan": {"pools": {"by": "source"}},
            "run": str(self.folder / "run"),
            "store": str(self.folder / "store"),
        }


def plan(made: Made) -> None:
    """Make the plan over the source shards."""
    curate.plan(made.recipe(), num_threads=2)


def read(data: Path) -> pa.Table:
    """Documents of the largest sources."""
    tables = []
    for path in sorted(data.glob("*.parquet")):
        table = pq.read_table(path, columns=["id", "text", "source"])
        table = table.cast(pa.schema([(name, pa.large_string()) for name in table.schema.names]))
        tables.append(table.filter(pc.less(pc.binary_length(table["text"]), MAX_BYTES)))
    table = pa.concat_tables(tables)
    sizes = pa.table({"source": table["source"], "size": pc.binary_length(table["text"])})
    sizes = sizes.group_by("source").aggregate([("size", "sum")]).sort_by([("size_sum", "descending")])
    return table.filter(pc.is_in(table["source"], sizes["source"][:NUM_POOLS].combine_chunks()))


def make(data: Path, folder: Path, tokenizer: Path) -> Made:
    """Write the documents in all forms."""
    table = read(data)
    table = table.take(np.random.default_rng(0).permutation(len(table)))
    (folder / "source").mkdir(parents=True)
    step = -(-len(table) // FILES)
    for number in range(FILES):
        path = folder / "source" / f"{number}.parquet"
        pq.write_table(table.slice(number * step, step), path, compression="zstd", row_group_size=1000)
    pools = tuple(sorted(table["source"].unique().to_pylist()))
    _deliver(folder / "delivered", table, pools)
    (folder / "tokens").mkdir()
    encoder, num_tokens = Tokenizer.open(tokenizer), 0
    for pool in pools:
        texts = table.filter(pc.equal(table["source"], pool))["text"].combine_chunks()
        ids = encoder.encode(texts, num_threads=2)[0].astype(np.uint16)
        ids.tofile(folder / "tokens" / f"{pool}.npy")
        num_tokens += len(ids)
    return Made(folder, tokenizer, pools, num_tokens)


def _deliver(folder: Path, table: pa.Table, pools: tuple[str, ...]) -> None:
    """Shards split by source, some files each."""
    files = []
    for pool in pools:
        own, name = (
            table.filter(pc.equal(table["source"], pool)).drop_columns(["source"]),
            folder_of("source", pool),
        )
        size = sum(column.nbytes for column in own.columns) // (3 * FILES)
        with ShardWriter(folder / name, own.schema, row_group_bytes=GROUP, max_file_bytes=size) as writer:
            writer.write(own)
            files += [(f"{name}/{file.name}", file) for file in writer.close()]
    records = [
        {"name": name, "num_rows": one.num_rows, "size_bytes": one.size_bytes, "blake3": one.blake3}
        for name, one in files
    ]
    replace_json(folder / "_manifest.json", {"format": 1, "plan": "made", "files": records})


def rows(made: Made, pool: str, seq_len: int) -> np.ndarray:
    """Documents of a pool in random order, cut into sequences of tokens; the last one is left out."""
    tokens = np.fromfile(made.token_files[pool], np.uint16)
    ends = np.flatnonzero(tokens == Tokenizer.open(made.tokenizer).eos_id) + 1
    docs = np.split(tokens, ends[:-1])
    order = np.random.default_rng(1).permutation(len(docs))
    joined = np.concatenate([docs[number] for number in order])
    return joined[: len(joined) // seq_len * seq_len].reshape(-1, seq_len)
