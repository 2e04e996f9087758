"""Megatron: one `.bin` with the tokens of a pool and one `.idx` that says where its documents begin.

The index is `MMIDIDX`, version 1: type of the ids, numbers of sequences and documents, lengths (int32), byte
offsets (int64), and the sequence with which each document begins (int64); each document is one sequence.
Parts are appended to the file of their pool, which is cut to the last committed part when an export goes on.
Memory: a batch. `data_path.txt` has `weight prefix` for each pool, as `--data-args-path` reads them.
"""

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import ConfigError
from curate.export.documents import Part
from curate.export.folder import Closing
from curate.export.formats import PartWork, Pool, total
from curate.export.tokens import Encoder
from curate.files import make_dirs, naming_errors, sync_dir
from curate.runs import Commit

MAGIC = b"MMIDIDX\x00\x00"
CODES = {"uint16": 8, "int32": 4}
_CHUNK = 1 << 20


class Megatron:
    """Writes `<pool>.bin`, `<pool>.idx` and `data_path.txt`."""

    def __init__(self, encoder: Encoder, *, text: str, output: Path, work: Path) -> None:
        """Write ids of `encoder`; `output` is where the files will be.

        Raises:
            ConfigError: the output cannot stand in a list that is split at white space.
        """
        if any(character.isspace() for character in str(output)):
            raise ConfigError(f"Megatron splits paths at white space, so --output cannot have any: {output}")
        self._encoder, self._text, self._output, self._work = encoder, text, output, work

    def write(self, work: PartWork, tables: Iterator[pa.Table]) -> dict[str, Any]:
        """Append a part to the file of its pool."""
        path = self._bin(work.pool)
        make_dirs(path.parent)
        start = int(work.before.get("end_bytes", 0))
        num_docs, num_empty, num_tokens = 0, 0, 0
        with (
            naming_errors(path),
            path.open("r+b" if path.exists() else "w+b") as sink,
            work.draft.create(f"{work.source}.lengths") as lengths,
        ):
            sink.truncate(start)
            sink.seek(start)
            for table in tables:
                encoded = self._encoder.encode(table[self._text])
                sink.write(encoded.ids.tobytes())
                sizes = encoded.lengths[encoded.lengths > 0].astype("<i4")
                lengths.write(sizes.tobytes())
                num_docs += len(sizes)
                num_empty += len(encoded.lengths) - len(sizes)
                num_tokens += len(encoded.ids)
            sink.flush()
            os.fsync(sink.fileno())
        sync_dir(path.parent)
        end = start + num_tokens * self._encoder.dtype.itemsize
        return {"docs": num_docs, "empty_docs": num_empty, "tokens": num_tokens, "end_bytes": end}

    def holds(self, part: Part, pool: Pool, meta: Mapping[str, Any]) -> bool:
        """Whether the file of the pool reaches as far as the part did."""
        path = self._bin(pool)
        return path.is_file() and path.stat().st_size >= int(meta["end_bytes"])

    def close_pool(self, closing: Closing, pool: Pool, commits: Sequence[Commit]) -> dict[str, Any]:
        """Write the index and place both files; an empty pool has none."""
        if not total(commits, "docs"):
            return {"prefix": None}
        source = f"bins/{pool.slug}.bin"
        with (self._work / source).open("r+b") as handle:
            handle.truncate(int(commits[-1].meta["end_bytes"]))
        closing.place(f"{pool.slug}.bin", source)
        lengths = [self._work / file.path for commit in commits for file in commit.files]
        closing.write(f"{pool.slug}.idx", self._index(lengths, total(commits, "docs")))
        return {"prefix": pool.slug}

    def close(self, closing: Closing, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write the list of weights and prefixes."""
        lines = [
            f"{entry['share']!r} {self._output / entry['prefix']}\n" for entry in entries if entry["prefix"]
        ]
        closing.write("data_path.txt", ["".join(lines).encode()])

    def _bin(self, pool: Pool) -> Path:
        return self._work / "bins" / f"{pool.slug}.bin"

    def _index(self, paths: Sequence[Path], num_docs: int) -> Iterator[bytes]:
        code = CODES[self._encoder.dtype.name]
        yield MAGIC + struct.pack("<QBQQ", 1, code, num_docs, num_docs + 1)
        for lengths in _chunks(paths):
            yield lengths.tobytes()
        before = 0
        for lengths in _chunks(paths):
            ends = before + np.cumsum(lengths.astype(np.int64)) * self._encoder.dtype.itemsize
            yield np.concatenate([[before], ends[:-1]]).astype("<i8").tobytes()
            before = int(ends[-1])
        for start in range(0, num_docs + 1, _CHUNK):
            yield np.arange(start, min(start + _CHUNK, num_docs + 1), dtype="<i8").tobytes()


def _chunks(paths: Sequence[Path]) -> Iterator[Any]:
    """Lengths of documents from the files of parts, some at a time."""
    for path in paths:
        with path.open("rb") as source:
            while data := source.read(4 * _CHUNK):
                yield np.frombuffer(data, "<i4")
