"""Near duplicates of the corpus as facts: verified pairs, and the clusters that they make.

Documents with the same text (within the same scope) are one node, that of the first of them. Signatures of
nodes become band keys, groups of equal keys become candidate pairs; candidates are read once more, row
groups without any are skipped, and each pair is checked. All of it goes through files in the scratch folder,
within the memory of the session; the bytes of the result depend on neither. Which document stays is the
plan's decision.

Cost: 16 bytes of scratch for each band of each document, read and written twice, and 8 for each shingle of a
candidate. Not here: the search (near_search.py), its settings (dedup/near.py), the algorithms (`near/` of the
native core).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate import _rust
from curate.dedup.near import Near
from curate.errors import StateError
from curate.measure import MinHash
from curate.pipeline import artefact
from curate.pipeline.artefact import FactFile
from curate.pipeline.candidate_texts import NO_BUCKET, Buckets, Sources, read_texts
from curate.pipeline.index import Dump, Index
from curate.pipeline.rails import check_facts
from curate.pipeline.session import EDITS_STAGE, Session
from curate.runs import Task

SIGNATURE = "minhash.signature"
NUM_SHINGLES = "minhash.num_shingles"
CLUSTER_ID = "minhash.cluster_id"
CLUSTER_SIZE = "minhash.cluster_size"

SCHEMA = pa.schema(
    [
        pa.field(CLUSTER_ID, pa.int64(), nullable=False),
        pa.field(CLUSTER_SIZE, pa.uint32(), nullable=False),
        pa.field("minhash.nearest", pa.int64(), nullable=False),
        pa.field("minhash.similarity", pa.float64()),
        pa.field("minhash.node", pa.int64(), nullable=False),
        pa.field("minhash.is_hot", pa.bool_(), nullable=False),
    ]
)
"""For every document: its cluster by its least ordinal (-1 where single), the documents in it, ordinal and
similarity of the most similar one (-1 and null), the first document with the same text, and whether it was
compared with representatives only."""

EDGE_SCHEMA = pa.schema(
    [
        pa.field("a", pa.int64(), nullable=False),
        pa.field("b", pa.int64(), nullable=False),
        pa.field("similarity", pa.float64(), nullable=False),
        pa.field("band", pa.uint16(), nullable=False),
        pa.field("cluster_id", pa.int64(), nullable=False),
    ]
)
"""Verified pairs of nodes by ordinal, a < b, in order; the first band that they share."""

_MAX_BUCKETS = 1024


def near_settings(session: Session) -> tuple[Near, MinHash]:
    """Settings of near duplicates and of the signatures; the recipe has both."""
    near, stage = session.recipe.dedup.minhash, session.recipe.minhash
    assert near is not None and stage is not None
    return near, stage


def index_of(session: Session) -> Index | None:
    """The index of the recipe."""
    near, _ = near_settings(session)
    return None if near.index is None else Index(Path(near.index.path))


def dump_name(session: Session) -> str:
    """What the corpus is called in the index."""
    near, _ = near_settings(session)
    assert near.index is not None
    return near.index.name or session.recipe.name


def seen_dumps(session: Session) -> list[Dump]:
    """The dumps that the corpus is compared with: those that came before it.

    Raises:
        StateError: one of them has other signatures, or texts that cannot be compared exactly.
    """
    near, stage = near_settings(session)
    index = index_of(session)
    if index is None or near.index is None or near.index.mode == "within":
        return []
    found = []
    for dump in index.dumps:
        if dump.name == dump_name(session):
            break
        if dump.signatures != stage.fingerprint() or dump.within != near.within:
            raise StateError(
                f"dump {dump.name} of {index.path} has signatures of other settings, or another `within`",
                hint="use the settings of the index, or another index",
            )
        if near.reads_text and (dump.is_edited or session.is_edited(stage.key)):
            raise StateError(
                f"signatures of dump {dump.name} or of this corpus are of edited texts",
                hint="set dedup.minhash.verify: signature",
            )
        found.append(dump)
    return found


def stages(session: Session) -> set[str]:
    """Stages whose columns are read."""
    _, stage = near_settings(session)
    return {stage.key, *([EDITS_STAGE] if session.is_edited(stage.key) else [])}


def task(session: Session) -> Task:
    """The task that finds near duplicates."""
    near, stage = near_settings(session)
    bands = near.choose_bands(stage)
    read = {"identity", stage.key}
    if near.within is not None:
        read.add(session.stage_of(near.within))
    seen = [dump.fingerprint for dump in seen_dumps(session)]
    mode = near.index.mode if near.index is not None else "both"
    return Task(
        step="resolve",
        name="minhash",
        inputs=[*artefact.inputs(session, *sorted(read)), *seen],
        settings={"version": 1, "bands": [bands.num_bands, bands.num_rows], "mode": mode, **near.facts()},
    )


def cluster_file(session: Session) -> FactFile:
    """Clusters of near duplicates, a row for every document."""
    return FactFile(session, task, SCHEMA)


def edges_path(session: Session) -> Any:
    """The file of verified pairs."""
    return session.run.path_of(cluster_file(session).commit.files[1])


def check(session: Session) -> list[str]:
    """What looks wrong about what was found.

    Raises:
        DataError: something does, and the recipe says to stop then.
    """
    near, _ = near_settings(session)
    return check_facts(session, near, cluster_file(session))


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Consecutive documents and their columns: of the corpus or of an index."""

    first: int
    """Number of the first."""
    length: int
    read: Callable[[list[str]], pl.DataFrame]


