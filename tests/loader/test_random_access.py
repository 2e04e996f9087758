"""Planned documents by number, against the plan; the same through Grain and a map-style DataLoader."""

import pickle
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.loader import open_documents
from curate.loader.opening import Access
from curate.loader.random_access import Documents
from tests.loader.corpus import Corpus, Doc, write_plan, write_shards
from tests.loader.fakes import FakeIndex, corpus, document
from tests.loader.interop import INDEX

REPEATS = FakeIndex(
    {"a": [5, 2, 9, 4], "b": [], "c": [7, 1, 3, 3, 8]}, {"a": [1, 3, 1, 2], "c": [2, 1, 1, 4, 1]}
)


def listed(index, pool=None):
    """The slow way: every document as often as it is repeated."""
    return [
        (doc, number, copy)
        for number, facts in enumerate(index.pools)
        if pool in (None, facts.name) and facts.num_docs
        for doc in range(index.block(number, 0)[0], index.block(number, facts.num_blocks - 1)[1])
        for copy in range(int(index.repeats[doc]))
    ]


@pytest.mark.parametrize("index", [INDEX, REPEATS])
@pytest.mark.parametrize("pool", [None, "a", "c"])
def test_every_planned_document_is_there_as_often_as_it_is_repeated(index, pool):
    documents, wanted = Documents(corpus(index), pool=pool), listed(index, pool)
    assert len(documents) == len(wanted)
    for item, (doc, number, copy) in zip(islice(documents, len(wanted)), wanted, strict=True):
        assert (item["document"], item["source_id"], item["copy"]) == (doc, number, copy)
        assert item["tokens"].tolist() == document(doc, index.tokens[doc]).tolist()


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=0, max_size=9),
        min_size=1,
    ),
    st.integers(1, 4),
)
def test_any_plan_is_numbered_as_it_is_listed(pools, block_docs):
    index = FakeIndex(
        {name: [size for size, _ in docs] for name, docs in pools.items()},
        {name: [times for _, times in docs] for name, docs in pools.items()},
        block_docs=block_docs,
    )
    documents, wanted = Documents(corpus(index)), listed(index)
    assert len(documents) == len(wanted)
    got = documents.__getitems__(range(len(wanted))) if wanted else []
    assert [(item["document"], item["source_id"], item["copy"]) for item in got] == wanted


def test_numbers_out_of_bounds_and_unknown_pools_are_refused():
    documents = Documents(corpus(REPEATS))
    assert documents[-1]["document"] == documents[len(documents) - 1]["document"]
    for number in (len(documents), -len(documents) - 1):
        with pytest.raises(IndexError, match=f"there are {len(documents)} documents: {number}"):
            documents[number]
    with pytest.raises(ConfigError, match="there is no pool web; there are: a, b, c"):
        Documents(corpus(REPEATS), pool="web")
    assert len(Documents(corpus(REPEATS), pool="b")) == 0


TEXTS = Corpus(
    [
        [Doc(f"text {n} of shard {s}", "web" if n % 3 else "code", repeats=n % 4) for n in range(20)]
        for s in range(3)
    ]
)


@pytest.fixture
def opened(tmp_path, tokenizer_file):
    plan = write_plan(TEXTS, tmp_path / "plan", write_shards(TEXTS, tmp_path / "shards"))

    def again(**settings):
        return open_documents(
            plan, tokenizer=tokenizer_file, access=Access(cache_dir=tmp_path / "cache"), **settings
        )

    return again


@pytest.fixture
def tokenizer_file(tmp_path):
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([*letters, "<|endoftext|>"])}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_documents_of_a_plan_have_the_texts_of_its_shards(opened, tokenizer_file):
    import tokenizers

    made, documents = tokenizers.Tokenizer.from_file(str(tokenizer_file)), opened()
    wanted = sorted(doc.text for _, _, doc in TEXTS.docs() for _ in range(doc.repeats))
    assert sorted(made.decode(item["tokens"][:-1]) for item in islice(documents, 99)) == wanted
    again = pickle.loads(pickle.dumps(opened(pool="web")))
    assert {item["source_id"] for item in islice(again, 99)} == {1}
    assert repr(again) == repr(opened(pool="web")) != repr(documents)


@pytest.mark.peer
def test_grain_shuffles_repeats_and_mixes_documents(opened):
    """Read by Grain's threads in its order, resumed with its state."""
    grain = pytest.importorskip("grain", reason="grain is not installed")
    documents = opened()
    dataset = grain.MapDataset.source(documents).seed(7).shuffle().repeat(2)
    assert len(dataset) == 2 * len(documents)
    iterator = iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)))
    first = [key(next(iterator)) for _ in range(11)]
    state = iterator.get_state()
    rest = [key(item) for item in iterator]
    assert sorted(first + rest) == sorted(2 * [key(item) for item in islice(documents, 999)])
    resumed = iter(dataset.to_iter_dataset())
    resumed.set_state(state)
    assert [key(item) for item in resumed] == rest
    mixed = grain.MapDataset.mix(
        [grain.MapDataset.source(opened(pool=pool)).repeat() for pool in ("code", "web")],
        weights=[0.75, 0.25],
    )
    sources = [mixed[number]["source_id"] for number in range(400)]
    assert sources.count(0) == 300


def key(item):
    return item["document"], item["copy"], item["tokens"].tolist()


def test_a_map_style_data_loader_reads_documents_in_workers(opened):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    documents = opened()
    loader = torch.utils.data.DataLoader(documents, batch_size=4, num_workers=1, collate_fn=list)
    got = [item for batch in loader for item in batch]
    assert [key(item) for item in got] == [key(item) for item in islice(documents, 999)]
    assert all(isinstance(item["tokens"], np.ndarray) for item in got)
