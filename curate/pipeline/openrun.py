"""A run as it lies on disk: its recipe, columns and current plan, for reading.

`curate.run(...)` returns one, `curate.open_run(folder)` opens one later. Columns and plan come as Polars
frames.
"""

import shutil
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from curate.config import read_yaml
from curate.errors import ConfigError, StateError
from curate.files import read_json
from curate.pipeline import near
from curate.pipeline.budget import budget_as_text
from curate.pipeline.limits import Limits
from curate.pipeline.measure import locate, missing_stages, place
from curate.pipeline.output import OutputFolder
from curate.pipeline.planfile import PlanFile
from curate.pipeline.progress import Progress
from curate.pipeline.quarantine import num_quarantined
from curate.pipeline.recipe import load_recipe
from curate.pipeline.resolve import dedup_stages, open_facts
from curate.pipeline.session import Session
from curate.pipeline.stopping import Stop
from curate.pipeline.verify import verify_run
from curate.pipeline.write import output_folders
from curate.runs import Verify
from curate.runs.records import check_format

EXIT_BAD_ROWS = 3


class OpenRun:
    """Reads one run; nothing is computed or written."""

    def __init__(self, session: Session, plan: PlanFile | None = None) -> None:
        """Wrap a session; `plan` is the one it decided, None is the run's current one at first use."""
        if plan is not None:
            self.plan_file = plan
        self.session = session
        open_facts(session)
        self.path = session.recipe.run_dir
        self.relocated: dict[str, str] = {}
        """Places of shards that moved since the plan: old to new."""

    @cached_property
    def plan_file(self) -> PlanFile:
        """The current plan.

        Raises:
            StateError: the run has no plan yet.
        """
        fingerprint = self.session.run.current_plan
        if fingerprint is None:
            raise StateError(f"{self.path} has no plan yet", hint="run `curate plan RECIPE`")
        return PlanFile.open(self.session.run.root / "plans" / fingerprint)

    def located(self, stages: Collection[str] | None = None) -> Session:
        """The session with every piece's column files found, those of `stages` at least.

        Raises:
            StateError: a piece is not measured.
        """
        locate(self.session)
        for entry in self.session.entries:
            if missing_stages(self.session, entry, stages):
                raise StateError(
                    f"{entry.piece.shard.key} is not measured", hint="run `curate measure RECIPE`"
                )
        place(self.session)
        return self.session

    def columns(self, names: list[str] | None = None) -> pl.DataFrame:
        """Measured and input columns of all documents in key order; every column where `names` is None."""
        session = self.located()
        wanted = names if names is not None else [*session.carried.names, *session.measured_columns]
        return pl.concat(
            [session.read_columns(entry, wanted) for entry in session.entries], how="vertical_relaxed"
        )

    def clusters(self) -> pl.DataFrame:
        """What was found of near duplicates, a row for every document in key order: columns `minhash.*`.

        Raises:
            StateError: they have not been looked for.
        """
        session = self.located(dedup_stages(self.session))
        facts = near.cluster_file(session)
        parts = [pl.from_arrow(facts.read(entry)) for entry in session.entries]
        return pl.concat([pl.DataFrame(part) for part in parts])

    def edges(self) -> pl.DataFrame:
        """Verified pairs of near duplicates by ordinal: `a`, `b`, `similarity`, `band`, `cluster_id`."""
        self.located(dedup_stages(self.session))
        return pl.read_parquet(near.edges_path(self.session))

    def plan(self) -> pl.DataFrame:
        """The plan's rows of all shards in key order, with the shard key in front."""
        parts = []
        for index, entry in self.plan_file.iter_shards():
            frame = pl.from_arrow(self.plan_file.rows(index))
            parts.append(frame.select(pl.lit(entry["key"]).alias("shard"), pl.all()))  # type: ignore[union-attr]
        return pl.concat(parts) if parts else pl.DataFrame()

    def pools(self) -> pl.DataFrame:
        """The plan's table of pools."""
        return pl.DataFrame(pl.from_arrow(self.plan_file.pools()))

    def summary(self) -> dict[str, Any]:
        """Totals of the plan, documents and tokens by first reason, and where things are."""
        header = self.plan_file.header
        return {
            "run": str(self.path),
            "plan": header["fingerprint"],
            "totals": header["totals"],
            "reasons": header["reasons"],
            "warnings": header["warnings"],
            "budget": self.plan_file.budget(),
            "output": None if self.session.recipe.output is None else self.session.recipe.output.path,
            "report": str(self.path / "report.html"),
        }

    def as_text(self) -> str:
        """The summary for people."""
        summary = self.summary()
        totals = summary["totals"]
        lines = [
            f"documents  {totals['num_docs']:>15,}   kept {totals['kept_docs']:,}",
            f"tokens     {totals['num_tokens']:>15,}   kept {totals['planned_tokens']:,}",
        ]
        for edit in self.plan_file.header["edits"]:
            removed, kept = edit.get("bytes_removed", 0), edit.get("kept_docs", 0)
            parts = f" in {edit['parts_removed']:,} duplicate parts" if "parts_removed" in edit else ""
            lines.append(
                f"edited     {edit['name']}: {edit.get('docs', 0):,} documents, {kept:,} of them kept, "
                f"{removed:,} bytes removed{parts}"
            )
        first = {code: counts["first"] for code, counts in summary["reasons"].items() if counts["first"]}
        lines += [
            f"  {count:>12,}  {code}"
            for code, count in sorted(first.items(), key=lambda item: (-item[1], item[0]))
        ]
        lines.insert(
            2, _describe_error(self.session.recipe.tokens.mode, self.plan_file.header["token_error_frac"])
        )
        budget = self.plan_file.budget()
        lines += [] if budget is None else [budget_as_text(budget)]
        lines += [f"warning: {text}" for text in summary["warnings"]]
        lines += [f"shards: {summary['output']}"] if summary["output"] else []
        return "\n".join([*lines, f"report: {summary['report']}"])

    @property
    def exit_code(self) -> int:
        """0, or 3 when more rows were unreadable than the recipe's `max_bad`."""
        totals = self.plan_file.header["totals"]
        return EXIT_BAD_ROWS if totals["bad_docs"] > self.session.recipe.max_bad * totals["num_docs"] else 0

    def status(self) -> dict[str, Any]:
        """What is measured, planned and written."""
        locate(self.session)
        entries = self.session.entries
        done = sum(not missing_stages(self.session, entry) for entry in entries)
        plan = self.session.run.current_plan
        return {
            "run": str(self.path),
            "shards": len(self.session.shards),
            "pieces": len(entries),
            "measured": done,
            "quarantined": num_quarantined(self.session),
            "plan": plan,
            "kept_docs": None if plan is None else self.plan_file.header["totals"]["kept_docs"],
            "free_bytes": shutil.disk_usage(self.path).free,
        }

    def verify(self, mode: Verify = "hash") -> tuple[list[str], int]:
        """Check all that the run, its store and its output name; returns problems and files checked."""
        return verify_run(self.session, self.plan_file, mode)

    def gc(self, grace_s: float = 3600.0) -> list[str]:
        """Remove temporary files and files that nothing commits; returns their paths."""
        ledgers = (self.session.store, self.session.run)
        removed = [str(ledger.root / path) for ledger in ledgers for path in ledger.gc(grace_s=grace_s)]
        output = self.session.recipe.output
        if output is not None:
            with self.session.run.lock():
                folder = OutputFolder(
                    output.path, output.storage_options, folders=output_folders(self.session)
                )
                removed += folder.remove_temporary(grace_s=grace_s)
        return removed


