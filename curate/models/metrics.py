"""How good scores are: ranking, calibration and thresholds, by numpy alone.

Scores may tie: documents of one score are always on one side of a threshold. Intervals of the area under the
ROC curve are DeLong's (1988, by ranks as Sun & Xu 2014). What is not defined, for lack of positives or
negatives, is None. Cost: a few sorts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Z_95 = 1.959963984540054
"""Standard deviations on either side that hold 95 % of a normal distribution."""


def ranks(values: Floats) -> Floats:
    """Ranks from 1, the smallest value first; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse.reshape(-1)], np.float64)


def roc_auc(scores: Floats, positive: Bools) -> dict[str, float | None]:
    """Area under the ROC curve with its 95 % interval, which needs two documents on either side."""
    first, second = scores[positive], scores[~positive]
    m, n = len(first), len(second)
    if not (m and n):
        return {"value": None, "low": None, "high": None}
    all_ranks = ranks(np.concatenate([first, second]))
    area = float(all_ranks[:m].sum() / m / n - (m + 1) / 2 / n)
    if min(m, n) < 2:
        return {"value": area, "low": None, "high": None}
    above = (all_ranks[:m] - ranks(first)) / n
    below = 1 - (all_ranks[m:] - ranks(second)) / m
    half = Z_95 * float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n))
    return {"value": area, "low": max(0.0, area - half), "high": min(1.0, area + half)}


def _curve(scores: Floats, positive: Bools) -> tuple[Floats, Floats, Floats]:
    """Thresholds that fall, with the true and all documents at or above each."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(order) else order
    true = np.cumsum(positive[order])[ends]
    return ordered[ends], true.astype(np.float64), (ends + 1).astype(np.float64)


def average_precision(scores: Floats, positive: Bools) -> float | None:
    """Precision at every threshold, weighted by the recall that it adds."""
    if not positive.any():
        return None
    _, true, found = _curve(scores, positive)
    gained = np.diff(np.concatenate([[0.0], true])) / true[-1]
    return float((gained * true / found).sum())


def precision_recall(scores: Floats, positive: Bools, recalls: Sequence[float]) -> list[dict[str, float]]:
    """For each recall the highest threshold that reaches it, with what it gives."""
    if not positive.any():
        return []
    thresholds, true, found = _curve(scores, positive)
    points = []
    for recall in recalls:
        index = int(np.searchsorted(true / true[-1], recall - 1e-12))
        points.append(
            {
                "threshold": float(thresholds[index]),
                "recall": float(true[index] / true[-1]),
                "precision": float(true[index] / found[index]),
            }
        )
    return points


def best_f1(scores: Floats, positive: Bools) -> dict[str, float] | None:
    """The threshold with the best F1, the highest of equals."""
    if not positive.any():
        return None
    thresholds, true, found = _curve(scores, positive)
    values = 2 * true / (found + true[-1])
    index = int(np.argmax(values))
    return {
        "threshold": float(thresholds[index]),
        "f1": float(values[index]),
        "precision": float(true[index] / found[index]),
        "recall": float(true[index] / true[-1]),
    }


def f1(predicted: Bools, positive: Bools) -> float:
    """F1 of one class; 0 where nothing is predicted or true."""
    whole = int(predicted.sum()) + int(positive.sum())
    return 2 * int((predicted & positive).sum()) / whole if whole else 0.0


def macro_f1(predicted: npt.NDArray[np.int64], true: npt.NDArray[np.int64]) -> float | None:
    """Mean F1 of the classes that are true or predicted somewhere."""
    classes = np.union1d(predicted, true)
    return float(np.mean([f1(predicted == one, true == one) for one in classes])) if len(classes) else None


def rmse(scores: Floats, true: Floats) -> float | None:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((scores - true) ** 2))) if len(scores) else None


def calibration(scores: Floats, positive: Bools, *, num_bins: int = 10) -> dict[str, Any]:
    """Mean probability against share of positives in bins of equal width; `ece` is the mean gap."""
    place = np.clip((scores * num_bins).astype(np.int64), 0, num_bins - 1)
    bins: list[dict[str, Any]] = []
    gap = 0.0
    for index in range(num_bins):
        mine = place == index
        count = int(mine.sum())
        mean = float(scores[mine].mean()) if count else None
        share = float(positive[mine].mean()) if count else None
        if mean is not None and share is not None:
            gap += count * abs(mean - share)
        bins.append({"low": index / num_bins, "num_docs": count, "mean_score": mean, "positive_frac": share})
    return {"bins": bins, "ece": gap / len(scores) if len(scores) else None}


def threshold_for(scores: Floats, weights: Floats, keep_frac: float) -> dict[str, float] | None:
    """The highest threshold that keeps at least `keep_frac` of the weight, and what it keeps."""
    if not len(scores) or not weights.sum():
        return None
    order = np.argsort(-scores, kind="stable")
    kept = np.cumsum(weights[order])
    index = min(int(np.searchsorted(kept, keep_frac * kept[-1] * (1 - 1e-12))), len(order) - 1)
    threshold = float(scores[order][index])
    return {"threshold": threshold, "kept_frac": kept_frac(scores, weights, threshold)}


def kept_frac(scores: Floats, weights: Floats, threshold: float) -> float:
    """Share of the weight with a score of at least `threshold`; 0 of nothing."""
    whole = float(weights.sum())
    return float(weights[scores >= threshold].sum()) / whole if whole else 0.0
