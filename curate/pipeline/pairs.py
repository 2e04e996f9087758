"""Verify given pairs of documents, with the settings of the recipe: what a choice of keepers still misses.

Cost: decoding the row groups of the documents. Not here: which pairs (dedup/near_keepers.py).
"""

import shutil

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate import _rust
from curate.pipeline import near
from curate.pipeline.candidate_texts import NO_BUCKET
from curate.pipeline.session import PieceEntry, Session


def verify_pairs(session: Session, pairs: pl.DataFrame) -> pl.DataFrame:
    """Compare pairs of nodes (`cluster_id`, `a`, `b`), and give them back with `similarity`.

    It is -1 where it is below the threshold of the recipe.
    """
    folder = session.run.scratch / "pairs"
    folder.mkdir(parents=True, exist_ok=True)
    memory = session.limits.memory_bytes // 4
    buckets = _Buckets(session, pairs, memory_bytes=memory)
    for bucket, part in buckets.pairs():
        columns = [part[name].to_numpy().astype("<u8") for name in ("a", "b")]
        np.stack([*columns, np.zeros(len(part), "<u8")], axis=1).tofile(folder / f"pairs-{bucket:05d}.bin")
    verifier = near.make_verifier(session, folder, num_buckets=buckets.number, memory_bytes=memory)
    near.feed(session, verifier, buckets.of, read_boilerplate(session))
    verifier.verify(session.limits.num_threads)
    found = [pl.DataFrame(pl.from_arrow(edges)).select("a", "b", "similarity") for edges in verifier.edges()]
    verifier.close()
    shutil.rmtree(folder)
    if not found:
        return pairs.with_columns(pl.lit(-1.0).alias("similarity"))
    return pairs.join(pl.concat(found), on=["a", "b"], how="left").with_columns(
        pl.col("similarity").fill_null(-1.0)
    )


def read_boilerplate(session: Session) -> _rust.Boilerplate | None:
    """The lines that the search discounted, None where the recipe does not ask for it."""
    settings, _ = near.near_settings(session)
    if settings.boilerplate is None:
        return None
    path = session.run.path_of(near.cluster_file(session).commit.files[2])
    batches = pq.read_table(path).combine_chunks().to_batches()
    if not batches:
        empty = pa.schema([("source", pa.uint32()), ("line", pa.uint64())])
        batches = [pa.RecordBatch.from_pylist([], schema=empty)]
    return _rust.Boilerplate.from_arrow(batches[0])


class _Buckets:
    """Parts of the documents of pairs, such that both of a pair are in one."""

    def __init__(self, session: Session, pairs: pl.DataFrame, *, memory_bytes: int) -> None:
        ends = [pairs.select("cluster_id", node=name) for name in ("a", "b")]
        nodes = pl.concat(ends).unique("node").sort("node")
        self._nodes = nodes["node"].to_numpy()
        self.number = near.num_buckets(session, self._wanted, memory_bytes=memory_bytes)
        self._places = (nodes["cluster_id"] % self.number).to_numpy().astype(np.uint32)
        self._pairs = pairs

    def _wanted(self, first: int, length: int) -> npt.NDArray[np.bool_]:
        low, high = np.searchsorted(self._nodes, [first, first + length])
        found = np.zeros(length, bool)
        found[self._nodes[low:high] - first] = True
        return found

    def of(self, entry: PieceEntry) -> npt.NDArray[np.uint32]:
        """Buckets of the documents of a piece."""
        low, high = np.searchsorted(self._nodes, [entry.first_ordinal, entry.first_ordinal + entry.length])
        found = np.full(entry.length, NO_BUCKET, np.uint32)
        found[self._nodes[low:high] - entry.first_ordinal] = self._places[low:high]
        return found

    def pairs(self) -> list[tuple[int, pl.DataFrame]]:
        """Pairs of each bucket, sorted."""
        parts = self._pairs.with_columns((pl.col("cluster_id") % self.number).alias("bucket"))
        return [(int(key[0]), part.sort("a", "b")) for key, part in parts.group_by("bucket")]
