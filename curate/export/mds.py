"""MosaicML streaming: a folder of MDS shards for each pool, with its `index.json`.

A shard is: number of samples (uint32), byte offsets of samples and of the end (uint32), the JSON of its
columns, samples. A sample is the sizes of its columns that vary in size (uint32), then their bytes, columns
in the order of their names. An array of varying length begins with its dimensions. Columns are `tokens` (a
sample for each document, or packed to `seq_len`) or `text` and what is asked for beside it. Memory: a shard
and its compressed copy. What is packed goes on from part to part; what remains at the end of a pool is left
out and counted.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import yaml

from curate.errors import DataError
from curate.export.documents import Part
from curate.export.folder import Closing
from curate.export.formats import PartWork, Pool, total
from curate.export.settings import Export
from curate.export.tokens import Encoder
from curate.files import to_json
from curate.runs import Commit, Draft

HASHES = ("sha256",)
LEVEL = 3
_MAX_BYTES = (1 << 32) - 1


class Samples(Protocol):
    """Makes samples of documents."""

    columns: Mapping[str, tuple[str, int | None]]
    """Name -> encoding, and the size in bytes where that is the same for every sample."""

    def begin(self, before: Mapping[str, Any]) -> None:
        """Go on after a part that ended with `end`."""
        ...

    def add(self, table: pa.Table) -> Iterator[bytes]:
        """The samples that some documents complete."""
        ...

    def end(self) -> dict[str, Any]:
        """What a part ends with: numbers, and what has to be known for the next."""
        ...


class Mds:
    """Writes `<pool>/shard.<n>.mds`, `<pool>/index.json` and `streams.yaml`."""

    def __init__(self, settings: Export, samples: Samples, *, output: Path) -> None:
        """Write the samples that `samples` makes; `output` is where the files will be."""
        self._samples, self._compression, self._output = samples, settings.compression, output
        self._limit = settings.file_bytes
        names = sorted(samples.columns)
        self._config = {
            "column_encodings": [samples.columns[name][0] for name in names],
            "column_names": names,
            "column_sizes": [samples.columns[name][1] for name in names],
            "compression": None if self._compression is None else f"{self._compression}:{LEVEL}",
            "format": "mds",
            "hashes": list(HASHES),
            "size_limit": self._limit,
            "version": 2,
        }
        self._head = to_json(self._config).rstrip()

    def write(self, work: PartWork, tables: Iterator[pa.Table]) -> dict[str, Any]:
        """Write the shards of a part."""
        self._samples.begin(work.before)
        shards: list[dict[str, Any]] = []
        waiting: list[bytes] = []
        empty = size = 8 + len(self._head)
        for table in tables:
            for sample in self._samples.add(table):
                if waiting and size + 4 + len(sample) > self._limit:
                    shards.append(self._write_shard(work.draft, f"{work.source}-{len(shards):05d}", waiting))
                    waiting, size = [], empty
                waiting.append(sample)
                size += 4 + len(sample)
        if waiting:
            shards.append(self._write_shard(work.draft, f"{work.source}-{len(shards):05d}", waiting))
        return {**self._samples.end(), "shards": shards}

    def holds(self, part: Part, pool: Pool, meta: Mapping[str, Any]) -> bool:
        """All is in committed files."""
        return True

    def close_pool(self, closing: Closing, pool: Pool, commits: Sequence[Commit]) -> dict[str, Any]:
        """Number the shards, and write the index."""
        shards: list[dict[str, Any]] = []
        for commit in commits:
            for made, file in zip(commit.meta["shards"], commit.files, strict=True):
                base = f"shard.{len(shards):05d}.mds"
                name = base if self._compression is None else f"{base}.{self._compression}"
                closing.place(f"{pool.slug}/{name}", file.path, blake3=file.blake3)
                zipped = None if made["zip"] is None else {"basename": name, **made["zip"]}
                shards.append(
                    {
                        **self._config,
                        "raw_data": {"basename": base, **made["raw"]},
                        "samples": made["samples"],
                        "zip_data": zipped,
                    }
                )
        if not shards:
            return {"prefix": None}
        closing.write_json(f"{pool.slug}/index.json", {"shards": shards, "version": 2})
        left = commits[-1].meta.get("rest", [])
        return {"prefix": pool.slug, "samples": total(commits, "samples"), "left_out_tokens": len(left)}

    def close(self, closing: Closing, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write the streams with their proportions.

        Shards that are compressed are unpacked by the reader, into a folder beside the export.
        """
        streams = {}
        for entry in entries:
            if not entry["prefix"]:
                continue
            place = {"local": str(self._output / entry["prefix"])}
            if self._compression is not None:
                cache = self._output.with_name(f"{self._output.name}-cache") / entry["prefix"]
                place = {"remote": place["local"], "local": str(cache)}
            streams[entry["pool"]] = {**place, "proportion": entry["share"]}
        closing.write("streams.yaml", [yaml.safe_dump({"streams": streams}, sort_keys=False).encode()])

    def _write_shard(self, draft: Draft, name: str, samples: Sequence[bytes]) -> dict[str, Any]:
        sizes = np.fromiter(map(len, samples), np.int64, len(samples))
        first = 4 + 4 * (len(samples) + 1) + len(self._head)
        offsets = first + np.concatenate([[0], np.cumsum(sizes)])
        if offsets[-1] > _MAX_BYTES:
            raise DataError(
                f"a sample is too large for an MDS shard, which ends at 4 GiB: {sizes.max()} bytes"
            )
        head = [np.uint32(len(samples)).tobytes(), offsets.astype("<u4").tobytes(), self._head]
        data = b"".join([*head, *samples])
        found: dict[str, Any] = {"samples": len(samples), "raw": _info(data), "zip": None}
        if self._compression is not None:
            data = pa.Codec(self._compression, compression_level=LEVEL).compress(data, asbytes=True)
            found["zip"] = _info(data)
        with draft.create(f"{name}.mds") as output:
            output.write(data)
            output.num_rows = len(samples)
        return found


