"""What the stages of fastText models share (Joulin et al. 2016, arXiv:1607.01759): model, unit, columns.

Labels are the model's own without `__label__`, probabilities those that the reference implementation reports.
A document is scored as one line, newlines as white space, unless `unit` says otherwise; a word `</s>` ends
it, as in the reference. A document without words has the label that the model gives to nothing, or nulls
where it has no row for `</s>`, and with parts. All models of a recipe run in the one pass and share its
tokens. Cost per core: about 125 MB/s for two labels and bigrams, 70
for lid.176. Not here: training (models/), limits (filters/).
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.measure.scorer import Scorer
from curate.text import NativeSpec


class FastText(Scorer):
    """Settings of every stage that scores with a fastText model."""

    model: Path
    """A supervised fastText model, `.bin` or `.ftz`."""
    top: int = Field(default=1, ge=1)
    """Labels that are named, the most probable first: `label`, `score`, then `label_2`, `score_2`."""
    unit: Literal["document", "line", "paragraph", "sentence"] = "document"
    """What is scored at a time; parts are brought together by `aggregate`. Each part costs as much as a short
    document: some microseconds for a few labels, ten for the 176 of lid.176."""
    aggregate: Literal["mean", "max", "length_weighted"] = "mean"
    """How the probabilities of parts become those of the document; weights are bytes."""

    @model_validator(mode="after")
    def _columns_are_different(self) -> Self:
        names = self.columns()
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"two columns have one name; change `top` or `labels`: {twice}")
        return self

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
