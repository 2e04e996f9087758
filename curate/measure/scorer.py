"""What the stages that score with a model file share: the file, its hash, the name that columns begin with.

Not here: what a model computes (fasttext.py, hashed_linear.py).
"""

import functools
import re
from pathlib import Path
from typing import Any, ClassVar

from pydantic import field_validator

from curate.errors import ConfigError, DataError
from curate.files import hash_file
from curate.measure.stage import StageModel
from curate.schema import fingerprint

RESERVED = frozenset(
    (
        "c4",
        "c4_lines",
        "doc_id",
        "document",
        "duplicate_parts",
        "edits",
        "exact",
        "fineweb",
        "gopher",
        "input",
        "minhash",
        "ngram_overlap",
        "redpajama",
        "tokens",
        "transform",
    )
)
"""Prefixes of columns that are taken."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Scorer(StageModel):
    """Base of stages with a model; a recipe may have several of a kind, with different names."""

    paths: ClassVar[tuple[str, ...]] = ("model",)

    name: str
    """Prefix of the columns; different for each stage of a recipe."""
    model: Path
    """The model file."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value) or value in RESERVED:
            taken = ", ".join(sorted(RESERVED))
            raise ConfigError(f"a name is lower-case letters, digits and _, and none of {taken}: {value}")
        return value

    @property
    def key(self) -> str:
        """The name, by which a recipe tells its stages apart."""
        return self.name

    def content(self) -> str:
        """Hash the model file.

        Raises:
            DataError: It is missing.
        """
        if not self.model.is_file():
            raise DataError(f"{self.name}.model is not a file: {self.model}")
        state = self.model.stat()
        return _hash_once(self.model, (state.st_ino, state.st_size, state.st_mtime_ns))

    def fingerprint(self) -> str:
        """Hash what decides the columns: the model's content instead of its path."""
        settings: dict[str, Any] = self.model_dump(mode="json") | {"model": self.content()}
        return fingerprint([self.kind, self.version, settings])


@functools.lru_cache(maxsize=64)
def _hash_once(path: Path, state: tuple[int, int, int]) -> str:
    """Hash a file again only after it changed: models have hundreds of megabytes."""
    return hash_file(path)
