"""A memory limit that the kernel holds a process to: a cgroup of its own, where one may be made."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryGroup:
    """A cgroup with a limit; a process in it that needs more is killed."""

    folder: Path
    peak_file: str

    def add(self, pid: int) -> None:
        """Put a process into the group; what it has already allocated stays with its old one."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def peak_mib(self) -> float:
        """The most memory that the group had, with files that were read and written until they had to go."""
        return int((self.folder / self.peak_file).read_text()) / 2**20


@contextlib.contextmanager
def memory_group(num_bytes: int) -> Iterator[MemoryGroup | None]:
    """Make a group limited to `num_bytes`; None where there is no controller that this process may use."""
    name = f"curate-test-{os.getpid()}"
    if (V1 / "memory.limit_in_bytes").exists():
        group, limit = MemoryGroup(V1 / name, "memory.max_usage_in_bytes"), "memory.limit_in_bytes"
    else:
        group, limit = MemoryGroup(V2 / name, "memory.peak"), "memory.max"
    try:
        group.folder.mkdir()
    except OSError:
        yield None
        return
    try:
        usable = (group.folder / limit).exists() and (group.folder / group.peak_file).exists()
        if usable:
            (group.folder / limit).write_text(str(num_bytes))
        yield group if usable else None
    finally:
        group.folder.rmdir()
