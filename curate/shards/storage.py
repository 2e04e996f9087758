"""Places that hold files: the local disk, object stores, and whatever fsspec knows.

S3 (`s3://`), Google (`gs://`) and Azure (`abfs://`) go through pyarrow, which needs no other package; every
other URL goes through fsspec. Reads of a remote file are repeated with growing pauses; what still fails is an
OSError that names the URI. The price: one extra copy and the interpreter lock for each block of a remote file
(8 MiB).

Options of S3: endpoint_url, anon, key, secret, token, region; unset ones come from the usual AWS variables
and files, AWS_ENDPOINT_URL included. Not here: what the files mean.
"""

import functools
import io
import os
import re
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs

from curate.errors import ConfigError, MissingExtra

NUM_ATTEMPTS = 5
FIRST_PAUSE_S = 0.2
LOCAL_BLOCK_BYTES = 1 << 20
REMOTE_BLOCK_BYTES = 8 << 20

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")
_OPTIONS = {
    "s3": ("endpoint_url", "anon", "key", "secret", "token", "region"),
    "gs": ("endpoint_url", "anon", "token", "project"),
    "abfs": ("account_name", "account_key", "sas_token"),
}
_SAME = {"gcs": "gs", "abfss": "abfs", "s3a": "s3"}
_HOPELESS = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH")

T = TypeVar("T")


class RemoteError(OSError):
    """A remote file could not be read after all attempts."""


