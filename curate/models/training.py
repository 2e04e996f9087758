"""Runs the native trainer on a file of examples and writes the model, whole or not at all.

Training goes on in slices of the file, so that Ctrl-C is heard between two. Not here: what the trainer
computes (rust_ext/src/fasttext/train).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curate import _rust
from curate.files import NewFile, hash_file, make_dirs, sync_dir
from curate.models.settings import FastText

SLICE_BYTES = 1 << 20
"""Text between two looks at Ctrl-C: a tenth of a second."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model as it was written."""

    path: Path
    fingerprint: str
    size_bytes: int
    num_words: int
    num_tokens: int
    """Tokens of the training file, labels and ends of lines included."""


def train_file(
    examples: Path,
    model: Path,
    settings: FastText,
    *,
    seed: int,
    max_bytes: int,
    watch: Callable[[float], None] = lambda done_frac: None,
) -> ModelFile:
    """Train on a file and write `model`, replacing what had that name; `watch` hears the share that is done.

    Raises:
        DataError: nothing can be learned from the file.
        ConfigError: the matrices have more than `max_bytes`.
    """
    values = {**settings.model_dump(), "seed": seed, "max_bytes": max_bytes}
    trainer = _rust.FastTextTrainer(str(examples), json.dumps(values))
    while trainer.advance(SLICE_BYTES):
        watch(trainer.done_frac())
    num_words, _, num_tokens = trainer.sizes() or (0, 0, 0)
    make_dirs(model.parent)
    with NewFile(model) as new:
        trainer.write(str(new.handle.name))
        new.seal()
        size_bytes = Path(new.handle.name).stat().st_size
        new.publish()
    sync_dir(model.parent)
    return ModelFile(
        path=model,
        fingerprint=hash_file(model),
        size_bytes=size_bytes,
        num_words=num_words,
        num_tokens=num_tokens,
    )
