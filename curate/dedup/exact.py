"""Exact duplicates: documents with the same `doc_id`, over the whole corpus and out of core.

Resolve finds clusters (`find_clusters`): ids are partitioned to files by their first bits, and each partition
is counted alone. Plan chooses keepers (`Keepers`) among the documents that survived the filters: the best by
the keep rule, ties by ordinal; the other survivors are `exact.duplicate`. So moving a limit chooses anew
without looking at text.

Cost: 24 bytes of scratch a document, read twice. Nothing depends on how the corpus is cut into chunks, nor on
the memory. Not here: near duplicates.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa

from curate.dedup.keep import KeepRule
from curate.dedup.spill import NUM_PARTITIONS, ByOrdinal, Spill
from curate.errors import DataError

DUPLICATE = "exact.duplicate"
"""Reason of a document whose cluster keeps another one."""

ID_BYTES = 16
_ROW_BYTES = 128
"""Bytes that one row takes while its partition is counted or sorted, with the copies that this makes."""


class Exact(KeepRule):
    """Documents with the same bytes of text: one of them stays."""


class Scratch:
    """What keeps scratch files until it is closed."""

    def __init__(self, rows: ByOrdinal) -> None:
        self._rows = rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the scratch files."""
        self._rows.close()


class Clusters(Scratch):
    """Clusters of equal documents, to be read by ranges of ordinals."""

    def __init__(self, rows: ByOrdinal, num_clusters: int, num_docs: int) -> None:
        super().__init__(rows)
        self.num_clusters = num_clusters
        self.num_docs = num_docs
        """Documents in clusters, so `num_docs - num_clusters` are one too many."""

    def read(self, first_ordinal: int, num_rows: int) -> pa.RecordBatch:
        """Columns `exact.cluster_id` (its least ordinal, -1 where single) and `exact.cluster_size`."""
        ids = np.full(num_rows, -1, dtype=np.int64)
        sizes = np.ones(num_rows, dtype=np.uint32)
        found = self._rows.read(first_ordinal, num_rows)
        if found is not None:
            places = found["ordinal"].to_numpy() - first_ordinal
            ids[places] = found["cluster_id"].to_numpy()
            sizes[places] = found["cluster_size"].to_numpy()
        return pa.RecordBatch.from_pydict({"exact.cluster_id": ids, "exact.cluster_size": sizes})


Chunk = tuple[int, pa.FixedSizeBinaryArray] | tuple[int, pa.FixedSizeBinaryArray, pa.Array]


