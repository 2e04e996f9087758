"""Measuring stages: per-document columns from text, by what the recipe calls them."""

from curate.measure.document import Document
from curate.measure.heuristics import Heuristics
from curate.measure.stage import StageModel
from curate.measure.tokens import Tokens

__all__ = ["Document", "Heuristics", "StageModel", "Tokens"]
