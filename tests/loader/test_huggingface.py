"""A Hugging Face Trainer and Accelerate: what they would do to batches is refused, what works is exact."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from curate.errors import ConfigError, StateError
from tests.loader.interop import library, loss_of, opened
from tests.loader.ranks import same

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


@pytest.mark.parametrize("mixer", ["natural", "exp3"])
def test_a_trainer_resumes_with_other_workers_on_the_same_batches_and_losses(tmp_path, mixer):
    whole, losses = trained(tmp_path / "whole", opened(mixer), inputs={"position_ids": "positions"})
    for tokens, batch in zip(whole, opened(mixer), strict=False):
        if mixer == "exp3" and batch["step"] == 4:  # the first that losses change
            break
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


def test_a_mixer_hears_of_losses_which_are_those_of_the_model(tmp_path):
    data = opened("exp3")
    first = next(iter(opened("exp3")))
    with torch.no_grad():
        wanted = model()(input_ids=first["input_ids"], labels=first["labels"]).loss
    _, losses = trained(tmp_path, data, max_steps=7)
    assert abs(losses[1] - wanted) < 1e-4
    assert data.mixing.log.of(2).tolist() != data.mixing.log.of(0).tolist()


def test_evaluation_gives_no_losses_back(tmp_path):
    data, trainer_data = opened("exp3"), opened("exp3")
    rows = [{"input_ids": row, "labels": row} for row in next(iter(opened()))["input_ids"]]
    trainer = transformers.Trainer(
        model=model(),
        args=arguments(tmp_path, eval_strategy="steps", eval_steps=1, eval_on_start=True),
        eval_dataset=rows,
    )
    huggingface.attach(trainer, data.loader())
    trainer.train()
    trained(tmp_path / "without", trainer_data)
    for block in range(2, 4):
        assert data.mixing.log.of(block).tolist() == trainer_data.mixing.log.of(block).tolist()


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"per_device_train_batch_size": 8}, "sequences of a step differ: 8 and 16", "gradient_accumulation"),
        ({"ignore_data_skip": False}, "would skip batches", "ignore_data_skip=True"),
        ({"max_steps": -1}, "max_steps must be above 0: -1", "max_steps"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_one_to_change(tmp_path, settings, message, hint):
    trainer = transformers.Trainer(model=model(), args=arguments(tmp_path, **settings))
    with pytest.raises(ConfigError, match=message) as caught:
        huggingface.attach(trainer, opened().loader())
    assert hint in caught.value.hint


def test_a_loss_of_the_trainers_own_is_refused_with_a_mixer_that_needs_losses(tmp_path):
    own = transformers.Trainer(
        model=model(), args=arguments(tmp_path), compute_loss_func=lambda *_, **__: torch.zeros(())
    )
    with pytest.raises(ConfigError, match="the Trainer has a compute_loss_func"):
        huggingface.attach(own, opened("exp3").loader())
    smooth = transformers.Trainer(model=model(), args=arguments(tmp_path, label_smoothing_factor=0.1))
    with pytest.raises(ConfigError, match="the Trainer has a label_smoothing_factor"):
        huggingface.attach(smooth, opened("exp3").loader())
    huggingface.attach(smooth, opened().loader())


def test_a_model_without_logits_is_refused_with_a_mixer_that_needs_losses():
    loss = huggingface.FeedbackLoss(None, opened("exp3").loader(), None)
    with pytest.raises(ConfigError, match="the model gives no logits"):
        loss({"loss": torch.zeros(())}, torch.zeros((1, 4), dtype=torch.int64))


def test_a_new_training_on_a_used_loader_is_refused(tmp_path):
    data = opened()
    list(islice(data, 2))
    with pytest.raises(StateError, match="begins with step 0, but the loader goes on with step 2"):
        trained(tmp_path, data)


def test_a_trainer_with_the_data_as_train_dataset_is_refused(tmp_path):
    data = opened()
    trainer = transformers.Trainer(model=model(), args=arguments(tmp_path), train_dataset=data)
    with pytest.raises(ConfigError, match="would collect batches into batches") as caught:
        trainer.train()
    assert "huggingface.attach" in caught.value.hint
    with pytest.raises(ConfigError, match="has a train_dataset beside the loader"):
        huggingface.attach(trainer, data.loader())


def test_a_checkpoint_without_the_loaders_state_is_refused(tmp_path):
    trained(tmp_path, opened(), max_steps=3)
    (tmp_path / "checkpoint-3" / huggingface.STATE_FILE).unlink()
    with pytest.raises(StateError, match=r"goes on with step 3, but there is no .*checkpoint-3"):
        trained(tmp_path, opened(), resume=True)


@pytest.fixture
def accelerator():
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    yield accelerate.Accelerator(cpu=True)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def test_accelerate_leaves_the_loader_as_it_is_and_keeps_its_state(accelerator, tmp_path):
    loader = opened("exp3").loader()
    assert accelerator.prepare(loader) is loader
    accelerator.register_for_checkpointing(loader)
    for batch in islice(loader, 5):
        loader.feedback(batch["source_id"], loss_of(batch), step=batch["step"])
    accelerator.save_state(str(tmp_path / "state"))
    wanted = list(islice(loader, 6))
    accelerator.load_state(str(tmp_path / "state"))
    for mine, batch in zip(islice(loader, 6), wanted, strict=True):
        same(mine, batch)


def test_a_data_loader_that_accelerate_prepared_looks_ahead_and_its_state_does_not(accelerator):
    """One process: Accelerate fetches one batch ahead, and changes nothing else."""
    data, plain = opened("exp3"), opened("exp3")
    prepared = accelerator.prepare(torch.utils.data.DataLoader(data, batch_size=None))
    states = data.loader(look_ahead=1)
    for batch in islice(prepared, 5):
        states.feedback(batch["source_id"], loss_of(batch), step=batch["step"])
    assert (data.step, states.trained) == (6, 5)
    data.load_state_dict(states.state_dict())
    assert data.step == 5
    for batch in islice(plain, 5):  # fetches none ahead, so blocks seal with one loss more
        plain.feedback(batch["source_id"], loss_of(batch))
    resumed = next(iter(prepared))
    assert resumed["step"] == 5
    uninterrupted = opened("exp3")
    again = accelerator.prepare(torch.utils.data.DataLoader(uninterrupted, batch_size=None))
    for batch in islice(again, 6):
        uninterrupted.feedback(batch["source_id"], loss_of(batch), step=batch["step"])
    same(resumed, batch)


def run_ranks(tmp_path, case, size=2):
    """Run a script on some ranks over loopback; what each said, as JSON."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ACCELERATE_USE_CPU": "true",
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.loader.accelerated", case, str(tmp_path), str(size)]
    processes = [
        subprocess.Popen(
            [*command, str(rank)],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    outputs = [process.communicate(timeout=110) for process in processes]
    assert all(process.returncode == 0 for process in processes), outputs[0][1][-3000:]
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


def test_ranks_that_accelerate_would_share_out_again_are_refused_and_keep_a_state_of_all(tmp_path):
    for said in run_ranks(tmp_path, "wrapped"):
        assert said == {
            "dispatch": "DataLoaderDispatcher of 2 processes would serve rank 0's batches to all, but every "
            "rank has its own part already",
            "shard": "IterableDatasetShard of 2 processes would split each rank's batches again, but every "
            "rank has its own part already",
            "workers": said["shard"],
            "as it is": "",
        }
    wanted, data = list(islice(opened("exp3"), 6)), opened("exp3")
    state = torch.load(tmp_path / "state" / "custom_checkpoint_0.pkl", weights_only=True)
    data.load_state_dict(state)
    for mine, batch in zip(islice(data, 2), wanted[4:], strict=True):
        same(mine, batch)


@pytest.mark.slow
def test_two_ranks_train_with_a_trainer_as_one_does(tmp_path):
    whole, losses = trained(tmp_path / "one", opened("exp3"))
    said = run_ranks(tmp_path, "trainer")
    tokens = [torch.cat([torch.tensor(rank["tokens"][step]) for rank in said]) for step in range(6)]
    assert all(torch.equal(mine, batch) for mine, batch in zip(tokens, whole, strict=True))
    assert all(abs(float(said[0]["losses"][str(step)]) - losses[step]) < 1e-4 for step in losses)
    assert (tmp_path / "two" / "checkpoint-3" / huggingface.STATE_FILE).is_file()
    rest, resumed = trained(
        tmp_path / "three", opened("exp3"), resume=str(tmp_path / "two" / "checkpoint-3"), workers=1
    )
    assert all(torch.equal(mine, batch) for mine, batch in zip(rest, whole[3:], strict=True))
    assert all(abs(resumed[step] - losses[step]) < 1e-4 for step in resumed)
