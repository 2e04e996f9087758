"""Identity and size of each document: `doc_id`, bytes, characters, words, lines, sentences, paragraphs.

Always measured: duplicates, sampling and the plan read them. Words are UAX #29 words here unless another
stage of the pass chooses the splitting. Identity is a stage of its own because duplicates need nothing else,
and it costs a tenth of the rest. Not here: the signals of the published rule sets (heuristics.py).
"""

from typing import ClassVar

from curate import text
from curate.measure.stage import StageModel


class Identity(StageModel):
    """Columns `doc_id` and `document.num_bytes`."""

    kind: ClassVar[str] = "identity"
    version: ClassVar[int] = 1

    def needs(self) -> text.NativeSpec:
        """The content hash and the size."""
        return text.NativeSpec(groups=frozenset(["identity"]))


class Document(StageModel):
    """The other columns `document.*`."""

    kind: ClassVar[str] = "document"
    version: ClassVar[int] = 2

    words: text.WordMode = "uax29"
    """How words are split; the recipe sets it to the mode of `heuristics`."""

    def needs(self) -> text.NativeSpec:
        """The group of counts."""
        return text.NativeSpec(groups=frozenset(["document"]), words=self.words)
