"""Scores of documents by a trained model, through the same native pass that scores a corpus."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text import NativeSpec, measure

NAME = "model"
BATCH_BYTES = 16 << 20


def label_scores(
    lines: Iterable[bytes], model: Path, labels: list[str], *, fingerprint: str, num_threads: int
) -> npt.NDArray[np.float64]:
    """Probability of each label, one row a document; the last float that is not NaN is a 32-bit one.

    `labels` are those of the model. A document without a feature that the model knows has NaN.
    """
    settings = {"name": NAME, "model": str(model), "fingerprint": fingerprint}
    spec = NativeSpec(models=(json.dumps(settings, sort_keys=True),))
    parts = []
    for texts in _batches(lines):
        batch = measure(pa.array(texts, pa.large_binary()), spec, num_threads=num_threads)
        parts.append(_of_both(batch, labels))
    return np.concatenate(parts) if parts else np.zeros((0, len(labels)))


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


def _of_both(batch: pa.RecordBatch, labels: list[str]) -> npt.NDArray[np.float64]:
    """Probabilities of two labels, which add up to 1, from that of the better one."""
    top = batch[f"{NAME}.score"].to_numpy(zero_copy_only=False).astype(np.float64)
    is_first = np.array([label == labels[0] for label in batch[f"{NAME}.label"].to_pylist()], bool)
    first = np.where(is_first, top, 1 - top)
    return np.stack([first, 1 - first], axis=1)
