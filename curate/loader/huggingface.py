"""Trains a Hugging Face Trainer on the loader: batches, state beside each checkpoint, losses given back.

    trainer = Trainer(model=model, args=arguments)         # without train_dataset
    attach(trainer, data.loader(num_workers=2))
    trainer.train(resume_from_checkpoint=...)

A Trainer would share out an iterable data set among ranks once more, and skip batches on a resume by
reading them. `attach` gives it the loader as it is instead, and sees that its arguments fit. Cost: nothing a
step; with weights made of losses the loss is computed here, once, as the models do it. Not here: Accelerate
without a Trainer, which needs nothing (docs/loader.md).
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from curate.errors import ConfigError, MissingExtra, StateError
from curate.files import atomic_file
from curate.loader.data import Loader
from curate.loader.feedback import IGNORED

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as exc:
    raise MissingExtra(
        "a Trainer needs transformers and accelerate", hint="pip install transformers accelerate"
    ) from exc

STATE_FILE = "curate_data.pt"
"""The loader's state in a checkpoint's folder; `torch.load` reads it with `weights_only`."""
INPUTS = {"input_ids": "input_ids", "labels": "labels"}
"""What a model is given, and the name that a batch has for it."""


def attach(
    trainer: Any,
    loader: Loader,
    *,
    inputs: Mapping[str, str] = INPUTS,
) -> "LoaderCallback":
    """Let a Trainer train on the loader, and save and load the loader's state with its own.

    Args:
        trainer: any Trainer that has no `train_dataset`.
        loader: of the same ranks.
        inputs: what the model is given beside `input_ids` and `labels`, by what a batch calls it, as
            `{"position_ids": "positions"}`.

    Raises:
        ConfigError: an argument of the Trainer does not fit the loader; the hint says which to change.
    """
    _check(trainer, loader)
    rounds = trainer.args.gradient_accumulation_steps
    batches = MicroBatches(loader, rounds, {**INPUTS, **inputs})
    if loader.data.needs_feedback:
        trainer.compute_loss_func = FeedbackLoss(trainer, loader, batches)
    trainer.get_train_dataloader = lambda: batches
    callback = LoaderCallback(loader)
    trainer.add_callback(callback)
    train = trainer.train

    def train_from(resume_from_checkpoint: Any = None, *args: Any, **settings: Any) -> Any:
        callback.resume_from = resume_from_checkpoint
        return train(resume_from_checkpoint, *args, **settings)

    trainer.train = train_from
    return callback


def _check(trainer: Any, loader: Loader) -> None:
    args, data = trainer.args, loader.data
    if trainer.train_dataset is not None:
        raise ConfigError("the Trainer has a train_dataset beside the loader", hint="leave train_dataset out")
    wanted, given = data.corpus.constants.global_batch, trainer.get_total_train_batch_size(args)
    if wanted != given:
        raise ConfigError(
            f"global_batch of the loader and the Trainer's sequences of a step differ: {wanted} and {given}",
            hint="a step of the Trainer has per_device_train_batch_size x gradient_accumulation_steps x "
            "data-parallel processes",
        )
    if len(data.lanes) * data.world.size != data.corpus.constants.num_lanes or (
        args.train_batch_size * args.gradient_accumulation_steps * data.world.size != wanted
    ):
        raise ConfigError(
            f"the loader is of {data.world.size} ranks, the Trainer's batches of another number",
            hint="open the data after the Trainer's arguments, or pass rank= and world_size= to open",
        )
    if not args.ignore_data_skip:
        raise ConfigError(
            "ignore_data_skip is False: a resume would skip batches of a loader that is there already",
            hint="pass ignore_data_skip=True to TrainingArguments",
        )
    if args.max_steps <= 0:
        raise ConfigError(
            f"a loader has no length, so max_steps must be above 0: {args.max_steps}",
            hint="pass max_steps to TrainingArguments",
        )
    own_loss = "compute_loss_func" if trainer.compute_loss_func is not None else "label_smoothing_factor"
    if data.needs_feedback and (trainer.compute_loss_func is not None or args.label_smoothing_factor):
        raise ConfigError(
            f"the weights need losses as the loader computes them, but the Trainer has a {own_loss}",
            hint=f"leave {own_loss} out, or choose weights that need no feedback",
        )


class MicroBatches:
    """A rank's batches, cut into what the model is given at once."""

    def __init__(self, loader: Loader, rounds: int, inputs: Mapping[str, str]) -> None:
        self._loader, self._rounds, self._inputs = loader, rounds, dict(inputs)
        self.waiting: deque[tuple[int, torch.Tensor]] = deque()
        """Step and `source_id` of what was given to the model and has no loss yet."""

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        self.waiting.clear()
        for batch in self._loader:
            rows = len(batch["input_ids"]) // self._rounds
            for first in range(0, rows * self._rounds, rows):
                if self._loader.data.needs_feedback:
                    self.waiting.append((batch["step"], batch["source_id"][first : first + rows]))
                yield {name: batch[theirs][first : first + rows] for name, theirs in self._inputs.items()}


