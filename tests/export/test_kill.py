"""`kill -9` at random moments of `curate export`, then the same command: the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from curate.files import is_temporary
from curate.pipeline import OpenRun
from tests.export.corpus import file_bytes

SEED = 7
POOLS = ("books", "database_docs", "peps", "udhr")
TARGETS = {
    "megatron": [],
    "olmo": [],
    "mds": ["--seq-len", "333", "--compression", "zstd"],
    "hf": [],
}


def start(run: OpenRun, tokenizer: Path, folder: Path, to: str) -> "subprocess.Popen[str]":
    """Start an export to `out` in a folder; its progress is on the pipe of stderr."""
    command = [sys.executable, "-m", "curate", "export", run.path, "--to", to, "--output", folder / "out"]
    command += [option for pool in POOLS for option in ("--pool", pool)]
    command += ["--max-file-bytes", "4KB" if to == "mds" else "32KB", "--threads", "1", *TARGETS[to]]
    if to != "hf":
        command += ["--tokenizer", tokenizer]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def wait_for_work(process: "subprocess.Popen[str]") -> None:
    """Wait until the export tells that it begins to write."""
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("export: "), line


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for the end of an export that has to be good; what it told."""
    _, told = process.communicate()
    assert process.returncode == 0, told
    return str(told)


def kill_rounds(run: OpenRun, tokenizer: Path, folder: Path, to: str, count: int) -> dict[str, Any]:
    """Kill `count` exports at random moments and complete each; how many were killed before they ended."""
    rng = random.Random(SEED)
    process = start(run, tokenizer, folder, to)
    wait_for_work(process)
    began = time.monotonic()
    finish(process)
    seconds = time.monotonic() - began
    expected = dict(file_bytes(folder / "out"))
    landed = partial = 0
    for _ in range(count):
        shutil.rmtree(folder / "out")
        process = start(run, tokenizer, folder, to)
        wait_for_work(process)
        time.sleep(rng.uniform(0, seconds))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        landed += process.returncode == -signal.SIGKILL
        partial += any((folder / "out" / "_curate" / "commits").glob("*.json"))
        left = {name for name, _ in file_bytes(folder / "out") if not name.startswith("_curate/")}
        assert left <= expected.keys()
        finish(start(run, tokenizer, folder, to))
        assert not [path for path in (folder / "out").rglob("*") if is_temporary(path.name)]
        assert dict(file_bytes(folder / "out")) == expected
    return {"landed": landed, "partial": partial, "seconds": seconds}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("to", ["megatron", "hf"])
def test_a_killed_export_is_completed_with_the_same_bytes(
    run: OpenRun, tokenizer: Path, tmp_path: Path, to: str
) -> None:
    found = kill_rounds(run, tokenizer, tmp_path, to, 2)
    assert found["landed"], found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("to", TARGETS)
def test_twenty_kills_change_no_byte(run: OpenRun, tokenizer: Path, tmp_path: Path, to: str) -> None:
    found = kill_rounds(run, tokenizer, tmp_path, to, 20)
    print(to, found)
    assert found["landed"] >= 10, found
    assert found["partial"] >= 5, found
