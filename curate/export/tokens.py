"""Texts to token ids of the type that the files hold.

The tokenizer is the one of the loader, so files and loader hold the same tokens. Not here: how it splits text
(loader/tokenizer.py).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import ConfigError, DataError
from curate.export.settings import DTYPES, Export
from curate.measure import Tokens as Counted

if TYPE_CHECKING:
    from curate.loader.tokenizer import Tokenizer


@dataclass(frozen=True)
class Encoded:
    """Token ids of some documents, one after another."""

    ids: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    """Document i is `ids[offsets[i]:offsets[i + 1]]`."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document."""
        return np.diff(self.offsets)


class Encoder:
    """A tokenizer and the type of ids that its vocabulary needs."""

    def __init__(self, settings: Export, counted: Counted, *, num_threads: int = 1) -> None:
        """Open the tokenizer of an export, or the one that the run counted with.

        Raises:
            ConfigError: there is none, or its vocabulary does not fit `dtype`.
            DataError: its files are missing or damaged.
        """
        self._tokenizer, self._num_threads = _open(settings, counted), num_threads
        narrow, wide = DTYPES[settings.to]
        largest = self._tokenizer.vocab_size - 1
        name = settings.dtype
        if name == "auto":
            name = "uint16" if largest <= np.iinfo(narrow).max else "int32" if wide == "int32" else "uint32"
        if largest > np.iinfo(name).max:
            raise ConfigError(
                f"the vocabulary is too large for dtype {name}, which ends at {np.iinfo(name).max}: "
                f"{self._tokenizer.vocab_size}",
                hint=f"use --dtype {wide} or leave it out",
            )
        self.dtype: np.dtype[Any] = np.dtype(name).newbyteorder("<")

    @property
    def content(self) -> str:
        """Hash of the tokenizer's files."""
        return self._tokenizer.content

    @property
    def pattern(self) -> str | None:
        """How a tiktoken file splits text."""
        return self._tokenizer.pattern

    @property
    def vocab_size(self) -> int:
        """Ids are below it."""
        return self._tokenizer.vocab_size

    @property
    def ends(self) -> tuple[int | None, int | None]:
        """Ids of the tokens that begin and end a document."""
        return self._tokenizer.bos_id, self._tokenizer.eos_id

    def encode(self, texts: pa.ChunkedArray) -> Encoded:
        """Tokenize documents.

        Raises:
            DataError: an id is out of the type that the files hold.
        """
        whole = texts.combine_chunks()
        whole = whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole
        ids, offsets = self._tokenizer.encode(whole, num_threads=self._num_threads)
        if len(ids) and int(ids.max()) > np.iinfo(self.dtype).max:
            raise DataError(
                f"the tokenizer gave id {int(ids.max())}, its vocabulary ends at {self.vocab_size - 1}",
                hint="use a wider --dtype",
            )
        return Encoded(ids.astype(self.dtype, copy=False), offsets)


def _open(settings: Export, counted: Counted) -> "Tokenizer":
    from curate.loader.tokenizer import Tokenizer

    path, pattern = settings.tokenizer or counted.tokenizer, settings.pattern
    if path is not None and counted.tokenizer is not None and path.absolute() == counted.tokenizer.absolute():
        pattern = pattern or counted.pattern
    if path is None:
        raise ConfigError(
            f"an export to {settings.to} needs a tokenizer, and the run counted tokens without one",
            hint="add --tokenizer PATH",
        )
    return Tokenizer.open(path, pattern=pattern, eos=settings.eos, bos=settings.bos)
