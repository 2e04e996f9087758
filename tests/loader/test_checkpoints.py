"""States through the checkpoint libraries of torch: torchdata, torch.distributed.checkpoint, torch.save."""

from itertools import islice

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from curate.errors import ConfigError
from curate.loader.data import Data
from tests.loader.interop import loss_of, opened
from tests.loader.ranks import same

pytestmark = [
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]


@pytest.fixture
def stateful():
    torchdata = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")
    return torchdata.StatefulDataLoader


@pytest.mark.peer
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("num_steps", [1, 5, 8])
def test_torchdata_resumes_in_mid_epoch_with_the_same_workers(stateful, num_workers, num_steps):
    wanted = list(islice(stateful(opened(), batch_size=None, num_workers=num_workers), num_steps + 6))
    first = stateful(opened(), batch_size=None, num_workers=num_workers)
    batches = iter(first)
    list(islice(batches, num_steps))
    state = first.state_dict()
    second = stateful(opened(), batch_size=None, num_workers=num_workers)
    second.load_state_dict(state)
    for mine, batch in zip(islice(second, 6), wanted[num_steps:], strict=True):
        same(mine, batch)


@pytest.mark.peer
def test_torchdata_without_workers_gives_the_batches_of_the_loader(stateful):
    for mine, batch in zip(islice(stateful(opened(), batch_size=None), 6), opened(), strict=False):
        same(mine, batch)


@pytest.mark.peer
def test_torchdata_gives_the_lanes_of_one_worker_after_those_of_another(stateful):
    """An item of it is a worker's part of a global batch: as many sequences, other steps."""
    batches = islice(stateful(opened(), batch_size=None, num_workers=2), 6)
    for number, (mine, other) in enumerate(zip(batches, batches, strict=True)):
        assert mine["step"] == other["step"] == number
        whole = next(islice(opened(), number, None))
        assert torch.equal(torch.cat([mine["input_ids"], other["input_ids"]]), whole["input_ids"])


@pytest.mark.peer
def test_weights_of_losses_are_refused_in_workers_of_another_loader(stateful):
    with pytest.raises(ConfigError, match="these weights need feedback"):
        next(iter(stateful(opened("exp3"), batch_size=None, num_workers=1)))


@pytest.fixture
def alone(tmp_path):
    """A world of one rank over gloo."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def advanced(num_steps, mixer="exp3"):
    data = opened(mixer)
    for batch in islice(data, num_steps):
        data.feedback(batch["source_id"], loss_of(batch))
    return data


def goes_on_alike(loaded: Data, data: Data):
    for mine, batch in zip(islice(loaded, 8), data, strict=False):
        same(mine, batch)
        for each in (loaded, data):
            each.feedback(batch["source_id"], loss_of(batch))


def test_an_asynchronous_checkpoint_is_of_the_step_it_was_asked_at(alone, tmp_path):
    """Training goes on while the state is written."""
    data, wanted = advanced(7), advanced(7)
    saving = dcp.async_save({"data": data}, checkpoint_id=tmp_path / "checkpoint")
    list(islice(data, 5))
    saving.result()
    loaded = opened("exp3")
    dcp.load({"data": loaded}, checkpoint_id=tmp_path / "checkpoint")
    assert loaded.step == 7
    goes_on_alike(loaded, wanted)


def test_a_loader_is_stateful_for_a_distributed_checkpoint(alone, tmp_path):
    data = advanced(5)
    dcp.save({"data": data.loader(look_ahead=2)}, checkpoint_id=tmp_path / "checkpoint")
    loaded = opened("exp3")
    dcp.load({"data": loaded.loader()}, checkpoint_id=tmp_path / "checkpoint")
    assert loaded.step == 3


def test_torch_save_and_a_load_of_weights_only(tmp_path):
    data = advanced(9)
    torch.save({"data": data.state_dict(), "lr": 0.1}, tmp_path / "state.pt")
    loaded = opened("exp3")
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True)["data"])
    goes_on_alike(loaded, data)
