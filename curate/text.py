"""Typed faces of the native text measurements: one call per batch.

Stages say what they want in a `NativeSpec`; the driver joins the specs of all stages and makes one call.
A pass of many groups gives the same columns as many passes of one group. Rows depend on their own text
alone, so neither the batch split nor the number of threads shows in the result.

Not here: what the columns mean (measure/), decisions over them (filters/).
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from curate import _rust
from curate.errors import ConfigError, DataError

WordMode = Literal["uax29", "datatrove-en"]
"""How text is split into words: Unicode UAX #29, or the English splitting of datatrove."""

INVALID_UTF8 = "input.invalid_utf8"
"""First column of every pass: true where the text is not valid UTF-8, else false; never null."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NativeSpec:
    """What a stage wants from the one native pass over the text."""

    groups: frozenset[str] = field(default_factory=frozenset)
    """Names of groups of signals, such as `document` or `gopher`."""
    words: WordMode | None = None
    """How words are split; None where no group reads words, or where another stage may choose."""
    tokens: tuple[str, ...] = ()
    """Settings of token counters, each one canonical JSON object."""
    models: tuple[str, ...] = ()
    """Settings of fastText models, each one canonical JSON object."""
    linears: tuple[str, ...] = ()
    """Settings of hashed linear models, each one canonical JSON object."""
    minhash: str | None = None
    """Settings of signatures, one canonical JSON object; None makes none."""

    @staticmethod
    def union(specs: Iterable["NativeSpec"]) -> "NativeSpec":
        """Join specs into that of one pass.

        Raises:
            ConfigError: Two specs split words in different ways, or want different signatures.
        """
        groups: frozenset[str] = frozenset()
        tokens: dict[str, None] = {}
        models: dict[str, None] = {}
        linears: dict[str, None] = {}
        modes: set[WordMode] = set()
        signatures: set[str] = set()
        for spec in specs:
            groups |= spec.groups
            tokens.update(dict.fromkeys(spec.tokens))
            models.update(dict.fromkeys(spec.models))
            linears.update(dict.fromkeys(spec.linears))
            modes |= {spec.words} if spec.words else set()
            signatures |= {spec.minhash} if spec.minhash else set()
        if len(modes) > 1:
            raise ConfigError(f"one pass splits words in one way only: {', '.join(sorted(modes))}")
        if len(signatures) > 1:
            raise ConfigError(f"one pass makes signatures of one kind only: {' '.join(sorted(signatures))}")
        return NativeSpec(
            groups=groups,
            words=next(iter(modes), None),
            tokens=tuple(tokens),
            models=tuple(models),
            linears=tuple(linears),
            minhash=next(iter(signatures), None),
        )

    def to_json(self) -> str:
        """Write the spec as the native pass reads it."""
        parts: dict[str, Any] = {
            name: [json.loads(settings) for settings in values]
            for name, values in (("tokens", self.tokens), ("models", self.models), ("linears", self.linears))
        }
        if self.minhash is not None:
            parts["minhash"] = json.loads(self.minhash)
        return json.dumps({"groups": sorted(self.groups), "words": self.words or "uax29", **parts})


def measure(texts: pa.Array, spec: NativeSpec, *, num_threads: int = 1) -> pa.RecordBatch:
    """Measure every document, one row each; null or invalid texts give a row of nulls.

    `texts` is large_binary or any other string or binary array; the bytes need not be UTF-8. The interpreter
    is free while it runs. Memory: the columns, plus about 40 bytes per word of the largest document on each
    thread.
    """
    return _rust.measure(_large_binary(texts), spec.to_json(), _at_least_one(num_threads))


def measure_words(texts: pa.Array, words: pa.Array, spec: NativeSpec) -> pa.RecordBatch:
    """Measure as `measure` does, with the words of each document given; empty words are dropped."""
    if not (pa.types.is_list(words.type) or pa.types.is_large_list(words.type)):
        raise DataError(f"words must be lists of strings: {words.type}")
    given = words.cast(pa.large_list(pa.large_string()))
    return _rust.measure_words(_large_binary(texts), given, spec.to_json())


def c4_edits(texts: pa.Array) -> pa.Array:
    """Byte spans that C4's line rules remove from each document: list<struct<start: uint32, end: uint32>>.

    What is left is the kept lines, stripped and without citations, one newline between them. The rules that
    drop documents play no part. Only where no newline separates lines (a carriage return alone, U+2028)
    does the separator stay what it is. Null where the text is null or not UTF-8.
    """
    return _rust.c4_edits(_large_binary(texts))


def apply_edits(texts: pa.Array, edits: pa.Array) -> pa.Array:
    """Remove the spans of `edits` from each text, as large_binary; null where either is null.

    Raises:
        DataError: Spans are out of order or beyond the end of their text.
    """
    return _rust.apply_edits(_large_binary(texts), edits)


def compose_edits(first: pa.Array, second: pa.Array) -> pa.Array:
    """Join edits: what `first` does, and then `second` to the texts that it leaves."""
    return _rust.compose_edits(first, second)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFilterSettings:
    """What a `PartFilter` compares, and how surely; see `curate.dedup.parts`."""

    unit: str
    min_words: int
    ngram: int | None = None
    """Words of an n-gram; None compares whole parts."""
    threshold: float = 1.0
    expected: int
    """Items that the filter is made for."""
    false_positive_rate: float


def bloom_bytes(expected: int, false_positive_rate: float) -> int:
    """Bytes of a Bloom filter whose error with `expected` items is at most the rate."""
    return _rust.bloom_bytes(expected, false_positive_rate)


def part_hashes(texts: pa.Array, scopes: pa.Array | None, settings: str, *, num_threads: int = 1) -> pa.Array:
    """Hashes of the paragraphs or lines of each text: list<fixed_size_binary(16)>, null for short ones.

    `settings` is JSON of `unit` and `min_words`. Equal parts of rows with different `scopes` have different
    hashes. A text that cannot be read has no parts.
    """
    return _rust.part_hashes(_large_binary(texts), _scopes(scopes), settings, num_threads)


class PartFilter:
    """Finds parts that were seen before, in the order in which texts are given; holds a Bloom filter."""

    def __init__(self, settings: PartFilterSettings) -> None:
        """Make an empty filter.

        Raises:
            ConfigError: there is no filter with that error, or no memory for it.
        """
        self._filter = _rust.PartFilter(json.dumps(asdict(settings)))

    def find(self, texts: pa.Array, scopes: pa.Array | None, *, num_threads: int = 1) -> pa.RecordBatch:
        """Give the numbers of the parts of each text that were seen before, and whether all of it was."""
        return self._filter.find(_large_binary(texts), _scopes(scopes), num_threads)

    @property
    def num_items(self) -> int:
        """Different items that were seen, about."""
        return self._filter.state()[0]

    @property
    def error(self) -> float:
        """Probability that a new item is taken for seen now."""
        return self._filter.state()[1]


def part_edits(texts: pa.Array, parts: pa.Array, is_whole: pa.Array, unit: str) -> pa.Array:
    """Byte spans that take parts out of each text, by their numbers, or all of it where `is_whole`.

    A part goes with what separates it from the next one, the last ones with what separates them from the one
    before. Null where the text is null or not UTF-8.

    Raises:
        DataError: A text has no such part.
    """
    return _rust.part_edits(_large_binary(texts), parts, is_whole, unit)


class TokenEncoder:
    """Gives the token ids of texts at about the speed of counting; threads may share one.

    Ids are those of `tokenizers`' `encode(text, add_special_tokens=False)`, truncation left out. Memory: the
    tables of the tokenizer, about 5 MB for each thread, and 4 bytes per token. Not picklable: a process opens
    its own.
    """

    def __init__(self, path: Path, pattern: str | None = None) -> None:
        """Read the tokenizer at `path`; `pattern` is how a tiktoken file splits text.

        Raises:
            DataError: The file cannot be read, or has a part that is not supported.
            ConfigError: The pattern is missing or not known.
        """
        self._encoder = _rust.TokenEncoder(str(path), pattern)

    def encode(
        self, texts: pa.Array, *, bos: int | None = None, eos: int | None = None, num_threads: int = 1
    ) -> pa.LargeListArray:
        """Ids of each document between `bos` and `eos`, as large_list<uint32>; one thread is the caller's.

        Raises:
            DataError: A text is null, not UTF-8 or cannot be encoded; the message has the first such row.
        """
        return self._encoder.encode(_large_binary(texts), bos, eos, _at_least_one(num_threads))


class TokenNames:
    """Tokens of a tokenizer by what they are, spelled as in its file."""

    def __init__(self, path: Path) -> None:
        """Read the tokens of the tokenizer at `path`.

        Raises:
            DataError: The file cannot be read.
        """
        self._names = _rust.TokenNames(str(path))

    def id(self, token: str) -> int | None:
        """Id of a token; None where there is no such token."""
        return self._names.id(token)

    def special(self) -> dict[str, int]:
        """Tokens that the file marks as special, with their ids, in its order."""
        return dict(self._names.special())

    @property
    def size(self) -> int:
        """One more than the greatest id."""
        return self._names.size()


class NgramCounter:
    """Counts into which buckets the n-grams of texts fall, over all batches that are added.

    What tokens, n-grams and buckets are: docs/formats.md, "Hashed linear models". Neither batches nor threads
    show in the counts. Memory: 8 bytes a bucket, and as much for each further thread; `counts` takes it once
    more. Cost: about that of scoring with such a model (measure/hashed_linear.py).
    """

    def __init__(self, *, num_buckets: int, tokens: str, ngrams: int, hash: str) -> None:
        """Make a counter that has counted nothing.

        Raises:
            ConfigError: a setting is not known or out of bounds.
        """
        settings = {"num_buckets": num_buckets, "tokens": tokens, "ngrams": ngrams, "hash": hash}
        self._counter = _rust.NgramCounter(json.dumps(settings))

    def add(self, texts: pa.Array, *, num_threads: int = 1) -> pa.UInt64Array:
        """Count; gives the n-grams of each text, null where it is null or not UTF-8."""
        return self._counter.add(_large_binary(texts), _at_least_one(num_threads))

    def lengths(self, texts: pa.Array, *, num_threads: int = 1) -> pa.UInt64Array:
        """Give the n-grams of each text as `add` does, but count nothing; much faster."""
        return self._counter.lengths(_large_binary(texts), _at_least_one(num_threads))

    def counts(self) -> pa.UInt64Array:
        """How often each bucket was met."""
        return self._counter.counts()


def _at_least_one(num_threads: int) -> int:
    if num_threads < 1:
        raise ConfigError(f"num_threads must be at least 1: {num_threads}")
    return num_threads


def _scopes(scopes: pa.Array | None) -> pa.Array | None:
    return None if scopes is None else _large_binary(scopes)


def _large_binary(texts: pa.Array) -> pa.Array:
    if pa.types.is_large_binary(texts.type):
        return texts
    if texts.type not in (pa.string(), pa.large_string(), pa.binary()):
        raise DataError(f"texts must be strings or binary: {texts.type}")
    return texts.cast(pa.large_binary())
