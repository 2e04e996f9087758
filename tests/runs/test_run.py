"""The run: versions, the store it belongs to, the lock, scratch, the current plan."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curate import files
from curate.errors import DataError, StateError
from curate.runs import Output, Run, Task, quarantine_path


def test_a_run_remembers_its_store_and_refuses_another(tmp_path: Path) -> None:
    Run(tmp_path / "web", store="../store")
    assert Run(tmp_path / "web").store == "../store"
    assert Run(tmp_path / "web", store="../store").store == "../store"
    record = files.read_json(tmp_path / "web" / "run.json")
    assert record["created_by"].startswith("curate ")
    with pytest.raises(StateError, match=r"another store than the recipe: '../store' and '/elsewhere'"):
        Run(tmp_path / "web", store="/elsewhere")


def test_a_run_that_is_not_there_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Run(tmp_path / "web")
    assert not (tmp_path / "web").exists()


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({"format": 2, "store": "s"}, StateError, "has format 2, this version reads 1"),
        ({"store": "s"}, DataError, "has no format version"),
        ({"format": 1}, DataError, "names no store"),
    ],
)
def test_a_run_of_an_unknown_version_is_refused_by_name(
    tmp_path: Path, record: object, error: type[Exception], message: str
) -> None:
    files.replace_json(tmp_path / "run.json", record)
    with pytest.raises(error, match=message):
        Run(tmp_path)


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path, store="s")
    code = (
        "import sys; from pathlib import Path; from curate.runs import Run\n"
        "with Run(Path(sys.argv[1])).lock(): print(1)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with run.lock():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"StateError: {tmp_path} is in use by process {os.getpid()}" in done.stderr
        with pytest.raises(StateError, match="is in use by process"), Run(tmp_path).lock():
            pass
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"1\n"


def test_a_lock_ends_with_the_process_that_was_killed(tmp_path: Path) -> None:
    Run(tmp_path, store="s")
    code = (
        "import os, sys, signal; from pathlib import Path; from curate.runs import Run\n"
        "with Run(Path(sys.argv[1])).lock(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    with Run(tmp_path).lock():
        pass


def test_scratch_is_empty_when_a_command_starts_and_after_it(tmp_path: Path) -> None:
    run = Run(tmp_path, store="s")
    (run.scratch / "left").write_bytes(b"by a killed process")
    with pytest.raises(KeyboardInterrupt), run.lock():
        assert list(run.scratch.iterdir()) == []
        (run.scratch / "folder").mkdir()
        (run.scratch / "folder" / "spilled").write_bytes(b"x")
        raise KeyboardInterrupt
    assert not (tmp_path / "scratch").exists()


def test_a_scratch_folder_that_is_a_link_is_not_emptied(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", store="s")
    (tmp_path / "precious").mkdir()
    (tmp_path / "run" / "scratch").symlink_to(tmp_path / "precious")
    with pytest.raises(StateError, match="not followed"), run.lock():
        pass
    assert (tmp_path / "precious").is_dir()


def write_plan(output: Output) -> None:
    output.write(b"{}")


def test_the_current_plan_is_one_that_exists(tmp_path: Path) -> None:
    run = Run(tmp_path, store="s")
    assert run.current_plan is None
    with pytest.raises(StateError, match="has no plan abc"):
        run.set_current_plan("abc")
    for plan in ("abc", "def"):
        run.write(Task(step="plan", name=plan), {f"plans/{plan}/plan.json": write_plan})
        run.set_current_plan(plan)
        assert Run(tmp_path).current_plan == plan
    assert run.verify() == []
    (run.plan_folder("def") / "plan.json").unlink()
    assert [problem.path for problem in run.verify()] == ["plans/def/plan.json", "current.json"]


@pytest.mark.parametrize("plan", ["../../etc", "/etc", "a/../.."])
def test_a_current_plan_outside_the_run_is_refused(tmp_path: Path, plan: str) -> None:
    run = Run(tmp_path, store="s")
    files.replace_json(tmp_path / "current.json", {"format": 1, "plan": plan})
    with pytest.raises(StateError, match="relative"):
        _ = run.current_plan


def test_the_recipe_is_replaced_whole(tmp_path: Path) -> None:
    run = Run(tmp_path, store="s")
    run.write_recipe("a: 1\n")
    assert run.write_recipe("a: \u00e9\n").read_bytes() == b"a: \xc3\xa9\n"


def test_bad_rows_of_a_piece_are_listed_in_one_file() -> None:
    assert quarantine_path("0123") == "quarantine/0123.parquet"
