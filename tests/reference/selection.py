"""Slow, obvious twins of `curate.selection`: one document at a time, sorting everything in memory."""

import math
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction

from curate import _rust


def hash_uniform(doc_id: bytes, seed: int, purpose: str) -> float:
    """The number of one document, from the definition."""
    digest = bytes.fromhex(_rust.blake3_hex(doc_id + struct.pack("<Q", seed) + purpose.encode()))
    return float((Fraction(int.from_bytes(digest[:8], "little") >> 12) + Fraction(1, 2)) / 2**52)


def gumbel(doc_id: bytes, seed: int, purpose: str) -> float:
    """Standard Gumbel noise of one document."""
    return -math.log(-math.log(hash_uniform(doc_id, seed, purpose)))


def take(keys: Sequence[float], tokens: Sequence[int], budget: int | None) -> set[int]:
    """Positions taken: largest key first, ties by position, until the budget is reached; None takes all."""
    taken: set[int] = set()
    count = 0
    for position in sorted(range(len(keys)), key=lambda i: (-keys[i], i)):
        if budget is not None and count >= budget:
            break
        taken.add(position)
        count += tokens[position]
    return taken


def shares(budget: int, tokens: Mapping[str, int]) -> dict[str, int]:
    """Split a budget in proportion to tokens: floors, then one to each of the largest remainders."""
    total = sum(tokens.values())
    exact = {
        name: Fraction(budget * count, total) if total else Fraction(0) for name, count in tokens.items()
    }
    out = {name: math.floor(share) for name, share in exact.items()}
    left = budget - sum(out.values()) if total else 0
    for name in sorted(tokens, key=lambda name: (out[name] - exact[name], name))[:left]:
        out[name] += 1
    return out


def zscores(scores: Sequence[float]) -> list[float]:
    """(x - mean) / standard deviation over the finite scores; 0 where all finite scores are equal."""
    finite = [score for score in scores if math.isfinite(score)]
    if not finite:
        return list(scores)
    mean = math.fsum(finite) / len(finite)
    spread = math.sqrt(math.fsum((score - mean) * (score - mean) for score in finite) / len(finite))
    return [(score - mean) / spread if spread > 0 or math.isinf(score) else 0.0 for score in scores]
