"""Find the shards of an input and fingerprint them.

A shard's key is its path below the fixed part of its pattern, so adding a pattern never renames a shard;
where two patterns give one key, folders of their roots are put in front until the keys differ. Names that
start with `.` or `_` are not input. The first listing reads every file once (hash; for JSONL columns too);
later ones only ask the file system for sizes and times, where a cache file is given. A file changed in the
last two seconds is not cached: its time stamp may not tell the next change. Not here: what is in the files
(parquet.py, jsonl.py).
"""

import base64
import contextlib
import fnmatch
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from curate import files
from curate.errors import ConfigError, DataError
from curate.shards import jsonl, parquet, storage
from curate.shards.lines import HashingReader
from curate.shards.model import Format, Input, Shard

NUM_THREADS = 4
SETTLED_S = 2.0
CACHE_FORMAT = 1

_JSONL = tuple(f"{name}{end}" for name in (".jsonl", ".ndjson") for end in ("", ".gz", ".zst"))
_SUFFIXES: dict[str, Format] = {".parquet": "parquet", **dict.fromkeys(_JSONL, "jsonl")}
_SUFFIXES |= {".json.gz": "jsonl", ".json.zst": "jsonl"}
_EXPLICIT: dict[str, Format] = {**_SUFFIXES, ".json": "jsonl", ".pq": "parquet"}


@dataclass(frozen=True)
class _Found:
    """A file that matches a pattern."""

    place: storage.Place
    root: str
    size_bytes: int
    mtime_ns: int | None

    def key(self, depth: int) -> str:
        """Path below the root, with the names of `depth` folders above it."""
        parts = [part for part in self.root.split("/") if part]
        prefix = parts[max(len(parts) - depth, 0) :] if depth else []
        return "/".join([*prefix, self.place.path[len(self.root) :].lstrip("/")])


def list_shards(settings: Input, *, cache: Path | None = None) -> list[Shard]:
    """Find all shards, sorted by the bytes of their keys.

    `cache` is a JSON file that keeps what was read by URI, size and time; it may be missing, damaged or
    deleted. A pattern without files is a ConfigError; a damaged file is a DataError with its key.
    """
    found = _with_keys([_find(pattern, settings) for pattern in settings.patterns])
    entries = _read_cache(cache)
    with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="list-shards") as pool:
        pending = [
            pool.submit(_describe, key, file, settings, entries.get(file.place.uri)) for key, file in found
        ]
        try:
            described = [future.result() for future in pending]
        finally:
            pool.shutdown(cancel_futures=True)
    fresh = {shard.uri: entry for shard, entry in described if entry is not None}
    if cache is not None and any(entries.get(uri) != entry for uri, entry in fresh.items()):
        files.make_dirs(cache.parent)
        files.replace_json(cache, {"format": CACHE_FORMAT, "entries": entries | fresh})
    return [shard for shard, _ in described]


def _with_keys(patterns: list[list[_Found]]) -> list[tuple[str, _Found]]:
    """Give every file its key; a file that two patterns find is one shard."""
    owner: dict[str, int] = {}
    for index, matches in enumerate(patterns):
        for file in matches:
            owner.setdefault(file.place.uri, index)
    mine = [
        [file for file in matches if owner[file.place.uri] == index] for index, matches in enumerate(patterns)
    ]
    depths = [0] * len(mine)
    while True:
        keys: dict[str, tuple[int, _Found]] = {}
        clash: tuple[int, int, _Found, _Found] | None = None
        for index, matches in enumerate(mine):
            for file in matches:
                other, first = keys.setdefault(file.key(depths[index]), (index, file))
                if first is not file:
                    clash = (other, index, first, file)
        if clash is None:
            return sorted(((key, file) for key, (_, file) in keys.items()), key=lambda pair: pair[0].encode())
        grown = [depth + (index in clash[:2]) for index, depth in enumerate(depths)]
        if max(grown) > max(file.root.count("/") + 1 for file in clash[2:]):
            raise ConfigError(
                f"input.paths: two files have one key: {clash[2].place.uri} and {clash[3].place.uri}"
            )
        depths = grown


def _find(pattern: str, settings: Input) -> list[_Found]:
    """Find the files of one pattern: a file, a folder, or a glob."""
    place = storage.locate(pattern, settings.storage_options)
    info = storage.retry(lambda: place.filesystem.get_file_info(place.path), place.uri)
    if info.type == fs.FileType.File:
        return [_Found(place, place.path.rpartition("/")[0], info.size, info.mtime_ns)]
    if info.type == fs.FileType.Directory:
        found = [
            file for file in _walk(place, place.path) if _format_of(file.place.path, _SUFFIXES) is not None
        ]
    elif any(char in place.path for char in "*?["):
        fixed = re.split(r"[*?\[]", place.path)[0].rpartition("/")[0]
        matches = re.compile(_translate(place.path[len(fixed) :].lstrip("/"))).fullmatch
        found = [file for file in _walk(place, fixed) if matches(file.place.path[len(fixed) :].lstrip("/"))]
    else:
        raise ConfigError(f"input.paths: not found: {pattern}")
    if not found:
        endings = ", ".join(_SUFFIXES)
        raise ConfigError(
            f"input.paths: no files match {pattern}", hint=f"a folder is searched for {endings}"
        )
    return found


def _walk(place: storage.Place, root: str) -> Iterator[_Found]:
    """List all visible files below a folder."""
    if place.is_local:
        yield from _walk_local(place, root)
        return
    selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
    for info in storage.retry(lambda: place.filesystem.get_file_info(selector), place.at(root).uri):
        names = info.path[len(root) :].strip("/").split("/")
        if info.type == fs.FileType.File and not any(name.startswith((".", "_")) for name in names):
            yield _Found(place.at(info.path), root, info.size, info.mtime_ns)


