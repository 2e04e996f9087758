"""C4's rules for whole documents (Raffel et al. 2020, arXiv:1910.10683), mC4's line rule (arXiv:2010.11934).

The counts are of what C4's line rules would keep; the text itself is not changed here. Not here: the list of
bad words, and the line rules as a transform of the text.
"""

from typing import ClassVar, Literal

from curate.filters.preset import Bound, Count, Preset


class C4(Preset):
    """Limits of C4's document rules; None turns a rule off, 0 is a limit."""

    preset: Literal["c4"] = "c4"
    """Name of the preset in a recipe."""
    lorem_ipsum: bool = True
    """Drop documents with "lorem ipsum" in a line that passes the line rules before it; false is off."""
    curly_bracket: bool = True
    """Drop documents with `{` in a line that passes the line rules before it; false is off."""
    min_sentences: Count | None = 5
    """Fewest sentences in the lines that the line rules keep; None is off."""
    min_long_lines: Count | None = None
    """Fewest lines of 200 characters or more; mC4 uses 3; None is off."""

    bounds: ClassVar[tuple[Bound, ...]] = (
        Bound("lorem_ipsum", "c4.lorem_ipsum", "c4.has_lorem_ipsum", "is"),
        Bound("curly_bracket", "c4.curly_bracket", "c4.has_curly_bracket", "is"),
        Bound("min_sentences", "c4.too_few_sentences", "c4.num_sentences", "<"),
        Bound("min_long_lines", "c4.too_few_long_lines", "c4.num_long_lines", "<"),
    )
