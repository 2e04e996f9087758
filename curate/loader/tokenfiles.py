"""Files of tokens that were made elsewhere: Megatron's `.bin` with `.idx`, and flat files as OLMo has them.

A document is what the index of Megatron says, or in a flat file the tokens up to and with the next end id;
one without an end at the end of a file is a document too. Documents without any token are left out. Every
number of an index is checked against its file. Files must be local: their tokens are mapped into memory. They
are told by their sizes and by a hash of samples of their bytes, since to read them whole would take minutes.

Cost: a flat file is read once, at about 1 GB/s; an index at the speed of the disk. Not here: writing such
files (export.py).
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.loader.sources import NO_CAP, Rows, SourceShard
from curate.shards.chunks import CHUNKS, Chunks

MAGIC = b"MMIDIDX\x00\x00"
HEADER_BYTES = 34
DTYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
"""Megatron's codes of whole numbers, as numpy calls them."""
FLAT = {"uint16": "<u2", "uint32": "<u4"}
MAX_DOCS = (1 << 32) - 1
MAX_TOKENS = (1 << 32) - 1
SCAN_TOKENS = 8 << 20
ROWS = 1 << 20
NUM_SAMPLES, SAMPLE_BYTES = 32, 64 << 10

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenFile:
    """One file with tokens, and what its documents are known by."""

    pool: str
    path: Path
    index: Path | None
    """Megatron's index of the file; None for a flat one."""


def find_files(paths: str | Path | Sequence[str | Path] | Mapping[str, Any]) -> list[TokenFile]:
    """The files of `paths`: one or several, each a pool that is named by its stem, or a table pool -> paths.

    Raises:
        ConfigError: a file is not there or not local, or two pools have one name.
    """
    if isinstance(paths, Mapping):
        named = [(str(pool), path) for pool, found in paths.items() for path in _as_list(found)]
    else:
        named = [(Path(path).name.split(".")[0], path) for path in _as_list(paths)]
        names = [pool for pool, _ in named]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"two files of tokens have one name: {twice[0]}", hint="give a table pool -> paths"
            )
    return [_find(pool, str(path)) for pool, path in named]


def _as_list(paths: Any) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)


def _find(pool: str, path: str) -> TokenFile:
    if "://" in path:
        raise ConfigError(f"files of tokens are mapped into memory, so they must be local: {path}")
    bare = path.removesuffix(".bin").removesuffix(".idx")
    data, index = Path(f"{bare}.bin"), Path(f"{bare}.idx")
    if index.is_file():
        if not data.is_file():
            raise ConfigError(f"there is no file of tokens beside {index}: {data}")
        return TokenFile(pool, data.absolute(), index.absolute())
    if not Path(path).is_file():
        raise ConfigError(f"there is no file of tokens: {path}")
    return TokenFile(pool, Path(path).absolute(), None)


@dataclass(frozen=True)
class Documents:
    """The documents of a file of tokens: where each begins, in tokens, and its tokens."""

    starts: Ints
    lengths: Ints


