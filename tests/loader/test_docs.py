"""What docs/loader.md shows runs."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import curate.loader as cl
from tests.loader.interop import INDEX, library, loss_of, opened

TEXT = (Path(__file__).parents[2] / "docs" / "loader.md").read_text("utf-8")
SNIPPETS = dict(
    re.findall(r"^### ([^\n]+)\n(?:(?!^#+ ).)*?```python\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL)
)

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


def run(title, **names):
    exec(compile(SNIPPETS[title], title, "exec"), names)
    return names


def test_every_snippet_is_run_here():
    source = Path(__file__).read_text("utf-8")
    assert SNIPPETS and all(f'run("{title}"' in source.replace("\n        ", "") for title in SNIPPETS)


def test_checkpoints(tmp_path):
    run("torch.distributed.checkpoint and torch.save", data=opened(), folder=tmp_path)


def test_look_ahead():
    run("Batches that are fetched ahead", data=opened("exp3"), loss=loss_of)


def test_trainer(tmp_path):
    transformers = library("transformers")
    from tests.loader.test_huggingface import arguments, model

    names = {"Trainer": transformers.Trainer, "model": model(), "arguments": arguments(tmp_path)}
    run("Hugging Face Trainer", data=opened(), **names)
    assert (tmp_path / "checkpoint-6" / "curate_data.pt").is_file()


def test_accelerate(tmp_path):
    accelerate = library("accelerate")
    run("Accelerate", data=opened(), accelerator=accelerate.Accelerator(cpu=True), folder=tmp_path)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def test_torchdata():
    library("torchdata")
    names = run("torchdata", data=opened())
    assert len(next(iter(names["loader"]))["input_ids"]) == 4


def test_grain():
    grain = library("grain")
    from curate.loader.random_access import Documents
    from tests.loader.fakes import corpus

    fake = SimpleNamespace(open_documents=lambda *_, pool, **__: Documents(corpus(INDEX), pool="a"))
    assert cl.open_documents
    names = run("Grain and map-style data sets", cl=fake, grain=grain)
    assert names["dataset"][0]["source_id"] == 0
