"""Slow, obvious twin of `rust_ext/src/words_en`: the same rules with regular expressions.

Each chunk between white space is cut by exceptions, prefixes, suffixes, addresses and infixes; then the
exceptions that were cut apart are joined again over the whole document. Offsets are code points.
"""

import re
import unicodedata
from itertools import pairwise

from tests.reference.words_en_tables import (
    ALPHA,
    CURRENCIES,
    HYPHENS,
    ICONS,
    LOWER,
    MARKS,
    QUOTES,
    SENTENCE_ENDS,
    UNITS,
    UPPER,
    exceptions,
)


def _any(strings: list[str]) -> str:
    return "(?:" + "|".join(re.escape(string) for string in sorted(strings, key=len, reverse=True)) + ")"


_QUOTE = "".join(map(re.escape, QUOTES))
_MARK = "".join(map(re.escape, MARKS)) + _QUOTE + ICONS
_STOPS = r"0-9%\u00b2+|\-" + LOWER + "".join(map(re.escape, MARKS)) + _QUOTE

PREFIX = re.compile(rf"[\u00a7%=\u2014\u2013{_MARK}]|\+(?![0-9])|\.\.+|{_any(CURRENCIES)}")
SUFFIX = re.compile(
    rf"(?:\u2026\u2026|['\u2019][sS]|[\u2014\u2013{_MARK}]|\.\.+|(?<=[0-9])\+"
    rf"|(?<=[0-9]){_any(UNITS + CURRENCIES)}|(?<=\u00b0[FfCcKk])\."
    rf"|(?<=[{_STOPS}])\.|(?<=[{UPPER}][{UPPER}])\.)\Z"
)
INFIX = re.compile(
    rf"\.\.+|\u2026|[{ICONS}]|(?<=[0-9])[+\-*^](?=[0-9-])"
    rf"|(?<=[{LOWER}{_QUOTE}])\.(?=[{UPPER}{_QUOTE}])|(?<=[{ALPHA}]),(?=[{ALPHA}])"
    rf"|(?<=[{ALPHA}0-9])(?:{'|'.join(HYPHENS)})(?=[{ALPHA}])|(?<=[{ALPHA}0-9])[:<>=/](?=[{ALPHA}])"
)
_LABEL = "[A-Za-z0-9\u00a1-\uffff](?:[A-Za-z0-9\u00a1-\uffff_-]{0,62}[A-Za-z0-9\u00a1-\uffff])?"
_MIDDLE = r"(?:1?[0-9]{1,2}|2[0-4][0-9]|25[0-5])"
_LOCAL = r"(?:(?:10|127)\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2[0-9]|3[01])\.)"
_IP = (
    rf"(?!{_LOCAL})(?:[1-9][0-9]?|1[0-9][0-9]|2[01][0-9]|22[0-3])\.{_MIDDLE}\.{_MIDDLE}"
    r"\.(?:[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-4])"
)
ADDRESS = re.compile(
    rf"(?:[\w+.-]{{2,}}://)?(?:\S+@)?(?:{_IP}|(?:{_LABEL}\.)+[{LOWER}]{{2,63}})"
    r"(?::[0-9]{2,5})?(?:[/?#]\S*)?"
)
EXCEPTIONS = exceptions()


def split(text: str) -> list[str]:
    """Split `text` into words."""
    return [text[start:end] for start, end in spans(text)]


def spans(text: str) -> list[tuple[int, int]]:
    """Return the bounds of the words of `text`."""
    out: list[tuple[int, int]] = []
    for match in re.finditer(r"\S+", text):
        at = match.start()
        for token in split_chunk(match.group(), EXCEPTIONS):
            out.append((at, at + len(token)))
            at += len(token)
    return _rejoin(text, out)


def split_chunk(chunk: str, rules: dict[str, list[str]]) -> list[str]:
    """Split text without white space, by `rules` and by affixes and infixes."""
    front: list[str] = []
    back: list[str] = []
    while chunk and chunk not in rules:
        prefix = match.group() if (match := PREFIX.match(chunk)) else ""
        if prefix and chunk[len(prefix) :] in rules:
            front.append(prefix)
            chunk = chunk[len(prefix) :]
            break
        suffix = match.group() if (match := SUFFIX.search(chunk[len(prefix) :])) else ""
        if suffix and chunk[: -len(suffix)] in rules:
            back.append(suffix)
            chunk = chunk[: -len(suffix)]
            break
        if not prefix and not suffix:
            break
        front += [prefix] if prefix else []
        back += [suffix] if suffix else []
        chunk = chunk[len(prefix) : len(chunk) - len(suffix)]
    return front + _split_core(chunk, rules) + back[::-1]


def _split_core(chunk: str, rules: dict[str, list[str]]) -> list[str]:
    if chunk in rules:
        return rules[chunk]
    if ADDRESS.fullmatch(chunk):
        return [chunk]
    cuts = [0]
    for match in INFIX.finditer(chunk):
        cuts += match.span() if match.start() > 0 else ()
    cuts.append(len(chunk))
    return [chunk[start:end] for start, end in pairwise(cuts) if start < end]


PATTERNS = {tuple(tokens): text for text in EXCEPTIONS if len(tokens := split_chunk(text, {})) > 1}
_LONGEST = max(map(len, PATTERNS))


def _rejoin(text: str, tokens: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join the exceptions that were cut apart; see `rust_ext/src/words_en/repair.rs`."""
    words = [text[start:end] for start, end in tokens]
    runs: list[tuple[int, int]] = []
    for first in range(len(tokens)):
        for last in range(first + 1, min(first + _LONGEST, len(tokens))):
            gap = text[tokens[last - 1][1] : tokens[last][0]]
            if gap not in ("", " "):
                break
            if tuple(words[first : last + 1]) in PATTERNS:
                runs.append((first, last))
    taken: set[int] = set()
    chosen: dict[int, int] = {}
    for first, last in sorted(runs, key=lambda run: (run[0] - run[1], run[0])):
        if first not in taken and last not in taken:
            chosen[first] = last
        taken |= set(range(first, last + 1))
    out: list[tuple[int, int]] = []
    at = 0
    while at < len(tokens):
        last = chosen.get(at, at)
        start = tokens[at][0]
        joined = text[start : tokens[last][1]]
        if last > at and joined in EXCEPTIONS:
            for token in EXCEPTIONS[joined]:
                out.append((start, start + len(token)))
                start += len(token)
        else:
            out += tokens[at : last + 1]
        at = last + 1
    return out


def count_sentences(text: str) -> int:
    """Count the sentences of `text`; never less than 1."""
    # White space tokens matter here: what is between words, less one leading space.
    tokens: list[str] = []
    at = 0
    for start, end in spans(text):
        gap = text[at:start]
        tokens += [gap] if gap not in ("", " ") else []
        tokens.append(text[start:end])
        at = end
    tokens += [text[at:]] if text[at:] not in ("", " ") else []
    count, has_ended = 1, False
    for token in tokens:
        if re.fullmatch(f"[{SENTENCE_ENDS}]", token):
            has_ended = True
        elif has_ended and not all(unicodedata.category(char).startswith("P") for char in token):
            count, has_ended = count + 1, False
    return count
