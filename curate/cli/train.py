"""The verbs that make models: `curate train classifier`, `curate train importance`."""

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.options import AsJson, Memory, Quiet, Set, Threads, app, print_result

train_app = typer.Typer(no_args_is_help=True, help="Make the models that score documents.")
app.add_typer(train_app, name="train")

TrainPath = Annotated[
    Path,
    typer.Argument(help="Examples and settings, a YAML file.", metavar="TRAIN", exists=True, dir_okay=False),
]


@train_app.command()
def classifier(
    train: TrainPath,
    overrides: Set = None,
    threads: Threads = None,
    memory: Memory = "2GiB",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a fastText classifier on labelled or graded documents; one with the same inputs is found."""
    from curate import pipeline

    limits = pipeline.Limits.of(threads, memory)
    found = pipeline.train_classifier(
        pipeline.load_training(train, overrides=overrides),
        limits=limits,
        progress=pipeline.Silent() if quiet else pipeline.terminal_progress(),
    )
    print_result({**found.card, "is_new": found.is_new}, as_json, found.as_text())


@train_app.command()
def importance(
    train: TrainPath,
    overrides: Set = None,
    threads: Threads = None,
    memory: Memory = "2GiB",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit importance weights (DSIR) of target text against raw text; one with the same inputs is found."""
    from curate import pipeline

    limits = pipeline.Limits.of(threads, memory)
    found = pipeline.train_importance(
        pipeline.load_importance(train, overrides=overrides),
        limits=limits,
        progress=pipeline.Silent() if quiet else pipeline.terminal_progress(),
    )
    print_result({**found.card, "is_new": found.is_new}, as_json, found.as_text())
