"""Byte ranges of remote shards on a local disk, shared by the processes of a machine.

A file holds one range and a hash of it; it appears whole, under a name made of what decides its bytes. Bytes
are reserved in a counter under a lock before they are written, so that all processes together stay below the
limit; whoever would pass it removes the files that were used longest ago until a quarter is free. A file is
touched at most once a minute. What a killed process leaves is a temporary file, removed after ten minutes,
and a reservation, which the next removal forgets. Nothing is synced: what a crash of the machine leaves is
found by its hash. A disk that cannot be written is used no more, and that is told once.

Cost: a hit is one read and a hash at 2 GB/s, a new range one write and two short locks. Not here: what the
ranges hold (reading.py).
"""

import contextlib
import fcntl
import os
import struct
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curate import _rust
from curate.errors import ConfigError
from curate.schema import fingerprint

VERSION = "v1"
COUNTER = "bytes"
HASH_BYTES = 16
TOUCH_S = 60.0
GRACE_S = 600.0


class _Threads:
    """The lock between the threads of this process; that between processes is one of the file.

    A forked child gets a new one: a thread that it does not have may hold its parent's. Locks of files are
    those of `lockf`, which a child does not inherit.
    """

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = threading.Lock()


_threads = _Threads()


class DiskCache:
    """Ranges below one folder; use it in the process that made it, from any thread."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Make the folder where it is missing, and remove what killed processes left.

        A folder that cannot be made or written is not used, which is told.
        """
        if max_bytes < 0:
            raise ConfigError(f"cache_bytes is 0 or more: {max_bytes}")
        self.folder, self.max_bytes = folder / VERSION, max_bytes
        self.is_usable = True
        try:
            (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
            with self._locked() as counter:
                self._remove_temporary()
                if _read(counter) > max_bytes:
                    self._make_room(counter, 0)
        except OSError as exc:
            self._give_up(exc)

    def key(self, parts: Sequence[Any]) -> str:
        """Name of a range by what decides its bytes: JSON values."""
        return fingerprint(list(parts))

    def get(self, key: str, size: int) -> bytes | None:
        """The range of that name and size, or None; a damaged file is removed."""
        path = self._path(key)
        try:
            with path.open("rb") as handle:
                data = handle.read(size + HASH_BYTES + 1)
                is_old = os.fstat(handle.fileno()).st_mtime < time.time() - TOUCH_S
        except OSError:
            return None
        if len(data) != size + HASH_BYTES or _hash(data[:size]) != data[size:]:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        if is_old:
            with contextlib.suppress(OSError):
                os.utime(path)
        return data[:size]

    def put(self, key: str, data: bytes) -> None:
        """Keep a range; one that is larger than a quarter of the limit is not kept."""
        size = len(data) + HASH_BYTES
        if not self.is_usable or size > self.max_bytes // 4:
            return
        temporary = self.folder / "tmp" / f".{key}.tmp-{uuid.uuid4().hex[:12]}"
        path = self._path(key)
        try:
            self._reserve(size)
            with temporary.open("xb") as handle:
                handle.write(data)
                handle.write(_hash(data))
            path.parent.mkdir(exist_ok=True)
            if path.exists():
                temporary.unlink()
                self._release(size)
            else:
                temporary.replace(path)
        except OSError as exc:
            with contextlib.suppress(OSError):
                temporary.unlink()
            self._give_up(exc)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def _reserve(self, size: int) -> None:
        with self._locked() as counter:
            used = _read(counter)
            if used + size > self.max_bytes:
                used = self._make_room(counter, size)
            _write(counter, used + size)

    def _release(self, size: int) -> None:
        with self._locked() as counter:
            _write(counter, max(_read(counter) - size, 0))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The counter, for this thread of this process alone."""
        with _threads.lock:
            counter = os.open(self.folder / COUNTER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.lockf(counter, fcntl.LOCK_EX)
                yield counter
            finally:
                os.close(counter)

    def _make_room(self, counter: int, size: int) -> int:
        """Remove the ranges used longest ago until a quarter of the limit is free; the bytes left."""
        found = sorted(_files(self.folder))
        used = sum(num_bytes for _, num_bytes, _ in found)
        limit = self.max_bytes - max(self.max_bytes // 4, size)
        for _, num_bytes, path in found:
            if used <= limit:
                break
            with contextlib.suppress(OSError):
                Path(path).unlink()
                used -= num_bytes
        used += self._remove_temporary()
        _write(counter, used)
        return used

    def _remove_temporary(self) -> int:
        """Remove temporary files that nobody writes any more; the bytes of the others."""
        oldest, left = time.time() - GRACE_S, 0
        with os.scandir(self.folder / "tmp") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    stat = entry.stat()
                    if stat.st_mtime < oldest:
                        Path(entry.path).unlink()
                    else:
                        left += stat.st_size
        return left

    def _give_up(self, exc: OSError) -> None:
        if self.is_usable:
            self.is_usable = False
            warnings.warn(
                f"shards are read without a cache from here on, {self.folder} cannot be written: {exc}",
                RuntimeWarning,
                stacklevel=3,
            )


def _files(folder: Path) -> Iterator[tuple[float, int, str]]:
    """Time of last use, bytes and path of every range."""
    with os.scandir(folder) as folders:
        inner = [entry.path for entry in folders if len(entry.name) == 2]
    for path in inner:
        with os.scandir(path) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    stat = entry.stat()
                    yield stat.st_mtime, stat.st_size, entry.path


def _hash(data: bytes) -> bytes:
    return bytes.fromhex(_rust.blake3_hex(data))


def _read(counter: int) -> int:
    data = os.pread(counter, 8, 0)
    return int(struct.unpack("<Q", data)[0]) if len(data) == 8 else 0


def _write(counter: int, used: int) -> None:
    os.pwrite(counter, struct.pack("<Q", used), 0)
