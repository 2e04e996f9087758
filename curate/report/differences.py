"""What differs between two texts that are nearly the same: stretches of words, side by side.

Words are compared, not characters, over the first `MAX_WORDS` of each text: a comparison costs the square of
what differs. Not here: finding the texts, looks.
"""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_WORDS = 4000
CONTEXT_WORDS = 6
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Words that both texts have, or that are different in them."""

    is_same: bool
    left: str
    right: str
    num_words: int
    """Of the left, where both are the same; most of it is left out of `left` then."""


def compare(left: str, right: str) -> list[Stretch]:
    """List the stretches of two texts in order; what is the same is cut to its ends."""
    a, b = (_WORD.findall(text)[:MAX_WORDS] for text in (left, right))
    found = []
    for kind, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            words = _ends(a[i:j])
            found.append(Stretch(is_same=True, left=words, right=words, num_words=j - i))
        else:
            one, other = " ".join(a[i:j]), " ".join(b[k:m])
            found.append(Stretch(is_same=False, left=one, right=other, num_words=j - i))
    return found


def _ends(words: list[str]) -> str:
    if len(words) <= 2 * CONTEXT_WORDS + 1:
        return " ".join(words)
    left_out = len(words) - 2 * CONTEXT_WORDS
    return " ".join([*words[:CONTEXT_WORDS], f"[{left_out} words]", *words[-CONTEXT_WORDS:]])


def side_by_side(stretches: list[Stretch], *, width: int = 100, max_lines: int = 40) -> list[str]:
    """Draw stretches in two columns: `|` between what is the same, `*` between what differs."""
    column = (width - 3) // 2
    lines = []
    for stretch in stretches:
        left, right = (_wrap(text, column) for text in (stretch.left, stretch.right))
        mark = "|" if stretch.is_same else "*"
        for number in range(max(len(left), len(right), 1)):
            one, other = (part[number] if number < len(part) else "" for part in (left, right))
            lines.append(f"{one:<{column}} {mark} {other}".rstrip())
    if len(lines) > max_lines:
        lines = [*lines[:max_lines], f"... {len(lines) - max_lines} more lines"]
    return lines


def _wrap(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        for start in range(0, len(word), width):
            part = word[start : start + width]
            if line and len(line) + 1 + len(part) > width:
                lines.append(line)
                line = ""
            line = f"{line} {part}" if line else part
    return [*lines, line] if line else lines