def _walk_local(place: storage.Place, root: str) -> Iterator[_Found]:
    """Follow links to folders, but never round a loop."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root or "/", followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith((".", "_")) and path.is_file():
                stat = path.stat()
                yield _Found(place.at(str(path)), root, stat.st_size, stat.st_mtime_ns)


def _translate(glob: str) -> str:
    """Turn a glob into a regular expression: `**` is any number of folders, other signs stay in theirs."""
    segments = glob.split("/")
    pattern = ""
    for index, segment in enumerate(segments):
        is_last = index + 1 == len(segments)
        if segment == "**":
            pattern += ".*" if is_last else "(?:[^/]+/)*"
            continue
        for part in re.split(r"(\*+|\?|\[[^\]]*\])", segment):
            if part.startswith("*"):
                pattern += "[^/]*"
            elif part == "?":
                pattern += "[^/]"
            elif part.startswith("[") and part.endswith("]") and len(part) > 2:
                pattern += fnmatch.translate(part).removeprefix("(?s:").partition(")")[0]
            else:
                pattern += re.escape(part)
        pattern += "" if is_last else "/"
    return pattern


def _format_of(path: str, known: dict[str, Format]) -> Format | None:
    lower = path.lower()
    return next((kind for ending, kind in known.items() if lower.endswith(ending)), None)


def _describe(
    key: str, file: _Found, settings: Input, entry: dict[str, Any] | None
) -> tuple[Shard, dict[str, Any] | None]:
    """Make a shard from what is cached, else from the file; with the entry to cache, if it may be."""
    kind = _format_of(file.place.path, _EXPLICIT) if settings.format == "auto" else settings.format
    if kind is None:
        raise ConfigError(
            f"input.paths: format of {file.place.uri} is not known by its name", hint="set input.format"
        )
    tag = _tag(file, kind, settings)
    if entry is not None and entry.get("tag") == tag:
        with contextlib.suppress(KeyError, TypeError, ValueError, pa.ArrowException):
            return _from_entry(key, file, kind, entry), entry
    shard = _read(key, file, kind, settings)
    is_settled = file.mtime_ns is not None and time.time_ns() - file.mtime_ns > SETTLED_S * 1e9
    return shard, _to_entry(shard, tag) if is_settled else None


def _tag(file: _Found, kind: Format, settings: Input) -> list[Any]:
    """Everything that a cached entry depends on."""
    parameter = settings.text if kind == "parquet" else settings.max_line_bytes
    return [file.size_bytes, file.mtime_ns, kind, settings.text, parameter]


def _read(key: str, file: _Found, kind: Format, settings: Input) -> Shard:
    if kind == "parquet":
        footer = parquet.read_footer(file.place, key, text=settings.text)
        fingerprint = _hash(file, key)
        return Shard(
            key=key,
            uri=file.place.uri,
            format=kind,
            fingerprint=fingerprint,
            size_bytes=file.size_bytes,
            num_rows=sum(footer.row_groups),
            row_groups=footer.row_groups,
            row_group_bytes=footer.row_group_bytes,
            schema=footer.schema,
        )
    listing = jsonl.scan(file.place, key, max_line_bytes=settings.max_line_bytes)
    _check_size(key, file, listing.size_bytes)
    schema = pa.schema([column for column in listing.schema if column.name != settings.text])
    return Shard(key, file.place.uri, kind, listing.fingerprint, file.size_bytes, None, schema=schema)


def _hash(file: _Found, key: str) -> str:
    if file.place.is_local:
        _check_size(key, file, Path(file.place.path).stat().st_size)
        return files.hash_file(Path(file.place.path))
    with HashingReader(storage.open_file(file.place), block_bytes=storage.REMOTE_BLOCK_BYTES) as reader:
        while reader.read_block():
            pass
        _check_size(key, file, reader.num_bytes)
        return reader.hexdigest()


def _check_size(key: str, file: _Found, size_bytes: int) -> None:
    if size_bytes != file.size_bytes:
        raise DataError(f"{key} changes while it is read: {size_bytes} bytes instead of {file.size_bytes}")


def _to_entry(shard: Shard, tag: list[Any]) -> dict[str, Any]:
    return {
        "tag": tag,
        "fingerprint": shard.fingerprint,
        "num_rows": shard.num_rows,
        "row_groups": list(shard.row_groups),
        "row_group_bytes": list(shard.row_group_bytes),
        "schema": base64.b64encode(shard.schema.serialize().to_pybytes()).decode("ascii"),
    }


def _from_entry(key: str, file: _Found, kind: Format, entry: dict[str, Any]) -> Shard:
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(entry["schema"], validate=True)))
    return Shard(
        key=key,
        uri=file.place.uri,
        format=kind,
        fingerprint=str(entry["fingerprint"]),
        size_bytes=file.size_bytes,
        num_rows=entry["num_rows"],
        row_groups=tuple(map(int, entry["row_groups"])),
        row_group_bytes=tuple(map(int, entry["row_group_bytes"])),
        schema=schema,
    )


def _read_cache(cache: Path | None) -> dict[str, dict[str, Any]]:
    """Read the cache; whatever is wrong with it, it is then empty."""
    if cache is None:
        return {}
    try:
        value = files.read_json(cache)
    except (OSError, DataError):
        return {}
    if (
        not isinstance(value, dict)
        or value.get("format") != CACHE_FORMAT
        or not isinstance(value.get("entries"), dict)
    ):
        return {}
    return {uri: entry for uri, entry in value["entries"].items() if isinstance(entry, dict)}
