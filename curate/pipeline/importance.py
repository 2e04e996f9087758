"""`curate train importance`: from target and raw text to a hashed linear model and its card.

One pass over the targets and one over the raw text, or over as much of it as `raw_ngrams` asks for. The card
is written last: a model whose card has the fingerprint of the same settings and content is found, not made
again. Memory: a batch of text, 8 bytes a bucket for each thread, and about 40 a bucket for the fit. Where
that is more than the budget fewer threads count. Not here: the arithmetic (models/importance.py).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate import _rust
from curate.config import apply_overrides, build, read_source
from curate.errors import ConfigError, DataError
from curate.files import hash_file, make_dirs, replace_json
from curate.models import hashed_linear
from curate.models.card import FORMAT, find_card, rounded
from curate.models.drawing import POOL, Batch
from curate.models.importance import Counts, TrainImportance, divergence, log_ratios, shares
from curate.models.settings import Source
from curate.pipeline.examples import BATCH_BYTES, Examples, Stretch, Wanted, open_source
from curate.pipeline.limits import Limits
from curate.pipeline.progress import Progress, Silent
from curate.schema import fingerprint
from curate.text import NgramCounter

VERSION = 1
"""Of the way from text to model and card; a change makes every fingerprint another."""
FIT_BYTES = 48
"""Memory of the fit for each bucket, one output."""
OUTPUT_BYTES = 8
"""And for each output: its weight, twice while it is written."""


@dataclass(frozen=True, kw_only=True)
class ImportanceModel:
    """A model that was made or found."""

    path: Path
    card_path: Path
    card: dict[str, Any]
    is_new: bool

    def as_text(self) -> str:
        """The card in a few lines, for people."""
        lines = [f"{'raw':<12} {_amount(self.card['raw'])}"]
        lines += [
            f"{name:<12} {_amount(target)}, {target['divergence']:.3f} nats per n-gram from raw"
            for name, target in self.card["targets"].items()
        ]
        state = "fitted" if self.is_new else "found, its settings and inputs are the same"
        return "\n".join([*lines, f"model: {self.path} ({state})", f"card: {self.card_path}"])


def _amount(counted: dict[str, Any]) -> str:
    return f"{counted['num_docs']:>9,} documents, {counted['num_ngrams']:,} n-grams"


def load_importance(
    source: str | Path | dict[str, Any], *, overrides: list[str] | None = None
) -> TrainImportance:
    """Read settings from a file, a mapping, or YAML text with a line break, and apply `a.b=c` overrides.

    Raises:
        ConfigError: with every wrong key.
        FileNotFoundError: there is no such file.
    """
    return build(TrainImportance, apply_overrides(read_source(source), overrides or []))


def train_importance(
    settings: TrainImportance, *, limits: Limits | None = None, progress: Progress | None = None
) -> ImportanceModel:
    """Make the model and its card, or find them.

    Raises:
        ConfigError: a source is not there, or the counts are larger than the memory.
        DataError: a target or the raw text has no n-grams.
    """
    limits, progress = limits or Limits(), progress or Silent()
    num_threads = _threads(settings, limits)
    raw = _open(settings.raw_sources, "raw")
    targets = {name: _open(found, f"targets.{name}") for name, found in settings.target_sources.items()}
    inputs = [source.describe() for sources in (raw, *targets.values()) for source in sources]
    key = fingerprint(["importance", VERSION, settings.public(), inputs])
    model, card_path = settings.model_path, settings.card_path
    found = find_card(model, card_path, key)
    if found is not None:
        return ImportanceModel(path=model, card_path=card_path, card=found, is_new=False)
    card = _make(settings, raw, targets, num_threads, progress)
    card |= {"format": FORMAT, "kind": "importance", "name": settings.name, "fingerprint": key}
    card |= {"settings": settings.public(), "inputs": inputs}
    replace_json(card_path, card)
    return ImportanceModel(path=model, card_path=card_path, card=card, is_new=True)


def _open(sources: list[Source], at: str) -> list[Examples]:
    wanted = [
        Wanted(at=f"{at}[{index}]", label=POOL, name="", stratify=None) for index in range(len(sources))
    ]
    return [open_source(source, of) for source, of in zip(sources, wanted, strict=True)]


def _threads(settings: TrainImportance, limits: Limits) -> int:
    """As many threads as have room for their counts."""
    fit = settings.buckets * (FIT_BYTES + OUTPUT_BYTES * len(settings.targets)) + 3 * BATCH_BYTES
    room = limits.memory_bytes - fit
    needed = 8 * settings.buckets
    if room < needed:
        raise ConfigError(
            f"{settings.buckets:,} buckets and {len(settings.targets)} targets need more memory than there "
            f"is: {(fit + needed) >> 20:,} of {limits.memory_bytes >> 20:,} MiB",
            hint="lower buckets or raise --memory",
        )
    return min(limits.num_threads, room // needed)


@dataclass(kw_only=True)
class _Counted:
    """Counts of one side."""

    counts: Counts
    num_docs: int = 0
    num_unreadable: int = 0
    num_ngrams: int = 0
    num_bytes: int = 0
    is_all: bool = True
    """Whether everything was counted."""

    def describe(self) -> dict[str, Any]:
        """The numbers for the card."""
        return {
            "num_docs": self.num_docs,
            "num_unreadable": self.num_unreadable,
            "num_bytes": self.num_bytes,
            "num_ngrams": self.num_ngrams,
            "num_buckets": int(np.count_nonzero(self.counts)),
            "is_all": self.is_all,
            "blake3": _rust.blake3_hex(self.counts.astype("<u8").tobytes()),
        }


@dataclass(kw_only=True)
class _Counting:
    """Adds batches until there are enough n-grams."""

    counter: NgramCounter
    ngrams: int
    """Tokens in the longest n-gram."""
    max_ngrams: int | None
    num_threads: int
    found: _Counted = field(default_factory=lambda: _Counted(counts=np.zeros(0, np.uint64)))

    def add(self, texts: pa.Array) -> bool:
        """Count a batch; whether more is asked for."""
        left = None if self.max_ngrams is None else self.max_ngrams - self.found.num_ngrams
        if left is not None and self.ngrams * texts.nbytes >= left:
            lengths = _uint64(self.counter.lengths(texts, num_threads=self.num_threads))
            enough = int(np.searchsorted(np.cumsum(lengths), left)) + 1
            self.found.is_all = enough >= len(texts)
            texts = texts.slice(0, enough)
        lengths = self.counter.add(texts, num_threads=self.num_threads)
        self.found.num_docs += len(texts)
        self.found.num_unreadable += lengths.null_count
        self.found.num_ngrams += int(_uint64(lengths).sum())
        self.found.num_bytes += _text_bytes(texts)
        return self.max_ngrams is None or self.found.num_ngrams < self.max_ngrams


def _uint64(lengths: pa.UInt64Array) -> Counts:
    return np.asarray(lengths.fill_null(0).to_numpy(zero_copy_only=False), np.uint64)


def _text_bytes(texts: pa.Array) -> int:
    total = pa.compute.sum(pa.compute.binary_length(texts)).as_py()
    return int(total or 0)


def _count(
    settings: TrainImportance,
    stretches: list[Stretch],
    *,
    max_ngrams: int | None,
    num_threads: int,
    progress: Progress,
) -> _Counted:
    """Count the documents of stretches, in their order."""
    counter = NgramCounter(
        num_buckets=settings.buckets, tokens=settings.tokens, ngrams=settings.ngrams, hash=settings.hash
    )
    counting = _Counting(
        counter=counter, ngrams=settings.ngrams, max_ngrams=max_ngrams, num_threads=num_threads
    )
    batches = _batches(stretches)
    for batch in batches:
        wants_more = counting.add(batch.texts)
        progress.advance(num_bytes=batch.texts.nbytes)
        if not wants_more:
            break
    counting.found.is_all = counting.found.is_all and next(batches, None) is None
    counting.found.counts = np.asarray(counter.counts().to_numpy(), np.uint64)
    return counting.found


def _batches(stretches: list[Stretch]) -> Iterator[Batch]:
    """Batches that have documents."""
    for stretch in stretches:
        for batch in stretch.batches():
            if len(batch.texts):
                yield batch


def _shuffled(sources: list[Examples], seed: int) -> list[Stretch]:
    """All stretches of the raw text in an order by hash: a part of them is not of the first shards only."""

    def place(stretch: Stretch) -> str:
        return _rust.blake3_hex(json.dumps([seed, "importance.raw", stretch.key]).encode())

    return sorted((stretch for source in sources for stretch in source.stretches()), key=place)


def _make(
    settings: TrainImportance,
    raw: list[Examples],
    targets: dict[str, list[Examples]],
    num_threads: int,
    progress: Progress,
) -> dict[str, Any]:
    num_bytes = sum(source.num_bytes for sources in (raw, *targets.values()) for source in sources)
    progress.start("count", num_bytes=num_bytes, num_tasks=1 + len(targets))
    weight = np.empty((settings.buckets, len(targets)), np.float32)
    described = {}
    counted_raw = _count(
        settings,
        _shuffled(raw, settings.seed),
        max_ngrams=settings.max_raw_ngrams,
        num_threads=num_threads,
        progress=progress,
    )
    raw_shares = shares(_some(counted_raw, "raw").counts)
    progress.advance(num_tasks=1)
    for output, (name, sources) in enumerate(targets.items()):
        stretches = [stretch for source in sources for stretch in source.stretches()]
        counted = _count(settings, stretches, max_ngrams=None, num_threads=num_threads, progress=progress)
        target_shares = shares(_some(counted, f"targets.{name}").counts, smoothing=settings.smoothing)
        weight[:, output] = log_ratios(target_shares, raw_shares, floor=settings.floor)
        distance = divergence(target_shares, raw_shares, floor=settings.floor)
        described[name] = {**counted.describe(), "divergence": distance}
        progress.advance(num_tasks=1)
    total = sum(target["num_ngrams"] for target in described.values())
    for target in described.values():
        target["share"] = target["num_ngrams"] / total
    make_dirs(settings.model_path.parent)
    hashed_linear.save(settings.model_path, settings.description(), weight)
    progress.finish(f"{counted_raw.num_ngrams:,} n-grams of raw text, {total:,} of targets")
    return {
        "raw": counted_raw.describe(),
        "targets": rounded(described),
        "model": {
            "file": settings.model_path.name,
            "blake3": hash_file(settings.model_path),
            "size_bytes": settings.model_path.stat().st_size,
            "outputs": list(targets),
        },
    }


def _some(counted: _Counted, at: str) -> _Counted:
    """What was counted, which is something."""
    if counted.num_ngrams == 0:
        raise DataError(
            f"{at} has no n-grams: {counted.num_docs:,} documents, {counted.num_unreadable:,} unreadable",
            hint="look at where and at the text column",
        )
    return counted
