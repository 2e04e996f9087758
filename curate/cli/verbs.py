"""The verbs of a run, and of what is around one: recipes, shards, the installation."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.opening import open_run, open_session
from curate.cli.options import (
    AsJson,
    Memory,
    Part,
    Quiet,
    RecipePath,
    Relocate,
    RunPath,
    Set,
    Threads,
    app,
    parse_amount,
    print_result,
)

if TYPE_CHECKING:
    from curate.pipeline import OpenRun

config_app = typer.Typer(no_args_is_help=True, help="Show a resolved recipe, or the schema of recipes.")
app.add_typer(config_app, name="config")


def _finish(result: "OpenRun", as_json: bool) -> None:
    """Print what came out and leave with the code for it."""
    print_result(result.summary(), as_json, result.as_text())
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

    session = open_session(recipe, overrides, threads, memory, quiet, read_only=dry_run)
    if dry_run:
        forecast = pipeline.forecast(session, write=not no_write)
        print_result(forecast.as_dict(), as_json, forecast.as_text())
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

    session = open_session(recipe, overrides, threads, memory, quiet)
    timing = pipeline.run_measure(session, part=pipeline.parse_part(part))
    print_result(
        timing.as_dict(), as_json, f"measured {timing.num_tasks} tasks, {timing.num_cached} were done already"
    )


@app.command()
def plan(  # over: the options of a command are its parameters
    recipe: RecipePath,
    overrides: Set = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="N", help="Budget, such as 300B: plan.budget.")
    ] = None,
    flops: Annotated[
        float | None,
        typer.Option(
            "--flops",
            metavar="C",
            parser=parse_amount,
            help="Budget as compute: C = 6 x parameters x tokens.",
        ),
    ] = None,
    params: Annotated[
        float | None,
        typer.Option(
            "--params",
            metavar="P",
            parser=parse_amount,
            help="Parameters of the model, which predict a loss.",
        ),
    ] = None,
    threads: Threads = None,
    memory: Memory = "2GiB",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Decide what is kept and how often; after the first time without reading any text."""
    from curate import pipeline

    asked = [*(overrides or []), *pipeline.budget_overrides(tokens=tokens, flops=flops, params=params)]
    session = open_session(recipe, asked, threads, memory, quiet)
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

    session = open_session(recipe, overrides, threads, memory, quiet)
    result = pipeline.run_steps(session, write=True)
    _finish(result, as_json)


@app.command()
def status(run_dir: RunPath, relocate: Relocate = None, as_json: AsJson = False) -> None:
    """Say what a run has done."""
    state = open_run(run_dir, relocate).status()
    print_result(state, as_json, "\n".join(f"{key}: {value}" for key, value in state.items()))


@app.command()
def verify(
    run_dir: RunPath,
    size_only: Annotated[bool, typer.Option("--size-only", help="Check sizes and rows, not hashes.")] = False,
    relocate: Relocate = None,
    as_json: AsJson = False,
) -> None:
    """Check sizes, hashes, row counts and that in = kept + dropped; exit 4 when something is wrong."""
    problems, num_checked = open_run(run_dir, relocate).verify("size" if size_only else "hash")
    text = "\n".join(problems) if problems else f"{num_checked} files are as committed, the ledger adds up"
    print_result({"problems": problems, "num_checked": num_checked}, as_json, text)
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

    found = explain_documents(open_run(run_dir, relocate), document)
    print_result([item.to_json() for item in found], as_json, "\n".join(item.text() for item in found))


@app.command()
def report(
    run_dir: Annotated[Path | None, typer.Argument(help="Folder of a run.", metavar="RUN")] = None,
    loader_log: Annotated[
        Path | None,
        typer.Option(
            "--loader-log",
            metavar="LOG",
            exists=True,
            dir_okay=False,
            help="Report a token log of the training loader instead: LOG.html and LOG.report.json.",
        ),
    ] = None,
    relocate: Relocate = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run again and print where it is (or the report itself, with --json)."""
    if (run_dir is None) == (loader_log is None):
        raise typer.BadParameter("give either the folder of a run or --loader-log LOG")
    if loader_log is not None:
        _report_log(loader_log, as_json)
    elif run_dir is not None:
        from curate.report.fromrun import write_report

        path = write_report(open_run(run_dir, relocate))
        print(path.with_suffix(".json").read_text(encoding="utf-8") if as_json else path)


def _report_log(log: Path, as_json: bool) -> None:
    """Write page and JSON beside a token log, and print a table, or the JSON."""
    from curate.loader.tokenlog import read_log
    from curate.report.mixture import build_mixture_report
    from curate.report.mixture_page import mixture_as_text, write_mixture_report

    header, blocks = read_log(log)
    found = build_mixture_report(blocks, title=log.name, plan=header.plan, pools=header.pools)
    page, table = write_mixture_report(found, log)
    print(table.read_text(encoding="utf-8") if as_json else f"{mixture_as_text(found)}\n\n{page}")


@app.command()
def gc(
    run_dir: RunPath,
    grace_s: Annotated[
        float, typer.Option("--grace", min=0, help="Seconds a file must be old to be removed.")
    ] = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Remove temporary files and files that nothing commits, in the run and its store."""
    removed = open_run(run_dir).gc(grace_s)
    print_result({"removed": removed}, as_json, f"removed {len(removed)} files")


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
    print_result(facts, as_json, "\n".join(f"{key:<22} {value}" for key, value in facts.items()))


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
