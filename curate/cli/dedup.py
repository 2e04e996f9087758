"""`curate dedup`: find duplicates, look at the largest clusters, ask why one document was dropped."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from curate.cli.opening import open_run, open_session
from curate.cli.options import (
    AsJson,
    Memory,
    Quiet,
    RecipePath,
    Relocate,
    RunPath,
    Set,
    Threads,
    app,
    print_result,
)
from curate.errors import ConfigError

if TYPE_CHECKING:
    from curate.report.duplicates import Pair
    from curate.report.model import ClusterView

_HELP = ("-h", "--help")


class _WithDefault(TyperGroup):
    """`curate dedup RECIPE` is `curate dedup find RECIPE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in _HELP:
            args = ["find", *args]
        return super().parse_args(ctx, args)


dedup_app = typer.Typer(
    cls=_WithDefault,
    no_args_is_help=True,
    help="Find duplicates (`curate dedup RECIPE`), and look at what was found.",
)
app.add_typer(dedup_app, name="dedup")


@dedup_app.command()
def find(
    recipe: RecipePath,
    overrides: Set = None,
    threads: Threads = None,
    memory: Memory = "2GiB",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find clusters of duplicates; only what that needs is measured, nothing is dropped."""
    from curate import pipeline

    session = open_session(recipe, overrides, threads, memory, quiet)
    timing = pipeline.run_resolve(session)
    found = pipeline.describe_duplicates(session)
    text = f"resolved {timing.num_tasks} artefacts, {timing.num_cached} were done already"
    print_result({**timing.as_dict(), "found": found.as_dict()}, as_json, f"{text}\n{found.as_text()}")


@dedup_app.command()
def clusters(
    run_dir: RunPath,
    largest: Annotated[int, typer.Option("--largest", min=1, max=1000, help="How many clusters.")] = 20,
    members: Annotated[int, typer.Option("--members", min=0, help="Members to compare in each.")] = 1,
    relocate: Relocate = None,
    as_json: AsJson = False,
) -> None:
    """Show the largest clusters of near duplicates, with what differs between members."""
    from curate.report.duplicates import largest_clusters

    found = largest_clusters(open_run(run_dir, relocate), largest, num_members=members)
    text = "\n\n".join(map(_describe_cluster, found)) or "no document is a near duplicate of another"
    print_result([asdict(view) for view in found], as_json, text)


@dedup_app.command()
def explain(
    run_dir: RunPath,
    document: Annotated[str, typer.Argument(help="doc:<hash>, id:<id> or <shard key>:<row>.", metavar="DOC")],
    relocate: Relocate = None,
    as_json: AsJson = False,
) -> None:
    """Say which document a duplicate was dropped for, how similar they are, and what differs."""
    from curate.report.fromrun import explain_duplicates

    found = explain_duplicates(open_run(run_dir, relocate), document)
    print_result([asdict(pair) for pair in found], as_json, "\n\n".join(map(_describe_pair, found)))


@dedup_app.command()
def verify(run_dir: RunPath, relocate: Relocate = None, as_json: AsJson = False) -> None:
    """Compare every dropped duplicate with the one that stays, again from the text; exit 4 when wrong."""
    from curate.pipeline.witnesses import check_witnesses

    found = check_witnesses(open_run(run_dir, relocate))
    print_result(found.as_dict(), as_json, found.as_text())
    raise typer.Exit(4 if found.problems else 0)


@dedup_app.command()
def add(run_dir: RunPath, as_json: AsJson = False) -> None:
    """Add the documents that a run's plan keeps to the index of its recipe."""
    from curate import pipeline

    run = open_run(run_dir)
    run.located()
    settings = run.session.recipe.dedup.minhash
    if settings is None or settings.index is None:
        raise ConfigError("the recipe names no index", hint="set dedup.minhash.index: {path: ...}")
    dump = pipeline.add_dump(run.session, run.plan_file)
    if dump is None:
        raise ConfigError("dedup.minhash.index.add is false in the recipe of the run")
    print_result(asdict(dump), as_json, f"dump {dump.number}, {dump.name}: {dump.num_docs:,} documents")


@dedup_app.command()
def index(
    path: Annotated[Path, typer.Argument(help="Folder of an index.", metavar="INDEX")],
    as_json: AsJson = False,
) -> None:
    """List the dumps of an index and check their files; exit 4 when something is wrong."""
    from curate.pipeline.index import Index

    found = Index(path)
    if not (path / "dumps").is_dir():
        raise ConfigError(f"there is no index: {path}")
    problems = found.check()
    lines = [f"{dump.number:>6}  {dump.name:<24} {dump.num_docs:>15,} documents" for dump in found.dumps]
    value = {"dumps": [asdict(dump) for dump in found.dumps], "problems": problems}
    print_result(value, as_json, "\n".join([*(lines or ["no dumps"]), *problems]))
    raise typer.Exit(4 if problems else 0)


def _describe_pair(pair: "Pair") -> str:
    from curate.report.differences import side_by_side
    from curate.report.drawing import visible

    return "\n".join(visible(line) for line in [*pair.lines, "", *side_by_side(pair.stretches)])


def _describe_cluster(view: "ClusterView") -> str:
    from curate.report.differences import side_by_side
    from curate.report.drawing import visible

    kept = "" if view.kept < 0 else f", {view.kept:,} kept"
    sources = ", ".join(f"{name} {number:,}" for name, number in view.sources.items())
    name = f" (id {view.first_id})" if view.first_id is not None else ""
    lines = [f"cluster {view.cluster_id}: {view.size:,} documents{kept}; {sources}", f"  {view.first}{name}"]
    for member in view.members:
        name = f" (id {member.id})" if member.id is not None else ""
        similarity = "" if member.similarity is None else f", nearest neighbour at {member.similarity:.4f}"
        lines += [f"  {member.place}{name}{similarity}", ""]
        lines += ["  " + line for line in side_by_side(member.stretches, max_lines=16)]
    return "\n".join(visible(line) for line in lines)
