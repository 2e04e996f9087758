"""Slow, obvious twin of the FineWeb signals."""

from collections import Counter
from typing import Any

from tests.reference.terminals import is_terminal


def divide(part: int, whole: int) -> float | None:
    """The quotient; None where there is nothing to divide by."""
    return part / whole if whole else None


def signals(text: str, num_words: int) -> dict[str, Any]:
    """Every `fineweb.*` column, of a text with so many words."""
    lines = [line for line in text.split("\n") if line.strip()]
    repeated = sum(len(line) * (count - 1) for line, count in Counter(lines).items())
    return {
        "fineweb.num_lines": len(lines),
        "fineweb.line_punct_frac": divide(sum(is_terminal(line[-1]) for line in lines), len(lines)),
        "fineweb.short_line_frac": divide(sum(len(line) <= 30 for line in lines), len(lines)),
        "fineweb.char_dup_frac": divide(repeated, len(text.replace("\n", ""))) if lines else None,
        "fineweb.newline_word_frac": divide(text.count("\n"), num_words),
    }
