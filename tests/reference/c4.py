"""Slow, obvious twin of the C4 signals and of the rewriting of the text."""

import re
from collections.abc import Callable
from typing import Any

from tests.reference.terminals import is_terminal

CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def num_sentences(text: str) -> int:
    """Sentences of any language: a mark outside ASCII ends one, `.`, `!` and `?` before white space."""
    count, word, mark = 0, False, False
    for char in text:
        if is_terminal(char):
            ended, mark = not char.isascii(), True
        else:
            ended = mark and char.isspace()
            if re.match(r"\w", char):
                word, mark = True, False
        if ended:
            count, word, mark = count + word, False, False
    return count + word


def judge(line: str) -> tuple[str, str, list[str]]:
    """The line without citations, what becomes of it, and the document rules that it breaks."""
    line = line.strip()
    words = line.split()
    if any(len(word) > 1000 for word in words):
        return line, "too_long_word", []
    line = CITATION.sub("", line)
    if line.endswith("...") or line[-1:] not in tuple(".?!\"'"):
        return line, "no_terminal_punct", []
    if len(words) < 3:
        return line, "too_few_words", []
    lower = line.lower()
    broken = ["has_lorem_ipsum"] if "lorem ipsum" in lower else []
    if "javascript" in lower:
        return line, "javascript", broken
    broken += ["has_curly_bracket"] if "{" in line else []
    if any(phrase in lower for phrase in POLICY):
        return line, "policy", broken
    return line, "kept", broken


def signals(text: str, count: Callable[[str], int] = num_sentences) -> dict[str, Any]:
    """Every `c4.*` column; `count` counts the sentences of a line."""
    judged = [judge(line) for line in text.splitlines()]
    verdicts = [verdict for _, verdict, _ in judged]
    out: dict[str, Any] = {"c4.num_lines": len(judged), "c4.num_kept_lines": verdicts.count("kept")}
    for rule in ("too_long_word", "no_terminal_punct", "too_few_words", "javascript", "policy"):
        out[f"c4.num_lines_{rule}"] = verdicts.count(rule)
    kept = [line for line, verdict, _ in judged if verdict == "kept"]
    out["c4.num_sentences"] = sum(max(1, count(line)) for line in kept)
    out["c4.num_long_lines"] = sum(len(line) >= 200 for line in text.split("\n"))
    for rule in ("has_lorem_ipsum", "has_curly_bracket"):
        out[f"c4.{rule}"] = any(rule in broken for _, _, broken in judged)
    return out


def rewrite(text: str) -> str:
    """The kept lines, one `\\n` between them."""
    return "\n".join(line for line, verdict, _ in map(judge, text.splitlines()) if verdict == "kept").strip()
