"""Documents and candidates that tests verify, natively and by the twin."""

import json
import random
import struct
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate import _rust
from curate.measure import MinHash
from tests.reference import minhash, verify

PLENTY = 1 << 28
Pairs = list[tuple[int, int, int]]


def settings_of(**values: Any) -> dict[str, Any]:
    return MinHash(**values).model_dump(exclude={"preset"})


WORDS = settings_of(ngram=1, num_hashes=7)


def texts_of(rows: list[str | bytes | None]) -> pa.Array:
    return pa.array([row.encode() if isinstance(row, str) else row for row in rows], pa.large_binary())


def buckets_of(num_docs: int, pairs: Pairs, hot: Pairs, num_buckets: int) -> list[int]:
    """A bucket for each node, the same for all of a connected component."""
    label = list(range(num_docs))
    groups = defaultdict(list)
    for node, key, _ in hot:
        groups[key].append(node)
    links = [(a, b) for a, b, _ in pairs]
    links += [(group[0], other) for group in groups.values() for other in group[1:]]
    before: list[int] = []
    while before != label:
        before = list(label)
        for a, b in links:
            label[a] = label[b] = min(label[a], label[b])
    return [(7 * found + 3) % num_buckets for found in label]


def write_candidates(folder: Path, pairs: Pairs, hot: Pairs, buckets: list[int], num_buckets: int) -> None:
    for kind, records in (("pairs", pairs), ("hot", hot)):
        for bucket in range(num_buckets):
            own = sorted(record for record in records if buckets[record[0]] == bucket)
            if own:
                data = b"".join(struct.pack("<QQQ", *record) for record in own)
                (folder / f"{kind}-{bucket:05d}.bin").write_bytes(data)


class Case:
    """Documents and their candidates."""

    def __init__(self, rows: list[str | bytes | None], pairs: Pairs, hot: Pairs) -> None:
        self.rows, self.pairs, self.hot = rows, pairs, hot

    def verify(
        self,
        settings: dict[str, Any] = WORDS,
        *,
        mode: str = "jaccard",
        threshold: float = 0.5,
        max_reps: int = 64,
        num_buckets: int = 1,
        memory_bytes: int = PLENTY,
        num_threads: int = 1,
        seed: int | None = None,
    ) -> tuple[list[tuple], dict[str, Any]]:
        """Edges and counts; `seed` shuffles the documents and adds them in parts."""
        buckets = buckets_of(len(self.rows), self.pairs, self.hot, num_buckets)
        order = list(range(len(self.rows)))
        if seed is not None:
            random.Random(seed).shuffle(order)
        step = max(1, len(order) if seed is None else len(order) // 3)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_candidates(folder, self.pairs, self.hot, buckets, num_buckets)
            before = sorted(folder.iterdir())
            verifier = _rust.Verifier(
                name,
                json.dumps(settings),
                mode=mode,
                threshold=threshold,
                max_reps=max_reps,
                num_buckets=num_buckets,
                memory_bytes=memory_bytes,
            )
            for start in range(0, len(order), step):
                part = order[start : start + step]
                texts = texts_of([self.rows[node] for node in part])
                places = pa.array(part, pa.int64()), pa.array([buckets[node] for node in part], pa.uint32())
                if mode == "signature":
                    verifier.add_signatures(signatures(texts, settings), *places)
                else:
                    verifier.add_texts(texts, *places, num_threads)
            counts = verifier.verify(num_threads)
            batches = list(verifier.edges())
            assert all(batch.num_rows == 1 << 16 for batch in batches[:-1])
            assert [batch.num_rows for batch in verifier.edges()] == [batch.num_rows for batch in batches]
            verifier.close()
            assert sorted(folder.iterdir()) == before
        return [tuple(row.values()) for batch in batches for row in batch.to_pylist()], counts

    def expected(
        self, settings: dict[str, Any], mode: str, threshold: float, max_reps: int = 64
    ) -> tuple[list[tuple], dict[str, Any]]:
        sets: dict[int, Any] = {}
        for node, row in enumerate(self.rows):
            text = decoded(row)
            if text is None:
                continue
            if mode == "signature":
                found = minhash.row(text, settings)["minhash.signature"]
                sets |= {node: found} if found is not None else {}
            else:
                sampled = minhash.shingle_set(text, settings)
                sets |= {node: sampled} if sampled[0] else {}
        twin = verify.Verification(sets, mode, threshold, max_reps)
        twin.pairs(sorted(self.pairs))
        twin.hot(sorted(self.hot))
        return twin.answer()


def decoded(row: str | bytes | None) -> str | None:
    try:
        return row.decode() if isinstance(row, bytes) else row
    except UnicodeDecodeError:
        return None


def signatures(texts: pa.Array, settings: dict[str, Any]) -> pa.Array:
    return MinHash(**settings).annotate(texts)["minhash.signature"]
