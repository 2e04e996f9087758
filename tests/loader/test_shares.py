"""Shares of tokens against the weights: in total, in every batch, of rare pools, and while weights change."""

from itertools import islice

import numpy as np
import pytest

from curate.errors import ConfigError
from curate.loader.data import Data
from curate.loader.world import World
from curate.selection.mixers import make_mixer
from tests.loader.fakes import FakeIndex, corpus, document


def exponential(mean, size, seed=0):
    return np.maximum(1, np.random.default_rng([seed, mean, size]).exponential(mean, size)).astype(int)


def made(index, mixer="natural", **constants):
    constants = {"global_batch": 64, "seq_len": 512, "block_steps": 8, "block_docs": 16, **constants}
    constants.pop("block_docs")
    return Data(corpus(index, **constants), make_mixer(mixer), World(0, 1))


def counts(batch, num_pools):
    sources = batch["source_id"].numpy().ravel()
    return np.bincount(sources[sources >= 0], minlength=num_pools)


@pytest.mark.parametrize("packing", ["split", "first_fit", "best_fit"])
def test_even_shares_of_short_and_long_documents(packing):
    """Mean 400 and 4,000 tokens, asked half and half: 1 % after a million tokens, and a bound on each batch.

    The bound is four standard deviations of as many independent draws as lanes, 4 sqrt(w (1-w) / L).
    """
    index = FakeIndex({"long": exponential(4000, 3000), "short": exponential(400, 30_000)}, block_docs=16)
    data = made(index, {"fixed": {"long": 0.5, "short": 0.5}}, packing=packing)
    total = np.zeros(2)
    for batch in islice(data, 60):
        found = counts(batch, 2)
        total += found
        assert abs(found[0] / found.sum() - 0.5) <= 4 * np.sqrt(0.25 / 64)
        if total.sum() >= 1_000_000:
            assert abs(total[0] / total.sum() - 0.5) <= 0.01
    served = data.arrays.served[:, :, 0]
    ahead = np.abs(served - served.sum(axis=1, keepdims=True) * 0.5)
    assert ahead.max() <= data.corpus.constants.seq_len * (1 if packing == "split" else 2)


def test_batches_of_many_lanes_are_nearer_to_the_weights_than_draws():
    index = FakeIndex({"long": exponential(4000, 3000), "short": exponential(400, 30_000)}, block_docs=16)
    data = made(index, {"fixed": {"long": 0.3, "short": 0.7}}, global_batch=256, seq_len=128)
    shares = [counts(batch, 2) for batch in islice(data, 60)]
    shares = np.array([found[0] / found.sum() for found in shares])
    assert shares.std() < np.sqrt(0.21 / 256)
    assert abs(shares.mean() - 0.3) < 0.003


def test_a_rare_pool_is_served_its_share():
    index = FakeIndex({"most": [5000] * 3000, "rare": exponential(40, 400)}, block_docs=4)
    data = made(index, {"fixed": {"most": 1 - 1e-5, "rare": 1e-5}}, global_batch=32, seq_len=8192)
    for _ in islice(data, 150):
        pass
    served = data.arrays.served[:, :, 0].sum(axis=0)
    wanted = served.sum() * 1e-5
    assert wanted > 300 and abs(served[1] - wanted) < 0.35 * wanted


def test_weights_that_change_every_block_are_followed_within_a_sequence():
    """Over all lanes at most a sequence a lane and pool from what was asked, a single lane two and a half."""
    sizes = {
        "a": exponential(30, 4000),
        "b": exponential(300, 2000),
        "c": exponential(3000, 900),
        "d": [60_000] * 90,
    }
    data = made(FakeIndex(sizes, block_docs=4), global_batch=16, seq_len=512, block_steps=2)
    rng = np.random.default_rng(4)
    asked, furthest = np.zeros(4), 0.0
    tokens = 2 * 512
    for step, _ in enumerate(islice(data, 1000)):
        if step % 2 == 0:
            asked += data.mixing.log.of(step // 2) * tokens
        data.set_weights(dict(zip("abcd", rng.dirichlet([0.5] * 4), strict=True)))
        if step % 2:
            served = data.arrays.served[:, :, 0]
            furthest = max(furthest, np.abs(served - asked).max() / 512)
            assert np.abs((served - asked).mean(axis=0)).max() <= 512
    assert furthest <= 2.5
    assert (data.arrays.served[:, :, 0].sum(axis=0) > 0).all()


def test_a_thousand_pools_with_weights_from_a_millionth_up():
    names = [f"pool{number:04d}" for number in range(1000)]
    index = FakeIndex({name: exponential(60, 40, seed) for seed, name in enumerate(names)}, block_docs=2)
    weights = np.geomspace(1e-6, 1.0, 1000)
    weights /= weights.sum()
    data = made(
        index, {"fixed": dict(zip(names, weights.tolist(), strict=True))}, global_batch=32, seq_len=256
    )
    for _ in islice(data, 100):
        pass
    served = data.arrays.served[:, :, 0].sum(axis=0)
    total = served.sum()
    for part in (slice(0, 500), slice(500, 800), slice(800, 1000)):
        wanted = weights[part].sum() * total
        assert abs(served[part].sum() - wanted) <= 3 * np.sqrt(2 * wanted * 60), "as draws of documents would"
    assert (served[-100:] > 0).all()


def test_documents_of_a_hundred_sequences_come_whole_and_in_order():
    index = FakeIndex({"huge": [13_007, 12_901, 15_000], "small": [7] * 50})
    data = made(index, global_batch=2, seq_len=100, end="pad")
    found = {}
    for batch in data:
        for row, start, length, _, doc, offset in batch["doc_spans"].tolist():
            assert sum(map(len, found.setdefault(doc, []))) == offset
            found[doc].append(batch["input_ids"][row, start : start + length].numpy())
    assert len(found) == 53
    for doc, parts in found.items():
        assert np.array_equal(np.concatenate(parts), document(doc, int(index.tokens[doc])))


def test_a_sequence_longer_than_all_documents_together():
    index = FakeIndex({"a": [5, 6], "b": [7]})
    batch = next(iter(made(index, global_batch=1, seq_len=1000)))
    assert batch["input_ids"].shape == (1, 1000) and len(batch["doc_spans"]) > 100


def test_empty_pools_and_one_pool():
    index = FakeIndex({"a": [9] * 40, "none": []})
    data = made(index, "uniform", global_batch=4, seq_len=16)
    assert [set(batch["source_id"].unique().tolist()) for batch in islice(data, 5)] == [{0}] * 5
    with pytest.raises(ConfigError, match="there are no documents to serve"):
        made(FakeIndex({"none": []}), global_batch=4, seq_len=16)


def test_a_cap_is_kept_and_said(caplog):
    index = FakeIndex({"a": [9] * 1000, "b": [9] * 20}, caps={"b": 2.0})
    data = made(index, {"fixed": {"a": 0.5, "b": 0.5}}, global_batch=4, seq_len=36, block_steps=1)
    for _ in islice(data, 40):
        pass
    served = data.arrays.served.sum(axis=0)
    assert served[1].tolist() == [360, 40] and served[0, 0] == 40 * 4 * 36 - 360
    assert "pool b is at its cap" in caplog.text
    assert data.weights()["b"] < 0.01
