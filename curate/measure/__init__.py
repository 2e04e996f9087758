"""Measuring stages: per-document columns from text, by what the recipe calls them."""

from curate.measure.classifier import Classifier
from curate.measure.document import Document, Identity
from curate.measure.fasttext import FastText
from curate.measure.hashed_linear import HashedLinear
from curate.measure.heuristics import Heuristics
from curate.measure.language import Language
from curate.measure.minhash import MinHash
from curate.measure.stage import StageModel
from curate.measure.tokens import Tokens

STAGES: dict[str, type[StageModel]] = {
    stage.kind: stage for stage in (Classifier, HashedLinear, Heuristics, Language, MinHash, Tokens)
}
"""Stages that a recipe names under `measure:`; `identity` and `document` are always measured."""

__all__ = [
    "STAGES",
    "Classifier",
    "Document",
    "FastText",
    "HashedLinear",
    "Heuristics",
    "Identity",
    "Language",
    "MinHash",
    "StageModel",
    "Tokens",
]
