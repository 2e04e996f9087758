"""Planned documents by number, for libraries that choose their order themselves: Grain, a map-style data set.

    documents = open_documents("runs/web", tokenizer="tokenizer.json")
    documents[7]        # {"tokens": ..., "source_id": 2, "document": 7, "copy": 0}

A document that the plan repeats is there as often, its copies one after another; pools follow one another by
name, and documents as their tables have them. The same plan gives the same numbers in every process.

Cost: 24 bytes a block of documents in memory. A document by itself costs a row group that is decoded (6 ms
at 1,000 rows), and fetched where it is remote: let what shuffles keep neighbours together where it can, and
give it memory for blocks (`Access.memory_bytes`). Not here: packing, weights and states, which are those of
the library; the loader itself reads block by block (stream.py).
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from curate.errors import ConfigError
from curate.loader.corpus import Corpus
from curate.loader.opening import Access, open_corpus
from curate.loader.settings import BLOCK_TOKENS, Constants
from curate.loader.state import Ints
from curate.loader.tokenizer import Tokenizer

Document = dict[str, Any]
"""`tokens` (uint32), `source_id` (number of the pool), `document` (position in the index), `copy`."""


def open_documents(
    what: Any,
    *,
    tokenizer: str | Path | Tokenizer | None = None,
    pool: str | None = None,
    block_tokens: int = BLOCK_TOKENS,
    access: Access | None = None,
) -> "Documents":
    """Open planned documents by number; torch is not needed.

    Args:
        what: what `curate.loader.open` takes.
        tokenizer: makes tokens of texts; None is the plan's own.
        pool: the only pool wanted, for a library that mixes pools itself; None is all of them.
        block_tokens: tokens of what is read together, about.
        access: how documents are read.

    Raises:
        ConfigError: a setting is wrong, or there is no such pool.
        DataError: a shard or the tokenizer is not what the plan says.
    """
    constants = Constants(seq_len=1, global_batch=1, block_tokens=block_tokens)
    return Documents(
        open_corpus(what, tokenizer=tokenizer, constants=constants, access=access or Access()), pool=pool
    )


class Documents:
    """A sequence of documents; picklable, and read by any number of threads and processes."""

    def __init__(self, corpus: Corpus, *, pool: str | None = None) -> None:
        """Take the documents of a corpus, as `data.corpus` is one.

        Raises:
            ConfigError: there is no such pool.
        """
        if pool is not None and pool not in corpus.names:
            raise ConfigError(f"there is no pool {pool}; there are: {', '.join(corpus.names)}")
        self._index, self._reader, self._pool = corpus.index, corpus.reader(), pool
        self._pools = [corpus.names.index(pool)] if pool is not None else list(range(len(corpus.names)))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_blocks"}

    def __repr__(self) -> str:
        """Name the plan, as Grain's checkpoints compare it."""
        return f"Documents(plan={self._index.fingerprint!r}, pool={self._pool!r})"

    @cached_property
    def _blocks(self) -> tuple[Ints, Ints, Ints]:
        """First document and pool of each block, and how many copies are before it; the end is last."""
        index, starts, pools, copies = self._index, [], [], []
        for pool in self._pools:
            for number in range(index.pools[pool].num_blocks):
                start, stop = index.block(pool, number)
                starts.append(start)
                pools.append(pool)
                copies.append(int(index.repeats[start:stop].sum(dtype=np.int64)))
        return np.array(starts, np.int64), np.array(pools, np.int64), np.cumsum([0, *copies], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._blocks[2][-1])

    def __getitem__(self, number: SupportsIndex) -> Document:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[SupportsIndex]) -> list[Document]:
        """Several documents, which cost less together where they lie together.

        Raises:
            IndexError: there is no such document.
        """
        found = [self._find(number.__index__()) for number in numbers]
        ids, offsets = self._reader.read(np.array([document for document, _, _ in found], np.int64))
        return [
            {"tokens": ids[start:stop].copy(), "source_id": pool, "document": document, "copy": copy}
            for (document, pool, copy), start, stop in zip(found, offsets[:-1], offsets[1:], strict=True)
        ]

    def _find(self, number: int) -> tuple[int, int, int]:
        """Position of a document in the index, its pool, and which of its copies it is."""
        starts, pools, before = self._blocks
        size = int(before[-1])
        if not -size <= number < size:
            raise IndexError(f"there are {size} documents: {number}")
        number %= size
        block = int(np.searchsorted(before, number, side="right")) - 1
        start, pool = int(starts[block]), int(pools[block])
        within = number - int(before[block])
        stop = start + self._block_size(block, pool)
        totals = np.cumsum(self._index.repeats[start:stop], dtype=np.int64)
        place = int(np.searchsorted(totals, within, side="right"))
        copy = within - (int(totals[place - 1]) if place else 0)
        return start + place, pool, copy

    def _block_size(self, block: int, pool: int) -> int:
        first = int(np.searchsorted(self._blocks[1], pool))
        start, stop = self._index.block(pool, block - first)
        return stop - start
