"""A corpus in memory: documents whose tokens say which document they are of."""

import copy
from dataclasses import dataclass
from functools import partial

import numpy as np

from curate.loader.corpus import Corpus
from curate.loader.settings import Constants
from curate.loader.texts import Stats


@dataclass(frozen=True)
class FakePool:
    name: str
    num_docs: int
    num_tokens: int
    num_unique_tokens: int
    num_blocks: int
    num_levels: int
    cap: float | None = None


class FakeIndex:
    """Documents of given lengths by pool; blocks of a few documents."""

    shard_keys = ("fake.parquet",)
    first_repeats = None

    def __init__(self, lengths, repeats=None, *, block_docs=3, caps=None, name="fake", rows=None):
        self._rows = rows
        self.fingerprint = name
        repeats = repeats or {}
        self.pools, self._starts, all_tokens, all_repeats, self._block_docs = (), [], [], [], block_docs
        for pool in sorted(lengths):
            sizes = np.array(lengths[pool], np.uint32)
            times = np.array(repeats.get(pool, [1] * len(sizes)), np.uint16)
            self._starts.append(sum(map(len, all_tokens)))
            all_tokens.append(sizes)
            all_repeats.append(times)
            self.pools += (
                FakePool(
                    pool,
                    len(sizes),
                    int((sizes * times.astype(np.int64)).sum()),
                    int(sizes.sum()),
                    -(-len(sizes) // block_docs),
                    int(times.max(initial=0)),
                    (caps or {}).get(pool),
                ),
            )
        self.tokens = np.concatenate(all_tokens)
        self.repeats = np.concatenate(all_repeats)

    def found_without(self, chain):
        return None

    def without(self, left, chain):
        other = copy.copy(self)
        other.first_repeats = left
        return other

    @property
    def shard(self):
        return np.zeros(len(self.tokens), np.uint32)

    @property
    def row(self):
        return np.arange(len(self.tokens), dtype=np.uint32) if self._rows is None else self._rows

    def block(self, pool, number):
        start = self._starts[pool]
        return start + number * self._block_docs, start + min(
            (number + 1) * self._block_docs, self.pools[pool].num_docs
        )

    def documents(self, pool, numbers):
        return np.concatenate([np.arange(*self.block(pool, int(number))) for number in numbers])

    def pool_of(self, doc):
        return int(np.searchsorted(self._starts, doc, side="right")) - 1


class FakeReader:
    """Token k of document d is (d * 31 + k) modulo 50,000."""

    current = (-1,)

    def __init__(self, index):
        self._index = index
        self.stats = Stats()

    def places(self, docs):
        return None

    def read(self, docs):
        self.stats.add(bytes_read=2 * int(self._index.tokens[docs].sum()))
        self.stats.add(bytes_served=int(self._index.tokens[docs].sum()))
        sizes = self._index.tokens[docs].astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        return np.concatenate([document(doc, size) for doc, size in zip(docs, sizes, strict=True)]), offsets


def document(doc, size):
    return ((doc * 31 + np.arange(size)) % 50_000).astype(np.uint32)


def corpus(index, *, memory_bytes=1 << 26, **constants):
    constants = {"seq_len": 32, "global_batch": 8, "block_steps": 4, **constants}
    return Corpus(index, Constants(**constants), partial(FakeReader, index), memory_bytes, None)
