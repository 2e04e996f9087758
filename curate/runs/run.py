"""The run: one recipe's decisions, in a folder that one process writes at a time.

`lock` is an advisory lock of the kernel on `.lock`: it ends with the process, however that ends. Not here:
measured columns (store.py), what a plan holds (docs/formats.md).
"""

import contextlib
import fcntl
import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from curate import files
from curate.errors import DataError, StateError
from curate.runs.ledger import Ledger, Problem
from curate.runs.records import FORMAT, Verify, check_format, check_relative


class Run(Ledger):
    """Decisions under one folder, which is made where it is missing.

    Args:
        root: the folder.
        store: where the measured columns are, relative to the run or absolute; None opens a run that exists.
        create: make what is missing; false only looks, and a run that is not there is empty.

    Raises:
        FileNotFoundError: there is no run and `store` is None.
        StateError: the run has a version that this package does not know, or another store.
    """

    data_folders = ("resolve", "plans", "quarantine")

    def __init__(self, root: Path, *, store: str | None = None, create: bool = True) -> None:
        super().__init__(root, create=create and store is not None)
        path = root / "run.json"
        if store is not None and not create and not path.exists():
            self.store: str = store
            return
        if store is not None and create:
            version = importlib.metadata.version("curate")
            files.create_json(path, {"format": FORMAT, "store": store, "created_by": f"curate {version}"})
        record = files.read_json(path)
        check_format(record, path)
        if not isinstance(record.get("store"), str):
            raise DataError(f"{path} names no store")
        if store is not None and record["store"] != store:
            raise StateError(
                f"{path} has another store than the recipe: {record['store']!r} and {store!r}",
                hint="give the run another folder, or remove it",
            )
        self.store = record["store"]

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run alone, with an empty scratch folder; StateError where another process holds it."""
        descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                raise StateError(
                    f"{self.root} is in use by process {owner or 'unknown'}",
                    hint="wait for it, or give this run another folder",
                ) from exc
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            self._clear_scratch()
            try:
                yield
            finally:
                self._clear_scratch()
        finally:
            os.close(descriptor)

    @property
    def scratch(self) -> Path:
        """Folder for spilled data: empty when a command starts and after it."""
        path = self.root / "scratch"
        path.mkdir(exist_ok=True)
        return path

    def _clear_scratch(self) -> None:
        path = self.root / "scratch"
        if path.is_symlink():
            raise StateError(f"a link inside a run is not followed when writing: {path}")
        if path.exists():
            shutil.rmtree(path)

    def write_recipe(self, text: str, *, is_secret: bool = False) -> Path:
        """Write the resolved recipe, in place of the one before; return its path.

        One with secrets, such as the keys of an object store, can be read by its owner alone.
        """
        path = self.root / "recipe.yaml"
        with files.atomic_file(path) as handle:
            if is_secret:
                os.fchmod(handle.fileno(), 0o600)
            handle.write(text.encode("utf-8"))
        return path

    def plan_folder(self, plan: str) -> Path:
        """Return the folder of a plan, by its fingerprint."""
        return self.root / "plans" / check_relative(plan)

    @property
    def current_plan(self) -> str | None:
        """Fingerprint of the plan that is obeyed, None before the first."""
        path = self.root / "current.json"
        try:
            record = files.read_json(path)
        except FileNotFoundError:
            return None
        check_format(record, path)
        plan = record.get("plan")
        if not isinstance(plan, str):
            raise DataError(f"{path} names no plan")
        return check_relative(plan)

    def set_current_plan(self, plan: str) -> None:
        """Make a plan the one that is obeyed; it has to be committed."""
        if not (self.plan_folder(plan) / "plan.json").is_file():
            raise StateError(f"{self.root} has no plan {plan}")
        files.replace_json(self.root / "current.json", {"format": FORMAT, "plan": plan})

    def verify(self, mode: Verify = "hash") -> list[Problem]:
        """Check records and files as the ledger does, and that the current plan exists."""
        problems = super().verify(mode)
        plan = self.current_plan
        if plan is not None and not (self.plan_folder(plan) / "plan.json").is_file():
            problems.append(Problem(path="current.json", what=f"names no plan: {plan}"))
        return problems

    def gc(self, *, grace_s: float = 86_400) -> list[str]:
        """Remove what the ledger would, with the run locked."""
        with self.lock():
            return super().gc(grace_s=grace_s)


def quarantine_path(task: str) -> str:
    """Return where the bad rows of a piece are listed, by its task, relative to the run."""
    return f"quarantine/{task}.parquet"