def find_clusters(chunks: Iterable[Chunk], *, scratch: Path, memory_bytes: int) -> Clusters:
    """Find documents with equal ids; a null id is never a duplicate.

    `chunks` gives the ordinal of a first row, the ids of the rows that follow it and, where duplicates count
    only within the values of a column, that column. Distinct values of it are held in memory.
    """
    spill = Spill(scratch, "ids", memory_bytes=memory_bytes)
    scopes: dict[object, int] = {}
    num_ordinals = 0
    try:
        for chunk in chunks:
            rows = _id_rows(chunk, scopes)
            num_ordinals = max(num_ordinals, chunk[0] + len(chunk[1]))
            spill.add(rows["high"].to_numpy() % NUM_PARTITIONS, rows)
        found = ByOrdinal(scratch, "clusters", memory_bytes=memory_bytes, num_ordinals=num_ordinals)
        num_clusters = num_docs = 0
        max_rows = max(1, memory_bytes // 4 // _ROW_BYTES)
        for start, stop in spill.groups(max_rows):
            clusters = _count(spill.read(start, stop), max_rows)
            num_clusters += clusters.height
            num_docs += int(clusters["cluster_size"].sum())
            for part in spill.read(start, stop) if clusters.height else ():
                rows = part.join(clusters, on=["high", "low", "scope"])
                found.add(rows.select("ordinal", "cluster_id", pl.col("cluster_size").cast(pl.UInt32)))
    finally:
        spill.close()
    return Clusters(found, num_clusters, num_docs)


def _id_rows(chunk: Chunk, scopes: dict[object, int]) -> pl.DataFrame:
    first, ids, *within = chunk
    if ids.type != pa.binary(ID_BYTES):
        raise DataError(f"document ids must be fixed_size_binary({ID_BYTES}): {ids.type}")
    halves = np.zeros((len(ids), 2), dtype="<u8")
    data = ids.buffers()[1]
    if data is not None and len(ids):
        halves = np.frombuffer(data, "<u8", 2 * len(ids), ID_BYTES * ids.offset).reshape(-1, 2)
    codes = np.zeros(len(ids), dtype=np.int64)
    if within:
        encoded = within[0].dictionary_encode(null_encoding="encode")
        numbers = [scopes.setdefault(value, len(scopes)) for value in encoded.dictionary.to_pylist()]
        codes = np.array(numbers, dtype=np.int64)[encoded.indices.to_numpy()] if len(ids) else codes
    columns = {
        "high": halves[:, 0],
        "low": halves[:, 1],
        "scope": codes,
        "ordinal": np.arange(first, first + len(ids)),
    }
    rows = pl.DataFrame(columns)
    return rows.filter(pl.Series(ids.is_valid())) if ids.null_count else rows


def _count(parts: Iterator[pl.DataFrame], max_rows: int) -> pl.DataFrame:
    """Least ordinal and size of each id that occurs twice; merged as it goes: one id may fill a disk."""
    keys = ["high", "low", "scope"]
    sums = [pl.col("cluster_id").min(), pl.col("cluster_size").sum()]
    held: list[pl.DataFrame] = []
    for part in parts:
        held.append(part.select(*keys, cluster_id="ordinal", cluster_size=pl.lit(1, dtype=pl.Int64)))
        if len(held) > 1 and sum(map(len, held)) > max_rows:
            held = [pl.concat(held).group_by(keys).agg(sums)]
    return pl.concat(held).group_by(keys).agg(sums).filter(pl.col("cluster_size") > 1)


class Keepers:
    """Chooses the document of each cluster that stays; feed every piece, then `finish`."""

    def __init__(self, settings: Exact, *, scratch: Path, memory_bytes: int) -> None:
        self._settings = settings
        self._scratch = scratch
        self._memory_bytes = memory_bytes
        self._spill = Spill(scratch, "survivors", memory_bytes=memory_bytes)
        self._num_ordinals = 0

    def add(
        self, first_ordinal: int, cluster_ids: np.ndarray, survived: np.ndarray, keys: pl.DataFrame
    ) -> None:
        """Tell of consecutive rows: clusters (-1 is none), whether filters keep them, and `columns()`."""
        chosen = np.flatnonzero(survived & (cluster_ids >= 0))
        self._num_ordinals = max(self._num_ordinals, first_ordinal + len(cluster_ids))
        columns = {"cluster_id": cluster_ids[chosen], "ordinal": chosen.astype(np.int64) + first_ordinal}
        rows = pl.DataFrame(columns)
        if self._settings.columns():
            rows = rows.hstack(self._settings.sort_keys(keys)[chosen])
        # A multiple of an odd constant spreads neighbours over the partitions.
        mixed = rows["cluster_id"].to_numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self._spill.add(mixed >> np.uint64(64 - (NUM_PARTITIONS - 1).bit_length()), rows)

    def finish(self) -> "Losers":
        """Choose the keepers; the spilled rows are removed."""
        found = ByOrdinal(
            self._scratch, "losers", memory_bytes=self._memory_bytes, num_ordinals=self._num_ordinals
        )
        num_docs = 0
        max_rows = max(1, self._memory_bytes // 4 // _ROW_BYTES)
        try:
            for start, stop in self._spill.groups(max_rows):
                best = self._best(self._spill.read(start, stop), max_rows)
                keepers = best.select("cluster_id", keeper="ordinal")
                for part in self._spill.read(start, stop):
                    rows = part.select("cluster_id", "ordinal").join(keepers, on="cluster_id")
                    rows = rows.filter(pl.col("ordinal") != pl.col("keeper")).select("ordinal", "keeper")
                    num_docs += rows.height
                    found.add(rows)
        finally:
            self._spill.close()
        return Losers(found, num_docs)

    def _best(self, parts: Iterator[pl.DataFrame], max_rows: int) -> pl.DataFrame:
        descending = [False, *self._settings.descending(), False]
        held: list[pl.DataFrame] = []
        for part in parts:
            held.append(part)
            if len(held) > 1 and sum(map(len, held)) > max_rows:
                held = [_first_of_each(held, descending)]
        return _first_of_each(held, descending)


def _first_of_each(parts: Sequence[pl.DataFrame], descending: Sequence[bool]) -> pl.DataFrame:
    rows = pl.concat(parts)
    keys = [name for name in rows.columns if name not in ("cluster_id", "ordinal")]
    rows = rows.sort(["cluster_id", *keys, "ordinal"], descending=descending, nulls_last=True)
    return rows.unique("cluster_id", keep="first", maintain_order=True)


class Losers(Scratch):
    """Documents that are dropped for a copy that stays, to be read by ranges of ordinals."""

    def __init__(self, rows: ByOrdinal, num_docs: int) -> None:
        super().__init__(rows)
        self.num_docs = num_docs

    def read(self, first_ordinal: int, num_rows: int) -> pl.DataFrame | None:
        """`ordinal` of the dropped, ascending, and `keeper` of each; None where there are none."""
        return self._rows.read(first_ordinal, num_rows)
