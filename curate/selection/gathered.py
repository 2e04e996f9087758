"""Candidates set aside in a scratch file: pool, tokens, ordinal and the parts of the key of each.

Cost: 32 bytes a candidate. Not here: what the parts are (candidates.py), what is done with keys (cutter.py).
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from curate.errors import DataError
from curate.files import naming_errors
from curate.selection.candidates import Scale
from curate.selection.exact_sum import ExactSum
from curate.selection.settings import Selection

_ROWS = np.dtype([("pool", "<u4"), ("tokens", "<u4"), ("ordinal", "<i8"), ("score", "<f8"), ("noise", "<f8")])


class Gathered:
    """Rows on disk, in the order in which they came."""

    def __init__(self, path: Path, *, max_rows: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._max_rows = max_rows
        self._file = path.open("wb")

    def add(
        self,
        *,
        pools: np.ndarray,
        tokens: np.ndarray,
        ordinals: np.ndarray,
        score: np.ndarray,
        noise: np.ndarray,
    ) -> None:
        """Set rows aside."""
        out = np.empty(len(pools), dtype=_ROWS)
        out["pool"], out["tokens"], out["ordinal"] = pools, tokens, ordinals
        out["score"], out["noise"] = score, noise
        with naming_errors(self._path):
            out.tofile(self._file)

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows, some at a time."""
        self._file.close()
        with self._path.open("rb") as file:
            while len(block := np.fromfile(file, _ROWS, self._max_rows)):
                yield block

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def scale(self, settings: Selection) -> Scale:
        """How keys are made: mean and standard deviation of the finite scores, where they are asked for.

        Raises:
            DataError: scores are too large to be normalised.
        """
        temperature = settings.temperature if settings.temperature > 0 else 1.0
        if settings.normalize == "none":
            return Scale(temperature=temperature)
        count = sum(len(scores) for scores in self._finite())
        if count == 0:
            return Scale(temperature=temperature)
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
        return Scale(mean, spread if spread > 0 else 1.0, temperature)

    def _finite(self) -> Iterator[np.ndarray]:
        for block in self.blocks():
            yield block["score"][np.isfinite(block["score"])]
