"""The search for near duplicates: from signatures to committed facts.

Documents have numbers: those of the index first, in their order of arrival, then the corpus in key order.
Files name documents of the corpus by ordinal, and those of an index of M documents by number - M - 1, so that
-2 is its last one and -1 stays free for none.

Not here: settings, what is written (near.py), the index (seen.py).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import _rust
from curate.dedup.exact import Chunk, find_clusters
from curate.dedup.exact import Clusters as Classes
from curate.pipeline import artefact
from curate.pipeline.candidate_texts import NO_BUCKET, Sources, find_boilerplate
from curate.pipeline.near import (
    EDGE_SCHEMA,
    SCHEMA,
    SIGNATURE,
    Rows,
    choose_bands,
    corpus_rows,
    feed_signatures,
    feed_texts,
    make_verifier,
    near_settings,
    num_buckets,
    to_signatures,
)
from curate.pipeline.seen import Seen
from curate.pipeline.session import Block, PieceEntry, Session
from curate.runs import Commit, Output, Task

NUM_PARTITIONS = 256
"""Files that band keys are dealt out to; any power of two gives the same."""


def find_near(session: Session, task: Task) -> Commit:
    """Find near duplicates and commit them."""
    return _Search(session).find(task)


class _Search:
    """One search."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.near, self.stage = near_settings(session)
        self.mode = self.near.index.mode if self.near.index is not None else "both"
        self.bands = choose_bands(session)
        self.folder = session.run.scratch / "near"
        self.memory = session.limits.memory_bytes // 2
        self.threads = session.limits.num_threads
        self.boilerplate: _rust.Boilerplate | None = None
        self.seen = Seen(session)
        self.num_seen = self.seen.num_docs
        self.num_docs = self.num_seen + sum(entry.length for entry in session.entries)

    def rows(self) -> Iterator[Rows]:
        """All documents: of the index, then of the corpus."""
        yield from self.seen.rows()
        yield from corpus_rows(self.session, offset=self.num_seen)

    def find(self, task: Task) -> Commit:
        """Search and commit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        classes = find_clusters(self._identities(), scratch=self.folder / "classes", memory_bytes=self.memory)
        candidates = self._candidates(classes)
        counts: dict[str, Any] = candidates.find(self.near.max_group, self.threads)
        del counts["scratch_bytes"]  # not the same for any memory
        self.boilerplate = self._find_boilerplate()
        verifier = self._verifier(candidates)
        counts |= verifier.verify(self.threads)
        clusters = _rust.Clusters(self.folder / "clusters", num_nodes=self.num_docs, memory_bytes=self.memory)
        for edges in verifier.edges():
            clusters.add(edges["a"], edges["b"], edges["similarity"])
        self._add_copies(classes, clusters)
        found = clusters.finish(self.threads)
        counts |= {
            "num_docs": self.num_docs - self.num_seen,
            "num_indexed": self.num_seen,
            "num_clusters": found["num_clusters"],
            "num_clustered_docs": found["num_docs"],
            "largest_cluster": found["largest"],
        }
        files = {
            artefact.path(task, "clusters.parquet"): lambda output: self._write_clusters(
                output, classes, clusters, candidates
            ),
            artefact.path(task, "edges.parquet"): lambda output: self._write_edges(
                output, verifier, clusters
            ),
            artefact.path(task, "boilerplate.parquet"): self._write_boilerplate,
        }
        meta = {"counts": counts, "bands": [self.bands.num_bands, self.bands.num_rows]}
        commit = self.session.run.write(task, files, meta=meta)
        for part in (classes, candidates, verifier, clusters):
            part.close()
        return commit

    def _identities(self) -> Iterator[Chunk]:
        within = self.near.within
        for part in self.rows():
            frame = part.read(["doc_id", *([within] if within else [])])
            ids = frame["doc_id"].to_arrow().cast(pa.binary(16))
            chunk = part.first, ids
            yield (*chunk, frame[within].cast(pl.String).to_arrow()) if within else chunk

    def _class_ids(self, classes: Classes, part: Rows) -> npt.NDArray[np.int64]:
        """The first documents with the same texts, -1 where there is no other; against an index, only its."""
        ids = np.asarray(classes.read(part.first, part.length)["exact.cluster_id"].to_numpy())
        return ids if self.mode != "against" else np.where(ids < self.num_seen, ids, -1)

    def _is_node(self, classes: Classes, part: Rows) -> npt.NDArray[np.bool_]:
        """Documents that are the first with their text."""
        ids = self._class_ids(classes, part)
        return np.asarray((ids < 0) | (ids == np.arange(part.first, part.first + part.length)))

    def _candidates(self, classes: Classes) -> _rust.Candidates:
        """Feed the signature of every document that is the first with its text."""
        found = _rust.Candidates(
            self.folder / "candidates",
            self.bands.num_bands,
            self.bands.num_rows,
            num_partitions=NUM_PARTITIONS,
            memory_bytes=self.memory,
            num_indexed=self.num_seen,
            mode=self.mode,
        )
        scopes = _Scopes()
        within = self.near.within
        for part in self.rows():
            frame = part.read([SIGNATURE, *([within] if within else [])])
            rows = np.flatnonzero(self._is_node(classes, part) & frame[SIGNATURE].is_not_null().to_numpy())
            if len(rows):
                found.add(
                    to_signatures(frame[rows], self.stage),
                    pa.array(rows + part.first),
                    scopes.codes(frame[within][rows]) if within else None,
                    self.threads,
                )
        return found

    def _verifier(self, candidates: _rust.Candidates) -> _rust.Verifier:
        """Feed what is compared of every candidate."""

        def is_candidate(first: int, length: int) -> npt.NDArray[np.bool_]:
            return np.asarray(candidates.buckets(first, length, 1).to_numpy() != NO_BUCKET)

        number = num_buckets(self.session, self.rows(), is_candidate, memory_bytes=self.memory)
        candidates.assign(number)
        verifier = make_verifier(
            self.session, self.folder / "candidates", num_buckets=number, memory_bytes=self.memory
        )

        def buckets(first: int, length: int) -> npt.NDArray[np.uint32]:
            return np.asarray(candidates.buckets(first, length, number).to_numpy())

        def of_entry(entry: PieceEntry) -> npt.NDArray[np.uint32]:
            return buckets(entry.first_ordinal + self.num_seen, entry.length)

        if self.near.reads_text:
            self.seen.feed(verifier, buckets)
            feed_texts(self.session, verifier, of_entry, self.boilerplate, offset=self.num_seen)
        else:
            feed_signatures(self.session, verifier, self.rows(), buckets)
        return verifier

    def _find_boilerplate(self) -> _rust.Boilerplate | None:
        settings = self.near.boilerplate
        if settings is None:
            return None
        is_edited = self.session.is_edited(self.stage.key)
        return find_boilerplate(self.session, settings, Sources(self.session), is_edited=is_edited)

    def _add_copies(self, classes: Classes, clusters: _rust.Clusters) -> None:
        """Link documents with the same text."""
        for part in self.rows():
            ids = self._class_ids(classes, part)
            rows = np.flatnonzero((ids >= 0) & ~self._is_node(classes, part))
            if len(rows):
                clusters.add(pa.array(ids[rows]), pa.array(rows + part.first), pa.array(np.ones(len(rows))))

    def _names(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What files call documents; -1 stays -1."""
        names = numbers - self.num_seen
        names[names < 0] -= 1
        names[numbers < 0] = -1
        return names

    def _write_clusters(
        self, output: Output, classes: Classes, clusters: _rust.Clusters, candidates: _rust.Candidates
    ) -> int:
        def read(block: Block) -> pa.RecordBatch:
            first = block.first_ordinal + self.num_seen
            part = Rows(first=first, length=block.length, read=lambda _: pl.DataFrame())
            found = clusters.read(first, block.length)
            ids = self._class_ids(classes, part)
            nodes = np.where(ids >= 0, ids, np.arange(first, first + block.length))
            columns = [
                self._names(found["cluster_id"].to_numpy().copy()),
                found["cluster_size"],
                self._names(found["nearest"].to_numpy().copy()),
                found["similarity"],
                self._names(nodes),
                candidates.is_hot(first, block.length),
            ]
            return pa.record_batch([pa.array(column) for column in columns], names=SCHEMA.names)

        return artefact.write_rows(self.session, output, SCHEMA, read)

    def _write_edges(self, output: Output, verifier: _rust.Verifier, clusters: _rust.Clusters) -> int:
        writer = pq.ParquetWriter(output, EDGE_SCHEMA, compression="zstd", compression_level=1)
        num_rows = 0
        for edges in verifier.edges():
            first = edges["a"].to_numpy()
            span = clusters.read(int(first[0]), int(first[-1] - first[0]) + 1)["cluster_id"].to_numpy()
            columns = [
                self._names(edges["a"].to_numpy().copy()),
                self._names(edges["b"].to_numpy().copy()),
                edges["similarity"],
                edges["band"],
                self._names(span[first - first[0]].copy()),
            ]
            writer.write_table(pa.table(columns, schema=EDGE_SCHEMA), row_group_size=len(edges))
            num_rows += len(edges)
        writer.close()
        return num_rows

    def _write_boilerplate(self, output: Output) -> int:
        lines = pa.table({"source": pa.array([], pa.uint32()), "line": pa.array([], pa.uint64())})
        if self.boilerplate is not None:
            lines = pa.Table.from_batches([self.boilerplate.to_arrow()])
        pq.write_table(lines, output, compression="zstd")
        return int(lines.num_rows)


class _Scopes:
    """Numbers of the values inside which duplicates are looked for: hashes, which need no order."""

    def __init__(self) -> None:
        self._codes: dict[str | None, int] = {}

    def codes(self, values: pl.Series) -> pa.Array:
        """Give every value its number; null is a scope of its own."""
        encoded = values.cast(pl.String).to_arrow().dictionary_encode(null_encoding="encode")
        for value in encoded.dictionary.to_pylist():
            if value not in self._codes:
                data = b"\0" if value is None else b"\1" + value.encode()
                self._codes[value] = int(_rust.blake3_hex(data)[:16], 16)
        numbers = [self._codes[value] for value in encoded.dictionary.to_pylist()]
        return pc.take(pa.array(numbers, pa.uint64()), encoded.indices)
