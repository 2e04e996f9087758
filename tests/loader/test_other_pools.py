"""A plan with other pools takes over: checkpoints, the log and its replay go along."""

from itertools import islice
from pathlib import Path

import pytest
import torch.distributed.checkpoint as dcp

from curate.loader.data import Data
from curate.loader.mixers import make_mixer, swaps_of
from curate.loader.served import RunLog
from curate.loader.world import World
from tests.loader.fakes import FakeIndex, corpus
from tests.loader.ranks import same
from tests.loader.test_swap import made

PLANS = {
    "first": FakeIndex({"a": [9] * 90, "b": [3] * 50}, name="first"),
    "second": FakeIndex({"a": [9] * 300, "b": [3] * 90, "c": [4] * 90}, name="second"),
}


@pytest.mark.filterwarnings("ignore")
def test_dcp_other_pools(tmp_path):
    data = made(PLANS, block_steps=1)
    batches = iter(data)
    list(islice(batches, 2))
    data.swap_plan("second")
    list(islice(batches, 4))
    assert len(data.stages) == 2
    dcp.save({"data": data}, checkpoint_id=tmp_path / "c", no_dist=True)
    wanted = list(islice(batches, 2))
    again = made(PLANS, block_steps=1)
    dcp.load({"data": again}, checkpoint_id=tmp_path / "c", no_dist=True)
    for got, want in zip(again, wanted, strict=False):
        same(got, want)


def test_replay_other_pools(tmp_path):
    data = made(PLANS, block_steps=1)
    data.log = RunLog(tmp_path / "log.jsonl", data.corpus, "first")
    batches = iter(data)
    wanted = list(islice(batches, 2))
    data.swap_plan("second")
    wanted += islice(batches, 6)
    batches.close()
    spec = {"replay": tmp_path / "log.jsonl"}
    again = Data(
        corpus(PLANS["first"], block_steps=1),
        make_mixer(spec),
        World(0, 1),
        source="first",
        opener=lambda name: corpus(PLANS[Path(name).name], block_steps=1),
        swaps=swaps_of(spec),
    )
    for got, want in zip(again, wanted, strict=False):
        same(got, want)


@pytest.mark.filterwarnings("ignore")
def test_dcp_packing(tmp_path):
    data = made(PLANS, block_steps=1, packing="best_fit", pack_pieces=4)
    batches = iter(data)
    list(islice(batches, 2))
    dcp.save({"data": data}, checkpoint_id=tmp_path / "c", no_dist=True)
    wanted = list(islice(batches, 2))
    again = made(PLANS, block_steps=1, packing="best_fit", pack_pieces=4)
    dcp.load({"data": again}, checkpoint_id=tmp_path / "c", no_dist=True)
    for got, want in zip(again, wanted, strict=False):
        same(got, want)
