"""The examples run as a reader would run them: real processes, a real kill."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[1]
STEPS = 24


def train_tiny(out: Path, *arguments: object) -> str:
    """Run the example to its end and return what it printed."""
    command = [
        sys.executable,
        ROOT / "examples" / "train_tiny.py",
        "--out",
        out,
        "--steps",
        STEPS,
        *arguments,
    ]
    done = subprocess.run(
        list(map(str, command)),
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(out / "cache"),
            "OMP_NUM_THREADS": "1",
        },
        cwd=out,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def steps(folder: Path) -> list[dict[str, float | str]]:
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def blocks(folder: Path) -> list[dict[str, dict[str, float]]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def test_a_killed_training_goes_on_with_other_processes_and_its_log_gives_every_batch_again(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process against two, killed at step 15, and four that go on from 10 and change plans at 16."""
    said = train_tiny(out, "--mixer", "exp3", "--swap")
    assert "killed after step 14" in said
    assert f"batches: {STEPS} of {STEPS} are the same" in said
    assert f"{STEPS} of {STEPS} batches are the same" in said
    wanted, got = steps(out / "unbroken"), steps(out / "broken")
    assert [line["step"] for line in wanted] == [*range(STEPS)]
    assert [(line["step"], line["processes"]) for line in got] == [
        *((step, 2) for step in range(15)),
        *((step, 4) for step in range(10, STEPS)),
    ]
    assert len({line["hash"] for line in wanted}) == STEPS
    for line in got:
        same = wanted[int(line["step"])]
        assert line["hash"] == same["hash"]
        assert abs(float(line["loss"]) - float(same["loss"])) < 1e-4
    assert float(wanted[-1]["loss"]) < float(wanted[0]["loss"]) - 0.5
    log, again = blocks(out / "unbroken"), blocks(out / "broken")
    assert [block["tokens"] for block in log] == [block["tokens"] for block in again]
    for one, other in zip(log, again, strict=True):
        assert one["weights"] == pytest.approx(other["weights"], abs=1e-5), "losses agree as floats do"
    events = [event for block in again for event in block["events"]]
    assert [event["first_step"] for event in events] == [16]
    assert events[0]["swap"].startswith(f"{out / 'best'}#")
    first, last = log[0]["weights"], log[-1]["weights"]
    assert max(abs(last[pool] - first[pool]) for pool in first) > 0.02, "the losses changed the weights"

    monkeypatch.setenv("XDG_CACHE_HOME", str(out / "cache"))
    last = (out / "unbroken" / "steps.jsonl").read_text().splitlines()[-1]
    with (out / "unbroken" / "steps.jsonl").open("a") as handle:
        handle.write(last.replace('"hash": "', '"hash": "x') + "\n")
    assert not example("train_tiny").replay(out, out / "unbroken" / "log.jsonl"), "the comparison can fail"


@pytest.mark.slow
def test_another_plan_takes_over_and_a_kill_after_that_changes_nothing(out: Path) -> None:
    """The replay of the log is the run without a break: one process, and no model."""
    train_tiny(out, "--swap", "--processes", 2, "--name", "cut", "--kill-at", 22)
    train_tiny(out, "--swap", "--processes", 1, "--workers", 2, "--name", "cut", "--resume")
    lines = steps(out / "cut")
    assert [line["step"] for line in lines] == [*range(22), *range(20, STEPS)]
    for before, after in zip(lines[20:22], lines[22:24], strict=True):
        assert before["hash"] == after["hash"]
        assert abs(float(before["loss"]) - float(after["loss"])) < 1e-4
    events = [event for block in blocks(out / "cut") for event in block["events"]]
    assert [event["first_step"] for event in events] == [16]
    assert events[0]["swap"].startswith(f"{out / 'best'}#")
    said = train_tiny(out, "--replay", out / "cut" / "log.jsonl")
    assert f"{STEPS} of {STEPS} batches are the same" in said