def _info(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "hashes": {name: hashlib.new(name, data).hexdigest() for name in HASHES}}


class TokenSamples:
    """A sample for each document, an array of its length."""

    def __init__(self, encoder: Encoder, *, text: str) -> None:
        """Samples of the column `text`."""
        self._encoder, self._text = encoder, text
        self.columns: Mapping[str, tuple[str, int | None]] = {
            "tokens": (f"ndarray:{encoder.dtype.name}", None)
        }

    def begin(self, before: Mapping[str, Any]) -> None:
        """Start with nothing."""
        self._docs = self._empty = self._tokens = 0

    def add(self, table: pa.Table) -> Iterator[bytes]:
        """One for each document that has tokens."""
        encoded = self._encoder.encode(table[self._text])
        for start, stop in zip(encoded.offsets[:-1].tolist(), encoded.offsets[1:].tolist(), strict=True):
            if start == stop:
                self._empty += 1
                continue
            data = _shape(stop - start) + encoded.ids[start:stop].tobytes()
            self._docs += 1
            self._tokens += stop - start
            yield len(data).to_bytes(4, "little") + data

    def end(self) -> dict[str, Any]:
        """The numbers of the part."""
        numbers = {"docs": self._docs, "empty_docs": self._empty, "tokens": self._tokens}
        return {**numbers, "samples": self._docs}


class PackedSamples:
    """Samples of `seq_len` tokens; documents follow each other and are cut where a sample ends."""

    def __init__(self, encoder: Encoder, *, text: str, seq_len: int) -> None:
        """Samples of the column `text`."""
        self._encoder, self._text, self._seq_len = encoder, text, seq_len
        size = seq_len * encoder.dtype.itemsize
        self.columns: Mapping[str, tuple[str, int | None]] = {
            "tokens": (f"ndarray:{encoder.dtype.name}:{seq_len}", size)
        }

    def begin(self, before: Mapping[str, Any]) -> None:
        """Go on with the tokens that the part before left."""
        self._rest = np.array(before.get("rest", []), self._encoder.dtype)
        self._docs = self._empty = self._samples = 0

    def add(self, table: pa.Table) -> Iterator[bytes]:
        """The samples that are full now."""
        encoded = self._encoder.encode(table[self._text])
        num = int(np.count_nonzero(encoded.lengths))
        self._docs += num
        self._empty += len(encoded.lengths) - num
        tokens = np.concatenate([self._rest, encoded.ids])
        num_full = len(tokens) // self._seq_len
        for sample in range(num_full):
            yield tokens[sample * self._seq_len : (sample + 1) * self._seq_len].tobytes()
        self._samples += num_full
        self._rest = tokens[num_full * self._seq_len :].copy()

    def end(self) -> dict[str, Any]:
        """The numbers of the part, and the tokens that are left."""
        numbers = {"docs": self._docs, "empty_docs": self._empty, "samples": self._samples}
        return {**numbers, "tokens": self._samples * self._seq_len, "rest": self._rest.tolist()}


class TextSamples:
    """A sample for each document: its text, and other columns as text or whole numbers."""

    def __init__(self, schema: pa.Schema, *, text: str) -> None:
        """Samples with the columns of a schema; the text is called `text`."""
        self._text, self._names = text, {name: "text" if name == text else name for name in schema.names}
        self.columns: Mapping[str, tuple[str, int | None]] = {
            self._names[field.name]: ("int", 8) if _is_int64(field.type) else ("str", None)
            for field in schema
        }

    def begin(self, before: Mapping[str, Any]) -> None:
        """Start with nothing."""
        self._docs = 0

    def add(self, table: pa.Table) -> Iterator[bytes]:
        """One for each document; nulls are empty texts, or 0."""
        columns = {new: table[old].to_pylist() for old, new in self._names.items()}
        names = sorted(columns)
        for row in range(table.num_rows):
            head, body = [], []
            for name in names:
                value = columns[name][row]
                if self.columns[name][0] == "int":
                    body.append(int(value or 0).to_bytes(8, "little", signed=True))
                    continue
                data = ("" if value is None else str(value)).encode()
                head.append(len(data).to_bytes(4, "little"))
                body.append(data)
            yield b"".join([*head, *body])
        self._docs += table.num_rows

    def end(self) -> dict[str, Any]:
        """The numbers of the part."""
        return {"docs": self._docs, "empty_docs": 0, "samples": self._docs, "tokens": 0}


def _is_int64(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind)) and kind != pa.uint64()


def _shape(length: int) -> bytes:
    """How the shape of an array with one dimension is written: (dimensions, size of a number), numbers."""
    for code, limit in enumerate((1 << 8, 1 << 16, 1 << 32)):
        if length < limit:
            return bytes([1 << 2 | code]) + length.to_bytes(1 << code, "little")
    raise DataError(f"a document has too many tokens: {length}")
