"""The verbs that look at models: `curate model show`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from curate.cli.options import AsJson, app, print_result

MAX_LABELS = 20

model_app = typer.Typer(no_args_is_help=True, help="Look at models.")
app.add_typer(model_app, name="model")


@model_app.command()
def show(
    path: Annotated[Path, typer.Argument(help="A fastText model, .bin or .ftz.", metavar="FILE")],
    as_json: AsJson = False,
) -> None:
    """Print what is in a model file: settings, labels, sizes, hash."""
    from curate.measure.fasttext import describe

    facts = describe(path)
    print_result(facts, as_json, _as_text(facts))


def _as_text(facts: dict[str, Any]) -> str:
    lines = [f"{key:<22} {value}" for key, value in facts.items() if key != "labels"]
    labels = facts["labels"]
    shown = ", ".join(f"{entry['label']} ({entry['count']:,})" for entry in labels[:MAX_LABELS])
    more = f" and {len(labels) - MAX_LABELS} more" if len(labels) > MAX_LABELS else ""
    return "\n".join([*lines, f"{'labels':<22} {shown}{more}"])
