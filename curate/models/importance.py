"""Importance weights of documents: DSIR (Xie et al. 2023, arXiv:2302.03169), fitted from counts.

A document's n-grams fall into buckets by their hash. The weight of a bucket is ln(p + floor) - ln(q + floor),
where p is its share of the n-grams of the target text and q that of the raw text; the log importance weight
of a document is the sum over its n-grams, which a hashed linear model computes (measure/hashed_linear.py).
Drawing documents in proportion to exp(weight) makes the selection look like the target, bucket by bucket.

As published, weights are sums and thus grow with length, and documents of fewer than `min_tokens` tokens have
none; `aggregate: mean` divides by the number of n-grams instead, which is a rank and no importance weight.

Cost: that of counting, about a pass of scoring over targets and raw text; the fit itself is arithmetic over
the buckets. Not here: counting over shards (pipeline/importance.py), drawing (selection/).
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, PrivateAttr, field_validator, model_validator

from curate.errors import ConfigError, DataError
from curate.models.hashed_linear import (
    MAX_BUCKETS,
    MAX_NGRAMS,
    MAX_OUTPUTS,
    MAX_TOKENS,
    Aggregate,
    Description,
    HashName,
    TokenMode,
)
from curate.models.settings import Source, parse_source
from curate.schema import Settings

NGRAMS_PER_BUCKET = 100_000
"""N-grams of raw text for each bucket that `auto` counts, as published."""

Counts = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


class TrainImportance(Settings):
    """All settings of importance weights."""

    name: str = "importance"
    targets: dict[str, list[dict[str, Any]]]
    """Output -> sources of text that selected documents are to look like; each is fitted on its own."""
    raw: list[dict[str, Any]]
    """Sources of the text that is selected from."""
    raw_ngrams: int | Literal["auto", "all"] = "auto"
    """N-grams of raw text to count: pieces of shards in an order by hash until there are so many; `auto` is
    100,000 for each bucket."""
    buckets: int = Field(default=10_000, ge=1, le=MAX_BUCKETS)
    """Weights of each output."""
    ngrams: int = Field(default=2, ge=1, le=MAX_NGRAMS)
    """Tokens in the longest n-gram."""
    tokens: TokenMode = "wordpunct_lower"
    """How texts are cut, as in `curate.models.hashed_linear`."""
    hash: HashName = "sha256"
    """How n-grams get their buckets; `fnv` is more than twice as fast."""
    aggregate: Aggregate = "sum"
    """`sum` of the weights of all n-grams, as published, or their `mean`."""
    min_tokens: int = Field(default=100, ge=0, le=MAX_TOKENS)
    """Tokens below which a document has no weight and is not selected."""
    smoothing: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Added to the count of every bucket of a target: for small targets."""
    floor: float = Field(default=1e-8, gt=0, le=1)
    """Added to every share before its logarithm is taken."""
    seed: int = Field(default=42, ge=0, lt=1 << 31)
    """Of the order in which raw text is read."""
    output: str
    """The model, a file `.safetensors`; its card is beside it."""

    _targets: dict[str, list[Source]] = PrivateAttr(default={})
    _raw: list[Source] = PrivateAttr(default=[])

    @field_validator("raw_ngrams", mode="before")
    @classmethod
    def _counts_something(cls, value: Any) -> Any:
        is_number = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if not is_number and value not in ("auto", "all"):
            raise ConfigError(f"raw_ngrams is auto, all or a number from 1 on: {value}")
        return value

    @field_validator("output")
    @classmethod
    def _output_is_a_local_model(cls, value: str) -> str:
        if "://" in value or not value.endswith(".safetensors"):
            raise ConfigError(f"output is a local file that ends in .safetensors: {value}")
        if Path(value).is_dir():
            raise ConfigError(f"output is a file, this is a folder: {value}")
        return value

    @model_validator(mode="after")
    def _parts_are_readable(self) -> "TrainImportance":
        if not 1 <= len(self.targets) <= MAX_OUTPUTS:
            raise ConfigError(f"targets has not 1 to {MAX_OUTPUTS} entries: {len(self.targets)}")
        self.description()
        for at, entries in [
            ("raw", self.raw),
            *((f"targets.{key}", value) for key, value in self.targets.items()),
        ]:
            if not entries:
                raise ConfigError(f"{at} has no source")
        self._raw = [parse_source(entry, f"raw[{index}]") for index, entry in enumerate(self.raw)]
        self._targets = {
            name: [parse_source(entry, f"targets.{name}[{index}]") for index, entry in enumerate(entries)]
            for name, entries in self.targets.items()
        }
        return self

    @property
    def raw_sources(self) -> list[Source]:
        """Sources of the raw text."""
        return self._raw

    @property
    def target_sources(self) -> dict[str, list[Source]]:
        """Sources of each target."""
        return self._targets

    @property
    def max_raw_ngrams(self) -> int | None:
        """N-grams of raw text after which no more is read; None reads all."""
        if self.raw_ngrams == "all":
            return None
        return NGRAMS_PER_BUCKET * self.buckets if self.raw_ngrams == "auto" else self.raw_ngrams

    @property
    def model_path(self) -> Path:
        """Where the model goes."""
        return Path(self.output)

    @property
    def card_path(self) -> Path:
        """Where its card goes."""
        return self.model_path.with_suffix(".card.json")

    def description(self) -> Description:
        """What the model file says of itself.

        Raises:
            ConfigError: the name of a target is no name of an output.
        """
        return Description(
            outputs=tuple(self.targets),
            tokens=self.tokens,
            ngrams=self.ngrams,
            hash=self.hash,
            aggregate=self.aggregate,
            min_tokens=self.min_tokens,
            about=f"importance weights ({self.name})",
        )

    def public(self) -> dict[str, Any]:
        """The settings as JSON, without the output and how object stores are reached."""
        values = self.model_dump(mode="json", exclude={"output"})
        for entries in (*values["targets"].values(), values["raw"]):
            for entry in entries:
                entry.pop("storage_options", None)
        return values


def shares(counts: Counts, *, smoothing: float = 0.0) -> Floats:
    """Share of each bucket in all n-grams, each count raised by `smoothing`.

    Raises:
        DataError: there are no n-grams.
    """
    raised = counts.astype(np.float64) + smoothing
    total = int(counts.sum()) + smoothing * len(counts)
    if not counts.any():
        raise DataError(f"n-grams are counted, and there are none: {int(counts.sum())}")
    return raised / total


def log_ratios(target: Floats, raw: Floats, *, floor: float = 1e-8) -> Floats:
    """Log importance weight of each bucket from the shares of both sides.

    Raises:
        DataError: they have different numbers of buckets.
    """
    if target.shape != raw.shape:
        raise DataError(f"target and raw have different numbers of buckets: {len(target)} and {len(raw)}")
    return np.asarray(np.log(target + floor) - np.log(raw + floor))


def divergence(target: Floats, raw: Floats, *, floor: float = 1e-8) -> float:
    """Kullback-Leibler divergence of target from raw text in nats per n-gram, 0 where they are equal."""
    return float(target @ log_ratios(target, raw, floor=floor))
