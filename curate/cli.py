"""The command line: parse, call one function, print.

Results go to stdout (one JSON object with `--json`), everything else to stderr. Exit codes: 0 done, 1
failed, 2 a setting or the usage is wrong, 3 done but too many rows were unreadable, 4 `verify` found
damage, 130 interrupted (what was committed stays; the first Ctrl-C lets the task at hand finish). Commands
import what they call when they run, so that `--help` is quick.
"""

import contextlib
import importlib.metadata
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.errors import ConfigError, CurateError

if TYPE_CHECKING:
    from curate.pipeline import OpenRun, Session

app = typer.Typer(
    name="curate",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(no_args_is_help=True, help="Show a resolved recipe, or the schema of recipes.")
app.add_typer(config_app, name="config")

RecipePath = Annotated[
    Path, typer.Argument(help="Recipe, a YAML file.", metavar="RECIPE", exists=True, dir_okay=False)
]
RunPath = Annotated[Path, typer.Argument(help="Folder of a run.", metavar="RUN")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Override a key of the recipe.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads; default: CURATE_NUM_THREADS, else all cores.")
]
Memory = Annotated[
    str, typer.Option("--memory", help="Budget for batches, queues and sorts, such as 512MiB or 4GB.")
]
Relocate = Annotated[
    list[str] | None,
    typer.Option("--relocate", metavar="OLD=NEW", help="Shards below OLD are below NEW now."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Part = Annotated[str | None, typer.Option("--part", metavar="I/N", help="Measure only part I of N (from 1).")]


_INTERRUPTED = 130


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"curate {importlib.metadata.version('curate')}")
        raise typer.Exit


@app.callback(
    epilog="Everywhere: --debug shows where an error comes from. Exit codes: 0 done, 1 failed, 2 wrong "
    "setting or usage, 3 done but too many rows were unreadable, 4 verify found damage, 130 interrupted."
)
def _curate(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Select and curate pretraining corpora: text is read once, every decision after that is repeatable."""


def _session(
    recipe: Path,
    overrides: list[str] | None,
    threads: int | None,
    memory: str,
    quiet: bool,
    *,
    read_only: bool = False,
) -> "Session":
    from curate import pipeline

    limits = pipeline.Limits(
        num_threads=threads or pipeline.default_threads(), memory_bytes=pipeline.parse_bytes(memory)
    )
    progress = pipeline.Silent() if quiet else pipeline.terminal_progress()
    stop = pipeline.Stop()
    stop.listen(lambda text: print(text, file=sys.stderr, flush=True))
    return pipeline.Session(
        pipeline.load_recipe(recipe, overrides=overrides),
        limits=limits,
        progress=progress,
        read_only=read_only,
        stop=stop,
    )


def _open(run_dir: Path, relocate: list[str] | None = None) -> "OpenRun":
    from curate import pipeline

    places = [pair.partition("=") for pair in relocate or []]
    for old, _, new in places:
        if not (old and new):
            raise ConfigError(f"--relocate is OLD=NEW: {old or new}")
    return pipeline.open_run(run_dir, relocate={old: new for old, _, new in places})


def _print(value: Any, as_json: bool, text: str) -> None:
    print(json.dumps(value, indent=2, sort_keys=True) if as_json else text)


def _finish(result: "OpenRun", as_json: bool) -> None:
    """Print what came out and leave with the code for it."""
    _print(result.summary(), as_json, result.as_text())
    if result.exit_code:
        totals = result.plan_file.header["totals"]
        print(
            f"warning: {totals['bad_docs']} of {totals['num_docs']} rows could not be read, more than "
            f"max_bad = {result.session.recipe.max_bad} allows; they are listed in {result.path}/quarantine",
            file=sys.stderr,
        )
    raise typer.Exit(result.exit_code)


@app.command()
def run(  # over: the options of a command are its parameters
    recipe: RecipePath,
    overrides: Set = None,
    threads: Threads = None,
    memory: Memory = "2GiB",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, what is cached and why not.")
    ] = False,
    no_write: Annotated[
        bool, typer.Option("--no-write", help="Stop after the plan; the loader reads plan and shards.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure, resolve, plan, deliver, then report; what is done already is not redone."""
    from curate import pipeline
    from curate.report.fromrun import write_report

    session = _session(recipe, overrides, threads, memory, quiet, read_only=dry_run)
    if dry_run:
        forecast = pipeline.forecast(session, write=not no_write)
        _print(forecast.as_dict(), as_json, forecast.as_text())
        return
    result = pipeline.run_steps(session, write=not no_write)
    write_report(result)
    _finish(result, as_json)


@app.command()
def measure(
    recipe: RecipePath,
    overrides: Set = None,
    threads: Threads = None,
    memory: Memory = "2GiB",
    part: Part = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Turn text into columns; the only step that reads all text."""
    from curate import pipeline

    session = _session(recipe, overrides, threads, memory, quiet)
    pipeline.prepare(session)
    timing = pipeline.measure(session, part=pipeline.parse_part(part))
    _print(
        timing.as_dict(), as_json, f"measured {timing.num_tasks} tasks, {timing.num_cached} were done already"
    )


@app.command()
def dedup(
    recipe: RecipePath,
    overrides: Set = None,
    threads: Threads = None,
    memory: Memory = "2GiB",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find duplicate clusters and fit what the plan needs; measures first where columns are missing."""
    from curate import pipeline

    session = _session(recipe, overrides, threads, memory, quiet)
    timing = pipeline.run_resolve(session)
    _print(
        timing.as_dict(),
        as_json,
        f"resolved {timing.num_tasks} artefacts, {timing.num_cached} were done already",
    )


@app.command()
def plan(
    recipe: RecipePath,
    overrides: Set = None,
    threads: Threads = None,
    memory: Memory = "2GiB",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Decide what is kept; after the first time without reading any text."""
    from curate import pipeline

    session = _session(recipe, overrides, threads, memory, quiet)
    result = pipeline.run_steps(session, write=False)
    _finish(result, as_json)


@app.command()
def write(
    recipe: RecipePath,
    overrides: Set = None,
    threads: Threads = None,
    memory: Memory = "2GiB",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the curated shards, after what is missing before that."""
    from curate import pipeline

    session = _session(recipe, overrides, threads, memory, quiet)
    result = pipeline.run_steps(session, write=True)
    _finish(result, as_json)


@app.command()
def status(run_dir: RunPath, relocate: Relocate = None, as_json: AsJson = False) -> None:
    """Say what a run has done."""
    state = _open(run_dir, relocate).status()
    _print(state, as_json, "\n".join(f"{key}: {value}" for key, value in state.items()))


@app.command()
def verify(
    run_dir: RunPath,
    size_only: Annotated[bool, typer.Option("--size-only", help="Check sizes and rows, not hashes.")] = False,
    relocate: Relocate = None,
    as_json: AsJson = False,
) -> None:
    """Check sizes, hashes, row counts and that in = kept + dropped; exit 4 when something is wrong."""
    problems, num_checked = _open(run_dir, relocate).verify("size" if size_only else "hash")
    text = "\n".join(problems) if problems else f"{num_checked} files are as committed, the ledger adds up"
    _print({"problems": problems, "num_checked": num_checked}, as_json, text)
    raise typer.Exit(4 if problems else 0)


@app.command()
def explain(
    run_dir: RunPath,
    document: Annotated[str, typer.Argument(help="doc:<hash>, id:<id> or <shard key>:<row>.", metavar="DOC")],
    relocate: Relocate = None,
    as_json: AsJson = False,
) -> None:
    """Say why a document was kept or dropped, with every measured value and limit."""
    from curate.report.fromrun import explain_documents

    found = explain_documents(_open(run_dir, relocate), document)
    _print([item.to_json() for item in found], as_json, "\n".join(item.text() for item in found))


@app.command()
def report(run_dir: RunPath, relocate: Relocate = None, as_json: AsJson = False) -> None:
    """Write the report of a run again and print where it is (or the report itself, with --json)."""
    from curate.report.fromrun import write_report

    path = write_report(_open(run_dir, relocate))
    print(path.with_suffix(".json").read_text(encoding="utf-8") if as_json else path)


@app.command()
def gc(
    run_dir: RunPath,
    grace_s: Annotated[
        float, typer.Option("--grace", min=0, help="Seconds a file must be old to be removed.")
    ] = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Remove temporary files and files that nothing commits, in the run and its store."""
    removed = _open(run_dir).gc(grace_s)
    _print({"removed": removed}, as_json, f"removed {len(removed)} files")


@app.command()
def init(
    paths: Annotated[
        list[str], typer.Argument(help="Shards: files, folders, globs or URLs.", metavar="PATHS")
    ],
) -> None:
    """Profile shards and print a commented recipe for them."""
    from curate.profile import profile
    from curate.shards import Input

    print(profile(Input(paths=paths)), end="")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check the installation: versions, the native extension, threads, memory, optional packages."""
    from curate import pipeline

    facts = pipeline.doctor()
    _print(facts, as_json, "\n".join(f"{key:<22} {value}" for key, value in facts.items()))


@config_app.command("show")
def config_show(recipe: RecipePath, overrides: Set = None) -> None:
    """Print the recipe with every default filled in."""
    from curate import pipeline

    print(pipeline.dump_recipe(pipeline.load_recipe(recipe, overrides=overrides)), end="")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from curate import pipeline

    print(json.dumps(pipeline.Recipe.model_json_schema(), indent=2, sort_keys=True))


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


__all__ = ["app", "main"]

if __name__ == "__main__":
    main()
