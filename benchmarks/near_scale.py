"""Near duplicates at scale: from signatures to clusters, on made-up corpora, in bounded memory and scratch.

Documents are made batch by batch and not kept. 60 % are single; clusters have power-law sizes up to 10,000
(documents in clusters of size s fall as s^-1.5), their members lie all over the corpus, and two of one share
slots with a probability between 0.8 and 1 that is the cluster's own. One cluster or single document in
thirteen has the slots of a template in three of the fourteen bands: three templates with 2 % each, and small
ones of about 500 documents. Each size is a process of its own, whose peak of resident memory counts, the
making of signatures included.

Verification is by signature: signatures of candidates are made once more and given to `Verifier`. Where the
extension has none, every candidate pair counts as an edge and hot groups for nothing, and the names of the
figures say `unverified`.

Recall: the share of pairs of neighbours within sampled planted clusters that are in one found cluster. False:
the share of sampled single documents without a template that are in one.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate import _rust
from curate.measure import MinHash

NO_BUCKET = (1 << 32) - 1
NUM_SLOTS, NUM_BANDS, NUM_ROWS = 128, 14, 8
BATCH = 1 << 15
BLOCK = 1 << 18
"""Positions whose clusters have the same sizes."""
SINGLE_FRAC, MAX_CLUSTER = 0.6, 10_000
SMALL_TEMPLATE = 500
MEMORY_GOAL = 4096
SCRATCH_GOAL = 1000
RECALL_GOAL = 0.97


def mix(values: np.ndarray) -> np.ndarray:
    """splitmix64 of each number."""
    with np.errstate(over="ignore"):
        found = values.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(found ^ (found >> np.uint64(31)))


def fractions(values: np.ndarray, purpose: int) -> np.ndarray:
    """One number in [0, 1) for each."""
    return np.asarray(mix(values + np.uint64(purpose << 48)) >> np.uint64(11)) / float(1 << 53)


@dataclass(frozen=True)
class Corpus:
    """Documents in clusters: those of one follow each other by position; nodes are positions mixed up."""

    num_docs: int
    first_of: np.ndarray = field(default_factory=lambda: block_pattern(np.random.default_rng(1)))
    """For every position of a block, the first one of its cluster."""

    @property
    def factor(self) -> int:
        """Odd steps through the corpus that meet every position."""
        factor = int(self.num_docs * 0.618) | 1
        while math.gcd(factor, self.num_docs) > 1:
            factor += 2
        return factor

    def clusters(self, nodes: np.ndarray) -> np.ndarray:
        """The position of the first document of the cluster of each."""
        positions = nodes * self.factor % self.num_docs
        return np.asarray(positions // BLOCK * BLOCK + self.first_of[positions % BLOCK])

    def nodes(self, positions: np.ndarray) -> np.ndarray:
        """The nodes at positions."""
        # Products of Python's integers: the inverse is as large as the corpus.
        inverse = pow(self.factor, -1, self.num_docs)
        return np.array([int(at) * inverse % self.num_docs for at in positions], dtype=np.int64)

    def template(self, clusters: np.ndarray) -> np.ndarray:
        """The number of the template of each; -1 where there is none."""
        place = fractions(clusters, 1)
        large = (place * 50).astype(np.int64)
        num_small = max(1, int(self.num_docs * 0.015 / SMALL_TEMPLATE))
        small = 3 + ((place - 0.06) / 0.015 * num_small).astype(np.int64)
        return np.where(place < 0.06, large, np.where(place < 0.075, small, -1))

    def signatures(self, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and slots of a batch."""
        nodes = np.arange(first, min(first + BATCH, self.num_docs))
        clusters = self.clusters(nodes)
        rng = np.random.Generator(np.random.SFC64(first))
        slots = rng.integers(0, 1 << 32, (len(nodes), NUM_SLOTS), dtype=np.uint32)
        template = self.template(clusters)
        is_single = self.is_single(clusters)
        rows = np.flatnonzero(~is_single | (template >= 0))
        ids = clusters[rows].astype(np.uint64)
        seeds = ids[:, None] * np.uint64(NUM_SLOTS) + np.arange(NUM_SLOTS, dtype=np.uint64)
        base = mix(seeds).astype(np.uint32)
        self.put_templates(base, template[rows])
        # Both members keep a slot with the root of the similarity each.
        kept = np.sqrt(0.8 + 0.2 * fractions(ids, 2))
        is_kept = rng.integers(0, 1 << 16, base.shape, dtype=np.uint16) < (kept * 65536)[:, None]
        is_kept |= is_single[rows][:, None]
        slots[rows] = np.where(is_kept, base, slots[rows])
        return nodes, slots

    def put_templates(self, base: np.ndarray, template: np.ndarray) -> None:
        """Put the slots of templates into three bands each."""
        for rows in np.split(
            np.argsort(template, kind="stable"), np.flatnonzero(np.diff(np.sort(template))) + 1
        ):
            if len(rows) and (number := int(template[rows[0]])) >= 0:
                start = number % (NUM_BANDS - 3) * NUM_ROWS
                seeds = np.arange(3 * NUM_ROWS, dtype=np.uint64) + np.uint64((1 << 60) + 64 * number)
                base[rows, start : start + 3 * NUM_ROWS] = mix(seeds).astype(np.uint32)

    def is_single(self, clusters: np.ndarray) -> np.ndarray:
        """Whether each is alone in its cluster."""
        place = clusters % BLOCK
        following = np.append(self.first_of, BLOCK)[place + 1]
        return np.asarray((following != place) | (clusters + 1 >= self.num_docs))

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Nodes and slots of all documents."""
        return map(self.signatures, range(0, self.num_docs, BATCH))


def block_pattern(rng: np.random.Generator) -> np.ndarray:
    """First positions of clusters for every position of a block."""
    sizes = np.arange(2, MAX_CLUSTER + 1)
    weights = sizes**-2.5
    drawn = rng.choice(sizes, BLOCK, p=weights / weights.sum())
    drawn = drawn[: np.searchsorted(np.cumsum(drawn), BLOCK * (1 - SINGLE_FRAC))]
    drawn = rng.permutation(np.concatenate([drawn, np.ones(BLOCK - drawn.sum(), dtype=np.int64)]))
    return np.repeat(np.cumsum(drawn) - drawn, drawn)


def column(slots: np.ndarray) -> pa.Array:
    """Signatures as the engine takes them."""
    return pa.Array.from_buffers(pa.binary(4 * NUM_SLOTS), len(slots), [None, pa.py_buffer(slots)])


class Clock:
    """Wall and CPU seconds by step; what is not measured is the making of documents."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what is done inside."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - wall
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu


