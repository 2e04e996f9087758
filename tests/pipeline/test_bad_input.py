"""Input that is wrong, through the whole command: one clear error, or counted rows in quarantine."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curate.errors import DataError
from curate.pipeline import Session, deliver, load_recipe, measure, open_run, plan, resolve

TEXTS = [f"The {n}. of the good texts, which has a few words and ends with a full stop." for n in range(40)]


def write_parquet(path: Path, texts: list[Any], kind: pa.DataType | None = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"text": pa.array(texts, kind or pa.large_binary()), **columns})
    pq.write_table(table, path, row_group_size=16)
    return path


def write_lines(path: Path, lines: list[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def write_recipe(folder: Path, paths: object, **changes: Any) -> Path:
    recipe = {
        "input": {"paths": paths if isinstance(paths, list) else str(paths)},
        "dedup": {"exact": {"keep": "first"}},
        "output": {"path": str(folder / "out")},
        "run": str(folder / "run"),
        "store": str(folder / "store"),
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def quarantine(run: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted((run / "quarantine").glob("*.parquet"))])


def check_ledger(curate: Any, run: Path) -> None:
    """Verify a run; its quarantine holds exactly the rows that the plan drops for input reasons."""
    assert curate("verify", run).code == 0
    decided = open_run(run).plan()
    first = decided["reasons"].list.first().cast(pl.String)
    bad = decided.with_columns(reason=first).filter(first.str.starts_with("input."))
    keys = ["shard", "row", "reason"]
    files = list((run / "quarantine").glob("*.parquet")) if bad.height else []
    found = pl.concat([pl.read_parquet(path) for path in files]) if files else bad.clear()
    kinds = [pl.col("shard").cast(pl.String), pl.col("row").cast(pl.Int64), pl.col("reason").cast(pl.String)]
    assert found.select(kinds).sort(keys).equals(bad.select(kinds).sort(keys))
    counts = dict(bad.group_by("reason").len().rows())
    assert curate("status", run, "--json").value["quarantined"] == counts
    assert json.loads((run / "report.json").read_text())["quarantine"] == counts


# Rows


def test_text_that_is_not_utf8_is_quarantined_with_its_first_bytes(curate, tmp_path):
    texts = [text.encode() for text in TEXTS]
    texts[7], texts[20] = b"\xff\xfe" + texts[7], b"caf\xe9 " * 1000
    done = curate("run", write_recipe(tmp_path, write_parquet(tmp_path / "in/a.parquet", texts)))
    assert done.code == 3
    assert done.errors == [
        "warning: 2 of 40 rows could not be read, more than max_bad = 0.001 allows; "
        f"they are listed in {tmp_path}/run/quarantine"
    ]
    rows = quarantine(tmp_path / "run")
    assert rows.columns == ["shard", "row", "reason", "detail"]
    assert rows["shard"].to_list() == ["a.parquet"] * 2 and rows["row"].to_list() == [7, 20]
    assert rows["reason"].to_list() == ["input.invalid_utf8"] * 2
    assert rows["detail"][0].startswith(r"\xff\xfeThe 7. of")
    assert rows["detail"][1].startswith(r"caf\xe9 caf\xe9 ") and len(rows["detail"][1]) < 1000
    check_ledger(curate, tmp_path / "run")
    assert pl.read_parquet(tmp_path / "out" / "*.parquet").height == 38


def test_bad_rows_up_to_max_bad_are_no_failure(curate, tmp_path):
    path = write_parquet(tmp_path / "in/a.parquet", [*(text.encode() for text in TEXTS), b"\xff"])
    assert curate("run", write_recipe(tmp_path, path, max_bad=0.03)).code == 0
    assert curate("run", write_recipe(tmp_path, path, max_bad=0.02)).code == 3
    assert curate("write", write_recipe(tmp_path, path, max_bad=0.02)).code == 3


def test_null_text_is_counted_and_empty_text_is_a_document(curate, tmp_path):
    path = write_parquet(tmp_path / "in/a.parquet", [None, "", None, *TEXTS], pa.string())
    done = curate("run", write_recipe(tmp_path, path), "--json")
    assert done.code == 0
    assert done.value["reasons"]["input.null_text"]["first"] == 2
    check_ledger(curate, tmp_path / "run")
    assert pl.read_parquet(tmp_path / "out" / "*.parquet")["text"].to_list() == ["", *TEXTS]


def test_each_kind_of_bad_line_has_its_reason(curate, tmp_path):
    good = [json.dumps({"text": text}).encode() for text in TEXTS]
    bad = {
        "input.bad_json": b'{"text": "no end',
        "input.bad_text_type": b'{"text": 12}',
        "input.null_text": b'{"id": "no text"}',
        "input.invalid_utf8": b'{"text": "caf\xe9"}',
        "input.line_too_long": b'{"text": "' + b"x" * 2000 + b'"}',
    }
    path = write_lines(tmp_path / "in/a.jsonl", [*good, *bad.values(), b"", b"[]", good[0]])
    recipe = write_recipe(tmp_path, path, input={"paths": str(path), "max_line_bytes": 1000})
    assert curate("run", recipe).code == 3
    rows = quarantine(tmp_path / "run")
    assert rows["row"].to_list() == [40, 41, 42, 43, 44, 45]
    assert rows["reason"].to_list() == [*bad, "input.bad_json"]
    check_ledger(curate, tmp_path / "run")


def test_copies_of_a_shard_with_bad_rows_are_listed_apart(curate, tmp_path):
    first = write_parquet(tmp_path / "in/a.parquet", [*(text.encode() for text in TEXTS), b"\xff"])
    recipe = write_recipe(tmp_path, tmp_path / "in")
    assert curate("run", recipe).code == 3
    shutil.copy(first, tmp_path / "in" / "b.parquet")
    done = curate("run", recipe, "--json")
    assert done.code == 3
    assert done.value["reasons"]["exact.duplicate"]["first"] == len(TEXTS)
    assert sorted(quarantine(tmp_path / "run")["shard"]) == ["a.parquet", "b.parquet"]
    check_ledger(curate, tmp_path / "run")
    measured = open_run(tmp_path / "run").session.store
    assert sum(1 for _ in measured.commits()) == 1


def test_a_document_of_100_megabytes_passes(curate, tmp_path):
    huge = "".join(f"Sentence {n} of a long text stands here. " for n in range(3_000_000))[: 100 << 20]
    path = write_parquet(tmp_path / "in/a.parquet", [*TEXTS, huge], pa.large_string())
    recipe = write_recipe(tmp_path, path)
    assert curate("run", recipe, "--memory", "128MiB").code == 0
    found = pq.read_table(tmp_path / "out")["text"]
    assert found[-1].as_py() == huge
    (item,) = curate("explain", tmp_path / "run", "a.parquet:40", "--json").value
    assert item["kept"]


@pytest.mark.slow
def test_a_line_of_a_gigabyte_is_quarantined_in_bounded_memory(curate, tmp_path):
    good = json.dumps({"text": TEXTS[0]}).encode()
    path = write_lines(tmp_path / "in/a.jsonl", [good])
    with path.open("r+b") as handle:  # a hole: a gigabyte of NUL that takes no disk
        handle.seek((1 << 30) + len(good))
        handle.write(b"\n" + good + b"\n")
    recipe = write_recipe(tmp_path, path)
    code = (
        "import re, sys; from curate import cli\ntry: cli.main(sys.argv[1:])\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    command = [sys.executable, "-c", code, "run", str(recipe), "--memory", "128MiB", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert int(done.stdout.splitlines()[-1]) < 450 << 10
    assert quarantine(tmp_path / "run").select("shard", "row", "reason").rows() == [
        ("a.jsonl", 1, "input.line_too_long")
    ]
    check_ledger(curate, tmp_path / "run")


# Shards


def damaged(folder: Path, kind: str) -> Path:
    """Make one shard that cannot be read, beside a good one."""
    good = write_parquet(folder / "a.parquet", TEXTS, pa.string(), n=list(range(40)))
    bad = folder / "b.parquet"
    if kind == "truncated":
        bad.write_bytes(good.read_bytes()[:-100])
    elif kind == "empty file":
        bad.write_bytes(b"")
    elif kind == "wrong type":
        write_parquet(bad, list(range(40)), pa.int64())
    elif kind == "no text column":
        pq.write_table(pa.table({"content": TEXTS}), bad)
    elif kind == "a page is damaged":
        pq.write_table(pa.table({"text": TEXTS}), bad, write_page_checksum=True, compression="none")
        data = bytearray(bad.read_bytes())
        place = data.index(b"good texts")
        data[place] ^= 1
        bad.write_bytes(data)
    elif kind == "truncated gzip":
        bad = folder / "b.jsonl.gz"
        lines = [json.dumps({"text": text}).encode() for text in TEXTS]
        bad.write_bytes(gzip.compress(b"\n".join(lines))[:-20])
    elif kind == "not gzip":
        bad = folder / "b.jsonl.gz"
        bad.write_bytes(b"\x00\x01\x02\x03" * 10)
    return bad


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("truncated", "b.parquet: truncated Parquet: "),
        ("empty file", "b.parquet: not Parquet: 0 bytes"),
        ("wrong type", "b.parquet: column text is int64 instead of string or binary"),
        ("no text column", "b.parquet: no column text; there are: content"),
        ("a page is damaged", "b.parquet, row group 0: damaged Parquet: "),
        ("truncated gzip", "b.jsonl.gz: truncated gzip data"),
        ("not gzip", "b.jsonl.gz: not gzip: the file starts with"),
    ],
)
def test_a_shard_that_cannot_be_read_is_one_error_that_names_it(curate, tmp_path, kind, error):
    bad = damaged(tmp_path / "in", kind)
    recipe = write_recipe(tmp_path, tmp_path / "in")
    done = curate("run", recipe)
    assert done.code == 1 and done.out == ""
    assert done.errors[0].startswith(f"error: {error}")
    assert len(done.errors) == 1 or (len(done.errors) == 2 and done.errors[1].startswith("hint: "))
    assert not (tmp_path / "out").exists()
    bad.unlink()
    assert curate("run", recipe).code == 0
    assert curate("verify", tmp_path / "run").code == 0


def test_no_shards_and_unknown_formats_are_wrong_settings(curate, tmp_path):
    (tmp_path / "in").mkdir()
    for paths, error in (
        ("in", "no files match"),
        ("in/*.parquet", "no files match"),
        ("none.parquet", "not found"),
    ):
        done = curate("run", write_recipe(tmp_path, tmp_path / paths))
        assert done.code == 2 and error in done.errors[0]
    (tmp_path / "in" / "a.txt").write_text("text")
    done = curate("run", write_recipe(tmp_path, tmp_path / "in" / "a.txt"))
    assert done.code == 2 and "is not known by its name" in done.errors[0]


def test_shards_without_rows_give_an_empty_output(curate, tmp_path):
    write_parquet(tmp_path / "in/a.parquet", [], pa.string(), id=pa.array([], pa.string()))
    (tmp_path / "in/b.jsonl").write_bytes(b"")
    recipe = write_recipe(tmp_path, tmp_path / "in", plan={"budget": "0.5", "order": "shuffle"})
    done = curate("run", recipe, "--json")
    assert (done.code, done.value["totals"]["num_docs"]) == (0, 0)
    check_ledger(curate, tmp_path / "run")


def test_a_shard_without_rows_among_others_changes_nothing(curate, tmp_path):
    write_parquet(tmp_path / "in/b.parquet", TEXTS, pa.string())
    recipe = write_recipe(tmp_path, tmp_path / "in", plan={"budget": "0.5"})
    before = curate("run", recipe, "--json").value["totals"]
    write_parquet(tmp_path / "in/a.parquet", [], pa.string())
    write_lines(tmp_path / "in/c.jsonl", [b"", b""])
    assert curate("run", recipe, "--json").value["totals"] == before
    check_ledger(curate, tmp_path / "run")


def test_optional_columns_are_null_where_a_shard_lacks_them(curate, tmp_path):
    write_parquet(tmp_path / "in/a.parquet", TEXTS[:20], pa.string(), lang=["en"] * 20, n=list(range(20)))
    write_parquet(tmp_path / "in/b.parquet", TEXTS[20:30], pa.string(), n=[0.5] * 10)
    write_lines(tmp_path / "in/c.jsonl", [json.dumps({"text": t, "url": "u"}).encode() for t in TEXTS[30:]])
    rule = {"reason": "user.foreign", "drop": "lang <> 'en'"}
    recipe = write_recipe(tmp_path, tmp_path / "in", filter=[rule])
    reasons = curate("run", recipe, "--json").value["reasons"]
    assert reasons == {"user.foreign.null": {"any": 20, "first": 20}}
    recipe = write_recipe(tmp_path, tmp_path / "in")
    assert curate("run", recipe).code == 0
    out = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert out["text"].to_list() == TEXTS
    assert out["n"].to_list() == [*map(float, range(20)), *[0.5] * 10, *[None] * 10]
    assert out["url"].to_list() == [None] * 30 + ["u"] * 10
    check_ledger(curate, tmp_path / "run")


def test_columns_that_do_not_fit_together_are_named_with_both_shards(curate, tmp_path):
    write_parquet(tmp_path / "in/a.parquet", TEXTS[:2], pa.string(), tags=pa.array([["x"], ["y"]]))
    write_parquet(tmp_path / "in/b.parquet", TEXTS[2:4], pa.string(), tags=[1, 2])
    done = curate("run", write_recipe(tmp_path, tmp_path / "in"))
    assert done.code == 1
    assert "column tags is " in done.errors[0]
    assert "a.parquet" in done.errors[0] and "b.parquet" in done.errors[0]


def test_a_changed_shard_is_the_only_one_measured_again(curate, tmp_path):
    for index in range(3):
        write_parquet(tmp_path / f"in/{index}.parquet", TEXTS[index * 10 : index * 10 + 10], pa.string())
    recipe = write_recipe(tmp_path, tmp_path / "in")
    curate("run", recipe)
    write_parquet(tmp_path / "in/1.parquet", TEXTS[30:], pa.string())
    timing = curate("measure", recipe, "--json").value
    assert (timing["num_tasks"], timing["num_cached"]) == (1, 2)
    assert curate("run", recipe).code == 0
    out = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert out["text"].to_list() == [*TEXTS[:10], *TEXTS[30:], *TEXTS[20:30]]


def test_a_shard_that_changes_between_plan_and_write_is_refused_by_name(tmp_path):
    path = write_parquet(tmp_path / "in/a.parquet", TEXTS, pa.string())
    session = Session(load_recipe(write_recipe(tmp_path, path)))
    measure(session)
    resolve(session)
    decided = plan(session)
    write_parquet(path, [*TEXTS, "one more"], pa.string())
    with pytest.raises(DataError, match=r"a\.parquet changed after it was listed"):
        deliver(session, decided)
    assert not (tmp_path / "out" / "_manifest.json").exists()


# Folders and versions


def test_a_run_of_another_store_is_refused(curate, tmp_path):
    path = write_parquet(tmp_path / "in/a.parquet", TEXTS, pa.string())
    curate("run", write_recipe(tmp_path, path))
    done = curate("run", write_recipe(tmp_path, path), "--set", f"store={tmp_path}/other")
    assert done.code == 1
    assert "run.json has another store than the recipe: '../store' and '../other'" in done.errors[0]
    assert done.errors[1] == "hint: give the run another folder, or remove it"


@pytest.mark.parametrize(
    "name",
    [
        "run/run.json",
        "store/store.json",
        "run/current.json",
        "run/plans/*/plan.json",
        "store/columns/*/pass.json",
    ],
)
def test_an_unknown_version_is_refused_by_name(curate, tmp_path, name):
    path = write_parquet(tmp_path / "in/a.parquet", TEXTS, pa.string())
    curate("run", write_recipe(tmp_path, path))
    (found,) = tmp_path.glob(name)
    found.write_text(json.dumps({**json.loads(found.read_text()), "format": 99}))
    done = curate("explain", tmp_path / "run", "a.parquet:0")
    assert done.code == 1
    assert "format 99, this version reads" in done.errors[0]
    assert found.name in done.errors[0] or found.parent.name in done.errors[0]


@pytest.mark.parametrize("key", ["run", "store", "output.path"])
def test_a_folder_that_cannot_be_made_is_named(curate, tmp_path, key):
    path = write_parquet(tmp_path / "in/a.parquet", TEXTS, pa.string())
    (tmp_path / "file").write_text("in the way")
    done = curate("run", write_recipe(tmp_path, path), "--set", f"{key}={tmp_path}/file/below")
    assert done.code == 1 and f"{tmp_path}/file" in done.errors[0] and len(done.errors) == 1


def without_power() -> list[str]:
    """What starts a command under which root, too, obeys the permissions of files."""
    if os.geteuid() != 0:
        return []
    start = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]
    if shutil.which("setpriv") is None or subprocess.run([*start, "true"], check=False).returncode != 0:
        pytest.skip("root cannot give up its power over permissions here")
    return start


@pytest.mark.parametrize("key", ["run", "store", "output.path"])
def test_a_folder_without_permission_is_named(tmp_path, key):
    path = write_parquet(tmp_path / "in/a.parquet", TEXTS, pa.string())
    (tmp_path / "closed").mkdir(mode=0o555)
    arguments = ["run", str(write_recipe(tmp_path, path)), "--set", f"{key}={tmp_path}/closed/below"]
    command = [*without_power(), sys.executable, "-m", "curate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Permission denied" in error and f"{tmp_path}/closed" in error


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("full", ["store", "run", "out"])
def test_a_full_disk_is_named_and_nothing_done_is_lost(curate, tmp_path, small_disk, full):
    for index in range(4):
        texts = [os.urandom(30_000).hex() for _ in range(8)] + TEXTS[index * 10 : index * 10 + 10]
        write_parquet(tmp_path / f"in/{index}.parquet", texts, pa.string())
    places = {name: str(tmp_path / name) for name in ("store", "run", "out")} | {full: str(small_disk / full)}
    recipe = write_recipe(
        tmp_path,
        tmp_path / "in",
        run=places["run"],
        store=places["store"],
        plan={"order": "shuffle"},
        output={"path": places["out"], "rows_per_file": 10},
    )
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * ((1 << 20) - (12 << 10)))
    done = curate("run", recipe)
    assert done.code == 1
    (error,) = done.errors
    assert "No space left on device" in error and str(small_disk) in error
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert curate("run", recipe).code == 0
    assert curate("verify", places["run"]).code == 0
    found = {
        name: {
            str(path.relative_to(place)): path.read_bytes()
            for path in Path(place).rglob("*")
            if path.suffix in (".parquet", ".json")
            and path.name not in ("timings.json", "report.json", "shards.json", "run.json")
        }
        for name, place in places.items()
    }
    for place in places.values():
        shutil.rmtree(place)
    assert curate("run", recipe).code == 0
    for name, place in places.items():
        for path, data in found[name].items():
            assert (Path(place) / path).read_bytes() == data, path
