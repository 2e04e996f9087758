"""Exact byte ranges of shards: nothing is read ahead, and nothing that was not asked for.

For readers that know where their bytes are. A remote range is one request of that length, repeated when the
connection is lost; a local one is read without moving a position, so threads may share an open file. Cost: to
open a remote file is one request for its size. Not here: reading a file from start to end (storage.py).
"""

import os
from typing import Any

from curate.errors import DataError
from curate.shards.storage import Place, retry


class RangeFile:
    """An open file; use it in the process that opened it, from any thread."""

    _descriptor = -1

    def __init__(self, place: Place) -> None:
        """Open the file and ask for its size."""
        self.place = place
        self._remote: Any = None
        if place.is_local:
            self._descriptor = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
        else:
            self._remote = self._open()
        self.size_bytes = int(self._measure())

    def _open(self) -> Any:
        place = self.place
        return retry(lambda: place.filesystem.open_input_file(place.path), place.uri)

    def _measure(self) -> int:
        if self._remote is None:
            return os.fstat(self._descriptor).st_size
        return int(retry(self._remote.size, self.place.uri))

    def read(self, start: int, size: int) -> bytes:
        """Read `size` bytes from `start` on.

        Raises:
            DataError: the file ends before.
            OSError: it cannot be read, after all attempts where it is remote.
        """
        if start < 0 or size < 0 or start + size > self.size_bytes:
            raise DataError(f"{self.place.uri}: {size} bytes from {start} on in {self.size_bytes}")
        if self._remote is None:
            return self._read_local(start, size)
        return retry(lambda: self._read_remote(start, size), self.place.uri)

    def _read_local(self, start: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            part = os.pread(self._descriptor, size, start)
            if not part:
                raise DataError(f"{self.place.uri}: ends at {start}, it had {self.size_bytes} bytes")
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_remote(self, start: int, size: int) -> bytes:
        remote = self._remote
        try:
            data = bytes(remote.read_at(size, start))
        except OSError:
            self._remote = self.place.filesystem.open_input_file(self.place.path)
            raise
        if len(data) != size:
            raise ConnectionError(f"{len(data)} bytes instead of {size} at {start}")
        return data

    def close(self) -> None:
        """Let the file go; it may be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        """A file that falls out of use is closed when the last read of it has ended."""
        self.close()
