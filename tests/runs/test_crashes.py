"""All or nothing: failing calls, a lost page cache and SIGKILL at any moment leave a ledger that goes on."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curate import files
from curate.runs import Ledger, Output, Run, Store, Task

NUM_TASKS = 3


def task_of(number: int) -> Task:
    return Task(step="resolve", name=f"part-{number}")


def writer_of(number: int) -> Callable[[Output], int]:
    def write(output: Output) -> int:
        for _ in range(3):
            output.write(bytes([number]) * 40_000)
        return 3

    return write


def work(root: Path) -> None:
    """Do every task that is not done, as a command does when it is started again."""
    run = Run(root, store="store")
    tasks = [task_of(number) for number in range(NUM_TASKS)]
    for number, task in enumerate(tasks):
        if run.lookup(task) is None:
            names = [f"resolve/part-{number}/{letter}.bin" for letter in "ab"]
            run.write(task, dict.fromkeys(names, writer_of(number)), meta={"number": number})
    commits = [commit for task in tasks if (commit := run.lookup(task)) is not None]
    run.close_step("resolve", commits)
    run.write(Task(step="plan", name="plan"), {"plans/abc/plan.json": writer_of(9)})
    run.set_current_plan("abc")


def content(root: Path) -> dict[str, bytes]:
    """Every file but temporary ones, damaged records and the lock."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not files.is_temporary(path.name)
        if "damaged" not in path.parts and path.name != ".lock"
    }


def check(root: Path) -> None:
    """No record names a missing or wrong file."""
    if (root / "run.json").exists():
        assert Run(root).verify("hash") == []


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("expected")
    work(root)
    return content(root)


class Countdown:
    """Makes the n-th of the watched calls fail, once."""

    def __init__(self, fail_at: int) -> None:
        self.left = fail_at

    def tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def watch(self, call: Callable[..., object]) -> Callable[..., object]:
        def watched(*args: object, **kwargs: object) -> object:
            self.tick()
            return call(*args, **kwargs)

        return watched


def inject(patch: pytest.MonkeyPatch, countdown: Countdown) -> None:
    for name in ("fsync", "replace", "link", "unlink", "mkdir"):
        patch.setattr(os, name, countdown.watch(getattr(os, name)))
    patch.setattr(files, "_open_new", countdown.watch(files._open_new))
    patch.setattr(files.NewFile, "write", countdown.watch(files.NewFile.write))


def faults() -> Iterator[int]:
    """Count up until `run_with_fault` says that no fault fired."""
    yield from range(1, 1000)


def run_with_fault(root: Path, fail_at: int) -> bool:
    """Work with the n-th call failing; False where the work was done before that call."""
    with pytest.MonkeyPatch.context() as patch:
        countdown = Countdown(fail_at)
        inject(patch, countdown)
        try:
            work(root)
        except OSError as exc:
            assert exc.errno == errno.ENOSPC
    return countdown.left <= 0


@pytest.mark.slow
def test_whatever_call_fails_no_record_lies_and_the_same_command_ends_with_the_same_bytes(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    num_faults = 0
    for fail_at in faults():
        root = tmp_path / str(fail_at)
        if not run_with_fault(root, fail_at):
            break
        num_faults += 1
        check(root)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: None)  # the second start is about logic, not disks
            work(root)
        assert content(root) == expected
        Run(root).gc(grace_s=0)
        assert not [path for path in root.rglob("*") if files.is_temporary(path.name)]
        assert content(root) == expected
    assert num_faults > 60


@pytest.mark.slow
def test_repairing_a_damaged_commit_survives_every_fault(tmp_path: Path, expected: dict[str, bytes]) -> None:
    pristine = tmp_path / "pristine"
    work(pristine)
    for fail_at in faults():
        root = tmp_path / str(fail_at)
        shutil.copytree(pristine, root)
        (root / "resolve/part-1/a.bin").write_bytes(b"cut")
        (root / "resolve/part-2/b.bin").unlink()
        if not run_with_fault(root, fail_at):
            break
        work(root)
        assert content(root) == expected
        check(root)
    assert fail_at > 20


class Disk:
    """A disk that keeps only what was synced: content of synced files, names in synced folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.content: dict[int, bytes] = {}
        self.names: dict[int, dict[str, tuple[int, bool]]] = {}
        self.copies = 0

    def sync(self, descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}")
        inode = os.fstat(descriptor).st_ino
        if target.is_dir():
            entries = os.scandir(target.readlink())
            self.names[inode] = {e.name: (e.inode(), e.is_dir(follow_symlinks=False)) for e in entries}
        else:
            self.content[inode] = target.read_bytes()

    def restore(self, target: Path, inode: int | None = None) -> None:
        """Write what is left after the power went."""
        target.mkdir()
        inode = self.root.stat().st_ino if inode is None else inode
        for name, (child, is_dir) in self.names.get(inode, {}).items():
            if is_dir:
                self.restore(target / name, child)
            else:
                (target / name).write_bytes(self.content.get(child, b""))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_when_the_power_goes_after_any_sync_no_record_names_a_file_that_was_lost(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    disk = Disk(tmp_path / "root")
    num_crashes = 0

    def fsync(descriptor: int) -> None:
        nonlocal num_crashes
        disk.sync(descriptor)
        num_crashes += 1
        left = tmp_path / f"left-{num_crashes}"
        disk.restore(left)
        check(left)
        if num_crashes % 5 == 0:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "fsync", lambda descriptor: None)
                work(left)
            assert content(left) == expected

    monkeypatch.setattr(os, "fsync", fsync)
    work(disk.root)
    assert num_crashes > 20
    disk.restore(tmp_path / "end")
    assert content(tmp_path / "end") == expected


LOOP = """
import importlib.util, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("crashes", sys.argv[1])
crashes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(crashes)
print("ready", flush=True)
number = 0
while True:
    crashes.work(Path(sys.argv[2]) / str(number))
    number += 1
"""


@pytest.mark.slow
def test_a_process_killed_at_random_moments_leaves_what_the_same_command_completes(
    tmp_path: Path, expected: dict[str, bytes]
) -> None:
    seed = 20
    rng = random.Random(seed)
    for round_number in range(20):
        folder = tmp_path / str(round_number)
        command = [sys.executable, "-c", LOOP, __file__, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
        roots = sorted(folder.iterdir(), key=lambda path: int(path.name)) if folder.exists() else []
        for root in roots[-2:]:
            check(root)
            work(root)
            Run(root).gc(grace_s=0)
            assert content(root) == expected, f"round {round_number} of seed {seed}"
            assert not [path for path in root.rglob("*") if files.is_temporary(path.name)]


def test_a_file_that_cannot_grow_is_one_named_error_and_what_was_done_stays(tmp_path: Path) -> None:
    code = f"""
import importlib.util, resource, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("crashes", {__file__!r})
crashes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(crashes)
from curate.runs import Store
ledger = Store(Path(sys.argv[1]))
ledger.write(crashes.task_of(0), {{"columns/small.bin": crashes.writer_of(0)}})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    ledger.write(crashes.task_of(1), {{"columns/large.bin": crashes.writer_of(1)}})
except OSError as exc:
    print(exc.errno, exc.filename)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    number, name = done.stdout.split()
    assert int(number) == errno.EFBIG
    assert Path(name).parent == tmp_path / "columns"
    ledger: Ledger = Store(tmp_path)
    assert ledger.lookup(task_of(0), verify="hash") is not None
    assert [path.name for path in (tmp_path / "columns").iterdir()] == ["small.bin"]
