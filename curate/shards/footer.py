"""The footer of a Parquet file, decoded here: sizes are checked before pyarrow sees them.

pyarrow ends the process on some damaged footers when asked for the metadata of a column, so row counts and
sizes come from this decoder of Thrift's compact protocol. It keeps integers, strings and nesting and knows
nothing of their meaning but what is named below. Cost: about 30 us for each column of each row group.
"""

from dataclasses import dataclass
from operator import index
from typing import Any

from curate.errors import DataError

MAX_DEPTH = 32
MAX_ROWS = (1 << 32) - 1
MAX_EXPANSION_FRAC = 50_000
EXPANSION_FLOOR_BYTES = 64 << 20

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)


@dataclass(frozen=True)
class Chunk:
    """One column of one row group."""

    path: str
    """Names from the top, joined by dots."""
    packed_bytes: int
    unpacked_bytes: int
    has_dictionary: bool
    start: int
    """Where its bytes begin in the file."""
    codec: int
    """Code of its compression in Parquet."""


@dataclass(frozen=True)
class RowGroup:
    """Rows that are stored together."""

    num_rows: int
    chunks: tuple[Chunk, ...]

    def num_bytes(self, names: list[str]) -> int:
        """Uncompressed bytes of these columns and of all that is nested in them."""
        return sum(chunk.unpacked_bytes for chunk in self.below(names))

    def below(self, names: list[str]) -> list[Chunk]:
        """Stored columns that belong to these top-level columns."""
        starts = tuple(f"{name}." for name in names)
        return [chunk for chunk in self.chunks if chunk.path in names or chunk.path.startswith(starts)]


@dataclass(frozen=True)
class Leaf:
    """What the schema says of a stored column."""

    kind: int
    """Code of its physical type in Parquet; -1 for a group of columns."""
    repetition: int
    """0 is required, 1 optional, 2 repeated."""


BYTE_ARRAY, OPTIONAL, REPEATED = 6, 1, 2
_DAMAGE = (KeyError, IndexError, TypeError, AttributeError, UnicodeDecodeError, OverflowError)


def decode(data: bytes, *, file_bytes: int) -> list[RowGroup]:
    """Decode and check a footer; whatever is wrong with it is a DataError without the shard's name."""
    return _decode(data, file_bytes)[1]


def decode_with_schema(data: bytes, *, file_bytes: int) -> tuple[list[RowGroup], dict[str, Leaf]]:
    """Decode and check a footer, with the columns at the top of the schema by name."""
    footer, groups = _decode(data, file_bytes)
    try:
        return groups, _top_of_schema(footer[2])
    except _DAMAGE as exc:
        raise DataError(f"the schema in the footer cannot be decoded: {exc}") from exc


def _decode(data: bytes, file_bytes: int) -> tuple[dict[int, Any], list[RowGroup]]:
    try:
        footer = _Reader(data).struct()
        groups = [_row_group(value, number, file_bytes) for number, value in enumerate(footer.get(4, []))]
        num_rows = int(footer[3])
    except _DAMAGE as exc:
        raise DataError(f"the footer cannot be decoded: {exc}") from exc
    found = sum(group.num_rows for group in groups)
    if found != num_rows or not 0 <= num_rows <= MAX_ROWS:
        raise DataError(f"{num_rows} rows of which row groups hold {found}; at most {MAX_ROWS}")
    return footer, groups


def _top_of_schema(elements: list[dict[int, Any]]) -> dict[str, Leaf]:
    """The columns below the root, which lies first; children follow their parent."""
    leaves: dict[str, Leaf] = {}
    below = 0
    for element in elements[1:]:
        if below == 0:
            leaves[element[4].decode()] = Leaf(index(element.get(1, -1)), index(element.get(3, 0)))
        else:
            below -= 1
        below += index(element.get(5, 0))
    return leaves


def _row_group(value: dict[int, Any], index: int, file_bytes: int) -> RowGroup:
    if value[3] < 0:
        raise DataError(f"row group {index} has {value[3]} rows")
    return RowGroup(value[3], tuple(_chunk(column, index, file_bytes) for column in value[1]))


def _chunk(value: dict[int, Any], index: int, file_bytes: int) -> Chunk:
    meta = value[3]
    path = ".".join(name.decode() for name in meta[3])
    where = f"row group {index}, column {path}"
    unpacked, packed, codec = meta[6], meta[7], meta.get(4, 0)
    start = min(meta[9], meta.get(11) or meta[9])
    if min(unpacked, packed, meta[5], codec, start) < 0 or start + packed > file_bytes:
        raise DataError(f"{where}: {packed} bytes from {start} on in a file of {file_bytes}")
    if unpacked > max(EXPANSION_FLOOR_BYTES, MAX_EXPANSION_FRAC * packed):
        raise DataError(f"{where}: {unpacked} bytes in {packed} compressed ones")
    return Chunk(path, packed, unpacked, 11 in meta, start, codec)


class _Reader:
    """Thrift's compact protocol: structs as dicts by field number, strings as bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > MAX_DEPTH:
            raise OverflowError("nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while header := self._byte():
            number = number + (header >> 4) if header >> 4 else self._zigzag()
            fields[number] = self._value(header & 15, depth, in_struct=True)
        return fields

    def _byte(self) -> int:
        value = self._data[self._position]
        self._position += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise OverflowError("a number of more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _take(self, size: int) -> bytes:
        start = self._position
        if start + size > len(self._data):
            raise IndexError("a string past the end")
        self._position = start + size
        return self._data[start : self._position]

    def _value(self, kind: int, depth: int, *, in_struct: bool) -> Any:
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE if in_struct else self._byte() == _TRUE
        if kind == _BYTE:
            return self._byte()
        if kind == _DOUBLE:
            return self._take(8)
        if kind == _MAP:
            return self._map(depth + 1)
        raise TypeError(f"type {kind}")

    def _list(self, depth: int) -> list[Any]:
        header = self._byte()
        size = header >> 4 if header >> 4 < 15 else self._varint()
        self._check(size, depth)
        return [self._value(header & 15, depth, in_struct=False) for _ in range(size)]

    def _map(self, depth: int) -> list[Any]:
        size = self._varint()
        self._check(size, depth)
        kinds = self._byte() if size else 0
        return [
            (self._value(kinds >> 4, depth, in_struct=False), self._value(kinds & 15, depth, in_struct=False))
            for _ in range(size)
        ]

    def _check(self, size: int, depth: int) -> None:
        """Refuse what the rest of the footer cannot hold: every item takes a byte at least."""
        if size > len(self._data) - self._position or depth > MAX_DEPTH:
            raise OverflowError(f"a list of {size} items")
