"""Scores of any fastText classifier: quality as in DCLM (Li et al. 2024, arXiv:2406.11794), topics, toxicity.

`score` is the probability of one label, the same for all documents, which is what a limit or a sampler wants:
`{name: quality, model: dclm.bin, score: hq}` gives `quality.score`. Not here: training (models/).
"""

from typing import ClassVar

from pydantic import field_validator

from curate.errors import ConfigError
from curate.measure.fasttext import FastText


class Classifier(FastText):
    """Columns `<name>.label` and `<name>.score`, and what is asked for beside them."""

    kind: ClassVar[str] = "classifier"
    version: ClassVar[int] = 1

    name: str = "quality"
    """Prefix of the columns; different for each stage of a recipe."""
    score: str | None = None
    """Label whose probability is `score`; None is the most probable label's, whichever that is."""
    labels: tuple[str, ...] = ()
    """Labels whose probabilities get columns: `score_<label>`."""
    grade: bool = False
    """Add `grade`, the mean of labels that are numbers, each with its probability as weight: the score of a
    classifier of grades such as FineWeb-Edu's 0 to 5."""

    @field_validator("labels")
    @classmethod
    def _labels_are_different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ConfigError(f"labels are named twice: {', '.join(value)}")
        return value

    def _more_columns(self) -> tuple[str, ...]:
        return (*(f"score_{label}" for label in self.labels), *(("grade",) if self.grade else ()))
