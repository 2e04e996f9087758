"""Refuses what would share out or batch again a stream that is shared out and batched.

Accelerate and the Trainer of Hugging Face take an iterable data set to be the same on every rank: they give
each rank every n-th batch of it, or let rank 0 read for all. DataLoader collects several batches into one
unless told otherwise. Each would train on other batches than asked, without a word. They do not say that they
are there, so the calls that lead here are looked through: once an iteration, some microseconds. Not here:
look-ahead, which `loader(look_ahead=...)` is for.
"""

import sys
from types import FrameType
from typing import Any

from curate.errors import ConfigError

SHARDS = "IterableDatasetShard"
"""Gives a rank its part of each n batches; Accelerate and transformers each have one."""
DISPATCHER = "DataLoaderDispatcher"
"""Reads on rank 0 and sends each rank its part."""


def refuse_wrappers() -> None:
    """See that the calls that lead here keep batches as they are.

    Raises:
        ConfigError: something would share out, send or collect them; the hint has the setting to change.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        name = type(caller).__name__
        if name in (SHARDS, DISPATCHER):
            _refuse_sharing(caller, name)
        if name == "_IterableDatasetFetcher" and frame.f_locals.get("auto_collation"):
            _refuse_collation(frame)
        frame = frame.f_back


def _refuse_sharing(wrapper: Any, name: str) -> None:
    num_processes = getattr(getattr(wrapper, "state", wrapper), "num_processes", 1)
    if num_processes > 1:
        does = "split each rank's batches again" if name == SHARDS else "serve rank 0's batches to all"
        raise ConfigError(
            f"{name} of {num_processes} processes would {does}, but every rank has its own part already",
            hint="iterate data.loader(num_workers=...) as it is: accelerator.prepare leaves it alone, with "
            "any dispatch_batches and split_batches; for a Trainer use curate.loader.huggingface.attach",
        )


def _refuse_collation(frame: FrameType | None) -> None:
    while frame is not None and frame.f_globals.get("__name__") != "transformers.trainer":
        frame = frame.f_back
    if frame is None:
        hint = "pass batch_size=None to DataLoader, or iterate data.loader(num_workers=...)"
    else:
        hint = "leave train_dataset out, and call curate.loader.huggingface.attach(trainer, data.loader())"
    raise ConfigError("DataLoader would collect batches into batches: its batch_size is not None", hint=hint)