def edge_arrays(path: Path) -> Iterator[tuple[pa.Array, pa.Array, pa.Array]]:
    """Candidate pairs of a bucket as if all were alike."""
    if path.exists():
        records = np.memmap(path, dtype="<i8").reshape(-1, 3)
        for start in range(0, len(records), 1 << 16):
            part = records[start : start + (1 << 16)]
            ends = [pa.array(np.ascontiguousarray(part[:, at])) for at in (0, 1)]
            yield *ends, pa.array(np.ones(len(part)))


def num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Job:
    """One corpus from signatures to clusters."""

    def __init__(self, folder: Path, corpus: Corpus, *, memory: int, max_group: int, threads: int) -> None:
        self.folder, self.corpus = folder, corpus
        self.memory, self.max_group, self.threads = memory, max_group, threads
        self.num_buckets = 1
        self.clock = Clock()
        self.scratch: dict[str, int] = {}
        self.counts: dict[str, Any] = {}

    def note(self, what: str) -> None:
        """Say how far it is."""
        print(f"near_scale {self.corpus.num_docs:,}: {what}", file=sys.stderr, flush=True)

    def search(self) -> _rust.Candidates:
        """From signatures to the files of buckets."""
        step = self.clock.step
        found = _rust.Candidates(self.folder, NUM_BANDS, NUM_ROWS, memory_bytes=self.memory)
        for nodes, slots in self.corpus.batches():
            with step("add"):
                found.add(column(slots), pa.array(nodes), None, self.threads)
        self.scratch["keys"] = num_bytes(self.folder)
        self.note("find")
        with step("find"):
            counts: dict[str, Any] = found.find(self.max_group, self.threads)
        self.scratch["peak"] = counts.pop("scratch_bytes")
        self.counts |= counts
        # Slots are compared as numbers of 64 bits; a bucket of them takes a quarter of the memory.
        self.num_buckets = 1 + counts["num_candidates"] * 8 * NUM_SLOTS // (self.memory // 4)
        with step("assign"):
            found.assign(self.num_buckets)
        self.scratch["buckets"] = num_bytes(self.folder)
        self.note(f"candidates {counts}")
        return found

    def verified(self, found: _rust.Candidates) -> Iterator[tuple[pa.Array, pa.Array, pa.Array]]:
        """Edges between documents whose signatures are alike."""
        if not (make := getattr(_rust, "Verifier", None)):
            for bucket in range(self.num_buckets):
                yield from edge_arrays(self.folder / f"pairs-{bucket:05d}.bin")
            return
        settings = MinHash(num_hashes=NUM_SLOTS).needs().minhash
        verifier = make(
            self.folder,
            settings,
            mode="signature",
            threshold=0.75,
            num_buckets=self.num_buckets,
            memory_bytes=self.memory,
        )
        in_buckets = np.zeros(self.num_buckets, dtype=np.int64)
        for nodes, slots in self.corpus.batches():
            with self.clock.step("buckets"):
                buckets = found.buckets(int(nodes[0]), len(nodes), self.num_buckets)
            rows = np.flatnonzero(buckets.to_numpy() != NO_BUCKET)
            in_buckets += np.bincount(buckets.to_numpy()[rows], minlength=self.num_buckets)
            columns = column(slots[rows]), pa.array(nodes[rows]), buckets.take(pa.array(rows))
            with self.clock.step("sets"):
                verifier.add_signatures(*columns)
        self.counts["num_buckets"], self.counts["largest_bucket"] = self.num_buckets, int(in_buckets.max())
        self.scratch["sets"] = num_bytes(self.folder)
        with self.clock.step("verify"):
            self.counts["verification"] = verifier.verify(self.threads)
        self.note(f"verified {self.counts['verification']}")
        for batch in verifier.edges():
            yield batch["a"], batch["b"], batch["similarity"]
        verifier.close()

    def cluster(self, found: _rust.Candidates) -> _rust.Clusters:
        """From candidates to clusters."""
        clusters = _rust.Clusters(self.folder, self.corpus.num_docs, self.memory)
        for edges in self.verified(found):
            with self.clock.step("edges"):
                clusters.add(*edges)
        self.scratch["edges"] = num_bytes(self.folder)
        found.close()
        self.note("clusters")
        with self.clock.step("clusters"):
            counts = clusters.finish(self.threads)
        self.counts |= {"cluster_" + name: count for name, count in counts.items()}
        self.scratch["rows"] = num_bytes(self.folder)
        return clusters

    def run(self) -> dict[str, Any]:
        """All steps; the figures of the process."""
        wall = time.perf_counter()
        clusters = self.cluster(self.search())
        quality = self.check(clusters)
        clusters.close()
        status = Path("/proc/self/status").read_text("utf-8")
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return {
            "wall": self.clock.wall,
            "cpu": self.clock.cpu,
            "total": time.perf_counter() - wall,
            "memory_mib": peak / 1024,
            "scratch": self.scratch,
            "counts": self.counts,
            **quality,
        }

    def check(self, clusters: _rust.Clusters) -> dict[str, float]:
        """Read all rows; compare those of sampled documents with what was planted."""
        positions, firsts = sampled(self.corpus)
        nodes = self.corpus.nodes(positions)
        order = np.argsort(nodes)
        found = np.empty(len(nodes), dtype=np.int64)
        for start in range(0, self.corpus.num_docs, BATCH):
            with self.clock.step("read"):
                rows = clusters.read(start, min(BATCH, self.corpus.num_docs - start))
            low, high = np.searchsorted(nodes[order], [start, start + BATCH])
            at = order[low:high]
            found[at] = rows["cluster_id"].to_numpy()[nodes[at] - start]
        is_pair = firsts[1:] == firsts[:-1]
        is_found = (found[1:] == found[:-1]) & (found[1:] >= 0)
        is_single = self.corpus.is_single(firsts) & (self.corpus.template(firsts) < 0)
        return {
            "recall": float(is_found[is_pair].mean()),
            "false": float((found[is_single] >= 0).mean()),
        }


