"""Tables of an index while it is built: files of numbers, filled in order or by maps of memory.

Not here: what they hold (index.py), scratch tables that begin with `_` (building.py removes them).
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from curate.files import naming_errors


class Tables:
    """The tables in one folder: `<name>.bin`; how many items each has that is to stay."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}

    def _at(self, name: str) -> Path:
        return self.path / f"{name}.bin"

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Open a new table to be written in order."""
        with naming_errors(self._at(name)), self._at(name).open("wb") as handle:
            yield handle

    def note(self, name: str, size: int) -> None:
        """Note how many items a table has that was written."""
        self.sizes[name] = size

    def new(self, name: str, dtype: npt.DTypeLike, size: int) -> Any:
        """A table of zeros to be filled."""
        with self.create(name) as handle:
            _allocate(handle, size * np.dtype(dtype).itemsize)
        if not name.startswith("_"):
            self.note(name, size)
        return self.map(name, dtype, size, mode="r+")

    def map(self, name: str, dtype: npt.DTypeLike, size: int, *, mode: Any = "r") -> Any:
        """Map a table into memory."""
        return np.memmap(self._at(name), dtype, mode=mode, shape=(size,)) if size else np.zeros(0, dtype)

    def sync(self) -> None:
        """Make all tables that stay survive a crash."""
        for name in self.sizes:
            with naming_errors(self._at(name)), self._at(name).open("rb") as handle:
                os.fsync(handle.fileno())


def _allocate(handle: BinaryIO, num_bytes: int) -> None:
    """Take the room of a file: a full disk is an error here, not a bus error at a write to its map."""
    if num_bytes:
        try:
            os.posix_fallocate(handle.fileno(), 0, num_bytes)
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            handle.truncate(num_bytes)  # some file systems do not take room before it is written
