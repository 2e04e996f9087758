"""The report and explanations of a run on disk: where their plain inputs come from.

Not here: counting (data.py), looks (html.py), what an explanation says (explain.py).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.errors import DataError
from curate.files import atomic_file, read_json
from curate.filters.rules import rule_columns
from curate.pipeline import OpenRun, Session, dump_recipe
from curate.pipeline.cells import NULL_TIER
from curate.pipeline.duplicates import REASONS
from curate.pipeline.session import Block, PieceEntry
from curate.pipeline.transform import columns_of
from curate.report.data import build_report
from curate.report.duplicates import Pair, Place, duplicate_facts, explain_pair, largest_clusters
from curate.report.explain import (
    EditFacts,
    Explanation,
    explain,
    find_rows,
    parse_selector,
)
from curate.report.html import render, to_json
from curate.report.model import Part, ReportInput, Timing
from curate.report.taken import SelectionFacts
from curate.schema import TEXT
from curate.selection.candidates import Scale, candidate_rows
from curate.shards import read_rows

NUM_CLUSTERS = 20
RAW_BYTES = "document.num_bytes"


def write_report(run: OpenRun) -> Path:
    """Write `report.html` and `report.json` of a run and return the path of the page."""
    report = build_report(report_input(run))
    for name, data in (("report.json", to_json(report)), ("report.html", render(report))):
        with atomic_file(run.path / name) as handle:
            handle.write(data)
    return run.path / "report.html"


def report_input(run: OpenRun) -> ReportInput:
    """Collect what the report of a run is made of."""
    session = run.located()
    quarantine: Counter[str] = Counter()
    for entry in session.entries:
        for commit in entry.commits.values():
            if "num_quarantined" in commit.meta:
                quarantine.update(commit.meta["num_quarantined"])
                break

    def parts(names: tuple[str, ...]) -> Iterable[Part]:
        known = [*session.carried.names, *session.measured_columns]
        wanted = [name for name in names if name in known]
        for block in session.blocks():
            yield _part(run, session, block, wanted)

    def fetch(key: str, rows: Sequence[int]) -> list[bytes | str | None]:
        shard = next(shard for shard in session.shards if shard.key == key)
        table = read_rows(shard, session.recipe.input, sorted(rows), [TEXT])
        texts = dict(zip(sorted(rows), table[TEXT].to_pylist(), strict=True))
        return [texts[row] for row in rows]

    return ReportInput(
        title=session.recipe.name,
        plan=run.plan_file.fingerprint,
        parts=parts,
        rules=session.recipe.rules,
        pools=run.plan_file.pools(),
        budget=run.plan_file.budget(),
        timings=_timings(run.path),
        quarantine=dict(quarantine),
        fetch=fetch,
        recipe=dump_recipe(session.recipe, with_secrets=False),
        clusters=largest_clusters(run, NUM_CLUSTERS) if session.recipe.dedup.minhash is not None else (),
        edits=run.plan_file.header["edits"],
    )


def _part(run: OpenRun, session: Session, block: Block, names: list[str]) -> Part:
    stop = block.first_row + block.length
    source = session.recipe.input.source
    columns = session.read_columns(block, names)
    sources = None
    if source is not None and source in session.carried.names:
        sources = session.read_columns(block, [source])[source].cast(pl.String).to_arrow()
    return Part(
        shard=block.entry.shard.key,
        rows=run.plan_file.rows(block.shard_index, start=block.first_row, stop=stop),
        columns=columns.to_arrow(),
        sources=sources,
    )


def _timings(folder: Path) -> list[Timing]:
    path = folder / "timings.json"
    if not path.is_file():
        return []
    return [
        Timing(
            step=item["step"],
            elapsed_s=item["wall_s"],
            num_bytes=item["num_bytes"],
            num_tasks=item["num_tasks"],
            num_cached=item["num_cached"],
        )
        for item in read_json(path)["steps"]
    ]


def explain_documents(run: OpenRun, document: str) -> list[Explanation]:
    """Explain every document that `document` means: doc:<hash>, id:<id> or <shard key>:<row>.

    Raises:
        DataError: there is none.
    """
    return [_explain_one(run, place, rows) for place, rows in _find(run, document)]


def explain_duplicates(run: OpenRun, document: str) -> list[Pair]:
    """Compare every duplicate that `document` means with the document that stays for it.

    Raises:
        DataError: there is none, or it was not dropped as a duplicate.
    """
    found = []
    for place, rows in _find(run, document):
        for reason in rows["reasons"][place.position].as_py():
            if reason in REASONS:
                found.append(explain_pair(run, run.session, reason, place))
    if not found:
        raise DataError(f"not dropped as a duplicate: {document}", hint="`curate explain` says what it is")
    return found


def _find(run: OpenRun, document: str) -> Iterator[tuple[Place, pa.Table]]:
    """Places of the documents that are meant, and the plan's rows of the piece of each."""
    session = run.located()
    selector = parse_selector(document)
    id_column = session.recipe.input.id
    is_found = False
    for entry in session.entries:
        stop = entry.first_row + entry.length
        rows = run.plan_file.rows(entry.shard_index, start=entry.first_row, stop=stop)
        ids = None
        if id_column is not None and id_column in session.carried.names:
            ids = session.read_columns(entry, [id_column])[id_column].to_arrow()
        for position in find_rows(selector, shard=entry.shard.key, rows=rows, ids=ids):
            is_found = True
            yield Place(ordinal=entry.first_ordinal + position, entry=entry, position=position), rows
    if not is_found:
        raise DataError(f"no document of {run.path} is meant by: {document}")


