"""Scores of documents by a trained model, through the same native pass that scores a corpus.

The score is the probability of the positive label, or the expected grade: the sum of grade times probability.
The stage `classifier` gives the same with `score: <label>` or `grade: true`, so thresholds hold there.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.models.training import ModelFile
from curate.text import NativeSpec, measure

NAME = "model"
BATCH_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Numbers of documents, 0 for one without a feature that the model knows."""

    scores: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    """One column a label."""


def score_lines(
    lines: Iterable[bytes], model: ModelFile, labels: list[str], *, positive: str | None, num_threads: int
) -> Scored:
    """Score documents; without a positive label the score is the grade."""
    settings = {"name": NAME, "model": str(model.path), "fingerprint": model.fingerprint, "labels": labels}
    spec = NativeSpec(models=(json.dumps({**settings, "grade": positive is None}, sort_keys=True),))
    names = [f"{NAME}.score_{label}" for label in labels]
    names.append(f"{NAME}.grade" if positive is None else f"{NAME}.score_{positive}")
    parts = [np.zeros((0, len(names)))]
    for texts in _batches(lines):
        batch = measure(pa.array(texts, pa.large_binary()), spec, num_threads=num_threads)
        columns = [batch[name].to_numpy(zero_copy_only=False) for name in names]
        parts.append(np.nan_to_num(np.stack(columns, axis=1).astype(np.float64)))
    table = np.concatenate(parts)
    return Scored(scores=table[:, -1], probabilities=table[:, :-1])


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    num_bytes = 0
    for line in lines:
        batch.append(line)
        num_bytes += len(line)
        if num_bytes >= BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch
