"""The command line over the sample: what is printed where, exit codes, what a failure looks like."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from curate.pipeline import openrun

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample"


def write_recipe(folder: Path, **changes: Any) -> Path:
    """Write a recipe over one shard of the sample, with everything below `folder`."""
    recipe = {
        "input": {"paths": f"{SAMPLE}/part-0.parquet"},
        "measure": ["heuristics", "tokens"],
        "filter": [{"preset": "gopher", "where": "lang = 'en'"}],
        "dedup": {"exact": {"keep": "first"}},
        "plan": {"pools": {"by": "source"}, "budget": "0.6"},
        "output": {"path": str(folder / "out")},
        "run": str(folder / "run"),
        "store": str(folder / "store"),
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and its finished run, for verbs that only read."""
    folder = tmp_path_factory.mktemp("home")
    path = write_recipe(folder)
    done = subprocess.run(
        [sys.executable, "-m", "curate", "run", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is printed where


def test_run_prints_the_summary_on_stdout_and_progress_on_stderr(curate, tmp_path):
    done = curate("run", write_recipe(tmp_path), "--threads", 1, "--memory", "512MiB")
    assert done.code == 0
    assert re.search(r"documents +[\d,]+ +kept [\d,]+", done.out)
    assert f"report: {tmp_path}/run/report.html" in done.out
    assert re.search(r"measure: .* MB of text in .* MB/s", done.err) and "write: " in done.err
    assert (tmp_path / "run" / "report.html").is_file()
    assert list((tmp_path / "out").glob("*.parquet"))


def test_json_is_one_object_on_stdout(curate, tmp_path):
    done = curate("run", write_recipe(tmp_path), "--json", "--no-write")
    totals = done.value["totals"]
    assert totals["num_docs"] == totals["kept_docs"] + sum(
        item["first"] for item in done.value["reasons"].values()
    )
    assert not (tmp_path / "out").exists()


def test_quiet_prints_nothing_on_stderr(curate, tmp_path):
    done = curate("plan", write_recipe(tmp_path), "--quiet")
    assert (done.code, done.err) == (0, "")


def test_set_overrides_a_key_of_the_recipe(curate, tmp_path):
    path = write_recipe(tmp_path)
    less = curate("plan", path, "--json", "--set", "plan.budget=0.1", "--set", "plan.pools.by=null")
    more = curate("plan", path, "--json")
    assert less.value["totals"]["planned_tokens"] < more.value["totals"]["planned_tokens"]
    assert less.value["plan"] != more.value["plan"]


# The steps alone


def test_the_steps_one_by_one_give_what_run_gives(curate, home, tmp_path):
    path = write_recipe(tmp_path)
    for part in ("1/2", "2/2"):
        done = curate("measure", path, "--part", part)
        assert done.code == 0 and done.out.startswith("measured ")
    assert curate("measure", path, "--json").value["num_tasks"] == 0
    assert curate("dedup", path, "--json").value["step"] == "resolve"
    assert curate("dedup", path).out.startswith("resolved 0 artefacts, 1 were done already\n")
    planned = curate("plan", path, "--json")
    assert not (tmp_path / "out").exists()
    assert curate("write", path, "--json").value["plan"] == planned.value["plan"]
    assert files(tmp_path / "out") == files(home / "out")
    assert planned.value["plan"] == (json.loads((home / "run" / "current.json").read_text()))["plan"]


# Dry run


def test_a_dry_run_writes_nothing_but_the_cache_of_shards(curate, tmp_path):
    path = write_recipe(tmp_path)
    done = curate("run", path, "--dry-run")
    assert done.code == 0
    assert {str(item.relative_to(tmp_path)) for item in tmp_path.rglob("*") if item.is_file()} <= {
        "recipe.yaml",
        "store/shards.json",
    }
    for word in ("corpus", "measure", "resolve", "plan", "write", "time", "memory", "scratch"):
        assert re.search(rf"^{word} ", done.out, re.MULTILINE), word
    assert "heuristics: 1 of 1 pieces not in the store: not begun" in done.out


def test_a_dry_run_says_what_is_cached_and_why_not(curate, home, tmp_path):
    for name in ("run", "store", "out"):
        shutil.copytree(home / name, tmp_path / name)
    path = write_recipe(tmp_path)
    before = files(tmp_path)
    all_cached = curate("run", path, "--dry-run", "--json").value
    assert all_cached["bytes_to_measure"] == 0 and all_cached["missing"].keys() == {
        "input",
        "identity",
        "document",
        "heuristics",
        "tokens",
    }
    assert all(what.startswith("cached") for what in all_cached["steps"].values())
    budget = curate("run", path, "--dry-run", "--json", "--set", "plan.budget=0.5").value["steps"]
    assert budget["resolve"] == "cached" and budget["plan"].startswith("to do")
    words = curate("run", path, "--dry-run", "--set", "measure.heuristics.words=datatrove-en")
    assert "heuristics: 1 of 1 pieces not in the store: measured with other settings only" in words.out
    added = curate("run", path, "--dry-run", "--set", f"input.paths={SAMPLE}/*.parquet")
    assert "heuristics: 2 of 3 pieces not in the store: new, changed or not finished are part-1.parquet" in (
        added.out
    )
    assert {name: data for name, data in files(tmp_path).items() if name != "store/shards.json"} == {
        name: data for name, data in before.items() if name != "store/shards.json"
    }


# Verbs that read


def test_status_says_what_is_done(curate, home):
    state = curate("status", home / "run", "--json").value
    assert state["measured"] == state["pieces"] == state["shards"] == 1
    assert state["quarantined"] == {}
    assert "measured: 1" in curate("status", home / "run").out


def test_verify_finds_nothing_wrong_with_a_good_run(curate, home):
    done = curate("verify", home / "run", "--json")
    assert done.code == 0 and done.value["problems"] == [] and done.value["num_checked"] > 5
    assert "the ledger adds up" in curate("verify", home / "run", "--size-only").out


def test_verify_exits_with_4_and_names_what_is_damaged(curate, home, tmp_path):
    for name in ("run", "store", "out"):
        shutil.copytree(home / name, tmp_path / name)
    path = next((tmp_path / "store" / "columns").rglob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = curate("verify", tmp_path / "run")
    assert done.code == 4 and path.name in done.out
    assert curate("verify", tmp_path / "run", "--size-only").code == 0


def test_explain_takes_a_place_an_id_and_a_hash(curate, home):
    by_place = curate("explain", home / "run", "part-0.parquet:3", "--json").value
    (item,) = by_place
    assert (item["shard"], item["row"]) == ("part-0.parquet", 3)
    assert item in curate("explain", home / "run", f"id:{item['id']}", "--json").value
    assert item in curate("explain", home / "run", f"doc:{item['doc_id']}", "--json").value
    assert "verdict " in curate("explain", home / "run", f"doc:{item['doc_id'][:9]}").out


def test_explain_of_no_document_is_an_error(curate, home):
    done = curate("explain", home / "run", "id:none")
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"error: no document of .* is meant by: id:none\n", done.err)
    assert curate("explain", home / "run", "what").code == 2


def test_report_prints_the_path_or_the_report_itself(curate, home):
    assert curate("report", home / "run").out == f"{home / 'run' / 'report.html'}\n"
    assert curate("report", home / "run", "--json").value["plan"]


def test_gc_removes_what_nothing_commits(curate, home):
    stray = home / "store" / "columns" / ".stray.parquet.tmp-0123"
    stray.write_bytes(b"x")
    assert curate("gc", home / "run").out == "removed 0 files\n"
    assert curate("gc", home / "run", "--grace", 0, "--json").value["removed"] == [str(stray)]
    assert not stray.exists() and curate("verify", home / "run").code == 0


def test_a_run_is_read_from_any_folder(curate, tmp_path, monkeypatch):
    shutil.copy(SAMPLE / "part-0.parquet", tmp_path / "a.parquet")
    (tmp_path / "r.yaml").write_text("input: {paths: a.parquet}\noutput: {path: out}\n")
    monkeypatch.chdir(tmp_path)
    assert curate("run", "r.yaml").code == 0
    monkeypatch.chdir(tmp_path / "runs" / "r")
    for arguments in (["status", "."], ["verify", "."], ["explain", ".", "a.parquet:0"], ["report", "."]):
        assert curate(*arguments).code == 0
    (tmp_path / "runs" / "store").rename(tmp_path / "runs" / "other")
    done = curate("status", ".")
    assert done.code == 1 and "the store of . is not there" in done.err
    assert not (tmp_path / "runs" / "store").exists()


# Recipes


def test_init_writes_a_recipe_that_runs(curate, tmp_path, monkeypatch):
    text = curate("init", SAMPLE / "part-0.parquet").out
    (tmp_path / "made.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    done = curate("run", "made.yaml", "--dry-run", "--json")
    assert done.code == 0 and done.value["num_shards"] == 1


def test_config_show_prints_every_default_and_reads_back(curate, tmp_path):
    path = write_recipe(tmp_path)
    text = curate("config", "show", path, "--set", "max_bad=0.5").out
    assert yaml.safe_load(text)["max_bad"] == 0.5
    again = tmp_path / "again.yaml"
    again.write_text(text)
    assert curate("config", "show", again).out == text


def test_config_schema_is_a_json_schema(curate):
    schema = curate("config", "schema").value
    assert {"input", "measure", "filter", "dedup", "plan", "output"} <= schema["properties"].keys()


def test_doctor_names_the_versions(curate):
    assert curate("doctor", "--json").value["native extension"].startswith("release")
    assert re.search(r"^polars +\d", curate("doctor").out, re.MULTILINE)


def test_version_and_help(curate):
    assert re.fullmatch(r"curate \d+\.\d+\.\d+\n", curate("--version").out)
    for arguments in (["--help"], ["-h"], ["run", "--help"], ["config", "-h"]):
        done = curate(*arguments)
        assert done.code == 0 and "Usage: curate" in done.out and done.err == ""


# Failures


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["runn"], "No such command 'runn'", "curate --help"),
        (["run"], "Missing argument 'RECIPE'", "curate run --help"),
        (["run", "none.yaml"], "'none.yaml' does not exist", "curate run --help"),
        (["run", "{recipe}", "--speed", "3"], "No such option: --speed", "curate run --help"),
        (["run", "{recipe}", "--threads", "0"], "'--threads'", "curate run --help"),
        (["run", "{recipe}", "--memory", "lots"], "a size is a number with", None),
        (["run", "{recipe}", "--memory", "1MiB"], "--memory must be at least 128MiB: 1MiB", None),
        (["measure", "{recipe}", "--part", "3/2"], "--part is i/n with 1 <= i <= n: 3/2", None),
        (["run", "{recipe}", "--set", "plan.budgt=1"], "plan.budgt is not a known key, did you mean", None),
        (["run", "{recipe}", "--set", "budget"], "an override is written key.path=value: budget", None),
        (["run", "{recipe}", "--set", "input.paths=/none/*.parquet"], "no files match /none/", "a folder"),
        (["run", "{recipe}", "--set", "filter.0.where=lnag = 'en'"], "lnag", None),
        (["status", "nothing"], "not a run, it has no run.json: nothing", None),
        (["config", "show", "{recipe}", "--set", "max_bad=2"], "max_bad: ", None),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(curate, tmp_path, arguments, error, hint):
    recipe = write_recipe(tmp_path)
    done = curate(*[argument.format(recipe=recipe) for argument in arguments])
    lines = done.errors
    assert done.code == 2 and done.out == ""
    assert lines[0].startswith("error: ") and error in lines[0]
    assert len(lines) == 1 or lines[1].startswith("hint: ")
    assert hint is None or hint in lines[1]


def test_a_command_alone_prints_its_help_and_exits_with_2(curate):
    for arguments in ([], ["config"]):
        done = curate(*arguments)
        assert done.code == 2 and "Usage: curate" in done.out and "error" not in done.err


def test_several_wrong_keys_are_all_named_in_one_line(curate, tmp_path):
    done = curate("run", write_recipe(tmp_path, budget=1, outptu={}), "--quiet")
    assert done.code == 2
    assert done.err.count("\n") == 1 and "budget is not" in done.err and "did you mean `output`" in (done.err)


def test_a_traceback_is_shown_with_debug_only(curate, tmp_path):
    path = write_recipe(tmp_path)
    without = curate("run", path, "--set", "nothing=1")
    assert without.code == 2 and "Traceback" not in without.err
    shown = curate("run", path, "--set", "nothing=1", "--debug")
    assert shown.code == 2 and "Traceback" in shown.err and shown.err.endswith(without.err)


def test_the_unexpected_is_a_line_too(curate, home, monkeypatch):
    def broken(self: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(openrun.OpenRun, "status", broken)
    done = curate("status", home / "run")
    assert (done.code, done.err) == (
        1,
        "error: ZeroDivisionError: of all things\nhint: --debug shows where\n",
    )


def test_a_run_that_another_process_writes_is_refused(curate, tmp_path):
    path = write_recipe(tmp_path)
    curate("plan", path)
    from curate.runs import Run

    with Run(tmp_path / "run").lock():
        done = curate("run", path)
    assert done.code == 1 and f"in use by process {os.getpid()}" in done.err


# Processes


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **options
    )


@pytest.mark.parametrize("after", ["measure: ", "plan: "])
def test_an_interrupt_exits_with_130_and_the_rerun_gives_the_same(curate, home, tmp_path, after):
    frame = pl.read_parquet(SAMPLE / "part-0.parquet")
    big = tmp_path / "big.parquet"
    pl.concat([frame] * 8).write_parquet(big, row_group_size=500)
    path = write_recipe(tmp_path, input={"paths": str(big)}, filter=[])
    process = start("run", path)
    assert process.stderr is not None
    with process, process.stderr as stderr:
        next(line for line in stderr if line.startswith(after))
        process.send_signal(signal.SIGINT)
        err = stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.endswith(
        "error: interrupted; what was committed stays\nhint: run the same command again to go on\n"
    )
    assert curate("run", path).code == 0
    made = files(tmp_path / "out")
    for name in ("out", "run", "store"):
        shutil.rmtree(tmp_path / name)
    assert curate("run", path).code == 0
    assert files(tmp_path / "out") == made


def test_a_reader_that_leaves_is_no_error_message(home):
    process = start("report", home / "run", "--json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    with process:
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_no_color_and_pipes_get_plain_text(home):
    environment = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": ""}
    for arguments in (["--help"], ["status", home / "run"]):
        out, err = start(*arguments, env=environment).communicate(timeout=60)
        assert "\x1b" not in out + err


def test_help_and_import_are_quick():
    code = "import curate, curate.cli, sys; print([m for m in ('polars', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
    times = []
    for _ in range(3):
        started = os.times().children_user
        subprocess.run([sys.executable, "-m", "curate", "--help"], capture_output=True, check=True, cwd=ROOT)
        times.append(os.times().children_user - started)
    assert min(times) < 0.6
