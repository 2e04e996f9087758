"""Output in folders by the value of a column."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate.errors import ConfigError, StateError
from curate.pipeline.split import ORDER_BITS, Split, folder_of

VALUES = st.lists(st.tuples(st.sampled_from(["de", "en", None]), st.integers(0, 40)), max_size=60)


@pytest.mark.parametrize("shuffled", [False, True])
@given(rows=VALUES, cut=st.integers(0, 60))
def test_buckets_hold_one_value_each_and_follow_the_order(
    shuffled: bool, rows: list[tuple[str | None, int]], cut: int
) -> None:
    values = pl.Series("v", [value for value, _ in rows], dtype=pl.String)
    sizes = np.array([size for _, size in rows], np.int64)
    split, whole = (Split(column="v", bucket_bytes=50, shuffled=shuffled) for _ in range(2))
    whole.add(values, sizes, 0)
    split.add(values[:cut], sizes[:cut], 0)
    split.add(values[cut:], sizes[cut:], min(cut, len(rows)))
    assert split.bounds() == whole.bounds() and split.values() == whole.values()
    ordinals = np.arange(len(rows))
    order = np.random.default_rng(1).integers(0, 1 << 63, len(rows), dtype=np.uint64) * np.uint64(2)
    kept = sizes > 0
    keys = split.keys(values.filter(pl.Series(kept)), order[kept], ordinals[kept])
    starts = [start for one in split.bounds() for start in one]
    assert starts == sorted(starts)
    buckets = np.searchsorted(np.array(starts, np.uint64), keys, side="right") - 1
    for bucket in set(buckets.tolist()):
        held = values.filter(pl.Series(kept)).to_list()
        members = [held[place] for place in np.flatnonzero(buckets == bucket)]
        assert len(set(members)) == 1
        if not shuffled:
            assert sizes[kept][buckets == bucket].sum() < 50 + 40
    ranks = (keys >> np.uint64(ORDER_BITS)).astype(int)
    assert [split.values()[rank] for rank in ranks] == values.filter(pl.Series(kept)).to_list()


def test_folders_are_named_as_hive_names_them() -> None:
    assert folder_of("language.label", "de") == "language.label=de"
    assert folder_of("a", None) == "a=__HIVE_DEFAULT_PARTITION__"
    assert folder_of("a", "x/../y z") == "a=x%2F..%2Fy%20z"
    assert folder_of("a", "__HIVE_DEFAULT_PARTITION__") != folder_of("a", None)
    with pytest.raises(ConfigError, match="makes a folder of more than 255 characters"):
        folder_of("a", "x" * 300)


@pytest.mark.parametrize("order", ["input", "shuffle"])
def test_each_value_has_its_folder_and_nothing_is_lost(
    tmp_path: Path, recipe: dict[str, Any], order: str
) -> None:
    recipe["output"] |= {"split_by": "source", "columns": ["id", "text"], "rows_per_file": 50}
    recipe["plan"] = {"order": order}
    run = curate.run(recipe)
    plain = {**recipe, "output": {**recipe["output"], "split_by": None, "path": str(tmp_path / "plain")}}
    curate.run({**plain, "run": str(tmp_path / "run-plain")})
    names = ["id", "source", "document.num_bytes"]
    kept = run.columns(names).filter(run.plan()["repeats"] > 0)
    out = tmp_path / "out"
    expected = {folder_of("source", value) for value in kept["source"].unique().to_list()}
    assert {path.name for path in out.iterdir()} == expected | {"_manifest.json"}
    whole = pl.read_parquet(sorted((tmp_path / "plain").glob("*.parquet")))
    for value in kept["source"].unique().to_list():
        files = sorted((out / folder_of("source", value)).glob("*.parquet"))
        ids = pl.read_parquet(files)["id"]
        in_order = whole.filter(pl.col("id").is_in(kept.filter(source=value)["id"].implode()))["id"]
        assert ids.to_list() == in_order.to_list()
        assert all(pq.read_metadata(path).num_rows <= 50 for path in files)
    read = ds.dataset(out, partitioning="hive", exclude_invalid_files=True).to_table()
    assert sorted(read["source"].to_pylist()) == sorted(kept["source"].to_list())
    problems, _ = run.verify()
    assert problems == []
    manifest = json.loads((out / "_manifest.json").read_text())
    assert sum(file["num_rows"] for file in manifest["files"]) == kept.height


def test_files_of_another_split_are_removed_and_nothing_of_others(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    recipe["output"] |= {"split_by": "source"}
    run = curate.run(recipe)
    names = ["mine/part-00000-00000.parquet", "year=2024/part-00000-00000.parquet", "lang=de/_manifest.json"]
    for name in (*names, "lang=de/part-00000-00000.parquet"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"not ours")
    left_by_a_kill = out / "source=books" / "part-00099-00000.parquet"
    left_by_a_kill.write_bytes(b"never committed")
    recipe["output"] |= {"split_by": None}
    curate.run(recipe)
    left = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert [name for name in left if "/" in name] == sorted([*names, "lang=de/part-00000-00000.parquet"])
    assert "part-00000-00000.parquet" in left and not left_by_a_kill.parent.exists()
    recipe["output"] |= {"split_by": "source"}
    curate.run(recipe)
    assert not list(out.glob("part-*")) and run.verify()[0] == []
    (out / "source=books" / "_manifest.json").write_text("{}")
    with pytest.raises(StateError, match="the folder is an output of its own"):
        curate.run({**recipe, "plan": {"budget": "0.3"}})


def test_a_split_by_numbers_and_a_measured_column(tmp_path: Path, recipe: dict[str, Any]) -> None:
    texts = [f"text of {row} " * (1 + row % 3) for row in range(90)]
    table = pa.table(
        {"text": texts, "year": pa.array([None if row % 10 == 0 else 2000 + row % 2 for row in range(90)])}
    )
    pq.write_table(table, tmp_path / "years.parquet")
    recipe |= {"input": {"paths": str(tmp_path / "years.parquet")}, "filter": [], "plan": {}}
    for column in ("year", "document.num_words"):
        recipe["output"] = {"path": str(tmp_path / column), "split_by": column}
        run = curate.run(recipe)
        counts = run.columns([column])[column].value_counts()
        for value, num_docs in counts.iter_rows():
            folder = folder_of(column, None if value is None else str(value))
            assert pl.read_parquet(tmp_path / column / folder / "*.parquet").height == num_docs


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("nope", "output.split_by names an unknown column: nope"),
        ("document.mean", "unknown column"),
        ("gopher.mean_word_length", "needs texts, whole numbers or truth values"),
    ],
)
def test_columns_that_cannot_split_are_errors(
    tmp_path: Path, recipe: dict[str, Any], column: str, message: str
) -> None:
    recipe["output"] |= {"split_by": column}
    with pytest.raises(ConfigError, match=message):
        curate.run(recipe)
    assert not list((tmp_path / "store").glob("columns/*")), "it was measured first"
