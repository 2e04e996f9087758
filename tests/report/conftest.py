"""A small corpus with decisions, made from fixed numbers: realistic, and known to the last document."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest

from curate.report.model import Part, ReportInput, Timing


@dataclass(frozen=True)
class FakeRule:
    reason: str
    drop: str
    where: str | None = None
    column: str | None = None
    op: str | None = None
    limit: float | None = None
    by: str | None = None
    limits: Mapping[str, float | None] = field(default_factory=dict)


def rule(reason: str, column: str, op: str, limit: float, where: str | None = None) -> FakeRule:
    return FakeRule(reason, f'"{column}" {op} {limit}', where, column, op, limit)


RULES = (
    rule("gopher.too_short", "gopher.num_words", "<", 50),
    rule("gopher.too_long", "gopher.num_words", ">", 100_000),
    rule("gopher.mean_word_length_low", "gopher.mean_word_length", "<", 3),
    rule("gopher.mean_word_length_high", "gopher.mean_word_length", ">", 10),
    rule("gopher.few_stop_words", "gopher.num_stop_words", "<", 2),
    rule("gopher.dup_line_frac", "gopher.dup_line_frac", ">", 0.3),
    rule("c4.curly_bracket", "gopher.hash_frac", ">", 0.2),
    rule("fineweb.line_punct", "fineweb.line_punct_frac", "<=", 0.12),
    rule("fineweb.short_lines", "fineweb.short_line_frac", ">", 0.67),
    FakeRule("user.odd", "gopher.num_words > 900 AND source = 'forum'"),
)
SOURCES = ("books", "code", "forum", "news", "web <b>raw</b>")
ROWS = pa.schema(
    [
        ("row", pa.uint32()),
        ("doc_id", pa.binary(16)),
        ("reasons", pa.list_(pa.dictionary(pa.uint16(), pa.string()))),
        ("pool", pa.dictionary(pa.uint16(), pa.string())),
        ("weight", pa.float64()),
        ("repeats", pa.uint16()),
        ("order", pa.uint64()),
        ("tokens", pa.uint32()),
    ]
)


def compare(values: np.ndarray, op: str, limit: float) -> np.ndarray:
    return {"<": values < limit, "<=": values <= limit, ">": values > limit}[op]


def make_part(shard: str, num_docs: int, seed: int) -> Part:
    rng = np.random.default_rng(seed)
    source = rng.choice(len(SOURCES), num_docs, p=[0.05, 0.2, 0.2, 0.15, 0.4])
    words = np.maximum(1, rng.lognormal(5.2, 1.4, num_docs) * (1 + 20 * (source == 0))).astype("u4")
    columns = {
        "document.num_bytes": (words * 6).astype("u4"),
        "tokens.count": (words * 1.3).astype("u4"),
        "gopher.num_words": words,
        "gopher.mean_word_length": rng.normal(4.8 + (source == 1), 1.1, num_docs),
        "gopher.num_stop_words": rng.binomial(8, np.where(source == 1, 0.2, 0.8)).astype("u4"),
        "gopher.dup_line_frac": rng.beta(0.4, 4, num_docs),
        "gopher.hash_frac": rng.beta(0.2, 8, num_docs),
        "fineweb.line_punct_frac": rng.beta(2, 2, num_docs),
        "fineweb.short_line_frac": rng.beta(1, 3, num_docs),
    }
    reasons: list[list[str]] = [[] for _ in range(num_docs)]
    for each in RULES:
        if each.column is not None and each.op is not None and each.limit is not None:
            for row in np.flatnonzero(compare(columns[each.column], each.op, each.limit)):
                reasons[row].append(each.reason)
    late = rng.random(num_docs)
    for row, given in enumerate(reasons):
        if late[row] < 0.002:
            given.insert(0, "input.invalid_utf8")
        elif not given and late[row] < 0.12:
            given.append("exact.duplicate")
        elif not given and late[row] < 0.3:
            given.append("budget.over")
    tokens = [
        0 if r[:1] == ["input.invalid_utf8"] else int(w * 1.3) + 1
        for w, r in zip(words, reasons, strict=True)
    ]
    ids = [hashlib.blake2b(f"{shard}/{row}".encode(), digest_size=16).digest() for row in range(num_docs)]
    rows = {
        "row": range(num_docs),
        "doc_id": [None if "input.invalid_utf8" in r else i for i, r in zip(ids, reasons, strict=True)],
        "reasons": reasons,
        "pool": [SOURCES[s] for s in source],
        "weight": [1.0] * num_docs,
        "repeats": [0 if r else 1 + (i % 50 == 0) for i, r in enumerate(reasons)],
        "order": [0] * num_docs,
        "tokens": tokens,
    }
    table = pa.table({name: pa.array(values, ROWS.field(name).type) for name, values in rows.items()})
    names = pa.array([SOURCES[s] for s in source])
    return Part(shard=shard, rows=table, columns=pa.table(columns), sources=names)


HOSTILE = "<script>alert(1)</script>\u202e \x1b[31m </svg><img src=x onerror=y> '\"&amp;"


def fetch(shard: str, rows: Sequence[int]) -> list[str]:
    return [f"{HOSTILE} {shard} {row} " + "words go on " * 100 for row in rows]


def cut(part: Part, at: int) -> list[Part]:
    """Cut one part in two."""
    halves = [(0, at), (at, part.rows.num_rows - at)]
    return [
        Part(
            shard=part.shard,
            rows=part.rows.slice(start, length),
            columns=part.columns.slice(start, length),
            sources=None if part.sources is None else part.sources.slice(start, length),
        )
        for start, length in halves
    ]


def make_input(parts: list[Part]) -> ReportInput:
    def give(wanted: tuple[str, ...]) -> Iterable[Part]:
        return iter(parts)

    pools = pa.table(
        {
            "pool": list(SOURCES),
            "num_docs": [120, 800, 810, 590, 1600],
            "num_tokens": [900_000, 400_000, 410_000, 300_000, 800_000],
            "num_unique_tokens": [500_000, 90_000, 200_000, 180_000, 300_000],
            "budget_tokens": [400_000, 72_000, 160_000, 150_000, 240_000],
            "planned_docs": [60, 100, 300, 260, 540],
            "planned_tokens": [402_317, 72_110, 160_094, 150_233, 240_871],
            "cap": [1.0] * 5,
            "threshold": pa.array([None, 0.5, None, None, 0.25], pa.float64()),
        }
    )
    return ReportInput(
        title="runs/web",
        plan="8f3c0a1b2c3d4e5f60718293a4b5c6d7",
        parts=give,
        rules=RULES,
        pools=pools,
        timings=[
            Timing(step="measure", elapsed_s=12.4, num_docs=4000, num_bytes=812_000_000, num_tasks=4),
            Timing(step="resolve", elapsed_s=0.6, num_docs=4000, num_tasks=1, num_cached=1),
            Timing(step="plan", elapsed_s=0.31, num_docs=4000, num_tasks=2),
            Timing(step="write", elapsed_s=4.2, num_docs=1260, num_bytes=202_000_000, num_tasks=2),
        ],
        quarantine={"input.invalid_utf8": 8, "input.bad_json": 1},
        fetch=fetch,
        recipe="input:\n  paths: data/*.parquet\n",
    )


@pytest.fixture(scope="session")
def parts() -> list[Part]:
    return [make_part("a/0.parquet", 2500, 1), make_part("b/0.parquet", 1500, 2)]


@pytest.fixture(scope="session")
def given(parts: list[Part]) -> ReportInput:
    return make_input(parts)
