"""Random numbers that are hashes of (seed, purpose, doc_id): typed faces of the native sampling functions.

A document's number is the same whatever the order, the shards or the threads; copies of a document share it.
Drawing without replacement with probabilities in proportion to exp(score / temperature) takes the largest
keys `score / temperature + Gumbel noise`. Not here: budgets and cuts (cutter.py).
"""

import numpy as np
import pyarrow as pa

from curate import _rust


def hash_uniform(doc_ids: pa.FixedSizeBinaryArray, *, seed: int, purpose: str) -> np.ndarray:
    """One number per document, strictly between 0 and 1; NaN where the id is null."""
    return _floats(_rust.hash_uniform(doc_ids, seed, purpose))


def gumbel_keys(
    doc_ids: pa.FixedSizeBinaryArray, scores: np.ndarray, *, temperature: float, seed: int, purpose: str
) -> np.ndarray:
    """One key `score / temperature + Gumbel noise` per document; NaN where score is NaN or id null."""
    return _floats(_rust.gumbel_keys(doc_ids, pa.array(scores, pa.float64()), temperature, seed, purpose))


def log_weights(weights: np.ndarray) -> np.ndarray:
    """Natural logarithms, the same on every machine; NaN where a weight is NaN, negative or infinite."""
    return _floats(_rust.log_weights(pa.array(weights, pa.float64())))


def order_keys(values: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of `values`, which have no NaN; -0 equals 0."""
    return _rust.order_keys(pa.array(values, pa.float64())).to_numpy()  # type: ignore[no-any-return]


def _floats(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
