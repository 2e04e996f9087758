"""The four steps over the sample: the ledger, the laws, what is redone."""

import hashlib
import os
import shutil
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import ConfigError, DataError, StateError
from curate.pipeline import Limits, Session, load_recipe, run_steps
from curate.pipeline import measure as measure_step


def tree(folder: Path) -> dict[str, str]:
    """Hash of every file that has to be the same for the same input, by name."""
    skip = {"timings.json", "report.html", "report.json", "shards.json", ".lock"}
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in skip)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_ledger_adds_up_and_every_file_is_as_committed(recipe, tmp_path):
    run = curate.run(recipe)
    plan = run.plan()
    assert plan.height == run.columns(["doc_id"]).height == 2082
    dropped = plan["reasons"].list.len() > 0
    assert (dropped == (plan["repeats"] == 0)).all()
    assert run.verify() == ([], run.verify()[1])
    written = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert written.height == int((~dropped).sum()) > 300
    kept = plan.filter(~dropped).sort("order", maintain_order=True)
    assert written["text"].len() == kept.height


def test_written_text_is_the_input_text_of_the_planned_documents(recipe, tmp_path):
    recipe["plan"]["order"] = "input"
    run = curate.run(recipe)
    ids = run.columns(["id"]).with_columns(kept=run.plan()["repeats"] > 0)
    written = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert written["id"].to_list() == ids.filter("kept")["id"].to_list()


def test_pools_report_what_was_available_asked_for_and_given(recipe):
    run = curate.run(recipe, write=False)
    plan, pools = run.plan(), run.pools()
    for row in pools.iter_rows(named=True):
        mine = plan.filter(pl.col("pool").cast(pl.String) == row["pool"])
        kept = mine.filter(pl.col("repeats") > 0)
        assert (row["num_docs"], row["num_tokens"]) == (mine.height, mine["tokens"].sum())
        assert (row["planned_docs"], row["planned_tokens"]) == (kept.height, kept["tokens"].sum())
        if row["planned_tokens"] < row["num_unique_tokens"]:
            assert row["planned_tokens"] >= row["budget_tokens"]
            assert row["planned_tokens"] - kept["tokens"].max() < row["budget_tokens"]


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_threads_and_memory_change_no_byte(recipe, tmp_path, num_threads):
    curate.run(recipe, num_threads=1, memory="2GiB")
    expected = tree(tmp_path)
    for name in ("run", "store", "out"):
        shutil.rmtree(tmp_path / name)
    curate.run(recipe, num_threads=num_threads, memory="128MiB")
    assert tree(tmp_path) == expected


def test_a_second_run_does_nothing_and_changes_nothing(recipe, tmp_path):
    curate.run(recipe)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.parquet")}
    again = curate.run(recipe)
    assert all(timing.num_tasks == 0 for timing in again.session.timings)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.parquet")} == before


def test_a_moved_limit_redoes_the_plan_without_reading_text(recipe, tmp_path):
    shards = tmp_path / "shards"
    shutil.copytree(Path(recipe["input"]["paths"][0]).parent, shards)
    recipe["input"]["paths"] = [f"{shards}/*.parquet", f"{shards}/*.jsonl.gz"]
    os.utime(shards)
    for path in shards.glob("part-*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    first = curate.plan(recipe)
    for path in shards.glob("part-*"):
        size = path.stat().st_size
        path.write_bytes(b"\0" * size)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    recipe["filter"][3]["drop"] = "document.num_chars < 500"
    second = curate.plan(recipe)
    assert first.plan_file.fingerprint != second.plan_file.fingerprint
    assert second.summary()["reasons"]["user.short"]["any"] > first.summary()["reasons"]["user.short"]["any"]


def test_an_added_shard_is_the_only_one_measured(recipe, tmp_path):
    paths = sorted(Path(recipe["input"]["paths"][0]).parent.glob("*.parquet"))
    recipe["input"]["paths"] = [str(path) for path in paths[1:]]
    curate.measure(recipe)
    recipe["input"]["paths"] = [str(path) for path in paths]
    session = Session(load_recipe(recipe))
    timing = measure_step(session)
    assert (timing.num_tasks, timing.num_cached) == (1, len(paths) - 1)


def test_columns_are_shared_by_recipes_that_measure_the_same(recipe, tmp_path):
    curate.measure(recipe)
    other = {**recipe, "run": str(tmp_path / "other"), "filter": []}
    timing = curate.measure(other).session.timings[0]
    assert timing.num_tasks == 0


def test_parts_measured_apart_make_the_whole(recipe, tmp_path):
    curate.run(recipe)
    expected = tree(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    shutil.rmtree(tmp_path / "run")
    for index in (3, 1, 2):
        curate.measure(recipe, part=(index, 3))
    curate.run(recipe)
    assert tree(tmp_path / "store") == expected


def test_parquet_and_jsonl_of_the_same_documents_give_equal_columns_and_plans(recipe, tmp_path):
    source = Path(recipe["input"]["paths"][0]).parent / "part-0.parquet"
    table = pl.read_parquet(source)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    table.write_parquet(tmp_path / "a" / "x.parquet")
    table.write_ndjson(tmp_path / "b" / "x.jsonl")
    plans, columns = [], []
    for name, pattern in (("a", "x.parquet"), ("b", "x.jsonl")):
        recipe |= {"input": {"paths": str(tmp_path / name / pattern)}, "run": str(tmp_path / f"run-{name}")}
        run = curate.run(recipe, write=False)
        plans.append(run.plan().drop("shard"))
        columns.append(run.columns())
    assert columns[0].equals(columns[1].select(columns[0].columns))
    assert plans[0].equals(plans[1])


def test_two_processes_do_not_write_one_run(recipe):
    session = Session(load_recipe(recipe))
    with session.run.lock(), pytest.raises(StateError, match="in use by process"):
        run_steps(Session(load_recipe(recipe)))


def test_a_damaged_column_file_is_found_and_made_again(recipe, tmp_path):
    run = curate.run(recipe)
    path = next((tmp_path / "store" / "columns").rglob("*.parquet"))
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    problems, _ = run.verify()
    assert any(path.name in problem for problem in problems)
    curate.run(recipe)
    assert path.read_bytes() == good


def test_a_changed_row_of_the_plan_is_found(recipe, tmp_path):
    run = curate.run(recipe)
    path = run.plan_file.path / run.plan_file.header["shards"][0]["rows"]
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 1), path)
    assert run.plan_file.check_files()
    with pytest.raises(StateError, match="rows, the plan says"):
        run.plan()


def test_an_unknown_column_in_a_rule_is_named_with_near_ones(recipe):
    recipe["filter"] = [{"reason": "user.x", "drop": "gopher.num_wrods < 5"}]
    with pytest.raises(ConfigError, match=r"gopher\.num_wrods"):
        curate.plan(recipe)


def test_memory_below_the_least_is_refused(recipe):
    with pytest.raises(ConfigError, match="at least 128MiB"):
        Limits(memory_bytes=1 << 20)


def test_a_truncated_shard_is_named(recipe, tmp_path):
    source = Path(recipe["input"]["paths"][0]).parent / "part-0.parquet"
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(source.read_bytes()[:-100])
    recipe["input"]["paths"] = [str(broken)]
    with pytest.raises(DataError, match=r"broken\.parquet"):
        curate.run(recipe)
