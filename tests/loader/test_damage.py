"""States that are damaged or of others, ranks that opened something else, numbers out of bounds."""

import json
from itertools import islice

import numpy as np
import pytest
import torch

from curate.errors import ConfigError, DataError, StateError
from curate.loader.data import Data
from curate.loader.saved import pack, unpack
from curate.loader.world import World
from curate.selection.mixers import make_mixer
from tests.loader.fakes import FakeIndex, corpus
from tests.loader.ranks import Ranks, same

INDEX = FakeIndex({"a": [9] * 400, "b": [30] * 90})


def made(world=None, *, mixer="exp3", index=INDEX, **constants):
    return Data(corpus(index, **{"block_steps": 2, **constants}), make_mixer(mixer), world or World(0, 1))


@pytest.fixture
def state():
    data = made()
    list(islice(data, 5))
    return data.state_dict()


def changed(state, **values):
    return {**state, "run": json.dumps({**json.loads(state["run"]), **values})}


def lane_with(state, name, value):
    arrays = {key: array.copy() for key, array in unpack(state["lane_00002"], "").items()}
    arrays[name] = np.asarray(value, arrays[name].dtype) if np.isscalar(value) is False else arrays[name]
    if np.isscalar(value):
        arrays[name] = np.full_like(arrays[name], value)
    return {**state, "lane_00002": pack(arrays)}


@pytest.mark.parametrize("step", [-3, 1.5, 10**30, 1000, "5", None])
def test_a_step_that_cannot_be_is_refused(state, step):
    with pytest.raises(StateError, match="step"):
        made().load_state_dict(changed(state, step=step))


def test_parts_that_do_not_go_together_are_refused(state):
    mixing = json.loads(state["run"])["mixing"]
    for values in (
        {"pools": ["a"]},
        {"mixing": {**mixing, "sealed": 1000}},
        {"mixing": {**mixing, "weights": {}}},
        {"mixing": {**mixing, "weights": {block: [float("nan"), 1] for block in mixing["weights"]}}},
        {"stages": []},
        {"mixing": None},
    ):
        with pytest.raises(StateError):
            made().load_state_dict(changed(state, **values))
    with pytest.raises(StateError, match="damaged: JSONDecodeError"):
        made().load_state_dict({**state, "run": state["run"][:-9]})


@pytest.mark.parametrize(
    ("name", "value"), [("passes", np.nan), ("served", -1), ("cursor", -5), ("clock", np.nan)]
)
def test_numbers_of_a_lane_that_cannot_be_are_refused(state, name, value):
    with pytest.raises(StateError, match=f"{name} of lane_00002 has numbers that cannot be"):
        made().load_state_dict(lane_with(state, name, value))


def test_bytes_of_a_lane_are_checked(state):
    data = bytearray(state["lane_00002"])
    data[-9] ^= 1
    for wrong in (bytes(data), data[:20], b"", None, np.zeros(3)):
        with pytest.raises(StateError, match="lane_00002 is damaged"):
            made().load_state_dict({**state, "lane_00002": wrong})


def test_what_fails_to_load_changes_nothing(state):
    data, plain = made(), made()
    batches, wanted = iter(data), iter(plain)
    for _ in range(7):
        batch = next(batches)
        same(batch, next(wanted))
        for each in (data, plain):
            each.feedback(batch["source_id"], batch["source_id"].float())
    with pytest.raises(StateError):
        data.load_state_dict(changed(state, step=-1))
    for _ in range(9):
        same(next(batches), next(wanted))


def test_restart_goes_back_to_the_first_step(state):
    data = made()
    first = next(iter(data))
    list(islice(data, 3))
    data.load_state_dict(changed(state, step=-1), on_mismatch="restart")
    assert data.step == 0
    same(next(iter(data)), first)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"seq_len": 16},
        {"mixer": "odm"},
        {"index": FakeIndex({"a": [9] * 50, "b": [5]}, name="x")},
    ],
)
def test_ranks_that_open_something_else_are_refused(other):
    with pytest.raises(AssertionError, match="what was opened"):
        Ranks(2, lambda world: made(world, **(other if world.rank else {})))


def test_ranks_that_load_other_steps_are_refused(state):
    ranks = Ranks(2, made)
    later = made()
    list(islice(later, 7))
    states = (state, later.state_dict())
    with pytest.raises(AssertionError, match="the step of the state"):
        ranks.each(lambda data: data.load_state_dict(states[data.world.rank]))
    ranks.close()


def test_feedback_out_of_bounds_is_refused():
    data = made()
    batch = next(iter(data))
    source_id = batch["source_id"]
    for step in (1, 10**9, -1):
        with pytest.raises(ConfigError, match="not handed out"):
            data.feedback(source_id, 1.0, step=step)
    for shape in ((32,), (4, 32), (8, 30), (2, 8)):
        with pytest.raises(ConfigError, match="do not match"):
            data.feedback(source_id, torch.zeros(shape), step=0)


def test_labels_that_do_not_count_give_no_loss():
    data = made()
    batch = next(iter(data))
    losses = torch.full(batch["labels"].shape, 2.0).masked_fill(batch["labels"] == -100, 0.0)
    data.feedback(batch["source_id"][:, :], losses[:, 1:], labels=batch["labels"])
    sums = data._feedback.total(0)
    assert sums[:, 1].sum() == int((batch["labels"][:, 1:] != -100).sum())
    assert sums[:, 0].tolist() == (2 * (1 << 20) * sums[:, 1]).tolist()


def test_weights_that_cannot_be_are_refused():
    data = made()
    for wrong in ({"a": "x"}, {"a": None}, [1, 2], {"a": float("nan")}, {"a": -1.0}, {"c": 1.0}, {"a": 0.0}):
        with pytest.raises(ConfigError):
            data.set_weights(wrong)
    assert data.set_weights({"a": 1e308, "b": 1e308}) > 0
    assert data.mixing.current_set.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("packing", ["split", "best_fit"])
def test_documents_without_tokens_do_not_turn_for_ever(monkeypatch, packing):
    for module in ("lane", "splitting"):
        monkeypatch.setattr(f"curate.loader.{module}.MAX_EMPTY", 1000)
    index = FakeIndex({"a": [0] * 40, "b": [3] * 40})
    index.pools = tuple(pool.__class__(**{**pool.__dict__, "num_tokens": 40}) for pool in index.pools)
    data = made(index=index, mixer={"fixed": {"a": 1.0, "b": 0.0}}, packing=packing)
    with pytest.raises(DataError, match="documents without a token"):
        next(iter(data))


def test_workers_out_of_bounds_are_refused():
    for wrong in ({"num_workers": -1}, {"prefetch_steps": 0}, {"multiprocessing_context": "thread"}):
        with pytest.raises(ConfigError, match="num_workers is 0 or more"):
            made().loader(**wrong)


def test_what_needs_all_ranks_is_refused_without_a_group():
    data = made(World(0, 2), mixer="natural")
    with pytest.raises(ConfigError, match="this needs all ranks"):
        data.full_state_dict()