def read_megatron(index: Path, data: Path) -> tuple[str, Documents]:
    """Read the index of a Megatron file: how a token is stored, and the documents.

    Raises:
        DataError: it is damaged, or of another file.
    """
    size = index.stat().st_size
    with index.open("rb") as handle:
        head = handle.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES or head[:9] != MAGIC:
        raise DataError(f"{index}: not an index of Megatron: it starts with {head[:9]!r}")
    version, code, num_sequences, num_documents = struct.unpack("<QBQQ", head[9:])
    if version != 1:
        raise DataError(f"{index}: version {version} of the format, known is 1")
    if code not in DTYPES:
        raise DataError(f"{index}: tokens of type {code}, known are {', '.join(map(str, DTYPES))}")
    expected = HEADER_BYTES + 12 * num_sequences + 8 * num_documents
    if size < expected:
        raise DataError(
            f"{index}: {size} bytes, {num_sequences} sequences and {num_documents} ends need {expected}"
        )
    place = HEADER_BYTES
    lengths = np.fromfile(index, "<i4", num_sequences, offset=place).astype(np.int64)
    place += 4 * num_sequences
    pointers = np.fromfile(index, "<i8", num_sequences, offset=place)
    ends = np.fromfile(index, "<i8", num_documents, offset=place + 8 * num_sequences)
    width = np.dtype(DTYPES[code]).itemsize
    _check_sequences(index, lengths, pointers, width, data.stat().st_size)
    return DTYPES[code], _join_sequences(index, lengths, pointers // width, ends)


def _check_sequences(index: Path, lengths: Ints, pointers: Ints, width: int, num_bytes: int) -> None:
    is_bad = (
        (lengths < 0) | (pointers < 0) | (pointers % width != 0) | (pointers > num_bytes - lengths * width)
    )
    if is_bad.any():
        number = int(np.argmax(is_bad))
        raise DataError(
            f"{index}: sequence {number} is {lengths[number]} tokens from byte {pointers[number]} on "
            f"in a file of {num_bytes}"
        )


def _join_sequences(index: Path, lengths: Ints, starts: Ints, ends: Ints) -> Documents:
    """Documents from sequences: those of one document lie one after another."""
    num = len(lengths)
    if len(ends) == 0 or ends[0] != 0 or ends[-1] != num or (np.diff(ends) < 0).any():
        raise DataError(f"{index}: the ends of documents do not ascend from 0 to {num}")
    sums = np.concatenate([[0], np.cumsum(lengths)])
    follows = np.ones(num + 1, bool)
    follows[1:num] = starts[1:] == (starts + lengths)[:-1]
    follows[ends] = True
    if not follows.all():
        raise DataError(f"{index}: sequence {int(np.argmin(follows))} does not follow the one before it")
    ends = ends[np.concatenate([[True], np.diff(ends) > 0])]
    return Documents(starts[ends[:-1]], sums[ends[1:]] - sums[ends[:-1]])


def read_flat(path: Path, dtype: str, eos: int) -> Documents:
    """Find the documents of a flat file of tokens.

    Raises:
        DataError: it does not hold whole tokens.
    """
    first, stored = _header(path)
    if stored is not None and np.dtype(stored) != np.dtype(dtype):
        raise DataError(f"{path}: tokens are {stored}, asked for was {dtype}")
    width = np.dtype(dtype).itemsize
    size = path.stat().st_size - first
    if size < 0 or size % width or first % width:
        raise DataError(f"{path}: {size} bytes are not whole tokens of {width}", hint="check the dtype")
    if size == 0:
        return Documents(np.zeros(0, np.int64), np.zeros(0, np.int64))
    tokens = np.memmap(path, dtype, mode="r", offset=first)
    ends = [
        np.flatnonzero(tokens[start : start + SCAN_TOKENS] == eos) + (start + 1)
        for start in range(0, len(tokens), SCAN_TOKENS)
    ]
    stops = np.concatenate(ends)
    if len(stops) == 0 or stops[-1] != len(tokens):
        stops = np.append(stops, len(tokens))
    starts = np.concatenate([[0], stops[:-1]])
    return Documents(starts + first // width, stops - starts)


def _header(path: Path) -> tuple[int, str | None]:
    """Bytes before the tokens, and their type where the file says it: raw files do not."""
    with path.open("rb") as handle:
        if handle.read(6) != b"\x93NUMPY":
            return 0, None
        handle.seek(0)
        try:
            version = np.lib.format.read_magic(handle)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(handle)
        except ValueError as exc:
            raise DataError(f"{path}: damaged header of numpy: {exc}") from exc
        if len(shape) != 1:
            raise DataError(f"{path}: an array of {len(shape)} dimensions instead of 1")
        return handle.tell(), dtype.str


def _sample_hash(path: Path) -> str:
    """Hash the size of a file and samples of its bytes, its ends among them."""
    size = path.stat().st_size
    hasher = _rust.Hasher()
    hasher.update(size.to_bytes(8, "little"))
    with path.open("rb") as handle:
        for number in range(NUM_SAMPLES):
            handle.seek(max(size - SAMPLE_BYTES, 0) * number // (NUM_SAMPLES - 1))
            hasher.update(handle.read(SAMPLE_BYTES))
    return hasher.hexdigest()


class TokenSource:
    """Documents of files of tokens."""

    def __init__(self, files: Sequence[TokenFile], *, dtype: str = "uint16", eos: int | None = None) -> None:
        """Read the indexes; `dtype` and `eos` are of flat files.

        Raises:
            ConfigError: there are flat files, and no end id.
            DataError: a file is damaged.
        """
        if dtype not in FLAT:
            raise ConfigError(f"tokens of flat files are uint16 or uint32: {dtype}")
        if eos is None and any(file.index is None for file in files):
            raise ConfigError("flat files of tokens need `eos`, the id that ends a document")
        self._documents: list[Documents] = []
        self.shards: list[SourceShard] = []
        self.pool_names = sorted({file.pool for file in files})
        self._pools = [self.pool_names.index(file.pool) for file in files]
        for file in files:
            self._add(file, dtype, eos)
        hashes = [[file.pool, shard.fingerprint] for file, shard in zip(files, self.shards, strict=True)]
        self.content: list[Any] = ["tokens", 1, hashes, dtype, eos]
        self.caps, self.text, self.max_line_bytes, self.has_edits = NO_CAP, "", 0, False
        self.storage_options: dict[str, str] = {}

    def _add(self, file: TokenFile, dtype: str, eos: int | None) -> None:
        if file.index is None:
            kind = FLAT[dtype]
            documents = read_flat(file.path, kind, -1 if eos is None else eos)
        else:
            kind, documents = read_megatron(file.index, file.path)
        if len(documents.lengths) > MAX_DOCS or documents.lengths.max(initial=0) > MAX_TOKENS:
            raise DataError(f"{file.path}: at most {MAX_DOCS} documents of {MAX_TOKENS} tokens are read")
        parts = [_sample_hash(path) for path in (file.path, file.index) if path is not None]
        self._documents.append(documents)
        self.shards.append(
            SourceShard(
                key=file.path.name,
                uri=str(file.path),
                format="tokens",
                size_bytes=file.path.stat().st_size,
                fingerprint="-".join(parts),
                num_rows=len(documents.lengths),
                dtype=kind,
            )
        )

    def chunks(self, shard: int) -> Chunks:
        """None: documents are read by their places."""
        return np.zeros(0, CHUNKS)

    def rows(self) -> Iterator[Rows]:
        """All documents that have tokens."""
        for index, documents in enumerate(self._documents):
            for first in range(0, len(documents.lengths), ROWS):
                lengths = documents.lengths[first : first + ROWS]
                kept = np.flatnonzero(lengths)
                yield Rows(
                    shard=index,
                    row=(kept + first).astype(np.uint32),
                    pool=np.full(len(kept), self._pools[index], np.uint32),
                    repeats=np.ones(len(kept), np.uint16),
                    tokens=lengths[kept].astype(np.uint32),
                    start=documents.starts[first : first + ROWS][kept].astype(np.uint64),
                )


def open_tokens(
    paths: str | Path | Sequence[str | Path] | Mapping[str, Any],
    *,
    dtype: str = "uint16",
    eos: int | None = None,
) -> TokenSource:
    """The documents of files of tokens: see `find_files` and `TokenSource`."""
    return TokenSource(find_files(paths), dtype=dtype, eos=eos)
