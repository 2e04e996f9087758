"""`curate train classifier`: from labelled sources to a model and its card.

Two passes over the sources choose and collect the examples, a scratch folder beside the output holds their
text, then the native trainer runs and the held-out documents are scored. The card is written last: a model
whose card has the fingerprint of the same settings and content is found, not made again (remove the card to
make it anew). Memory: about 700 bytes an example, and the matrices of the model.
"""

import glob
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from curate.config import apply_overrides, build, read_source
from curate.errors import DataError
from curate.files import make_dirs, replace_json
from curate.models.card import FORMAT, describe_held_out, describe_threshold, find_card
from curate.models.drawing import Drawing, spare
from curate.models.gather import (
    Example,
    Gathering,
    Split,
    count_split,
    iter_lines,
    split_examples,
)
from curate.models.scoring import Scored, score_lines
from curate.models.settings import PREFIX, TrainClassifier
from curate.models.training import ModelFile, train_file
from curate.pipeline.examples import Examples, open_examples
from curate.pipeline.limits import Limits
from curate.pipeline.progress import Progress, Silent
from curate.schema import fingerprint

VERSION = 1
"""Of the way from examples to model and card; a change makes every fingerprint another."""


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model that was made or found."""

    path: Path
    card_path: Path
    card: dict[str, Any]
    is_new: bool

    def as_text(self) -> str:
        """The card in a few lines, for people."""
        held_out, threshold = self.card["held_out"], self.card["threshold"]
        auc = held_out["roc_auc"]
        lines = [
            f"{label:<12} {counts['train']:>9,} to train on, {counts['held_out']:,} held out"
            for label, counts in sorted(self.card["examples"].items())
        ]
        lines.append(f"accuracy     {_number(held_out['accuracy'])}")
        lines.append(
            f"ROC AUC      {_number(auc['value'])} ({_number(auc['low'])} to {_number(auc['high'])})"
        )
        if threshold["found"] is not None:
            asked, kept = (100 * share for share in (threshold["keep_frac"], threshold["found"]["kept_frac"]))
            lines.append(
                f"threshold    {threshold['found']['threshold']:.6g} keeps {asked:g} % or more of the text "
                f"of {threshold['of']}: {kept:.1f} % of {threshold['num_docs']:,} documents"
            )
        state = "trained" if self.is_new else "found, its settings and inputs are the same"
        return "\n".join([*lines, f"model: {self.path} ({state})", f"card: {self.card_path}"])


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def load_training(
    source: str | Path | dict[str, Any], *, overrides: list[str] | None = None
) -> TrainClassifier:
    """Read settings from a file, a mapping, or YAML text with a line break, and apply `a.b=c` overrides.

    Raises:
        ConfigError: with every wrong key.
        FileNotFoundError: there is no such file.
    """
    return build(TrainClassifier, apply_overrides(read_source(source), overrides or []))


def train_classifier(
    settings: TrainClassifier, *, limits: Limits | None = None, progress: Progress | None = None
) -> TrainedModel:
    """Make the model and its card, or find them.

    Raises:
        ConfigError: a source is not there, or the model is larger than the memory.
        DataError: a label has no documents.
    """
    limits, progress = limits or Limits(), progress or Silent()
    sources = open_examples(settings)
    inputs = [source.describe() for source in sources]
    key = fingerprint(["train", VERSION, settings.public(), inputs])
    model, card_path = settings.model_path, settings.card_path
    found = find_card(model, card_path, key)
    if found is not None:
        return TrainedModel(path=model, card_path=card_path, card=found, is_new=False)
    make_dirs(settings.model_path.parent)
    place = settings.model_path.parent
    _remove_left(settings.model_path)
    prefix = f".{settings.model_path.name}.tmp-{os.getpid()}-"
    with tempfile.TemporaryDirectory(dir=place, prefix=prefix) as folder:
        card = _make(settings, sources, Path(folder), limits, progress)
    card |= {"format": FORMAT, "kind": "fasttext", "name": settings.name, "fingerprint": key}
    card |= {"settings": settings.public(), "inputs": inputs}
    replace_json(card_path, card)
    return TrainedModel(path=model, card_path=card_path, card=card, is_new=True)


def _remove_left(model: Path) -> None:
    """Remove the scratch folders of trainings that were killed: those of processes that are no more."""
    for folder in model.parent.glob(f".{glob.escape(model.name)}.tmp-*-*"):
        pid = folder.name.removeprefix(f".{model.name}.tmp-").partition("-")[0]
        if folder.is_dir() and pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _make(
    settings: TrainClassifier, sources: list[Examples], folder: Path, limits: Limits, progress: Progress
) -> dict[str, Any]:
    with (folder / "texts").open("w+b") as file:
        drawing, split = _collect(settings, sources, file, limits, progress)
        num_bytes = _write_examples(settings, split, file, folder / "examples")
        num_bytes *= settings.fasttext.epoch + 1
        progress.start("train", num_bytes=num_bytes, num_tasks=1)
        watch = _Watch(progress, num_bytes)
        model = train_file(
            folder / "examples",
            settings.model_path,
            settings.fasttext,
            seed=settings.seed,
            max_bytes=limits.memory_bytes,
            watch=watch,
        )
        progress.finish(f"{model.num_tokens:,} tokens, {model.num_words:,} different words")
        scored = _score(settings, split, model, file, limits, progress)
    left_out = {"unreadable": drawing.num_unreadable, "no_label": drawing.num_no_label, **split.left_out}
    return {
        "examples": count_split(split, settings.label_names),
        "num_docs": drawing.num_docs,
        "left_out": left_out,
        "model": {
            "file": settings.model_path.name,
            "blake3": model.fingerprint,
            "size_bytes": model.size_bytes,
            "num_words": model.num_words,
            "num_tokens": model.num_tokens,
            "labels": _trained_labels(settings, split),
        },
        **scored,
    }


class _Watch:
    """Turns shares of the training into bytes of progress."""

    def __init__(self, progress: Progress, num_bytes: int) -> None:
        self._progress, self._num_bytes, self._num_done = progress, num_bytes, 0

    def __call__(self, done_frac: float) -> None:
        """Report what is new."""
        num_done = int(done_frac * self._num_bytes)
        self._progress.advance(num_bytes=num_done - self._num_done)
        self._num_done = num_done


def _collect(
    settings: TrainClassifier, sources: list[Examples], file: BinaryIO, limits: Limits, progress: Progress
) -> tuple[Drawing, Split]:
    drawing = Drawing(
        seed=settings.seed,
        docs_per_label=settings.docs_per_label,
        pool_docs=settings.pool_docs,
        num_threads=limits.num_threads,
    )
    num_bytes = sum(source.num_bytes for source in sources)
    progress.start("examples", num_bytes=2 * num_bytes, num_tasks=2)
    for source in sources:
        for batch in source.batches():
            drawing.add(batch)
            progress.advance(num_bytes=batch.texts.nbytes)
    gathering = Gathering(drawing.candidates(), file, num_threads=limits.num_threads)
    for source in sources:
        for batch in source.batches():
            gathering.add(batch)
            progress.advance(num_bytes=batch.texts.nbytes)
    split = split_examples(
        gathering.examples.values(),
        seed=settings.seed,
        docs_per_label=settings.docs_per_label,
        pool_docs=settings.pool_docs,
        balance=settings.balance,
        holdout_frac=settings.holdout_frac,
    )
    _check_split(settings, split)
    _warn_of_few(drawing, split, settings, progress)
    progress.finish(
        f"{drawing.num_docs:,} documents, {len(split.train):,} to train on, {len(split.held_out):,} held out"
    )
    return drawing, split


def _warn_of_few(drawing: Drawing, split: Split, settings: TrainClassifier, progress: Progress) -> None:
    """Say so where texts under several labels ate up the candidates of a label."""
    if split.left_out["several_labels"] > spare(settings.docs_per_label):
        progress.warn(
            f"{split.left_out['several_labels']:,} texts occur under several labels and are left out; "
            "raise docs_per_label to look at more"
        )


def _check_split(settings: TrainClassifier, split: Split) -> None:
    """Every label has documents on both sides; of grades two at least have some."""
    num_several = split.left_out["several_labels"]
    for side, pairs in (("to train on", split.train), ("held out", split.held_out)):
        there = {number for number, _ in pairs}
        missing = [name for number, name in enumerate(settings.label_names) if number not in there]
        if missing and (not settings.is_graded or len(there) < 2):
            raise DataError(
                f"no documents {side} have the label: {missing[0]}",
                hint="look at where, add sources, or change holdout_frac"
                + (", or raise docs_per_label: many have several labels" if num_several else ""),
            )


def _trained_labels(settings: TrainClassifier, split: Split) -> list[str]:
    """Labels that the model has."""
    return [settings.label_names[number] for number in sorted({number for number, _ in split.train})]


def _write_examples(settings: TrainClassifier, split: Split, texts: BinaryIO, path: Path) -> int:
    """Write the training file, in the order of the hashes; returns its bytes."""
    names = [f"{PREFIX}{name} ".encode() for name in settings.label_names]
    num_bytes = 0
    with path.open("wb") as out:
        lines = iter_lines(texts, [example for _, example in split.train])
        for (number, _), line in zip(split.train, lines, strict=True):
            num_bytes += out.write(names[number] + line + b"\n")
    return num_bytes


def _score(
    settings: TrainClassifier,
    split: Split,
    model: ModelFile,
    texts: BinaryIO,
    limits: Limits,
    progress: Progress,
) -> dict[str, Any]:
    """What the card says of held-out documents and of thresholds."""
    labels = _trained_labels(settings, split)
    held_out = [example for _, example in split.held_out]
    num_bytes = sum(example.size for example in [*held_out, *split.pool])
    progress.start("score", num_bytes=num_bytes, num_tasks=1)

    positive = None if settings.is_graded else settings.positive_label

    def score(examples: list[Example]) -> Scored:
        lines = iter_lines(texts, examples)
        return score_lines(lines, model, labels, positive=positive, num_threads=limits.num_threads)

    scored = score(held_out)
    values, examples, of = scored.scores, held_out, "all held-out documents"
    if settings.pool_sources:
        values, examples, of = score(split.pool).scores, split.pool, "the pool"
    elif positive is not None:
        number = settings.label_names.index(positive)
        is_negative = np.array([label != number for label, _ in split.held_out], bool)
        examples = [example for example, negative in zip(held_out, is_negative, strict=True) if negative]
        values, of = values[is_negative], "the held-out negatives"
    sizes = np.array([example.size for example in examples], np.float64)
    progress.finish(f"{len(held_out) + len(split.pool):,} documents")
    return {
        "held_out": describe_held_out(settings, labels, split.held_out, scored),
        "threshold": describe_threshold(settings, values, sizes, of=of),
    }
