"""Plans that follow one another: nothing that was served in the epoch comes again."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curate.errors import StateError
from curate.loader.data import Data
from curate.loader.served import RunLog
from curate.loader.tokenlog import read_log
from curate.loader.world import World
from curate.selection.mixers import make_mixer
from tests.loader.fakes import FakeIndex, corpus
from tests.loader.ranks import same


def made(plans, name="first", **constants):
    return Data(
        corpus(plans[name], **constants),
        make_mixer("natural"),
        World(0, 1),
        source=name,
        opener=lambda name: corpus(plans[Path(name).name], **constants),
    )


def served(batches, plan):
    """Tokens of each row of the corpus in some batches."""
    counts = Counter()
    for batch in batches:
        for _, _, length, _, doc, _ in batch["doc_spans"].tolist():
            counts[int(plan.row[doc])] += length
    return counts


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=30, max_size=60),
    st.sampled_from(["split", "first_fit", "best_fit"]),
    st.sampled_from([1, 2, 4]),
    st.integers(1, 10),
    st.integers(0, 4),
)
def test_both_plans_together_serve_each_document_as_often_as_it_is_repeated(
    sizes, packing, lanes, num_steps, seed
):
    """The second plan has the same documents in other pools and repeats: what the first gave is left out."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(sizes), dtype=np.uint32)
    tokens = dict(zip(rows.tolist(), sizes, strict=True))
    first = FakeIndex({"a": sizes[:20], "b": sizes[20:]}, name="first")
    mixed = rng.permutation(rows)
    repeats = rng.integers(1, 3, len(sizes))
    second = FakeIndex({"c": [tokens[int(row)] for row in mixed]}, {"c": repeats}, name="second", rows=mixed)
    constants = {
        "packing": packing,
        "lanes": lanes,
        "global_batch": 4,
        "seq_len": 16,
        "block_steps": 1,
        "end": "pad",
        "pack_pieces": 3,
    }
    data = made({"first": first, "second": second}, **constants)
    batches, before = iter(data), []
    before += islice(batches, num_steps)
    swap_step = data.swap_plan("second")
    before += islice(batches, swap_step - data.step)
    assume(data.step == swap_step)
    after = list(batches)
    given, rest = served(before, first), served(after, second)
    for row, times in zip(mixed.tolist(), repeats.tolist(), strict=True):
        left = times - 1 if given[row] else times
        assert rest[row] == left * tokens[row], (row, times, given[row])
    assert all(batch["doc_spans"][:, 3].eq(0).all() for batch in after)


def test_the_log_goes_on_where_the_pools_stay_the_same(tmp_path):
    """Lines add up to what was served, over a change of plans and a resume in each stage."""
    plans = {
        "first": FakeIndex({"a": [9] * 90, "b": [3] * 50}, name="first"),
        "second": FakeIndex({"a": [9] * 300, "b": [3] * 90}, name="second"),
    }
    log = tmp_path / "log.jsonl"

    def opened():
        data = made(plans, block_steps=1)
        data.log = RunLog(log, data.corpus, "first")
        return data

    state, wanted = None, Counter()
    for turn in range(4):
        data = opened()
        if state is not None:
            data.load_state_dict(state)
        batches = iter(data)
        for batch in islice(batches, 3):
            for _, _, length, pool, _, _ in batch["doc_spans"].tolist():
                wanted[data.corpus.names[pool]] += length
        if turn == 0:
            data.swap_plan("second")
        state = data.state_dict()
        next(batches)
        batches.close()
    total = Counter()
    for block in read_log(log)[1]:
        assert min(block.tokens.values()) >= 0 and sum(block.tokens.values()) == 8 * 32
        total.update(block.tokens)
        assert total == Counter(block.total_tokens)
        if block.block == 11:
            assert total == wanted
    assert len(data.stages) == 2 and block.block == 12


def test_a_second_epoch_of_the_new_plan_gives_everything():
    sizes = [8] * 40
    data = made(
        {"first": FakeIndex({"a": sizes}, name="first")}, seq_len=8, block_steps=1, end="pad", max_epochs=9
    )
    batches = iter(data)
    before = list(islice(batches, 3))
    step = data.swap_plan("first")
    before += islice(batches, step - data.step)
    plan = data.corpus.index
    first, second = served(before, plan), served(batches, plan)
    assert set(first.values()) == {8, 16}, "some lanes were in the second epoch"
    assert {row: second[row] for row in range(40)} == {
        row: 72 if row not in first else 64 for row in range(40)
    }


