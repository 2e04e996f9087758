"""Duplicate parts of documents: paragraphs or lines that occur earlier in the corpus, and overlap of n-grams.

Order is key order: shard, row, position in the text. What is compared of a part is its words, as white space
separates them, with one space between them: case and punctuation count. `DuplicateParts` finds every
occurrence but the first, `exact` out of core by 128 bits of BLAKE3, or with a Bloom filter in one pass
(`bloom`), which now and then takes a new part for a copy: as often as `false_positive_rate` says when
`expected_parts` different ones were seen. `NgramOverlap` is DCLM's old-both (Li et al. 2024,
arXiv:2406.11794).

A paragraph ends at a blank line, a line at a line feed. Parts of fewer than `min_words` words always stay.

Cost: 120 MB/s a core for paragraphs, 60 for 13-grams. `exact` takes 32 bytes of scratch a part, and 20 more
for each that repeats; a filter of 16 bits an item at a rate of 0.001, 10 at 0.01, is held in memory. Not
here: what is removed with a part (`_rust.part_edits`), the pass over the corpus (pipeline/rounds.py).
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate import text
from curate.dedup.exact import Clusters, find_clusters
from curate.errors import ConfigError
from curate.schema import Settings, fingerprint

Unit = Literal["paragraph", "line"]

PARTS = "parts"
IS_WHOLE = "is_whole"
FOUND_SCHEMA = pa.schema(
    [
        pa.field(PARTS, pa.list_(pa.uint32())),
        pa.field(IS_WHOLE, pa.bool_()),
    ]
)
"""Per document the numbers of its duplicate parts, ascending from 0, and whether it is duplicate as a
whole."""

MAX_PARTS = 1 << 20
"""Parts that are looked up together, about."""


class CorpusTransform(Settings):
    """What the transforms that see the whole corpus have in common."""

    name: ClassVar[str]
    version: ClassVar[int] = 1

    unit: Unit
    within: str | None = None
    """Column of the input inside whose values parts are compared, such as a source; null is the whole
    corpus."""

    def fingerprint(self) -> str:
        """Hash of name, version and settings."""
        return fingerprint([self.name, self.version, self.model_dump(mode="json")])

    def columns(self) -> tuple[str, ...]:
        """Columns of the input that are read."""
        return () if self.within is None else (self.within,)

    @property
    def reason(self) -> str:
        """Why a document is dropped of which nothing is left."""
        return f"{self.name}.duplicate"

    def filter_settings(self) -> text.PartFilterSettings | None:
        """What the Bloom filter is made for; None where there is none."""
        raise NotImplementedError

    def check_memory(self, memory_bytes: int) -> None:
        """Refuse a filter that is larger than half the memory.

        Raises:
            ConfigError: it is.
        """
        settings = self.filter_settings()
        if settings is None:
            return
        size = text.bloom_bytes(settings.expected, settings.false_positive_rate)
        if size > memory_bytes // 2:
            raise ConfigError(
                f"transform.{self.name}: a Bloom filter for {settings.expected} items at a false positive "
                f"rate of {settings.false_positive_rate} takes {size} bytes, more than half of the memory "
                f"budget: {memory_bytes}",
                hint=f"use --memory {-(-2 * size >> 20)}MiB, expect less, allow a higher false_positive_rate"
                + (", or set method: exact" if self.name == DuplicateParts.name else ""),
            )


class DuplicateParts(CorpusTransform):
    """Remove paragraphs or lines that occur earlier in the corpus."""

    name: ClassVar[str] = "duplicate_parts"

    unit: Unit = "paragraph"
    """`paragraph` (ends at a blank line) or `line`."""
    method: Literal["exact", "bloom"] = "exact"
    """`exact`, out of core, or `bloom`: one pass, with an error."""
    min_words: int = Field(default=5, ge=1)
    """Parts of fewer words, as white space separates them, stay."""
    keep: Literal["first"] = "first"
    """The occurrence that stays: the first in key order."""
    false_positive_rate: float = Field(default=1e-3, ge=1e-7, le=0.5)
    """With `bloom`: probability that a new part is removed, when `expected_parts` were seen."""
    expected_parts: int | None = Field(default=None, ge=1, le=10**13)
    """With `bloom`: different parts that the corpus has, about; more of them raise the error."""

    @model_validator(mode="after")
    def _check(self) -> "DuplicateParts":
        if self.method == "bloom" and self.expected_parts is None:
            raise ConfigError("method bloom needs `expected_parts`, about one for each 300 bytes of text")
        return self

    def fingerprint(self) -> str:
        """Hash of name, version and the settings that matter."""
        unused = {"false_positive_rate", "expected_parts"} if self.method == "exact" else set()
        return fingerprint([self.name, self.version, self.model_dump(mode="json", exclude=unused)])

    def filter_settings(self) -> text.PartFilterSettings | None:
        """What the Bloom filter is made for."""
        if self.method == "exact" or self.expected_parts is None:
            return None
        return text.PartFilterSettings(
            unit=self.unit,
            min_words=self.min_words,
            expected=self.expected_parts,
            false_positive_rate=self.false_positive_rate,
        )


class NgramOverlap(CorpusTransform):
    """Remove lines or paragraphs, and documents, most of whose n-grams occur earlier in the corpus.

    N-grams are of UAX #29 words, punctuation among them, and do not go beyond a part. As in DCLM, a part is
    looked up as a whole before its n-grams are inserted, and those of removed parts are not; the share of a
    document is that over all its parts. DCLM's `paragraph` is a line, the default here; there a share has to
    be above the threshold, here it may equal it.
    """

    name: ClassVar[str] = "ngram_overlap"

    unit: Unit = "line"
    """`line`, DCLM's paragraph, or `paragraph` (ends at a blank line)."""
    ngram: int = Field(default=13, ge=1, le=256)
    """Words of an n-gram."""
    min_words: int | None = Field(default=None, ge=1)
    """Parts of fewer words stay; those of fewer than `ngram` are one n-gram of what there is. Null means
    `ngram`, as in DCLM's paper, where shorter parts are left alone."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Share of n-grams that were seen, from which on a part or a document is removed."""
    false_positive_rate: float = Field(default=0.01, ge=1e-7, le=0.5)
    """Probability that a new n-gram counts as seen, when `expected_ngrams` were."""
    expected_ngrams: int = Field(ge=1, le=10**13)
    """Different n-grams that the corpus has, about one for each 6 bytes of text; more raise the error."""

    def filter_settings(self) -> text.PartFilterSettings:
        """What the Bloom filter is made for."""
        return text.PartFilterSettings(
            unit=self.unit,
            min_words=self.ngram if self.min_words is None else self.min_words,
            ngram=self.ngram,
            threshold=self.threshold,
            expected=self.expected_ngrams,
            false_positive_rate=self.false_positive_rate,
        )