def _explain_one(run: OpenRun, place: Place, rows: pa.Table) -> Explanation:
    session, entry, position = run.session, place.entry, place.position
    row: dict[str, Any] = rows.slice(position, 1).to_pylist()[0]
    settings = session.recipe.input
    for key, name in (("id", settings.id), ("source", settings.source)):
        if name is not None and name in session.carried.names:
            value = session.read_columns(entry, [name])[name][position]
            row[key] = None if value is None else str(value)
    readable = not any(reason.startswith("input.") for reason in row["reasons"])
    columns = session.read_columns(entry, rule_columns(session.recipe.rules))
    duplicates = {
        reason: duplicate_facts(run, session, reason, place) for reason in REASONS if reason in row["reasons"]
    }
    return explain(
        shard=entry.shard.key,
        row=row,
        columns=columns.slice(position, 1 if readable else 0),
        rules=session.recipe.rules,
        duplicates=duplicates,
        selection=_selection_facts(run, session, entry, position, row),
        edits=_edit_facts(session, entry, position),
    )


def _edit_facts(session: Session, entry: PieceEntry, position: int) -> list[EditFacts]:
    found = []
    of_bytes = session.read_columns(entry, [RAW_BYTES])[RAW_BYTES][position]
    for each in session.recipe.transforms:
        row = session.read_columns(entry, columns_of(each).names).row(position, named=True)
        num_bytes, num_parts = row[f"{each.name}.num_bytes"], row.get(f"{each.name}.num_parts")
        facts = EditFacts(
            transform=each.name, num_bytes=num_bytes or 0, of_bytes=of_bytes, num_parts=num_parts
        )
        found.append(facts)
    return found


def _selection_facts(
    run: OpenRun, session: Session, entry: PieceEntry, position: int, row: dict[str, Any]
) -> SelectionFacts | None:
    select = session.recipe.plan.selection
    pools = {item["pool"]: item for item in run.plan_file.pools().to_pylist()}
    pool = pools.get(row["pool"])
    tiers = session.recipe.plan.pools.tiers
    if tiers is not None and NULL_TIER in row["reasons"]:
        return SelectionFacts.of_tiers(tiers.of)
    if row["doc_id"] is None or pool is None:
        return None
    return SelectionFacts(
        method=select.method,
        key=_key(run, session, entry, position),
        threshold=pool["threshold"],
        seed=select.seed if select.is_drawn() else None,
        budget_tokens=pool["budget_tokens"],
        planned_tokens=pool["planned_tokens"],
        score=select.score or select.weight or ", ".join(each.score for each in select.of) or None,
        unique_tokens=pool["num_unique_tokens"],
        can_repeat=session.recipe.repeats_vary,
    )


def _key(run: OpenRun, session: Session, entry: PieceEntry, position: int) -> float | None:
    """What the document is taken by; None without a score, and in a `mix`, where it depends on the others."""
    select = session.recipe.plan.selection
    if select.method == "mix":
        return None
    frame = session.read_columns(entry, ["doc_id", *select.columns()]).slice(position, 1)
    ids = frame["doc_id"].to_arrow().cast(pa.binary(16))
    rows = candidate_rows(select, ids, np.ones(1, bool), frame)
    key = Scale(**run.plan_file.header["scale"]).keys(rows.score, rows.noise)
    return None if rows.is_null[0] else float(key[0])
