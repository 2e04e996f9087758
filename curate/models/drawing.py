"""Which examples are taken: those with the smallest hash of (seed, document id) in each label and stratum.

So neither the order of documents nor how they are cut into shards shows. Two passes: the first finds the ids
with the smallest hashes, the second (gather.py) reads their texts and sees under which labels each occurs.
Memory is what is taken, 24 bytes an id and stratum, whatever the size of the corpus.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import _rust
from curate.errors import ConfigError
from curate.text import INVALID_UTF8, NativeSpec, measure

POOL = -1
"""The number of the label of documents that have none: those of the pool."""

MAX_STRATA = 10_000
"""Values of the column that examples are stratified by."""

Ids = npt.NDArray[np.void]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Documents of one source."""

    texts: pa.Array
    """As large_binary; null where a text could not be read."""
    labels: npt.NDArray[np.int32]
    """Number of the label of each; `POOL` for a document of the pool."""
    strata: list[str]
    sources: list[str]
    num_no_label: int = 0
    """Documents before this batch, or left out of it, that have no label or grade."""


def spare(size: int) -> int:
    """Candidates beyond `size`, for those that turn out to have several labels or no words."""
    return max(100, size // 10)


def doc_ids(texts: pa.Array, *, num_threads: int) -> list[bytes | None]:
    """Ids of documents as the pipeline gives them: 16 bytes of BLAKE3; None for null and broken UTF-8."""
    broken = measure(texts, NativeSpec(), num_threads=num_threads)[INVALID_UTF8].to_pylist()
    return [
        None if text is None or is_broken else bytes.fromhex(_rust.blake3_hex(text))
        for text, is_broken in zip(texts.to_pylist(), broken, strict=True)
    ]


def numbers(ids: list[bytes], *, seed: int, purpose: str) -> npt.NDArray[np.float64]:
    """One number in (0, 1) per id."""
    found = _rust.hash_uniform(pa.array(ids, pa.binary(16)), seed, purpose)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.float64)


class Smallest:
    """The different ids with the smallest numbers, `size` of them at most."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._numbers: list[npt.NDArray[np.float64]] = []
        self._ids: list[Ids] = []
        self._num_held = 0
        self._greatest = np.inf

    def add(self, values: npt.NDArray[np.float64], ids: list[bytes]) -> None:
        """Look at more ids, each with its number."""
        chosen = values <= self._greatest
        if not chosen.any():
            return
        self._numbers.append(values[chosen])
        self._ids.append(np.frombuffer(b"".join(ids), "V16")[chosen])
        self._num_held += int(chosen.sum())
        if self._num_held > 2 * self.size + 1024:
            self._cut()

    def ids(self) -> list[bytes]:
        """The ids, the smallest number first."""
        self._cut()
        return [value.tobytes() for values in self._ids for value in values]

    def _cut(self) -> None:
        if not self._ids:
            return
        ids, first = np.unique(np.concatenate(self._ids), return_index=True)
        values = np.concatenate(self._numbers)[first]
        order = np.argsort(values, kind="stable")[: self.size]
        self._numbers, self._ids, self._num_held = [values[order]], [ids[order]], len(order)
        if len(order) == self.size:
            self._greatest = float(values[order[-1]])


@dataclass(kw_only=True)
class Drawing:
    """The first pass."""

    seed: int
    docs_per_label: int
    pool_docs: int
    num_threads: int = 1
    num_docs: int = 0
    num_unreadable: int = 0
    num_no_label: int = 0
    _cells: dict[tuple[int, str], Smallest] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Look at a batch.

        Raises:
            ConfigError: there are too many strata.
        """
        ids = doc_ids(batch.texts, num_threads=self.num_threads)
        self.num_docs += len(ids)
        self.num_no_label += batch.num_no_label
        rows: dict[tuple[int, str], list[bytes]] = {}
        for label, stratum, doc_id in zip(batch.labels.tolist(), batch.strata, ids, strict=True):
            if doc_id is None:
                self.num_unreadable += 1
            else:
                rows.setdefault((label, "" if label == POOL else stratum), []).append(doc_id)
        for cell, mine in rows.items():
            if cell not in self._cells:
                self._check_strata()
                size = self.pool_docs if cell[0] == POOL else self.docs_per_label
                self._cells[cell] = Smallest(size + spare(size))
            purpose = "train.pool" if cell[0] == POOL else "train"
            self._cells[cell].add(numbers(mine, seed=self.seed, purpose=purpose), mine)

    def _check_strata(self) -> None:
        if len(self._cells) >= MAX_STRATA:
            raise ConfigError(f"stratify has more values, labels together, than it may have: {MAX_STRATA}")

    def candidates(self) -> set[bytes]:
        """All ids that may be taken."""
        return {doc_id for cell in self._cells.values() for doc_id in cell.ids()}


def quotas(available: Mapping[str, int], total: int) -> dict[str, int]:
    """Share `total` among strata, equally as far as each has documents; larger ones have the remainder."""
    left, found = min(total, sum(available.values())), {}
    order = sorted(available, key=lambda stratum: (available[stratum], stratum))
    for index, stratum in enumerate(order):
        found[stratum] = min(available[stratum], left // (len(order) - index))
        left -= found[stratum]
    return found


def label_sizes(available: Mapping[int, int], *, docs_per_label: int, balance: bool) -> dict[int, int]:
    """Documents to take of each label."""
    sizes = {label: min(count, docs_per_label) for label, count in available.items()}
    least = min(sizes.values(), default=0)
    return dict.fromkeys(sizes, least) if balance else sizes


def count_by(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, in the order of the values."""
    found: dict[str, int] = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    return dict(sorted(found.items()))
