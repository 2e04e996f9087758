"""Selection: which surviving documents fill the token budget of their pool, and why the others do not.

Two passes over columns: `Selector.add` sets key, pool and tokens of each candidate aside in a scratch file;
`finish` finds the cut of each pool; then `Outcome.decide` says for any rows what is taken, from the same
columns. What it decides is a function of (documents, settings): chunks, their order and the memory do not
show.

Cost: 32 bytes of scratch a candidate, read two to four times. Not here: repeats, mixtures.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa

from curate.errors import DataError
from curate.files import naming_errors
from curate.selection.budget import pool_budgets
from curate.selection.candidates import Scale, candidate_rows, codes_of, key_of
from curate.selection.cutter import Candidates, Cut, find_cuts, taken
from curate.selection.exact_sum import ExactSum
from curate.selection.settings import Selection

OVER_BUDGET = "plan.over_budget"
"""A better document filled the budget of the pool."""
NOT_SAMPLED = "plan.not_sampled"
"""The document was not drawn, or can never be (a weight of 0)."""
BELOW_THRESHOLD = "plan.below_threshold"
"""The score is below the threshold."""
NULL_SCORE = "plan.null_score"
"""There is no score: null, NaN, or a weight that is negative or infinite."""

REASONS = (NULL_SCORE, BELOW_THRESHOLD, OVER_BUDGET, NOT_SAMPLED)

_ROWS = np.dtype([("pool", "<u4"), ("tokens", "<u4"), ("ordinal", "<i8"), ("score", "<f8"), ("noise", "<f8")])


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """What a pool had, was to give, and gives."""

    pool: str
    num_docs: int
    """Documents that may be taken: survivors with a score that is not below the threshold."""
    num_tokens: int
    budget_tokens: int | None
    planned_docs: int
    planned_tokens: int
    threshold: float | None
    """Score of the last document taken, or its key where they are drawn; None where nothing is left out."""
    short_by: int
    """Tokens of the budget that the pool cannot give."""


class Selector:
    """Collects candidates: feed every piece, then `finish`; a context that removes its scratch file."""

    def __init__(self, settings: Selection, *, scratch: Path, memory_bytes: int) -> None:
        self._settings = settings
        self._path = scratch / "candidates.bin"
        scratch.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")
        self._max_rows = max(1, memory_bytes // 4 // 128)
        self._codes: dict[str, int] = {}
        self._docs: list[int] = []
        self._tokens: list[int] = []

    def add(
        self,
        first_ordinal: int,
        *,
        doc_ids: pa.FixedSizeBinaryArray,
        tokens: np.ndarray,
        survived: np.ndarray,
        columns: pl.DataFrame,
    ) -> None:
        """Tell of consecutive rows: ids, tokens, whether anything dropped them so far, and `columns()`."""
        rows = candidate_rows(self._settings, doc_ids, survived, columns)
        for name in rows.pools.unique().sort().to_list():
            if name not in self._codes:
                self._codes[name] = len(self._codes)
                self._docs.append(0)
                self._tokens.append(0)
        chosen = np.flatnonzero(rows.is_eligible)
        out = np.empty(len(chosen), dtype=_ROWS)
        out["pool"] = codes_of(rows.pools, self._codes)[chosen]
        out["tokens"] = tokens[rows.places[chosen]]
        out["ordinal"] = first_ordinal + rows.places[chosen]
        out["score"], out["noise"] = rows.score[chosen], rows.noise[chosen]
        for code in np.unique(out["pool"]).tolist():
            mine = out["tokens"][out["pool"] == code]
            self._docs[code] += len(mine)
            self._tokens[code] += int(mine.sum(dtype=np.int64))
        with naming_errors(self._path):
            out.tofile(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the scratch file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def finish(self) -> "Outcome":
        """Find the cuts; the scratch file is removed."""
        self._file.close()
        try:
            scale = self._scale()
            available = dict(zip(self._codes, self._tokens, strict=True))
            budgets = pool_budgets(self._settings.parsed_budget(), available)
            supplies = dict(zip(self._codes, zip(self._docs, self._tokens, strict=True), strict=True))
            cuts = find_cuts(
                lambda: self._candidates(scale),
                [budgets[name] for name in self._codes],
                list(supplies.values()),
                with_ties=self._settings.method == "threshold",
                max_rows=self._max_rows,
            )
        finally:
            self.close()
        return Outcome(self._settings, scale, dict(zip(self._codes, cuts, strict=True)), budgets, supplies)

    def _blocks(self) -> Iterator[np.ndarray]:
        with self._path.open("rb") as file:
            while len(block := np.fromfile(file, _ROWS, self._max_rows)):
                yield block

    def _candidates(self, scale: Scale) -> Iterator[Candidates]:
        for block in self._blocks():
            ranks = scale.ranks(block["score"], block["noise"])
            yield Candidates(block["pool"], ranks, block["ordinal"], block["tokens"])

    def _finite(self) -> Iterator[np.ndarray]:
        for block in self._blocks():
            yield block["score"][np.isfinite(block["score"])]

    def _scale(self) -> Scale:
        """Mean and standard deviation of the finite scores where they are asked for."""
        settings = self._settings
        if settings.method != "weighted":
            return Scale()
        if settings.normalize == "none":
            return Scale(temperature=settings.temperature)
        count = sum(len(scores) for scores in self._finite())
        if count == 0:
            return Scale(temperature=settings.temperature)
        try:
            total, squares = ExactSum(), ExactSum()
            for scores in self._finite():
                total.add(scores)
            mean = total.value() / count
            for scores in self._finite():
                squares.add((scores - mean) * (scores - mean))
            spread = math.sqrt(squares.value() / count)
        except OverflowError as exc:
            raise DataError("scores are too large to be normalised", hint="plan: normalize: none") from exc
        return Scale(mean, spread if spread > 0 else 1.0, settings.temperature)


class Outcome:
    """The cuts of all pools: reports on them, and decides about rows."""

    def __init__(
        self,
        settings: Selection,
        scale: Scale,
        cuts: dict[str, Cut],
        budgets: dict[str, int | None],
        supplies: dict[str, tuple[int, int]],
    ) -> None:
        self._settings = settings
        self.scale = scale
        """How score and noise make the key."""
        self._cuts = cuts
        self._budgets = budgets
        self._supplies = supplies

    @cached_property
    def pools(self) -> tuple[PoolReport, ...]:
        """A report on every pool of the corpus or of the table of budgets, by name."""
        return tuple(self._report(name) for name in sorted(self._budgets))

    def _report(self, name: str) -> PoolReport:
        num_docs, num_tokens = self._supplies.get(name, (0, 0))
        cut, budget = self._cuts.get(name, Cut(0, 0)), self._budgets[name]
        return PoolReport(
            pool=name,
            num_docs=num_docs,
            num_tokens=num_tokens,
            budget_tokens=budget,
            planned_docs=cut.num_docs,
            planned_tokens=cut.num_tokens,
            threshold=self._settings.threshold if cut.rank is None else key_of(cut.rank),
            short_by=0 if budget is None else max(0, budget - num_tokens),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for every pool that has fewer tokens than its budget."""
        short = (report for report in self.pools if report.short_by)
        return tuple(
            f"pool {r.pool} has {r.num_tokens} tokens, {r.short_by} fewer than its budget: {r.budget_tokens}"
            for r in short
        )

    def decide(
        self,
        first_ordinal: int,
        *,
        doc_ids: pa.FixedSizeBinaryArray,
        survived: np.ndarray,
        columns: pl.DataFrame,
    ) -> list[tuple[str, np.ndarray]]:
        """Say for each of `REASONS` which rows it drops; rows that did not survive get no reason here."""
        rows = candidate_rows(self._settings, doc_ids, survived, columns)
        codes = codes_of(rows.pools, {name: code for code, name in enumerate(self._cuts)})
        kept = np.zeros(len(rows.places), dtype=bool)
        at = np.flatnonzero(rows.is_eligible)
        ranks = self.scale.ranks(rows.score[at], rows.noise[at])
        kept[at] = taken(list(self._cuts.values()), codes[at], ranks, first_ordinal + rows.places[at])
        left = ~(kept | rows.is_null | rows.is_below)
        below = rows.is_below | (left if self._settings.method == "threshold" else False)
        nothing = np.zeros_like(left)
        found = {
            NULL_SCORE: rows.is_null,
            BELOW_THRESHOLD: below,
            OVER_BUDGET: left if self._settings.method == "top" else nothing,
            NOT_SAMPLED: left if self._settings.is_drawn() else nothing,
        }
        return [(reason, self._spread(found[reason], rows.places, len(survived))) for reason in REASONS]

    @staticmethod
    def _spread(mask: np.ndarray, places: np.ndarray, num_rows: int) -> np.ndarray:
        out = np.zeros(num_rows, dtype=bool)
        out[places] = mask
        return out