def sampled(corpus: Corpus, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Positions from all over the corpus, and the first of the cluster of each."""
    starts = np.linspace(0, max(0, corpus.num_docs - 1000), count).astype(np.int64)
    positions = np.unique(np.concatenate([np.arange(s, min(s + 1000, corpus.num_docs)) for s in starts]))
    return positions, positions // BLOCK * BLOCK + corpus.first_of[positions % BLOCK]


def child(arguments: argparse.Namespace) -> None:
    """One size in a process of its own."""
    memory = arguments.memory << 20
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        corpus = Corpus(arguments.child)
        job = Job(Path(name), corpus, memory=memory, max_group=arguments.max_group, threads=arguments.threads)
        print(json.dumps(job.run()))


def report(name: str, value: float, unit: str, goal: float | None, met: Callable[[float], bool]) -> None:
    """Print one figure."""
    figure = {"name": name, "value": round(value, 4), "unit": unit, "peer": None, "ratio": None, "goal": goal}
    met_goal = None if goal is None else met(value)
    print(json.dumps({**figure, "met": met_goal, "runs": 1, "spread": [round(value, 4)] * 2}), flush=True)


def report_all(num_docs: int, found: dict[str, Any], threads: int) -> None:
    """Print the figures of one size."""
    verified = "verified by signature" if "verification" in found["counts"] else "unverified"
    name = f"near_scale {num_docs:.0e} {verified}"
    wall = sum(found["wall"].values())
    report(f"{name} documents", num_docs / wall, f"docs/s of wall time, {threads} threads", None, bool)
    cpu = num_docs / sum(found["cpu"].values())
    report(f"{name} documents CPU", cpu, "docs/s of CPU time", None, bool)
    for step, seconds in found["wall"].items():
        report(f"{name} {step}", seconds, "s of wall time", None, bool)
        report(
            f"{name} {step} CPU", found["cpu"][step] / num_docs * 1e9, "ns of CPU per document", None, bool
        )
    peak = max(found["scratch"].values()) / num_docs
    report(
        f"{name} scratch", peak, "bytes per document at the peak", SCRATCH_GOAL, lambda v: v <= SCRATCH_GOAL
    )
    for step, size in found["scratch"].items():
        report(f"{name} scratch {step}", size / num_docs, "bytes per document", None, bool)
    report(f"{name} memory", found["memory_mib"], "MiB at the peak", MEMORY_GOAL, lambda v: v <= MEMORY_GOAL)
    report(f"{name} recall", found["recall"], "share", RECALL_GOAL, lambda v: v >= RECALL_GOAL)
    report(f"{name} false", found["false"], "share", 0.001, lambda v: v <= 0.001)
    print(json.dumps({"name": f"{name} counts", **found["counts"]}), file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10^5 and 10^6 documents: under a minute")
    parser.add_argument("--peers", "--peer-python", help="not used: no peer does this out of core")
    parser.add_argument("--sizes", type=float, nargs="+", help="numbers of documents")
    parser.add_argument("--memory", type=int, default=2048, help="MiB that the engine may use")
    parser.add_argument("--max-group", type=int, default=16, help="documents of a group that is not hot")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="where scratch files go")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return 0
    sizes = arguments.sizes or ([1e5, 1e6] if arguments.quick else [1e5, 1e6, 1e7, 5e7])
    for size in map(int, sizes):
        command = [sys.executable, __file__, "--child", str(size), "--memory", str(arguments.memory)]
        command += ["--max-group", str(arguments.max_group), "--threads", str(arguments.threads)]
        command += ["--folder", str(arguments.folder)] if arguments.folder else []
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        report_all(size, json.loads(done.stdout), arguments.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
