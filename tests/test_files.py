"""Atomic files: whole or absent, whatever call fails."""

import errno
import io
import os
import threading
from pathlib import Path

import pytest

from curate import _rust, files
from curate.errors import DataError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def write(path: Path, data: bytes) -> None:
    with files.atomic_file(path) as handle:
        handle.write(data)


def test_an_atomic_file_has_its_name_only_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with files.atomic_file(path) as handle:
        handle.write(b"all of it")
        assert not path.exists()
        (temporary,) = names(tmp_path)
        assert files.is_temporary(temporary)
    assert path.read_bytes() == b"all of it"
    assert names(tmp_path) == ["a.bin"]


def test_an_exception_in_the_block_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write(path, b"old")
    with pytest.raises(KeyboardInterrupt), files.atomic_file(path) as handle:
        handle.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_create_json_writes_once_and_never_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert files.create_json(path, {"b": 1, "a": [1.5, None]})
    assert not files.create_json(path, {"other": 1})
    assert path.read_bytes() == b'{"a":[1.5,null],"b":1}\n'
    assert names(tmp_path) == ["a.json"]


def test_of_many_writers_that_create_one_name_exactly_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    barrier = threading.Barrier(8)
    won: list[int] = []

    def create(number: int) -> None:
        barrier.wait()
        if files.create_json(path, number):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert files.read_json(path) == won[0]
    assert names(tmp_path) == ["a.json"]


def test_a_lost_race_removes_its_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.create_json(path, 1)
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert not files.create_json(path, 2)
    assert names(tmp_path) == ["a.json"]


def test_replace_json_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.replace_json(path, {"plan": "1"})
    files.replace_json(path, {"plan": "2"})
    assert files.read_json(path) == {"plan": "2"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": b"bytes"}])
def test_what_json_cannot_say_is_refused_before_a_file_exists(tmp_path: Path, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        files.create_json(tmp_path / "a.json", value)
    with pytest.raises((ValueError, TypeError)):
        files.replace_json(tmp_path / "a.json", value)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'"\xff"', "is not JSON"),
        (b"[" * 200_000, "is not JSON"),
        (b" " * 101, "is larger than 100 bytes"),
    ],
)
def test_a_damaged_json_file_is_an_error_with_its_path(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        files.read_json(path, max_bytes=100 if message.startswith("is larger") else 1 << 20)
    assert str(path) in str(caught.value)


def test_paths_that_are_not_utf8_survive_json(tmp_path: Path) -> None:
    files.create_json(tmp_path / "a.json", {"file-\udcff": "\u00e9"})
    assert files.read_json(tmp_path / "a.json") == {"file-\udcff": "\u00e9"}


def test_a_file_hash_is_the_hash_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "a.bin").write_bytes(data)
    assert files.hash_file(tmp_path / "a.bin") == _rust.blake3_hex(data)


def test_hashing_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        files.hash_file(tmp_path / "gone.bin")
    assert Path(caught.value.filename) == tmp_path / "gone.bin"


def test_make_dirs_syncs_every_folder_that_got_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_dir", synced.append)
    files.make_dirs(tmp_path / "a" / "b")
    files.make_dirs(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert synced == [tmp_path, tmp_path / "a"]


class FullDisk(io.BytesIO):
    """A file on a disk without space."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_error_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_full(path: Path) -> io.BytesIO:
        path.touch()
        return FullDisk()

    monkeypatch.setattr(files, "_open_new", open_full)
    for attempt in (lambda: files.create_json(tmp_path / "a", 1), lambda: write(tmp_path / "a", b"1")):
        with pytest.raises(OSError, match="No space left") as caught:
            attempt()
        assert caught.value.errno == errno.ENOSPC
        assert Path(caught.value.filename).parent == tmp_path
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace", "link", "unlink"])
@pytest.mark.parametrize("kind", ["atomic", "create"])
def test_when_any_call_fails_the_name_holds_old_or_new_and_a_retry_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, kind: str
) -> None:
    real = getattr(os, call)
    for fail_at in range(1, 20):
        path = tmp_path / f"{fail_at}.json"
        calls = 0

        def fail(*args: object, fail_at: int = fail_at) -> None:
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise OSError(errno.EIO, "injected")
            real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                files.create_json(path, "new") if kind == "create" else write(path, b'"new"\n')
            except OSError as exc:
                assert exc.errno == errno.EIO
                assert exc.filename is not None
            if calls < fail_at:
                break
        assert path.read_bytes() == b'"new"\n' if path.exists() else True
        files.create_json(path, "new") if kind == "create" else write(path, b'"new"\n')
        assert files.read_json(path) == "new"
        if call != "unlink":
            assert not any(files.is_temporary(name) for name in names(tmp_path))
    else:
        pytest.fail("the faults never ended")
