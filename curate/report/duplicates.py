"""Duplicates of a run for people: why one was dropped, and the largest clusters with what differs in them.

Cost: columns of one document and of the one that stays; for clusters one pass over the cluster columns, and
the texts of a few members. Not here: deciding (pipeline/duplicates.py), looks (html.py).
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from curate.dedup.exact import DUPLICATE as EXACT
from curate.dedup.keep import KeepRule
from curate.errors import DataError, StateError
from curate.pipeline import OpenRun, Session, near
from curate.pipeline.duplicates import read_witness
from curate.pipeline.planfile import WITNESSES
from curate.pipeline.rails import source_column
from curate.pipeline.seen import Seen
from curate.pipeline.session import PieceEntry
from curate.report.differences import Stretch, compare
from curate.report.explain import DuplicateFacts, describe_duplicate
from curate.report.model import ClusterView, Member
from curate.schema import TEXT
from curate.shards import read_rows

_MAX_CHARS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a document is."""

    ordinal: int
    entry: PieceEntry
    position: int
    """Its row in the piece."""

    @property
    def row(self) -> int:
        """Its row in the shard."""
        return self.entry.first_row + self.position

    def __str__(self) -> str:
        return f"{self.entry.shard.key}:{self.row}"


def place_of(session: Session, ordinal: int) -> Place:
    """Find a document by its ordinal."""
    for entry in session.entries:
        if entry.first_ordinal <= ordinal < entry.first_ordinal + entry.length:
            return Place(ordinal=ordinal, entry=entry, position=ordinal - entry.first_ordinal)
    raise DataError(f"no document has the number {ordinal}; `curate verify` says what is damaged")


def read_text(session: Session, place: Place) -> str:
    """The beginning of a document's text, as its shard has it."""
    table = read_rows(place.entry.shard, session.recipe.input, [place.row], [TEXT])
    return (table[TEXT][0].as_py() or b"").decode("utf-8", "replace")[:_MAX_CHARS]


def duplicate_facts(run: OpenRun, session: Session, reason: str, place: Place) -> DuplicateFacts:
    """Say which document stays for a dropped duplicate, how similar it is, and why it was preferred.

    Raises:
        DataError: the plan has no witness for it.
    """
    witness = read_witness(run.plan_file.path / WITNESSES, place.ordinal)
    if witness is None or witness["reason"] != reason:
        raise DataError(f"no kept copy is known for {place}; `curate verify` says what is damaged")
    if witness["keeper"] < 0:
        return _indexed_facts(session, place, witness)
    other = place_of(session, witness["keeper"])
    row = run.plan_file.rows(other.entry.shard_index, start=other.row, stop=other.row + 1).to_pylist()[0]
    dedup = session.recipe.dedup
    rule: KeepRule = (dedup.exact if reason == EXACT else dedup.minhash) or KeepRule()
    size = f"{reason.split('.')[0]}.cluster_size"
    names = list(rule.columns())
    is_copy = reason == EXACT and _doc_id(session, place) == row["doc_id"]
    return DuplicateFacts(
        kept_shard=other.entry.shard.key,
        kept_row=other.row,
        kept_id=_value(session, other, session.recipe.input.id),
        kept_doc_id=row["doc_id"].hex(),
        kept_reasons=tuple(row["reasons"]),
        num_copies=session.read_columns(place.entry, [size])[size][place.position],
        keep=rule.keep if rule.prefer is None else f"prefer {rule.prefer.column}, {rule.keep}",
        key=_keys_of(session, place, names),
        kept_key=_keys_of(session, other, names),
        similarity=witness["similarity"],
        near=None if is_copy else _near_facts(session, place, other.ordinal),
    )


def _indexed_facts(session: Session, place: Place, witness: dict[str, Any]) -> DuplicateFacts:
    """Facts of a document that is dropped for one of the index."""
    seen = Seen(session)
    dump, uri, row = seen.place_of(witness["keeper"] + seen.num_docs + 1)
    return DuplicateFacts(
        kept_shard=f"dump {dump.name}, {uri}",
        kept_row=row,
        kept_id=None,
        kept_doc_id="",
        kept_reasons=(),
        num_copies=session.read_columns(place.entry, [near.CLUSTER_SIZE])[near.CLUSTER_SIZE][place.position],
        keep=None,
        key=None,
        kept_key=None,
        similarity=witness["similarity"],
        near=_near_facts(session, place, witness["keeper"]),
    )


def _near_facts(session: Session, place: Place, keeper: int) -> str:
    """How the pair was found and checked, in words."""
    settings, stage = near.near_settings(session)
    a, b = sorted((_node(session, place.ordinal), _node(session, keeper)))
    cluster = session.read_columns(place.entry, [near.CLUSTER_ID])[near.CLUSTER_ID][place.position]
    kind = {"none": "not verified, share of equal slots", "signature": "estimated from signatures"}
    checked = kind.get(settings.verify, f"exact {settings.verify} of {stage.unit} {stage.ngram}-grams")
    band = "same text" if a == b else _band(session, a, b)
    return f"{checked}, threshold {settings.threshold:g}; {band}; cluster {cluster}"


def _node(session: Session, ordinal: int) -> int:
    """The first document with the same text; one of the index stands for itself."""
    if ordinal < 0:
        return ordinal
    place = place_of(session, ordinal)
    return int(session.read_columns(place.entry, ["minhash.node"])["minhash.node"][place.position])


