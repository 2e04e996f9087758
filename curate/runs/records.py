"""What a commit says: the task, the files it made, and facts about them.

These are the JSON records of docs/formats.md. They come from disk, so reading one checks it: the version, the
types, and that every path is relative and stays inside its folder.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from curate.errors import DataError, StateError
from curate.schema import fingerprint

FORMAT = 1
SHORT = 16
"""Characters of a fingerprint that names of files and folders carry."""

Verify = Literal["size", "hash"]
"""How far files are compared with their record."""

_T = TypeVar("_T")

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,199}")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A unit of work: equal tasks make equal files."""

    step: str
    """Which step it belongs to: measure, resolve, plan, deliver."""
    name: str
    """What it does inside the step."""
    inputs: Sequence[str] = ()
    """Fingerprints of what it reads, in order."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else decides its output, as JSON values."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))

    def to_record(self) -> dict[str, Any]:
        """Return the task as JSON values."""
        return {
            "step": self.step,
            "name": self.name,
            "inputs": list(self.inputs),
            "settings": dict(self.settings),
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that decides the task's output."""
        return fingerprint(self.to_record())


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """A committed file; `num_rows` is None where it has no rows."""

    path: str
    size_bytes: int
    blake3: str
    num_rows: int | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the file as JSON values."""
        return {
            "path": self.path,
            "size_bytes": self.size_bytes,
            "num_rows": self.num_rows,
            "blake3": self.blake3,
        }


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A finished task with its files."""

    task: Task
    files: tuple[FileRecord, ...]
    meta: Mapping[str, Any]

    def to_record(self) -> dict[str, Any]:
        """Return the commit as JSON values, with its version."""
        return {
            "format": FORMAT,
            "task": self.task.to_record(),
            "files": [file.to_record() for file in self.files],
            "meta": dict(self.meta),
        }


def read_commit(record: Any, where: Path) -> Commit:
    """Build a commit from its record.

    Raises:
        StateError: the record has a version that this package does not know.
        DataError: the record is damaged; `where` is named.
    """
    check_format(record, where)
    try:
        task, files = record["task"], record["files"]
        return Commit(
            task=Task(
                step=_typed(task["step"], str),
                name=_typed(task["name"], str),
                inputs=tuple(_typed(value, str) for value in _typed(task["inputs"], list)),
                settings=_typed(task["settings"], dict),
            ),
            files=tuple(_read_file(file) for file in _typed(files, list)),
            meta=_typed(record["meta"], dict),
        )
    except (KeyError, TypeError, StateError) as exc:
        raise DataError(f"{where} is not a commit record: {exc}") from exc


def _read_file(record: Any) -> FileRecord:
    num_rows = record["num_rows"]
    return FileRecord(
        path=check_relative(_typed(record["path"], str)),
        size_bytes=_typed(record["size_bytes"], int),
        blake3=_typed(record["blake3"], str),
        num_rows=None if num_rows is None else _typed(num_rows, int),
    )


def _typed(value: Any, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}: {str(value)[:100]!r}")
    return value


def check_format(record: Any, where: Path) -> None:
    """Refuse a record whose version is not known, by name."""
    if not isinstance(record, dict) or "format" not in record:
        raise DataError(f"{where} has no format version")
    if record["format"] != FORMAT:
        raise StateError(
            f"{where} has format {record['format']!r}, this version reads {FORMAT}",
            hint="use the version of curate that wrote it",
        )


def check_relative(path: str) -> str:
    """Return `path` if it is a plain relative path that stays inside its folder, else raise StateError."""
    if not all(_PART.fullmatch(part) for part in path.split("/")):
        raise StateError(f"a path in a record is relative, of plain names: {path!r}")
    return path