class ExactParts:
    """Finds all occurrences of parts but the first: `find` sees every document, then `read` tells of each.

    Documents come in groups (pieces), by number; a context manager that removes its scratch files.
    """

    def __init__(
        self, settings: DuplicateParts, *, scratch: Path, memory_bytes: int, num_threads: int
    ) -> None:
        self._settings = json.dumps({"unit": settings.unit, "min_words": settings.min_words})
        self._scratch = scratch
        self._memory_bytes = memory_bytes
        self._num_threads = num_threads
        self._firsts: list[int] = []
        self._clusters: Clusters | None = None

    def find(self, groups: Iterable[Iterator[tuple[pa.Array, pa.Array | None]]]) -> None:
        """Take up texts and scopes of each group of documents, batch by batch."""
        self._clusters = find_clusters(
            self._chunks(groups), scratch=self._scratch, memory_bytes=self._memory_bytes
        )

    def _chunks(
        self, groups: Iterable[Iterator[tuple[pa.Array, pa.Array | None]]]
    ) -> Iterator[tuple[int, pa.FixedSizeBinaryArray]]:
        num_parts = 0
        for number, group in enumerate(groups):
            self._firsts.append(num_parts)
            with self._counts_path(number).open("wb") as counts:
                for texts, scopes in group:
                    hashes = text.part_hashes(texts, scopes, self._settings, num_threads=self._num_threads)
                    hashes.value_lengths().to_numpy(zero_copy_only=False).astype("<u4").tofile(counts)
                    yield num_parts, hashes.values
                    num_parts += len(hashes.values)

    def _counts_path(self, number: int) -> Path:
        return self._scratch / f"parts-{number}.bin"

    def read(self, number: int) -> Iterator[pa.RecordBatch]:
        """Duplicate parts of the documents of a group, in batches of `FOUND_SCHEMA`."""
        assert self._clusters is not None
        path, first, start = self._counts_path(number), self._firsts[number], 0
        num_docs = path.stat().st_size // 4
        counts = np.memmap(path, "<u4", "r") if num_docs else np.zeros(0, np.uint32)
        while start < num_docs:
            ends = np.cumsum(counts[start : start + MAX_PARTS], dtype=np.int64)
            stop = start + max(1, int(np.searchsorted(ends, MAX_PARTS, side="right")))
            yield _duplicates(self._clusters, first, counts[start:stop].astype(np.int64))
            first += int(ends[stop - start - 1])
            start = stop

    def close(self) -> None:
        """Remove the scratch files."""
        if self._clusters is not None:
            self._clusters.close()
        for number in range(len(self._firsts)):
            self._counts_path(number).unlink(missing_ok=True)


def _duplicates(clusters: Clusters, first: int, counts: np.ndarray) -> pa.RecordBatch:
    """Duplicate parts of consecutive documents with so many parts each, the first of which is `first`."""
    ends = np.cumsum(counts)
    ids = clusters.read(first, int(ends[-1]))["exact.cluster_id"].to_numpy()
    places = np.flatnonzero((ids >= 0) & (ids != first + np.arange(len(ids))))
    docs = np.searchsorted(ends, places, side="right")
    numbers = places - (ends - counts)[docs]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(docs, minlength=len(counts)))])
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(numbers, pa.uint32()))
    return pa.record_batch([lists, pa.array(np.zeros(len(counts), bool))], schema=FOUND_SCHEMA)
