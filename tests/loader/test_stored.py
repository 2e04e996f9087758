"""Batches of stored tokens, used where they are mapped into memory, against the plain reference."""

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.loader.building import build_index
from curate.loader.corpus import Corpus
from curate.loader.data import Data
from curate.loader.reading import Reader
from curate.loader.settings import Constants
from curate.loader.tokenfiles import open_tokens
from curate.loader.world import World
from curate.selection.mixers import make_mixer
from tests.loader.test_reading import split
from tests.loader.test_tokenfiles import write_megatron
from tests.reference import loader as reference


@pytest.mark.parametrize("packing", ["split", "first_fit"])
def test_batches_of_stored_tokens_are_those_of_the_reference(tmp_path: Path, packing: str) -> None:
    """Pools of several files and types: used where they are mapped, or read where their ids need a look."""
    rng, paths = np.random.default_rng(7), dict[str, Any]()
    for pool, codes in {"a": (8, 8), "b": (4, 8), "c": (8,)}.items():
        paths[pool] = []
        for number, code in enumerate(codes):
            lengths = rng.integers(1, 60, 40)
            documents = [[rng.integers(0, 30_000, length).tolist()] for length in lengths]
            write_megatron(tmp_path / f"{pool}{number}", documents, code)
            paths[pool].append(tmp_path / f"{pool}{number}")
    np.array([[7, 70_000, 9]] * 50, np.uint32).tofile(tmp_path / "d.npy")
    paths["d"] = [tmp_path / "d.npy"]
    source = open_tokens(paths, dtype="uint32", eos=9)
    index = build_index(source, tmp_path / "index", num_lanes=4, block_tokens=100)
    constants = Constants(seq_len=32, global_batch=4, packing=packing, pack_pieces=6, block_steps=4)
    plain = Reader(index)
    corpus = Corpus(index, constants, partial(Reader, index), 1 << 14, None)
    data = Data(corpus, make_mixer("uniform"), World(0, 1))
    read = lambda doc: split(plain.read(np.array([doc])))[0]  # noqa: E731
    wanted = reference.batches(index, constants, read, lambda block: np.full(4, 0.25), 40)
    for batch, (rows, spans) in zip(islice(data, 40), wanted, strict=True):
        assert batch["input_ids"].tolist() == rows
        assert batch["doc_spans"].tolist() == spans
    assert data.reading()["amplification"] == 1


def test_what_can_be_used_where_it_is_mapped(tmp_path: Path) -> None:
    write_megatron(tmp_path / "a", [[[1, 2, 3]], [[4]]], 8)
    write_megatron(tmp_path / "b", [[[5]]], 4)
    index = build_index(open_tokens([tmp_path / "a", tmp_path / "b"]), tmp_path / "index", num_lanes=1)
    reader = Reader(index)
    assert reader.places(np.arange(3)) is None, "signed numbers are looked at"
    found = reader.places(np.array([1, 0]))
    assert found is not None and found.file_of is None
    assert (found.begins.tolist(), found.lengths.tolist()) == ([3, 0], [1, 3])
    assert found.files[0].to_pylist() == [1, 2, 3, 4] and reader.stats.bytes_served == 8
