"""Identity and size of each document: `doc_id`, bytes, characters, words, lines, sentences, paragraphs.

Always measured: duplicates, sampling and the plan read it. Words are UAX #29 words here unless another stage
of the pass chooses the splitting. Not here: the signals of the published rule sets (heuristics.py).
"""

from typing import ClassVar

from curate import text
from curate.measure.stage import StageModel


class Document(StageModel):
    """Columns `doc_id` and `document.*`."""

    kind: ClassVar[str] = "document"
    version: ClassVar[int] = 1

    words: text.WordMode = "uax29"
    """How words are split; the recipe sets it to the mode of `heuristics`."""

    def needs(self) -> text.NativeSpec:
        """The group of counts and the content hash."""
        return text.NativeSpec(groups=frozenset(["document"]), words=self.words)
