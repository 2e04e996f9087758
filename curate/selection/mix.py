"""Several scores at once: each criterion goes down a list of its own, as fast as its share of the budget.

QuRating (arXiv:2402.09739) mixes four criteria: a share of the token budget from the list of each, documents
that several take counted once, and more until the budget is reached. Here all go on at the same time: a
document is reached by a criterion when the tokens before it in that list, divided by the share, are passed,
and documents are taken in the order in which the first criterion reaches them. When all criteria have had
their shares, that is the union of their subsets; what is missing then comes from all in proportion to the
shares. The list of a criterion is sorted by score, or with a temperature drawn (candidates.py), with noise
of its own.

Cost: of each criterion 32 bytes of scratch a document, then the sort of standing.py. Not here: the cut.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from curate.selection.candidates import PURPOSE, values_of
from curate.selection.gathered import Gathered
from curate.selection.sample import gumbel_keys
from curate.selection.settings import Selection
from curate.selection.standing import Standing


class Mix:
    """The lists of all criteria: feed all candidates, `finish`, then read keys."""

    def __init__(self, settings: Selection, *, scratch: Path, memory_bytes: int) -> None:
        self._settings = settings
        rows = max(1, memory_bytes // 4 // 128)
        numbers = range(len(settings.of))
        self._gathered = [Gathered(scratch / f"criterion-{number}.bin", max_rows=rows) for number in numbers]
        self._standings = [
            Standing(scratch, f"criterion-{number}", memory_bytes=memory_bytes // 2) for number in numbers
        ]

    def add(
        self,
        first_ordinal: int,
        *,
        places: np.ndarray,
        pools: np.ndarray,
        tokens: np.ndarray,
        doc_ids: pa.Array,
        frame: pl.DataFrame,
    ) -> np.ndarray:
        """Tell of survivors, all of the same length; returns which of them have a score at least."""
        found = np.zeros(len(places), bool)
        for number, (criterion, gathered) in enumerate(zip(self._settings.of, self._gathered, strict=True)):
            score = values_of(criterion.score, frame, len(places))
            noise = np.zeros(len(places))
            if self._settings.is_drawn():
                noise = gumbel_keys(
                    doc_ids, noise, temperature=1.0, seed=self._settings.seed, purpose=f"{PURPOSE}.{number}"
                )
            has = ~(np.isnan(score) | np.isnan(noise))
            if self._settings.is_drawn():
                has &= ~np.isneginf(score)
            found |= has
            gathered.add(
                pools=pools[has],
                tokens=tokens[has],
                ordinals=first_ordinal + places[has],
                score=score[has],
                noise=noise[has],
            )
        return found

    def finish(self) -> None:
        """Sort every list."""
        for gathered, standing in zip(self._gathered, self._standings, strict=True):
            scale = gathered.scale(self._settings)
            for block in gathered.blocks():
                ranks = scale.ranks(block["score"], block["noise"])
                standing.add(block["ordinal"], ranks, pools=block["pool"], amounts=block["tokens"])
            standing.finish()
            gathered.close()

    def keys(self, first: int, num_rows: int) -> np.ndarray:
        """What documents are taken by, the greater the earlier; NaN for those in no list."""
        reached = np.full(num_rows, np.inf)
        for criterion, standing in zip(self._settings.of, self._standings, strict=True):
            before = standing.read(first, num_rows)
            reached = np.where(before < 0, reached, np.minimum(reached, before / criterion.share))
        return np.where(np.isinf(reached), np.nan, -reached)

    def close(self) -> None:
        """Remove the scratch files."""
        for gathered, standing in zip(self._gathered, self._standings, strict=True):
            gathered.close()
            standing.close()
