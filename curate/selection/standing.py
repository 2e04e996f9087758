"""Where every document stands in a sorted list of all: what comes before it, out of core.

Rows are set aside as they come, with a sample of their keys. The sample cuts the keys into ranges that fit in
memory; each range is sorted by (key, ordinal), and the amounts before each row are added up, over all rows of
its pool. What comes out is read back by ordinals. It is exact: neither the sample nor the memory shows.

Cost: 24 bytes of scratch a row, written twice and read twice, and 16 bytes of result. Memory: about
`memory_bytes`. Not here: what is sorted by what (curriculum.py, mix.py).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.files import naming_errors

Ints = npt.NDArray[np.int64]

_ROWS = np.dtype([("rank", "<u8"), ("ordinal", "<i8"), ("pool", "<u4"), ("amount", "<u4")])
_FOUND = np.dtype([("ordinal", "<i8"), ("before", "<i8")])
_GRANULE = 1 << 16
"""Ordinals between two entries of the index of a sorted file."""
_MAX_SAMPLE = 1 << 19
_BYTES_PER_ROW = 120
"""What sorting a row in memory takes, about."""


class Standing:
    """Sorts rows by rank, ties by ordinal: feed all rows, then `finish`."""

    def __init__(self, scratch: Path, name: str, *, memory_bytes: int) -> None:
        self._stem = scratch / name
        scratch.mkdir(parents=True, exist_ok=True)
        self._raw = self._stem.with_suffix(".raw")
        self._file = self._raw.open("wb")
        self._max_rows = max(1, memory_bytes // _BYTES_PER_ROW)
        self._num_rows = 0
        self._every = 1
        self._sample: list[npt.NDArray[Any]] = []
        self._num_sampled = 0
        self._runs: list[tuple[Path, Ints]] = []
        self.totals = np.zeros(0, np.int64)
        """Amounts of each pool in all, after `finish`."""

    def add(
        self,
        ordinals: Ints,
        ranks: npt.NDArray[np.uint64],
        *,
        pools: npt.NDArray[np.integer] | None = None,
        amounts: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """Set rows aside; without `pools` there is one, without `amounts` each row counts 1."""
        rows = np.empty(len(ordinals), _ROWS)
        rows["rank"], rows["ordinal"] = ranks, ordinals
        rows["pool"] = 0 if pools is None else pools
        rows["amount"] = 1 if amounts is None else amounts
        with naming_errors(self._raw):
            rows.tofile(self._file)
        first = -self._num_rows % self._every
        self._sample.append(rows[first :: self._every][["rank", "ordinal"]].copy())
        self._num_sampled += len(self._sample[-1])
        self._num_rows += len(rows)
        while self._num_sampled > _MAX_SAMPLE:
            self._sample = [np.concatenate(self._sample)[::2].copy()]
            self._num_sampled, self._every = len(self._sample[0]), 2 * self._every

    def finish(self) -> None:
        """Sort."""
        self._file.close()
        num_parts = -(-self._num_rows // self._max_rows)
        paths = [self._raw] if num_parts <= 1 else self._scatter(num_parts)
        self._sample = []
        for number, path in enumerate(paths):
            rows = np.fromfile(path, _ROWS)
            path.unlink()
            self._sort(rows, number)
            del rows

    def _scatter(self, num_parts: int) -> list[Path]:
        """Cut the rows into ranges of keys, a file each; the raw file goes."""
        sample = np.sort(np.concatenate(self._sample), order=("rank", "ordinal"))
        bounds = sample[np.arange(1, num_parts) * len(sample) // num_parts]
        paths = [self._stem.with_suffix(f".part-{number}") for number in range(num_parts)]
        files = [path.open("wb") for path in paths]
        try:
            for rows in self._blocks():
                part = _part_of(rows, bounds)
                order = np.argsort(part.astype(np.uint16), kind="stable")
                ends = np.cumsum(np.bincount(part, minlength=num_parts))
                rows = rows[order]
                for number, file in enumerate(files):
                    start = int(ends[number - 1]) if number else 0
                    with naming_errors(paths[number]):
                        rows[start : int(ends[number])].tofile(file)
        finally:
            for file in files:
                file.close()
        self._raw.unlink()
        return paths

    def _blocks(self) -> Iterator[npt.NDArray[Any]]:
        with self._raw.open("rb") as file:
            while len(rows := np.fromfile(file, _ROWS, min(self._max_rows, 1 << 20))):
                yield rows

    def _sort(self, rows: npt.NDArray[Any], number: int) -> None:
        """Add up a range of keys, after those before it, and write the sums by ordinal."""
        if (rows["ordinal"][1:] < rows["ordinal"][:-1]).any():
            rows = rows[np.argsort(rows["ordinal"], kind="stable")]
        order = np.argsort(rows["rank"], kind="stable")
        pools = rows["pool"][order]
        missing = int(pools.max(initial=0)) + 1 - len(self.totals)
        self.totals = np.pad(self.totals, (0, max(missing, 0)))
        if len(self.totals) > 1:
            by_pool = np.argsort(pools, kind="stable")
            order, pools = order[by_pool], pools[by_pool]
        amounts = rows["amount"][order].astype(np.int64)
        sums = np.cumsum(amounts) - amounts
        counts = np.bincount(pools, minlength=len(self.totals))
        starts = np.cumsum(counts) - counts
        has = np.flatnonzero(counts)
        shift = np.zeros(len(self.totals), np.int64)
        shift[has] = self.totals[has] - sums[starts[has]]
        found = np.empty(len(rows), _FOUND)
        found["ordinal"] = rows["ordinal"]
        found["before"][order] = sums + shift[pools]
        np.add.at(self.totals, has, np.add.reduceat(amounts, starts[has]) if len(has) else 0)
        path = self._stem.with_suffix(f".run-{number}")
        with naming_errors(path):
            found.tofile(path)
        last = int(found["ordinal"][-1]) if len(found) else -1
        index = np.searchsorted(found["ordinal"], np.arange(0, last + 2 * _GRANULE, _GRANULE))
        self._runs.append((path, index.astype(np.int64)))

    def read(self, first: int, num_rows: int) -> Ints:
        """Amounts before the documents `first` to `first + num_rows`; -1 for those that were not added."""
        out = np.full(num_rows, -1, np.int64)
        low, high = first // _GRANULE, -(-(first + num_rows) // _GRANULE)
        for path, index in self._runs:
            start, stop = (int(index[min(place, len(index) - 1)]) for place in (low, high))
            if stop > start:
                rows = np.fromfile(path, _FOUND, stop - start, offset=start * _FOUND.itemsize)
                places = rows["ordinal"] - first
                inside = (places >= 0) & (places < num_rows)
                out[places[inside]] = rows["before"][inside]
        return out

    def close(self) -> None:
        """Remove the files."""
        self._file.close()
        for path in self._stem.parent.glob(f"{self._stem.name}.*"):
            path.unlink()
        self._runs = []


def _part_of(rows: npt.NDArray[Any], bounds: npt.NDArray[Any]) -> Ints:
    """How many bounds are not after each row, by (rank, ordinal)."""
    part = np.searchsorted(bounds["rank"], rows["rank"], side="right")
    first = np.searchsorted(bounds["rank"], rows["rank"], side="left")
    tied = np.flatnonzero(part > first)
    for start in np.unique(first[tied]).tolist():
        mine = tied[first[tied] == start]
        stop = int(part[mine[0]])
        inner = np.searchsorted(bounds["ordinal"][start:stop], rows["ordinal"][mine], side="right")
        part[mine] = start + inner
    return np.asarray(part, np.int64)
