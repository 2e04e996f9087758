"""Which of near duplicates stay: greedily, the best first, each that is similar to none that stays.

Documents that survive are set aside by cluster, with their keys to sort by; verified pairs too. Each
partition is decided alone: documents in order of preference, ties by ordinal; one is dropped if a document of
its cluster that already stays has the same text or a verified pair with it. With `connected` only the best of
a cluster stays, whatever the pairs say.

Some clusters have hot documents, which were compared with representatives alone: two of them that both stay
may be similar all the same. `unverified` names such pairs; once they are verified they are added as pairs and
the choice is made anew.

Documents of an index have names below -1. They stay, whatever else, and come before all others.

Cost: about 60 bytes of scratch for each surviving document in a cluster and 28 for each pair. A cluster is
decided in memory. Not here: finding and verifying pairs.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate import _rust
from curate.dedup.near import Near
from curate.dedup.spill import NUM_PARTITIONS, ByOrdinal, Spill

_ROW_BYTES = 512
"""Bytes that a document and its pairs take while a partition is decided, with the copies that this makes."""

_ROUND_PAIRS = 1 << 16
"""Pairs of a cluster that are compared in one round, about: all of up to 360 documents that stay."""


class NearKeepers:
    """Chooses the documents that stay; feed every piece and all pairs, then `finish`."""

    def __init__(self, settings: Near, *, scratch: Path, memory_bytes: int, num_docs: int) -> None:
        self._settings = settings
        self._scratch, self._memory_bytes, self._num_docs = scratch, memory_bytes, num_docs
        self._docs = Spill(scratch, "near-survivors", memory_bytes=memory_bytes // 2)
        self._indexed = Spill(scratch, "near-indexed", memory_bytes=memory_bytes // 2)
        self._edges = Spill(scratch, "near-pairs", memory_bytes=memory_bytes // 2)

    def add(
        self, first_ordinal: int, found: pl.DataFrame, survived: npt.NDArray[np.bool_], keys: pl.DataFrame
    ) -> None:
        """Tell of consecutive rows: what was found of each, whether it is left, and `columns()`."""
        clusters = found["minhash.cluster_id"].to_numpy()
        chosen = np.flatnonzero(survived & (clusters != -1))
        columns = {
            "cluster": clusters[chosen],
            "doc": chosen.astype(np.int64) + first_ordinal,
            "node": found["minhash.node"].to_numpy()[chosen],
            "is_hot": found["minhash.is_hot"].to_numpy()[chosen],
        }
        rows = pl.DataFrame(columns)
        if self._settings.columns():
            rows = rows.hstack(self._settings.sort_keys(keys)[chosen])
        self._docs.add(_partitions(rows["cluster"].to_numpy()), rows)
        self._add_indexed(rows, "cluster", "node")

    def add_edges(self, edges: pl.DataFrame) -> None:
        """Tell of compared pairs: `cluster_id`, `a`, `b` (nodes, a < b), `similarity`; any number of times.

        A similarity below the threshold says that the pair was compared and is not similar.
        """
        rows = edges.select("cluster_id", "a", "b", "similarity")
        self._edges.add(_partitions(rows["cluster_id"].to_numpy()), rows)
        for name in ("a", "b"):
            self._add_indexed(rows, "cluster_id", name)

    def _add_indexed(self, frame: pl.DataFrame, cluster: str, node: str) -> None:
        rows = frame.filter(pl.col(node) < -1).select(cluster=cluster, doc=node, node=node).unique()
        self._indexed.add(_partitions(rows["cluster"].to_numpy()), rows)

    def finish(self) -> "NearLosers":
        """Choose; may be called again after more pairs were added."""
        found = ByOrdinal(
            self._scratch, "near-losers", memory_bytes=self._memory_bytes, num_ordinals=self._num_docs
        )
        num_docs = 0
        for docs, edges in self._groups():
            losers = self._decide(docs, edges)
            num_docs += losers.height
            found.add(losers)
        return NearLosers(found, num_docs)

    def unverified(self) -> Iterator[pl.DataFrame]:
        """Pairs of documents that stay, are hot, and were not compared: `cluster_id`, `a`, `b` (nodes).

        Not all of a large cluster at once: the best that stay with all others first.
        """
        if self._settings.cluster == "connected":
            return
        for docs, edges in self._groups():
            hot = docs.filter(pl.col("is_hot"))
            if hot.height < 2:
                continue
            dropped = self._decide(docs, edges)
            stays = hot.join(dropped.select(doc="ordinal"), on="doc", how="anti", maintain_order="left")
            pairs = _stars(stays, edges)
            if pairs.height:
                yield pairs

    def close(self) -> None:
        """Remove the scratch files."""
        self._docs.close()
        self._indexed.close()
        self._edges.close()

    def _groups(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Documents in order of preference and pairs, by clusters."""
        max_rows = max(1, self._memory_bytes // 2 // _ROW_BYTES)
        keys = [str(index) for index in range(len(self._settings.descending()))]
        order = ["cluster", "is_new", *keys, "doc"]
        descending = [False, False, *self._settings.descending(), False]
        for start, stop in self._docs.groups(max_rows):
            docs = pl.concat(list(self._docs.read(start, stop))).with_columns(is_new=pl.lit(True))
            indexed = list(self._indexed.read(start, stop))
            if indexed:
                old = pl.concat(indexed).unique().with_columns(is_new=pl.lit(False), is_hot=pl.lit(False))
                docs = pl.concat([docs, old], how="diagonal")
            docs = docs.sort(order, descending=descending, nulls_last=True).drop(keys)
            edges = list(self._edges.read(start, stop))
            yield docs, (pl.concat(edges).sort("a", "b") if edges else _NO_EDGES)

    def _decide(self, docs: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
        verified = edges.filter(pl.col("similarity") >= self._settings.least_similarity)
        batches = [
            frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()
            for frame in (docs.select("cluster", "doc", "node"), verified.select("a", "b", "similarity"))
        ]
        tables = [
            part[0] if part else pa.RecordBatch.from_pylist([], schema=schema)
            for part, schema in zip(batches, (_DOCS, _EDGES), strict=True)
        ]
        is_connected = self._settings.cluster == "connected"
        losers = pl.DataFrame(pl.from_arrow(_rust.choose_keepers(tables[0], tables[1], is_connected)))
        return losers.rename({"doc": "ordinal"}).filter(pl.col("ordinal") >= 0)


_DOCS = pa.schema([(name, pa.int64()) for name in ("cluster", "doc", "node")])
_EDGES = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("similarity", pa.float64())])
_NO_EDGES = pl.DataFrame(
    schema={"cluster_id": pl.Int64, "a": pl.Int64, "b": pl.Int64, "similarity": pl.Float64}
)


