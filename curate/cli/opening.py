"""How the commands open what they work on: a recipe with its limits, or a run."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from curate.errors import ConfigError

if TYPE_CHECKING:
    from curate.pipeline import OpenRun, Session


def open_session(
    recipe: Path,
    overrides: list[str] | None,
    threads: int | None,
    memory: str,
    quiet: bool,
    *,
    read_only: bool = False,
) -> "Session":
    """Open a recipe, with progress on stderr."""
    from curate import pipeline

    limits = pipeline.Limits.of(threads, memory)
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


def open_run(run_dir: Path, relocate: list[str] | None = None) -> "OpenRun":
    """Open a run; `relocate` are OLD=NEW, for shards that have moved."""
    from curate import pipeline

    return pipeline.open_run(run_dir, relocate=read_places(relocate))


def read_places(relocate: list[str] | None) -> dict[str, str]:
    """Read the OLD=NEW of `--relocate`."""
    places = [pair.partition("=") for pair in relocate or []]
    for old, _, new in places:
        if not (old and new):
            raise ConfigError(f"--relocate is OLD=NEW: {old or new}")
    return {old: new for old, _, new in places}
