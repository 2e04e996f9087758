"""Safety rails of near duplicates: what looks like a wrong setting is said, or ends the run.

Three things: one cluster that holds much of a source, a source that loses much, candidates that are mostly
rejected. Memory: clusters that are large for the smallest judged source, and counts by source.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl

from curate.dedup.near import Near
from curate.errors import DataError
from curate.pipeline.artefact import FactFile
from curate.pipeline.session import Session

ALL = "the corpus"


def check_facts(session: Session, near: Near, facts: FactFile) -> list[str]:
    """Look at candidates and clusters that were found.

    Raises:
        DataError: something is wrong and the rails say to stop.
    """
    rails, warnings = near.rails, []
    counts: Mapping[str, Any] = facts.meta["counts"]
    num_pairs, num_rejected = counts["num_pairs"], counts["num_rejected"]
    limit = rails.max_rejected_share
    if limit is not None and num_pairs >= rails.min_docs and num_rejected > limit * num_pairs:
        warnings.append(
            f"{num_rejected / num_pairs:.1%} of {num_pairs:,} candidate pairs are less similar than "
            f"{near.threshold:g}: use bands with more rows (dedup.minhash.bands), or discount boilerplate"
        )
    share = rails.max_cluster_share
    if share is not None and counts["largest_cluster"] > share * rails.min_docs:
        warnings += _large_clusters(session, near, share, facts)
    if counts["num_capped_docs"]:
        warnings.append(
            f"{counts['num_capped_docs']:,} documents share a band with more than {near.max_reps} documents "
            f"that are not similar, and were compared with that many only: raise dedup.minhash.max_reps, "
            f"or discount boilerplate"
        )
    return give(near, warnings)


def check_losses(near: Near, before: Counter[str], lost: Counter[str]) -> list[str]:
    """Look at what each source has before near duplicates are dropped, and how much of it they are.

    Raises:
        DataError: a source loses too much and the rails say to stop.
    """
    limit, warnings = near.rails.max_loss_share, []
    for source in sorted(before):
        if (
            limit is not None
            and before[source] >= near.rails.min_docs
            and lost[source] > limit * before[source]
        ):
            warnings.append(
                f"{source} loses {lost[source] / before[source]:.1%} of {before[source]:,} documents to "
                f"near duplicates: look with `curate dedup clusters`, or set dedup.minhash.within"
            )
    return give(near, warnings)


def give(near: Near, warnings: list[str]) -> list[str]:
    """Hand warnings back, or stop."""
    if warnings and near.rails.stop:
        raise DataError(
            "; ".join(warnings), hint="dedup.minhash.rails has the limits, `stop` makes them errors"
        )
    return warnings


def source_column(session: Session) -> str | None:
    """The column of sources, where the input has it."""
    name = session.recipe.input.source
    return name if name is not None and name in session.carried.names else None


def _large_clusters(session: Session, near: Near, limit: float, facts: FactFile) -> list[str]:
    name = source_column(session)
    totals: Counter[str] = Counter()
    for block in session.blocks() if name else ():
        values = session.read_columns(block, [str(name)])[str(name)].cast(pl.String)
        for source, number in values.value_counts().iter_rows():
            totals[str(source)] += number
    if name is None:
        totals[ALL] = sum(entry.length for entry in session.entries)
    judged = [number for number in totals.values() if number >= near.rails.min_docs]
    if not judged:
        return []
    members: Counter[tuple[str, int]] = Counter()
    for block in session.blocks():
        found = pl.DataFrame(pl.from_arrow(facts.read(block)))
        large = found["minhash.cluster_size"] > limit * min(judged)
        if large.any():
            source = session.read_columns(block, [name])[name].cast(pl.String) if name else pl.lit(ALL)
            frame = found.select(pl.col("minhash.cluster_id").alias("cluster"), source=source).filter(large)
            for source_name, cluster, number in frame.group_by("source", "cluster").len().iter_rows():
                members[str(source_name), cluster] += number
    return [
        f"one cluster (the one of document {cluster}) has {number:,} of the {totals[source]:,} documents of "
        f"{source}: they may share a template; look with `curate dedup clusters`"
        for (source, cluster), number in sorted(members.items())
        if totals[source] >= near.rails.min_docs and number > limit * totals[source]
    ]