def test_a_state_of_a_later_stage_is_restored_from_the_first_plan_or_the_last():
    plans = {
        "first": FakeIndex({"a": [9] * 90, "b": [3] * 50}, name="first"),
        "second": FakeIndex({"a": [9] * 90, "b": [3] * 10}, name="second"),
    }
    data = made(plans, block_steps=1)
    batches = iter(data)
    list(islice(batches, 2))
    data.swap_plan("second")
    list(islice(batches, 3))
    assert len(data.stages) == 2
    state = data.state_dict()
    wanted = list(islice(batches, 3))
    for name in plans:
        again = made(plans, name, block_steps=1)
        again.load_state_dict(state)
        for got, batch in zip(again, wanted, strict=False):
            same(got, batch)


def test_another_plan_is_refused_appended_or_restarted(caplog):
    plans = {
        "first": FakeIndex({"a": [9] * 400}, name="first"),
        "other": FakeIndex({"a": [9] * 300}, name="other"),
    }
    data = made(plans, block_steps=2)
    before = list(islice(data, 5))
    state = data.state_dict()
    other = made(plans, "other", block_steps=2)
    with pytest.raises(StateError, match=r"another plan than this run: first \(first\) and other"):
        other.load_state_dict(state)
    other.load_state_dict(state, on_mismatch="append")
    assert other.step == 5
    after = list(islice(other, 4))
    assert [batch["step"] for batch in after] == list(range(5, 9))
    first = served(before, plans["first"])
    assert not set(first) & set(served(after, plans["other"]))
    again = made(plans, "other", block_steps=2)
    again.load_state_dict(state, on_mismatch="restart")
    same(next(iter(again)), next(iter(made(plans, "other", block_steps=2))))
    assert "starting from the first step" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 3), ("seq_len", 64), ("lanes", 4), ("packing", "best_fit"), ("delay", 3)]
)
def test_other_constants_are_refused_by_name(name, value):
    plans = {"first": FakeIndex({"a": [9] * 400}, name="first")}
    data = made(plans)
    next(iter(data))
    with pytest.raises(StateError, match=f"{name} of the state and of this run differ"):
        made(plans, **{name: value}).load_state_dict(data.state_dict())


def test_the_length_of_sequences_may_change_where_a_run_goes_on():
    plans = {"first": FakeIndex({"a": [9] * 400}, name="first")}
    data = made(plans)
    next(iter(data))
    longer = made(plans, seq_len=64)
    longer.load_state_dict(data.state_dict(), on_mismatch="append")
    batch = next(iter(longer))
    assert batch["input_ids"].shape == (8, 64) and batch["step"] == 1


def test_a_lane_that_is_missing_is_named():
    plans = {"first": FakeIndex({"a": [9] * 400}, name="first")}
    data = made(plans)
    state = data.state_dict()
    del state["lane_00003"]
    with pytest.raises(StateError, match="no lane_00003"):
        data.load_state_dict(state)
    with pytest.raises(StateError, match="no text 'run'"):
        data.load_state_dict({"x": torch.zeros(1)})


def test_a_run_that_begins_again_forgets_what_its_stages_served():
    plans = {"first": FakeIndex({"a": [9] * 400}, name="first")}
    data = made(plans, block_steps=1)
    batches = iter(data)
    next(batches)
    data.swap_plan("first")
    list(islice(batches, 4))
    state = {**data.state_dict(), "run": "{"}
    data.load_state_dict(state, on_mismatch="restart")
    assert len(data.stages) == 1 and not data.stages[0].cache
    same(next(iter(data)), next(iter(made(plans, block_steps=1))))


def test_what_is_left_depends_on_the_seed():
    """Runs that share a cache folder may have lanes at the same places."""
    index = FakeIndex({"a": [32] * 64}, name="first")
    names = set()
    for seed in (0, 1):
        data = made({"first": index}, block_steps=1, seed=seed)
        batches = iter(data)
        next(batches)
        data.swap_plan("first")
        list(islice(batches, 3))
        names.add(data.stages[0].digest(data.corpora[0].constants))
    assert len(names) == 2
