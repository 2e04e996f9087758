r"""Exact similarity of texts: Jaccard of their sets of word 5-grams, without MinHash.

Words are lower-case `\\w+`, as `re` has them; a text with fewer words than five is one shingle, one without
words has none. A shingle is known by 64 bits (random numbers of its words, times powers of an odd number), so
two of some millions are taken for equal with a probability of 10^-6. The near-duplicate sets hold the same
similarities, made independently, and the benchmark compares them.

Cost: 2 MB/s, 8 bytes a shingle. Pairs one by one; `all_pairs` compares everything that shares a shingle.
"""

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

NGRAM = 5
WORD = re.compile(r"\w+")
BASE = 0xC4CEB9FE1A85EC53
BITS = (1 << 64) - 1
BLOCK = 64


class Shingles:
    """The shingles of texts as sorted numbers, made when first asked for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._sets: dict[int, np.ndarray] = {}
        self._words: dict[str, int] = {}
        self._numbers = np.random.default_rng(11)

    def of(self, row: int) -> np.ndarray:
        """The shingles of one text."""
        if row not in self._sets:
            self._sets[row] = self._make(self._texts[row])
        return self._sets[row]

    def _make(self, text: str) -> np.ndarray:
        found = WORD.findall(text.lower())
        for word in set(found) - self._words.keys():
            self._words[word] = int(self._numbers.integers(1, BITS, dtype=np.uint64))
        words = np.array([self._words[word] for word in found], dtype=np.uint64)
        length = min(NGRAM, len(words))
        total = np.zeros(len(words) - length + 1 if length else 0, dtype=np.uint64)
        for at in range(length):
            total = total * np.uint64(BASE) + words[at : at + len(total)]
        return np.unique(total + np.uint64(length))

    def jaccard(self, a: int, b: int) -> float:
        """Similarity of two texts; two without words are equal."""
        if self._texts[a] == self._texts[b]:
            return 1.0
        one, other = self.of(a), self.of(b)
        shared = len(np.intersect1d(one, other, assume_unique=True))
        whole = len(one) + len(other) - shared
        return shared / whole if whole else 1.0

    def of_pairs(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Similarities of many pairs."""
        pairs = zip(a.tolist(), b.tolist(), strict=True)
        return np.array([self.jaccard(*pair) for pair in pairs], dtype=np.float64)

    def all_pairs(self, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pairs a < b with a similarity of at least `floor`, and their similarities."""
        sets = [self.of(row) for row in range(len(self._texts))]
        sizes = np.array([len(each) for each in sets])
        rows = np.repeat(np.arange(len(sets)), sizes)
        table = pl.DataFrame({"row": rows.astype(np.int32), "shingle": np.concatenate(sets)})
        table = table.filter(pl.len().over("shingle") > 1)
        found = []
        for first in range(0, len(sets), BLOCK):
            block = table.filter(pl.col("row").is_between(first, first + BLOCK - 1))
            shared = block.join(table, on="shingle", suffix="_b").filter(pl.col("row") < pl.col("row_b"))
            counts = shared.group_by("row", "row_b").agg(pl.len()).to_numpy().astype(np.int64)
            whole = sizes[counts[:, 0]] + sizes[counts[:, 1]] - counts[:, 2]
            similarity = counts[:, 2] / whole
            found.append(np.column_stack([counts[:, :2], similarity])[similarity >= floor])
        pairs = np.concatenate(found)
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        return pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64), pairs[:, 2]
