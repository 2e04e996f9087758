"""What lanes draw from: an index of documents, how to read them, and the constants of the run."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate.loader.index import Index
from curate.loader.order import max_epochs
from curate.loader.settings import Constants
from curate.loader.state import Floats
from curate.loader.stream import Reads


@dataclass(frozen=True)
class Corpus:
    """Picklable; every process opens its own reader."""

    index: Index
    constants: Constants
    reader: Callable[[], Reads]
    memory_bytes: int
    """What a process holds of texts and tokens, about."""
    tokenizer: str | None
    """Hash of the tokenizer; None where the tokens are given."""

    @property
    def names(self) -> list[str]:
        """Names of the pools, sorted."""
        return [pool.name for pool in self.index.pools]

    @property
    def allowed(self) -> Floats:
        """Tokens that each pool may give, by the plan's caps and `max_epochs`; infinite without either."""
        pools = enumerate(self.index.pools)
        epochs = [max_epochs(self.index, self.constants, number) for number, _ in pools]
        tokens = [pool.num_tokens for pool in self.index.pools]
        return np.array([count * most if count else 0.0 for count, most in zip(tokens, epochs, strict=True)])

    @property
    def natural(self) -> Floats:
        """Share of each pool in the planned tokens."""
        tokens = np.array([pool.num_tokens for pool in self.index.pools], np.float64)
        return np.asarray(tokens / max(tokens.sum(), 1.0))
