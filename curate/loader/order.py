"""The order of documents as a pure function: nothing is stored, nothing is drawn.

The blocks of a pool are permuted anew in every pass over it, by a Feistel network over their numbers (Black
and Rogaway 2002: cycle walking), so a permutation of any size needs no memory. All passes one after another
are one endless sequence of blocks; a lane owns every L-th of it, so lanes never share a document. If it has
an end, its remainder is dealt by documents (dealing.py), so lanes are done with a pool at about the same
time, however small it is. Some consecutive blocks of a lane are a window, in which documents are sorted by a
hash. A pass serves the documents that are repeated more often than there were passes before it in the epoch,
so copies of a document lie far apart.

Cost: about 50 us for a window of a thousand documents. Not here: tokens, weights, which pool is next.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from curate.loader.dealing import deal
from curate.loader.index import Index
from curate.loader.settings import Constants

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

SMALL_PASS = 1 << 14
"""Blocks of a pass whose permutation is kept: it serves all lanes of a process."""
BLOCKS_AT_ONCE = 1 << 16
"""Blocks that are looked at together."""
_ROUNDS = 6
_MASK = (1 << 64) - 1


def mix(value: Words) -> Words:
    """Scramble 64-bit words: the finaliser of splitmix64, a bijection."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def key(seed: int, *parts: int) -> int:
    """Hash a seed and numbers to one 64-bit number; `mix` of single numbers."""
    state = seed & _MASK
    for part in parts:
        state = ((state + 0x9E3779B97F4A7C15) ^ part) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def permute(positions: npt.NDArray[np.integer], size: int, seed: int) -> Ints:
    """Where the numbers `positions`, all below `size`, are in the permutation that `seed` names."""
    bits = max(2, (size - 1).bit_length())
    low_bits = np.uint64(bits - bits // 2)
    low_mask, high_mask = np.uint64((1 << int(low_bits)) - 1), np.uint64((1 << bits // 2) - 1)
    words = [np.uint64(key(seed, number)) for number in range(_ROUNDS)]
    values = positions.astype(np.uint64)
    pending = np.arange(len(values))
    while len(pending):
        high, low = values[pending] >> low_bits, values[pending] & low_mask
        for first, second in zip(words[::2], words[1::2], strict=True):
            high ^= mix(low + first) & high_mask
            low ^= mix(high + second) & low_mask
        values[pending] = (high << low_bits) | low
        pending = pending[values[pending] >= np.uint64(size)]
    return values.astype(np.int64)


@lru_cache(maxsize=256)
def _permutation(size: int, seed: int) -> Ints:
    """A whole permutation."""
    return permute(np.arange(size), size, seed)


def stratified(num_lanes: int, seed: int) -> npt.NDArray[np.float64]:
    """One number in (0, 1) a lane, one in each of `num_lanes` equal parts, in seeded order."""
    places = permute(np.arange(num_lanes), num_lanes, key(seed, 1))
    within = mix(np.arange(num_lanes, dtype=np.uint64) + np.uint64(key(seed, 2)))
    return (places + (within >> np.uint64(11)).astype(np.float64) * 2.0**-53) / num_lanes


@dataclass(frozen=True)
class Levels:
    """Passes of an epoch: pass k goes over the blocks that have a document repeated more than k times."""

    starts: Ints
    """Where each pass begins in the epoch, in blocks, and the end of the last."""
    blocks: Ints | None
    """Blocks by falling number of repeats, of which a pass has the first ones; None where all are alike."""

    @property
    def num_blocks(self) -> int:
        """Blocks of an epoch."""
        return int(self.starts[-1])


def levels(index: Index, pool: int) -> Levels:
    """The passes of a pool's epoch; reads the repeats of all its documents where they differ."""
    facts = index.pools[pool]
    if facts.num_levels <= 1:
        return Levels(np.array([0, facts.num_blocks if facts.num_levels else 0]), None)
    starts = np.array([index.block(pool, number)[0] for number in range(facts.num_blocks)])
    stop = index.block(pool, facts.num_blocks - 1)[1]
    most = np.maximum.reduceat(index.repeats[starts[0] : stop], starts - starts[0]).astype(np.int64)
    sizes = len(most) - np.searchsorted(np.sort(most), np.arange(facts.num_levels), side="right")
    return Levels(np.concatenate([[0], np.cumsum(sizes)]), np.argsort(-most, kind="stable"))


Part = tuple[int, int, Ints]
"""An epoch, a pass of it, and places in the order of that pass."""


@dataclass(frozen=True)
class Remainder:
    """The documents of a pool that are dealt one by one: by lane, then pass, then as they come."""

    docs: Ints
    epochs: Ints
    passes: Ints
    """The pass of each, counted over all epochs."""
    starts: Ints
    """Where the documents of each place in the round of lanes begin, and the end of the last."""


@dataclass(frozen=True)
class PoolOrder:
    """The order of one pool's documents, for all lanes."""

    index: Index
    pool: int
    num_lanes: int
    seed: int
    shuffled: bool
    window_blocks: int
    rotation: int
    """Place of lane 0 in the round of lanes that share the blocks."""
    levels: Levels
    end: int | None
    """Blocks of all epochs that may be served; None is no end."""

    def place(self, lanes: Ints | int) -> Ints:
        """Where lanes stand in the round of lanes that share the blocks."""
        return np.asarray((lanes + self.rotation) % self.num_lanes)

    def is_empty(self, lanes: Ints) -> npt.NDArray[np.bool_]:
        """Whether lanes have no document at all."""
        if self.end is None or self.head_windows:
            return np.zeros(len(lanes), np.bool_)
        return np.asarray(np.diff(self.remainder.starts)[self.place(lanes)] == 0)

    @cached_property
    def head_windows(self) -> int | None:
        """Windows of a lane that are of whole blocks, the others are of the remainder; None is no end."""
        if self.end is None:
            return None
        rounds = self.end // self.num_lanes
        return max(0, rounds - 2 - math.isqrt(rounds)) // self.window_blocks

    @cached_property
    def remainder(self) -> Remainder:
        """What is dealt by documents, of a pool that has an end."""
        assert self.end is not None and self.head_windows is not None
        first = self.head_windows * self.window_blocks * self.num_lanes
        parts = self.parts(np.arange(first, self.end)) if first < self.end else []
        if not self.shuffled:  # a curriculum goes on over all lanes alike
            parts = [(*part[:2], some) for part in parts for some in _rounds(part[2], self.num_lanes)]
        sections = [self.documents(part) for part in parts]
        owners = deal([self.index.tokens[docs].astype(np.int64) for docs in sections], self._head_loads())
        who, docs = (np.concatenate([np.zeros(0, np.int64), *arrays]) for arrays in (owners, sections))
        sizes = [len(docs) for docs in sections]
        epochs = np.repeat(np.array([part[0] for part in parts], np.int64), sizes)
        which = np.repeat(np.array([part[1] for part in parts], np.int64), sizes)
        order = np.argsort(who, kind="stable")
        return Remainder(
            docs=docs[order],
            epochs=epochs[order],
            passes=(epochs * len(self.levels.starts) + which)[order],
            starts=np.searchsorted(who[order], np.arange(self.num_lanes + 1)),
        )

    def _head_loads(self) -> Ints:
        """Tokens of each place's whole blocks."""
        assert self.head_windows is not None
        loads, rounds = np.zeros(self.num_lanes, np.int64), self.head_windows * self.window_blocks
        for place in range(self.num_lanes if rounds else 0):
            for start in range(0, rounds, BLOCKS_AT_ONCE):
                blocks = np.arange(start, min(start + BLOCKS_AT_ONCE, rounds)) * self.num_lanes + place
                for part in self.parts(blocks):
                    loads[place] += int(self.index.tokens[self.documents(part)].sum(dtype=np.int64))
        return loads

    def window(self, lane: int, number: int) -> Ints | None:
        """Documents (positions in the index) of a window as they are served; None past the end."""
        if self.head_windows is not None and number >= self.head_windows:
            places = self._remainder_at(lane, number)
            return None if places is None else self.remainder.docs[places]
        return np.concatenate([self._sorted(part) for part in self._window_parts(lane, number)])

    def window_epochs(self, lane: int, number: int) -> Ints:
        """The epoch that each document of a window is served in."""
        if self.head_windows is not None and number >= self.head_windows:
            places = self._remainder_at(lane, number)
            return np.zeros(0, np.int64) if places is None else self.remainder.epochs[places]
        parts = self._window_parts(lane, number)
        return np.concatenate([np.full(len(self._sorted(part)), part[0]) for part in parts])

    def _remainder_at(self, lane: int, number: int) -> Ints | None:
        """Places in the remainder of a window as they are served; None past the end."""
        assert self.head_windows is not None and self.end is not None
        place, number = int(self.place(lane)), number - self.head_windows
        start, stop = self.remainder.starts[place : place + 2].tolist()
        rounds = -(-self.end // self.num_lanes) - self.head_windows * self.window_blocks
        num_windows = min(stop - start, -(-rounds // self.window_blocks))
        if number >= num_windows:
            return None
        cuts = [start + (stop - start) * (number + side) // num_windows for side in (0, 1)]
        places = np.arange(*cuts)
        if not self.shuffled:
            return places
        docs, passes = self.remainder.docs[places], self.remainder.passes[places]
        order = np.lexsort([mix(docs.astype(np.uint64) + np.uint64(key(self.seed, number, 5))), passes])
        return places[order]

    def documents(self, part: Part) -> Ints:
        """Documents that a part serves, block by block."""
        epoch, level, places = part
        blocks = places
        if self.shuffled:
            size = int(self.levels.starts[level + 1] - self.levels.starts[level])
            seed = key(self.seed, epoch, level)
            blocks = permute(places, size, seed) if size > SMALL_PASS else _permutation(size, seed)[places]
        if self.levels.blocks is not None:
            blocks = self.levels.blocks[blocks]
        docs = self.index.documents(self.pool, blocks)
        first = self.index.first_repeats if epoch == 0 else None
        if self.levels.blocks is None and first is None:
            return docs
        repeats = self.index.repeats if first is None else first
        return docs[repeats[docs] > level]

    def parts(self, blocks: Ints) -> list[Part]:
        """Cut rising numbers of blocks, counted over all epochs, where a pass ends."""
        epochs, places = np.divmod(blocks, self.levels.num_blocks)
        which = np.searchsorted(self.levels.starts, places, side="right") - 1
        passes = epochs * len(self.levels.starts) + which
        cuts = [0, *(np.flatnonzero(np.diff(passes)) + 1).tolist(), len(blocks)]
        return [
            (int(epochs[start]), int(which[start]), places[start:stop] - self.levels.starts[which[start]])
            for start, stop in pairwise(cuts)
        ]

    def _window_parts(self, lane: int, number: int) -> list[Part]:
        """Parts of a window of whole blocks."""
        step = self.num_lanes
        first = number * self.window_blocks * step + int(self.place(lane))
        return self.parts(np.arange(first, first + self.window_blocks * step, step))

    def _sorted(self, part: Part) -> Ints:
        """Documents of a part as they are served."""
        docs = self.documents(part)
        if not self.shuffled:
            return docs
        seed = np.uint64(key(self.seed, part[0], part[1], 3))
        return docs[np.argsort(mix(docs.astype(np.uint64) + seed), kind="stable")]


def _rounds(places: Ints, num_lanes: int) -> list[Ints]:
    """Blocks in rounds of lanes."""
    return np.split(places, np.arange(num_lanes, len(places), num_lanes))


def pool_order(index: Index, constants: Constants, pool: int) -> PoolOrder:
    """The order of the documents of a pool."""
    facts = index.pools[pool]
    seed = key(constants.seed, 0x0BDE5, pool)
    block_tokens = max(1, facts.num_unique_tokens // max(facts.num_blocks, 1))
    most = max(1, -(-facts.num_blocks // constants.num_lanes))
    table = levels(index, pool)
    epochs = max_epochs(index, constants, pool)
    end = None if math.isinf(epochs) else math.floor(epochs * table.num_blocks)
    return PoolOrder(
        index=index,
        pool=pool,
        num_lanes=constants.num_lanes,
        seed=seed,
        shuffled=constants.order == "shuffle",
        window_blocks=min(max(1, constants.window_tokens // block_tokens), most),
        rotation=key(seed, 4) % constants.num_lanes,
        levels=table,
        end=end if table.num_blocks else 0,
    )


def max_epochs(index: Index, constants: Constants, pool: int) -> float:
    """How often the plan's documents of a pool may be served, repeats included in one epoch."""
    facts = index.pools[pool]
    if facts.cap is None or facts.num_tokens == 0:
        return constants.epochs
    return min(constants.epochs, facts.cap * facts.num_unique_tokens / facts.num_tokens)
