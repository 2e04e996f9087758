"""The files of one task on their way to a commit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from curate import _rust, files
from curate.errors import StateError
from curate.runs.records import Commit, FileRecord, Task, Verify, check_relative


class Records(Protocol):
    """Where a draft ends up: the ledger."""

    root: Path

    def lookup(self, task: Task, *, verify: Verify) -> Commit | None:
        """Find the commit of a task."""
        ...

    def commit(self, task: Task, made: Sequence[FileRecord], *, meta: Mapping[str, Any]) -> Commit:
        """Record a task as done."""
        ...


class Output:
    """A file being written, hashed and counted on the way; Arrow and Parquet writers take it as a file.

    Leaving its block makes it whole, or removes it where there was an exception. Set `num_rows` where it has
    rows.
    """

    def __init__(self, path: str, new: files.NewFile) -> None:
        self.path = path
        self.num_rows: int | None = None
        self.closed = False
        self._new = new
        self._hasher = _rust.Hasher()
        self._size_bytes = 0

    def write(self, data: bytes) -> int:
        """Append `data`; after `discard` it goes nowhere."""
        data = bytes(data)
        if not self.closed:
            self._new.write(data)
            self._hasher.update(data)
            self._size_bytes += len(data)
        return len(data)

    def tell(self) -> int:
        """Return the number of bytes so far."""
        return self._size_bytes

    def flush(self) -> None:
        """Do nothing: the file is synced when it is whole."""

    def close(self) -> None:
        """Do nothing: a writer above this file may close it early."""

    def seal(self) -> None:
        """Sync the file; it is whole."""
        self._new.seal()
        self.closed = True

    def discard(self) -> None:
        """Remove the file, unless it was published."""
        self._new.discard()
        self.closed = True

    def publish(self) -> Path:
        """Give the file its name; return its folder, which is to be synced."""
        assert self.closed, "a file is sealed before it gets its name"
        self._new.publish()
        return self._new.path.parent

    def to_record(self) -> FileRecord:
        """Describe the file."""
        return FileRecord(
            path=self.path,
            size_bytes=self._size_bytes,
            num_rows=self.num_rows,
            blake3=self._hasher.hexdigest(),
        )

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, kind: object, exc: object, traceback: object) -> None:
        if exc is None:
            self.seal()
        else:
            self.discard()


class Draft:
    """The files of one task before they are committed; leaving its block without a commit removes them."""

    def __init__(self, ledger: Records, task: Task) -> None:
        self.task = task
        self._ledger = ledger
        self._outputs: list[Output] = []

    def create(self, path: str) -> Output:
        """Open a new file; `path` is relative to the ledger's folder."""
        output = Output(path, files.NewFile(self._target(path)))
        self._outputs.append(output)
        return output

    def commit(self, *, meta: Mapping[str, Any] | None = None) -> Commit:
        """Give the files their names and record the task as done; return the commit that holds.

        Where the task was committed meanwhile and those files are good, they stay and these are removed.
        """
        done = self._ledger.lookup(self.task, verify="hash")
        if done is not None:
            return done
        for folder in sorted({output.publish() for output in self._outputs}):
            files.sync_dir(folder)
        return self._ledger.commit(
            self.task, [output.to_record() for output in self._outputs], meta=meta or {}
        )

    def _target(self, path: str) -> Path:
        """Resolve `path` and make its folder; refuse one that leaves the root, through a link too."""
        folder = self._ledger.root
        for part in check_relative(path).split("/")[:-1]:
            folder /= part
            if folder.is_symlink():
                raise StateError(f"a link inside a run or store is not followed when writing: {folder}")
        files.make_dirs(folder)
        return folder / path.rpartition("/")[2]

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, kind: object, exc: object, traceback: object) -> None:
        for output in self._outputs:
            output.discard()
