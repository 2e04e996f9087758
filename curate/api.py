"""The verbs of the command line as functions: each takes a recipe and returns the run.

A recipe is a path, a mapping, or YAML text. `overrides` are `a.b=c` as with `--set`. Nothing is printed.
"""

from pathlib import Path
from typing import Any

from curate import pipeline
from curate.config import build
from curate.export import Export, Exported
from curate.export import export as export_files
from curate.pipeline import ImportanceModel, OpenRun, TrainedModel, open_run
from curate.report.explain import Explanation
from curate.report.fromrun import explain_documents, write_report
from curate.runs import Verify

Source = str | Path | dict[str, Any]

__all__ = [
    "dedup",
    "explain",
    "export",
    "measure",
    "open_run",
    "plan",
    "run",
    "train_classifier",
    "train_importance",
    "verify",
    "write",
]


def _session(
    recipe: Source, overrides: list[str] | None, num_threads: int | None, memory: str
) -> pipeline.Session:
    limits = pipeline.Limits.of(num_threads, memory)
    return pipeline.Session(pipeline.load_recipe(recipe, overrides=overrides), limits=limits)


def run(
    recipe: Source,
    *,
    overrides: list[str] | None = None,
    num_threads: int | None = None,
    memory: str = "2GiB",
    write: bool = True,
) -> OpenRun:
    """Measure, resolve, plan, deliver and report; with `write=False` the plan is the result.

    Raises:
        ConfigError: the recipe is wrong.
        DataError: a shard cannot be read.
        StateError: another process works on this run.
    """
    found = pipeline.run_steps(_session(recipe, overrides, num_threads, memory), write=write)
    write_report(found)
    return found


def measure(
    recipe: Source,
    *,
    overrides: list[str] | None = None,
    num_threads: int | None = None,
    memory: str = "2GiB",
    part: tuple[int, int] | None = None,
) -> OpenRun:
    """Turn text into columns; with `part=(i, n)` only every n-th piece from the i-th, counted from 1."""
    session = _session(recipe, overrides, num_threads, memory)
    pipeline.run_measure(session, part=part)
    return OpenRun(session)


def dedup(
    recipe: Source,
    *,
    overrides: list[str] | None = None,
    num_threads: int | None = None,
    memory: str = "2GiB",
) -> OpenRun:
    """Find duplicates, measuring only what that needs; nothing is dropped.

    The run has `clusters()` and `edges()` of near duplicates then.
    """
    session = _session(recipe, overrides, num_threads, memory)
    pipeline.run_resolve(session)
    return OpenRun(session)


def plan(
    recipe: Source,
    *,
    overrides: list[str] | None = None,
    tokens: int | str | None = None,
    flops: float | None = None,
    params: float | None = None,
    num_threads: int | None = None,
    memory: str = "2GiB",
) -> OpenRun:
    """Do what is missing before it, then decide; text that was measured is not read again.

    `tokens` (`"300B"`) or `flops` are the budget in place of the recipe's; `params` of the model predict a
    loss, and say with `flops` how many tokens. The run's `plan_file.budget()` has what came out.

    Raises:
        ConfigError: the recipe is wrong, or the pools cannot give the budget.
    """
    asked = [*(overrides or []), *pipeline.budget_overrides(tokens=tokens, flops=flops, params=params)]
    return pipeline.run_steps(_session(recipe, asked, num_threads, memory), write=False)


def write(
    recipe: Source,
    *,
    overrides: list[str] | None = None,
    num_threads: int | None = None,
    memory: str = "2GiB",
) -> OpenRun:
    """Do what is missing, and write the curated shards."""
    return pipeline.run_steps(_session(recipe, overrides, num_threads, memory), write=True)


def train_classifier(
    source: Source,
    *,
    overrides: list[str] | None = None,
    num_threads: int | None = None,
    memory: str = "2GiB",
) -> TrainedModel:
    """Train a fastText classifier and write its card; one with the same settings and inputs is found.

    Raises:
        ConfigError: a setting is wrong, or the model is larger than `memory`.
        DataError: a label has no documents.
    """
    limits = pipeline.Limits.of(num_threads, memory)
    return pipeline.train_classifier(pipeline.load_training(source, overrides=overrides), limits=limits)


def train_importance(
    source: Source,
    *,
    overrides: list[str] | None = None,
    num_threads: int | None = None,
    memory: str = "2GiB",
) -> ImportanceModel:
    """Fit importance weights of target text against raw text (DSIR) and write model and card, or find them.

    Raises:
        ConfigError: a setting is wrong, or counts and weights are larger than `memory`.
        DataError: a target or the raw text has no n-grams.
    """
    limits = pipeline.Limits.of(num_threads, memory)
    return pipeline.train_importance(pipeline.load_importance(source, overrides=overrides), limits=limits)


def export(
    run_dir: str | Path,
    *,
    output: str | Path,
    to: str,
    num_threads: int | None = None,
    memory: str = "2GiB",
    **settings: Any,
) -> Exported:
    """Write the kept documents of a run as files of `megatron`, `olmo`, `mds` or `hf`.

    An export that is there is found; one that was killed goes on. `settings` are the fields of
    `curate.export.Export`, such as `tokenizer`, `pools` and `seq_len`.

    Raises:
        ConfigError: a setting is wrong: an unknown pool, no tokenizer, a vocabulary out of `dtype`.
        DataError: a shard is not what the plan was made of.
        StateError: the run has no plan, or the folder holds something else.
    """
    limits = pipeline.Limits.of(num_threads, memory)
    asked = build(Export, {"to": to, **settings})
    return export_files(open_run(run_dir, limits=limits), Path(output), asked)


def explain(run_dir: str | Path, document: str) -> list[Explanation]:
    """Explain documents of a run: doc:<hash>, id:<id> or <shard key>:<row>."""
    return explain_documents(open_run(run_dir), document)


def verify(run_dir: str | Path, mode: Verify = "hash") -> list[str]:
    """Check a run; returns what is wrong, nothing where all is well."""
    return open_run(run_dir).verify(mode)[0]
