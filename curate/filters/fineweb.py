"""FineWeb's own quality rules (Penedo et al. 2024, arXiv:2406.17557), applied there after C4's and Gopher's.

A document of blank lines only is `fineweb.empty`, and its fractions of lines are not defined (`.null`).
"""

from typing import ClassVar, Literal

from curate.filters.preset import Bound, Frac, Limit, Number, Preset


class FineWeb(Preset):
    """Limits of FineWeb's rules; None turns a rule off, 0 is a limit."""

    preset: Literal["fineweb"] = "fineweb"
    """Name of the preset in a recipe."""
    empty: bool = True
    """Drop documents without a line that is not blank; false is off."""
    min_line_punct_frac: Frac | None = 0.12
    """Least of the lines that end with a terminal punctuation mark; None is off."""
    allow_no_line_punct: bool = False
    """Keep documents in which no line at all ends with a terminal punctuation mark."""
    max_short_line_frac: Frac | None = 0.67
    """Most of the lines that may have 30 characters or fewer; None is off."""
    max_char_dup_frac: Frac | None = 0.01
    """Most of the characters that may lie in repeated lines; None is off."""
    max_newline_word_frac: Number | None = 0.3
    """Most line breaks per word; None is off."""

    bounds: ClassVar[tuple[Bound, ...]] = (
        Bound("empty", "fineweb.empty", "fineweb.num_lines = 0", "is"),
        Bound("min_line_punct_frac", "fineweb.too_few_punctuated_lines", "fineweb.line_punct_frac", "<"),
        Bound("max_short_line_frac", "fineweb.too_many_short_lines", "fineweb.short_line_frac", ">"),
        Bound("max_char_dup_frac", "fineweb.dup_line_chars", "fineweb.char_dup_frac", ">"),
        Bound("max_newline_word_frac", "fineweb.too_many_newlines", "fineweb.newline_word_frac", ">"),
    )

    def sql(self, bound: Bound, limit: Limit) -> str:
        """Write the condition of `bound`, with the exception for documents without punctuated lines."""
        text = super().sql(bound, limit)
        if self.allow_no_line_punct and bound.field == "min_line_punct_frac":
            return f"({text} AND {bound.column} <> 0)"
        return text
