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
    """A budget whose cut is not known yet: it lies among rows of `pool` whose leading bits are `prefix`."""

    place: int
    pool: int
    remaining: int
    num_docs: int = 0
    num_tokens: int = 0
    prefix: int = 0
    bin_docs: int = 0
    bin_tokens: int = 0

    @property
    def at(self) -> tuple[int, int]:
        """Where its cut is looked for; several budgets of a pool may look in one place."""
        return self.pool, self.prefix


def find_cuts(
    chunks: Callable[[], Iterable[Candidates]],
    budgets: Sequence[int | None],
    supplies: Sequence[tuple[int, int]],
    *,
    pools: Sequence[int] | None = None,
    with_ties: bool = False,
    max_rows: int = 1 << 20,
) -> list[Cut]:
    """Find the cut of each budget.

    Args:
        chunks: Gives all candidates anew on each call; chunks and their order do not matter.
        budgets: Tokens; None, and a budget not below the supply, take everything.
        supplies: Documents and tokens of each pool.
        pools: The pool of each budget; None is one for each pool, in order.
        with_ties: Take all documents with the key of the last one, instead of those with the least ordinals.
        max_rows: Candidates that are sorted in memory.
    """
    cuts: dict[int, Cut] = {}
    waiting: list[_Open] = []
    for place, (budget, pool) in enumerate(
        zip(budgets, range(len(supplies)) if pools is None else pools, strict=True)
    ):
        docs, tokens = supplies[pool]
        if budget is None or budget >= tokens:
            cuts[place] = Cut(docs, tokens)
        elif budget <= 0:
            cuts[place] = Cut(0, 0)
        else:
            waiting.append(_Open(place, pool, budget))
    end = KEY_BITS if with_ties else ALL_BITS
    bits, width = 0, 16 if len(waiting) << 16 <= _MAX_BINS else 8
    while waiting and bits < end:
        left = _narrow(chunks(), waiting, bits, width)
        bits += width
        if left <= max_rows:
            break
    if bits == end:
        cuts.update({each.place: _whole_bin(each, with_ties) for each in waiting})
    elif waiting:
        groups = _groups(waiting)
        rows = _gather(chunks(), groups, bits)
        cuts.update({each.place: _cut(each, rows, groups[each.at], with_ties) for each in waiting})
    return [cuts[place] for place in range(len(budgets))]


Groups = dict[tuple[int, int], int]
"""Number of each place that cuts are looked for in: a pool and leading bits."""


def _groups(waiting: Sequence[_Open]) -> Groups:
    return {at: number for number, at in enumerate(dict.fromkeys(each.at for each in waiting))}


def _layers(groups: Groups) -> list[Groups]:
    """The groups in layers that have a pool once."""
    layers: list[Groups] = []
    seen: dict[int, int] = {}
    for at, number in groups.items():
        layer = seen[at[0]] = seen.get(at[0], -1) + 1
        if layer == len(layers):
            layers.append({})
        layers[layer][at] = number
    return layers


def _matching(chunk: Candidates, layer: Groups, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `chunk` that begin with the prefix of their pool, and the number of the group of each."""
    size = max(int(chunk.pools.max(initial=0)), *(pool for pool, _ in layer)) + 1
    index_of = np.full(size, -1, dtype=np.int64)
    index_of[[pool for pool, _ in layer]] = np.arange(len(layer))
    numbers = np.fromiter(layer.values(), np.int64, len(layer))
    index = index_of[chunk.pools]
    matches = index >= 0
    key_bits, rest = min(bits, KEY_BITS), max(bits - KEY_BITS, 0)
    for words, num_bits, shift in (
        (chunk.ranks, key_bits, rest),
        (chunk.ordinals.astype(np.uint64), rest, 0),
    ):
        if num_bits:
            heads = [(prefix >> shift) & ((1 << num_bits) - 1) for _, prefix in layer]
            head = np.array(heads, dtype=np.uint64)[index]
            matches &= words >> np.uint64(64 - num_bits) == head
    rows = np.flatnonzero(matches)
    return rows, numbers[index[rows]]


def _narrow(chunks: Iterable[Candidates], waiting: Sequence[_Open], bits: int, width: int) -> int:
    """Take all bins before the one in which each budget is reached; returns the rows left in those."""
    num_bins = 1 << width
    groups = _groups(waiting)
    layers = _layers(groups)
    tokens = np.zeros(len(groups) * num_bins, dtype=np.int64)
    docs = np.zeros_like(tokens)
    shift, mask = np.uint64(64 - width - bits % KEY_BITS), np.uint64(num_bins - 1)
    for chunk in _sliced(chunks):
        words = chunk.ranks if bits < KEY_BITS else chunk.ordinals.astype(np.uint64)
        for layer in layers:
            rows, number = _matching(chunk, layer, bits)
            bins = (words[rows] >> shift & mask).astype(np.int64) + number * num_bins
            tokens += np.bincount(bins, chunk.tokens[rows], len(tokens)).astype(np.int64)
            docs += np.bincount(bins, minlength=len(docs))
    left: dict[tuple[int, int], int] = {}
    for each in waiting:
        first = groups[each.at] * num_bins
        mine = slice(first, first + num_bins)
        sums = np.cumsum(tokens[mine])
        found = int(np.searchsorted(sums, each.remaining))
        before = int(sums[found]) - int(tokens[mine][found])
        each.num_docs += int(docs[mine][:found].sum())
        each.num_tokens += before
        each.remaining -= before
        each.prefix = each.prefix << width | found
        each.bin_docs, each.bin_tokens = int(docs[mine][found]), int(tokens[mine][found])
        left[each.at] = each.bin_docs
    return sum(left.values())


def _gather(chunks: Iterable[Candidates], groups: Groups, bits: int) -> Candidates:
    """The rows among which the cuts lie, sorted by group, rank and ordinal."""
    parts = []
    for chunk in chunks:
        for layer in _layers(groups):
            rows, number = _matching(chunk, layer, bits)
            parts.append(
                (number, chunk.ranks[rows], chunk.ordinals[rows], chunk.tokens[rows].astype(np.int64))
            )
    number, ranks, ordinals, tokens = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((ordinals, ranks, number))
    return Candidates(number[order], ranks[order], ordinals[order], tokens[order])


def _whole_bin(pool: _Open, with_ties: bool) -> Cut:
    """The cut after the last bin, whose rows differ in no digit: one document, or all that tie."""
    docs, tokens = pool.num_docs + pool.bin_docs, pool.num_tokens + pool.bin_tokens
    if with_ties:
        return Cut(docs, tokens, pool.prefix)
    return Cut(docs, tokens, pool.prefix >> KEY_BITS, pool.prefix & ((1 << KEY_BITS) - 1))


def _cut(pool: _Open, rows: Candidates, number: int, with_ties: bool) -> Cut:
    start, stop = np.searchsorted(rows.pools, [number, number + 1])
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
