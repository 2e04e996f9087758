"""Where to cut: the documents with the largest keys until the budget of each pool is reached, out of core.

Documents are taken by descending key, ties by ordinal; the document that reaches the budget is included, so a
pool is over its budget by less than one document. The cut is found digit by digit: a histogram of tokens over
the leading bits of (key, ordinal) says in which bin the budget is reached, and the next pass looks into that
bin only; as soon as what is left fits in memory it is sorted. All arithmetic is on integers, so neither order
nor chunks show.

Cost: two passes over the candidates as a rule, at most nine. Memory: 16 MB of histograms and `max_rows`
candidates.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

KEY_BITS = 64
ALL_BITS = 128
LAST = np.iinfo(np.int64).max

_MAX_BINS = 1 << 20
_SLICE = 1 << 20
"""Rows of one histogram: sums of 32-bit token counts stay exact in doubles."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Documents that may be taken; `ranks` ascend from the best (the order key of the key, inverted)."""

    pools: np.ndarray
    ranks: np.ndarray
    ordinals: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True, slots=True)
class Cut:
    """What a pool takes: all up to and with (`rank`, `ordinal`); where `rank` is None, all or nothing."""

    num_docs: int
    num_tokens: int
    rank: int | None = None
    ordinal: int = LAST


@dataclass(slots=True)
class _Open:
    """A pool whose cut is not known yet: it lies among the rows whose leading bits are `prefix`."""

    pool: int
    remaining: int
    num_docs: int = 0
    num_tokens: int = 0
    prefix: int = 0
    bin_docs: int = 0
    bin_tokens: int = 0


def find_cuts(
    chunks: Callable[[], Iterable[Candidates]],
    budgets: Sequence[int | None],
    supplies: Sequence[tuple[int, int]],
    *,
    with_ties: bool = False,
    max_rows: int = 1 << 20,
) -> list[Cut]:
    """Find the cut of each pool.

    Args:
        chunks: Gives all candidates anew on each call; chunks and their order do not matter.
        budgets: Tokens per pool; None, and a budget not below the supply, take everything.
        supplies: Documents and tokens of each pool.
        with_ties: Take all documents with the key of the last one, instead of those with the least ordinals.
        max_rows: Candidates that are sorted in memory.
    """
    cuts: dict[int, Cut] = {}
    waiting: list[_Open] = []
    for pool, (budget, (docs, tokens)) in enumerate(zip(budgets, supplies, strict=True)):
        if budget is None or budget >= tokens:
            cuts[pool] = Cut(docs, tokens)
        elif budget <= 0:
            cuts[pool] = Cut(0, 0)
        else:
            waiting.append(_Open(pool, budget))
    end = KEY_BITS if with_ties else ALL_BITS
    bits, width = 0, 16 if len(waiting) << 16 <= _MAX_BINS else 8
    while waiting and bits < end:
        left = _narrow(chunks(), waiting, bits, width)
        bits += width
        if left <= max_rows:
            break
    if bits == end:
        cuts.update({pool.pool: _whole_bin(pool, with_ties) for pool in waiting})
    elif waiting:
        rows = _gather(chunks(), waiting, bits)
        cuts.update({pool.pool: _cut(pool, rows, index, with_ties) for index, pool in enumerate(waiting)})
    return [cuts[pool] for pool in range(len(budgets))]


