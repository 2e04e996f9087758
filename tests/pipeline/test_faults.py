"""Whatever call fails in a run, the same command ends with the bytes of an uninterrupted run."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import curate
from curate import files
from tests.pipeline.runs_in_process import make_corpus, make_recipe, tree

CALLS = ("fsync", "replace", "link", "unlink", "mkdir")
MIN_FAULTS = 150
"""A run has more calls that can fail than this."""


class Countdown:
    """Makes the n-th of the watched calls fail, once."""

    def __init__(self, fail_at: int) -> None:
        self.left = fail_at

    def watch(self, call: Callable[..., object]) -> Callable[..., object]:
        def watched(*args: object, **kwargs: object) -> object:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*args, **kwargs)

        return watched


def run_with_fault(recipe: dict[str, Any], fail_at: int) -> int:
    """Run with the n-th call failing; how many calls were left over, 0 or less where it failed."""
    countdown = Countdown(fail_at)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, countdown.watch(getattr(os, name)))
        patch.setattr(files, "_open_new", countdown.watch(files._open_new))
        try:
            curate.run(recipe, num_threads=1)
        except OSError as exc:
            assert exc.errno == errno.ENOSPC
    return max(0, countdown.left)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recipe over few documents, run in a folder of its own."""
    make_corpus(tmp_path / "shards", num_copies=1, max_rows=40)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    recipe = make_recipe(tmp_path / "shards")
    recipe["output"]["rows_per_file"] = 20
    return recipe


def faults(step: int) -> Iterator[int]:
    """Every n-th call."""
    yield from range(1, 5000, step)


def break_and_complete(recipe: dict[str, Any], work: Path, *, step: int) -> int:
    """Break a new run at every `step`-th call and complete it; how many calls a run has, about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        curate.run(recipe, num_threads=1)
    expected = tree(work)
    for fail_at in faults(step):
        for path in work.iterdir():
            shutil.rmtree(path)
        if run_with_fault(recipe, fail_at):
            break
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: None)  # the second start is about logic, not disks
            run = curate.run(recipe, num_threads=1)
        assert run.verify()[0] == [], f"call {fail_at}"
        run.gc(grace_s=0)
        assert tree(work) == expected, f"call {fail_at}"
    return fail_at


def test_whatever_call_of_a_run_fails_the_same_command_completes_it(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    assert break_and_complete(recipe, tmp_path / "work", step=17) > MIN_FAULTS


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_single_call_of_a_run_may_fail(recipe: dict[str, Any], tmp_path: Path) -> None:
    assert break_and_complete(recipe, tmp_path / "work", step=1) > MIN_FAULTS