def _stars(stays: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Pairs of the first documents of each cluster that are not compared with all later ones, with those."""
    node, other = pl.col("node"), pl.col("node_right")
    ranked = stays.select("cluster", "node", rank=pl.int_range(pl.len()).over("cluster"))
    found = []
    for (cluster,), docs in ranked.group_by("cluster", maintain_order=True):
        known = edges.filter(pl.col("cluster_id") == cluster).select("a", "b")
        step = max(1, _ROUND_PAIRS // docs.height)
        for start in range(0, docs.height, step):
            pairs = docs[start : start + step].join(docs, how="cross")
            pairs = pairs.filter((pl.col("rank") < pl.col("rank_right")) & (node != other))
            pairs = pairs.select(a=pl.min_horizontal(node, other), b=pl.max_horizontal(node, other)).unique()
            pairs = pairs.join(known, on=["a", "b"], how="anti")
            if pairs.height:
                found.append(
                    pairs.select(pl.lit(cluster, pl.Int64).alias("cluster_id"), "a", "b").sort("a", "b")
                )
                break
    return pl.concat(found) if found else _NO_EDGES.select("cluster_id", "a", "b")


def _partitions(clusters: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    # A multiple of an odd constant spreads neighbours over the partitions.
    mixed = clusters.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return mixed >> np.uint64(64 - (NUM_PARTITIONS - 1).bit_length())


class NearLosers:
    """Documents that are dropped for a similar one that stays, to be read by ranges of ordinals."""

    def __init__(self, rows: ByOrdinal, num_docs: int) -> None:
        self._rows = rows
        self.num_docs = num_docs

    def read(self, first_ordinal: int, num_rows: int) -> pl.DataFrame | None:
        """`ordinal` of the dropped, ascending, `keeper` and `similarity`; None where there are none."""
        return self._rows.read(first_ordinal, num_rows)

    def close(self) -> None:
        """Remove the scratch files."""
        self._rows.close()
