"""Slow, obvious twins of `curate.dedup`: dictionaries and sorting by one key after the other."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any


def find_clusters(ids: Sequence[bytes | None], scopes: Sequence[Any] | None = None) -> list[tuple[int, int]]:
    """Per document the least ordinal of its cluster and its size; (-1, 1) for a document without a copy."""
    members: dict[Any, list[int]] = defaultdict(list)
    for ordinal, doc_id in enumerate(ids):
        if doc_id is not None:
            members[doc_id, scopes[ordinal] if scopes else None].append(ordinal)
    out = [(-1, 1)] * len(ids)
    for ordinals in members.values():
        for ordinal in ordinals:
            if len(ordinals) > 1:
                out[ordinal] = (min(ordinals), len(ordinals))
    return out


def choose_keepers(
    cluster_ids: Sequence[int],
    survived: Sequence[bool],
    rows: Sequence[Mapping[str, Any]],
    order: Sequence[tuple[str, bool]],
    prefer: tuple[str, Sequence[str]] | None = None,
) -> dict[int, int]:
    """Dropped ordinal -> kept ordinal, among the survivors of each cluster; `order`: (column, descending)."""
    members = defaultdict(list)
    for ordinal, cluster in enumerate(cluster_ids):
        if cluster >= 0 and survived[ordinal]:
            members[cluster].append(ordinal)
    losers = {}
    for ordinals in members.values():
        best = list(ordinals)
        if prefer is not None:
            column, values = prefer
            ranks = [
                list(values).index(rows[i][column]) if rows[i][column] in values else len(values)
                for i in best
            ]
            best = [i for i, rank in zip(best, ranks, strict=True) if rank == min(ranks)]
        for column, greatest in order:
            known = [rows[i][column] for i in best if not _unknown(rows[i][column])]
            if known:
                wanted = max(known) if greatest else min(known)
                best = [i for i in best if not _unknown(rows[i][column]) and rows[i][column] == wanted]
        keeper = min(best)
        losers.update({i: keeper for i in ordinals if i != keeper})
    return losers


def _unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
