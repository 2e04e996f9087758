"""Scores of linear models over hashed n-grams: importance weights (Xie et al. 2023, arXiv:2302.03169).

The model is a `.safetensors` file as `curate.models.hashed_linear` writes it, which says how texts become
features. A text without tokens, or with fewer than the model asks for, has null scores. Scores have 64 bits:
importance weights are sums over whole documents, thousands in size, of which small differences count.

Cost: for pairs of tokens about 90 MB/s per core with SHA-256 where the processor has instructions for it, and
200 MB/s with `fnv`. Not here: fitting (models/importance.py), sampling by the scores (selection/).
"""

import json
from typing import ClassVar

from curate.measure.scorer import Scorer
from curate.text import NativeSpec


class HashedLinear(Scorer):
    """A column `<name>.<output>` for each output of the model."""

    kind: ClassVar[str] = "hashed_linear"
    version: ClassVar[int] = 1

    def needs(self) -> NativeSpec:
        """What this stage wants from the native pass; reads the model file to hash it."""
        spec = {"name": self.name, "model": str(self.model), "fingerprint": self.content()}
        return NativeSpec(linears=(json.dumps(spec, sort_keys=True),))
