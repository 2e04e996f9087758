"""Stages of a run: a plan, then the next one from a block boundary on, without serving a document again.

A stage knows where its plan is, and once it is over, where every lane was. From these the documents that the
next stage leaves out are found again on any machine, so a state needs no list of documents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curate.errors import StateError
from curate.loader.consumed import left_to_give, served_counts
from curate.loader.corpus import Corpus
from curate.loader.state import Ints
from curate.schema import fingerprint

Opener = Callable[[str], Corpus]
"""Opens a plan by the name that a state has of it, with the constants of the run."""


@dataclass(frozen=True)
class Stage:
    """One plan, from a step on."""

    source: str
    """What was opened: a path or URL."""
    plan: str
    """Fingerprint of its index."""
    first_step: int
    cursor: Ints | None = None
    """Of all lanes at its end; None while it lasts."""
    pieces: Ints | None = None


def succeed(corpora: Sequence[Corpus], stages: Sequence[Stage], new: Corpus) -> Corpus:
    """The corpus of a new stage: `new` without what the stages before it served.

    Args:
        corpora: of the stages so far, as they were opened.
        stages: the same, all over.
        new: the next plan.
    """
    left = np.array(new.index.repeats)
    indexes = []
    for corpus, stage in zip(corpora, stages, strict=True):
        assert stage.cursor is not None and stage.pieces is not None
        served = served_counts(corpus.index, corpus.constants, stage.cursor, stage.pieces)
        left = left_to_give(corpus.index, served, new.index, left)
        indexes.append([corpus.index.fingerprint, stage.cursor.tolist()])
    return replace(new, index=new.index.without(left, fingerprint(indexes)))


def restore(opened: Corpus, stages: Sequence[Stage], opener: Opener | None, *, reopen: bool) -> list[Corpus]:
    """The corpora of all stages of a state, each without what those before it served.

    `opened` is the plan of the first or of the last stage; the others are opened by the names that the state
    has of them. With `reopen` that may be the first one, too.

    Raises:
        StateError: a plan is not the one that the state names.
    """
    corpora: list[Corpus] = []
    for number, stage in enumerate(stages):
        plain = opened
        if opened.index.fingerprint != stage.plan and opener is not None and (number or reopen):
            plain = opener(stage.source)
        if plain.index.fingerprint != stage.plan:
            raise StateError(
                f"the state is of another plan than this run: {stage.plan} ({stage.source}) and "
                f"{plain.index.fingerprint}",
                hint="open that plan, or pass on_mismatch='append' or 'restart'",
            )
        corpora.append(succeed(corpora, stages[:number], plain) if number else plain)
    return corpora
