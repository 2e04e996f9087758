"""Documents to be served, as tables on disk: by pool, then by block.

A block is what is read together: consecutive documents of one pool and one row group, of at most
`block_tokens` planned tokens, or one larger document; what is left of a row group joins its last block as
long as that stays below one and a half times as many, so that a row group of about a block is one. In small
pools blocks are smaller, so that a pool has eight for each lane where it has the documents. Tables are mapped
into memory: opening an index costs nothing, and the processes of a machine share it. The format is in
docs/formats.md.

Cost: 14 bytes a document, 8 more and its edits where texts are edited, 30 bytes a row group. Not here: how an
index is built (building.py), how documents are read (reading.py).
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import DataError, StateError
from curate.files import atomic_file, read_json
from curate.schema import fingerprint
from curate.shards.chunks import CHUNKS, Chunks

FORMAT = 3
"""In every fingerprint of an index: it also stands for the order in which documents are served."""
HEADER = "index.json"

DTYPES: dict[str, npt.DTypeLike] = {
    "shard": "<u4",
    "row": "<u4",
    "tokens": "<u4",
    "repeats": "<u2",
    "token_starts": "<u8",
    "span_starts": "<i8",
    "spans": "<u4",
    "block_starts": "<i8",
    "groups": CHUNKS,
    "group_rows": "<u4",
    "group_block_starts": "<i8",
    "group_blocks": "<u8",
}
"""Tables of an index: `<name>.bin`, without a header; which of them there are is in `index.json`."""


@dataclass(frozen=True)
class Pool:
    """A pool and what the plan wants of it."""

    name: str
    num_docs: int
    num_tokens: int
    """Of one epoch: tokens times repeats."""
    num_unique_tokens: int
    num_blocks: int
    num_groups: int
    """Row groups in which its blocks begin. Blocks of one have consecutive numbers: who reads about
    `num_blocks / num_groups` blocks soon after each other reads it once."""
    num_levels: int
    """How often the document that is repeated most is served in an epoch; 0 without documents."""
    cap: float | None
    """How often a token may be served at most, on average; None is no cap."""


@dataclass(frozen=True)
class IndexShard:
    """A shard as it was when the index was built."""

    key: str
    uri: str
    format: str
    size_bytes: int
    fingerprint: str
    num_groups: int
    dtype: str | None
    """Of a file of tokens: how a token is stored."""


@dataclass(eq=False)
class Index:
    """An index on disk; it is pickled by its path."""

    path: Path
    storage_options: dict[str, str] = field(default_factory=dict)
    """How to reach remote shards; not kept on disk."""
    left: str | None = None
    """File of the index's folder with what is left to serve in the first epoch; None is everything."""

    def __post_init__(self) -> None:
        """Read the header.

        Raises:
            StateError: the index is of another format.
            FileNotFoundError: there is none.
        """
        header = read_json(self.path / HEADER)
        if header.get("format") != FORMAT:
            raise StateError(
                f"{self.path} has index format {header.get('format')}, this version reads format {FORMAT}",
                hint="delete it: it is built anew",
            )
        self._header: dict[str, Any] = header
        try:
            self.fingerprint: str = header["fingerprint"]
            """Of what was opened; what is left does not change it."""
            self.pools = tuple(Pool(**pool) for pool in header["pools"])
            self.shards = tuple(IndexShard(**shard) for shard in header["shards"])
            self.text: str = header["text"]
            self.max_line_bytes: int = header["max_line_bytes"]
        except (KeyError, TypeError) as exc:
            raise StateError(
                f"{self.path / HEADER} is damaged: {exc}", hint="delete the index: it is built anew"
            ) from exc
        self.first_block = np.concatenate([[0], np.cumsum([pool.num_blocks for pool in self.pools])])
        self.first_group = np.concatenate([[0], np.cumsum([shard.num_groups for shard in self.shards])])

    def __getstate__(self) -> tuple[Path, dict[str, str], str | None]:
        return self.path, self.storage_options, self.left

    def __setstate__(self, state: tuple[Path, dict[str, str], str | None]) -> None:
        self.path, self.storage_options, self.left = state
        self.__post_init__()

    def without(self, left: npt.NDArray[np.uint16], served: str) -> "Index":
        """The same documents, of which the first epoch serves only what is left.

        Args:
            left: how often each document is served in the first epoch.
            served: fingerprint of what was served before.
        """
        with atomic_file(self.path / self._left_name(served)) as file:
            file.write(np.ascontiguousarray(left, DTYPES["repeats"]).tobytes())
        return Index(self.path, self.storage_options, self._left_name(served))

    def found_without(self, served: str) -> "Index | None":
        """What `without` made before of the same fingerprint."""
        name = self._left_name(served)
        return Index(self.path, self.storage_options, name) if (self.path / name).is_file() else None

    def _left_name(self, served: str) -> str:
        return f"left-{fingerprint([self.fingerprint, served])}.bin"

    @property
    def shard_keys(self) -> list[str]:
        """Keys of the shards, by position."""
        return [shard.key for shard in self.shards]

    @cached_property
    def first_repeats(self) -> npt.NDArray[np.uint16] | None:
        """How often each document is served in the first epoch; None is `repeats`."""
        if self.left is None:
            return None
        left = (
            np.memmap(self.path / self.left, DTYPES["repeats"], mode="r") if self.num_docs else self.repeats
        )
        if len(left) != self.num_docs:
            raise StateError(
                f"{self.path / self.left} is of {len(left)} documents, the index of {self.num_docs}",
                hint="delete the index: it is built anew",
            )
        return left

    @property
    def num_docs(self) -> int:
        """Documents of all pools."""
        return int(self._header["files"]["shard"])

    @property
    def settings(self) -> dict[str, Any]:
        """What blocks were cut by: `num_lanes`, `block_tokens`, `ordered`."""
        return dict(self._header["settings"])

    def has(self, name: str) -> bool:
        """Tell whether there is a table of that name."""
        return name in self._header["files"]

    def _map(self, name: str) -> Any:
        path, dtype = self.path / f"{name}.bin", np.dtype(DTYPES[name])
        expected = int(self._header["files"][name]) * dtype.itemsize
        if path.stat().st_size != expected:
            raise StateError(
                f"{path} has {path.stat().st_size} bytes, the index says {expected}",
                hint="delete the index: it is built anew",
            )
        if expected == 0:
            return np.zeros(0, dtype)
        return np.memmap(path, dtype, mode="r").view(np.ndarray)  # whose slices cost a third

    @cached_property
    def shard(self) -> npt.NDArray[np.uint32]:
        """Position of the shard of each document."""
        return self._map("shard")  # type: ignore[no-any-return]

    @cached_property
    def row(self) -> npt.NDArray[np.uint32]:
        """Row of each document in its shard."""
        return self._map("row")  # type: ignore[no-any-return]

    @cached_property
    def tokens(self) -> npt.NDArray[np.uint32]:
        """Planned tokens of each document, once, its end included."""
        return self._map("tokens")  # type: ignore[no-any-return]

    @cached_property
    def repeats(self) -> npt.NDArray[np.uint16]:
        """How often each document is served in an epoch."""
        return self._map("repeats")  # type: ignore[no-any-return]

    @cached_property
    def token_starts(self) -> npt.NDArray[np.uint64]:
        """Of files of tokens: where each document begins, in tokens."""
        return self._map("token_starts")  # type: ignore[no-any-return]

    @cached_property
    def span_starts(self) -> npt.NDArray[np.int64]:
        """Where the removed spans of each document begin in `spans`, and the end of the last."""
        return self._map("span_starts")  # type: ignore[no-any-return]

    @cached_property
    def spans(self) -> npt.NDArray[np.uint32]:
        """Start and end of every removed span, in bytes of the raw text."""
        return self._map("spans")  # type: ignore[no-any-return]

    @cached_property
    def block_starts(self) -> npt.NDArray[np.int64]:
        """First document of each block of all pools, and the end of the last."""
        return self._map("block_starts")  # type: ignore[no-any-return]

    @cached_property
    def groups(self) -> Chunks:
        """Where the text of each row group of all shards lies."""
        return self._map("groups")  # type: ignore[no-any-return]

    @cached_property
    def group_rows(self) -> npt.NDArray[np.uint32]:
        """First row in its shard of each row group."""
        return self._map("group_rows")  # type: ignore[no-any-return]

    @cached_property
    def group_block_starts(self) -> npt.NDArray[np.int64]:
        """Where the blocks of each row group begin in `group_blocks`, and the end of the last."""
        return self._map("group_block_starts")  # type: ignore[no-any-return]

    @cached_property
    def group_blocks(self) -> npt.NDArray[np.uint64]:
        """Blocks by row group."""
        return self._map("group_blocks")  # type: ignore[no-any-return]

    def block(self, pool: int, number: int) -> tuple[int, int]:
        """Documents of a block of a pool: the first, and the end."""
        if not 0 <= number < self.pools[pool].num_blocks:
            raise IndexError(
                f"pool {self.pools[pool].name} has {self.pools[pool].num_blocks} blocks: {number}"
            )
        place = int(self.first_block[pool]) + number
        return int(self.block_starts[place]), int(self.block_starts[place + 1])

    def documents(self, pool: int, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Documents of some blocks of a pool, block by block."""
        places = numbers + self.first_block[pool]
        starts, stops = self.block_starts[places], self.block_starts[places + 1]
        return concatenated_ranges(starts, stops)

    def locate(self, doc: int) -> tuple[str, int]:
        """Shard key and row of a document."""
        return self.shards[int(self.shard[doc])].key, int(self.row[doc])

    def blocks_of(self, docs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The block, among those of all pools, of each document."""
        return np.searchsorted(self.block_starts, docs, side="right") - 1

    def groups_of(self, docs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The row group, among those of all shards, of each document."""
        return group_numbers(self.shard[docs], self.row[docs], self.first_group, self.group_rows)

    def spans_of(self, docs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint32]]:
        """Removed spans of documents: offsets, and start and end of each span.

        Raises:
            DataError: there are too many.
        """
        starts, stops = self.span_starts[docs], self.span_starts[docs + 1]
        counts = stops - starts
        offsets = np.concatenate([[0], np.cumsum(counts)])
        if offsets[-1] > np.iinfo(np.int32).max:
            raise DataError(f"{offsets[-1]} spans are removed from {len(docs)} documents")
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
        return offsets.astype(np.int32), self.spans.reshape(-1, 2)[places]


def group_numbers(
    shards: npt.NDArray[np.uint32],
    rows: npt.NDArray[np.uint32],
    first_group: npt.NDArray[np.int64],
    group_rows: npt.NDArray[np.uint32],
) -> npt.NDArray[np.int64]:
    """Row groups of rows, among those of all shards."""
    found = np.zeros(len(rows), np.int64)
    order = np.argsort(shards, kind="stable")
    ordered = shards[order]
    cuts = np.flatnonzero(np.diff(ordered)) + 1
    for places in np.split(order, cuts) if len(order) else ():
        shard = int(shards[places[0]])
        first, last = int(first_group[shard]), int(first_group[shard + 1])
        found[places] = first - 1 + np.searchsorted(group_rows[first:last], rows[places], side="right")
    return found


def concatenated_ranges(starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The numbers from each start to before its stop, one range after another."""
    sizes = stops - starts
    ends = np.cumsum(sizes)
    offsets: npt.NDArray[np.int64] = np.repeat(starts - ends + sizes, sizes)
    return offsets + np.arange(len(offsets))