def corpus_rows(session: Session, *, offset: int = 0) -> Iterator[Rows]:
    """The documents of the corpus by blocks; they are numbered from `offset` on."""
    for block in session.blocks():
        read = partial(session.read_columns, block)
        yield Rows(first=block.first_ordinal + offset, length=block.length, read=read)


def num_buckets(
    session: Session,
    rows: Iterable[Rows],
    is_wanted: Callable[[int, int], npt.NDArray[np.bool_]],
    *,
    memory_bytes: int,
) -> int:
    """Buckets of wanted documents whose sets fill a quarter of the memory each, about."""
    near, stage = near_settings(session)
    num_bytes = 0
    for part in rows:
        wanted = is_wanted(part.first, part.length)
        if near.reads_text and wanted.any():
            sizes = part.read([NUM_SHINGLES])[NUM_SHINGLES].fill_null(0).to_numpy()
            num_bytes += 8 * int(np.minimum(sizes[wanted], stage.max_shingles).sum())
        else:
            num_bytes += 4 * stage.num_hashes * int(wanted.sum())
    return min(max(-(-num_bytes // max(memory_bytes // 4, 1)), 1), _MAX_BUCKETS)


def feed_signatures(
    session: Session,
    verifier: _rust.Verifier,
    rows: Iterable[Rows],
    buckets: Callable[[int, int], npt.NDArray[np.uint32]],
) -> None:
    """Give a verifier the signatures of the documents that have a bucket."""
    _, stage = near_settings(session)
    for part in rows:
        wanted = buckets(part.first, part.length)
        places = np.flatnonzero(wanted != NO_BUCKET)
        if len(places):
            signatures = to_signatures(part.read([SIGNATURE])[places], stage)
            verifier.add_signatures(signatures, pa.array(places + part.first), pa.array(wanted[places]))


def feed_texts(
    session: Session,
    verifier: _rust.Verifier,
    buckets: Buckets,
    boilerplate: _rust.Boilerplate | None,
    *,
    offset: int = 0,
) -> None:
    """Give a verifier the texts of the documents of the corpus that have a bucket."""
    _, stage = near_settings(session)
    sources = None if boilerplate is None else Sources(session)
    for part in read_texts(session, buckets, is_edited=session.is_edited(stage.key), sources=sources):
        verifier.add_texts(
            part.texts,
            pa.array(part.ordinals + offset),
            pa.array(part.buckets),
            session.limits.num_threads,
            boilerplate=boilerplate,
            sources=part.sources,
        )


def to_signatures(frame: pl.DataFrame, stage: MinHash) -> pa.Array:
    """Signatures as the native core takes them."""
    return frame[SIGNATURE].to_arrow().cast(pa.binary(4 * stage.num_hashes))


def make_verifier(session: Session, folder: Any, *, num_buckets: int, memory_bytes: int) -> _rust.Verifier:
    """What checks the candidate pairs that are in files of `folder`, with the recipe's settings."""
    near, stage = near_settings(session)
    # A pair that shares a band has equal slots, so half of one lets every candidate pass.
    threshold = near.threshold if near.verify != "none" else 0.5 / stage.num_hashes
    return _rust.Verifier(
        folder,
        stage.needs().minhash or "",
        mode=near.verify if near.reads_text else "signature",
        threshold=threshold,
        max_reps=near.max_reps,
        num_buckets=num_buckets,
        memory_bytes=memory_bytes,
    )
