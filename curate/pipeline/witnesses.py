"""Check the witnesses of a plan: every document that is dropped as a duplicate, again from the text.

The document that it is dropped for is there, is not a duplicate itself and no filter drops it; the stated
similarity is what comparing the texts gives now, and no less than the threshold.

Cost: the texts of duplicates and of those that stay for them, read once. Not here: deciding (duplicates.py).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate import _rust
from curate.pipeline import near
from curate.pipeline.openrun import OpenRun
from curate.pipeline.pairs import verify_pairs
from curate.pipeline.planfile import WITNESSES
from curate.pipeline.seen import Seen
from curate.schema import TEXT
from curate.shards import read_rows

_MAX_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What came out."""

    num_dropped: int
    """Documents that are dropped as duplicates."""
    num_recomputed: int
    """Pairs of different texts whose similarity was computed again."""
    problems: list[str]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def as_text(self) -> str:
        """For people."""
        good = f"{self.num_dropped:,} dropped duplicates have a document that stays; "
        good += f"{self.num_recomputed:,} similarities were computed again and are as stated"
        return "\n".join(self.problems) if self.problems else good


def check_witnesses(run: OpenRun) -> Checked:
    """Check all witnesses of the run's plan; the run is locked meanwhile."""
    session = run.located()
    witnesses = pl.read_parquet(run.plan_file.path / WITNESSES)
    names = ["doc_id", *(["minhash.node", near.CLUSTER_ID] if session.recipe.dedup.minhash else [])]
    docs = run.columns(names).with_row_index("ordinal").cast({"ordinal": pl.Int64})
    reasons = run.plan()["reasons"].list.eval(pl.element().cast(pl.String))
    docs = docs.with_columns(reasons=reasons)
    joined = witnesses.join(docs, on="ordinal", how="left").join(
        docs, left_on="keeper", right_on="ordinal", how="left", suffix="_kept"
    )
    problems = _check_reasons(witnesses, joined, docs)
    is_copy = pl.col("doc_id").eq_missing(pl.col("doc_id_kept"))
    for row in joined.filter(is_copy & (pl.col("similarity") != 1.0)).iter_rows(named=True):
        problems.append(f"document {row['ordinal']} is a copy of the one that stays, not {row['similarity']}")
    if session.recipe.dedup.minhash is None:
        for row in joined.filter(~is_copy).iter_rows(named=True):
            problems.append(f"document {row['ordinal']} has another text than the one that stays for it")
    number = 0
    if session.recipe.dedup.minhash is not None:
        near_rows = joined.filter(~is_copy & pl.col("similarity").is_not_null())
        with session.run.lock():
            number, wrong = _recompute(run, near_rows)
        problems += wrong
    more = [f"{len(problems) - _MAX_LISTED:,} more"] if len(problems) > _MAX_LISTED else []
    return Checked(
        num_dropped=witnesses.height, num_recomputed=number, problems=[*problems[:_MAX_LISTED], *more]
    )


def _check_reasons(witnesses: pl.DataFrame, joined: pl.DataFrame, docs: pl.DataFrame) -> list[str]:
    """Every dropped duplicate has a witness, and the one that stays is dropped by selection at most."""
    problems = []
    for row in joined.filter(pl.col("keeper") >= 0).iter_rows(named=True):
        stays = row["reasons_kept"] is not None and all(
            reason.startswith("plan.") for reason in row["reasons_kept"]
        )
        if not stays or row["reason"] not in row["reasons"]:
            problems.append(f"document {row['ordinal']} is dropped for {row['keeper']}, which does not stay")
    duplicates = docs.filter(pl.col("reasons").list.eval(pl.element().str.ends_with(".duplicate")).list.any())
    named = ("exact.duplicate", "minhash.duplicate")
    duplicates = duplicates.filter(
        pl.col("reasons").list.contains(named[0]) | pl.col("reasons").list.contains(named[1])
    )
    for ordinal in duplicates.join(witnesses, on="ordinal", how="anti")["ordinal"]:
        problems.append(f"document {ordinal} is dropped as a duplicate, of none")
    return problems


def _recompute(run: OpenRun, rows: pl.DataFrame) -> tuple[int, list[str]]:
    """Compute similarities again; returns how many pairs of different texts, and what is wrong."""
    settings, _ = near.near_settings(run.session)
    least = settings.least_similarity
    problems = [
        f"document {row['ordinal']} is dropped at {row['similarity']}, below {least}"
        for row in rows.filter(pl.col("similarity") < least).iter_rows(named=True)
    ]
    inside = rows.filter(pl.col("keeper") >= 0)
    node, kept = pl.col("minhash.node"), pl.col("minhash.node_kept")
    other = inside.select(
        "ordinal",
        pl.col("similarity").alias("stated"),
        cluster_id=near.CLUSTER_ID,
        a=pl.min_horizontal(node, kept),
        b=pl.max_horizontal(node, kept),
    )
    if other.height:
        found = verify_pairs(run.session, other.select("cluster_id", "a", "b").unique().sort("a", "b"))
        other = other.join(found.select("a", "b", "similarity"), on=["a", "b"], how="left")
        for row in other.filter(pl.col("stated") != pl.col("similarity")).iter_rows(named=True):
            problems.append(
                f"document {row['ordinal']} is stated at {row['stated']}, now {row['similarity']}"
            )
    indexed = rows.filter(pl.col("keeper") < -1)
    number = other.height + (indexed.height if settings.reads_text else 0)
    return number, problems + _recompute_indexed(run, indexed)


def _recompute_indexed(run: OpenRun, rows: pl.DataFrame) -> list[str]:
    """Compare with documents of an index, one by one; estimates are left alone."""
    session, (settings, stage) = run.session, near.near_settings(run.session)
    if not settings.reads_text or not rows.height:
        return []
    seen, problems = Seen(session), []
    starts = np.array([entry.first_ordinal for entry in session.entries])
    for ordinal, keeper, stated in rows.select("ordinal", "keeper", "similarity").iter_rows():
        entry = session.entries[int(np.searchsorted(starts, ordinal, side="right")) - 1]
        row = entry.first_row + ordinal - entry.first_ordinal
        table = read_rows(entry.shard, session.recipe.input, [row], [TEXT])
        other = pa.array([seen.read_text(keeper + seen.num_docs + 1).encode()], pa.large_binary())
        mine = table[TEXT].combine_chunks().cast(pa.large_binary())
        found = _rust.set_similarity(mine, other, stage.needs().minhash or "", settings.verify)[0].as_py()
        if found != stated:
            problems.append(f"document {ordinal} is stated at {stated}, now {found}")
    return problems
