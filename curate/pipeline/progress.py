"""What a long step tells its watcher, and what it took.

A `Progress` is called from one thread at a time. Timings go to `timings.json` of the run and to the report,
never into a result that is compared.
"""

import time
from dataclasses import dataclass, field
from typing import Protocol


class Progress(Protocol):
    """Watches one step at a time."""

    def start(self, step: str, *, num_bytes: int, num_tasks: int) -> None:
        """A step begins; `num_bytes` of text and `num_tasks` tasks are to be done."""
        ...

    def advance(self, *, num_bytes: int = 0, num_tasks: int = 0) -> None:
        """That much more is done."""
        ...

    def finish(self, summary: str) -> None:
        """The step is over; `summary` is one line for people."""
        ...

    def warn(self, text: str) -> None:
        """Something that the user may want to change, one line."""
        ...


class Silent:
    """Watches nothing."""

    def start(self, step: str, *, num_bytes: int, num_tasks: int) -> None:
        """Do nothing."""

    def advance(self, *, num_bytes: int = 0, num_tasks: int = 0) -> None:
        """Do nothing."""

    def finish(self, summary: str) -> None:
        """Do nothing."""

    def warn(self, text: str) -> None:
        """Do nothing."""


@dataclass(kw_only=True)
class Timing:
    """What one step took in this process."""

    step: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    num_bytes: int = 0
    num_tasks: int = 0
    num_cached: int = 0
    """Tasks that were found done."""
    _started: tuple[float, float] = field(default=(0.0, 0.0), repr=False)

    def __enter__(self) -> "Timing":
        self._started = (time.perf_counter(), time.process_time())
        return self

    def __exit__(self, *exc: object) -> None:
        wall, cpu = self._started
        self.wall_s = time.perf_counter() - wall
        self.cpu_s = time.process_time() - cpu

    def as_dict(self) -> dict[str, float | int | str]:
        """The public fields, for JSON."""
        return {
            "step": self.step,
            "wall_s": round(self.wall_s, 3),
            "cpu_s": round(self.cpu_s, 3),
            "num_bytes": self.num_bytes,
            "num_tasks": self.num_tasks,
            "num_cached": self.num_cached,
        }