@dataclass(frozen=True)
class Place:
    """A path on a file system; `prefix + path` is its URI."""

    filesystem: fs.FileSystem
    path: str
    prefix: str = ""

    @property
    def uri(self) -> str:
        """The place in one string; a local place is its absolute path."""
        return self.prefix + self.path

    @property
    def is_local(self) -> bool:
        """Tell whether the place is on a local disk."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def at(self, path: str) -> "Place":
        """Another path on the same file system."""
        return Place(self.filesystem, path, self.prefix)


def locate(uri: str, options: dict[str, str] | None = None) -> Place:
    """Find the file system of a path or URL; the path need not exist."""
    match = _SCHEME.match(uri)
    if match is None:
        return Place(fs.LocalFileSystem(), str(Path(uri).absolute()))
    scheme = match.group(1)
    if scheme == "file":
        return Place(fs.LocalFileSystem(), urllib.parse.unquote(uri[len("file://") :]))
    pairs = tuple(sorted((options or {}).items()))
    name = _SAME.get(scheme, scheme)
    if name not in _OPTIONS:
        return _locate_fsspec(uri, dict(pairs))
    path = uri[match.end() :].rstrip("/")
    unknown = sorted(set(dict(pairs)) - set(_OPTIONS[name]))
    if unknown:
        raise ConfigError(
            f"input.storage_options: unknown for {scheme}: {', '.join(unknown)}; "
            f"known: {', '.join(_OPTIONS[name])}"
        )
    return Place(_open_store(name, path.partition("/")[0], pairs, os.getpid()), path, match.group(0))


@functools.lru_cache(maxsize=64)
def _open_store(name: str, bucket: str, pairs: tuple[tuple[str, str], ...], _pid: int) -> fs.FileSystem:
    """The client of a store, one for each process: connections and locks of a parent are of no use."""
    options = dict(pairs)
    if name == "s3":
        return _open_s3(bucket, options)
    if name == "abfs":
        return fs.AzureFileSystem(**options)
    scheme, host = _split_endpoint(options.get("endpoint_url"))
    return fs.GcsFileSystem(
        anonymous=_is_true(options.get("anon")),
        access_token=options.get("token"),
        project_id=options.get("project"),
        endpoint_override=host,
        scheme=scheme,
    )


def _open_s3(bucket: str, options: dict[str, str]) -> fs.FileSystem:
    endpoint = (
        options.get("endpoint_url")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    scheme, host = _split_endpoint(endpoint)
    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and host is None and bucket:
        region = _find_region(bucket)
    return fs.S3FileSystem(
        access_key=options.get("key"),
        secret_key=options.get("secret"),
        session_token=options.get("token"),
        anonymous=_is_true(options.get("anon")),
        region=region,
        scheme=scheme or "https",
        endpoint_override=host,
        request_timeout=60,
        connect_timeout=10,
    )


def _find_region(bucket: str) -> str | None:
    try:
        return str(fs.resolve_s3_region(bucket))
    except OSError:
        return None  # the request itself then fails with the store's own message


def _locate_fsspec(uri: str, options: dict[str, str]) -> Place:
    try:
        import fsspec
    except ImportError as exc:
        raise MissingExtra(f"{uri} needs fsspec: pip install 'curate[s3]'") from exc
    try:
        filesystem, path = fsspec.core.url_to_fs(uri, **options)
    except ImportError as exc:
        raise MissingExtra(f"{uri} needs another package: {exc}") from exc
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"input.paths: {uri}: {exc}") from exc
    prefix = uri[: -len(path)] if path and uri.endswith(path) else uri[: uri.index("://") + 3]
    return Place(fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path, prefix)


def _split_endpoint(endpoint: str | None) -> tuple[str | None, str | None]:
    if not endpoint:
        return None, None
    scheme, mark, host = endpoint.partition("://")
    return (scheme, host.rstrip("/")) if mark else (None, endpoint)


def _is_true(value: str | None) -> bool:
    if value is None or value.lower() in ("false", "0", "no"):
        return False
    if value.lower() in ("true", "1", "yes"):
        return True
    raise ConfigError(f"input.storage_options.anon must be true or false: {value}")


def retry(action: Callable[[], T], uri: str) -> T:
    """Do what may fail on the way to a remote place, with growing pauses between attempts.

    A missing file or a refused key is not tried again. What still fails is a RemoteError with the URI.
    """
    for attempt in range(NUM_ATTEMPTS):
        try:
            return action()
        except FileNotFoundError as exc:
            raise FileNotFoundError(exc.errno, f"not found: {exc}", uri) from exc
        except OSError as exc:
            refused = isinstance(exc, PermissionError) or any(word in str(exc) for word in _HOPELESS)
            if refused or attempt + 1 == NUM_ATTEMPTS:
                raise RemoteError(f"cannot read {uri} ({attempt + 1} attempts): {exc}") from exc
            time.sleep(FIRST_PAUSE_S * 2**attempt)
    raise AssertionError("unreachable")


class RemoteFile(io.RawIOBase):
    """A remote file that reads on after a lost connection."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._file = self._open()
        self._position = 0
        self.size_bytes = int(retry(self._file.size, place.uri))

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; no request is made."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from the position on; fewer bytes only at the end of the file."""
        wanted = min(len(buffer), self.size_bytes - self._position)
        if wanted <= 0:
            return 0
        data = retry(lambda: self._read_once(wanted), self._place.uri)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Let the connection go."""
        if not self.closed:
            self._file.close()
        super().close()

    def _open(self) -> Any:
        return retry(lambda: self._place.filesystem.open_input_file(self._place.path), self._place.uri)

    def _read_once(self, num_bytes: int) -> bytes:
        try:
            data = bytes(self._file.read_at(num_bytes, self._position))
        except OSError:
            self._file = self._place.filesystem.open_input_file(self._place.path)
            raise
        if len(data) != num_bytes:
            raise ConnectionError(f"{len(data)} bytes instead of {num_bytes} at {self._position}")
        return data


def open_file(place: Place) -> io.RawIOBase:
    """Open a file for reading, unbuffered, with retries where it is remote."""
    return io.FileIO(place.path) if place.is_local else RemoteFile(place)


def open_arrow(place: Place) -> Any:
    """Open a file for pyarrow: natively where it is local, with our retries where it is remote."""
    if place.is_local:
        with io.FileIO(place.path):  # a missing or forbidden file fails here, with errno and path
            pass
        return pa.OSFile(place.path, "rb")
    return pa.PythonFile(RemoteFile(place), mode="r")
