"""The four steps: measure, resolve, plan, deliver; the only place that drops rows."""

import json

import yaml

from curate.pipeline.deliver import output_schema
from curate.pipeline.doctor import doctor
from curate.pipeline.forecast import Forecast, forecast
from curate.pipeline.found import Found, describe_duplicates
from curate.pipeline.importance import ImportanceModel, load_importance, train_importance
from curate.pipeline.index import Dump
from curate.pipeline.limits import Limits, default_threads, parse_bytes
from curate.pipeline.measure import measure, parse_part
from curate.pipeline.openrun import OpenRun, open_run
from curate.pipeline.plan import plan, plan_task
from curate.pipeline.planfile import PlanFile
from curate.pipeline.plansettings import budget_overrides
from curate.pipeline.progress import Progress, Silent, Timing
from curate.pipeline.recipe import Recipe, load_recipe
from curate.pipeline.resolve import DUPLICATES, dedup_stages, open_facts, resolve
from curate.pipeline.rounds import find_parts
from curate.pipeline.seen import add_to_index, find_in_index
from curate.pipeline.session import Session
from curate.pipeline.stopping import Stop
from curate.pipeline.terminal import terminal_progress
from curate.pipeline.train import TrainedModel, load_training, train_classifier
from curate.pipeline.write import deliver

__all__ = [
    "Forecast",
    "Found",
    "ImportanceModel",
    "Limits",
    "OpenRun",
    "PlanFile",
    "Progress",
    "Recipe",
    "Session",
    "Silent",
    "Stop",
    "Timing",
    "TrainedModel",
    "add_dump",
    "budget_overrides",
    "default_threads",
    "deliver",
    "describe_duplicates",
    "doctor",
    "dump_recipe",
    "find_parts",
    "forecast",
    "load_importance",
    "load_recipe",
    "load_training",
    "measure",
    "open_run",
    "parse_bytes",
    "parse_part",
    "plan",
    "prepare",
    "resolve",
    "run_measure",
    "run_resolve",
    "run_steps",
    "terminal_progress",
    "train_classifier",
    "train_importance",
]


def dump_recipe(recipe: Recipe, *, with_secrets: bool = True) -> str:
    """Write a resolved recipe as YAML; without secrets the values of `storage_options` are stars."""
    values = json.loads(recipe.model_dump_json())
    for section in (values["input"], values["output"] or {}):
        if not with_secrets and section.get("storage_options"):
            section["storage_options"] = dict.fromkeys(section["storage_options"], "***")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=False)


def prepare(session: Session) -> None:
    """Write the resolved recipe into the run folder, with absolute paths."""
    recipe = session.recipe.located()
    session.run.write_recipe(dump_recipe(recipe), is_secret=recipe.has_secrets)


def find_dump(session: Session, found: PlanFile) -> Dump | None:
    """The dump that a plan is in the index of its recipe, None where it is not yet."""
    settings = session.recipe.dedup.minhash
    if settings is None or settings.index is None or not settings.index.add:
        return None
    return find_in_index(session, found, expected=plan_task(session).fingerprint)


def add_dump(session: Session, found: PlanFile) -> Dump | None:
    """Add the documents that a plan keeps to the index of its recipe; None where there is none to add to.

    Raises:
        StateError: the name is taken by another plan, or the plan has not seen all dumps of the index.
    """
    return add_to_index(session, found, expected=plan_task(session).fingerprint)


def run_measure(session: Session, *, part: tuple[int, int] | None = None) -> Timing:
    """Measure what is missing; transforms that see the whole corpus are made first, by the first part alone.

    Raises:
        StateError: another process makes them, or has not yet.
    """
    prepare(session)
    if session.recipe.rounds and (part is None or part[0] == 1):
        with session.run.lock():
            find_parts(session)
    return measure(session, part=part)


def run_resolve(session: Session) -> Timing:
    """Find duplicates: measure and resolve what that needs; the run folder is locked meanwhile."""
    open_facts(session)
    with session.run.lock():
        prepare(session)
        find_parts(session)
        measure(session, stages=dedup_stages(session))
        timing = resolve(session, only=DUPLICATES)
        session.save_timings()
    return timing


def run_steps(session: Session, *, write: bool = True) -> OpenRun:
    """Measure, resolve, plan and, where the recipe has an output and `write` is true, deliver.

    Every step does only what is missing. The run folder is locked meanwhile.

    Raises:
        StateError: another process works on this run.
    """
    open_facts(session)
    if write and session.recipe.output is not None:
        output_schema(session)
    with session.run.lock():
        prepare(session)
        find_parts(session)
        measure(session)
        session.stop.check()
        resolve(session)
        session.stop.check()
        found = plan(session)
        session.stop.check()
        if write and session.recipe.dedup.minhash is not None and session.recipe.output is not None:
            find_dump(session, found)
        if write and session.recipe.output is not None:
            deliver(session, found)
            if session.recipe.dedup.minhash is not None:
                add_dump(session, found)
        session.save_timings()
    return OpenRun(session, found)
