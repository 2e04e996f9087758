"""What an export is asked for: one page of settings, checked before anything is read."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from curate.errors import ConfigError
from curate.schema import Settings

Target = Literal["megatron", "olmo", "mds", "hf"]
Content = Literal["tokens", "text"]
Dtype = Literal["auto", "uint16", "int32", "uint32"]

DTYPES: dict[str, tuple[str, ...]] = {
    "megatron": ("uint16", "int32"),
    "olmo": ("uint16", "uint32"),
    "mds": ("uint16", "int32"),
}
"""Types of token ids that each format is read with, the narrow one first."""

FILE_BYTES: dict[str, int] = {"megatron": 1 << 30, "olmo": 1 << 30, "mds": 64 << 20, "hf": 512 << 20}
"""Bytes of a file where the settings do not say; of Megatron's, text between two commits."""


class Export(Settings):
    """All settings of an export, but the run and the folder."""

    to: Target
    tokenizer: Path | None = None
    """A `tokenizer.json`, a GPT-2 vocabulary, a folder of either, or a tiktoken file; None is the one that
    the run counted tokens with."""
    pattern: str | None = None
    """How a tiktoken file splits text; None is what the run says, where it has the same tokenizer."""
    eos: str | int | None = "auto"
    """Token that ends every document, by name or id; None adds none, which OLMo does not allow."""
    bos: str | int | None = None
    """Token that begins every document; None adds none."""
    dtype: Dtype = "auto"
    """Type of token ids; auto is uint16 where the vocabulary fits."""
    content: Content = "tokens"
    """What MDS shards hold: arrays of token ids, or texts."""
    seq_len: int | None = Field(default=None, ge=1, le=1 << 30)
    """Pack documents of MDS into samples of so many tokens; what is left at a pool's end is left out. None is
    a sample for each document."""
    compression: Literal["zstd"] | None = None
    """Compression of MDS shards."""
    columns: list[str] | None = None
    """Input and measured columns beside the text in Hugging Face files and MDS texts; None is every column of
    the input (Hugging Face) or none (MDS)."""
    split: str = Field(default="train", pattern=r"\w+(\.\w+)*")
    """Name of the split of Hugging Face files."""
    pools: list[str] | None = Field(default=None, min_length=1)
    """Pools to export; None is all."""
    repeats: bool = True
    """Write a document as often as the plan repeats it: all of a pool once, then those that come a second
    time, and so on; false writes each once."""
    max_file_bytes: int = Field(default=0, ge=0, le=4 << 30)
    """Bytes after which a new file begins (of tokens for OLMo, uncompressed samples for MDS, text for Hugging
    Face); a document is never cut. 0 is the format's own default."""

    @model_validator(mode="after")
    def _fits_the_format(self) -> "Export":
        self._only_for("content", "mds", asked=self.content == "text")
        self._only_for("seq_len", "mds", asked=self.seq_len is not None)
        self._only_for("compression", "mds", asked=self.compression is not None)
        self._only_for("columns", "mds", "hf", asked=self.columns is not None)
        self._only_for("split", "hf", asked=self.split != "train")
        self._only_for("dtype", *DTYPES, asked=self.dtype != "auto")
        if self.content == "text" and self.seq_len is not None:
            raise ConfigError(f"seq_len packs tokens, but content is text: {self.seq_len}")
        if self.columns is not None and self.is_tokenized:
            raise ConfigError("columns go with texts; use content=text or to=hf")
        if self.is_tokenized and self.dtype not in ("auto", *DTYPES[self.to]):
            known = ", ".join(DTYPES[self.to])
            raise ConfigError(f"dtype of {self.to} is auto, {known}: {self.dtype}")
        if self.to == "olmo" and self.eos is None:
            raise ConfigError("OLMo finds documents by their last token, so eos cannot be none")
        return self

    def _only_for(self, key: str, *targets: str, asked: bool) -> None:
        if asked and self.to not in targets:
            raise ConfigError(f"{key} is for {', '.join(targets)}, not for {self.to}: {getattr(self, key)}")

    @property
    def is_tokenized(self) -> bool:
        """Whether the files hold token ids."""
        return self.to in ("megatron", "olmo") or (self.to == "mds" and self.content == "tokens")

    @property
    def file_bytes(self) -> int:
        """Bytes after which a new file begins."""
        return self.max_file_bytes or FILE_BYTES[self.to]
