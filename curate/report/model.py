"""The report as data: what goes in (`ReportInput`, `Part`) and what comes out (`Report`, JSON-able).

Inputs are plain tables, so that nothing here knows how a run stores them. Not here: how the numbers are
counted (data.py) and how they look (html.py).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa

from curate.report.differences import Stretch

FORMAT = 1
KEPT = "kept"

Kind = Literal["input", "edits", "filter", "duplicates", "selection"]


class RuleLike(Protocol):
    """What the report reads of a filter rule."""

    @property
    def reason(self) -> str:
        """Code of the rule."""

    @property
    def drop(self) -> str:
        """Expression over columns that drops a document."""

    @property
    def where(self) -> str | None:
        """Expression that says which documents the rule looks at; None for all."""

    @property
    def column(self) -> str | None:
        """Column of a rule that compares one column with one limit; None for other rules."""

    @property
    def op(self) -> str | None:
        """Comparison that drops: `<`, `<=`, `>`, `>=`, `=`, `<>`; None where `column` is None."""

    @property
    def limit(self) -> float | None:
        """Limit of the comparison; None where `column` is None."""

    @property
    def by(self) -> str | None:
        """Column whose value selects from `limits`; None where one limit holds for all."""

    @property
    def limits(self) -> Mapping[str, float | None]:
        """Limit per value of `by`, in place of `limit`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Consecutive rows of one shard: decisions and measured columns, row by row."""

    shard: str
    """Shard key."""
    rows: pa.Table
    """Rows table of the plan: row, doc_id, reasons, pool, weight, repeats, order, tokens."""
    columns: pa.Table
    """Measured columns in the same order; a column that does not exist is left out."""
    sources: pa.Array | pa.ChunkedArray | None = None
    """Source of each row; None where the input has no such column, then the pool stands in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """What one step cost."""

    step: str
    elapsed_s: float
    num_docs: int = 0
    num_bytes: int = 0
    num_tasks: int = 0
    num_cached: int = 0
    """Tasks that were found done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A document of a cluster beside the one that is shown first."""

    place: str
    id: str | None
    similarity: float | None
    """To its most similar neighbour."""
    reasons: tuple[str, ...]
    stretches: list[Stretch]
    """What differs from the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterView:
    """A cluster of near duplicates."""

    cluster_id: int
    size: int
    kept: int
    """Documents of it that the plan keeps; -1 without a plan."""
    sources: dict[str, int]
    """Members by source, the most first."""
    first: str
    first_id: str | None
    first_text: str
    members: list[Member]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportInput:
    """Everything the report is made of."""

    title: str
    plan: str
    """Fingerprint of the plan."""
    parts: Callable[[tuple[str, ...]], Iterable[Part]]
    """Gives the parts in key order, with (at least) the measured columns asked for; called once."""
    rules: Sequence[RuleLike] = ()
    """Filter rules in recipe order."""
    pools: pa.Table | None = None
    """The plan's pools table."""
    budget: Mapping[str, Any] | None = None
    """`budget.json` of the plan; None where there is none."""
    timings: Sequence[Timing] = ()
    quarantine: Mapping[str, int] = field(default_factory=dict)
    """Reason of input -> rows in quarantine."""
    fetch: Callable[[str, Sequence[int]], Sequence[bytes | str | None]] | None = None
    """(shard key, rows) -> texts of few rows, for examples; None leaves texts out."""
    recipe: str = ""
    """Resolved recipe as YAML."""
    clusters: Sequence[ClusterView] = ()
    """The largest clusters of near duplicates."""
    edits: Sequence[Mapping[str, Any]] = ()
    """The plan's ledger of transforms."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of the funnel: what it dropped first, what is left after it."""

    name: str
    kind: Kind
    dropped_docs: int
    dropped_tokens: int
    left_docs: int
    left_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Counts of one reason.

    `first`: it was the first reason met; `any`: it was among the reasons; `only`: it was the only one, so
    moving its limit alone could bring these documents back.
    """

    reason: str
    step: str
    drop: str
    first_docs: int
    first_tokens: int
    any_docs: int
    any_tokens: int
    only_docs: int
    only_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Documents and tokens of one source, and how many each step dropped first."""

    source: str
    num_docs: int
    num_tokens: int
    kept_docs: int
    kept_tokens: int
    dropped_docs: dict[str, int]
    dropped_tokens: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A limit that a rule puts on a column; `group` says for which value of the rule's `by`, "" for all."""

    reason: str
    op: str
    limit: float
    group: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """Documents per bin of one column; `edges` has one entry more than `kept` and `dropped`."""

    column: str
    scale: Literal["linear", "log"]
    edges: list[float]
    kept: list[int]
    dropped: list[int]
    num_null: int
    limits: list[Limit]


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One document that met a reason first (or was kept)."""

    reason: str
    doc_id: str
    shard: str
    row: int
    source: str
    tokens: int
    value: float | None
    """Measured value of the column that the rule reads; None where it reads no single column."""
    text: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """The four numbers on top; planned tokens count repeats, the others do not."""

    num_docs: int
    num_tokens: int
    kept_docs: int
    kept_tokens: int
    planned_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The finished report; `dataclasses.asdict` of it is the JSON."""

    format: int
    title: str
    plan: str
    totals: Totals
    funnel: list[Step]
    reasons: list[Reason]
    sources: list[Source]
    histograms: list[Histogram]
    examples: list[Example]
    pools: list[dict[str, str | int | float | None]]
    timings: list[Timing]
    quarantine: dict[str, int]
    recipe: str
    clusters: list[ClusterView]
    edits: list[dict[str, Any]]
    budget: dict[str, Any] | None
