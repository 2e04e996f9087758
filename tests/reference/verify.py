"""Verification of near duplicates in plain Python: sets, dicts and loops."""

import re
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from tests.reference.minhash import BITS, F0, LOW, fold, slots_of

Sampled = tuple[set[int], int]
"""Hashes, and how often their sample was halved."""
Pair = tuple[int, int, int]
Edge = tuple[int, int, float, int]


def at_level(found: Sampled, level: int) -> set[int]:
    """What a sample of a level has of a set."""
    return {value for value in found[0] if value & LOW < (1 << 32) >> level}


def fraction(a: Sampled, b: Sampled, mode: str) -> tuple[int, int]:
    """Shared shingles, and those of which they are a share."""
    level = max(a[1], b[1])
    left, right = at_level(a, level), at_level(b, level)
    whole = len(left | right) if mode == "jaccard" else min(len(left), len(right))
    return len(left & right), whole


def slot_fraction(a: bytes, b: bytes) -> tuple[int, int]:
    """Equal slots, and all."""
    pairs = list(zip(slots_of(a), slots_of(b), strict=True))
    return sum(x == y for x, y in pairs), len(pairs)


def quotient(found: tuple[int, int]) -> float:
    """The similarity; 0 where samples have nothing to compare."""
    return found[0] / found[1] if found[1] else 0.0


class Verification:
    """Edges and counts of candidates; `sets` has no node whose set is empty."""

    def __init__(self, sets: dict[int, Any], mode: str, threshold: float, max_reps: int) -> None:
        self.sets = sets
        self.mode = mode
        self.threshold = threshold
        self.max_reps = max_reps
        self.edges: dict[tuple[int, int], tuple[float, int]] = {}
        self.counts: Counter[str] = Counter()
        self.rejected_by_tenth = [0] * 10

    def compare(self, a: int, b: int) -> tuple[int, int]:
        """Similarity of two nodes as a fraction."""
        if self.mode == "signature":
            return slot_fraction(self.sets[a], self.sets[b])
        return fraction(self.sets[a], self.sets[b], self.mode)

    def add(self, a: int, b: int, similarity: float, band: int) -> None:
        """Take up an edge; the lowest band of a pair stays."""
        pair = (min(a, b), max(a, b))
        self.edges[pair] = (similarity, min(band, self.edges.get(pair, (0.0, band))[1]))

    def pairs(self, pairs: Iterable[Pair]) -> None:
        """Compare pairs."""
        for a, b, band in pairs:
            self.counts["num_pairs"] += 1
            if a not in self.sets or b not in self.sets:
                self.counts["num_missing"] += 1
                continue
            found = self.compare(a, b)
            if quotient(found) >= self.threshold:
                self.counts["num_edges"] += 1
                self.add(a, b, quotient(found), band)
            else:
                self.counts["num_rejected"] += 1
                tenth = int(Fraction(*found) * 10) if found[1] else 0
                self.rejected_by_tenth[min(tenth, 9)] += 1

    def hot(self, members: Iterable[Pair]) -> None:
        """Compare members of hot groups (node, key, band) with representatives."""
        groups_of: dict[int, dict[int, int]] = defaultdict(dict)
        for node, key, band in members:
            groups_of[node][key] = min(band, groups_of[node].get(key, band))
        reps: dict[int, list[int]] = defaultdict(list)
        capped = set()
        for node in sorted(groups_of):
            if node not in self.sets:
                self.counts["num_hot_missing"] += 1
                continue
            bands: dict[int, int] = {}
            for key, band in groups_of[node].items():
                for rep in reps[key]:
                    bands[rep] = min(band, bands.get(rep, band))
            self.counts["num_hot_comparisons"] += len(bands)
            alike = {rep: quotient(self.compare(rep, node)) for rep in bands}
            alike = {rep: value for rep, value in alike.items() if value >= self.threshold}
            for rep, value in alike.items():
                self.counts["num_hot_edges"] += 1
                self.add(rep, node, value, bands[rep])
            if not alike:
                full = {key for key in groups_of[node] if len(reps[key]) >= self.max_reps}
                capped |= full
                self.counts["num_capped_docs"] += bool(full)
                for key in groups_of[node].keys() - full:
                    reps[key].append(node)
        self.counts["num_capped_groups"] = len(capped)

    def answer(self) -> tuple[list[Edge], dict[str, Any]]:
        """Edges in order, and counts."""
        edges = [(a, b, similarity, band) for (a, b), (similarity, band) in sorted(self.edges.items())]
        counts = {name: self.counts[name] for name in COUNTS}
        return edges, {**counts, "rejected_by_tenth": self.rejected_by_tenth}


COUNTS = (
    "num_pairs",
    "num_edges",
    "num_rejected",
    "num_missing",
    "num_hot_missing",
    "num_hot_comparisons",
    "num_hot_edges",
    "num_capped_groups",
    "num_capped_docs",
)


def line_key(line: str) -> int | None:
    """The hash of a line without white space around it; none where it has no word character."""
    if not re.search(r"\w", line):
        return None
    data = line.strip().encode()
    state = len(data)
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        low, high = struct.unpack_from("<QQ", data, at)
        state = fold(state ^ low, high ^ F0)
    rest = data[whole:]
    low = high = 0
    for width in (8, 4):
        if len(rest) >= width:
            low, high = int.from_bytes(rest[:width], "little"), int.from_bytes(rest[-width:], "little")
            break
    else:
        low = int.from_bytes(rest, "big") & BITS
    return fold(fold(state ^ low, high ^ F0), F0)


def boilerplate(
    docs: Iterable[tuple[str | None, int]], min_share: float, min_docs: int
) -> list[tuple[int, int]]:
    """Sources and hashes of the lines that many documents of their source have."""
    num_docs: Counter[int] = Counter()
    counts: Counter[tuple[int, int]] = Counter()
    for text, source in docs:
        if text is not None:
            num_docs[source] += 1
            keys = {line_key(line) for line in text.split("\n")} - {None}
            counts.update((source, key) for key in keys if key is not None)
    is_frequent: Callable[[int, int], bool] = lambda source, count: (  # noqa: E731
        count >= min_docs and count / num_docs[source] >= min_share
    )
    return sorted(line for line, count in counts.items() if is_frequent(line[0], count))


def drop_lines(text: str, source: int, lines: list[tuple[int, int]]) -> str:
    """A text without the lines of its source."""
    kept = ["" if (source, line_key(line)) in lines else line for line in text.split("\n")]
    return "\n".join(kept)
