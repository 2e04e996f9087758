"""Local files that appear whole or not at all.

A file is written under a temporary name beside its final one, synced, renamed, and the directory is synced:
after a crash a name either holds all of its bytes or does not exist. `create_json` links instead of renaming,
so that of several writers exactly one wins. The cost is two fsyncs a file, a few milliseconds each on a disk.

Temporary names are `.<name>.tmp-<random>`; what a killed process leaves is found by `is_temporary`. Not here:
object stores (shards.py), which files count as committed (runs.py).
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
    """Tell whether a file name is one that `atomic_file` or `create_json` uses before the file is whole."""
    return name.startswith(".") and _TEMPORARY in name


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that gets its name, replacing what had it, when the block ends without an exception.

    The folder must exist. On any exception the temporary file is removed and the old file is as it was.
    """
    temporary = _temporary_name(path)
    with _cleaning(temporary):
        with _open_new(temporary) as handle:
            yield handle
            _sync_handle(handle)
        temporary.replace(path)
    sync_dir(path.parent)


def create_json(path: Path, value: Any) -> bool:
    """Write `value` as JSON if nothing has that name; False, and no change, where something has it.

    Atomic between processes. The file system needs hard links.
    """
    if path.exists():
        return False
    temporary = _temporary_name(path)
    with _cleaning(temporary):
        with _open_new(temporary) as handle:
            handle.write(_to_json(value))
            _sync_handle(handle)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            temporary.unlink()
            return False
        temporary.unlink()
    sync_dir(path.parent)
    return True


def replace_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, in place of what had that name."""
    data = _to_json(value)
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
        _sync(descriptor, path)
    finally:
        os.close(descriptor)


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}{_TEMPORARY}{uuid.uuid4().hex[:12]}")


def _open_new(path: Path) -> BinaryIO:
    return path.open("xb")


def _sync_handle(handle: BinaryIO) -> None:
    handle.flush()
    _sync(handle.fileno(), Path(handle.name))


def _sync(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as exc:
        _raise_with_path(exc, path)


@contextlib.contextmanager
def _cleaning(temporary: Path) -> Iterator[None]:
    """Remove `temporary` if the block fails; name it in an error that has no path (a full disk has none)."""
    try:
        yield
    except BaseException as exc:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(exc, OSError):
            _raise_with_path(exc, temporary)
        raise


def _raise_with_path(exc: OSError, path: Path) -> NoReturn:
    if exc.filename is None and exc.errno is not None:
        raise OSError(exc.errno, exc.strerror, str(path)) from exc
    raise exc


def _to_json(value: Any) -> bytes:
    """Encode with sorted keys, ASCII only; NaN is a ValueError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
