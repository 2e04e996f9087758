"""The cache on disk: bounded, shared, whole files only, and given up where the disk cannot be written."""

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import ConfigError
from curate.loader import disk_cache
from curate.loader.disk_cache import DiskCache


def held(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != disk_cache.COUNTER]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in held(folder))


def data_of(number: int, size: int = 1000) -> bytes:
    return np.random.default_rng(number).bytes(size)


def test_a_range_comes_back_by_its_name_and_size(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 100_000)
    key = cache.key(["s3://a", 10, "f", 4, 1000])
    assert cache.get(key, 1000) is None
    cache.put(key, data_of(1))
    assert cache.get(key, 1000) == data_of(1)
    assert cache.get(cache.key(["s3://a", 10, "f", 5, 1000]), 1000) is None
    assert DiskCache(tmp_path, 100_000).get(key, 1000) == data_of(1)


def test_another_size_or_a_damaged_file_is_a_miss_and_goes(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 100_000)
    for damage in (lambda data: data[:-1], lambda data: b"x" + data[1:], lambda data: b""):
        key = cache.key(["a"])
        cache.put(key, data_of(1))
        (path,) = held(tmp_path)
        path.write_bytes(damage(path.read_bytes()))
        assert cache.get(key, 1000) is None
        assert held(tmp_path) == []


def test_the_limit_holds_and_what_was_used_last_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "TOUCH_S", -1.0)
    cache = DiskCache(tmp_path, 20_000)
    keys = [cache.key([number]) for number in range(100)]
    for number, key in enumerate(keys):
        cache.put(key, data_of(number))
        for path in held(tmp_path):  # stamps a second apart, whatever the clock of the file system
            if path.name == key:
                os.utime(path, (number, number))
        assert cache.get(keys[0], 1000) == data_of(0)
        assert size_of(tmp_path) <= 20_000
    known = [number for number, key in enumerate(keys) if cache.get(key, 1000) is not None]
    assert known[0] == 0 and known[1:] == list(range(known[1], 100)) and len(known) >= 14


def test_a_range_too_large_for_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1000)
    cache.put(cache.key([1]), data_of(1))
    assert held(tmp_path) == []
    with pytest.raises(ConfigError, match="cache_bytes is 0 or more: -1"):
        DiskCache(tmp_path, -1)


def test_a_smaller_limit_shrinks_what_is_there(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 100_000)
    for number in range(50):
        cache.put(cache.key([number]), data_of(number))
    assert size_of(tmp_path) > 50_000
    DiskCache(tmp_path, 10_000)
    assert size_of(tmp_path) <= 10_000


def _work(folder: Path, seed: int, queue: Any) -> None:
    cache = DiskCache(folder, 50_000)
    rng = np.random.default_rng(seed)
    wrong = 0
    for number in rng.integers(0, 100, 400).tolist():
        key = cache.key([number])
        found = cache.get(key, 1000)
        wrong += found is not None and found != data_of(number)
        if found is None:
            cache.put(key, data_of(number))
    queue.put(wrong)


def test_processes_share_a_folder_and_its_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    children = [context.Process(target=_work, args=(tmp_path, seed, queue)) for seed in range(3)]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        sizes = 0
        for path in held(tmp_path):
            try:
                sizes += path.stat().st_size
            except FileNotFoundError:
                continue
        assert sizes <= 50_000 + 3_000  # a file may be seen under both of its names
        time.sleep(0.01)
    assert [queue.get(timeout=10) for _ in children] == [0, 0, 0]
    assert [child.exitcode for child in children] == [0, 0, 0]


def _work_for_ever(folder: Path) -> None:
    cache = DiskCache(folder, 30_000)
    number = 0
    while True:
        number += 1
        cache.put(cache.key([number]), data_of(number))


def test_killed_processes_leave_nothing_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("spawn")
    for _ in range(3):
        child = context.Process(target=_work_for_ever, args=(tmp_path,))
        child.start()
        while not held(tmp_path):
            time.sleep(0.01)
        time.sleep(0.05)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    (tmp_path / "v1" / "tmp" / ".dead.tmp-1").write_bytes(b"x" * 500)
    monkeypatch.setattr(disk_cache, "GRACE_S", -1.0)
    cache = DiskCache(tmp_path, 30_000)
    assert list((tmp_path / "v1" / "tmp").iterdir()) == []
    for number in range(100):
        cache.put(cache.key(["new", number]), data_of(number))
        assert size_of(tmp_path) <= 30_000
    assert cache.get(cache.key(["new", 99]), 1000) == data_of(99)


def test_a_full_disk_is_told_once_and_used_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache(tmp_path, 100_000)
    cache.put(cache.key([1]), data_of(1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_reserve", full)
    with pytest.warns(RuntimeWarning, match="read without a cache from here on.*No space left"):
        cache.put(cache.key([2]), data_of(2))
    cache.put(cache.key([3]), data_of(3))
    assert cache.get(cache.key([1]), 1000) == data_of(1)


def test_a_folder_that_cannot_be_made_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        cache = DiskCache(tmp_path / "file", 1000)
    cache.put(cache.key([1]), b"a")
    assert cache.get(cache.key([1]), 1) is None


def test_a_lock_that_a_thread_holds_at_a_fork_does_not_stop_the_child(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 100_000)
    disk_cache._threads.lock.acquire()
    try:
        child = os.fork()
        if child == 0:
            cache.put(cache.key([1]), data_of(1))
            os._exit(0 if cache.get(cache.key([1]), 1000) == data_of(1) else 1)
    finally:
        disk_cache._threads.lock.release()
    assert os.waitpid(child, 0)[1] == 0
