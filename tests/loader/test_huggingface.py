"""A Hugging Face Trainer and Accelerate: what they would do to batches is refused, what works is exact."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.loader.interop import library, opened

transformers = library("transformers")
accelerate = library("accelerate")
huggingface = pytest.importorskip("curate.loader.huggingface")

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore::UserWarning:torch|accelerate")]

ROOT = Path(__file__).parents[2]


def model():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=16_384,
        n_positions=32,
        n_embd=16,
        n_layer=1,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return transformers.GPT2LMHeadModel(config)


class Seen(transformers.TrainerCallback):
    """Losses as the Trainer logs them, one a step."""

    def __init__(self):
        self.losses = {}

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            self.losses[state.global_step] = logs["loss"]


def arguments(folder, **settings):
    settings = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 6,
        "save_steps": 3,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "ignore_data_skip": True,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 0,
        "dataloader_pin_memory": False,
        **settings,
    }
    return transformers.TrainingArguments(output_dir=str(folder), **settings)


def trained(folder, data, *, workers=0, resume=None, inputs=huggingface.INPUTS, **settings):
    """Train, and return the tokens that the model saw, and the losses by step."""
    tokens, seen = [], Seen()
    trainer = transformers.Trainer(model=model(), args=arguments(folder, **settings), callbacks=[seen])
    huggingface.attach(trainer, data.loader(workers), inputs=inputs)
    trainer.model.register_forward_pre_hook(
        lambda _, args, given: tokens.append(given["input_ids"].clone()), with_kwargs=True
    )
    trainer.train(resume_from_checkpoint=resume)
    return [torch.cat(tokens[i : i + 2]) for i in range(0, len(tokens), 2)], seen.losses


def data_of(mixer="natural"):
    data = opened(mixer)
    data.corpus.index.tokens[:] = data.corpus.index.tokens  # the documents are shared, not changed
    return data


@pytest.mark.parametrize("mixer", ["natural", "exp3"])
def test_a_trainer_resumes_with_other_workers_on_the_same_batches_and_losses(tmp_path, mixer):
    whole, losses = trained(tmp_path / "whole", opened(mixer), inputs={"position_ids": "positions"})
    for tokens, batch in zip(whole, islice(opened(), 6 if mixer == "natural" else 2), strict=False):
        assert torch.equal(tokens, batch["input_ids"])
    data = opened(mixer)
    rest, resumed = trained(
        tmp_path / "rest",
        data,
        workers=2,
        resume=str(tmp_path / "whole" / "checkpoint-3"),
        inputs={"position_ids": "positions"},
    )
    assert sorted(losses) == [1, 2, 3, 4, 5, 6] and sorted(resumed) == [4, 5, 6]
    assert all(torch.equal(mine, tokens) for mine, tokens in zip(rest, whole[3:], strict=True))
    assert all(abs(resumed[step] - losses[step]) < 1e-4 for step in resumed)
    assert data.step == 6
