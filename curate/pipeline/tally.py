"""What a plan counts while its rows are written: documents, tokens, reasons and edits, and their tables.

Not here: what is decided (plan.py).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate.measure.token_estimate import Factors
from curate.pipeline.draft import estimates
from curate.pipeline.planfile import POOLS_SCHEMA
from curate.pipeline.rounds import filter_state
from curate.pipeline.session import Block, Session
from curate.pipeline.transform import columns_of, count_removed
from curate.schema import INPUT_ERRORS, NULL_TEXT
from curate.selection.select import PoolReport

_ROOM = 1 + 1e-9
"""A cap leaves room for what the plan takes, the document that crosses the budget included."""


class Tally:
    """Counts the rows of a plan, block by block."""

    def __init__(self, session: Session, reasons: pa.Array, pools: list[str], factors: Factors) -> None:
        """Start at 0; `pools` are the names by code."""
        self._session, self._pools, self._factors = session, pools, factors
        self._reasons: list[str] = reasons.to_pylist()
        self._first = np.zeros(len(reasons), np.int64)
        self._any = np.zeros(len(reasons), np.int64)
        self._docs = np.zeros(len(pools), np.int64)
        self._tokens = np.zeros(len(pools), np.int64)
        self._estimates: list[pl.DataFrame] = []
        self._edited: dict[str, Counter[str]] = {each.name: Counter() for each in session.recipe.transforms}
        self.totals: Counter[str] = Counter()

    def add(
        self,
        block: Block,
        *,
        reasons: pa.Array,
        repeats: npt.NDArray[np.int64],
        pools: npt.NDArray[np.uint32],
        tokens: npt.NDArray[np.uint32],
    ) -> None:
        """Count the rows of a block."""
        kept = repeats > 0
        self._docs += np.bincount(pools, minlength=len(self._pools))
        self._tokens += np.bincount(pools, tokens, len(self._pools)).astype(np.int64)
        offsets = reasons.offsets.to_numpy()
        codes = reasons.values.indices.to_numpy()
        self._first += np.bincount(codes[offsets[:-1][~kept]], minlength=len(self._first))
        self._any += np.bincount(codes, minlength=len(self._any))
        wide = tokens.astype(np.int64)
        self.totals["num_docs"] += len(kept)
        self.totals["kept_docs"] += int(kept.sum())
        self.totals["num_tokens"] += int(wide.sum())
        self.totals["planned_tokens"] += int((wide * repeats).sum())
        if self._factors.calibrated:
            self._estimates.append(estimates(self._session, block, pools, tokens))
            if len(self._estimates) == 64:
                self._estimates = [self._merged()]
        for each in self._session.recipe.transforms:
            frame = self._session.read_columns(block, columns_of(each).names)
            self._edited[each.name].update(count_removed(each, frame, kept))

    def _merged(self) -> pl.DataFrame:
        keys = ["pool", "source", "language"]
        return pl.concat(self._estimates).group_by(keys).sum().sort(keys)

    def token_errors(self) -> dict[str, float]:
        """Expected error of each pool's token count, as a share of it: one standard deviation.

        Pools that are not calibrated are left out; the whole corpus is under the empty name.
        """
        if not self._estimates:
            return {}
        variance: dict[str, float] = defaultdict(float)
        tokens: dict[str, int] = defaultdict(int)
        for pool, source, language, num_tokens, left in self._merged().iter_rows():
            for name in (self._pools[pool], ""):
                variance[name] += self._factors.pool(source, language).error(left) ** 2
                tokens[name] += num_tokens
        found = {name: math.sqrt(variance[name]) / max(tokens[name], 1) for name in tokens}
        return {name: error for name, error in found.items() if math.isfinite(error)}

    def pools_table(self, reports: tuple[PoolReport, ...], caps: Mapping[str, float]) -> pa.Table:
        """The table of pools."""
        errors = self.token_errors()
        codes = {name: code for code, name in enumerate(self._pools)}
        records = []
        for report in reports:
            code = codes.get(report.pool)
            records.append(
                {
                    "pool": report.pool,
                    "num_docs": 0 if code is None else int(self._docs[code]),
                    "num_tokens": 0 if code is None else int(self._tokens[code]),
                    "num_unique_docs": report.num_docs,
                    "num_unique_tokens": report.num_tokens,
                    "content": report.content,
                    "budget_tokens": report.budget_tokens,
                    "planned_docs": report.planned_docs,
                    "planned_tokens": report.planned_tokens,
                    "cap": _cap(report, caps.get(report.pool)),
                    "token_error_frac": errors.get(report.pool),
                    "threshold": report.threshold,
                }
            )
        return pa.Table.from_pylist(records, schema=POOLS_SCHEMA)

    def header(self) -> dict[str, Any]:
        """Totals, reasons and edits, as the header of a plan has them."""
        reasons = {
            name: {"first": int(self._first[code]), "any": int(self._any[code])}
            for code, name in enumerate(self._reasons)
        }
        bad = sum(reasons[code]["first"] for code in INPUT_ERRORS if code != NULL_TEXT)
        return {
            "totals": {**self.totals, "bad_docs": bad},
            "reasons": {name: counts for name, counts in reasons.items() if counts["any"]},
            "token_error_frac": self.token_errors().get(""),
            "edits": [
                {"name": each.name, "fingerprint": each.fingerprint(), **self._edited[each.name]}
                | filter_state(self._session, each)
                for each in self._session.recipe.transforms
            ],
        }


def _cap(report: PoolReport, cap: float | None) -> float | None:
    """Epochs of the documents that the plan takes, at most: no fewer than it takes them itself."""
    if cap is None or not report.planned_docs:
        return None
    taken = report.num_tokens if report.planned_docs == report.num_docs else report.planned_tokens
    return max(cap, report.planned_tokens / taken * _ROOM)
