"""The ledger: a record makes files exist, and damage is found, said and repaired."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curate import files
from curate.errors import DataError, StateError
from curate.runs import Commit, FileRecord, Ledger, Output, Run, Store, Task
from curate.runs.records import check_relative, read_commit

TASK = Task(step="resolve", name="clusters", inputs=("aa", "bb"), settings={"keep": "first"})


def write_bytes(data: bytes) -> Any:
    def write(output: Output) -> int:
        output.write(data)
        return 1

    return write


def do(ledger: Ledger, task: Task = TASK, data: bytes = b"12345") -> Commit:
    return ledger.write(task, {"columns/a.bin": write_bytes(data)}, meta={"num_rows": 1})


def record_path(ledger: Ledger, task: Task = TASK) -> Path:
    return ledger.root / "commits" / f"{task.fingerprint}.json"


def test_a_task_is_known_by_everything_that_decides_its_output() -> None:
    same = Task(step="resolve", name="clusters", inputs=["aa", "bb"], settings={"keep": "first"})
    assert same == TASK
    others = [
        Task(step="plan", name="clusters", inputs=("aa", "bb"), settings={"keep": "first"}),
        Task(step="resolve", name="other", inputs=("aa", "bb"), settings={"keep": "first"}),
        Task(step="resolve", name="clusters", inputs=("bb", "aa"), settings={"keep": "first"}),
        Task(step="resolve", name="clusters", inputs=("aa", "bb"), settings={"keep": "longest"}),
    ]
    assert len({task.fingerprint for task in [TASK, same, *others]}) == 5


def test_a_commit_is_found_again_by_a_new_ledger(tmp_path: Path) -> None:
    made = do(Ledger(tmp_path))
    assert Ledger(tmp_path).lookup(TASK, verify="hash") == made
    (file,) = made.files
    assert (tmp_path / file.path).read_bytes() == b"12345"
    assert file == FileRecord(
        path="columns/a.bin",
        size_bytes=5,
        num_rows=1,
        blake3=files.hash_file(tmp_path / "columns/a.bin"),
    )
    assert json.loads(record_path(Ledger(tmp_path)).read_text()) == {
        "format": 1,
        "task": {
            "step": "resolve",
            "name": "clusters",
            "inputs": ["aa", "bb"],
            "settings": {"keep": "first"},
        },
        "files": [{"path": "columns/a.bin", "size_bytes": 5, "num_rows": 1, "blake3": file.blake3}],
        "meta": {"num_rows": 1},
    }


def test_nothing_exists_before_the_commit_and_nothing_stays_without_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.begin(TASK) as draft, draft.create("columns/a.bin") as output:
        output.write(b"12345")
        assert not (tmp_path / "columns/a.bin").exists()
    assert ledger.lookup(TASK) is None
    assert list((tmp_path / "columns").iterdir()) == []


def test_an_exception_while_writing_removes_every_file_of_the_task(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(KeyboardInterrupt), ledger.begin(TASK) as draft:
        with draft.create("columns/a.bin") as output:
            output.write(b"1")
        with draft.create("columns/b.bin") as output:
            raise KeyboardInterrupt
    assert list((tmp_path / "columns").iterdir()) == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "verify", "what"),
    [
        (Path.unlink, "size", "is missing"),
        (cut, "size", "has another size than recorded: 4 and 5"),
        (flip, "hash", "has another hash than recorded"),
    ],
)
def test_a_commit_with_damaged_files_is_reported_moved_aside_and_done_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Any, verify: Any, what: str
) -> None:
    ledger = Ledger(tmp_path)
    made = do(ledger)
    damage(tmp_path / "columns/a.bin")
    assert [what in str(problem) for problem in ledger.verify(verify)] == [True]
    with caplog.at_level(logging.WARNING):
        assert ledger.lookup(TASK, verify=verify, repair=False) is None
        assert record_path(ledger).exists()
        assert ledger.lookup(TASK, verify=verify) is None
    assert what in caplog.text
    assert not record_path(ledger).exists()
    assert len(list((tmp_path / "commits/damaged").iterdir())) == 1
    assert do(ledger) == made
    assert ledger.verify() == []
    assert ledger.lookup(TASK, verify="hash") == made


def test_checking_sizes_alone_does_not_see_a_flipped_bit(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    made = do(ledger)
    flip(tmp_path / "columns/a.bin")
    assert ledger.lookup(TASK, verify="size") == made
    assert ledger.verify("size") == []


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"format":1}', b'{"format":1,"task":[],"files":[],"meta":{}}', b"\xff"]
)
def test_a_damaged_record_counts_as_absent_and_is_replaced(tmp_path: Path, data: bytes) -> None:
    ledger = Ledger(tmp_path)
    made = do(ledger)
    record_path(ledger).write_bytes(data)
    assert len(ledger.verify()) == 1
    assert ledger.lookup(TASK) is None
    assert do(ledger) == made
    assert ledger.verify() == []


def test_the_record_of_another_task_does_not_count(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    do(ledger)
    other = Task(step="resolve", name="other")
    record_path(ledger, other).write_bytes(record_path(ledger).read_bytes())
    assert ledger.lookup(other) is None
    assert ledger.lookup(TASK) is not None


def test_an_unknown_version_of_a_record_is_refused_by_name_and_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    do(ledger)
    path = record_path(ledger)
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2'))
    for attempt in (lambda: ledger.lookup(TASK), ledger.verify, lambda: ledger.gc(grace_s=0)):
        with pytest.raises(StateError, match="has format 2, this version reads 1") as caught:
            attempt()
        assert str(path) in str(caught.value)
    assert path.exists()


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/.hidden", "a\\b", "a\nb", "a/" + "b" * 300],
)
def test_paths_in_records_stay_inside_the_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(StateError, match="relative"):
        check_relative(path)
    with pytest.raises(StateError, match="relative"):
        Ledger(tmp_path).write(TASK, {path: write_bytes(b"1")})
    record = {"path": path, "size_bytes": 1, "num_rows": None, "blake3": ""}
    with pytest.raises(DataError, match="is not a commit record"):
        read_commit({"format": 1, "task": TASK.to_record(), "files": [record], "meta": {}}, tmp_path)


def test_a_link_inside_the_folder_is_not_followed_when_writing(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    ledger = Ledger(tmp_path / "root")
    (ledger.root / "columns").symlink_to(tmp_path / "outside")
    with pytest.raises(StateError, match="not followed"):
        do(ledger)
    assert list((tmp_path / "outside").iterdir()) == []


def test_of_two_equal_tasks_the_first_commit_holds(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.begin(TASK) as slow:
        with slow.create("columns/a.bin") as output:
            output.write(b"12345")
        first = do(Ledger(tmp_path))
        assert slow.commit(meta={"late": 1}) == first
    assert ledger.verify() == []
    assert sorted(p.name for p in (tmp_path / "columns").iterdir()) == ["a.bin"]


def test_a_late_file_with_other_bytes_does_not_take_the_place_of_a_committed_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.begin(TASK) as slow:
        with slow.create("columns/a.bin") as output:
            output.write(b"other")
        first = do(Ledger(tmp_path))
        assert slow.commit() == first
    assert ledger.lookup(TASK, verify="hash") == first


def test_the_loser_of_the_last_moment_uses_the_record_that_won(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    first = do(ledger)
    assert ledger.commit(TASK, first.files, meta={"late": 1}) == first


def test_the_loser_replaces_a_record_whose_files_are_gone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    first = do(ledger)
    (tmp_path / "columns/a.bin").rename(tmp_path / "columns/b.bin")
    moved = FileRecord(path="columns/b.bin", size_bytes=5, num_rows=1, blake3=first.files[0].blake3)
    assert ledger.commit(TASK, [moved], meta={}).files == (moved,)
    assert ledger.verify() == []


def test_a_record_that_was_repaired_by_another_process_meanwhile_is_put_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    made = do(ledger)
    ledger._move_aside(record_path(ledger), "size")  # as if found damaged just before it was replaced
    assert ledger.lookup(TASK, verify="hash") == made
    assert list((tmp_path / "commits/damaged").iterdir()) == []


def test_a_closed_step_is_found_by_its_tasks_and_only_while_its_files_are_good(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    tasks = [Task(step="resolve", name=name) for name in ("a", "b")]
    commits = [
        ledger.write(task, {f"columns/{task.name}": write_bytes(task.name.encode())}) for task in tasks
    ]
    assert ledger.read_step("resolve", tasks) is None
    ledger.close_step("resolve", commits)
    ledger.close_step("resolve", commits)
    assert ledger.read_step("resolve", tasks, verify="hash") == commits
    assert ledger.read_step("resolve", tasks[:1]) is None
    assert ledger.verify() == []
    (manifest,) = (tmp_path / "steps").iterdir()
    manifest.write_bytes(b"{")
    assert ledger.read_step("resolve", tasks) is None
    assert len(ledger.verify()) == 1
    ledger.close_step("resolve", commits)
    assert ledger.read_step("resolve", tasks) == commits
    cut(tmp_path / "columns/b")
    assert ledger.read_step("resolve", tasks) is None


def test_a_manifest_that_names_no_commit_is_a_problem(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.close_step("resolve", [do(ledger)])
    record_path(ledger).unlink()
    assert ["names no commit" in str(problem) for problem in ledger.verify()] == [True]


def test_gc_removes_what_no_commit_names_and_only_when_it_is_old(tmp_path: Path) -> None:
    store = Store(tmp_path)
    do(store)
    one = store.add_pass("heuristics", {"gopher": "f1"})
    left = ["columns/.a.bin.tmp-0123", "columns/orphan.bin", ".store.json.tmp-01", "commits/.x.json.tmp-1"]
    for name in left:
        (tmp_path / name).write_bytes(b"x")
    assert store.gc(grace_s=3600) == []
    for name in left:
        os.utime(tmp_path / name, (0, 0))
    assert sorted(store.gc(grace_s=3600)) == sorted(left)
    assert store.gc(grace_s=0) == []
    assert store.lookup(TASK, verify="hash") is not None
    assert store.add_pass("heuristics", {"gopher": "f1"}) == one


def test_gc_leaves_files_that_are_not_the_ledgers(tmp_path: Path) -> None:
    run = Run(tmp_path, store="store")
    for name in ("report.html", "recipe.yaml", "notes.txt", "curated/part-0.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "resolve").mkdir()
    (tmp_path / "resolve" / "orphan").write_bytes(b"x")
    assert run.gc(grace_s=0) == ["resolve/orphan"]


def test_gc_refuses_to_judge_by_a_damaged_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    do(store)
    record_path(store).write_bytes(b"{")
    with pytest.raises(DataError, match="is not JSON"):
        store.gc(grace_s=0)
    assert (tmp_path / "columns/a.bin").exists()


RACE = """
import sys
from pathlib import Path
from curate.runs import Ledger, Task

ledger = Ledger(Path(sys.argv[1]))
for number in range(20):
    task = Task(step="measure", name=str(number))
    if ledger.lookup(task) is None:
        def write(output, number=number):
            for _ in range(50):
                output.write(bytes([number]) * 1000)
        ledger.write(task, {f"columns/{number}.bin": write})
"""


def test_processes_that_do_the_same_tasks_at_once_leave_one_good_ledger(tmp_path: Path) -> None:
    racers = [subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path)]) for _ in range(3)]
    assert [racer.wait(60) for racer in racers] == [0, 0, 0]
    ledger = Ledger(tmp_path)
    assert len(list(ledger.commits())) == 20
    assert ledger.verify() == []
    assert ledger.gc(grace_s=0) == []
