"""Selection: which surviving documents fill the token budget of their pool, how often, and why others do not.

Two passes over columns: `Selector.add` sets key, pool and tokens of each candidate aside in a scratch file;
`finish` finds the cut of each pool; then `Outcome.decide` says for any rows what is taken, from the same
columns. What it decides is a function of (documents, settings): chunks, their order and the memory do not
show.

Where budgets may repeat, a pool of P tokens with a budget of n takes all its documents floor(n / P) times and
once more those in the cut of the rest.

Cost: 32 bytes of scratch a candidate, read two to four times. Not here: budgets of pools (budget.py,
allocation), mixtures of a training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa

from curate import _rust
from curate.errors import ConfigError
from curate.selection.allocation.pools import CONTENT_MODULUS
from curate.selection.budget import pool_budgets
from curate.selection.candidates import Rows, Scale, candidate_rows, key_of
from curate.selection.cutter import Candidates, Cut, find_cuts, taken
from curate.selection.gathered import Gathered
from curate.selection.mix import Mix
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

MAX_REPEATS = 2**16 - 1
"""What the plan can hold."""


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
    """Tokens times repeats."""
    threshold: float | None
    """Score of the last document taken, or its key where they are drawn; None where nothing is left out."""
    short_by: int
    """Tokens of the budget that the pool cannot give."""
    content: str
    """What its documents are: 32 hexadecimal digits that depend on no order (`_rust.content_sums`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of rows."""

    repeats: np.ndarray
    """How often each is taken."""
    reasons: list[tuple[str, np.ndarray]]
    """For each of `REASONS` the rows that it drops."""


@dataclass(slots=True)
class _Supplies:
    """What each pool has, by code."""

    docs: np.ndarray
    tokens: np.ndarray
    content: list[int]
    is_seen: np.ndarray

    @classmethod
    def none(cls) -> Self:
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), [], np.zeros(0, bool))

    def add(self, pools: np.ndarray, tokens: np.ndarray, doc_ids: pa.Array) -> None:
        codes, inverse = np.unique(pools, return_inverse=True)
        sums = _rust.content_sums(doc_ids, pa.array(inverse, pa.uint32()), len(codes))
        self.docs[codes] += np.bincount(inverse, minlength=len(codes))
        self.tokens[codes] += np.bincount(inverse, tokens, len(codes)).astype(np.int64)
        for code, value in zip(codes.tolist(), sums.to_pylist(), strict=True):
            self.content[code] = (self.content[code] + int.from_bytes(value, "little")) % CONTENT_MODULUS

    def see(self, pools: np.ndarray) -> None:
        missing = (int(pools.max()) + 1 if len(pools) else 0) - len(self.docs)
        if missing > 0:
            self.docs, self.tokens = np.pad(self.docs, (0, missing)), np.pad(self.tokens, (0, missing))
            self.is_seen = np.pad(self.is_seen, (0, missing))
            self.content += [0] * missing
        self.is_seen[pools] = True


class Selector:
    """Collects candidates: feed every piece, then `finish`; a context that removes its scratch file."""

    def __init__(self, settings: Selection, *, scratch: Path, memory_bytes: int) -> None:
        self._settings = settings
        self._max_rows = max(1, memory_bytes // 4 // 128)
        self._gathered = Gathered(scratch / "candidates.bin", max_rows=self._max_rows)
        self._supplies = _Supplies.none()
        self._mix: Mix | None = None
        if settings.method == "mix":
            self._mix = Mix(settings, scratch=scratch, memory_bytes=memory_bytes // 2)
        self._is_finished = False

    def add(
        self,
        first_ordinal: int,
        *,
        doc_ids: pa.FixedSizeBinaryArray,
        tokens: np.ndarray,
        pools: np.ndarray,
        survived: np.ndarray,
        columns: pl.DataFrame,
    ) -> None:
        """Tell of consecutive rows: ids, tokens, codes of pools, whether anything dropped them, columns."""
        rows = candidate_rows(self._settings, doc_ids, survived, columns)
        self._supplies.see(pools[rows.places])
        eligible = rows.is_eligible
        if self._mix is not None:
            eligible = self._mix.add(
                first_ordinal,
                places=rows.places,
                pools=pools[rows.places],
                tokens=tokens[rows.places],
                doc_ids=doc_ids.take(pa.array(rows.places)),
                frame=columns[rows.places],
            )
        chosen = np.flatnonzero(eligible)
        at = rows.places[chosen]
        ids = doc_ids if len(at) == len(doc_ids) else doc_ids.take(pa.array(at))
        self._supplies.add(pools[at], tokens[at], ids)
        self._gathered.add(
            pools=pools[at],
            tokens=tokens[at],
            ordinals=first_ordinal + at,
            score=rows.score[chosen],
            noise=rows.noise[chosen],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._gathered.close()
        if self._mix is not None and not self._is_finished:
            self._mix.close()

    def supplies(self, names: Sequence[str]) -> list[tuple[str, int, int, str]]:
        """Name, documents, tokens and content of every pool that has survivors, by name."""
        has = self._supplies
        found = [
            (names[code], int(has.docs[code]), int(has.tokens[code]), f"{has.content[code]:032x}")
            for code in np.flatnonzero(has.is_seen).tolist()
        ]
        return sorted(found)

    def finish(
        self, names: Sequence[str], *, budgets: Mapping[str, int] | None = None, can_repeat: bool = True
    ) -> "Outcome":
        """Find the cuts; the scratch file of the candidates is removed.

        Args:
            names: Names of the pools, by code.
            budgets: Tokens of each pool; None takes those of the settings, and each document once.
            can_repeat: Whether a budget above what the pool has repeats its documents.

        Raises:
            ConfigError: a document would be repeated too often.
        """
        supplies = {name: (docs, tokens, content) for name, docs, tokens, content in self.supplies(names)}
        available = {name: tokens for name, (_, tokens, _) in supplies.items()}
        asked: dict[str, int | None] = dict(budgets or {})
        if budgets is None:
            asked = pool_budgets(self._settings.parsed_budget(), available)
        whole = whole_passes(budgets if budgets and can_repeat else {}, available)
        rests = {
            name: budget if budget is None else budget - whole.get(name, 0) * available.get(name, 0)
            for name, budget in asked.items()
        }
        has, seen = self._supplies, np.flatnonzero(self._supplies.is_seen).tolist()
        try:
            scale = self._scale()
            cuts = find_cuts(
                lambda: self._candidates(scale),
                [rests[names[code]] for code in seen],
                list(zip(has.docs.tolist(), has.tokens.tolist(), strict=True)),
                pools=seen,
                with_ties=self._settings.method == "threshold",
                max_rows=self._max_rows,
            )
        finally:
            self._gathered.close()
        self._is_finished = True
        found = dict(zip((names[code] for code in seen), cuts, strict=True))
        return Outcome(
            self._settings,
            scale,
            cuts=found,
            budgets=asked,
            supplies=supplies,
            whole=whole,
            mix=self._mix,
            names=names,
        )

    def _scale(self) -> Scale:
        """How keys are made; sorts the lists of a mix."""
        if self._mix is not None:
            self._mix.finish()
        is_scaled = self._settings.method == "weighted"
        return self._gathered.scale(self._settings) if is_scaled else Scale()

    def _candidates(self, scale: Scale) -> Iterator[Candidates]:
        for block in self._gathered.blocks():
            score = block["score"]
            if self._mix is not None:
                first = int(block["ordinal"].min())
                keys = self._mix.keys(first, int(block["ordinal"].max()) + 1 - first)
                score = keys[block["ordinal"] - first]
            ranks = scale.ranks(score, block["noise"])
            yield Candidates(block["pool"], ranks, block["ordinal"], block["tokens"])


def whole_passes(budgets: Mapping[str, int], available: Mapping[str, int]) -> dict[str, int]:
    """How often a budget takes all of a pool, by name.

    Raises:
        ConfigError: a document would be repeated too often.
    """
    whole = {name: budget // max(available.get(name, 0), 1) for name, budget in budgets.items()}
    for name, number in whole.items():
        if available.get(name, 0) == 0:
            whole[name] = 0
        elif number >= MAX_REPEATS:
            raise ConfigError(
                f"pool {name} has {available[name]} tokens and a budget of {budgets[name]}: a document is "
                f"repeated at most {MAX_REPEATS} times, this needs: {number + 1}",
                hint="lower plan.budget, or plan.allocate.cap",
            )
    return whole


class Outcome:
    """The cuts of all pools: reports on them, and decides about rows."""

    def __init__(  # over: what was found, made in one place
        self,
        settings: Selection,
        scale: Scale,
        *,
        cuts: dict[str, Cut],
        budgets: dict[str, int | None],
        supplies: dict[str, tuple[int, int, str]],
        whole: dict[str, int],
        mix: Mix | None,
        names: Sequence[str],
    ) -> None:
        self._settings = settings
        self.scale = scale
        """How score and noise make the key."""
        self._cuts = cuts
        self._budgets = budgets
        self._supplies = supplies
        self._whole = whole
        self._mix = mix
        none = Cut(0, 0)
        self._by_code = [cuts.get(name, none) for name in names]
        self._whole_by_code = np.array([whole.get(name, 0) for name in names], np.int64)

    @cached_property
    def pools(self) -> tuple[PoolReport, ...]:
        """A report on every pool of the corpus or of the table of budgets, by name."""
        return tuple(self._report(name) for name in sorted(self._budgets))

    def _report(self, name: str) -> PoolReport:
        num_docs, num_tokens, content = self._supplies.get(name, (0, 0, "0" * 32))
        cut, budget, whole = self._cuts.get(name, Cut(0, 0)), self._budgets[name], self._whole.get(name, 0)
        can_repeat = bool(self._whole) and num_tokens > 0
        return PoolReport(
            pool=name,
            num_docs=num_docs,
            num_tokens=num_tokens,
            budget_tokens=budget,
            planned_docs=num_docs if whole else cut.num_docs,
            planned_tokens=cut.num_tokens + whole * num_tokens,
            threshold=self._settings.threshold if cut.rank is None else key_of(cut.rank),
            short_by=0 if budget is None or can_repeat else max(0, budget - num_tokens),
            content=content,
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
        pools: np.ndarray,
        survived: np.ndarray,
        columns: pl.DataFrame,
    ) -> Decision:
        """Say how often rows are taken, or why not; rows that did not survive get no reason here."""
        rows = candidate_rows(self._settings, doc_ids, survived, columns)
        score, is_null, eligible = self._keyed(rows, first_ordinal, len(survived))
        at = np.flatnonzero(eligible)
        codes = pools[rows.places[at]]
        ranks = self.scale.ranks(score[at], rows.noise[at])
        repeats = np.zeros(len(rows.places), dtype=np.int64)
        repeats[at] = taken(self._by_code, codes, ranks, first_ordinal + rows.places[at])
        repeats[at] += self._whole_by_code[codes]
        left = (repeats == 0) & ~(is_null | rows.is_below)
        is_drawn, method = self._settings.is_drawn(), self._settings.method
        nothing = np.zeros_like(left)
        found = {
            NULL_SCORE: is_null,
            BELOW_THRESHOLD: rows.is_below | (left if method == "threshold" else False),
            OVER_BUDGET: left if not is_drawn and method != "threshold" else nothing,
            NOT_SAMPLED: left if is_drawn else nothing,
        }

        def spread(values: np.ndarray) -> np.ndarray:
            out = np.zeros(len(survived), dtype=values.dtype)
            out[rows.places] = values
            return out

        return Decision(repeats=spread(repeats), reasons=[(name, spread(found[name])) for name in REASONS])

    def _keyed(self, rows: Rows, first: int, num_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores of survivors, which have none, and which may be taken."""
        if self._mix is None:
            return rows.score, rows.is_null, rows.is_eligible
        keys = self._mix.keys(first, num_rows)[rows.places]
        is_null = np.isnan(keys)
        return np.where(is_null, 0.0, keys), is_null, ~is_null

    def close(self) -> None:
        """Remove scratch files."""
        if self._mix is not None:
            self._mix.close()
