"""Progress for people: a bar with rate and time left on a terminal, plain lines otherwise.

All of it goes to stderr. Plain lines come at most every ten seconds, so logs stay short.
"""

import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from curate.pipeline import progress

_LINE_EVERY_S = 10.0


class Bar:
    """A bar of rich; used when stderr is a terminal."""

    def __init__(self) -> None:
        """Make the bar; it appears with the first step."""
        columns = (
            TextColumn("{task.description:>8}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task: TaskID | None = None
        self._step = ""

    def start(self, step: str, *, num_bytes: int, num_tasks: int) -> None:
        """Show a bar for the step."""
        self._step = step
        self._progress.start()
        self._task = self._progress.add_task(step, total=max(num_bytes, 1))

    def advance(self, *, num_bytes: int = 0, num_tasks: int = 0) -> None:
        """Move the bar by bytes."""
        if self._task is not None:
            self._progress.advance(self._task, num_bytes)

    def finish(self, summary: str) -> None:
        """Replace the bar by a line."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.stop()
        print(f"{self._step:>8}  {summary}", file=sys.stderr)

    def warn(self, text: str) -> None:
        """Print it above the bar."""
        self._progress.console.print(f"warning: {text}", markup=False, highlight=False)


class Lines:
    """Plain lines; used when stderr is a file or a pipe."""

    def __init__(self) -> None:
        """Start silent."""
        self._step, self._total, self._done = "", 0, 0
        self._started = self._last = 0.0

    def start(self, step: str, *, num_bytes: int, num_tasks: int) -> None:
        """Name the step and its size."""
        self._step, self._total, self._done = step, num_bytes, 0
        self._started = self._last = time.monotonic()
        size = f", {num_bytes / 1e6:.1f} MB" if num_bytes else ""
        print(f"{step}: {num_tasks} tasks{size}", file=sys.stderr)

    def advance(self, *, num_bytes: int = 0, num_tasks: int = 0) -> None:
        """Print rate and time left every ten seconds."""
        self._done += num_bytes
        now = time.monotonic()
        if now - self._last < _LINE_EVERY_S:
            return
        self._last = now
        rate = self._done / (now - self._started)
        left = (self._total - self._done) / rate if rate > 0 else float("inf")
        print(
            f"{self._step}: {self._done / 1e6:.0f} of {self._total / 1e6:.0f} MB, "
            f"{rate / 1e6:.1f} MB/s, {left:.0f} s left",
            file=sys.stderr,
        )

    def finish(self, summary: str) -> None:
        """Print the summary."""
        print(f"{self._step}: {summary}", file=sys.stderr)

    def warn(self, text: str) -> None:
        """Print it."""
        print(f"warning: {text}", file=sys.stderr)


def terminal_progress() -> progress.Progress:
    """A bar where stderr is a terminal, plain lines otherwise."""
    return Bar() if sys.stderr.isatty() else Lines()
