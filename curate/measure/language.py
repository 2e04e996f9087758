"""The language of each document, by any fastText language identifier.

Labels are the model's: `en` of lid.176, `eng_Latn` of GlotLID and OpenLID. Not here: what is done about it;
presets take limits by language (`filters/preset.py`).
"""

from typing import ClassVar

from curate.measure.fasttext import FastText


class Language(FastText):
    """Columns `language.label` and `language.score`, and what is asked for beside them."""

    kind: ClassVar[str] = "language"
    version: ClassVar[int] = 2

    name: str = "language"
    """Prefix of the columns; different for each stage of a recipe."""
    script: bool = False
    """Add `code` and `script`: `eng` and `Latn` of a label `eng_Latn`; where a label names no script, the
    label itself and the script of most letters of the text, as ISO 15924 calls it."""
    mix: bool = False
    """Add `mix`, the share of bytes by label over the parts of the document as a JSON object, the greatest
    first, and `main_frac`, the share of the parts with the document's own label. Parts are those of `unit`,
    or paragraphs where that is the document."""

    def _more_columns(self) -> tuple[str, ...]:
        return (*(("code", "script") if self.script else ()), *(("mix", "main_frac") if self.mix else ()))
