"""The counters of the report, filled part by part.

All counters are integers and every part is added up by reason name, so the answer does not depend on how
shards are cut into parts. Examples are the documents with the least salted hash of `doc_id` per first reason:
a fair sample without a generator, copies counted once. Parts come in key order, which decides between copies.

Cost: 3 us a row with 31 rules and 28 histograms, most of them dropping something. Memory: one part, and
sources x reasons counters; after MAX_SOURCES sources the rest is one. Not here: the order of reasons
(data.py), bins (histograms.py).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.report.histograms import Counter
from curate.report.model import KEPT, Example, Part, RuleLike

MAX_SOURCES = 10_000
NUM_EXAMPLES = 3
NO_ID_KEY = 2**64 - 2**32
"""Added to the row where there is no doc_id: such rows come last, and none is a copy of another."""
NO_SOURCE = "(none)"
OTHER_SOURCE = "(other)"

Pair = tuple[int, int]
"""Documents and tokens."""
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


@dataclass(slots=True)
class Decisions:
    """A part as plain arrays; reasons and sources are codes into their names, and kept is the last reason."""

    reasons: list[str]
    sources: list[str]
    first: Ints
    num_reasons: Ints
    each: Ints
    """Codes of all reasons of all rows, one after the other."""
    source: Ints
    tokens: Ints
    repeats: Ints


@dataclass(slots=True)
class Counts:
    """Everything that is counted while parts go by."""

    rules: Mapping[str, Sequence[RuleLike]]
    num_docs: int = 0
    num_tokens: int = 0
    kept_docs: int = 0
    kept_tokens: int = 0
    planned_tokens: int = 0
    first: dict[str, Pair] = field(default_factory=dict)
    any: dict[str, Pair] = field(default_factory=dict)
    only: dict[str, Pair] = field(default_factory=dict)
    by_source: dict[str, dict[str, Pair]] = field(default_factory=lambda: defaultdict(dict))
    histograms: dict[str, Counter] = field(default_factory=dict)
    chosen: dict[str, list[tuple[int, Example]]] = field(default_factory=dict)

    def add(self, part: Part, wanted: Sequence[str]) -> None:
        """Count one part."""
        if part.rows.num_rows == 0:
            return
        rows = decisions(part)
        kept = rows.num_reasons == 0
        self.num_docs += len(rows.tokens)
        self.num_tokens += int(rows.tokens.sum())
        self.kept_docs += int(kept.sum())
        self.kept_tokens += int(rows.tokens[kept].sum())
        self.planned_tokens += int((rows.tokens[kept] * rows.repeats[kept]).sum())
        self._add_reasons(rows)
        self._add_sources(rows)
        for name in wanted:
            if name in part.columns.column_names:
                self.histograms.setdefault(name, Counter(name)).add(part.columns[name], kept)
        self._add_examples(part, rows)

    def _add_reasons(self, rows: Decisions) -> None:
        dropped, alone = rows.num_reasons > 0, rows.num_reasons == 1
        many = np.repeat(rows.tokens, rows.num_reasons)
        for table, codes, tokens in (
            (self.first, rows.first[dropped], rows.tokens[dropped]),
            (self.only, rows.first[alone], rows.tokens[alone]),
            (self.any, rows.each, many),
        ):
            for code, pair in sums(codes, tokens).items():
                add_pair(table, rows.reasons[code], pair)

    def _add_sources(self, rows: Decisions) -> None:
        both = rows.source * len(rows.reasons) + rows.first
        pairs = [(divmod(code, len(rows.reasons)), pair) for code, pair in sums(both, rows.tokens).items()]
        for (source, reason), pair in sorted(pairs, key=lambda each: rows.sources[each[0][0]]):
            name = rows.sources[source]
            known = name in self.by_source or len(self.by_source) < MAX_SOURCES
            add_pair(self.by_source[name if known else OTHER_SOURCE], rows.reasons[reason], pair)

    def _add_examples(self, part: Part, rows: Decisions) -> None:
        keys = salted_keys(part.rows["doc_id"], part.rows["row"])
        for code, reason in enumerate(rows.reasons):
            places = np.flatnonzero(rows.first == code)
            least, index = np.unique(keys[places], return_index=True)
            for key, place in zip(least[:NUM_EXAMPLES], places[index[:NUM_EXAMPLES]], strict=True):
                self._keep_example(int(key), self._example(part, rows, reason, int(place)))

    def _example(self, part: Part, rows: Decisions, reason: str, place: int) -> Example:
        return Example(
            reason=reason,
            doc_id=(part.rows["doc_id"][place].as_py() or b"").hex(),
            shard=part.shard,
            row=part.rows["row"][place].as_py(),
            source=rows.sources[rows.source[place]],
            tokens=int(rows.tokens[place]),
            value=self._value(part, reason, place),
        )

    def _value(self, part: Part, reason: str, place: int) -> float | None:
        names = {rule.column for rule in self.rules.get(reason, ())} & set(part.columns.column_names)
        if len(names) != 1:
            return None
        value = part.columns[names.pop()][place].as_py()
        return None if value is None else float(value)

    def _keep_example(self, key: int, example: Example) -> None:
        best = self.chosen.setdefault(example.reason, [])
        if key < NO_ID_KEY and any(key == other for other, _ in best):
            return
        best.append((key, example))
        best.sort(key=lambda pair: (pair[0], pair[1].shard.encode(), pair[1].row))
        del best[NUM_EXAMPLES:]

    def examples(self, reasons: Sequence[str]) -> list[Example]:
        """Give the chosen examples: kept ones first, then by reason in the given order."""
        return [example for name in (KEPT, *reasons) for _, example in self.chosen.get(name, [])]


def add_pair(table: dict[str, Pair], name: str, pair: Pair) -> None:
    """Add documents and tokens to one entry."""
    old_docs, old_tokens = table.get(name, (0, 0))
    table[name] = (old_docs + pair[0], old_tokens + pair[1])


def sums(codes: Ints, tokens: Ints) -> dict[int, Pair]:
    """Count rows and sum tokens by code; exact, as one part has far fewer than 2**53 tokens."""
    docs = np.bincount(codes)
    total = np.bincount(codes, weights=tokens).astype(np.int64)
    return {int(code): (int(docs[code]), int(total[code])) for code in np.flatnonzero(docs)}


def decisions(part: Part) -> Decisions:
    """Bring a part to plain arrays."""
    lists = combine(part.rows["reasons"])
    num_reasons = integers(pc.fill_null(pc.list_value_length(lists), 0))
    values = pc.list_flatten(lists).cast(pa.string()).dictionary_encode()
    each = integers(values.indices)
    names = [*values.dictionary.to_pylist(), KEPT]
    first = np.full(len(num_reasons), len(names) - 1, np.int64)
    starts = np.cumsum(num_reasons) - num_reasons
    first[num_reasons > 0] = each[starts[num_reasons > 0]]
    given = part.rows["pool"] if part.sources is None else part.sources
    source = combine(pc.fill_null(given.cast(pa.string()), NO_SOURCE)).dictionary_encode()
    return Decisions(
        reasons=names,
        sources=source.dictionary.to_pylist(),
        first=first,
        num_reasons=num_reasons,
        each=each,
        source=integers(source.indices),
        tokens=integers(part.rows["tokens"]),
        repeats=integers(part.rows["repeats"]),
    )


def combine(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Make one array of the chunks."""
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def integers(values: pa.Array | pa.ChunkedArray) -> Ints:
    """Give the values of a column without nulls as 64-bit integers."""
    return np.asarray(values.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)


def salted_keys(doc_ids: pa.ChunkedArray, rows: pa.ChunkedArray) -> Keys:
    """Hash doc_ids to the order in which documents are shown; rows without one come last, in their order."""
    binary = doc_ids.cast(pa.binary())
    raw = b"".join(bytes_of(chunk) for chunk in pc.fill_null(binary, bytes(16)).chunks)
    high = np.frombuffer(raw, dtype="<u8")[::2]
    with np.errstate(over="ignore"):
        mixed = (high ^ np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = np.minimum(mixed ^ (mixed >> np.uint64(31)), np.uint64(NO_ID_KEY - 1))
    missing = binary.is_null().to_numpy()
    mixed[missing] = np.uint64(NO_ID_KEY) + integers(rows)[missing].astype(np.uint64)
    return np.asarray(mixed, dtype=np.uint64)


def bytes_of(chunk: pa.BinaryArray) -> bytes:
    """Give the values of a binary array without nulls, one after the other."""
    offsets = np.frombuffer(chunk.buffers()[1], dtype="<i4")[chunk.offset : chunk.offset + len(chunk) + 1]
    return b"" if len(chunk) == 0 else bytes(chunk.buffers()[2][int(offsets[0]) : int(offsets[-1])])
