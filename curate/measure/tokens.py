"""Token counts: exact with a tokenizer, or estimated from bytes by class of script.

Exact counts equal `tokenizers`' `encode(text, add_special_tokens=False)`, truncation left out; they come from
the native pass at about 40 MB/s per core for byte-level BPE. The estimate costs next to nothing: every
document gets its bytes by class of script, a seeded sample gets exact counts too, and factors fitted on the
sample (token_estimate.py) turn bytes into tokens. No end-of-document token is added here; the plan adds it.

Not here: token ids (loader/tokenizer.py), training of tokenizers, the factors.
"""

import json
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.files import hash_file
from curate.measure.stage import StageModel
from curate.schema import fingerprint
from curate.text import NativeSpec

CLASSES = (
    "ascii_lower",
    "ascii_upper",
    "digit",
    "space",
    "space_run",
    "newline",
    "ascii_punct",
    "latin",
    "cyrillic_greek",
    "arabic_hebrew",
    "indic",
    "cjk",
    "kana_hangul",
    "other",
)
"""Classes of characters, in the order of their columns; the bytes of all classes add up to the text."""

COUNT = "tokens.count"
"""Exact number of tokens; null for documents outside the sample, or without a tokenizer."""

BYTES = tuple(f"tokens.bytes_{name}" for name in CLASSES)
"""Columns of the bytes by class."""

VOCABULARIES = ("tokenizer.json", "vocab.json", "encoder.json")
MERGES = ("merges.txt", "vocab.bpe")


class Tokens(StageModel):
    """Count tokens with a tokenizer, all of them or those of a sample."""

    kind: ClassVar[str] = "tokens"
    version: ClassVar[int] = 1
    paths: ClassVar[tuple[str, ...]] = ("tokenizer",)

    tokenizer: Path | None = None
    """A `tokenizer.json`, a GPT-2 vocabulary with its merges beside it, a folder of either, or a tiktoken
    file; None counts bytes only, and tokens are estimated with uncalibrated factors."""
    pattern: str | None = None
    """How a tiktoken file splits text: gpt2, r50k_base, p50k_base, cl100k_base, o200k_base, or one of their
    patterns."""
    mode: Literal["exact", "estimate"] = "estimate"
    """Count every document, or only the sample that calibrates the estimate."""
    sample_frac: float = Field(default=0.05, ge=0.0, le=1.0)
    """Share of documents that are counted exactly in mode estimate."""
    seed: int = Field(default=0, ge=0, lt=1 << 64)
    """Seed of the sample."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode == "exact" and self.tokenizer is None:
            raise ConfigError("tokens.mode=exact needs tokens.tokenizer")
        if self.pattern is not None and self.tokenizer is None:
            raise ConfigError(f"tokens.pattern is set without tokens.tokenizer: {self.pattern}")
        return self

    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return (COUNT, *BYTES)

    def needs(self) -> NativeSpec:
        """What this stage wants from the native pass; reads the tokenizer files to hash them."""
        spec = {
            "name": self.key,
            "tokenizer": None if self.tokenizer is None else str(self.tokenizer),
            "pattern": self.pattern,
            "fingerprint": self.content(),
            "sample_frac": 1.0 if self.mode == "exact" else self.sample_frac,
            "seed": self.seed,
        }
        return NativeSpec(tokens=(json.dumps(spec, sort_keys=True),))

    def content(self) -> str | None:
        """Hash the tokenizer's files; None without a tokenizer.

        Raises:
            DataError: A file is missing.
        """
        return None if self.tokenizer is None else tokenizer_content(self.tokenizer)

    def fingerprint(self) -> str:
        """Hash what decides the columns: the settings, with the tokenizer's content instead of its path."""
        settings = self.model_dump(mode="json") | {"tokenizer": self.content()}
        if self.mode == "exact":
            settings |= {"sample_frac": 1.0, "seed": 0}
        return fingerprint([self.kind, self.version, settings])

    def is_native(self) -> bool:
        """Whether the tokenizer is one that counts fast; others run at the speed of `tokenizers`."""
        return self.tokenizer is None or _rust.is_native_tokenizer(str(self.tokenizer), self.pattern)


def tokenizer_content(path: Path) -> str:
    """Hash the files that a tokenizer is read from.

    Raises:
        DataError: A file is missing.
    """
    return fingerprint([hash_file(file) for file in _files(path)])


def _files(path: Path) -> list[Path]:
    """The files that a tokenizer is read from, vocabulary first."""
    if path.is_dir():
        found = [path / name for name in VOCABULARIES if (path / name).is_file()]
        if not found:
            raise DataError(f"tokens.tokenizer has none of {', '.join(VOCABULARIES)}: {path}")
        path = found[0]
    if not path.is_file():
        raise DataError(f"tokens.tokenizer is not a file: {path}")
    if path.suffix != ".json" or path.name == VOCABULARIES[0]:
        return [path]
    merges = [path.with_name(name) for name in MERGES if path.with_name(name).is_file()]
    return [path, *merges[:1]]
