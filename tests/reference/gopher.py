"""Gopher's signals in plain Python, straight from the definitions: given the text and its words."""

from collections import Counter

PUNCTUATION = frozenset(
    "!/\u2014\u201d:\uff05\uff11\u3008&(\u3001\u2501\\\u3010#%\u300c\u300d\uff0c\u3011\uff1b+^]~\u201c\u300a"
    "\u201e';\u2019{|\u2236\u00b4[=-`*\uff0e(\u2013\uff1f\uff01\uff1a$\uff5e\u00ab\u3009,><\u300b)?\uff09"
    '\u3002\u2026@_."}\u25ba\u00bb\uff08'
) | frozenset(chr(x) for a, b in ((0, 9), (11, 13), (13, 32), (127, 160)) for x in range(a, b))
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
MAX_WORDS = 1 << 20


def signals(text, words, joined=True):
    """All `gopher.*` values of one document; None where a denominator is 0.

    `joined`: 5- to 10-grams are equal when their words run together are, as in datatrove.
    """
    wordy = [word for word in words if any(c not in PUNCTUATION for c in word)]
    lines = text.splitlines()
    ellipses = text.count("...") + text.count("\u2026")
    out = {
        "num_words": len(wordy),
        "num_stop_words": len(STOP_WORDS & set(words)),
        "mean_word_length": _frac(sum(map(len, wordy)), len(wordy)),
        "hash_frac": _frac(text.count("#"), len(words)),
        "ellipsis_frac": _frac(ellipses, len(words)),
        "bullet_line_frac": _frac(sum(s.lstrip().startswith(("\u2022", "-")) for s in lines), len(lines)),
        "ellipsis_line_frac": _frac(sum(s.rstrip().endswith(("...", "\u2026")) for s in lines), len(lines)),
        "alpha_word_frac": _frac(sum(any(c.isalpha() for c in word) for word in words), len(words)),
    }
    for name, pieces in (("line", _split(text, 1)), ("para", _split(text.strip(), 2))):
        repeats = [piece for at, piece in enumerate(pieces) if piece in pieces[:at]]
        out[f"dup_{name}_frac"] = len(repeats) / len(pieces)
        out[f"dup_{name}_char_frac"] = _frac(sum(map(len, repeats)), len(text))
    many = len(words) > MAX_WORDS
    for n in (2, 3, 4):
        out[f"top_{n}gram_char_frac"] = None if many else _frac(_top(words, n), len(text))
    for n in range(5, 11):
        out[f"dup_{n}gram_char_frac"] = None if many else _frac(_dup(words, n, joined), len(text))
    return {f"gopher.{name}": value for name, value in out.items()}


def _frac(count, of):
    return count / of if of else None


def _split(text, least):
    """Split at runs of at least `least` newlines."""
    pieces, at = [""], 0
    while at < len(text):
        end = at
        while end < len(text) and text[end] == "\n":
            end += 1
        if end - at >= least:
            pieces.append("")
        else:
            end = max(end, at + 1)
            pieces[-1] += text[at:end]
        at = end
    return pieces


def _top(words, n):
    grams = [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]
    if not grams:
        return 0
    # In Python dictionaries keep their order and `max` takes the first, so a tie goes to the first seen.
    gram, count = max(Counter(grams).items(), key=lambda pair: pair[1])
    return len(gram) * count


def _dup(words, n, joined):
    seen, chars, at = set(), 0, 0
    while at + n <= len(words):
        gram = "".join(words[at : at + n]) if joined else tuple(words[at : at + n])
        if gram in seen:
            chars += sum(map(len, gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    return chars
