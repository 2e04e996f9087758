"""Slow, obvious twin of the `rps_doc_*` signals."""

import math
import re
import string
import unicodedata
from collections import Counter
from typing import Any

RAW_WORD = re.compile(r"\w+|[^\w\s]+")
SENTENCE = re.compile(r"\b[^.!?]+[.!?]*")


def normalize(text: str) -> str:
    """Without ASCII punctuation, lower case, white space as single spaces, decomposed."""
    text = "".join(char for char in text if char not in string.punctuation)
    return unicodedata.normalize("NFD", re.sub(r"\s+", " ", text.lower().strip()))


def divide(part: float, whole: int) -> float | None:
    """The quotient; None where there is nothing to divide by."""
    return part / whole if whole else None


def top_frac(words: list[str], n: int) -> float:
    """Characters of the most frequent n-gram, the first one where several are, if it is repeated."""
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    top, count = max(grams.items(), key=lambda item: item[1], default=((), 0))
    return sum(map(len, top)) * count / sum(map(len, words)) if count > 1 else 0.0


def dupe_frac(words: list[str], n: int) -> float:
    """Characters of the words that lie in any n-gram that is repeated."""
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    covered = {i + k for i, gram in enumerate(grams) if counts[gram] > 1 for k in range(n)}
    return sum(len(words[i]) for i in covered) / sum(map(len, words)) if covered else 0.0


def entropy(words: list[str]) -> float | None:
    """Of the distribution of words, in nats."""
    shares = [count / len(words) for count in Counter(words).values()]
    return sum(-p * math.log(p) for p in shares) if words else None


def signals(text: str) -> dict[str, Any]:
    """Every `redpajama.*` column."""
    raw = RAW_WORD.findall(text)
    content = normalize(text)
    words = content.split()
    lines = [line.rstrip() for line in re.findall(r"[^\n]*\n|[^\n]+", text)]
    symbols = text.count("#") + text.count("...") + text.count("\u2026")
    alphabetic = sum(bool(re.search("[a-zA-Z]", word)) for word in raw)
    out = {
        "word_count": len(words),
        "mean_word_length": divide(sum(map(len, words)), len(words)),
        "symbol_to_word_ratio": divide(symbols, len(raw)),
        "frac_lines_end_with_ellipsis": divide(
            sum(line.endswith(("...", "\u2026")) for line in lines), len(lines)
        ),
        "frac_no_alph_words": 1.0 - alphabetic / len(raw) if raw else None,
        "frac_unique_words": divide(len(set(words)), len(words)),
        "unigram_entropy": entropy(words),
        "frac_all_caps_words": divide(sum(map(str.isupper, raw)), len(raw)),
        "num_sentences": len(SENTENCE.findall(text)),
        "curly_bracket": (text.count("{") + text.count("}")) / len(text) if text else 0.0,
        "lorem_ipsum": content.count("lorem ipsum") / len(content) if content else 0.0,
    }
    out |= {f"frac_chars_top_{n}gram": top_frac(words, n) for n in range(2, 5)}
    out |= {f"frac_chars_dupe_{n}grams": dupe_frac(words, n) for n in range(5, 11)}
    return {
        f"redpajama.rps_doc_{name}": None if value is None else round(float(value), 8)
        for name, value in out.items()
    }
