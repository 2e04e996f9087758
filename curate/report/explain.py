"""Explain one document: every reason with the measured value and the limit, or how near it came to one.

The rules are evaluated again on the document's own columns, so an explanation cannot quote a limit that is
not in force; where the plan says something else than the rules do now, the explanation says so (`agrees`).

Cost: one row. Not here: finding facts in a run (the caller passes row, columns and facts as plain values).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import ConfigError
from curate.filters.rules import Rule, evaluate
from curate.report.drawing import grouped, visible
from curate.report.taken import SelectionFacts, Value, describe_repeats, describe_selection, number
from curate.schema import NULL_SUFFIX

NUM_NEAREST = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Selector:
    """Which document is meant; exactly one of the three is set."""

    doc_id: str | None = None
    """First hex digits of the doc_id."""
    id: str | None = None
    """The input's own id."""
    place: tuple[str, int] | None = None
    """Shard key and row."""


def parse_selector(text: str) -> Selector:
    """Read `doc:<hex prefix>`, `id:<input id>` or `<shard key>:<row>`."""
    kind, _, rest = text.partition(":")
    if kind == "doc":
        if not re.fullmatch(r"[0-9a-fA-F]{4,32}", rest):
            raise ConfigError(f"doc: takes 4 to 32 hex digits of a doc_id: {rest}")
        return Selector(doc_id=rest.lower())
    if kind == "id":
        return Selector(id=rest)
    shard, _, row = text.rpartition(":")
    if not shard or not re.fullmatch(r"[0-9]{1,18}", row):
        raise ConfigError(
            f"not a document: {text}", hint="write doc:<doc_id>, id:<id of the input> or <shard key>:<row>"
        )
    return Selector(place=(shard, int(row)))


