"""Local files that appear whole or not at all.

A file is written under a temporary name beside its final one, synced, renamed, and the directory is synced:
after a crash a name either holds all of its bytes or does not exist. `create_json` links instead of renaming,
so that of several writers exactly one wins. The cost is two fsyncs a file, a few milliseconds each on a disk.

Temporary names are `.<name>.tmp-<random>`; what a killed process leaves is found by `is_temporary`. Not here:
object stores (shards.py), which files count as committed (runs).
"""

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from curate import _rust
from curate.errors import DataError

_TEMPORARY = ".tmp-"
MAX_JSON_BYTES = 256 << 20


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one that a file has before it is whole."""
    return name.startswith(".") and _TEMPORARY in name


class NewFile:
    """A file under its temporary name: write to `handle`, `seal`, then `publish`.

    Used as a context manager it is removed on leaving, unless it was published. The folder must exist; who
    publishes syncs the folder (`sync_dir`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}{_TEMPORARY}{uuid.uuid4().hex[:12]}")
        self.handle = _open_new(self._temporary)

    def write(self, data: bytes) -> None:
        """Append `data`; an error of the disk names the file."""
        with naming_errors(self._temporary):
            self.handle.write(data)

    def seal(self) -> None:
        """Make the content survive a crash; nothing can be written any more."""
        with naming_errors(self._temporary):
            self.handle.flush()
            os.fsync(self.handle.fileno())
            self.handle.close()

    def publish(self) -> None:
        """Give the file its name, replacing what had it."""
        self._temporary.replace(self.path)

    def publish_if_absent(self) -> bool:
        """Give the file its name, or remove it and return False where something has that name."""
        try:
            self.path.hardlink_to(self._temporary)
        except FileExistsError:
            return False
        finally:
            self._temporary.unlink()
        return True

    def discard(self) -> None:
        """Remove the file if it was not published; errors of a broken disk are ignored."""
        with contextlib.suppress(OSError):
            self.handle.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def __enter__(self) -> "NewFile":
        return self

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        self.discard()
        if isinstance(exc, OSError):
            _raise_with_path(exc, self._temporary)


@contextlib.contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Give an OSError of the block the path of the file, where it has none: that of a full disk has none."""
    try:
        yield
    except OSError as exc:
        _raise_with_path(exc, path)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that gets its name, replacing what had it, when the block ends without an exception.

    The folder must exist. On any exception the temporary file is removed and the old file is as it was.
    """
    with NewFile(path) as new:
        yield new.handle
        new.seal()
        new.publish()
    sync_dir(path.parent)


def create_json(path: Path, value: Any) -> bool:
    """Write `value` as JSON if nothing has that name; False, and no change, where something has it.

    Atomic between processes. The file system needs hard links.
    """
    if path.exists():
        return False
    data = to_json(value)
    with NewFile(path) as new:
        new.handle.write(data)
        new.seal()
        created = new.publish_if_absent()
    sync_dir(path.parent)
    return created


def replace_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, in place of what had that name."""
    data = to_json(value)
    with atomic_file(path) as handle:
        handle.write(data)


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON file; one that is too large, not UTF-8 or not JSON (NaN) is a DataError with its path."""
    with path.open("rb") as handle:
        data = handle.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise DataError(f"{path} is larger than {max_bytes} bytes")
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{path} is not JSON: {exc}") from exc


def hash_file(path: Path) -> str:
    """Hash a file's content: BLAKE3, 128 bits, lower-case hex."""
    with path.open("rb"):  # a file that cannot be opened fails here, with errno and path
        pass
    try:
        return _rust.hash_file(str(path))
    except OSError as exc:
        raise OSError(exc.errno or errno.EIO, str(exc), str(path)) from exc


def make_dirs(path: Path) -> None:
    """Create a folder and its parents where they are missing, so that they survive a crash."""
    if path.is_dir():
        return
    make_dirs(path.parent)
    path.mkdir(exist_ok=True)
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Make the names in a folder survive a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        _raise_with_path(exc, path)
    finally:
        os.close(descriptor)


def _open_new(path: Path) -> BinaryIO:
    return path.open("xb")


def _raise_with_path(exc: OSError, path: Path) -> NoReturn:
    """Raise again, with a path where the error has none."""
    if exc.filename is None:
        raise OSError(exc.errno or errno.EIO, exc.strerror or str(exc), str(path)) from exc
    raise exc


def to_json(value: Any) -> bytes:
    """Encode with sorted keys, ASCII only; NaN is a ValueError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
