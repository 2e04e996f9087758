"""How much of the machine a command may use.

The memory budget is for what this package holds: batches, queues, sorts, spilled partitions. The
interpreter and its libraries take about 150 MiB beside it.
"""

import os
import re
from dataclasses import dataclass
from typing import Self

from curate.errors import ConfigError

_UNITS = {
    "": 1, "B": 1, "K": 10**3, "KB": 10**3, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9,
    "T": 10**12, "TB": 10**12,
    "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}  # fmt: skip

MIN_MEMORY = 128 << 20


def parse_bytes(text: str) -> int:
    """Read a size such as `512MiB`, `4GB` or `1073741824`.

    Raises:
        ConfigError: the text is not a number with a known unit.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise ConfigError(f"a size is a number with B, KB, MB, GB, TB, KiB, MiB, GiB or TiB: {text}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def default_threads() -> int:
    """CURATE_NUM_THREADS where it is set, else the cores that this process may use.

    Raises:
        ConfigError: CURATE_NUM_THREADS is not a positive number.
    """
    text = os.environ.get("CURATE_NUM_THREADS")
    if text is None:
        return len(os.sched_getaffinity(0))
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"CURATE_NUM_THREADS must be a positive number: {text}")
    return int(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Threads and bytes; neither changes any result."""

    num_threads: int = 1
    memory_bytes: int = 2 << 30

    def __post_init__(self) -> None:
        """Check the bounds."""
        if self.memory_bytes < MIN_MEMORY:
            raise ConfigError(
                f"--memory must be at least {MIN_MEMORY >> 20}MiB: {self.memory_bytes >> 20}MiB"
            )

    @classmethod
    def of(cls, num_threads: int | None, memory: str) -> Self:
        """Read what a command is told: None is `default_threads`, memory is a size such as `2GiB`.

        Raises:
            ConfigError: a size or CURATE_NUM_THREADS cannot be read, or the memory is too little.
        """
        return cls(num_threads=num_threads or default_threads(), memory_bytes=parse_bytes(memory))

    @property
    def batch_bytes(self) -> int:
        """Bytes of text in one batch: four are alive at a time, each with its columns."""
        return min(16 << 20, self.memory_bytes // 16)
