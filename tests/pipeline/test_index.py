"""Deduplication across dumps: one by one gives what all together give, whatever is killed in between."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import curate
from curate.errors import DataError, StateError
from curate.pipeline import add_dump
from curate.pipeline.index import Index
from tests.pipeline.near_corpus import make_recipe, make_rows, write

DUMPS = ("d0", "d1", "d2")


@pytest.fixture(scope="module")
def dumps() -> list[list[dict[str, Any]]]:
    """Documents of three dumps; near duplicates are spread over them."""
    rows = make_rows(num_originals=90, seed=3)
    return [rows[at::3] for at in range(3)]


def recipe_of(folder: Path, number: int, **near: Any) -> dict[str, Any]:
    home = folder / f"work-{number}"
    index = {"path": str(folder / "index"), "name": DUMPS[number], **near.pop("index", {})}
    found = make_recipe(folder / DUMPS[number], home, max_group=1000, index=index, **near)
    found["output"] = {"path": str(home / "out"), "columns": ["id"]}
    return found


def prepare(folder: Path, dumps: list[list[dict[str, Any]]]) -> None:
    for name, rows in zip(DUMPS, dumps, strict=True):
        write(rows, folder / name)


def kept(folder: Path, number: int) -> set[str]:
    return set(pl.read_parquet(folder / f"work-{number}" / "out" / "*.parquet")["id"])


def one_run(folder: Path, dumps: list[list[dict[str, Any]]]) -> set[str]:
    """What one run over all dumps keeps, the earlier dumps preferred."""
    rows = [{**row, "dump": name} for name, part in zip(DUMPS, dumps, strict=True) for row in part]
    shards = write(rows, folder / "together" / "shards")
    prefer = {"column": "dump", "order": list(DUMPS)}
    recipe = make_recipe(shards, folder / "together", max_group=1000, prefer=prefer)
    recipe["output"] = {"path": str(folder / "together" / "out"), "columns": ["id"]}
    curate.run(recipe)
    return set(pl.read_parquet(folder / "together" / "out" / "*.parquet")["id"])


@pytest.mark.parametrize("verify", ["jaccard", "signature"])
def test_dumps_one_by_one_keep_what_one_run_over_all_keeps(dumps, tmp_path, verify):
    prepare(tmp_path, dumps)
    for number in range(3):
        curate.run(recipe_of(tmp_path, number, verify=verify))
    found = [kept(tmp_path, number) for number in range(3)]
    if verify == "jaccard":
        assert set.union(*found) == one_run(tmp_path, dumps)
    index = Index(tmp_path / "index")
    assert [dump.num_docs for dump in index.dumps] == [len(part) for part in found]
    assert index.check() == []
    assert sum(map(len, found)) < sum(map(len, dumps)) - 60


def test_a_dropped_document_names_the_document_of_the_index(dumps, tmp_path):
    prepare(tmp_path, dumps)
    curate.run(recipe_of(tmp_path, 0))
    run = curate.run(recipe_of(tmp_path, 1))
    witnesses = pl.read_parquet(run.plan_file.path / "duplicates.parquet")
    old = witnesses.filter(pl.col("keeper") < -1)
    assert old.height > 10 and (old["similarity"] >= 0.8).all()
    place = old["ordinal"][0]
    document = f"id:{dumps[1][place]['id']}"
    (finding,) = curate.explain(run.path, document)
    assert finding.findings[0].duplicate.kept_shard.startswith("dump d0, ")
    row = finding.findings[0].duplicate.kept_row
    shard = Path(finding.findings[0].duplicate.kept_shard.removeprefix("dump d0, "))
    text = pl.read_parquet(shard)["text"][row]
    words = [set(each.split()) for each in (text, dumps[1][place]["text"])]
    assert len(words[0] & words[1]) > 0.5 * len(words[0])


@pytest.mark.parametrize("mode", ["against", "within"])
def test_modes(dumps, tmp_path, mode):
    prepare(tmp_path, dumps)
    curate.run(recipe_of(tmp_path, 0))
    alone = curate.run(
        {**recipe_of(tmp_path, 1, index={"mode": "within", "add": False}), "run": str(tmp_path / "w")}
    )
    run = curate.run(recipe_of(tmp_path, 1, index={"mode": mode}))
    keepers = pl.read_parquet(run.plan_file.path / "duplicates.parquet")["keeper"]
    if mode == "within":
        assert (keepers >= 0).all() and run.plan()["reasons"].to_list() == alone.plan()["reasons"].to_list()
    else:
        texts = [row["text"] for row in dumps[1]]
        same = [at for at, text in enumerate(texts) if text is not None and texts.index(text) != at]
        old = run.clusters()["minhash.node"].to_numpy()
        assert (keepers.to_numpy() < -1).sum() > 10
        reasons = run.plan()["reasons"].to_list()
        assert any(not reasons[at] for at in same) or not [at for at in same if old[at] >= 0]


def test_running_a_dump_again_changes_nothing(dumps, tmp_path):
    prepare(tmp_path, dumps)
    plans = [curate.run(recipe_of(tmp_path, number)).plan_file.fingerprint for number in range(2)]
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "index").rglob("*"))
    assert curate.run(recipe_of(tmp_path, 0)).plan_file.fingerprint == plans[0]
    assert curate.run(recipe_of(tmp_path, 1)).plan_file.fingerprint == plans[1]
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "index").rglob("*"))


def test_a_name_that_is_taken_is_refused(dumps, tmp_path):
    prepare(tmp_path, dumps)
    curate.run(recipe_of(tmp_path, 0))
    with pytest.raises(StateError, match="another dump of that name: d0"):
        curate.run(recipe_of(tmp_path, 0, threshold=0.9))


def test_other_signatures_and_missing_texts_are_refused(dumps, tmp_path):
    prepare(tmp_path, dumps)
    curate.run(recipe_of(tmp_path, 0))
    other = recipe_of(tmp_path, 1)
    other["measure"] = [{"minhash": {"seed": 2}}]
    with pytest.raises(StateError, match=r"dump d0 .* signatures of other settings"):
        curate.run(other)
    shutil.move(tmp_path / "d0", tmp_path / "elsewhere")
    with pytest.raises(DataError, match="shard of dump d0"):
        curate.run(recipe_of(tmp_path, 1))
    curate.run({**recipe_of(tmp_path, 1, verify="signature"), "run": str(tmp_path / "estimated")})


def test_an_index_survives_kills(dumps, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        prepare(folder, dumps)
    for number in range(3):
        curate.run(recipe_of(whole, number))
    for number in range(3):
        path = killed / f"recipe-{number}.yaml"
        path.write_text(json.dumps(recipe_of(killed, number)))
        command = [sys.executable, "-m", "curate", "run", "-q", str(path)]
        for delay in (0.9, 1.3, 1.7):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
        subprocess.run(command, check=True, capture_output=True)
    for number in range(3):
        assert kept(killed, number) == kept(whole, number)
    files = [
        {path.name: path.read_bytes() for path in (folder / "index" / "dumps").glob("*.parquet")}
        for folder in (whole, killed)
    ]
    assert [len(each) for each in files] == [3, 3]
    sizes = [[dump.num_docs for dump in Index(folder / "index").dumps] for folder in (whole, killed)]
    assert sizes[0] == sizes[1]
    assert Index(killed / "index").check() == []


def test_a_plan_that_has_not_seen_a_dump_is_not_added(dumps, tmp_path):
    prepare(tmp_path, dumps)
    runs = [curate.plan(recipe_of(tmp_path, number)) for number in range(2)]
    for run in runs:
        run.located()
    add_dump(runs[0].session, runs[0].plan_file)
    with pytest.raises(StateError, match="plan was made before the last dump"):
        add_dump(runs[1].session, runs[1].plan_file)
    again = curate.plan(recipe_of(tmp_path, 1))
    again.located()
    assert add_dump(again.session, again.plan_file).number == 1


def test_nothing_is_written_under_a_name_that_is_taken(dumps, tmp_path):
    prepare(tmp_path, dumps)
    curate.run(recipe_of(tmp_path, 0))
    before = (tmp_path / "work-0" / "out" / "_manifest.json").read_bytes()
    with pytest.raises(StateError, match="another dump of that name"):
        curate.run(recipe_of(tmp_path, 0, keep="longest"))
    assert (tmp_path / "work-0" / "out" / "_manifest.json").read_bytes() == before


def test_an_index_may_be_moved(dumps, tmp_path):
    prepare(tmp_path, dumps)
    plan = curate.run(recipe_of(tmp_path, 0)).plan_file.fingerprint
    shutil.move(tmp_path / "index", tmp_path / "moved")
    moved = recipe_of(tmp_path, 0, index={"path": str(tmp_path / "moved")})
    assert curate.run(moved).plan_file.fingerprint == plan


def damage_record(folder: Path, **changes: Any) -> None:
    path = folder / "index" / "dumps" / "000000.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def flip_bytes(folder: Path) -> None:
    (path,) = (folder / "index" / "dumps").glob("*.parquet")
    data = bytearray(path.read_bytes())
    for at in range(int(len(data) * 0.7), int(len(data) * 0.7) + 200, 4):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def truncate(folder: Path) -> None:
    (path,) = (folder / "index" / "dumps").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    "damage",
    [
        flip_bytes,
        truncate,
        lambda folder: damage_record(folder, num_docs="x"),
        lambda folder: damage_record(folder, shards=[]),
        lambda folder: damage_record(folder, name=5),
        lambda folder: (folder / "index" / "dumps" / "000000.json").rename(
            folder / "index" / "dumps" / "000001.json"
        ),
    ],
)
def test_a_damaged_index_is_an_error_that_names_the_file(dumps, tmp_path, damage):
    prepare(tmp_path, dumps)
    curate.run(recipe_of(tmp_path, 0))
    damage(tmp_path)
    with pytest.raises(DataError, match="000000"):
        curate.run(recipe_of(tmp_path, 1))


def test_only_the_shards_that_are_wanted_must_be_there(dumps, tmp_path):
    prepare(tmp_path, dumps)
    extra = [{**row, "text": f"{at} nothing like the others {at * 7919}"} for at, row in enumerate(dumps[0])]
    write(extra, tmp_path / "d0" / "z", num_shards=1)
    first = recipe_of(tmp_path, 0)
    first["input"]["paths"] = [f"{tmp_path}/d0/*.parquet", f"{tmp_path}/d0/z/*.parquet"]
    curate.run(first)
    shutil.rmtree(tmp_path / "d0" / "z")
    curate.run(recipe_of(tmp_path, 1))
