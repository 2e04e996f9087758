"""Hashed linear models in plain Python: `re`, `hashlib` and loops."""

import hashlib
import math
import re
from collections import Counter

import numpy as np

from curate.models.hashed_linear import Model
from tests.reference import uax29

TOKEN = re.compile(r"\w+|[^\w\s]+")
BITS = (1 << 64) - 1


def tokens(doc: str, mode: str) -> list[str]:
    """The tokens of a text."""
    if mode == "wordpunct_lower":
        return TOKEN.findall(doc.lower())
    if mode == "whitespace":
        return [token for token in re.split("[ \n\r\t\v\f\0]", doc) if token]
    return list(uax29.words(doc))


def ngrams(found: list[str], longest: int) -> list[list[str]]:
    """Runs of tokens, by the last of them, the shortest first."""
    ends = range(1, len(found) + 1)
    return [found[end - size : end] for end in ends for size in range(1, longest + 1) if size <= end]


def sha256_bucket(gram: list[str], num_buckets: int) -> int:
    """As DSIR has it."""
    return int(hashlib.sha256(" ".join(gram).encode()).hexdigest(), 16) % num_buckets


def fnv_bucket(gram: list[str], num_buckets: int) -> int:
    """As docs/formats.md has it."""
    found = 0
    for token in gram:
        found = (found * 0x9E3779B97F4A7C15 + fnv1a(token.encode())) & BITS
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        found = (found ^ found >> 33) * factor & BITS
    return ((found ^ found >> 33) >> 32) * num_buckets >> 32


def fnv1a(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 & BITS
    return found


def buckets(doc: str, model: Model) -> list[int]:
    """The buckets of a text's n-grams, in order."""
    description, num_buckets = model.description, len(model.weight)
    bucket = sha256_bucket if description.hash == "sha256" else fnv_bucket
    return [bucket(gram, num_buckets) for gram in ngrams(tokens(doc, description.tokens), description.ngrams)]


def scores(doc: str, model: Model) -> list[float] | None:
    """One score for each output; None where the text has none."""
    description = model.description
    found = buckets(doc, model)
    longest = description.ngrams
    length = (len(found) + longest * (longest - 1) // 2) // longest
    if not found or length < description.min_tokens:
        return None
    bias = np.zeros(len(description.outputs)) if model.bias is None else model.bias
    out = []
    for output in range(len(description.outputs)):
        total = 0.0
        for bucket in found:
            total += float(model.weight[bucket, output])
        if description.aggregate == "mean":
            total /= len(found)
        out.append(total + float(bias[output]))
    return out


def counts(docs: list[str], *, tokens_of: str, longest: int, hash_of: str, num_buckets: int) -> list[int]:
    """How often each bucket is met in all n-grams of texts."""
    bucket = sha256_bucket if hash_of == "sha256" else fnv_bucket
    found = Counter(
        bucket(gram, num_buckets) for doc in docs for gram in ngrams(tokens(doc, tokens_of), longest)
    )
    return [found[index] for index in range(num_buckets)]


def importance(
    doc: str, target: list[int], raw: list[int], *, smoothing: float = 0.0, min_tokens: int = 100
) -> float | None:
    """DSIR's log importance weight of a text by words and pairs of them, from the counts of both sides."""
    found = [sha256_bucket(gram, len(raw)) for gram in ngrams(tokens(doc, "wordpunct_lower"), 2)]
    if (len(found) + 1) // 2 < min_tokens:
        return None
    total, raw_total = sum(target) + smoothing * len(target), sum(raw)
    weight = 0.0
    for bucket in found:
        p, q = (target[bucket] + smoothing) / total, raw[bucket] / raw_total
        weight += math.log(p + 1e-8) - math.log(q + 1e-8)
    return weight
