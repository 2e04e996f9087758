"""Batches against the plain reference, and what must hold of every one of them."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import DataError
from curate.loader.data import Data
from curate.loader.world import World
from curate.selection.mixers import make_mixer
from tests.loader.fakes import FakeIndex, corpus, document
from tests.reference import loader as reference


@st.composite
def indexes(draw):
    pools = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True))
    lengths, repeats = {}, {}
    for pool in pools:
        sizes = draw(st.lists(st.integers(1, draw(st.sampled_from([3, 40, 300]))), min_size=1, max_size=40))
        lengths[pool] = sizes
        repeats[pool] = draw(st.lists(st.integers(1, 3), min_size=len(sizes), max_size=len(sizes)))
    return FakeIndex(lengths, repeats, block_docs=draw(st.integers(1, 5)))


def data_of(index, *, mixer="natural", rank=0, size=1, **constants):
    return Data(corpus(index, **constants), make_mixer(mixer), World(rank, size))


@settings(max_examples=40, deadline=None)
@given(
    indexes(),
    st.sampled_from(["split", "first_fit", "best_fit"]),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from(["shuffle", "plan"]),
    st.integers(0, 3),
    st.data(),
)
def test_batches_are_those_of_the_reference(index, packing, lanes, order, seed, data):
    constants = {
        "packing": packing,
        "lanes": lanes,
        "order": order,
        "seed": seed,
        "pack_pieces": 5,
        "block_steps": 2,
    }
    mine = data_of(index, **constants)
    names = mine.corpus.names
    sealed = {}
    got = []
    for batch in islice(mine, 10):
        sealed.update(mine.mixing.log.blocks)
        got.append(batch)
        if data.draw(st.booleans()):
            weights = data.draw(
                st.lists(st.sampled_from([0.0, 1e-6, 0.2, 1.0]), min_size=len(names), max_size=len(names))
            )
            if any(weights):
                mine.set_weights(dict(zip(names, weights, strict=True)))
    sealed.update(mine.mixing.log.blocks)
    read = lambda doc: document(doc, int(index.tokens[doc]))  # noqa: E731
    wanted = reference.batches(index, mine.corpus.constants, read, sealed.__getitem__, 10)
    for batch, (rows, spans) in zip(got, wanted, strict=True):
        assert batch["input_ids"].tolist() == rows
        assert batch["doc_spans"].tolist() == spans


@settings(max_examples=30, deadline=None)
@given(indexes(), st.sampled_from(["split", "best_fit"]), st.sampled_from([1, 2, 8]), st.integers(1, 3))
def test_every_document_is_served_as_often_as_planned(index, packing, lanes, epochs):
    """With padding at the end, all tokens of all epochs are served: none is lost, none comes twice."""
    mine = data_of(index, packing=packing, lanes=lanes, end="pad", max_epochs=epochs, pack_pieces=4)
    served = Counter()
    for batch in mine:
        for row, start, length, pool, doc, offset in batch["doc_spans"].tolist():
            assert index.pool_of(doc) == pool
            tokens = document(doc, int(index.tokens[doc]))[offset : offset + length]
            assert batch["input_ids"][row, start : start + length].tolist() == tokens.tolist()
            served[doc] += length
    wanted = index.tokens.astype(np.int64) * index.repeats * epochs
    assert [served[doc] for doc in range(len(wanted))] == wanted.tolist()
    totals = mine.arrays.served.sum(axis=(0, 1))
    assert totals.tolist() == [wanted.sum(), epochs * index.repeats.sum(dtype=np.int64)]


def test_an_epoch_gives_each_copy_once_before_it_begins_anew():
    index = FakeIndex({"a": [7] * 60}, {"a": [1, 3] * 30})
    mine = data_of(index, lanes=1, global_batch=1, seq_len=7)
    docs = [int(batch["doc_spans"][0, 4]) for batch in islice(mine, 240)]
    assert Counter(docs[:120]) == Counter({doc: int(index.repeats[doc]) for doc in range(60)})
    assert sorted(docs[:60]) == list(range(60)), "copies lie in later passes"
    assert docs[:60] != sorted(docs[:60])
    assert Counter(docs[120:]) == Counter(docs[:120]) and docs[120:180] != docs[:60]


def test_labels_positions_and_sources():
    index = FakeIndex({"a": [20, 21, 22, 23], "b": [40]})
    batch = next(iter(data_of(index, packing="best_fit", pad_id=7)))
    used = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    for row, start, length, pool, _, _ in batch["doc_spans"].tolist():
        part = slice(start, start + length)
        assert batch["labels"][row, start] == -100
        assert torch.equal(
            batch["labels"][row, start + 1 : start + length],
            batch["input_ids"][row, start + 1 : start + length],
        )
        assert batch["positions"][row, part].tolist() == list(range(length))
        assert (batch["source_id"][row, part] == pool).all()
        used[row, part] = True
    assert (batch["source_id"][~used] == -1).all() and (batch["labels"][~used] == -100).all()
    assert (batch["input_ids"][~used] == 7).all() and not used.all()


def test_running_out_is_an_error_that_says_what_to_do():
    with pytest.raises(DataError, match="no document left at step"):
        list(data_of(FakeIndex({"a": [5] * 30}), max_epochs=1.0))


def test_what_was_read_is_counted_over_feeds_and_workers():
    """The reader of these tests reads two bytes for each that it serves."""
    index = FakeIndex({"a": [9] * 400})
    for num_workers in (0, 2):
        data = data_of(index)
        assert data.reading() == {"bytes_read": 0, "bytes_served": 0, "amplification": 0}
        for number in (1, 2):
            batches = iter(data.loader(num_workers))
            list(islice(batches, 3))
            assert (
                data.reading()["bytes_served"] >= 3 * number * 8 * 32 and data.reading()["amplification"] == 2
            )
            batches.close()
        assert data.reading()["amplification"] == 2
