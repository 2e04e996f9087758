"""The order of a delivery in folders: one for each value of a column, `<column>=<value>` as Hive names them.

Documents are sorted by (value, order of the plan) with the sort of a shuffled delivery (shuffle.py), so one
file is open at a time, however many values there are. Cost: that of a shuffled delivery. A null is a value,
`__HIVE_DEFAULT_PARTITION__`. Not here: what is written (write.py).
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError

NULL = "__HIVE_DEFAULT_PARTITION__"
ORDER_BITS = 48
"""Bits of a sort key below the number of the value; the others bound how many values there may be."""
RANGE_BITS = 12
"""Leading bits of an order key by which bytes are counted, where keys are not even."""
MAX_VALUES = 1 << 16
MAX_NAME = 255

Keys = npt.NDArray[np.uint64]


@dataclass
class Split:
    """The values of a column and the buckets of each; keys of rows are made from both."""

    column: str
    bucket_bytes: int
    shuffled: bool
    """Whether the plan has an order of its own."""
    is_even: bool = True
    """Whether the keys of that order are spread evenly in each value: those of a shuffle are, those of a
    curriculum are not."""
    sizes: dict[str | None, int] = field(default_factory=dict)
    """Bytes of kept text by value."""
    starts: dict[str | None, list[int]] = field(default_factory=dict)
    """In input order, the ordinals with which buckets begin."""
    ranges: dict[str | None, npt.NDArray[np.int64]] = field(default_factory=dict)
    """Where keys are not even, bytes by range of them."""

    def add(
        self,
        values: pl.Series,
        num_bytes: npt.NDArray[np.int64],
        first_ordinal: int,
        order: Keys | None = None,
    ) -> None:
        """Take up a block of rows in key order; `num_bytes` is 0 where nothing is kept.

        `order` is that of the plan, which is asked for where it is not even.
        """
        texts = as_text(values, self.column)
        for (value,), rows in pl.DataFrame({"value": texts, "row": np.arange(len(texts))}).group_by("value"):
            places = np.sort(rows["row"].to_numpy())
            places = places[num_bytes[places] > 0]
            if not len(places):
                continue
            before = self.sizes.get(value, 0)
            sums = before + np.cumsum(num_bytes[places])
            buckets = (sums - 1) // self.bucket_bytes
            last = (before - 1) // self.bucket_bytes if before else -1
            is_first = np.diff(buckets, prepend=last) > 0
            self.starts.setdefault(value, []).extend((places[is_first] + first_ordinal).tolist())
            self.sizes[value] = int(sums[-1])
            if self.shuffled and not self.is_even and order is not None:
                bins = (order[places] >> np.uint64(64 - RANGE_BITS)).astype(np.int64)
                found = np.bincount(bins, num_bytes[places], 1 << RANGE_BITS).astype(np.int64)
                self.ranges[value] = self.ranges.get(value, 0) + found
        if len(self.sizes) >= MAX_VALUES:
            raise ConfigError(f"output.split_by has more than {MAX_VALUES - 1} values: {self.column}")

    def values(self) -> list[str | None]:
        """The values that have kept documents, sorted, null last."""
        return sorted(self.sizes, key=lambda value: (value is None, value or ""))

    def bounds(self) -> list[list[int]]:
        """The least key of each bucket, for each of `values`."""
        found = []
        for rank, value in enumerate(self.values()):
            base = rank << ORDER_BITS
            if self.shuffled and not self.is_even:
                inner = self._uneven(value)
            elif self.shuffled:
                number = -(-self.sizes[value] // self.bucket_bytes)
                inner = [(index << ORDER_BITS) // number for index in range(number)]
            else:
                inner = [0, *self.starts[value][1:]]
            found.append([base + start for start in inner])
        return found

    def _uneven(self, value: str | None) -> list[int]:
        """Begin a bucket with the range of keys in which the one before is full."""
        sums = np.cumsum(self.ranges[value])
        buckets = np.concatenate([[0], (sums[:-1] - 1) // self.bucket_bytes])
        starts = np.flatnonzero(np.diff(np.maximum(buckets, 0), prepend=-1) > 0)
        return [int(start) << (ORDER_BITS - RANGE_BITS) for start in starts]

    def keys(self, values: pl.Series, order: Keys, ordinals: npt.NDArray[np.int64]) -> Keys:
        """Sort keys of rows: the value, then the order of the plan or the place in the input."""
        ranks = {value: rank for rank, value in enumerate(self.values())}
        texts = as_text(values, self.column)
        rank = np.array([ranks[text] for text in texts.to_list()], np.uint64)
        inner = order >> np.uint64(64 - ORDER_BITS) if self.shuffled else ordinals.astype(np.uint64)
        return rank << np.uint64(ORDER_BITS) | inner


def as_text(values: pl.Series, column: str) -> pl.Series:
    """The values of a column as text.

    Raises:
        ConfigError: it has neither texts nor whole numbers nor truth values.
    """
    check_kind(values.dtype, column)
    return values.cast(pl.String)


def check_kind(kind: Any, column: str) -> None:
    """Raise `ConfigError` for a column that documents cannot be split by."""
    if not (kind.is_integer() or kind in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)):
        raise ConfigError(f"output.split_by needs texts, whole numbers or truth values, {column} has: {kind}")


def folder_of(column: str, value: str | None) -> str:
    """Name of the folder of a value.

    Raises:
        ConfigError: it is longer than file systems allow.
    """
    # The name of null means null alone.
    text = NULL if value is None else quote(value, safe="") if value != NULL else f"%5F{NULL[1:]}"
    name = f"{quote(column, safe='')}={text}"
    if len(name) > MAX_NAME:
        raise ConfigError(
            f"output.split_by: a value of {column} makes a folder of more than {MAX_NAME} characters: "
            f"{value!r:.40}..."
        )
    return name


def value_of(folder: str) -> tuple[str, str | None]:
    """The column and value that a folder is named after."""
    column, _, text = folder.partition("=")
    return unquote(column), None if text == NULL else unquote(text)
