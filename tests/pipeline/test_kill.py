"""`kill -9` at random moments of `curate run`, then the same command: the bytes of an uninterrupted run."""

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from curate import files
from curate.pipeline import open_run
from tests.pipeline.runs_in_process import empty, make_corpus, make_recipe, start, tree

STEPS = ("measure", "resolve", "plan", "write")
BUCKET_BYTES = 1 << 20
SEED = 5


@dataclass
class Watched:
    """What a run told on stderr, with the moment of each line."""

    process: subprocess.Popen[str]
    lines: list[tuple[float, str]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as pipe:
            for line in pipe:
                with self._changed:
                    self.lines.append((time.monotonic(), line.strip()))
                    self._changed.notify_all()

    def wait(self) -> int:
        """Wait for the end and for the last line; the exit code."""
        code = self.process.wait()
        self._reader.join()
        return code

    def wait_for(self, step: str, *, timeout_s: float = 60) -> bool:
        """Wait until a step begins; False where the run ended before."""
        with self._changed:
            end = time.monotonic() + timeout_s
            while not any(line.startswith(f"{step}:") for _, line in self.lines):
                if self.process.poll() is not None or time.monotonic() > end:
                    return False
                self._changed.wait(0.05)
        return True

    def seconds(self) -> dict[str, float]:
        """How long each step took, from its first line to the first of the next."""
        firsts = [next(at for at, line in self.lines if line.startswith(f"{step}:")) for step in STEPS]
        ends = [*firsts[1:], self.lines[-1][0]]
        return dict(zip(STEPS, (end - first for first, end in zip(firsts, ends, strict=True)), strict=True))

    def step(self) -> str:
        """The step that was at work: the last one that began and did not tell of its end."""
        begun = [line.partition(":")[0] for _, line in self.lines]
        return f"after {begun[-1]}" if begun.count(begun[-1]) > 1 else begun[-1]


@dataclass(frozen=True)
class Reference:
    """An uninterrupted run."""

    recipe: dict[str, Any]
    tree: dict[str, str]
    seconds: dict[str, float]


def uninterrupted(folder: Path, *, num_copies: int) -> Reference:
    make_corpus(folder / "shards", num_copies=num_copies)
    recipe = make_recipe(folder / "shards")
    run = Watched(start(folder / "work", recipe, "--threads", "1", bucket_bytes=BUCKET_BYTES))
    assert run.wait() == 0, run.lines
    found = tree(folder / "work")
    assert len([name for name in found if name.startswith("out/part-")]) > 3
    seconds = run.seconds()
    empty(folder / "work")
    return Reference(recipe, found, seconds)


def kill_and_complete(folder: Path, reference: Reference, *, step: str, delay_s: float) -> str | None:
    """Kill a run, run it again and compare; the step that was killed, None where the run was faster."""
    empty(folder)
    run = Watched(start(folder, reference.recipe, "--threads", "1", bucket_bytes=BUCKET_BYTES))
    if run.wait_for(step):
        time.sleep(delay_s)
    run.process.send_signal(signal.SIGKILL)
    killed = run.wait() == -signal.SIGKILL
    again = Watched(start(folder, reference.recipe, "--threads", "2", bucket_bytes=BUCKET_BYTES))
    assert again.wait() == 0, again.lines
    gc(folder)
    assert not [path for path in folder.rglob("*") if files.is_temporary(path.name)]
    assert not [path for path in (folder / "run").rglob("scratch/*")]
    assert tree(folder) == reference.tree, f"killed in {run.step()} after {delay_s:.3f} s of {step}"
    return run.step() if killed else None


def gc(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        open_run("run").gc(grace_s=0)


def kill_rounds(folder: Path, reference: Reference, count: int) -> Counter[str]:
    """Kill `count` runs, each at a random moment of a step, the steps in turn; how many died in which step.

    How long a step takes varies with what else the machine does: where the kill came after its step, later
    ones come earlier.
    """
    rng = random.Random(SEED)
    seconds, landed = dict(reference.seconds), Counter[str]()
    for number in range(3 * count):
        step = STEPS[number % len(STEPS)]
        delay_s = rng.uniform(0, seconds[step])
        where = kill_and_complete(folder / "work", reference, step=step, delay_s=delay_s)
        if where != step:
            seconds[step] = max(delay_s, 0.01)
        landed[where or "too late"] += 1
        if landed.total() - landed["too late"] == count:
            break
    print(f"kills by step: {dict(landed)}; seconds of the steps: {seconds}")
    return landed


@pytest.mark.timeout(600)
def test_a_run_that_was_killed_in_any_step_is_completed_with_the_same_bytes(tmp_path: Path) -> None:
    landed = kill_rounds(tmp_path, uninterrupted(tmp_path, num_copies=2), 8)
    assert landed.total() - landed["too late"] == 8
    assert len(landed.keys() & set(STEPS)) >= 3, landed


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_fifty_kills_over_the_whole_run_change_no_byte(tmp_path: Path) -> None:
    landed = kill_rounds(tmp_path, uninterrupted(tmp_path, num_copies=5), 50)
    assert landed.total() - landed["too late"] == 50
    assert all(landed[step] for step in STEPS), landed
