"""A run for exports, a small tokenizer, and slow twins of what exports read and encode."""

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

import curate
from curate.pipeline import OpenRun
from tests.pipeline.runs_in_process import make_corpus

EOS = "<|endoftext|>"


def make_tokenizer(path: Path, vocab_size: int = 400) -> Path:
    """Train a byte-level BPE on a few sentences."""
    found = tokenizers.Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False
    )
    found.train_from_iterator(["the cat and the dog ran to the other end of the road again"] * 3, trainer)
    found.save(str(path))
    return path


def pad_vocabulary(source: Path, target: Path, size: int) -> Path:
    """A copy of a tokenizer with tokens that no text has, up to `size`."""
    value = json.loads(source.read_text("utf-8"))
    vocabulary = value["model"]["vocab"]
    for number in range(len(vocabulary), size):
        vocabulary[f"\u0120unused{number}"] = number
    target.write_text(json.dumps(value), encoding="utf-8")
    return target


@dataclasses.dataclass(frozen=True)
class Planned:
    """A kept document."""

    pool: str
    repeats: int
    order: int
    ordinal: int
    shard: str
    row: int
    text: str
    id: str | None


def make_run(
    folder: Path,
    *,
    order: str = "shuffle",
    by: str | None = "source",
    max_rows: int = 150,
    num_copies: int = 1,
    **plan: Any,
) -> OpenRun:
    """A planned run over the sample in `folder`; `plan` are keys of that section."""
    if not (folder / "shards").exists():
        make_corpus(folder / "shards", num_copies=num_copies, max_rows=max_rows)
    recipe = {
        "name": "test",
        "input": {"paths": f"{folder}/shards/*.parquet"},
        "measure": ["tokens"],
        "plan": {"pools": {"by": by}, "budget": "0.6", "order": order, **plan},
        "run": str(folder / "run"),
        "store": str(folder / "store"),
    }
    return curate.run(recipe, num_threads=1)


def set_repeats(run: OpenRun) -> None:
    """Change the plan of a run so that documents are repeated up to three times."""
    for _, entry in run.plan_file.iter_shards():
        path = run.plan_file.path / entry["rows"]
        table = pq.read_table(path)
        old = table["repeats"].to_numpy()
        new = pa.array(np.where(old > 0, 1 + np.arange(len(old)) % 3, 0).astype(np.uint16))
        field = table.schema.field("repeats")
        table = table.set_column(table.schema.get_field_index("repeats"), field, new)
        pq.write_table(table, path)


def planned(run: OpenRun) -> list[Planned]:
    """Every kept document of a run in key order, from the plan and the shards."""
    found, ordinal = [], 0
    for index, entry in run.plan_file.iter_shards():
        rows = run.plan_file.rows(index).to_pylist()
        documents = pq.read_table(entry["uri"]).to_pylist()
        for row, document in zip(rows, documents, strict=True):
            if row["repeats"]:
                found.append(
                    Planned(
                        row["pool"], row["repeats"], row["order"], ordinal, entry["key"], row["row"],
                        document["text"], document.get("id"),
                    )
                )  # fmt: skip
            ordinal += 1
    return found


def in_order(documents: Sequence[Planned], *, repeats: bool = True) -> dict[str, list[Planned]]:
    """What an export writes, by pool: everything once in the plan's order, then what comes twice, ..."""
    pools: dict[str, list[Planned]] = {}
    for pool in sorted({document.pool for document in documents}):
        mine = [document for document in documents if document.pool == pool]
        mine.sort(key=lambda document: (document.order >> 16, document.ordinal))
        passes = max(document.repeats for document in mine) if repeats else 1
        pools[pool] = [d for number in range(passes) for d in mine if d.repeats > number]
    return pools


@functools.lru_cache
def _load(path: Path) -> Any:
    return tokenizers.Tokenizer.from_file(str(path))


def encode(path: Path, text: str) -> list[int]:
    """Ids of a document with the token that ends it."""
    found = _load(path)
    return [*found.encode(text, add_special_tokens=False).ids, found.token_to_id(EOS)]


def file_bytes(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
