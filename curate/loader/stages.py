"""Stages of a run: a plan, then the next one from a block boundary on, without serving a document again.

A stage knows where its plan is, and once it is over, where every lane was. From these the documents that the
next stage leaves out are found again on any machine, so a state needs no list of documents.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from curate.errors import StateError
from curate.loader.consumed import left_to_give, served_counts
from curate.loader.corpus import Corpus
from curate.loader.settings import Constants
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
    cache: dict[str, npt.NDArray[np.int32]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """What was computed of it; another stage that is made of it begins without."""

    def digest(self, constants: Constants) -> str:
        """Hash of what decides which documents it served."""
        arrays = [array.tobytes() for array in (self.cursor, self.pieces) if array is not None]
        lanes = hashlib.sha256(b"".join(arrays)).hexdigest()
        return fingerprint([self.plan, self.first_step, lanes, constants.model_dump(mode="json")])


def succeed(corpora: Sequence[Corpus], stages: Sequence[Stage], new: Corpus) -> Corpus:
    """The corpus of a new stage: `new` without what the stages before it served.

    Args:
        corpora: of the stages so far, as they were opened.
        stages: the same, all over.
        new: the next plan.
    """
    name = fingerprint(
        [stage.digest(corpus.constants) for corpus, stage in zip(corpora, stages, strict=True)]
    )
    found = new.index.found_without(name)
    if found is not None:
        return replace(new, index=found)
    left = np.array(new.index.repeats)
    for corpus, stage in zip(corpora, stages, strict=True):
        left = left_to_give(corpus.index, _served(corpus, stage), new.index, left)
    return replace(new, index=new.index.without(left, name))


def _served(corpus: Corpus, stage: Stage) -> npt.NDArray[np.int32]:
    """How often a stage served each document in its last epoch; kept with the stage."""
    if "served" not in stage.cache:
        assert stage.cursor is not None and stage.pieces is not None
        stage.cache["served"] = served_counts(corpus.index, corpus.constants, stage.cursor, stage.pieces)
    return stage.cache["served"]


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
