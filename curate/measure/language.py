"""The language of each document, by any fastText language identifier (Joulin et al. 2016, arXiv:1607.01759).

Labels are the model's own without `__label__`: `en` of lid.176, `eng_Latn` of GlotLID and OpenLID. The score
is the probability that the reference implementation reports for the text as one line. Cost: lid.176 runs at
about 28 MB/s per core. Not here: other classifiers, several labels, languages of paragraphs.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

from curate.errors import DataError
from curate.files import hash_file
from curate.measure.stage import StageModel
from curate.schema import fingerprint
from curate.text import NativeSpec


class Language(StageModel):
    """Columns `language.label` and `language.score`."""

    kind: ClassVar[str] = "language"
    version: ClassVar[int] = 1

    model: Path
    """A supervised fastText model, `.bin` or `.ftz`."""

    def needs(self) -> NativeSpec:
        """What this stage wants from the native pass; reads the model file to hash it."""
        spec = {"name": self.key, "model": str(self.model), "fingerprint": self.content()}
        return NativeSpec(models=(json.dumps(spec, sort_keys=True),))

    def content(self) -> str:
        """Hash the model file.

        Raises:
            DataError: It is missing.
        """
        if not self.model.is_file():
            raise DataError(f"language.model is not a file: {self.model}")
        return hash_file(self.model)

    def fingerprint(self) -> str:
        """Hash what decides the columns: the model's content instead of its path."""
        settings: dict[str, Any] = self.model_dump(mode="json") | {"model": self.content()}
        return fingerprint([self.kind, self.version, settings])
