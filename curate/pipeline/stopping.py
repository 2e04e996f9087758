"""Stopping between tasks: the first Ctrl-C lets the task at hand finish, the second stops at once.

What a task has not committed when it is stopped is done again, so the second is safe too; the first saves the
work of up to one task. Signals belong to the main thread of the process; elsewhere nothing changes.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType


class Stop:
    """Whether to stop before the next task."""

    def __init__(self) -> None:
        self._is_asked = threading.Event()

    def ask(self) -> None:
        """Stop before the next task."""
        self._is_asked.set()

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was asked; called before each task."""
        if self._is_asked.is_set():
            raise KeyboardInterrupt

    def listen(self, tell: Callable[[str], None]) -> None:
        """From now on the first SIGINT asks and tells so; the next does what SIGINT did before."""
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGINT)

        def handle(number: int, frame: FrameType | None) -> None:
            signal.signal(number, before)
            self.ask()
            tell("stopping when the task at hand is done; Ctrl-C again stops now")

        signal.signal(signal.SIGINT, handle)
