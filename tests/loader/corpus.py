"""Random corpora with plans, delivered folders, and a tokenizer of bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.files import hash_file, replace_json
from curate.pipeline.planfile import FORMAT, POOLS_SCHEMA, ROWS_SCHEMA, PlanFile
from curate.shards import Input, list_shards

EOS = 256


class ByteTokenizer:
    """Every byte is a token; 256 ends a document."""

    content = "bytes"

    def __init__(self) -> None:
        self.num_calls = 0

    def encode(self, texts: pa.Array) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        assert texts.type == pa.large_binary() and texts.null_count == 0
        self.num_calls += 1
        ids = [[*text, EOS] for text in texts.to_pylist()]
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in ids], dtype=np.int64)])
        return np.array([token for one in ids for token in one], np.uint32), offsets.astype(np.int64)


@dataclass
class Doc:
    """A document and what the plan says of it."""

    text: str
    pool: str = "all"
    repeats: int = 1
    order: int = 0

    @property
    def tokens(self) -> list[int]:
        return [*self.text.encode(), EOS]


@dataclass
class Corpus:
    """Shards of documents, and how their row groups are cut."""

    shards: list[list[Doc]]
    group_rows: int = 7
    jsonl: set[int] = field(default_factory=set)
    """Shards that are JSONL."""
    more_pools: Sequence[str] = ()
    """Pools without any planned document."""

    def docs(self) -> list[tuple[int, int, Doc]]:
        return [(shard, row, doc) for shard, docs in enumerate(self.shards) for row, doc in enumerate(docs)]


def write_shards(corpus: Corpus, folder: Path) -> Input:
    folder.mkdir(parents=True, exist_ok=True)
    for number, docs in enumerate(corpus.shards):
        if number in corpus.jsonl:
            lines = [orjson.dumps({"text": doc.text, "source": doc.pool}) + b"\n" for doc in docs]
            (folder / f"{number:03d}.jsonl").write_bytes(b"".join(lines))
        else:
            columns = {"text": [doc.text for doc in docs], "source": [doc.pool for doc in docs]}
            schema = pa.schema([("text", pa.string()), ("source", pa.string())])
            path = folder / f"{number:03d}.parquet"
            pq.write_table(pa.table(columns, schema), path, row_group_size=corpus.group_rows)
    return Input(paths=str(folder))


def write_plan(corpus: Corpus, folder: Path, settings: Input) -> PlanFile:
    """Write a plan as the engine does, with repeats of any number."""
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    entries = []
    for number, (shard, docs) in enumerate(zip(list_shards(settings), corpus.shards, strict=True)):
        path = folder / f"rows/{number:06d}.parquet"
        pq.write_table(_rows(docs), path, row_group_size=11)
        entries.append(
            {
                "key": shard.key,
                "uri": shard.uri,
                "format": shard.format,
                "fingerprint": shard.fingerprint,
                "num_rows": len(docs),
                "size_bytes": shard.size_bytes,
                "row_groups": list(shard.row_groups),
                "rows": f"rows/{number:06d}.parquet",
                "rows_blake3": hash_file(path),
            }
        )
    names = sorted({doc.pool for _, _, doc in corpus.docs()} | set(corpus.more_pools))
    pools = [_pool(name, corpus) for name in names]
    pq.write_table(pa.Table.from_pylist(pools, schema=POOLS_SCHEMA), folder / "pools.parquet")
    header = {
        "format": FORMAT,
        "fingerprint": "f" * 32,
        "shards": entries,
        "edits": [],
        "totals": {},
        "recipe": {},
    }
    replace_json(folder / "plan.json", header)
    return PlanFile.open(folder)


def _rows(docs: list[Doc]) -> pa.Table:
    pools = pa.array([doc.pool for doc in docs], pa.string())
    kind = pa.dictionary(pa.uint16(), pa.string())
    reasons = pa.array([[] if doc.repeats else ["test.drop"] for doc in docs], pa.list_(pa.string()))
    return pa.Table.from_arrays(
        [
            pa.array(np.arange(len(docs)), pa.uint32()),
            pa.array([None] * len(docs), pa.binary(16)),
            reasons.cast(pa.list_(kind)),
            pools.cast(kind),
            pa.array(np.ones(len(docs))),
            pa.array([doc.repeats for doc in docs], pa.uint16()),
            pa.array([doc.order for doc in docs], pa.uint64()),
            pa.array([len(doc.tokens) for doc in docs], pa.uint32()),
        ],
        schema=ROWS_SCHEMA,
    )


def _pool(name: str, corpus: Corpus) -> dict[str, Any]:
    own = [doc for _, _, doc in corpus.docs() if doc.pool == name]
    num_tokens = sum(len(doc.tokens) for doc in own)
    return {
        "pool": name,
        "num_docs": len(own),
        "num_tokens": num_tokens,
        "num_unique_docs": len(own),
        "num_unique_tokens": num_tokens,
        "content": "0" * 32,
        "planned_docs": sum(doc.repeats > 0 for doc in own),
        "planned_tokens": sum(len(doc.tokens) * doc.repeats for doc in own),
        "cap": 4.0 if name == "capped" else None,
    }
