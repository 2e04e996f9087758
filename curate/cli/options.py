"""What all commands share: the application, its options, and how results are printed."""

import importlib.metadata
import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="curate",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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


def parse_amount(text: str) -> float:
    """Read a number such as 1e22, 7B or 350M.

    Raises:
        BadParameter: it is none.
    """
    units = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    number, unit = (text[:-1], units[text[-1].upper()]) if text[-1:].upper() in units else (text, 1.0)
    try:
        return float(number) * unit
    except ValueError:
        raise typer.BadParameter(f"a number looks like 7B, 350M or 1e22, not: {text}") from None


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


def print_result(value: Any, as_json: bool, text: str) -> None:
    """Print a result, as JSON or for people."""
    print(json.dumps(value, indent=2, sort_keys=True) if as_json else text)
