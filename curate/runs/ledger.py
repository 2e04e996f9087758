"""The ledger: which tasks are done, and which files exist because of it.

A task writes its files under temporary names, gives them their names, and then creates `commits/<task>.json`
if it is absent. Only that record makes the files exist for a reader, so a process may be killed at any
moment, and any number of processes may work on one ledger: equal tasks write equal bytes, and of two records
one wins.

A record whose files are missing or wrong counts as absent; it is moved to `commits/damaged/` and the task is
done again. The cost of a task is two fsyncs for the record, one for each file and one for each folder; a
lookup reads one small file and asks for the size of each file it names. Not here: what the files hold
(store.py, run.py).
"""

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate import files
from curate.errors import DataError, StateError
from curate.runs.draft import Draft, Output
from curate.runs.records import FORMAT, SHORT, Commit, FileRecord, Task, Verify, check_format, read_commit
from curate.schema import fingerprint

_log = logging.getLogger(__name__)
_MAX_TRIES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that is not as a record says."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class Ledger:
    """The commits under one folder, which is made where it is missing, unless `create` is false.

    Without `create` nothing is written by looking either: damaged records stay where they are.
    """

    data_folders: tuple[str, ...] = ()
    """Folders of files that only a commit makes exist; `gc` removes others from them."""

    def __init__(self, root: Path, *, create: bool = True) -> None:
        self.root = root
        self.may_repair = create
        if create:
            files.make_dirs(root)

    # Reading

    def lookup(self, task: Task, *, verify: Verify = "size", repair: bool = True) -> Commit | None:
        """Find the commit of a task, or None where the task has to be done.

        Args:
            task: what was to be done.
            verify: check the sizes of its files, or their hashes as well.
            repair: move a damaged record aside, so that the task can be committed again.
        """
        path = self._commit_path(task.fingerprint)
        try:
            problems, commit = self._check_record(path, verify)
        except FileNotFoundError:
            return None
        if commit is not None and not problems:
            return commit
        _log.warning("%s counts as not done: %s", path, "; ".join(map(str, problems)))
        if repair and self.may_repair:
            self._move_aside(path, verify)
        return None

    def commits(self) -> Iterator[Commit]:
        """Iterate over all records in the order of their names; files are not checked."""
        for path in self._commit_paths():
            with contextlib.suppress(FileNotFoundError):
                yield read_commit(files.read_json(path), path)

    def path_of(self, file: FileRecord) -> Path:
        """Return where a committed file is."""
        return self.root / file.path

    # Writing

    def begin(self, task: Task) -> Draft:
        """Start to write the files of a task; use as a context manager and call its `commit`."""
        return Draft(self, task)

    def write(
        self,
        task: Task,
        writers: Mapping[str, Callable[[Output], int | None]],
        *,
        meta: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Do a task whose files are written by functions, which return the number of rows, and commit it."""
        with self.begin(task) as draft:
            for path, writer in writers.items():
                with draft.create(path) as output:
                    output.num_rows = writer(output)
            return draft.commit(meta=meta)

    def commit(self, task: Task, made: Sequence[FileRecord], *, meta: Mapping[str, Any]) -> Commit:
        """Record a task as done, if it is not yet; return the commit that holds.

        The files must be in place and synced. Where another process was first and its files are good, its
        record holds.
        """
        mine = Commit(task=task, files=tuple(made), meta=meta)
        path = self._commit_path(task.fingerprint)
        files.make_dirs(path.parent)
        for _ in range(_MAX_TRIES):
            if files.create_json(path, mine.to_record()):
                return mine
            other = self.lookup(task, verify="hash")
            if other is not None:
                return other
        raise StateError(f"{path} is damaged again each time it is replaced")

    # Closing manifests

    def close_step(self, step: str, commits: Sequence[Commit]) -> str:
        """Write the manifest of a finished step, so that it is found by one read; return its fingerprint."""
        key = fingerprint([commit.task.fingerprint for commit in commits])
        path = self._step_path(step, key)
        files.make_dirs(path.parent)
        record = {"format": FORMAT, "step": step, "commits": [commit.to_record() for commit in commits]}
        if not files.create_json(path, record) and not _holds(path, record):
            files.replace_json(path, record)
        return key

    def read_step(self, step: str, tasks: Sequence[Task], *, verify: Verify = "size") -> list[Commit] | None:
        """Return the commits of a closed step of exactly these tasks; None where a file is not as it was."""
        path = self._step_path(step, fingerprint([task.fingerprint for task in tasks]))
        try:
            commits = self._read_manifest(path)
        except FileNotFoundError:
            return None
        except DataError as exc:
            _log.warning("%s is not used: %s", path, exc)
            return None
        done = all(not self._check_files(commit, verify) for commit in commits)
        same = [c.task.fingerprint for c in commits] == [task.fingerprint for task in tasks]
        return commits if done and same else None

    # Care

    def verify(self, mode: Verify = "hash") -> list[Problem]:
        """Check every record and manifest against the files: sizes, rows of Parquet files, and hashes."""
        problems = []
        records = {}
        for path in self._commit_paths():
            found, commit = self._check_record(path, mode)
            problems += found
            if commit is not None:
                records[commit.task.fingerprint] = commit
                problems += self._check_rows(commit) if not found else []
        return problems + self._check_manifests(records)

    def _check_manifests(self, records: Mapping[str, Commit]) -> list[Problem]:
        problems = []
        for path in sorted((self.root / "steps").glob("*.json")):
            name = self._name(path)
            try:
                commits = self._read_manifest(path)
            except DataError as exc:
                problems.append(Problem(path=name, what=str(exc)))
                continue
            for commit in commits:
                if records.get(commit.task.fingerprint) != commit:
                    problems.append(Problem(path=name, what=f"names no commit: {commit.task.fingerprint}"))
        return problems

    def gc(self, *, grace_s: float = 86_400) -> list[str]:
        """Remove temporary files, and files that no commit names, that are older than `grace_s`; list them.

        Safe beside writers that take less than `grace_s` from the first byte of a file to the commit.
        """
        oldest = time.time() - grace_s
        candidates = [path for path in self._all_files() if _is_older(path, oldest)]
        # Read after the candidates were listed: a file that was committed meanwhile is named.
        named = {file.path for commit in self.commits() for file in commit.files}
        removed = []
        for path in candidates:
            name = self._name(path)
            if files.is_temporary(path.name) or self._is_garbage(name, named):
                path.unlink(missing_ok=True)
                removed.append(name)
        return removed

    def _is_garbage(self, name: str, named: set[str]) -> bool:
        in_data = name.split("/", 1)[0] in self.data_folders and not name.endswith("/pass.json")
        return (in_data and name not in named) or name.startswith("commits/damaged/")

    def _all_files(self) -> list[Path]:
        found = []
        for folder, _, names in os.walk(self.root):
            found += [Path(folder, name) for name in names]
        return sorted(found)

    # Records

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _commit_path(self, key: str) -> Path:
        return self.root / "commits" / f"{key}.json"

    def _commit_paths(self) -> list[Path]:
        folder = self.root / "commits"
        return sorted(path for path in folder.glob("*.json") if not files.is_temporary(path.name))

    def _step_path(self, step: str, key: str) -> Path:
        return self.root / "steps" / f"{step}-{key[:SHORT]}.json"

    def _read_manifest(self, path: Path) -> list[Commit]:
        record = files.read_json(path)
        check_format(record, path)
        if not isinstance(record.get("commits"), list):
            raise DataError(f"{path} lists no commits")
        return [read_commit(item, path) for item in record["commits"]]

    def _check_record(self, path: Path, verify: Verify) -> tuple[list[Problem], Commit | None]:
        """Read a record and compare it with its name and files; an unknown version is a StateError."""
        try:
            commit = read_commit(files.read_json(path), path)
        except DataError as exc:
            return [Problem(path=self._name(path), what=str(exc))], None
        if commit.task.fingerprint != path.stem:
            what = f"is the record of another task: {commit.task.fingerprint}"
            return [Problem(path=self._name(path), what=what)], None
        return self._check_files(commit, verify), commit

    def _check_files(self, commit: Commit, verify: Verify) -> list[Problem]:
        problems = []
        for file in commit.files:
            path = self.path_of(file)
            try:
                size = path.stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                problems.append(Problem(path=file.path, what="is missing"))
                continue
            if size != file.size_bytes:
                what = f"has another size than recorded: {size} and {file.size_bytes}"
                problems.append(Problem(path=file.path, what=what))
            elif verify == "hash" and (found := files.hash_file(path)) != file.blake3:
                what = f"has another hash than recorded: {found} and {file.blake3}"
                problems.append(Problem(path=file.path, what=what))
        return problems

    def _check_rows(self, commit: Commit) -> list[Problem]:
        problems = []
        for file in commit.files:
            if file.num_rows is None or not file.path.endswith(".parquet"):
                continue
            try:
                found = pq.read_metadata(self.path_of(file)).num_rows
            except (pa.ArrowException, OSError) as exc:
                problems.append(Problem(path=file.path, what=f"cannot be read: {exc}"))
                continue
            if found != file.num_rows:
                what = f"has another number of rows than recorded: {found} and {file.num_rows}"
                problems.append(Problem(path=file.path, what=what))
        return problems

    def _move_aside(self, path: Path, verify: Verify) -> None:
        """Take a damaged record out of the way, unless another process has just replaced it by a good one."""
        folder = path.parent / "damaged"
        files.make_dirs(folder)
        aside = folder / f"{path.stem}-{uuid.uuid4().hex[:12]}.json"
        try:
            path.replace(aside)
        except FileNotFoundError:  # another process did
            return
        problems, commit = self._check_moved(aside, path, verify)
        if commit is not None and not problems:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(aside)
            aside.unlink()
        files.sync_dir(path.parent)

    def _check_moved(self, aside: Path, path: Path, verify: Verify) -> tuple[list[Problem], Commit | None]:
        try:
            commit = read_commit(files.read_json(aside), aside)
        except DataError as exc:
            return [Problem(path=self._name(aside), what=str(exc))], None
        if commit.task.fingerprint != path.stem:
            return [], None
        return self._check_files(commit, verify), commit


def _holds(path: Path, record: object) -> bool:
    try:
        return bool(files.read_json(path) == record)
    except DataError:
        return False


def _is_older(path: Path, oldest: float) -> bool:
    try:
        return path.lstat().st_mtime <= oldest
    except FileNotFoundError:
        return False
