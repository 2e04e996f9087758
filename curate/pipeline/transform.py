"""Transforms: byte spans that are removed when text is read; the text itself is never rewritten.

They apply in the order of the recipe, each to what the ones before it left; all together are one list of
spans of the raw text. `c4_lines` are C4's line rules (Raffel et al. 2020, arXiv:1910.10683, section 2.2, as
datatrove applies them): lines without terminal punctuation, of fewer than three words, with a word of over
1,000 characters, that mention javascript, a cookie or usage policy, and citation marks go. `duplicate_parts`
and `ngram_overlap` see the whole corpus: rounds.py finds what they remove before anything is measured.
Stages measure what is left; `document` measures the raw text.

Cost: one more native pass over the text for each, at about 300 MB/s a core. Not here: dropping documents
(filters/), what duplicate parts are (dedup/parts.py).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator

from curate import text
from curate.dedup.parts import IS_WHOLE, PARTS, CorpusTransform, DuplicateParts, NgramOverlap
from curate.filters.expression import parse_expression, prepare
from curate.schema import TEXT, Settings, fingerprint

SPANS = "edits.spans"
NUM_BYTES = "edits.num_bytes"

SCHEMA = pa.schema(
    [
        pa.field(SPANS, pa.list_(pa.struct([("start", pa.uint32()), ("end", pa.uint32())]))),
        pa.field(NUM_BYTES, pa.uint32()),
    ]
)
"""Columns of all edits: removed spans of the raw UTF-8 bytes, ascending, and how many bytes they are."""


class C4Lines(Settings):
    """Remove the lines that C4 removes, and citation marks."""

    name: ClassVar[str] = "c4_lines"
    version: ClassVar[int] = 2

    where: str | None = None
    """SQL expression over columns of the input: other documents stay as they are; null counts as false."""

    @field_validator("where")
    @classmethod
    def _check_sql(cls, value: str | None) -> str | None:
        if value is not None:
            parse_expression(value)
        return value

    def fingerprint(self) -> str:
        """Hash of name, version and settings."""
        return fingerprint([self.name, self.version, self.model_dump(mode="json")])

    def columns(self) -> tuple[str, ...]:
        """Columns of the input that `where` reads."""
        return () if self.where is None else parse_expression(self.where).columns

    def spans(self, batch: pa.RecordBatch) -> pa.Array:
        """Find what is to be removed from each text of a batch."""
        texts = batch[TEXT]
        if self.where is not None:
            expression = parse_expression(self.where)
            given = [name for name in expression.columns if name in batch.schema.names]
            frame = pl.DataFrame(pl.from_arrow(batch.select(given))) if given else pl.DataFrame()
            lacking = [name for name in expression.columns if name not in given]
            frame = frame.with_columns(
                pl.Series(name, [None] * batch.num_rows, pl.String) for name in lacking
            )
            is_chosen = expression.expr.fill_null(False).alias("chosen")
            chosen = prepare(frame, expression.columns).select(is_chosen)["chosen"]
            texts = pc.if_else(chosen.to_arrow(), texts, pa.scalar(b"", pa.large_binary()))
        return text.c4_edits(texts).cast(SCHEMA.field(SPANS).type)


Transform = C4Lines | DuplicateParts | NgramOverlap

TRANSFORMS: dict[str, type[C4Lines | DuplicateParts | NgramOverlap]] = {
    C4Lines.name: C4Lines,
    DuplicateParts.name: DuplicateParts,
    NgramOverlap.name: NgramOverlap,
}
"""Transforms that a recipe names under `transform:`."""


def columns_of(transform: Transform) -> pa.Schema:
    """Columns of one transform: bytes and parts that it removed, and whether it left nothing of a text."""
    fields = [pa.field(f"{transform.name}.num_bytes", pa.uint32())]
    if isinstance(transform, CorpusTransform):
        fields.append(pa.field(f"{transform.name}.num_parts", pa.uint32()))
        fields.append(pa.field(f"{transform.name}.is_duplicate", pa.bool_()))
    return pa.schema(fields)


def count_removed(transform: Transform, frame: pl.DataFrame, kept: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Documents touched, bytes and parts removed by one transform, in all and of the kept documents."""
    removed = frame[f"{transform.name}.num_bytes"].fill_null(0).to_numpy()
    found: dict[str, int] = {}
    for prefix, mask in (("", removed > 0), ("kept_", (removed > 0) & kept)):
        found[f"{prefix}docs"] = int(mask.sum())
        found[f"{prefix}bytes_removed"] = int(removed[mask].sum(dtype=np.int64))
        if isinstance(transform, CorpusTransform):
            parts = frame[f"{transform.name}.num_parts"].fill_null(0).to_numpy()
            found[f"{prefix}parts_removed"] = int(parts[mask].sum(dtype=np.int64))
    return found


def edits_schema(transforms: Sequence[Transform]) -> pa.Schema:
    """Columns of the edits that a recipe makes."""
    return pa.schema([*SCHEMA, *(field for each in transforms for field in columns_of(each))])


def edit(
    transforms: Sequence[Transform], batch: pa.RecordBatch, found: Mapping[str, pa.RecordBatch]
) -> tuple[pa.RecordBatch, pa.Array]:
    """Apply transforms one after the other; returns columns of `edits_schema` and the edited texts.

    `found` has, for each transform that sees the corpus, the duplicate parts of these rows.
    """
    texts, total = batch[TEXT], None
    columns: dict[str, pa.Array] = {}
    for each in transforms:
        if isinstance(each, CorpusTransform):
            parts = found[each.name]
            spans = text.part_edits(texts, parts[PARTS], parts[IS_WHOLE], each.unit)
            spans = spans.cast(SCHEMA.field(SPANS).type)
            columns[f"{each.name}.num_parts"] = parts[PARTS].value_lengths().cast(pa.uint32())
        else:
            spans = each.spans(_with_texts(batch, texts))
        edited = text.apply_edits(texts, spans)
        removed = _removed(spans)
        columns[f"{each.name}.num_bytes"] = pa.array(removed, pa.uint32())
        if isinstance(each, CorpusTransform):
            is_empty = pc.fill_null(pc.equal(pc.binary_length(edited), 0), False)
            columns[f"{each.name}.is_duplicate"] = pc.and_(is_empty, pa.array(removed > 0))
        total = spans if total is None else text.compose_edits(total, spans).cast(spans.type)
        texts = edited
    columns |= {SPANS: total, NUM_BYTES: pa.array(_removed(total), pa.uint32())}
    schema = edits_schema(transforms)
    return pa.record_batch([columns[name] for name in schema.names], schema=schema), texts


def _with_texts(batch: pa.RecordBatch, texts: pa.Array) -> pa.RecordBatch:
    position = batch.schema.get_field_index(TEXT)
    return batch.set_column(position, TEXT, texts)


def _removed(spans: pa.ListArray) -> np.ndarray:
    offsets = spans.offsets.to_numpy()
    flat = spans.values
    lengths = flat.field("end").to_numpy().astype(np.int64) - flat.field("start").to_numpy()
    sums = np.concatenate([[0], np.cumsum(lengths)])
    return np.asarray(sums[offsets[1:]] - sums[offsets[:-1]])
