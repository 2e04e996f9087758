"""Count what the report shows, in one pass over the parts of a plan.

Memory is bounded by one part and by (sources x steps + reasons) counters; all counters are integers, so
the answer does not depend on how shards are cut into parts. Examples are the documents with the least salted
hash of `doc_id` per reason: a fair sample without a generator, the same for every split of the parts.

Not here: the shape of the numbers (model.py), bins (histograms.py), looks (html.py).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.report.histograms import Counter
from curate.report.model import (
    FORMAT,
    KEPT,
    Example,
    Kind,
    Part,
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
MAX_SOURCES = 10_000
NUM_EXAMPLES = 3
EXAMPLE_CHARS = 600
NO_ID_KEY = 2**64 - 1
"""Sorts rows without a doc_id last; they were not read, so they have no content to be told apart by."""
NO_SOURCE = "(none)"
OTHER_SOURCE = "(other)"

Pair = tuple[int, int]
"""Documents and tokens."""


def build_report(given: ReportInput) -> Report:
    """Count the parts once and give the finished report; texts are fetched for the examples only."""
    wanted = wanted_columns(given.rules)
    counts = Counts(rules=group_rules(given.rules))
    for part in given.parts(wanted):
        counts.add(part, wanted)
    steps = order_steps(list(counts.first), given.rules)
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


def step_of(reason: str) -> tuple[str, Kind]:
    """Give name and kind of the funnel step of a reason that is no rule of the recipe."""
    stage = reason.split(".", 1)[0]
    if stage == "input":
        return stage, "input"
    if reason.endswith(".duplicate"):
        return f"{stage} duplicates", "duplicates"
    return "selection", "selection"


def order_steps(met: Sequence[str], rules: Sequence[RuleLike]) -> dict[str, tuple[str, Kind]]:
    """Map every reason to its step, in the order of the funnel: input, rules, duplicates, selection.

    Rules of the recipe appear even if no document met them: a rule that drops nothing is news.
    """
    known: dict[str, tuple[str, Kind]] = {}
    for rule in rules:
        stage = rule.reason.split(".", 1)[0]
        known[rule.reason] = (stage, "filter")
        if rule.reason + NULL_SUFFIX in met:
            known[rule.reason + NULL_SUFFIX] = (stage, "filter")
    rest = {reason: step_of(reason) for reason in sorted(met) if reason not in known and reason != KEPT}

    def of(kind: Kind) -> dict[str, tuple[str, Kind]]:
        return {reason: step for reason, step in rest.items() if step[1] == kind}

    return {**of("input"), **known, **of("duplicates"), **of("selection")}


@dataclass(slots=True)
class Counts:
    """Everything that is counted while parts go by."""

    rules: Mapping[str, Sequence[RuleLike]]
    num_docs: int = 0
    num_tokens: int = 0
    kept_docs: int = 0
    kept_tokens: int = 0
    planned_tokens: int = 0
    first: dict[str, Pair] = field(default_factory=dict)
    any: dict[str, Pair] = field(default_factory=dict)
    only: dict[str, Pair] = field(default_factory=dict)
    by_source: dict[str, dict[str, Pair]] = field(default_factory=lambda: defaultdict(dict))
    histograms: dict[str, Counter] = field(default_factory=dict)
    chosen: dict[str, list[tuple[int, Example]]] = field(default_factory=dict)

    def add(self, part: Part, wanted: Sequence[str]) -> None:
        """Count one part."""
        frame = decisions(part)
        self._add_totals(frame)
        self._add_reasons(frame)
        self._add_sources(frame)
        kept = frame["first"].eq(KEPT).to_numpy()
        for name in wanted:
            if name in part.columns.column_names:
                counter = self.histograms.setdefault(name, Counter(name))
                counter.add(part.columns[name], kept)
        self._add_examples(part, frame)

    def _add_totals(self, frame: pl.DataFrame) -> None:
        kept = frame.filter(pl.col("first") == KEPT)
        self.num_docs += frame.height
        self.num_tokens += int(frame["tokens"].sum())
        self.kept_docs += kept.height
        self.kept_tokens += int(kept["tokens"].sum())
        self.planned_tokens += int((kept["tokens"] * kept["repeats"]).sum())

    def _add_reasons(self, frame: pl.DataFrame) -> None:
        dropped = frame.filter(pl.col("first") != KEPT)
        alone = dropped.filter(pl.col("reasons").list.len() == 1)
        each = dropped.select("tokens", first=pl.col("reasons").list.unique()).explode("first")
        for table, rows in ((self.first, dropped), (self.only, alone), (self.any, each)):
            for reason, num_docs, num_tokens in sums(rows, "first"):
                add_pair(table, reason, num_docs, num_tokens)

    def _add_sources(self, frame: pl.DataFrame) -> None:
        for source, reason, num_docs, num_tokens in sums(frame, "source", "first"):
            known = source in self.by_source or len(self.by_source) < MAX_SOURCES
            add_pair(self.by_source[source if known else OTHER_SOURCE], reason, num_docs, num_tokens)

    def _add_examples(self, part: Part, frame: pl.DataFrame) -> None:
        keys = pl.Series(salted_keys(part.rows["doc_id"]))
        least = (
            frame.select("first", "row", "source", "tokens", key=keys)
            .with_row_index("place")
            .with_columns(unread=pl.when(pl.col("key") == NO_ID_KEY).then("row").otherwise(0))
            .sort("first", "key", "row")
            .unique(("first", "key", "unread"), keep="first", maintain_order=True)
            .group_by("first", maintain_order=True)
            .head(NUM_EXAMPLES)
        )
        for reason, row, source, tokens, key, place in least.select(
            "first", "row", "source", "tokens", "key", "place"
        ).iter_rows():
            example = Example(
                reason=reason,
                doc_id=(part.rows["doc_id"][place].as_py() or b"").hex(),
                shard=part.shard,
                row=row,
                source=source,
                tokens=tokens,
                value=self._value(part, reason, place),
            )
            self._keep_example(key, example)

    def _value(self, part: Part, reason: str, place: int) -> float | None:
        names = {rule.column for rule in self.rules.get(reason, ())} & set(part.columns.column_names)
        if len(names) != 1:
            return None
        value = part.columns[names.pop()][place].as_py()
        return None if value is None else float(value)

    def _keep_example(self, key: int, example: Example) -> None:
        best = self.chosen.setdefault(example.reason, [])
        if example.doc_id and any(example.doc_id == other.doc_id for _, other in best):
            return
        best.append((key, example))
        best.sort(key=lambda pair: (pair[0], pair[1].shard.encode(), pair[1].row))
        del best[NUM_EXAMPLES:]

    def examples(self, reasons: Sequence[str]) -> list[Example]:
        """Give the chosen examples: kept ones first, then by reason in the order of the funnel."""
        return [example for name in (KEPT, *reasons) for _, example in self.chosen.get(name, [])]


def add_pair(table: dict[str, Pair], name: str, num_docs: int, num_tokens: int) -> None:
    """Add documents and tokens to one entry."""
    old_docs, old_tokens = table.get(name, (0, 0))
    table[name] = (old_docs + num_docs, old_tokens + num_tokens)


def sums(frame: pl.DataFrame, *by: str) -> list[tuple[Any, ...]]:
    """Count rows and sum tokens by some columns, in a fixed order."""
    table = frame.group_by(by).agg(pl.len(), pl.col("tokens").sum()).sort(by)
    return list(table.iter_rows())


def decisions(part: Part) -> pl.DataFrame:
    """Bring a part to plain columns: row, reasons, first, tokens, repeats, source."""
    rows = part.rows.select(["row", "reasons", "tokens", "repeats"])
    reasons = rows["reasons"].cast(pa.list_(pa.string()))
    source = part.rows["pool"] if part.sources is None else part.sources
    table = pa.table(
        {
            "row": rows["row"],
            "reasons": reasons,
            "tokens": rows["tokens"].cast(pa.int64()),
            "repeats": rows["repeats"].cast(pa.int64()),
            "source": pc.fill_null(source.cast(pa.string()), NO_SOURCE),
        }
    )
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(first=pl.col("reasons").list.first().fill_null(KEPT))


def salted_keys(doc_ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Hash doc_ids to the order in which documents are shown; rows without one come last."""
    binary = doc_ids.cast(pa.binary())
    raw = b"".join(bytes_of(chunk) for chunk in pc.fill_null(binary, bytes(16)).chunks)
    high = np.frombuffer(raw, dtype="<u8")[::2]
    with np.errstate(over="ignore"):
        mixed = (high ^ np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    mixed[binary.is_null().to_numpy()] = NO_ID_KEY
    return np.asarray(mixed, dtype=np.uint64)


def bytes_of(chunk: pa.BinaryArray) -> bytes:
    """Give the values of a binary array without nulls, one after the other."""
    offsets = np.frombuffer(chunk.buffers()[1], dtype="<i4")[chunk.offset : chunk.offset + len(chunk) + 1]
    return b"" if len(chunk) == 0 else bytes(chunk.buffers()[2][int(offsets[0]) : int(offsets[-1])])


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
