"""Gopher's rules over the quality signals of RedPajama-V2 (Weber et al. 2024, arXiv:2411.12372).

The same limits as gopher.py, on signals that are defined over normalised text (lower case, no punctuation)
and rounded to eight decimals, so outcomes differ from Gopher's. The signals that Gopher has no rule for come
with limits that are off.
"""

from typing import ClassVar, Literal

from curate.filters.preset import Bound, Count, Frac, Number, Preset


class RedPajama(Preset):
    """Limits over the `rps_doc_*` signals; None turns a rule off, 0 is a limit."""

    preset: Literal["redpajama"] = "redpajama"
    """Name of the preset in a recipe."""
    min_words: Count | None = 50
    """Fewest words; None is off."""
    max_words: Count | None = 100_000
    """Most words; None is off."""
    min_mean_word_length: Number | None = 3
    """Least mean length of a word, in characters; None is off."""
    max_mean_word_length: Number | None = 10
    """Greatest mean length of a word, in characters; None is off."""
    max_symbol_word_frac: Number | None = 0.1
    """Most symbols (`#` and ellipses) per word; None is off."""
    max_ellipsis_line_frac: Frac | None = 0.3
    """Most of the lines that may end with an ellipsis; None is off."""
    max_no_alpha_word_frac: Frac | None = 0.2
    """Most of the words that may have no alphabetic character; None is off."""
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
    min_sentences: Count | None = None
    """Fewest sentences; None is off."""
    min_unique_word_frac: Frac | None = None
    """Least of the words that are different; None is off."""
    min_unigram_entropy: Number | None = None
    """Least entropy of the distribution of words, in nats; None is off."""
    max_caps_word_frac: Frac | None = None
    """Most of the words that may be in capitals; None is off."""
    max_curly_bracket_frac: Frac | None = None
    """Most curly brackets per character; None is off."""
    max_lorem_ipsum_frac: Frac | None = None
    """Most occurrences of "lorem ipsum" per character; None is off."""

    bounds: ClassVar[tuple[Bound, ...]] = (
        Bound("min_words", "redpajama.too_short", "redpajama.rps_doc_word_count", "<"),
        Bound("max_words", "redpajama.too_long", "redpajama.rps_doc_word_count", ">"),
        Bound("min_mean_word_length", "redpajama.words_too_short", "redpajama.rps_doc_mean_word_length", "<"),
        Bound("max_mean_word_length", "redpajama.words_too_long", "redpajama.rps_doc_mean_word_length", ">"),
        Bound(
            "max_symbol_word_frac",
            "redpajama.too_many_symbols",
            "redpajama.rps_doc_symbol_to_word_ratio",
            ">",
        ),
        Bound(
            "max_ellipsis_line_frac",
            "redpajama.too_many_ellipsis_lines",
            "redpajama.rps_doc_frac_lines_end_with_ellipsis",
            ">",
        ),
        Bound(
            "max_no_alpha_word_frac",
            "redpajama.too_few_alpha_words",
            "redpajama.rps_doc_frac_no_alph_words",
            ">",
        ),
        Bound(
            "max_top_2gram_char_frac", "redpajama.top_2gram", "redpajama.rps_doc_frac_chars_top_2gram", ">"
        ),
        Bound(
            "max_top_3gram_char_frac", "redpajama.top_3gram", "redpajama.rps_doc_frac_chars_top_3gram", ">"
        ),
        Bound(
            "max_top_4gram_char_frac", "redpajama.top_4gram", "redpajama.rps_doc_frac_chars_top_4gram", ">"
        ),
        Bound(
            "max_dup_5gram_char_frac", "redpajama.dup_5gram", "redpajama.rps_doc_frac_chars_dupe_5grams", ">"
        ),
        Bound(
            "max_dup_6gram_char_frac", "redpajama.dup_6gram", "redpajama.rps_doc_frac_chars_dupe_6grams", ">"
        ),
        Bound(
            "max_dup_7gram_char_frac", "redpajama.dup_7gram", "redpajama.rps_doc_frac_chars_dupe_7grams", ">"
        ),
        Bound(
            "max_dup_8gram_char_frac", "redpajama.dup_8gram", "redpajama.rps_doc_frac_chars_dupe_8grams", ">"
        ),
        Bound(
            "max_dup_9gram_char_frac", "redpajama.dup_9gram", "redpajama.rps_doc_frac_chars_dupe_9grams", ">"
        ),
        Bound(
            "max_dup_10gram_char_frac",
            "redpajama.dup_10gram",
            "redpajama.rps_doc_frac_chars_dupe_10grams",
            ">",
        ),
        Bound("min_sentences", "redpajama.too_few_sentences", "redpajama.rps_doc_num_sentences", "<"),
        Bound(
            "min_unique_word_frac",
            "redpajama.too_few_unique_words",
            "redpajama.rps_doc_frac_unique_words",
            "<",
        ),
        Bound("min_unigram_entropy", "redpajama.entropy_too_low", "redpajama.rps_doc_unigram_entropy", "<"),
        Bound(
            "max_caps_word_frac",
            "redpajama.too_many_caps_words",
            "redpajama.rps_doc_frac_all_caps_words",
            ">",
        ),
        Bound(
            "max_curly_bracket_frac",
            "redpajama.too_many_curly_brackets",
            "redpajama.rps_doc_curly_bracket",
            ">",
        ),
        Bound("max_lorem_ipsum_frac", "redpajama.lorem_ipsum", "redpajama.rps_doc_lorem_ipsum", ">"),
    )
