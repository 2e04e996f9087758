"""Cards of models: finding one; what that of a classifier says of held-out documents and of thresholds.

The amount of text is counted in bytes of UTF-8, which needs no tokenizer. Numbers are rounded to six digits,
thresholds are not: a document is kept where its score is at least the threshold.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import DataError
from curate.files import hash_file, read_json
from curate.models import metrics
from curate.models.gather import Example
from curate.models.scoring import Scored
from curate.models.settings import TrainClassifier

FORMAT = 1
DIGITS = 6
RECALLS = tuple(step / 10 for step in range(1, 11))
STEPS = tuple(step / 10 for step in range(1, 10))

Floats = npt.NDArray[np.float64]


def find_card(model: Path, card_path: Path, key: str) -> dict[str, Any] | None:
    """The card of a model that was made with this fingerprint, unless something was done to model or card."""
    if not (model.is_file() and card_path.is_file()):
        return None
    try:
        card = read_json(card_path)
    except DataError:
        return None
    if not isinstance(card, dict) or (card.get("format"), card.get("fingerprint")) != (FORMAT, key):
        return None
    return card if card["model"]["blake3"] == hash_file(model) else None


def describe_held_out(
    settings: TrainClassifier,
    labels: list[str],
    held_out: list[tuple[int, Example]],
    scored: Scored,
) -> dict[str, Any]:
    """Compare scores and labels of the held-out documents; `labels` are those of the probabilities."""
    scores = scored.scores
    true = np.array([number for number, _ in held_out], np.int64)
    numbers = np.array([settings.label_names.index(label) for label in labels], np.int64)
    predicted = numbers[np.argmax(scored.probabilities, axis=1)]
    positive = _positive(settings, true)
    found: dict[str, Any] = {
        "num_docs": len(held_out),
        "positive": f"grade >= {settings.min_grade}" if settings.is_graded else settings.positive_label,
        "accuracy": float((predicted == true).mean()) if len(true) else None,
        "roc_auc": metrics.roc_auc(scores, positive),
        "average_precision": metrics.average_precision(scores, positive),
        "precision_recall": metrics.precision_recall(scores, positive, RECALLS),
        "best_f1": metrics.best_f1(scores, positive),
        "by_source": _by_source([example.source for _, example in held_out], scores),
    }
    if settings.is_graded:
        whole = np.rint(np.clip(scores, 0, settings.max_grade)).astype(np.int64)
        found["macro_f1"] = metrics.macro_f1(whole, true)
        found["rmse"] = metrics.rmse(scores, true.astype(np.float64))
    else:
        found["macro_f1"] = metrics.macro_f1(predicted, true)
        found["calibration"] = metrics.calibration(np.clip(scores, 0, 1), positive)
    result: dict[str, Any] = rounded(found)
    return result


def describe_threshold(
    settings: TrainClassifier, scores: Floats, sizes: Floats, *, of: str
) -> dict[str, Any]:
    """The threshold that keeps `keep_frac` of the text, and what other thresholds keep."""
    top = settings.max_grade if settings.is_graded else 1
    return {
        "of": of,
        "num_docs": len(scores),
        "unit": "bytes of UTF-8",
        "keep_frac": settings.keep_frac,
        "found": rounded(metrics.threshold_for(scores, sizes, settings.keep_frac)),
        "kept_at": [
            {
                "threshold": step * top,
                "kept_frac": round(metrics.kept_frac(scores, sizes, step * top), DIGITS),
            }
            for step in STEPS
        ],
    }


def _positive(settings: TrainClassifier, true: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    if settings.is_graded:
        return np.asarray(true >= settings.min_grade)
    return np.asarray(true == settings.label_names.index(settings.positive_label))


def _by_source(sources: list[str], scores: Floats) -> dict[str, dict[str, Any]]:
    found = {}
    names = np.array(sources, object)
    for source in sorted(set(sources)):
        mine = scores[names == source]
        found[source] = {"num_docs": len(mine), "mean_score": float(mine.mean())}
    return found


def rounded(value: Any) -> Any:
    """The same value with its floats rounded, but for thresholds."""
    if isinstance(value, dict):
        return {key: item if key == "threshold" else rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value
