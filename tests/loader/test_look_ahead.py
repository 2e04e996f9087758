"""Training loops that fetch batches before they train on those before: state and feedback stay right."""

from collections import deque
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from curate.errors import ConfigError, StateError
from curate.loader.rewind import KEPT_STEPS
from curate.loader.tokenlog import read_log
from tests.loader.interop import loss_of, opened
from tests.loader.ranks import same


def looking_ahead(batches, num_ahead):
    """Give batches, some of them fetched before they are needed."""
    batches, waiting = iter(batches), deque()
    for batch in batches:
        waiting.append(batch)
        if len(waiting) > num_ahead:
            yield waiting.popleft()
    yield from waiting


def train(data, batches, num_steps):
    """Train on some batches, giving losses back by the step they are of."""
    trained = []
    for batch in islice(batches, num_steps):
        trained.append(batch)
        data.feedback(batch["source_id"], loss_of(batch), step=batch["step"])
    return trained


@settings(max_examples=25)
@given(
    num_ahead=st.integers(1, 4),
    stops=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    mixer=st.sampled_from(["natural", "exp3"]),
    packing=st.sampled_from(["split", "best_fit"]),
)
def test_a_state_leaves_out_what_was_only_fetched(num_ahead, stops, mixer, packing):
    constants = {"packing": packing, "pack_pieces": 4, "block_steps": 3, "delay": 3}
    plain = opened(mixer, **constants)
    wanted = train(plain, looking_ahead(plain, num_ahead), sum(stops))
    state, got = None, []
    for num_steps in stops:
        data = opened(mixer, **constants)
        if state is not None:
            data.load_state_dict(state)
        loader = data.loader(look_ahead=num_ahead)
        got += train(data, looking_ahead(loader, num_ahead), num_steps)
        state = data.state_dict(step=got[-1]["step"] + 1)
        assert data.step == got[-1]["step"] + 1 + num_ahead
        same_state(loader.state_dict(), state)
    for mine, batch in zip(got, wanted, strict=True):
        same(mine, batch)


def same_state(a, b):
    assert a == b


def test_feedback_by_step_counts_as_without_look_ahead_where_in_flight_leaves_room():
    """Blocks of 4 steps seal one step later with in_flight=3, when the last loss has come, too."""
    plain, ahead = opened("exp3", block_steps=4, in_flight=3), opened("exp3", block_steps=4, in_flight=3)
    train(plain, iter(plain), 30)
    train(ahead, looking_ahead(ahead, 1), 29)
    for block in range(7, 9):
        assert plain.mixing.log.of(block).tolist() == ahead.mixing.log.of(block).tolist()


def test_iterating_anew_gives_again_what_was_fetched_only():
    data = opened()
    loader = data.loader(look_ahead=1)
    first = list(islice(looking_ahead(loader, 1), 3))
    second = list(islice(looking_ahead(loader, 1), 3))
    for mine, batch in zip([*first, *second], islice(opened(), 6), strict=True):
        same(mine, batch)


def test_at_the_end_nothing_is_left_out():
    data = opened(end="stop")
    loader = data.loader(look_ahead=2)
    trained = list(looking_ahead(loader, 2))
    assert loader.trained == data.step == len(trained) > 2
    assert list(loader) == []


def test_a_state_of_a_step_that_is_not_kept_is_refused():
    data = opened()
    list(islice(data, KEPT_STEPS + 2))
    data.state_dict(step=2)
    with pytest.raises(StateError, match=r"can go back 8 steps here, not 9"):
        data.state_dict(step=1)
    again = opened()
    again.load_state_dict(data.state_dict(step=4))
    with pytest.raises(StateError, match=r"can go back 0 steps here, not 1"):
        again.state_dict(step=3)
    with pytest.raises(ConfigError, match=r"look_ahead must be in 0 \.\.\. 8: 9"):
        data.loader(look_ahead=9)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_data_loader_that_collects_batches_is_refused(num_workers):
    loader = DataLoader(opened(), batch_size=2, num_workers=num_workers)
    with pytest.raises(ConfigError, match="would collect batches into batches") as caught:
        next(iter(loader))
    assert num_workers or "batch_size=None" in caught.value.hint
    same(next(iter(DataLoader(opened(), batch_size=None))), next(iter(opened())))


def test_an_iterator_whose_data_set_was_moved_is_refused():
    data = opened()
    batches = iter(data)
    list(islice(batches, 3))
    state = data.state_dict()
    list(islice(data, 2))
    with pytest.raises(StateError, match="gives step 3 next, but its data set is at step 5"):
        next(batches)
    batches = iter(data)
    next(batches)
    data.load_state_dict(state)
    with pytest.raises(StateError, match="gives step 6 next, but its data set is at step 3"):
        next(batches)


@pytest.mark.parametrize("block_steps", [1, 4])
def test_the_log_has_the_losses_of_all_steps_of_a_block(tmp_path, block_steps):
    """Each token's loss is the number of its step."""
    data = opened("exp3", block_steps=block_steps, log=tmp_path / "run.jsonl")
    served = np.zeros((3 * block_steps, 3))
    for batch in islice(data, 3 * block_steps + 1):
        data.feedback(batch["source_id"], float(batch["step"]), step=batch["step"])
        if batch["step"] < len(served):
            served[batch["step"]] = np.bincount(batch["source_id"].flatten().numpy(), minlength=3)
    for block, line in enumerate(islice(read_log(tmp_path / "run.jsonl")[1], 3)):
        steps = np.arange(block * block_steps, (block + 1) * block_steps)
        for pool, tokens in zip("abc", served[steps].T, strict=True):
            if tokens.sum():
                assert line.loss[pool] == pytest.approx((steps * tokens).sum() / tokens.sum())
