"""The texts of the examples that may be taken, in one scratch file, and what is known of each.

The second pass over the documents: every occurrence of a candidate is looked at, so that a text under several
labels is found. Lines are as a training file has them: white space is one space, words that begin with
`__label__` are left out (a scorer ignores them too, and no document can label itself), and so is the word
`</s>`, which would end a line. Memory: about 700 bytes an example.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from curate.models.drawing import POOL, Batch, count_by, doc_ids, label_sizes, numbers, quotas
from curate.models.settings import PREFIX

_SPACES = bytes.maketrans(b"\n\r\t\v\f\0", b"      ")
_SPECIAL = re.compile(rb"(?<![^ ])(?:" + PREFIX.encode() + rb"[^ ]*|</s>(?![^ ]))")


def as_line(text: bytes) -> bytes:
    """The words of a document as one line of a training file; empty where it has none."""
    line = text.translate(_SPACES)
    if PREFIX.encode() in line or b"</s>" in line:
        line = _SPECIAL.sub(b"", line)
    return b" ".join(line.split())


@dataclass(kw_only=True, slots=True)
class Example:
    """A document that may be taken."""

    doc_id: bytes
    offset: int
    """Of its line in the scratch file."""
    size: int
    labels: set[int]
    """Numbers of the labels under which it occurs; `POOL` for the pool."""
    stratum: str
    source: str
    num_docs: int = 1
    """Its copies among all documents."""

    @property
    def own_labels(self) -> list[int]:
        """Its labels, the pool aside."""
        return [label for label in self.labels if label != POOL]


class Gathering:
    """The second pass; lines go to `file`."""

    def __init__(self, candidates: set[bytes], file: BinaryIO, *, num_threads: int = 1) -> None:
        self._candidates = candidates
        self._file = file
        self._num_threads = num_threads
        self._num_bytes = 0
        self.examples: dict[bytes, Example] = {}

    def add(self, batch: Batch) -> None:
        """Look at a batch."""
        ids = doc_ids(batch.texts, num_threads=self._num_threads)
        for row, doc_id in enumerate(ids):
            if doc_id is None or doc_id not in self._candidates:
                continue
            label, place = int(batch.labels[row]), (batch.strata[row], batch.sources[row])
            found = self.examples.get(doc_id)
            if found is None:
                self._add(doc_id, batch.texts[row].as_py(), label, place)
                continue
            # A text at several places has the first by name, that of a label before that of the pool.
            is_better = not found.own_labels or place < (found.stratum, found.source)
            if label != POOL and is_better:
                found.stratum, found.source = place
            elif label == POOL and not found.own_labels:
                found.stratum, found.source = min(place, (found.stratum, found.source))
            found.labels.add(label)
            found.num_docs += 1

    def _add(self, doc_id: bytes, text: bytes, label: int, place: tuple[str, str]) -> None:
        line = as_line(text)
        self._file.write(line + b"\n")
        self.examples[doc_id] = Example(
            doc_id=doc_id,
            offset=self._num_bytes,
            size=len(line),
            labels={label},
            stratum=place[0],
            source=place[1],
        )
        self._num_bytes += len(line) + 1


@dataclass(kw_only=True)
class Split:
    """The examples that are taken, each list in the order of its hashes, and what was left out."""

    train: list[tuple[int, Example]]
    held_out: list[tuple[int, Example]]
    pool: list[Example]
    left_out: dict[str, int]


def split_examples(
    examples: Iterable[Example],
    *,
    seed: int,
    docs_per_label: int,
    pool_docs: int,
    balance: bool,
    holdout_frac: float,
) -> Split:
    """Take examples that have one label and some words: equal parts of the strata, smallest hashes first."""
    everything = sorted(examples, key=lambda example: example.doc_id)
    several = [example for example in everything if len(example.own_labels) > 1]
    usable = [example for example in everything if example.size and len(example.own_labels) == 1]
    cells: dict[int, dict[str, list[Example]]] = {}
    for example in _by_hash(usable, seed, "train"):
        cells.setdefault(example.own_labels[0], {}).setdefault(example.stratum, []).append(example)
    available = {label: sum(map(len, strata.values())) for label, strata in sorted(cells.items())}
    sizes = label_sizes(available, docs_per_label=docs_per_label, balance=balance)
    taken: list[Example] = []
    for label, strata in sorted(cells.items()):
        parts = quotas({stratum: len(mine) for stratum, mine in strata.items()}, sizes[label])
        taken += [example for stratum, mine in strata.items() for example in mine[: parts[stratum]]]
    taken = _by_hash(taken, seed, "train")
    is_test = (
        numbers([example.doc_id for example in taken], seed=seed, purpose="train.holdout") < holdout_frac
    )
    train = [example for example, test in zip(taken, is_test, strict=True) if not test]
    trained = {example.doc_id for example in train}
    pool = [example for example in everything if POOL in example.labels and example.size]
    fresh = [example for example in pool if example.doc_id not in trained]
    return Split(
        train=[(example.own_labels[0], example) for example in train],
        held_out=[(e.own_labels[0], e) for e, test in zip(taken, is_test, strict=True) if test],
        pool=_by_hash(fresh, seed, "train.pool")[:pool_docs],
        left_out={
            "several_labels": len(several),
            "copies": sum(example.num_docs - len(example.labels) for example in everything),
            "no_words": sum(example.size == 0 for example in everything),
            "pool_in_training": len(pool) - len(fresh),
        },
    )


def _by_hash(examples: list[Example], seed: int, purpose: str) -> list[Example]:
    values = numbers([example.doc_id for example in examples], seed=seed, purpose=purpose)
    order = sorted(range(len(examples)), key=lambda row: (values[row], examples[row].doc_id))
    return [examples[row] for row in order]


def iter_lines(file: BinaryIO, examples: Iterable[Example]) -> Iterator[bytes]:
    """Lines of examples in the order given, read back from the scratch file."""
    for example in examples:
        file.seek(example.offset)
        yield file.read(example.size)


def count_split(split: Split, labels: list[str]) -> dict[str, dict[str, object]]:
    """Per label: documents that are trained on and held out, and all of them by stratum and by source."""
    found: dict[str, dict[str, object]] = {}
    for number, label in enumerate(labels):
        train = [example for mine, example in split.train if mine == number]
        held_out = [example for mine, example in split.held_out if mine == number]
        if train or held_out:
            both = [*train, *held_out]
            found[label] = {
                "train": len(train),
                "held_out": len(held_out),
                "by_stratum": count_by(example.stratum for example in both),
                "by_source": count_by(example.source for example in both),
            }
    return found
