"""The log of a run: what was asked of each pool and what it served, a line for each block of steps.

The line of a block is written when its last step is handed out, by one rank. What a block served is the
difference to the line before. Not here: the file (tokenlog.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate.loader.corpus import Corpus
from curate.loader.feedback import mean_losses
from curate.loader.state import DOCS, TOKENS, Floats, Ints
from curate.loader.tokenlog import LogBlock, LogHeader, TokenLog, read_log


class RunLog:
    """Opens the log when the first line is due, so that ranks and processes that write none leave it alone.

    Stages of the same pools go to one file; for others a new one is begun, `<name>.stage1.jsonl` and so on.
    """

    def __init__(self, path: Path, corpus: Corpus, plan: str) -> None:
        """The log of a run whose first plan is `plan`."""
        self._path, self._names, self._plan = path, corpus.names, plan
        self._log: ServedLog | None = None
        self._stage = 0
        self._events: list[Any] = []

    def note(self, event: dict[str, Any]) -> None:
        """Add an event to the next line."""
        self._events.append(event)

    def write(self, corpus: Corpus, block: int, weights: Floats, sums: Ints) -> None:
        """Add the line of a block; `sums` are tokens, documents, losses and their counts, [pools, 4]."""
        if corpus.names != self._names:
            self.close()
            self._names, self._stage = corpus.names, self._stage + 1
        if self._log is None:
            name = (
                f"{self._path.stem}.stage{self._stage}{self._path.suffix}" if self._stage else self._path.name
            )
            self._log = ServedLog(self._path.with_name(name), corpus, self._plan, block)
        self._log.write(block, weights, sums[:, :2], sums[:, 2:], self._events)
        self._events = []

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._log is not None:
            self._log.close()
            self._log = None


class ServedLog:
    """Writes one file of the log of a run."""

    def __init__(self, path: Path, corpus: Corpus, plan: str, next_block: int) -> None:
        """Open the log to go on with `next_block`; lines from that block on are cut off.

        Raises:
            StateError: the file is the log of another run.
        """
        self._corpus, self._names = corpus, corpus.names
        header = LogHeader(
            pools=tuple(self._names), settings=corpus.constants.model_dump(mode="json"), plan=plan
        )
        self._log = TokenLog(path, header, next_block=next_block)
        self._before = np.zeros((len(self._names), 2), np.int64)
        for block in read_log(path)[1] if next_block else ():
            if set(block.total_tokens) == set(self._names):
                self._before[:, TOKENS] = [block.total_tokens[name] for name in self._names]
                self._before[:, DOCS] += [block.docs[name] for name in self._names]

    def write(self, block: int, weights: Floats, served: Ints, sums: Ints, events: Sequence[Any]) -> None:
        """Add a block.

        Args:
            block: its number.
            weights: that were asked, [pools].
            served: tokens and documents of the run so far, [pools, 2].
            sums: losses in fixed point and their tokens, [pools, 2].
            events: what happened in it, as JSON values.
        """
        steps = self._corpus.constants.block_steps
        in_block = served - self._before
        planned = np.array([pool.num_tokens for pool in self._corpus.index.pools])
        epochs = served[:, TOKENS] / np.maximum(planned, 1)
        losses, _ = mean_losses(sums)
        self._log.append(
            LogBlock(
                block=block,
                first_step=block * steps,
                num_steps=steps,
                weights=self._table(weights),
                tokens=self._table(in_block[:, TOKENS]),
                docs=self._table(in_block[:, DOCS]),
                total_tokens=self._table(served[:, TOKENS]),
                epochs=self._table(epochs),
                loss=self._table([None if np.isnan(loss) else float(loss) for loss in losses]),
                events=tuple(events),
            )
        )
        self._before = served.copy()

    def close(self) -> None:
        """Close the file."""
        self._log.close()

    def _table(self, values: Any) -> dict[str, Any]:
        items = values.tolist() if isinstance(values, np.ndarray) else values
        return dict(zip(self._names, items, strict=True))