def find_rows(
    selector: Selector, *, shard: str, rows: pa.Table, ids: pa.Array | pa.ChunkedArray | None = None
) -> list[int]:
    """List the positions in `rows` (a rows table of the plan, or a slice of it) that the selector means.

    Args:
        selector: What to look for.
        shard: Key of the shard.
        rows: Has the columns `row` and `doc_id`.
        ids: The input's ids of the same rows; None finds nothing by id.
    """
    if selector.place is not None:
        if selector.place[0] != shard:
            return []
        mask = pc.equal(rows["row"], pa.scalar(selector.place[1], pa.uint32()))
    elif selector.doc_id is not None:
        even = selector.doc_id[: len(selector.doc_id) // 2 * 2]
        binary = rows["doc_id"].cast(pa.binary())
        mask = pc.starts_with(binary, bytes.fromhex(even))
    elif ids is not None:
        mask = pc.equal(pc.cast(ids, pa.string()), selector.id)
    else:
        return []
    places = pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()
    if selector.doc_id is not None:
        places = [at for at in places if rows["doc_id"][at].as_py().hex().startswith(selector.doc_id)]
    return [int(at) for at in places]


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateFacts:
    """Why another copy was kept instead of this one."""

    kept_shard: str
    kept_row: int
    kept_id: str | None
    kept_doc_id: str
    kept_reasons: tuple[str, ...]
    """Why the keeper itself is not delivered (by selection); empty where it is."""
    num_copies: int
    """Documents in the cluster, this one and the kept one included."""
    keep: str | None
    """The keep rule of the recipe; None for a document of an index, which stays whatever the rule."""
    key: Value
    """What the keep rule compared, of this document."""
    kept_key: Value
    similarity: float | None = 1.0
    """Null where `cluster: connected` links the two by others only."""
    near: str | None = None
    """How a near duplicate was found and checked; None for the same text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One rule on this document."""

    reason: str
    drop: str
    where: str | None
    values: dict[str, Value]
    """Columns that the rule reads."""
    limit: float | None
    outcome: str
    """`dropped`, `passed`, `null` (not known: `<reason>.null`) or `elsewhere` (outside `where`)."""
    margin: float | None
    """How far the value is from the limit, relative to the limit; None where there is no single limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One reason of the plan with what stands behind it."""

    reason: str
    checks: list[Check] = field(default_factory=list)
    duplicate: DuplicateFacts | None = None
    selection: SelectionFacts | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EditFacts:
    """What one transform removed from the document."""

    transform: str
    num_bytes: int
    of_bytes: int | None = None
    """Bytes of the raw text."""
    num_parts: int | None = None
    """Duplicate paragraphs or lines; None where the transform knows none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Everything that is known about the decision over one document."""

    shard: str
    row: int
    doc_id: str
    id: str | None
    source: str | None
    pool: str | None
    kept: bool
    tokens: int
    weight: float | None
    repeats: int
    findings: list[Finding]
    """Reasons in order; empty for a kept document."""
    passed: list[Check]
    """Rules that the document passed, nearest to failing first; those without a single limit last."""
    agrees: bool
    """Whether the rules, evaluated now, give the reasons of the plan."""
    edits: list[EditFacts] = field(default_factory=list)
    """What transforms removed, in the order of the recipe; those that removed nothing are left out."""
    selection: SelectionFacts | None = None
    """Of a kept document whose pool has a budget: what it was taken for."""

    def to_json(self) -> dict[str, Any]:
        """Give the explanation as plain values."""
        return asdict(self)

    def text(self) -> str:
        """Write the explanation for a terminal."""
        return render_text(self)


def explain(
    *,
    shard: str,
    row: Mapping[str, Any],
    columns: pl.DataFrame,
    rules: Sequence[Rule] = (),
    duplicates: Mapping[str, DuplicateFacts] | None = None,
    selection: SelectionFacts | None = None,
    edits: Sequence[EditFacts] = (),
) -> Explanation:
    """Explain one document.

    Args:
        shard: Shard key.
        row: One row of the plan's rows table as a mapping; may have the input's `id` and `source` too.
        columns: One row: the columns that the rules read; of no row for a document that could not be read.
        rules: Rules of the recipe, in order.
        duplicates: Facts per duplicate reason, e.g. `exact.duplicate`.
        selection: Facts about the draw, if the document came that far.
        edits: What transforms removed.
    """
    reasons = list(row["reasons"] or ())
    readable = columns.height == 1
    checks = [check(rule, columns) for rule in rules] if readable else []
    changed = [each for each in edits if each.num_bytes]
    emptied = {f"{each.transform}.duplicate" for each in changed}
    findings = [
        find(reason, checks, duplicates or {}, None if reason in emptied else selection) for reason in reasons
    ]
    passed = [each for each in checks if each.outcome == "passed"]
    now = {each.reason + (NULL_SUFFIX if each.outcome == "null" else "") for each in dropping(checks)}
    codes = {code for rule in rules for code in (rule.reason, rule.reason + NULL_SUFFIX)}
    return Explanation(
        shard=shard,
        row=int(row["row"]),
        doc_id="" if row["doc_id"] is None else row["doc_id"].hex(),
        id=row.get("id"),
        source=row.get("source"),
        pool=row.get("pool"),
        kept=not reasons,
        tokens=int(row["tokens"]),
        weight=row.get("weight"),
        repeats=int(row["repeats"]),
        findings=findings,
        passed=sorted(passed, key=lambda each: math.inf if each.margin is None else each.margin),
        agrees=not readable or now == set(reasons) & codes,
        edits=changed,
        selection=None if reasons else selection,
    )


def dropping(checks: Sequence[Check]) -> list[Check]:
    """Keep the checks that give a reason."""
    return [each for each in checks if each.outcome in ("dropped", "null")]


def check(rule: Rule, columns: pl.DataFrame) -> Check:
    """Evaluate one rule on the one row."""
    (_, hit), (_, unknown) = evaluate([rule], columns)
    outcome = "dropped" if hit[0] else "null" if unknown[0] else "passed"
    if outcome == "passed" and rule.where is not None:
        (_, inside), _ = evaluate([Rule(reason=rule.reason, drop=rule.where)], columns)
        outcome = "passed" if inside[0] else "elsewhere"
    values: dict[str, Value] = {name: columns[name][0] for name in rule.columns()}
    group = None if rule.by is None else columns[rule.by][0]
    limit = rule.limit_for(group)
    value = None if rule.column is None else values.get(rule.column)
    return Check(
        reason=rule.reason,
        drop=rule.drop,
        where=rule.where,
        values=values,
        limit=limit,
        outcome=outcome,
        margin=margin(value, limit),
    )


def margin(value: Value, limit: float | None) -> float | None:
    """Give the distance of a value from its limit, relative to the limit (absolute where the limit is 0)."""
    if limit is None or value is None or isinstance(value, str):
        return None
    distance = abs(float(value) - limit) / (abs(limit) or 1.0)
    return distance if math.isfinite(distance) else None


def find(
    reason: str,
    checks: Sequence[Check],
    duplicates: Mapping[str, DuplicateFacts],
    selection: SelectionFacts | None,
) -> Finding:
    """Put together what stands behind one reason."""
    rule = reason.removesuffix(NULL_SUFFIX)
    outcome = "null" if reason.endswith(NULL_SUFFIX) else "dropped"
    behind = [each for each in checks if each.reason == rule and each.outcome == outcome]
    known = any(each.reason == rule for each in checks)
    duplicate = duplicates.get(reason)
    late = not known and duplicate is None and not reason.startswith("input.")
    return Finding(reason=reason, checks=behind, duplicate=duplicate, selection=selection if late else None)


def render_text(given: Explanation) -> str:
    """Write the explanation as aligned lines without control characters."""
    verdict = "kept" if given.kept else f"dropped, first by {given.findings[0].reason}"
    lines = [
        f"document  {given.doc_id or 'not read'}" + (f", id {given.id}" if given.id is not None else ""),
        f"place     {given.shard}:{given.row}"
        + (f", source {given.source}" if given.source is not None else ""),
        f"verdict   {verdict}",
        f"plan      {grouped(given.tokens)} tokens, pool {given.pool}, "
        f"weight {grouped(given.weight)}, repeats {given.repeats}",
    ]
    if given.kept and given.selection is not None:
        lines += [f"taken     {line}" for line in describe_repeats(given.selection, given.repeats)]
    lines += [f"edited    {describe_edit(each)}" for each in given.edits]
    for place, finding in enumerate(given.findings, 1):
        lines += ["", f"{place}. {finding.reason}", *("   " + line for line in describe(finding))]
    if given.passed:
        lines += ["", f"rules passed: {len(given.passed)}; nearest to failing:"]
        for each in given.passed[:NUM_NEAREST]:
            lines.append(f"   {each.reason}: {describe_check(each)}")
    if not given.agrees:
        lines += ["", "The rules as they are now give other reasons than the plan: run `curate plan` again."]
    return "\n".join(visible(line.replace("\n", " ")) for line in lines) + "\n"


def describe(finding: Finding) -> list[str]:
    """Write what stands behind one reason."""
    lines = [describe_check(each) for each in finding.checks]
    if finding.duplicate is not None:
        lines += describe_duplicate(finding.duplicate)
    if finding.selection is not None:
        lines += describe_selection(finding.selection)
    return lines


def describe_check(given: Check) -> str:
    """Write condition, measured values and limit of one rule."""
    where = f" where {given.where}" if given.where else ""
    values = ", ".join(f"{name} is {number(value)}" for name, value in given.values.items())
    limit = "" if given.limit is None else f", limit {number(given.limit)}"
    return f"drops {given.drop}{where}; {values}{limit}"


def describe_duplicate(given: DuplicateFacts) -> list[str]:
    """Write which copy was kept and why."""
    name = f" (id {given.kept_id})" if given.kept_id is not None else ""
    alike = "same text as" if given.near is None else f"similarity {number(given.similarity)} to"
    if given.similarity is None:
        alike = "linked by others to"
    what = "copies in all" if given.near is None else "documents in the cluster"
    lines = [
        f"{alike} {given.kept_shard}:{given.kept_row}{name}; {grouped(given.num_copies)} {what}",
        *([given.near] if given.near is not None else []),
    ]
    if given.keep is not None:
        lines.append(f"keep rule {given.keep}: {number(given.key)} here, {number(given.kept_key)} there")
    if given.kept_reasons:
        lines.append(f"the kept copy was dropped later: {', '.join(given.kept_reasons)}")
    return lines


def describe_edit(given: EditFacts) -> str:
    """Write what a transform removed."""
    parts = "" if given.num_parts is None else f" in {grouped(given.num_parts)} duplicate parts"
    of = "" if given.of_bytes is None else f" of {grouped(given.of_bytes)}"
    return f"{given.transform} removed {grouped(given.num_bytes)}{of} bytes{parts}"
