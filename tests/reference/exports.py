"""Slow obvious readers of the files that exports write, from the descriptions of the formats."""

import csv
import gzip
import itertools
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa


def read_megatron(prefix: Path) -> list[list[int]]:
    """Documents of a `.bin` and its `.idx`."""
    index = Path(f"{prefix}.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, num_sequences, num_bounds = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    kind = {4: "<i4", 8: "<u2"}[code]
    at = 9 + 8 + 1 + 8 + 8
    lengths = struct.unpack_from(f"<{num_sequences}i", index, at)
    pointers = struct.unpack_from(f"<{num_sequences}q", index, at + 4 * num_sequences)
    bounds = struct.unpack_from(f"<{num_bounds}q", index, at + 12 * num_sequences)
    assert len(index) == at + 12 * num_sequences + 8 * num_bounds
    data = Path(f"{prefix}.bin").read_bytes()
    size = np.dtype(kind).itemsize
    assert pointers[-1] + lengths[-1] * size == len(data)
    sequences = [
        np.frombuffer(data[start : start + length * size], kind).tolist()
        for start, length in zip(pointers, lengths, strict=True)
    ]
    return [
        [token for sequence in sequences[start:stop] for token in sequence]
        for start, stop in itertools.pairwise(bounds)
    ]


def read_olmo(path: Path, dtype: str) -> list[tuple[list[int], str, str, int]]:
    """Documents of a `.npy` with id, src and loc, by the rows of its `.csv.gz`."""
    ids = np.memmap(path, dtype=dtype, mode="r")
    found, before = [], 0
    with gzip.open(path.with_suffix(".csv.gz"), "rt", encoding="utf-8", newline="") as rows:
        for start, stop, name, source, place in csv.reader(rows):
            assert int(start) == before
            before = int(stop)
            found.append((ids[int(start) : before].tolist(), name, source, int(place)))
    assert before == len(ids)
    return found


def read_mds(folder: Path) -> list[dict[str, Any]]:
    """Samples of a folder of MDS shards."""
    index = json.loads((folder / "index.json").read_text("utf-8"))
    assert index["version"] == 2
    return [sample for shard in index["shards"] for sample in _read_shard(folder, shard)]


def _read_shard(folder: Path, shard: dict[str, Any]) -> list[dict[str, Any]]:
    if shard["compression"] is None:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
    else:
        packed = (folder / shard["zip_data"]["basename"]).read_bytes()
        assert len(packed) == shard["zip_data"]["bytes"]
        size = shard["raw_data"]["bytes"]
        data = pa.Codec("zstd").decompress(packed, decompressed_size=size, asbytes=True)
    assert len(data) == shard["raw_data"]["bytes"]
    (num_samples,) = struct.unpack_from("<I", data)
    assert num_samples == shard["samples"]
    offsets = struct.unpack_from(f"<{num_samples + 1}I", data, 4)
    return [_read_sample(data[start:stop], shard) for start, stop in itertools.pairwise(offsets)]


def _read_sample(data: bytes, shard: dict[str, Any]) -> dict[str, Any]:
    at, sizes = 0, []
    for size in shard["column_sizes"]:
        if size is None:
            (size,) = struct.unpack_from("<I", data, at)
            at += 4
        sizes.append(size)
    sample = {}
    for name, encoding, size in zip(shard["column_names"], shard["column_encodings"], sizes, strict=True):
        sample[name] = _decode(data[at : at + size], encoding)
        at += size
    assert at == len(data)
    return sample


def _decode(data: bytes, encoding: str) -> Any:
    if encoding == "str":
        return data.decode("utf-8")
    if encoding == "int":
        return int.from_bytes(data, "little", signed=True)
    kind, _, shape = encoding.removeprefix("ndarray:").partition(":")
    if not shape:
        num_dims, width = data[0] >> 2, 1 << (data[0] & 3)
        assert num_dims == 1
        shape, data = str(int.from_bytes(data[1 : 1 + width], "little")), data[1 + width :]
    found = np.frombuffer(data, np.dtype(kind).newbyteorder("<"))
    assert len(found) == int(shape)
    return found.tolist()
