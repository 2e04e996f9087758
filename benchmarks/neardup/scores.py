"""What a side is worth against exact similarities.

Recall and the S-curve by bin of similarity; precision of pairs; clusters against those of the graph of all
pairs at or above the threshold (F1 over pairs of documents in one cluster, adjusted Rand index); and what
matters most, documents removed although no document that stays in their cluster is similar.
"""

from dataclasses import dataclass

import numpy as np

from curate.dedup.scurve import Bands
from neardup.exact import Shingles
from neardup.sides import Found

BINS = ((0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.85), (0.85, 0.9), (0.9, 0.95), (0.95, 1.0))
WIDE = ((0.8, 0.9), (0.9, 1.0))
"""Bins of similarity: from the first number on, below the second; the last holds 1."""


@dataclass(frozen=True)
class Truth:
    """All pairs of a set from some similarity on."""

    a: np.ndarray
    b: np.ndarray
    similarity: np.ndarray
    num_docs: int
    floor: float = 0.5

    def keys(self) -> np.ndarray:
        """One number for each pair."""
        return self.a * self.num_docs + self.b

    def components(self, threshold: float) -> np.ndarray:
        """The least document that each is linked to by pairs at or above the threshold."""
        labels = np.arange(self.num_docs)
        chosen = self.similarity >= threshold
        a, b = self.a[chosen], self.b[chosen]
        while True:
            least = np.minimum(labels[a], labels[b])
            before = labels.copy()
            np.minimum.at(labels, a, least)
            np.minimum.at(labels, b, least)
            labels = labels[labels]
            if np.array_equal(labels, before):
                return labels


def in_bin(similarity: np.ndarray, low: float, high: float) -> np.ndarray:
    return (similarity >= low) & ((similarity < high) if high < 1 else (similarity <= 1))


def recall(truth: Truth, found: Found, low: float, high: float) -> tuple[int, int]:
    """Pairs of a bin that were found, and all of them."""
    chosen = in_bin(truth.similarity, low, high)
    keys = found.pairs[:, 0] * truth.num_docs + found.pairs[:, 1]
    return int(np.isin(truth.keys()[chosen], keys).sum()), int(chosen.sum())


def theory(truth: Truth, bands: Bands, low: float, high: float) -> float:
    """Mean probability of the pairs of a bin to become candidates; 0 where there are none."""
    values = truth.similarity[in_bin(truth.similarity, low, high)]
    return float(bands.probability(values).mean()) if len(values) else 0.0


def precision(truth: Truth, found: Found, threshold: float) -> tuple[int, int]:
    """Pairs found that are similar enough, and all that were found."""
    similar = truth.keys()[truth.similarity >= threshold]
    keys = found.pairs[:, 0] * truth.num_docs + found.pairs[:, 1]
    return int(np.isin(keys, similar).sum()), len(keys)


def _num_pairs(sizes: np.ndarray) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def agreement(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """F1 over pairs in one cluster, and adjusted Rand index, of two ways to cluster the same documents."""
    _, one = np.unique(one, return_inverse=True)
    _, other = np.unique(other, return_inverse=True)
    _, both = np.unique(one * (other.max() + 1) + other, return_counts=True)
    shared = _num_pairs(both)
    firsts, seconds = _num_pairs(np.bincount(one)), _num_pairs(np.bincount(other))
    expected = firsts * seconds / max(1, _num_pairs(np.array([len(one)])))
    highest = (firsts + seconds) / 2
    f1 = shared / highest if highest else 1.0
    return f1, (shared - expected) / (highest - expected) if highest != expected else 1.0


@dataclass(frozen=True)
class Merges:
    """Documents that were removed, with the most similar document that stays in their cluster, -1 if none."""

    removed: np.ndarray
    kept: np.ndarray
    similarity: np.ndarray


def merges(found: Found, shingles: Shingles) -> Merges:
    """Look for the best reason of every removal; ties go to the first document."""
    kept_by_cluster: dict[int, list[int]] = {}
    for row in np.flatnonzero(~found.is_removed).tolist():
        kept_by_cluster.setdefault(int(found.clusters[row]), []).append(row)
    removed = np.flatnonzero(found.is_removed)
    kept = np.full(len(removed), -1)
    similarity = np.zeros(len(removed))
    for at, row in enumerate(removed.tolist()):
        for other in kept_by_cluster.get(int(found.clusters[row]), ()):
            if (found_now := shingles.jaccard(row, other)) > similarity[at] or kept[at] < 0:
                kept[at], similarity[at] = other, found_now
    return Merges(removed, kept, similarity)


def num_wrong(found: Merges, threshold: float) -> int:
    """Removed documents without a similar one that stays in their cluster."""
    return int((found.similarity < threshold - 1e-12).sum())


def num_left(truth: Truth, is_removed: np.ndarray, threshold: float) -> int:
    """Pairs of similar documents that both stay."""
    stays = ~is_removed
    return int((stays[truth.a] & stays[truth.b] & (truth.similarity >= threshold)).sum())
