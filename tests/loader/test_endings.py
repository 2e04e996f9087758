"""However a training script ends, no process and no shared memory of the loader is left."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import pytest

from curate.loader import open as open_data
from curate.loader.opening import Access
from tests.loader.corpus import Corpus, Doc, write_plan, write_shards
from tests.loader.ranks import same
from tests.loader.test_random_access import tokenizer_file

__all__ = ["tokenizer_file"]

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def start(how, context):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("TOKENIZERS_PARALLELISM", None)
    return subprocess.Popen(
        [sys.executable, "-W", "default", "-m", "tests.loader.ending", how, context],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def nothing_is_left(said):
    """Neither the workers, nor what the script and its workers shared, soon."""
    assert said["step"] == 3 and len(said["workers"]) >= 2

    def left():
        return [pid for pid in said["workers"] if is_alive(pid)] + [
            name for name in said["shared"] if Path(name).exists()
        ]

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and left():
        time.sleep(0.1)
    assert left() == []


ENDINGS = [
    ("break", 0, ""),
    ("exit", 3, ""),
    ("raise", 1, "RuntimeError: the model is broken"),
    ("interrupt", -signal.SIGINT, "KeyboardInterrupt"),
]
NOISE = ("Exception ignored", "leaked", "tokenizers", "resource_tracker", "terminated", "BrokenPipe")


@pytest.mark.parametrize(("how", "code", "error"), ENDINGS)
def test_a_script_that_ends_leaves_nothing_behind(how, code, error):
    process = start(how, "fork")
    out, errors = process.communicate(timeout=100)
    assert process.returncode == code, errors
    lines = out.splitlines()
    assert errors.strip().splitlines()[-1:] == [error] * bool(error)
    assert not [word for word in NOISE if word in errors], errors
    if how == "break":
        assert lines[1:] == ["left", "4 5"]
    nothing_is_left(json.loads(lines[0]))


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("to", ["group", "process"])
def test_ctrl_c_ends_a_script_and_its_workers(context, to):
    """A terminal sends it to all processes; a scheduler to the first."""
    process = start("wait", context)
    said = json.loads(process.stdout.readline())
    if context == "spawn":
        assert said["shared"]  # semaphores have names there
    if to == "group":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == -signal.SIGINT, errors
    assert errors.strip().splitlines()[-1] == "KeyboardInterrupt"
    nothing_is_left(said)


@pytest.fixture
def plan(tmp_path):
    docs = [[Doc(f"{n} words of shard {s} " * (n + 1), "web") for n in range(60)] for s in range(3)]
    corpus = Corpus(docs)
    return write_plan(corpus, tmp_path / "plan", write_shards(corpus, tmp_path / "shards"))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_start_beside_threads_that_read_and_tokenize(plan, tmp_path, tokenizer_file, context, capfd):
    """The process that forks has used the tokenizer, its files are open, and its threads are at work."""

    def opened():
        return open_data(
            plan,
            tokenizer=tokenizer_file,
            seq_len=16,
            global_batch=4,
            access=Access(cache_dir=tmp_path / "cache"),
        )

    data = opened()
    wanted = list(islice(opened(), 12))
    local = iter(data)
    got = list(islice(local, 4))
    assert any(thread.name.startswith("curate-read") for thread in threading.enumerate())
    batches = iter(data.loader(2, multiprocessing_context=context))
    got += list(islice(batches, 8))
    batches.close()
    local.close()
    for mine, batch in zip(got, wanted, strict=True):
        same(mine, batch)
    assert not any(thread.name.startswith("curate-read") for thread in threading.enumerate())
    assert "TOKENIZERS_PARALLELISM" not in capfd.readouterr().err