def _band(session: Session, a: int, b: int) -> str:
    with pq.ParquetFile(near.edges_path(session)) as file:
        for group in range(file.metadata.num_row_groups):
            statistics = file.metadata.row_group(group).column(0).statistics
            if statistics.min <= a <= statistics.max:
                edges = pl.DataFrame(pl.from_arrow(file.read_row_group(group)))
                found = edges.filter((pl.col("a") == a) & (pl.col("b") == b))
                if found.height:
                    return f"first shared band {found['band'][0]}"
    return "verified when documents that stay were chosen"


def _keys_of(session: Session, place: Place, names: list[str]) -> str | int | None:
    if not names:
        return place.ordinal
    frame = session.read_columns(place.entry, names)
    return json.dumps(frame.row(place.position, named=True), default=str)


def _doc_id(session: Session, place: Place) -> bytes | None:
    value = session.read_columns(place.entry, ["doc_id"])["doc_id"][place.position]
    return None if value is None else bytes(value)


def _value(session: Session, place: Place, name: str | None) -> str | None:
    if name is None or name not in session.carried.names:
        return None
    value = session.read_columns(place.entry, [name])[name][place.position]
    return None if value is None else str(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A dropped duplicate and the document that stays for it."""

    dropped: str
    kept: str
    similarity: float | None
    lines: list[str]
    """What is known, in words."""
    stretches: list[Stretch]
    """The texts side by side, the dropped one left."""


def explain_pair(run: OpenRun, session: Session, reason: str, place: Place) -> Pair:
    """Say why a duplicate was dropped, with both texts."""
    facts = duplicate_facts(run, session, reason, place)
    witness = read_witness(run.plan_file.path / WITNESSES, place.ordinal)
    assert witness is not None
    if witness["keeper"] >= 0:
        text = read_text(session, place_of(session, witness["keeper"]))
    else:
        seen = Seen(session)
        text = seen.read_text(witness["keeper"] + seen.num_docs + 1)
    return Pair(
        dropped=str(place),
        kept=f"{facts.kept_shard}:{facts.kept_row}",
        similarity=facts.similarity,
        lines=[f"{place} is dropped: {reason}", *describe_duplicate(facts)],
        stretches=compare(read_text(session, place), text[:_MAX_CHARS]),
    )


def largest_clusters(run: OpenRun, number: int, *, num_members: int = 2) -> list[ClusterView]:
    """The largest clusters, each with a few members compared with one that stays (or the first).

    Raises:
        StateError: near duplicates have not been looked for.
    """
    session = run.session
    if session.recipe.dedup.minhash is None:
        raise StateError("the recipe does not look for near duplicates", hint="add `dedup: {minhash: {}}`")
    run.located({near.near_settings(session)[1].key, "input"})
    sizes: list[tuple[int, int]] = []
    for block in session.blocks():
        frame = session.read_columns(block, [near.CLUSTER_SIZE, near.CLUSTER_ID])
        found = frame.filter(pl.col(near.CLUSTER_ID) != -1).unique()
        sizes = sorted({*sizes, *found.iter_rows()}, key=lambda pair: (-pair[0], pair[1]))[:number]
    members = _members(run, [cluster for _, cluster in sizes])
    return [_view(run, cluster, size, members[cluster], num_members) for size, cluster in sizes]


@dataclass(slots=True)
class _Members:
    """What is collected of one cluster."""

    sources: Counter[str]
    kept: int
    chosen: list[tuple[bool, int, float | None, tuple[str, ...]]]
    """Whether it stays, ordinal, similarity and reasons of a few."""


def _members(run: OpenRun, clusters: Sequence[int]) -> dict[int, _Members]:
    session = run.session
    found = {cluster: _Members(Counter(), 0, []) for cluster in clusters}
    name, has_plan = source_column(session), session.run.current_plan is not None
    for block in session.blocks():
        frame = session.read_columns(
            block, ["minhash.cluster_id", "minhash.similarity", *([name] if name else [])]
        )
        rows = np.flatnonzero(frame["minhash.cluster_id"].is_in(clusters).to_numpy())
        if not len(rows):
            continue
        reasons: list[tuple[str, ...]] = [()] * len(rows)
        if has_plan:
            stop = block.first_row + block.length
            plan = run.plan_file.rows(
                block.shard_index, start=block.first_row, stop=stop, columns=["reasons"]
            )
            reasons = [tuple(each) for each in plan["reasons"].take(rows).to_pylist()]
        for row, why in zip(rows.tolist(), reasons, strict=True):
            cluster, similarity, *source = frame.row(row)
            mine = found[cluster]
            mine.sources[str(source[0]) if source else "all"] += 1
            stays = has_plan and not why
            mine.kept += stays
            if len(mine.chosen) < 16 or (stays and mine.kept == 1):
                mine.chosen.append((stays, block.first_ordinal + row, similarity, why))
    return found


def _view(run: OpenRun, cluster: int, size: int, members: _Members, number: int) -> ClusterView:
    session = run.session
    order = sorted(members.chosen, key=lambda each: (not each[0], each[1]))
    first = place_of(session, order[0][1])
    text = read_text(session, first)
    shown = []
    for _, ordinal, similarity, why in sorted(order[1:], key=lambda each: (each[2] or 0.0, each[1]))[:number]:
        place = place_of(session, ordinal)
        shown.append(
            Member(
                place=str(place),
                id=_value(session, place, session.recipe.input.id),
                similarity=similarity,
                reasons=why,
                stretches=compare(text, read_text(session, place)),
            )
        )
    return ClusterView(
        cluster_id=cluster,
        size=size,
        kept=members.kept if session.run.current_plan is not None else -1,
        sources=dict(members.sources.most_common(8)),
        first=str(first),
        first_id=_value(session, first, session.recipe.input.id),
        first_text=text[:600],
        members=shown,
    )
