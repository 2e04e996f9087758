"""What the stages of fastText models share (Joulin et al. 2016, arXiv:1607.01759): model, unit, columns.

Labels are the model's own without `__label__`, probabilities those that the reference implementation reports.
A document is scored as one line, newlines as white space, unless `unit` says otherwise. All models of a
recipe run in the one pass and share its tokens. Cost per core: about 100 MB/s for two labels and bigrams, 50
for lid.176. Not here: training (models/), limits (filters/).
"""

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.files import hash_file
from curate.measure.stage import StageModel
from curate.schema import fingerprint
from curate.text import NativeSpec

RESERVED = frozenset(
    (
        "c4",
        "doc_id",
        "document",
        "edits",
        "exact",
        "fineweb",
        "gopher",
        "input",
        "redpajama",
        "tokens",
        "transform",
    )
)
"""Prefixes of columns that are taken."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class FastText(StageModel):
    """Settings of every stage that scores with a fastText model."""

    paths: ClassVar[tuple[str, ...]] = ("model",)

    model: Path
    """A supervised fastText model, `.bin` or `.ftz`."""
    name: str
    """Prefix of the columns; different for each stage of a recipe."""
    top: int = Field(default=1, ge=1)
    """Labels that are named, the most probable first: `label`, `score`, then `label_2`, `score_2`."""
    unit: Literal["document", "line", "paragraph", "sentence"] = "document"
    """What is scored at a time; parts are brought together by `aggregate`."""
    aggregate: Literal["mean", "max", "length_weighted"] = "mean"
    """How the probabilities of parts become those of the document; weights are bytes."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value) or value in RESERVED:
            taken = ", ".join(sorted(RESERVED))
            raise ConfigError(f"a name is lower-case letters, digits and _, and none of {taken}: {value}")
        return value

    @model_validator(mode="after")
    def _columns_are_different(self) -> Self:
        names = self.columns()
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"two columns have one name; change `top` or `labels`: {twice}")
        return self

    @property
    def key(self) -> str:
        """The name, by which a recipe tells its stages apart."""
        return self.name

    def needs(self) -> NativeSpec:
        """What this stage wants from the native pass; reads the model file to hash it."""
        spec = self.model_dump(mode="json") | {"model": str(self.model), "fingerprint": self.content()}
        return NativeSpec(models=(json.dumps(spec, sort_keys=True),))

    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order; the model is not read for them."""
        places = ["", *(f"_{place}" for place in range(2, self.top + 1))]
        names = [f"{stem}{place}" for place in places for stem in ("label", "score")]
        return tuple(f"{self.name}.{name}" for name in (*names, *self._more_columns()))

    def _more_columns(self) -> tuple[str, ...]:
        raise NotImplementedError

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


def describe(path: Path) -> dict[str, Any]:
    """What is in a model file: settings, labels with their counts, sizes, SHA-256.

    Raises:
        DataError: It is no model that can be read.
    """
    if not path.is_file():
        raise DataError(f"the model is not a file: {path}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts: dict[str, Any] = json.loads(_rust.describe_model(str(path)))
    return {"path": str(path), "size_bytes": path.stat().st_size, "sha256": digest} | facts
