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


class ServedLog:
    """Writes the log of one stage of a run."""

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