class FeedbackLoss:
    """Cross entropy of the next token, as causal models compute it; gives the losses back to the loader."""

    def __init__(self, trainer: Any, loader: Loader, batches: MicroBatches) -> None:
        self._trainer, self._loader, self._batches = trainer, loader, batches

    def __call__(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """The sum of the losses over the tokens of all rounds of a step, or their mean.

        Raises:
            ConfigError: the model gives no logits.
        """
        logits = outputs.get("logits") if isinstance(outputs, Mapping) else outputs[0]
        if logits is None:
            raise ConfigError(
                "the weights need losses, but the model gives no logits",
                hint="turn use_liger_kernel off, or choose weights that need no feedback",
            )
        wanted = labels[..., 1:].to(logits.device)
        losses = F.cross_entropy(
            logits[..., :-1, :].float().transpose(1, 2), wanted, ignore_index=IGNORED, reduction="none"
        )
        if self._trainer.model.training:
            step, sources = self._batches.waiting.popleft()
            known = losses.detach().masked_fill(wanted == IGNORED, float("nan"))
            self._loader.feedback(sources, known, step=step)
        count = (wanted != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        loss: torch.Tensor = losses.sum() / count
        return loss


class LoaderCallback(TrainerCallback):  # type: ignore[misc]
    """Saves the loader's state beside each checkpoint, and loads it where the Trainer resumes."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.resume_from: Any = None
        """Folder of the checkpoint to resume from; None is that of the step in the Trainer's `output_dir`."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the state of all ranks; every rank is here."""
        saved = self._loader.full_state_dict()
        if self._loader.data.world.rank == 0:
            path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE
            with atomic_file(path) as file:
                torch.save(saved, file)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Load the state of the step that the Trainer goes on with.

        Raises:
            StateError: the checkpoint has none, or one of another step.
        """
        if self._loader.trained != state.global_step == 0:
            raise StateError(
                f"the Trainer begins with step 0, but the loader goes on with step {self._loader.trained}",
                hint="open the data anew, or resume with resume_from_checkpoint",
            )
        if self._loader.trained != state.global_step:
            path = self._checkpoint(args, state.global_step) / STATE_FILE
            if not path.is_file():
                raise StateError(
                    f"the Trainer goes on with step {state.global_step}, but there is no {path}",
                    hint="resume from a checkpoint that has one, or say where it is: callback.resume_from",
                )
            self._loader.load_state_dict(torch.load(path, weights_only=True))
        if self._loader.trained != state.global_step:
            raise StateError(
                f"the Trainer and the loader go on with other steps: {state.global_step} and "
                f"{self._loader.trained}"
            )

    def _checkpoint(self, args: Any, step: int) -> Path:
        given = self.resume_from or args.resume_from_checkpoint
        if isinstance(given, str | os.PathLike) and Path(given).is_dir():
            return Path(given)
        return Path(args.output_dir) / f"checkpoint-{step}"
