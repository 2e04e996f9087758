"""Documents to token ids: the tokenizer of a training run, with its end-of-document token.

Ids are those of `tokenizers`' `encode(text, add_special_tokens=False)` without truncation, so special tokens
that are spelled in a text are found as there. The native tokenizer is read in each process that encodes, when
it first does (a fraction of a second for 100,000 tokens), and refused where its files have changed since.
Cost: about the time of counting tokens (measure/tokens.py), 4 bytes a token.

Not here: decoding, chat templates, truncation, packing.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import ConfigError, DataError
from curate.measure.tokens import tokenizer_content
from curate.text import TokenEncoder, TokenNames

EOS_NAMES = (
    "<|endoftext|>",
    "</s>",
    "<|end_of_text|>",
    "<eos>",
    "<|eos|>",
    "<EOS>",
    "[EOS]",
    "<|endofdocument|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)
"""What tokenizers call the end of a document; `eos="auto"` takes the first of these that there is."""

_MAX_ID = (1 << 32) - 2


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A tokenizer and what it puts around documents; pickled as its path and settings, not its tables."""

    path: Path
    """A `tokenizer.json`, a GPT-2 vocabulary with its merges beside it, a folder of either, or a tiktoken
    file."""
    pattern: str | None
    """How a tiktoken file splits text."""
    eos_id: int | None
    """Token after every document; None adds none."""
    bos_id: int | None
    """Token before every document; None adds none."""
    vocab_size: int
    """One more than the greatest id, that of `eos_id` and `bos_id` included."""
    content: str
    """Hash of the tokenizer's files, the same that plans have."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        pattern: str | None = None,
        eos: str | int | None = "auto",
        bos: str | int | None = None,
    ) -> "Tokenizer":
        """Read the tokenizer at `path`; `eos` and `bos` are tokens by name or id, None for none of them.

        `eos="auto"` takes the first of `EOS_NAMES` that the tokenizer has.

        Raises:
            DataError: A file is missing or wrong.
            ConfigError: The tokenizer has no such token, or `pattern` is missing or not known.
        """
        path = Path(path).absolute()
        content = tokenizer_content(path)
        names = TokenNames(path)
        eos_id = _auto(names, path) if eos == "auto" else _token(names, path, "eos", eos)
        bos_id = _token(names, path, "bos", bos)
        size = max(names.size, *(1 + token for token in (eos_id, bos_id) if token is not None), 0)
        made = cls(path=path, pattern=pattern, eos_id=eos_id, bos_id=bos_id, vocab_size=size, content=content)
        _ = made._encoder
        return made

    def encode(self, texts: pa.Array, *, num_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Token ids (uint32) of all documents, and where each one starts (int64, one more than documents).

        `texts` are strings or binary without nulls; every document is [bos] + ids + [eos], an empty one too.
        Neither batches nor threads show in the ids; one thread is the caller's own. The arrays are read-only.

        Raises:
            DataError: A text is null, not UTF-8 or cannot be encoded, with its row; or the tokenizer's files
                have changed since it was opened.
        """
        lists = self._encoder.encode(texts, bos=self.bos_id, eos=self.eos_id, num_threads=num_threads)
        return lists.values.to_numpy(), lists.offsets.to_numpy()

    @cached_property
    def _encoder(self) -> TokenEncoder:
        encoder = TokenEncoder(self.path, self.pattern)
        if tokenizer_content(self.path) != self.content:
            raise DataError(f"the tokenizer has changed since it was opened: {self.path}")
        return encoder

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the native tokenizer."""
        return {name: value for name, value in vars(self).items() if name != "_encoder"}


def _auto(names: TokenNames, path: Path) -> int:
    found = next((token for token in map(names.id, EOS_NAMES) if token is not None), None)
    if found is None:
        special = ", ".join(names.special()) or "none"
        raise ConfigError(
            f"the tokenizer has no token that is known to end documents: {path}",
            hint=f"pass eos=, a token or its id, or eos=None; special tokens are: {special}",
        )
    return found


def _token(names: TokenNames, path: Path, key: str, token: str | int | None) -> int | None:
    """The id of a token that is given by its name or id."""
    if isinstance(token, str):
        found = names.id(token)
        if found is None:
            raise ConfigError(
                f"{key} is no token of {path}: {token}",
                hint=f"pass the id; a tiktoken file, for one, does not have its special tokens: {key}=100257",
            )
        return found
    if token is not None and not 0 <= token <= _MAX_ID:
        raise ConfigError(f"{key} must be an id from 0 to {_MAX_ID}: {token}")
    return token
