"""The sort behind a shuffled delivery, and pieces of more than one block of rows."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.pipeline.plan import order_of
from curate.pipeline.shuffle import ORDER, Shuffle, equal_bounds
from curate.runs import ROW_GROUP_ROWS


def documents(num_rows: int) -> pa.Table:
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 1 << 63, num_rows, dtype=np.uint64) * np.uint64(2)
    keys[: num_rows // 10] = keys[num_rows // 2]
    return pa.table(
        {
            "text": pa.array([f"document {row}" * (row % 7) for row in range(num_rows)], pa.large_string()),
            ORDER[0]: keys,
            ORDER[1]: np.arange(num_rows),
        }
    )


@pytest.mark.parametrize("run_bytes", [1, 5_000, 1 << 30])
@pytest.mark.parametrize("num_buckets", [1, 2, 7])
def test_buckets_one_after_the_other_are_the_sorted_documents(
    tmp_path: Path, run_bytes: int, num_buckets: int
) -> None:
    table = documents(1000)
    shuffle = Shuffle(tmp_path, bounds=equal_bounds(num_buckets), run_bytes=run_bytes)
    for start in range(0, 1000, 90):
        shuffle.add(table.slice(start, 90))
    shuffle.flush()
    found = [part["text"].to_pylist() for bucket in range(num_buckets) for part in shuffle.read(bucket)]
    expected = table.sort_by([(name, "ascending") for name in ORDER])["text"].to_pylist()
    assert [text for part in found for text in part] == expected


def test_a_bucket_holds_the_same_documents_whatever_the_memory(tmp_path: Path) -> None:
    table, buckets = documents(500), []
    for run_bytes in (1, 1 << 30):
        shuffle = Shuffle(tmp_path, bounds=equal_bounds(3), run_bytes=run_bytes)
        for start in range(0, 500, 50):
            shuffle.add(table.slice(start, 50))
        shuffle.flush()
        buckets.append([[t for part in shuffle.read(b) for t in part["text"].to_pylist()] for b in range(3)])
    assert buckets[0] == buckets[1]


def test_equal_ranges_of_order_keys_hold_about_as_many_documents() -> None:
    ids = pa.array([hashlib.blake2b(b"%d" % row, digest_size=16).digest() for row in range(8000)])
    keys = order_of(ids.cast(pa.binary(16)), seed=1)
    counts = np.bincount((keys >> np.uint64(61)).astype(np.int64), minlength=8)
    assert counts.min() > 850 and counts.max() < 1150
    assert not np.array_equal(keys, order_of(ids.cast(pa.binary(16)), seed=2))


@pytest.mark.parametrize("order", ["input", "shuffle"])
def test_a_piece_of_several_blocks_is_decided_and_delivered_row_by_row(
    tmp_path: Path, recipe: dict[str, Any], order: str
) -> None:
    num_rows = ROW_GROUP_ROWS + 3000
    texts = [f"short text {row % 40_000} " + "x" * (row % 5) for row in range(num_rows)]
    table = pa.table({"text": texts, "source": [f"s{row % 3}" for row in range(num_rows)]})
    pq.write_table(table, tmp_path / "many.parquet")
    recipe |= {
        "input": {"paths": str(tmp_path / "many.parquet")},
        "filter": [{"reason": "user.short", "drop": "document.num_chars < 18"}],
        "plan": {"order": order},
    }
    recipe["output"] |= {"rows_per_file": 30_000, "columns": ["text", "source", "document.num_chars"]}
    run = curate.run(recipe)
    frame = pl.DataFrame(pl.from_arrow(table)).filter(pl.col("text").str.len_chars() >= 18)
    expected = frame.unique("text", keep="first", maintain_order=True)
    written = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert run.plan()["row"].to_list() == list(range(num_rows))
    assert run.plan().filter(pl.col("repeats") > 0).height == expected.height > 20_000
    assert (written["document.num_chars"] == written["text"].str.len_chars()).all()
    keys = ["text", "source"]
    if order == "shuffle":
        assert written["text"].to_list() != expected["text"].to_list()
        written, expected = written.sort(keys), expected.sort(keys)
    assert written.select(keys).equals(expected.select(keys))
