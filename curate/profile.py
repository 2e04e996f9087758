"""Look at a sample of shards and write a commented recipe for them: `curate init`.

A few shards, spread evenly over the corpus, are read from their beginning until `sample_docs` documents are
seen; what is written in the comments is counted on those and scaled up by bytes, so it is a hint and no
measurement. Which column is the text is found by name. Everything that the recipe sets is a line to change.

Cost: listing the shards, then the first batches of at most MAX_SHARDS of them. Not here: measuring (the
recipe does that).
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.types as pat
import yaml

from curate.errors import CurateError, DataError
from curate.schema import TEXT
from curate.shards import Input, Shard, iter_batches, list_shards, split_pieces

MAX_SHARDS = 8
BATCH_BYTES = 4 << 20
MAX_TEXT_CHARS = 20_000
"""Characters of one document that are looked at."""

TEXT_NAMES = ("text", "content", "raw_content", "body", "document", "page_content", "markdown", "code")
ID_NAMES = ("id", "doc_id", "document_id", "uuid", "warc_record_id", "url")
SOURCE_NAMES = ("source", "subset", "dataset", "corpus", "domain", "origin", "category")
LANGUAGE_NAMES = ("lang", "language", "language_id", "lang_id")
STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
BYTES_PER_TOKEN = 4
MAX_LISTED = 12


@dataclass(slots=True)
class Sample:
    """What was seen."""

    num_docs: int = 0
    num_unreadable: int = 0
    num_bytes: int = 0
    num_english: int = 0
    num_code: int = 0
    num_short: int = 0
    lengths: list[int] = field(default_factory=list)
    texts: set[int] = field(default_factory=set)
    values: dict[str, Counter[str]] = field(default_factory=dict)
    """Column -> its values, of string and integer columns."""


def profile(settings: Input, *, sample_docs: int = 2000) -> str:
    """Write a commented YAML recipe for the shards that `settings` points at.

    Raises DataError if there is no shard, or if no shard has a column of text.
    """
    settings, shards = find_text(settings)
    if not shards:
        raise DataError(f"no shards found: {', '.join(settings.patterns)}")
    sample = Sample()
    chosen = spread(shards, MAX_SHARDS)
    for index, shard in enumerate(chosen):
        wanted = sample_docs * (index + 1) // len(chosen) - sample.num_docs
        take(sample, read_rows(shard, settings), wanted)
    return write_recipe(settings, shards, sample)


def find_text(settings: Input) -> tuple[Input, list[Shard]]:
    """List the shards with the first name of a text column that all have; the given name goes first."""
    first: CurateError | None = None
    for name in dict.fromkeys((settings.text, *TEXT_NAMES)):
        trial = settings.model_copy(update={"text": name})
        try:
            shards = list_shards(trial)
            probe(shards, trial)
        except DataError as exc:
            first = first or exc
        else:
            return trial, shards
    assert first is not None
    raise first


def probe(shards: Sequence[Shard], settings: Input) -> None:
    """Raise DataError if the first JSONL shard has no text under the name; Parquet is checked by listing."""
    for shard in shards[:1]:
        if shard.format == "jsonl":
            rows = [row for row, _ in zip(read_rows(shard, settings), range(20), strict=False)]
            if rows and all(row[TEXT] is None for row in rows):
                raise DataError(f"{shard.key}: no text in column {settings.text}")


def spread(shards: Sequence[Shard], num_wanted: int) -> list[Shard]:
    """Choose shards evenly, the first one always among them."""
    num_wanted = min(num_wanted, len(shards))
    return [shards[index * len(shards) // num_wanted] for index in range(num_wanted)]


def read_rows(shard: Shard, settings: Input) -> Iterator[dict[str, Any]]:
    """Read the documents of one shard, lazily; only columns of strings and integers."""
    for piece in split_pieces(shard):
        for batch in iter_batches(piece, settings, max_bytes=BATCH_BYTES, max_rows=256):
            names = [column.name for column in batch.schema if column.name == TEXT or is_plain(column.type)]
            yield from batch.select(names).to_pylist()


def is_plain(kind: pa.DataType) -> bool:
    """Tell whether a column may be an id, a source or a language."""
    return bool(pat.is_string(kind) or pat.is_large_string(kind) or pat.is_integer(kind))


def take(sample: Sample, rows: Iterator[dict[str, Any]], num_wanted: int) -> None:
    """Count up to `num_wanted` rows."""
    for row, _ in zip(rows, range(num_wanted), strict=False):
        sample.num_docs += 1
        text = row.pop(TEXT)
        for name, value in row.items():
            if value is not None:
                sample.values.setdefault(name, Counter())[str(value)] += 1
        if text is None:
            sample.num_unreadable += 1
            continue
        look_at(sample, text)


def look_at(sample: Sample, text: bytes) -> None:
    """Count what a text looks like."""
    sample.num_bytes += len(text)
    sample.lengths.append(len(text))
    sample.texts.add(hash(text))
    start = text[: 4 * MAX_TEXT_CHARS].decode("utf-8", errors="replace")[:MAX_TEXT_CHARS]
    words = re.findall(r"[A-Za-z]+", start.lower())
    sample.num_english += len(STOP_WORDS.intersection(words)) >= 2
    sample.num_code += len(re.findall(r"[{};=]\s*$", start, re.MULTILINE)) > 0.1 * (start.count("\n") + 1)
    sample.num_short += len(words) < 50


def find_column(sample: Sample, names: Sequence[str], *, unique: bool) -> str | None:
    """Find the first of some names whose values are all different (or: repeat); None if there is none."""
    for name in names:
        values = sample.values.get(name)
        if values is None:
            continue
        repeats = values.total() / len(values)
        if (
            (repeats == 1.0 and values.total() == sample.num_docs)
            if unique
            else repeats >= 2 or len(values) == 1
        ):
            return name
    return None


def write_recipe(settings: Input, shards: Sequence[Shard], sample: Sample) -> str:
    """Write the recipe."""
    id_column = find_column(sample, ID_NAMES, unique=True)
    source = find_column(sample, SOURCE_NAMES, unique=False)
    language = find_column(sample, LANGUAGE_NAMES, unique=False)
    lines = [
        "# A first recipe, written by `curate init`. Every line is yours to change.",
        *(f"# {line}" if line else "#" for line in describe(settings, shards, sample)),
        "",
        "input:",
        f"  paths: {quote(settings.paths)}",
        f"  text: {quote(settings.text)}",
        f"  id: {quote(id_column)}"
        + ("" if id_column else "    # no column has a value of its own for each document"),
        f"  source: {quote(source)}" + ("" if source else "    # no column names where documents came from"),
        *([f"  storage_options: {quote(settings.storage_options)}"] if settings.storage_options else []),
        *values_comment(sample, "source", source),
        "",
        "measure:                        # one pass over the text; everything below needs no text again",
        "  - heuristics                  # signals of all published rule sets",
        "  - tokens                      # token counts",
        "  - minhash                     # signatures, for near duplicates",
        "",
        *filter_section(sample, language),
        "",
        "dedup:",
        "  exact: {keep: first}          # of equal texts the first survivor stays",
        "  minhash: {threshold: 0.8, keep: longest}    # of nearly equal ones (exact Jaccard similarity)",
        *copies_comment(sample),
        "",
        "plan:",
        f"  pools: {{by: {quote(source)}}}"
        if source
        else "  # pools: {by: source}         # a budget of its own for each",
        '  budget: null                  # null keeps all; "0.5" is half of the tokens left, 3B is absolute',
        "  select: {method: uniform, seed: 42}",
        "  order: input                  # or: shuffle",
        "",
        "output:",
        "  path: runs/first/curated",
        f"  columns: {quote([name for name in (id_column, 'text', source, language) if name])}",
        "  rows_per_file: 100000",
        "",
        "run: runs/first",
        "store: runs/store               # measured columns; recipes over the same shards may share it",
    ]
    return "\n".join(lines) + "\n"


def describe(settings: Input, shards: Sequence[Shard], sample: Sample) -> list[str]:
    """Write what was seen, as lines of a comment."""
    size_bytes = sum(shard.size_bytes for shard in shards)
    formats = Counter(shard.format for shard in shards)
    kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(formats.items()))
    lines = [
        "",
        f"Seen: {len(shards):,} shards ({kinds}), {size_bytes / 1e6:,.1f} MB as stored.",
    ]
    if sample.lengths:
        lengths = sorted(sample.lengths)
        count = len(lengths)
        lines += [
            f"From the first {sample.num_docs:,} documents of {min(len(shards), MAX_SHARDS)} shards:",
            f"  bytes of text: mean {sample.num_bytes // count:,}, median {lengths[count // 2]:,}, "
            f"longest {lengths[-1]:,}",
            f"  {share(sample.num_english, count)} look like English prose, "
            f"{share(sample.num_code, count)} like code, "
            f"{share(sample.num_short, count)} have fewer than 50 words",
        ]
        text_bytes = sum(sum(shard.row_group_bytes) for shard in shards if shard.format == "parquet")
        if text_bytes:
            lines.append(
                f"  Parquet text: {text_bytes / 1e6:,.1f} MB, about {text_bytes // BYTES_PER_TOKEN:,} tokens"
            )
    if sample.num_unreadable:
        lines.append(f"  {sample.num_unreadable:,} have no readable text and would go to quarantine")
    return lines


def values_comment(sample: Sample, what: str, column: str | None) -> list[str]:
    """List the commonest values of a column as a comment."""
    if column is None:
        return []
    common = sample.values[column].most_common(MAX_LISTED)
    more = len(sample.values[column]) - len(common)
    listed = ", ".join(f"{plain(value)} {share(count, sample.num_docs)}" for value, count in common)
    return [f"  # {what}: {listed}" + (f", and {more} more" if more > 0 else "")]


def filter_section(sample: Sample, language: str | None) -> list[str]:
    """Suggest presets; their limits were published for English web text."""
    count = max(1, len(sample.lengths))
    english, code = sample.num_english / count, sample.num_code / count
    where = ""
    if language is not None and "en" in sample.values[language] and len(sample.values[language]) > 1:
        name = language if sample.values[language].total() == sample.num_docs else f"COALESCE({language}, '')"
        where = f", where: \"{name} = 'en'\""
    lines = ["filter:                         # a document keeps every reason it meets"]
    if english < 0.3:
        lines.append(
            "  # The published limits are for English prose; little of the sample is: look at the report"
        )
    off = "# " if english < 0.3 else ""
    lines += [
        f"  {off}- {{preset: gopher{where}}}",
        f"  {off}- {{preset: fineweb{where}}}",
        f"  # - {{preset: c4{where}}}" + "    # drops what has a curly bracket: most code" * (code > 0.05),
        '  # - {reason: user.too_small, drop: "document.num_words < 20"}',
    ]
    if language is not None:
        lines += values_comment(sample, "languages", language)
    return lines if not off else [*lines, '  - {reason: user.empty, drop: "document.num_words = 0"}']


def copies_comment(sample: Sample) -> list[str]:
    """Say how many texts of the sample are copies; far fewer than in the corpus."""
    copies = len(sample.lengths) - len(sample.texts)
    return (
        [f"  # {copies:,} of {len(sample.lengths):,} in the sample are copies; in the corpus it is more"]
        if copies
        else []
    )


def share(count: int, total: int) -> str:
    """Write a share in whole percent; what is there is never 0 %."""
    return "<1 %" if 0 < 100 * count < total else f"{100 * count // max(1, total)} %"


def plain(value: str) -> str:
    """Make a value of the input safe inside a comment: one line of printable ASCII."""
    return value[:40].encode("unicode_escape").decode("ascii")


def quote(value: object) -> str:
    """Write a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=False)
    text = text.removesuffix("\n").removesuffix("\n...")
    return json.dumps(value) if "\n" in text else text