def _describe_error(mode: str, error: float | None) -> str:
    if mode == "exact":
        return "           counted exactly"
    if error is None:
        return "           estimated without calibration; `measure: tokens: {tokenizer: ...}` names one"
    return f"           estimated, expected error {100 * error:.2f} % of the total"


def open_run(
    path: str | Path,
    *,
    limits: Limits | None = None,
    relocate: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> OpenRun:
    """Open the run in a folder; `relocate` names folders or URLs of shards that moved: old to new.

    Raises:
        ConfigError: the folder is not a run, or no input of it lies below an old place.
        StateError: it is of a version that this package does not know, or its store is not there.
    """
    folder = Path(path)
    if not (folder / "run.json").is_file():
        raise ConfigError(f"not a run, it has no run.json: {folder}")
    record = read_json(folder / "run.json")
    check_format(record, folder / "run.json")
    store = folder.resolve() / str(record.get("store"))
    if not (store / "store.json").is_file():
        raise StateError(f"the store of {folder} is not there: {store}", hint="put it back, or run again")
    places = {"run": str(folder.absolute()), "store": str(store.resolve())}
    values = {**read_yaml(folder / "recipe.yaml"), **places}
    for old, new in (relocate or {}).items():
        values["input"] = _relocated(values["input"], old, new)
    recipe = load_recipe(values)
    run = OpenRun(Session(recipe, limits=limits, progress=progress, read_only=True, stop=stop))
    run.relocated = dict(relocate or {})
    return run


def _relocated(section: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The input of a recipe with its paths below `old` moved to `new`; both may be relative."""
    paths = section["paths"] if isinstance(section["paths"], list) else [section["paths"]]
    found = [moved(path, old, new) for path in paths]
    if found == paths:
        raise ConfigError(f"no input of the run lies below {_place(old)}: {', '.join(map(str, paths))}")
    return {**section, "paths": found}


def moved(path: str, old: str, new: str) -> str:
    """Where a path or URL is after what lies below `old` moved to `new`; both may be relative."""
    before, after = _place(old), _place(new)
    return after + path[len(before) :] if f"{path}/".startswith(f"{before}/") else path


def _place(path: str) -> str:
    return (path if "://" in path else str(Path(path).absolute())).rstrip("/")
