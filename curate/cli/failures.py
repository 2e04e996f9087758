"""Running a command: what ends it becomes an exit code and at most two lines on stderr."""

import contextlib
import os
import signal
import sys
import threading
import traceback

import typer

from curate.cli.options import app
from curate.errors import CurateError

_INTERRUPTED = 130


def _fail(message: str, hint: str | None, code: int) -> int:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if lines:
        print(f"error: {'; '.join(lines)}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return code


def _describe(exc: BaseException) -> tuple[str, str | None, int]:
    """Message, way out and exit code of what ended a command."""
    if isinstance(exc, CurateError):
        return str(exc), exc.hint, exc.exit_code
    if isinstance(exc, KeyboardInterrupt | typer.Abort):
        return "interrupted; what was committed stays", "run the same command again to go on", _INTERRUPTED
    if hasattr(exc, "format_message"):  # what click raises for wrong usage
        context = getattr(exc, "ctx", None)
        path = context.command_path if context is not None else "curate"
        return exc.format_message(), f"{path} --help", 2
    if isinstance(exc, FileNotFoundError) and exc.filename is not None:
        return f"there is no such file or folder: {exc.filename}", None, 1
    if isinstance(exc, OSError):
        return str(exc), None, 1
    return f"{type(exc).__name__}: {exc}", "--debug shows where", 1


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        result = app(args=arguments, prog_name="curate", standalone_mode=False)
        sys.stdout.flush()
        if result == _INTERRUPTED:  # newer versions of typer return this instead of raising
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except typer.Exit as exc:
        return exc.exit_code
    except SystemExit as exc:  # what click makes of a broken pipe
        return exc.code if isinstance(exc.code, int) else 1
    except BrokenPipeError:  # who reads stdout has gone; what is left in its buffer goes nowhere
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as exc:  # the one place that turns everything else into a line
        if debug:
            traceback.print_exc()
        return _fail(*_describe(exc))
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)
