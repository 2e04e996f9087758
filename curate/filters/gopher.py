"""Gopher's quality and repetition rules (Rae et al. 2021, arXiv:2112.11446, appendix A1.1).

The limits are the paper's. Counts and fractions follow the definitions of the measured columns, which agree
with datatrove's; one difference is meant: a limit of 0 is a limit here, not "off".
"""

from typing import ClassVar, Literal

from curate.filters.preset import Bound, Count, Frac, Number, Preset


class Gopher(Preset):
    """Limits of Gopher's rules; None turns a rule off, 0 is a limit."""

    preset: Literal["gopher"] = "gopher"
    """Name of the preset in a recipe."""
    min_words: Count | None = 50
    """Fewest words (with a character that is not punctuation); None is off."""
    max_words: Count | None = 100_000
    """Most words; None is off."""
    min_mean_word_length: Number | None = 3
    """Least mean length of a word, in characters; None is off."""
    max_mean_word_length: Number | None = 10
    """Greatest mean length of a word, in characters; None is off."""
    max_hash_frac: Number | None = 0.1
    """Most `#` characters per word; None is off."""
    max_ellipsis_frac: Number | None = 0.1
    """Most ellipses per word; None is off."""
    max_bullet_line_frac: Frac | None = 0.9
    """Most of the lines that may start with a bullet; None is off."""
    max_ellipsis_line_frac: Frac | None = 0.3
    """Most of the lines that may end with an ellipsis; None is off."""
    min_alpha_word_frac: Frac | None = 0.8
    """Least of the words that have an alphabetic character; None is off."""
    min_stop_words: Count | None = 2
    """Fewest different stop words of the eight English ones; None is off."""
    max_dup_para_frac: Frac | None = 0.3
    """Most of the paragraphs that may be repeats; None is off."""
    max_dup_para_char_frac: Frac | None = 0.2
    """Most of the characters that may lie in repeated paragraphs; None is off."""
    max_dup_line_frac: Frac | None = 0.3
    """Most of the lines that may be repeats; None is off."""
    max_dup_line_char_frac: Frac | None = 0.2
    """Most of the characters that may lie in repeated lines; None is off."""
    max_top_2gram_char_frac: Number | None = 0.2
    """Most of the characters that the most frequent 2-gram may cover; None is off."""
    max_top_3gram_char_frac: Number | None = 0.18
    """Most of the characters that the most frequent 3-gram may cover; None is off."""
    max_top_4gram_char_frac: Number | None = 0.16
    """Most of the characters that the most frequent 4-gram may cover; None is off."""
    max_dup_5gram_char_frac: Frac | None = 0.15
    """Most of the characters that may lie in repeated 5-grams; None is off."""
    max_dup_6gram_char_frac: Frac | None = 0.14
    """Most of the characters that may lie in repeated 6-grams; None is off."""
    max_dup_7gram_char_frac: Frac | None = 0.13
    """Most of the characters that may lie in repeated 7-grams; None is off."""
    max_dup_8gram_char_frac: Frac | None = 0.12
    """Most of the characters that may lie in repeated 8-grams; None is off."""
    max_dup_9gram_char_frac: Frac | None = 0.11
    """Most of the characters that may lie in repeated 9-grams; None is off."""
    max_dup_10gram_char_frac: Frac | None = 0.10
    """Most of the characters that may lie in repeated 10-grams; None is off."""

    bounds: ClassVar[tuple[Bound, ...]] = (
        Bound("min_words", "gopher.too_short", "gopher.num_words", "<"),
        Bound("max_words", "gopher.too_long", "gopher.num_words", ">"),
        Bound("min_mean_word_length", "gopher.words_too_short", "gopher.mean_word_length", "<"),
        Bound("max_mean_word_length", "gopher.words_too_long", "gopher.mean_word_length", ">"),
        Bound("max_hash_frac", "gopher.too_many_hashes", "gopher.hash_frac", ">"),
        Bound("max_ellipsis_frac", "gopher.too_many_ellipses", "gopher.ellipsis_frac", ">"),
        Bound("max_bullet_line_frac", "gopher.too_many_bullet_lines", "gopher.bullet_line_frac", ">"),
        Bound("max_ellipsis_line_frac", "gopher.too_many_ellipsis_lines", "gopher.ellipsis_line_frac", ">"),
        Bound("min_alpha_word_frac", "gopher.too_few_alpha_words", "gopher.alpha_word_frac", "<"),
        Bound("min_stop_words", "gopher.too_few_stop_words", "gopher.num_stop_words", "<"),
        Bound("max_dup_para_frac", "gopher.dup_paras", "gopher.dup_para_frac", ">"),
        Bound("max_dup_para_char_frac", "gopher.dup_para_chars", "gopher.dup_para_char_frac", ">"),
        Bound("max_dup_line_frac", "gopher.dup_lines", "gopher.dup_line_frac", ">"),
        Bound("max_dup_line_char_frac", "gopher.dup_line_chars", "gopher.dup_line_char_frac", ">"),
        Bound("max_top_2gram_char_frac", "gopher.top_2gram", "gopher.top_2gram_char_frac", ">"),
        Bound("max_top_3gram_char_frac", "gopher.top_3gram", "gopher.top_3gram_char_frac", ">"),
        Bound("max_top_4gram_char_frac", "gopher.top_4gram", "gopher.top_4gram_char_frac", ">"),
        Bound("max_dup_5gram_char_frac", "gopher.dup_5gram", "gopher.dup_5gram_char_frac", ">"),
        Bound("max_dup_6gram_char_frac", "gopher.dup_6gram", "gopher.dup_6gram_char_frac", ">"),
        Bound("max_dup_7gram_char_frac", "gopher.dup_7gram", "gopher.dup_7gram_char_frac", ">"),
        Bound("max_dup_8gram_char_frac", "gopher.dup_8gram", "gopher.dup_8gram_char_frac", ">"),
        Bound("max_dup_9gram_char_frac", "gopher.dup_9gram", "gopher.dup_9gram_char_frac", ">"),
        Bound("max_dup_10gram_char_frac", "gopher.dup_10gram", "gopher.dup_10gram_char_frac", ">"),
    )
