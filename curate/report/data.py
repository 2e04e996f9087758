"""Build the report of a plan: count its parts once, then bring the counts to the order of the funnel.

Memory: see counts.py. Not here: the shape of the numbers (model.py), looks (html.py).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from curate.report.counts import Counts
from curate.report.model import (
    FORMAT,
    KEPT,
    Example,
    Kind,
    Reason,
    Report,
    ReportInput,
    RuleLike,
    Source,
    Step,
    Totals,
)
from curate.schema import NULL_SUFFIX

ALWAYS_SHOWN = ("document.num_bytes", "tokens.count")
MAX_HISTOGRAMS = 40
EXAMPLE_CHARS = 600


def build_report(given: ReportInput) -> Report:
    """Count the parts once and give the finished report; texts are fetched for the examples only."""
    wanted = wanted_columns(given.rules)
    counts = Counts(rules=group_rules(given.rules))
    for part in given.parts(wanted):
        counts.add(part, wanted)
    steps = order_steps(list(counts.first), given.rules, [each["name"] for each in given.edits])
    return Report(
        format=FORMAT,
        title=given.title,
        plan=given.plan,
        totals=Totals(
            num_docs=counts.num_docs,
            num_tokens=counts.num_tokens,
            kept_docs=counts.kept_docs,
            kept_tokens=counts.kept_tokens,
            planned_tokens=counts.planned_tokens,
        ),
        funnel=funnel(counts, steps),
        reasons=reason_table(counts, steps),
        sources=source_table(counts, steps),
        histograms=[
            counts.histograms[name].finish(given.rules) for name in wanted if name in counts.histograms
        ],
        examples=fetch_texts(counts.examples(list(steps)), given),
        pools=[] if given.pools is None else given.pools.to_pylist(),
        timings=list(given.timings),
        quarantine=dict(sorted(given.quarantine.items())),
        recipe=given.recipe,
        clusters=list(given.clusters),
        edits=[dict(each) for each in given.edits],
        budget=None if given.budget is None else dict(given.budget),
    )


def wanted_columns(rules: Sequence[RuleLike]) -> tuple[str, ...]:
    """Name the columns to draw: sizes first, then what the rules compare, each once."""
    names = [*ALWAYS_SHOWN, *(rule.column for rule in rules if rule.column is not None)]
    return tuple(dict.fromkeys(names))[:MAX_HISTOGRAMS]


def group_rules(rules: Sequence[RuleLike]) -> dict[str, list[RuleLike]]:
    """Collect the rules of every reason; several rules may share one."""
    groups: dict[str, list[RuleLike]] = {}
    for rule in rules:
        groups.setdefault(rule.reason, []).append(rule)
    return groups


def describe(rules: Sequence[RuleLike]) -> str:
    """Write when the rules of one reason drop a document."""
    return "; ".join(rule.drop + (f" where {rule.where}" if rule.where else "") for rule in rules)


def step_of(reason: str, edits: Collection[str] = ()) -> tuple[str, Kind]:
    """Give name and kind of the funnel step of a reason that is no rule of the recipe."""
    stage = reason.split(".", 1)[0]
    if stage == "input":
        return stage, "input"
    if stage in edits and reason.endswith(".duplicate"):
        return f"{stage} duplicates", "edits"
    if reason.endswith(".duplicate"):
        return f"{stage} duplicates", "duplicates"
    return "selection", "selection"


def order_steps(
    met: Sequence[str], rules: Sequence[RuleLike], edits: Collection[str] = ()
) -> dict[str, tuple[str, Kind]]:
    """Map every reason to its step, in the order of the funnel: input, edits, rules, duplicates, selection.

    `edits` names the transforms. Rules of the recipe appear even if no document met them: a rule that drops
    nothing is news.
    """
    known: dict[str, tuple[str, Kind]] = {}
    for rule in rules:
        stage = rule.reason.split(".", 1)[0]
        known[rule.reason] = (stage, "filter")
        if rule.reason + NULL_SUFFIX in met:
            known[rule.reason + NULL_SUFFIX] = (stage, "filter")
    rest = {
        reason: step_of(reason, edits) for reason in sorted(met) if reason not in known and reason != KEPT
    }

    def of(kind: Kind) -> dict[str, tuple[str, Kind]]:
        return {reason: step for reason, step in rest.items() if step[1] == kind}

    return {**of("input"), **of("edits"), **known, **of("duplicates"), **of("selection")}


def funnel(counts: Counts, steps: Mapping[str, tuple[str, Kind]]) -> list[Step]:
    """Add up first reasons by step and say what is left after each."""
    left_docs, left_tokens = counts.num_docs, counts.num_tokens
    table = []
    for name, kind in dict.fromkeys(steps.values()):
        pairs = [counts.first.get(reason, (0, 0)) for reason, step in steps.items() if step[0] == name]
        docs, tokens = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
        left_docs, left_tokens = left_docs - docs, left_tokens - tokens
        table.append(
            Step(
                name=name,
                kind=kind,
                dropped_docs=docs,
                dropped_tokens=tokens,
                left_docs=left_docs,
                left_tokens=left_tokens,
            )
        )
    return table


def reason_table(counts: Counts, steps: Mapping[str, tuple[str, Kind]]) -> list[Reason]:
    """Give first, any and only counts of every reason, in the order of the funnel."""
    table = []
    for reason, (step, _) in steps.items():
        first, every, only = (t.get(reason, (0, 0)) for t in (counts.first, counts.any, counts.only))
        table.append(
            Reason(
                reason=reason,
                step=step,
                drop=describe(counts.rules.get(reason, ())),
                first_docs=first[0],
                first_tokens=first[1],
                any_docs=every[0],
                any_tokens=every[1],
                only_docs=only[0],
                only_tokens=only[1],
            )
        )
    return table


def source_table(counts: Counts, steps: Mapping[str, tuple[str, Kind]]) -> list[Source]:
    """Give the funnel of every source, largest first."""
    table = []
    for source, pairs in counts.by_source.items():
        docs: dict[str, int] = {name: 0 for name, _ in steps.values()}
        tokens = dict(docs)
        for reason, (num_docs, num_tokens) in pairs.items():
            if reason != KEPT:
                docs[steps[reason][0]] += num_docs
                tokens[steps[reason][0]] += num_tokens
        kept = pairs.get(KEPT, (0, 0))
        table.append(
            Source(
                source=source,
                num_docs=sum(pair[0] for pair in pairs.values()),
                num_tokens=sum(pair[1] for pair in pairs.values()),
                kept_docs=kept[0],
                kept_tokens=kept[1],
                dropped_docs=docs,
                dropped_tokens=tokens,
            )
        )
    return sorted(table, key=lambda row: (-row.num_tokens, -row.num_docs, row.source))


def fetch_texts(examples: list[Example], given: ReportInput) -> list[Example]:
    """Read the beginnings of the examples' texts, one call per shard."""
    if given.fetch is None:
        return examples
    wanted: dict[str, list[int]] = defaultdict(list)
    for example in examples:
        wanted[example.shard].append(example.row)
    texts: dict[tuple[str, int], str | None] = {}
    for shard, rows in wanted.items():
        rows = sorted(set(rows))
        for row, text in zip(rows, given.fetch(shard, rows), strict=True):
            texts[shard, row] = None if text is None else beginning(text)
    return [replace(example, text=texts[example.shard, example.row]) for example in examples]


def beginning(text: bytes | str) -> str:
    """Cut a text to its first EXAMPLE_CHARS characters; bytes that are no UTF-8 are shown as U+FFFD."""
    if isinstance(text, bytes):
        text = text[: 4 * EXAMPLE_CHARS + 4].decode("utf-8", errors="replace")
    return text if len(text) <= EXAMPLE_CHARS else text[:EXAMPLE_CHARS] + "\u2026"
