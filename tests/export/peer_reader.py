"""Read one export with the library that trainers read it with, and print its documents as JSON.

Run as `python peer_reader.py <library> <folder> <pool>`, in whatever environment has the library.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def megatron(folder: Path, pool: str) -> Any:
    """Documents as Megatron's dataset gives them, memory-mapped and not."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    words = (folder / "data_path.txt").read_text("utf-8").split()
    (prefix,) = [word for word in words[1::2] if Path(word).name == pool]
    found = []
    for mmap in (True, False):
        data = IndexedDataset(prefix, mmap=mmap)
        bounds = data.document_indices
        assert list(bounds) == list(range(len(data) + 1))
        found.append([data[number].tolist() for number in range(len(data))])
    assert found[0] == found[1]
    return found[0]


def olmo_core(folder: Path, pool: str) -> Any:
    """Documents by the rows beside the arrays, which have to be those that the end tokens tell."""
    import numpy as np
    from olmo_core.data.source_mixture import SourceMixtureList
    from olmo_core.data.utils import iter_document_indices, load_array_slice

    mixture = SourceMixtureList.from_yaml(folder / "mixture.yaml")
    mixture.validate()
    (source,) = [source for source in mixture.sources if source.source_name == pool]
    tokens = json.loads((folder / "export.json").read_text("utf-8"))["tokens"]
    dtype = {"uint16": np.uint16, "uint32": np.uint32}[tokens["dtype"]]
    found = []
    for path in source.resolved_paths:
        rows = list(iter_document_indices(path))
        assert rows == list(iter_document_indices(path, eos_token_id=tokens["eos"], dtype=dtype))
        found += [load_array_slice(path, start, stop, dtype).tolist() for start, stop in rows]
    return found


def streaming(folder: Path, pool: str) -> Any:
    """Samples as a streaming dataset gives them, with hashes checked."""
    import yaml
    from streaming import StreamingDataset

    stream = yaml.safe_load((folder / "streams.yaml").read_text("utf-8"))["streams"][pool]
    place = {key: stream.get(key) for key in ("local", "remote")}
    data = StreamingDataset(**place, batch_size=1, validate_hash="sha256")
    assert len(data) == data.num_samples
    return [
        {name: value if isinstance(value, str | int) else value.tolist() for name, value in data[row].items()}
        for row in range(data.num_samples)
    ]


def datasets(folder: Path, pool: str) -> Any:
    """Rows as `load_dataset` gives them."""
    import datasets as library

    cache = folder.with_name(f"{folder.name}-cache")
    data = library.load_dataset(str(folder), name=pool, cache_dir=str(cache))
    assert list(data) == ["train"]
    return data["train"].to_list()


LIBRARIES: dict[str, Callable[[Path, str], Any]] = {
    "datasets": datasets,
    "megatron": megatron,
    "olmo_core": olmo_core,
    "streaming": streaming,
}

if __name__ == "__main__":
    library, folder, pool = sys.argv[1:]
    print(f"\n{json.dumps(LIBRARIES[library](Path(folder), pool))}")
