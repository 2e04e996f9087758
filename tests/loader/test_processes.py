"""Real processes: workers of every kind, ranks over gloo, and what happens when they are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.errors import CurateError, StateError, WorkerError
from curate.loader.data import Data
from curate.loader.world import World
from curate.selection.mixers import make_mixer
from tests.loader.fakes import FakeIndex, corpus
from tests.loader.ranks import same

RNG = np.random.default_rng(3)
INDEX = FakeIndex({"a": RNG.integers(1, 40, 400), "b": RNG.integers(1, 300, 90), "c": [3] * 5})
SCRIPT = Path(__file__).with_name("rank.py")

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def made(mixer="exp3", **constants):
    return Data(corpus(INDEX, **{"block_steps": 2, **constants}), make_mixer(mixer), World(0, 1))


def give_back(data, batch):
    data.feedback(batch["source_id"], (batch["input_ids"] % 7).float())


def run(data, batches, num_steps):
    got = []
    for batch in islice(batches, num_steps):
        got.append(batch)
        give_back(data, batch)
    return got


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_batches_do_not_depend_on_workers(context):
    """Eight steps each with 0, 1, 2 and 4 workers, resumed in between, against one run without any."""
    plain = made()
    wanted = run(plain, iter(plain), 32)
    state, got = None, []
    for num_workers in (0, 1, 4, 2):
        data = made()
        if state is not None:
            data.load_state_dict(state)
        loader = data.loader(num_workers, multiprocessing_context=context if num_workers else None)
        batches = iter(loader)
        got += run(loader, batches, 8)
        state = data.state_dict()
        batches.close()
    for mine, batch in zip(got, wanted, strict=True):
        same(mine, batch)


def ranks(tmp_path, size, **settings):
    """Start the ranks of one world; each writes what it saw."""
    settings = {"out": str(tmp_path), "size": size, **settings}
    rendezvous = tmp_path / f"rendezvous-{time.monotonic_ns()}"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    return [
        subprocess.Popen(
            [
                sys.executable,
                str(SCRIPT),
                json.dumps({**settings, "rank": rank, "rendezvous": str(rendezvous)}),
            ],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def finish(processes):
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors[-3000:]


def seen(tmp_path, first, stop, size):
    """Global batches that the ranks wrote."""
    for step in range(first, stop):
        parts = [
            torch.load(tmp_path / f"step{step}-rank{rank}.pt", weights_only=True) for rank in range(size)
        ]
        yield torch.cat([part["input_ids"] for part in parts]), parts[0]["weights"]


def test_ranks_over_gloo_resume_each_other(tmp_path):
    """World sizes 1, 2 and 4 with workers, saved by distributed checkpoints, give the run of one process."""
    plain = made()
    wanted, weights = [], []
    for batch in islice(plain, 18):
        weights.append(plain.weights())
        give_back(plain, batch)
        wanted.append(batch["input_ids"])
    step = 0
    for size, workers in ((2, 1), (4, 0), (1, 2)):
        finish(ranks(tmp_path, size, steps=6, workers=workers, resume=step > 0))
        for tokens, asked in seen(tmp_path, step, step + 6, size):
            assert torch.equal(tokens, wanted[step])
            assert asked == weights[step]
            step += 1


def shm():
    return {entry.name for entry in Path("/dev/shm").iterdir()}


def test_a_killed_worker_is_an_error_that_names_its_lanes():
    before = shm()
    data = made("natural")
    batches = iter(data.loader(2))
    got = list(islice(batches, 3))
    os.kill(worker_pids()[0], signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"worker 0: lanes 0 to 3, .*; worker 1: lanes 4 to 7"):
        for batch in batches:
            got.append(batch)
    data_state = data.state_dict()
    again = made("natural")
    again.load_state_dict(data_state)
    wanted = list(islice(made("natural"), len(got) + 2))
    for mine, batch in zip([*got, *islice(again, 2)], wanted, strict=True):
        same(mine, batch)
    assert shm() <= before


def worker_pids():
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    pids = [int(pid) for pid in listed.stdout.split()]
    return [
        pid
        for pid in pids
        if Path(f"/proc/{pid}/cmdline").exists() and b"pytest" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize("victim", ["rank", "all"])
def test_killed_ranks_go_on_from_the_last_state(tmp_path, victim):
    before = shm()
    processes = ranks(tmp_path, 2, steps=1000, workers=1, resume=False, save_every=3)
    while not (tmp_path / "step6-rank1.pt").exists():
        time.sleep(0.05)
        assert all(process.poll() is None for process in processes)
    for process in processes if victim == "all" else processes[1:]:
        process.send_signal(signal.SIGKILL)
    errors = [process.communicate(timeout=100)[1] for process in processes]
    if victim == "rank":
        assert processes[0].returncode not in (0, None) and "rror" in errors[0]
    deadline = time.monotonic() + 20
    while shm() - before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert shm() <= before
    saved = max(int(path.name.removeprefix("saved-")) for path in tmp_path.glob("saved-*"))
    finish(ranks(tmp_path, 4, steps=4, workers=0, resume=True))
    plain = made()
    wanted = run(plain, iter(plain), saved + 4)
    for number, (tokens, _) in enumerate(seen(tmp_path, saved, saved + 4, 4)):
        assert torch.equal(tokens, wanted[saved + number]["input_ids"])


def test_weights_that_differ_between_ranks_are_found(tmp_path):
    processes = ranks(tmp_path, 2, steps=8, workers=0, resume=False, disagree=True)
    errors = [process.communicate(timeout=100)[1] for process in processes]
    assert all("is not the same on all ranks" in error for error in errors)


def test_ranks_without_a_group_cannot_learn_weights():
    with pytest.raises(CurateError, match="what these weights are made of needs all ranks"):
        Data(corpus(INDEX), make_mixer("exp3"), World(0, 2))


def test_a_worker_that_waits_too_long_says_for_what():
    batches = iter(made("natural", block_steps=1).loader(1, prefetch_steps=6, seal_timeout_s=0.5))
    list(islice(batches, 3))
    time.sleep(2)
    with pytest.raises(StateError, match=r"no weights for block \d+ within 0\.5 s"):
        list(islice(batches, 40))
