"""Ctrl-C between tasks, shards that moved, and what a run keeps to its owner."""

import json
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import curate
from curate.errors import ConfigError
from curate.pipeline import Limits, Session, Silent, Stop, load_recipe, run_steps
from tests.reference.tokens import train_word_piece

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample"


class StopAfterOne(Silent):
    """Asks to stop when the first task of a step is done; keeps what it is warned of."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.warnings: list[str] = []

    def advance(self, *, num_bytes: int = 0, num_tasks: int = 0) -> None:
        if num_tasks:
            self.stop.ask()

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_asked_to_stop_the_task_at_hand_is_finished_and_no_other_begins(recipe: dict[str, Any]) -> None:
    stop = Stop()
    session = Session(load_recipe(recipe), limits=Limits(), progress=StopAfterOne(stop), stop=stop)
    with pytest.raises(KeyboardInterrupt):
        run_steps(session)
    state = curate.open_run(recipe["run"]).status()
    assert (state["measured"], state["plan"]) == (1, None) and state["pieces"] > 1
    run = curate.run(recipe)
    assert run.session.timings[0].num_cached == 1


def test_the_first_signal_asks_and_the_second_interrupts() -> None:
    code = (
        "import os, signal, sys; from curate.pipeline import Stop\n"
        "stop, told = Stop(), []\n"
        "stop.listen(told.append)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "try: stop.check()\n"
        "except KeyboardInterrupt: print('asked', len(told))\n"
        "try: os.kill(os.getpid(), signal.SIGINT); signal.pause()\n"
        "except KeyboardInterrupt: print('interrupted', len(told))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.split("\n")[:2] == ["asked 1", "interrupted 1"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_moved_shards_are_found_where_they_are_now(recipe: dict[str, Any], tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    for path in SAMPLE.glob("*.parquet"):
        shutil.copy(path, old)
    recipe["input"]["paths"] = f"{old}/*.parquet"
    before = curate.run(recipe).plan()
    old.rename(new)
    with pytest.raises(ConfigError, match="no files match"):
        curate.open_run(recipe["run"]).status()
    run = curate.open_run(recipe["run"], relocate={str(old): str(new)})
    assert run.status()["measured"] == run.status()["pieces"]
    assert run.verify()[0] == []
    assert run.plan().equals(before)
    with pytest.raises(ConfigError, match="no input of the run lies below"):
        curate.open_run(recipe["run"], relocate={str(tmp_path / "ol"): str(new)})


def test_a_recipe_with_the_keys_of_a_store_is_readable_by_its_owner_alone(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    def mode() -> int:
        return stat.S_IMODE((Path(recipe["run"]) / "recipe.yaml").stat().st_mode)

    curate.measure(recipe)
    assert mode() & 0o044
    recipe["output"]["storage_options"] = {"secret": "s3cret"}
    curate.measure(recipe)
    assert mode() == 0o600


def test_a_slow_tokenizer_is_warned_of_and_found_from_any_folder(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = pl.read_parquet(SAMPLE / "part-0.parquet")["text"].drop_nulls().to_list()
    train_word_piece(texts[:200]).save(str(tmp_path / "tokenizer.json"))
    monkeypatch.chdir(tmp_path)
    recipe["measure"] = ["heuristics", {"tokens": {"tokenizer": "tokenizer.json", "sample_frac": 0.01}}]
    watcher = StopAfterOne(Stop())
    run_steps(Session(load_recipe(recipe), limits=Limits(), progress=watcher), write=False)
    assert len(watcher.warnings) == 1 and "not counted natively" in watcher.warnings[0]
    monkeypatch.chdir(ROOT)
    run = curate.open_run(recipe["run"])
    assert run.status()["measured"] == run.status()["pieces"]
    saved = run.session.recipe.measure[1]
    assert json.dumps(saved).count(str(tmp_path / "tokenizer.json")) == 1
