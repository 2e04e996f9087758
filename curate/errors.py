"""Every exception of the package.

    CurateError
      ConfigError   (and ValueError)    a setting is wrong: key path, value, what is allowed
      DataError     (and ValueError)    an input is wrong: shard, row, what was expected
      StateError    (and RuntimeError)  a saved state is not of this run: both values
      MissingExtra  (and ImportError)   an optional package is missing: the pip line
      WorkerError   (and RuntimeError)  a process of ours died: which one, and what it was doing

`OSError` and its children (a missing file, a full disk) stay themselves.
"""


class CurateError(Exception):
    """Base of every exception that this package raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(CurateError, ValueError):
    """A setting is wrong; the message has the key path, the value and what is allowed."""

    exit_code = 2


class DataError(CurateError, ValueError):
    """An input is wrong; the message has the shard, the row where known and what was expected."""


class StateError(CurateError, RuntimeError):
    """A saved state does not belong to this run; the message has both values."""


class MissingExtra(CurateError, ImportError):
    """An optional package is missing; the message has the pip line."""


class WorkerError(CurateError, RuntimeError):
    """A process of ours died; the message has which one and what it was doing."""
