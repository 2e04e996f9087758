"""Scores of linear models over hashed n-grams: importance weights (Xie et al. 2023, arXiv:2302.03169).

The model is a `.safetensors` file as `curate.models.hashed_linear` writes it, which says how texts become
features. A text without tokens, or with fewer than the model asks for, has null scores. Scores have 64 bits:
importance weights are sums over whole documents, thousands in size, of which small differences count.

Cost: for pairs of tokens about 55 MB/s per core with SHA-256 where the processor has instructions for it, and
180 MB/s with `fnv`. Not here: fitting, sampling by the scores (selection/).
"""

import json
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from curate.errors import ConfigError, DataError
from curate.files import hash_file
from curate.measure.fasttext import RESERVED
from curate.measure.stage import StageModel
from curate.schema import fingerprint
from curate.text import NativeSpec


class HashedLinear(StageModel):
    """A column `<name>.<output>` for each output of the model."""

    kind: ClassVar[str] = "hashed_linear"
    version: ClassVar[int] = 1
    paths: ClassVar[tuple[str, ...]] = ("model",)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """What its columns begin with."""
    model: Path
    """The model file."""

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, value: str) -> str:
        if value in RESERVED:
            raise ConfigError(f"a name is none of {', '.join(sorted(RESERVED))}: {value}")
        return value

    @property
    def key(self) -> str:
        """Its name: a recipe may have several."""
        return self.name

    def needs(self) -> NativeSpec:
        """What this stage wants from the native pass; reads the model file to hash it."""
        spec = {"name": self.name, "model": str(self.model), "fingerprint": self.content()}
        return NativeSpec(linears=(json.dumps(spec, sort_keys=True),))

    def content(self) -> str:
        """Hash the model file.

        Raises:
            DataError: It is missing.
        """
        if not self.model.is_file():
            raise DataError(f"{self.kind}.model is not a file: {self.model}")
        return hash_file(self.model)

    def fingerprint(self) -> str:
        """Hash what decides the columns: the model's content instead of its path."""
        settings: dict[str, Any] = self.model_dump(mode="json") | {"model": self.content()}
        return fingerprint([self.kind, self.version, settings])
