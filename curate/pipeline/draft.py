"""The plan's first pass: each block of rows alone, from columns to filter reasons, pool, tokens and score.

Drafts are spilled to scratch, one Arrow file a block, so the later passes (duplicates, selection, writing)
read only what they need and memory does not grow with the corpus.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate.files import naming_errors
from curate.filters.expression import parse_expression
from curate.filters.rules import evaluate, reason_codes, reasons_column, rule_columns
from curate.measure.token_estimate import ESTIMATE, Factors, apply_factors
from curate.measure.tokens import BYTES, COUNT
from curate.pipeline.cells import PoolNames
from curate.pipeline.resolve import factor_columns
from curate.pipeline.session import Block, Session
from curate.schema import ERROR, INPUT_ERRORS
from curate.selection.candidates import values_of
from curate.selection.tiers import Ranks, ranks_of


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What one block brings to the plan."""

    reasons: pa.Array
    """Per row the reasons of input and filters; empty lists are survivors."""
    doc_id: pa.Array
    pool: npt.NDArray[np.uint32]
    """Code of the pool, tiers aside."""
    tokens: npt.NDArray[np.uint32]
    ranks: Ranks | None
    """Rank of the score that tiers are cut by; None where there are no tiers."""

    @property
    def survives(self) -> npt.NDArray[np.bool_]:
        """Rows that no filter drops."""
        return np.asarray(np.diff(self.reasons.offsets.to_numpy()) == 0)


def needed_columns(session: Session) -> list[str]:
    """Columns that drafting reads."""
    recipe = session.recipe
    factors = (name for name in factor_columns(session) if name is not None)
    names = [ERROR, "doc_id", *rule_columns(recipe.rules), COUNT, *BYTES, *factors]
    names += [f"{each.name}.is_duplicate" for each in recipe.rounds]
    names += recipe.plan.pools.columns
    if recipe.plan.pools.tiers is not None:
        names += parse_expression(recipe.plan.pools.tiers.of).columns
    return list(dict.fromkeys(names))


def all_reasons(session: Session, last: Iterable[str]) -> pa.Array:
    """Every reason code that the plan can give, in order; its position is its code in `rows`."""
    rounds = (f"{each.name}.duplicate" for each in session.recipe.rounds)
    return pa.array([*INPUT_ERRORS, *rounds, *reason_codes(session.recipe.rules), *last], pa.string())


def draft_block(
    session: Session, block: Block, names: list[str], pools: PoolNames, *, factors: Factors
) -> Draft:
    """Apply filters to one block and count its tokens, one for the end of each document included."""
    frame = session.read_columns(block, names)
    error = frame[ERROR]
    masks: list[tuple[str, npt.NDArray[np.bool_]]] = [
        (code, (error == code).fill_null(False).to_numpy()) for code in INPUT_ERRORS
    ]
    readable = error.is_null().to_numpy()
    for each in session.recipe.rounds:
        is_duplicate = frame[f"{each.name}.is_duplicate"].fill_null(False).to_numpy()
        masks.append((f"{each.name}.duplicate", is_duplicate & readable))
    masks += [(code, mask.to_numpy() & readable) for code, mask in evaluate(session.recipe.rules, frame)]
    tiers = session.recipe.plan.pools.tiers
    source, language = factor_columns(session)
    counted = apply_factors(frame, factors, source=source, language=language)
    return Draft(
        reasons=reasons_column(masks, len(frame)),
        doc_id=frame["doc_id"].to_arrow().cast(pa.binary(16)),
        pool=pools.codes(frame),
        tokens=np.where(readable, counted[ESTIMATE].fill_null(0).to_numpy() + 1, 0).astype(np.uint32),
        ranks=None if tiers is None else ranks_of(values_of(tiers.of, frame, len(frame))),
    )


def estimates(
    session: Session, block: Block, codes: npt.NDArray[np.uint32], tokens: npt.NDArray[np.uint32]
) -> pl.DataFrame:
    """Per pool, source and language of a block: tokens, and bytes of the documents that were estimated.

    `tokens` are those of the drafts, an end of document included.
    """
    source, language = factor_columns(session)
    names = [COUNT, *BYTES, *(name for name in (source, language) if name is not None)]
    frame = session.read_columns(block, names)
    none = pl.lit(None, dtype=pl.String)
    size = pl.sum_horizontal(pl.col(name).cast(pl.Int64) for name in BYTES)
    return (
        frame.select(
            pool=pl.Series(codes),
            source=none if source is None else pl.col(source).cast(pl.String),
            language=none if language is None else pl.col(language).cast(pl.String),
            tokens=pl.Series(tokens.astype(np.int64) - (tokens > 0)),
            left=pl.when(pl.col(COUNT).is_null()).then(size).otherwise(0).fill_null(0),
        )
        .group_by("pool", "source", "language")
        .agg(pl.col("tokens").sum(), pl.col("left").sum())
    )


def spill(draft: Draft, path: Path) -> None:
    """Write a draft to scratch."""
    columns = {
        "reasons": draft.reasons,
        "doc_id": draft.doc_id,
        "pool": pa.array(draft.pool),
        "tokens": pa.array(draft.tokens),
    }
    if draft.ranks is not None:
        columns["ranks"] = pa.array(draft.ranks)
    batch = pa.record_batch(columns)
    with (
        naming_errors(path),
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write(batch)


def unspill(path: Path) -> Draft:
    """Read a draft back."""
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    batch = table.combine_chunks().to_batches()
    data = batch[0] if batch else pa.RecordBatch.from_pylist([], schema=table.schema)
    return Draft(
        reasons=data["reasons"],
        doc_id=data["doc_id"],
        pool=data["pool"].to_numpy(),
        tokens=data["tokens"].to_numpy(),
        ranks=data["ranks"].to_numpy() if "ranks" in data.schema.names else None,
    )
