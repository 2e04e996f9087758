"""Transforms: byte spans that are removed when text is read; the text itself is never rewritten.

`c4_lines` are C4's line rules (Raffel et al. 2020, arXiv:1910.10683, section 2.2, as datatrove applies
them): lines without terminal punctuation, of fewer than three words, with a word of over 1,000 characters,
that mention javascript, a cookie or usage policy, and citation marks go. Stages after it measure what is
left; `document` measures the raw text.

Cost: one more native pass over the text, at about 300 MB/s a core. Not here: dropping documents (filters/).
"""

from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator

from curate import text
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
"""Columns of the edits: removed spans of the raw UTF-8 bytes, ascending, and how many bytes they are."""


class C4Lines(Settings):
    """Remove the lines that C4 removes, and citation marks."""

    name: ClassVar[str] = "c4_lines"
    version: ClassVar[int] = 1

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

    def edits(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Find what is to be removed from each text of a batch of shards; columns `SCHEMA`."""
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
        spans = text.c4_edits(texts).cast(SCHEMA.field(SPANS).type)
        return pa.record_batch([spans, pa.array(_removed(spans), pa.uint32())], schema=SCHEMA)


def _removed(spans: pa.ListArray) -> np.ndarray:
    offsets = spans.offsets.to_numpy()
    flat = spans.values
    lengths = flat.field("end").to_numpy().astype(np.int64) - flat.field("start").to_numpy()
    sums = np.concatenate([[0], np.cumsum(lengths)])
    return np.asarray(sums[offsets[1:]] - sums[offsets[:-1]])


TRANSFORMS: dict[str, type[C4Lines]] = {C4Lines.name: C4Lines}
"""Transforms that a recipe names under `transform:`."""