def _matching(chunk: Candidates, waiting: Sequence[_Open], bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `chunk` that begin with the prefix of their pool, and the index of the pool in `waiting`."""
    size = max(int(chunk.pools.max(initial=0)), *(pool.pool for pool in waiting)) + 1
    index_of = np.full(size, -1, dtype=np.int64)
    index_of[[pool.pool for pool in waiting]] = np.arange(len(waiting))
    index = index_of[chunk.pools]
    matches = index >= 0
    key_bits, rest = min(bits, KEY_BITS), max(bits - KEY_BITS, 0)
    for words, num_bits, shift in (
        (chunk.ranks, key_bits, rest),
        (chunk.ordinals.astype(np.uint64), rest, 0),
    ):
        if num_bits:
            heads = [(pool.prefix >> shift) & ((1 << num_bits) - 1) for pool in waiting]
            head = np.array(heads, dtype=np.uint64)[index]
            matches &= words >> np.uint64(64 - num_bits) == head
    rows = np.flatnonzero(matches)
    return rows, index[rows]


def _narrow(chunks: Iterable[Candidates], waiting: Sequence[_Open], bits: int, width: int) -> int:
    """Take all bins before the one in which each budget is reached; returns the rows left in those."""
    num_bins = 1 << width
    tokens = np.zeros(len(waiting) * num_bins, dtype=np.int64)
    docs = np.zeros_like(tokens)
    shift, mask = np.uint64(64 - width - bits % KEY_BITS), np.uint64(num_bins - 1)
    for chunk in _sliced(chunks):
        rows, index = _matching(chunk, waiting, bits)
        words = chunk.ranks if bits < KEY_BITS else chunk.ordinals.astype(np.uint64)
        bins = (words[rows] >> shift & mask).astype(np.int64) + index * num_bins
        tokens += np.bincount(bins, chunk.tokens[rows], len(tokens)).astype(np.int64)
        docs += np.bincount(bins, minlength=len(docs))
    left = 0
    for place, pool in enumerate(waiting):
        mine = slice(place * num_bins, (place + 1) * num_bins)
        sums = np.cumsum(tokens[mine])
        found = int(np.searchsorted(sums, pool.remaining))
        before = int(sums[found]) - int(tokens[mine][found])
        pool.num_docs += int(docs[mine][:found].sum())
        pool.num_tokens += before
        pool.remaining -= before
        pool.prefix = pool.prefix << width | found
        pool.bin_docs, pool.bin_tokens = int(docs[mine][found]), int(tokens[mine][found])
        left += pool.bin_docs
    return left


def _gather(chunks: Iterable[Candidates], waiting: Sequence[_Open], bits: int) -> Candidates:
    """The rows among which the cuts lie, sorted by index in `waiting`, rank and ordinal."""
    parts = []
    for chunk in chunks:
        rows, index = _matching(chunk, waiting, bits)
        parts.append((index, chunk.ranks[rows], chunk.ordinals[rows], chunk.tokens[rows].astype(np.int64)))
    index, ranks, ordinals, tokens = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((ordinals, ranks, index))
    return Candidates(index[order], ranks[order], ordinals[order], tokens[order])


def _whole_bin(pool: _Open, with_ties: bool) -> Cut:
    """The cut after the last bin, whose rows differ in no digit: one document, or all that tie."""
    docs, tokens = pool.num_docs + pool.bin_docs, pool.num_tokens + pool.bin_tokens
    if with_ties:
        return Cut(docs, tokens, pool.prefix)
    return Cut(docs, tokens, pool.prefix >> KEY_BITS, pool.prefix & ((1 << KEY_BITS) - 1))


def _cut(pool: _Open, rows: Candidates, index: int, with_ties: bool) -> Cut:
    start, stop = np.searchsorted(rows.pools, [index, index + 1])
    ranks, tokens = rows.ranks[start:stop], rows.tokens[start:stop]
    last = int(np.searchsorted(np.cumsum(tokens), pool.remaining))
    ordinal = int(rows.ordinals[start + last])
    if with_ties:
        last, ordinal = int(np.searchsorted(ranks, ranks[last], side="right")) - 1, int(LAST)
    return Cut(
        num_docs=pool.num_docs + last + 1,
        num_tokens=pool.num_tokens + int(tokens[: last + 1].sum()),
        rank=int(ranks[last]),
        ordinal=ordinal,
    )


def _sliced(chunks: Iterable[Candidates]) -> Iterable[Candidates]:
    for chunk in chunks:
        for first in range(0, len(chunk.pools), _SLICE):
            part = slice(first, first + _SLICE)
            yield Candidates(chunk.pools[part], chunk.ranks[part], chunk.ordinals[part], chunk.tokens[part])


def taken(cuts: Sequence[Cut], pools: np.ndarray, ranks: np.ndarray, ordinals: np.ndarray) -> np.ndarray:
    """Say which candidates the cuts take."""
    last = np.array([cut.rank or 0 for cut in cuts], dtype=np.uint64)[pools]
    ordinal = np.array([cut.ordinal for cut in cuts], dtype=np.int64)[pools]
    everything = np.array([cut.rank is None and cut.num_docs > 0 for cut in cuts], dtype=bool)[pools]
    some = np.array([cut.rank is not None for cut in cuts], dtype=bool)[pools]
    before = (ranks < last) | ((ranks == last) & (ordinals <= ordinal))
    return everything | (some & before)  # type: ignore[no-any-return]
