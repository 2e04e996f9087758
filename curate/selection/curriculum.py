"""Curricula: the order in which kept documents are trained on, by a score.

`low_to_high` and `high_to_low` sort, ties in key order; with a temperature above 0 they draw without
replacement in proportion to exp(score / temperature) (QuRating, arXiv:2402.09739), where `low_to_high`
negates the score before the noise is added. `folding` deals the documents, sorted low to high, into `folds`
layers and puts these one after another: sorted[0::folds], sorted[1::folds], ... (data-efficacy, MIT), so that
every layer goes from low to high. Documents without a score come last.

A document that is repeated is in the order once; readers go through the order once for each time.
Cost: one sort of the kept documents, out of core (standing.py).
"""

from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from curate.errors import ConfigError
from curate.filters.expression import parse_expression
from curate.schema import Settings
from curate.selection.sample import gumbel_keys
from curate.selection.standing import Standing
from curate.selection.tiers import NO_SCORE, ranks_of

PURPOSE = "plan.order"


class Curriculum(Settings):
    """The order of a training by a score."""

    curriculum: Literal["low_to_high", "high_to_low", "folding"]
    of: str
    """SQL expression over columns: `quality.score`."""
    folds: int = Field(default=5, ge=2, le=10_000)
    """Layers of `folding`."""
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """0 sorts; above 0 documents are drawn, the more at random the higher."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not parse_expression(self.of).columns:
            raise ConfigError(f"plan.order.of reads at least one column: {self.of}")
        if self.folds != type(self).model_fields["folds"].default and self.curriculum != "folding":
            raise ConfigError(f"plan.order.folds is for folding, not for: {self.curriculum}")
        return self


class Lesson:
    """Gives every kept document its place: feed all in key order, `finish`, then read."""

    def __init__(self, settings: Curriculum, *, seed: int, scratch: Path, memory_bytes: int) -> None:
        self._settings, self._seed = settings, seed
        self._standing = Standing(scratch, "order", memory_bytes=memory_bytes)
        self._num_docs = 0
        self.num_null = 0
        """Documents without a score."""

    def add(
        self,
        first_ordinal: int,
        *,
        doc_ids: pa.Array,
        scores: npt.NDArray[np.float64],
        kept: npt.NDArray[np.bool_],
    ) -> None:
        """Tell of consecutive rows: those in `kept` get a place."""
        rows = np.flatnonzero(kept)
        keys = scores[rows]
        if self._settings.curriculum != "high_to_low":
            keys = -keys
        if self._settings.temperature > 0:
            ids = doc_ids.take(pa.array(rows))
            keys = gumbel_keys(
                ids, keys, temperature=self._settings.temperature, seed=self._seed, purpose=PURPOSE
            )
        ranks = ranks_of(keys)
        self.num_null += int((ranks == NO_SCORE).sum())
        self._num_docs += len(rows)
        self._standing.add(rows + first_ordinal, ranks)

    def finish(self) -> None:
        """Sort."""
        self._standing.finish()

    def read(self, first: int, num_rows: int) -> npt.NDArray[np.uint64]:
        """Order keys of rows, spread evenly over 64 bits; 0 for those that were not kept."""
        places = self._standing.read(first, num_rows)
        if self._settings.curriculum == "folding":
            places = self._fold(places)
        step = np.uint64((2**64 - 1) // max(self._num_docs, 1))
        return np.where(places < 0, np.uint64(0), places.astype(np.uint64) * step)

    def _fold(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Place in the layers of each place in the sorted list; without a score it stays behind them."""
        folds, num_scored = self._settings.folds, self._num_docs - self.num_null
        layer, depth = places % folds, places // folds
        size, longer = divmod(num_scored, folds)
        folded = layer * size + np.minimum(layer, longer) + depth
        return np.where((places < 0) | (places >= num_scored), places, folded)

    @property
    def warnings(self) -> list[str]:
        """A sentence where documents have no score."""
        if not self.num_null:
            return []
        sql = self._settings.of
        return [f"{self.num_null:,} kept documents have no score for plan.order, they come last: {sql}"]

    def close(self) -> None:
        """Remove the scratch files."""
        self._standing.close()
