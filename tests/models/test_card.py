"""The card of a classifier: numbers that were worked out by hand."""

from typing import Any

import numpy as np
import pytest

from curate.models.card import describe_held_out, describe_threshold
from curate.models.gather import Example
from curate.models.scoring import Scored
from curate.models.settings import TrainClassifier

SOURCE = {"fasttext_file": "x"}


def graded(**values: Any) -> TrainClassifier:
    return TrainClassifier(preset="edu", grade="g", examples=[SOURCE], output="m.bin", **values)


def labelled(**values: Any) -> TrainClassifier:
    return TrainClassifier(labels={"cc": [SOURCE], "hq": [SOURCE]}, output="m.bin", **values)


def held_out(numbers: list[int]) -> list[tuple[int, Example]]:
    return [
        (number, Example(doc_id=b"", offset=0, size=1, labels={number}, stratum="", source="ab"[index % 2]))
        for index, number in enumerate(numbers)
    ]


def scored(scores: list[float], probabilities: list[list[float]]) -> Scored:
    return Scored(scores=np.array(scores), probabilities=np.array(probabilities))


def test_held_out_documents_of_two_labels() -> None:
    values = scored([0.1, 0.6, 0.8, 0.3], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    found = describe_held_out(labelled(), ["cc", "hq"], held_out([0, 0, 1, 1]), values)
    assert (found["positive"], found["accuracy"]) == ("hq", 0.5)
    # Of the pairs (0.8, 0.3) x (0.1, 0.6) three are in order.
    assert found["roc_auc"]["value"] == 0.75
    assert found["by_source"] == {
        "a": {"num_docs": 2, "mean_score": 0.45},
        "b": {"num_docs": 2, "mean_score": 0.45},
    }
    assert found["calibration"]["ece"] == pytest.approx((0.1 + 0.7 + 0.6 + 0.2) / 4)
    assert found["best_f1"] == {"threshold": 0.3, "f1": 0.8, "precision": 0.666667, "recall": 1.0}


def test_held_out_documents_with_grades() -> None:
    values = scored([0.3, 4.0, 5.0], [[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    found = describe_held_out(graded(), ["0", "3", "5"], held_out([0, 3, 4]), values)
    # Expected grades 0.3, 4, 5 for 0, 3, 4: rounded to 0, 4, 5, of which only the first is right.
    assert found["rmse"] == pytest.approx(((0.09 + 1 + 1) / 3) ** 0.5, abs=1e-6)
    assert found["macro_f1"] == 0.25
    assert found["positive"] == "grade >= 3" and found["roc_auc"]["value"] == 1.0
    assert found["best_f1"]["threshold"] == pytest.approx(4.0) and found["best_f1"]["f1"] == 1.0
    assert "calibration" not in found


def test_thresholds_are_on_the_scale_of_the_score() -> None:
    found = describe_threshold(graded(keep_frac=0.5), np.array([1.0, 3.0]), np.array([10.0, 10.0]), of="all")
    assert found["found"] == {"threshold": 3.0, "kept_frac": 0.5}
    assert [one["threshold"] for one in found["kept_at"]] == [step / 10 * 5 for step in range(1, 10)]
    assert [one["kept_frac"] for one in found["kept_at"]] == [1.0] * 2 + [0.5] * 4 + [0.0] * 3
    none = describe_threshold(labelled(), np.array([]), np.array([]), of="all")
    assert none["found"] is None and none["num_docs"] == 0
