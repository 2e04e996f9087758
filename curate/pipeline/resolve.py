"""Resolve: facts that need the columns of all shards - duplicate clusters and factors of token counts.

Each artefact is one task over all pieces; it is found again as long as no piece and no setting that it
reads changed. Facts only: which copy stays is the plan's decision.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.exact import Chunk, find_clusters
from curate.errors import StateError
from curate.measure.token_estimate import Factors, Sample, fit
from curate.measure.tokens import BYTES, COUNT
from curate.pipeline.progress import Timing
from curate.pipeline.session import Block, PieceEntry, Session
from curate.runs import Commit, Output, Task

LANGUAGE_COLUMNS = ("language", "lang")
"""Columns of the input that name a document's language; the first that is there."""

CLUSTER_SCHEMA = pa.schema(
    [
        pa.field("exact.cluster_id", pa.int64(), nullable=False),
        pa.field("exact.cluster_size", pa.uint32(), nullable=False),
    ]
)


def resolve(session: Session) -> Timing:
    """Make every artefact that the recipe needs; pieces must be measured and placed."""
    tasks = {"tokens": factors_task(session)}
    if session.recipe.dedup.exact is not None:
        tasks["exact"] = clusters_task(session)
    done = {name: session.run.lookup(task) for name, task in tasks.items()}
    num_cached = sum(commit is not None for commit in done.values())
    timing = Timing(step="resolve", num_tasks=len(tasks) - num_cached, num_cached=num_cached)
    session.timings.append(timing)
    with timing:
        session.progress.start("resolve", num_bytes=0, num_tasks=timing.num_tasks)
        if done["tokens"] is None:
            _fit_factors(session, tasks["tokens"])
        if "exact" in tasks and done["exact"] is None:
            _write_clusters(session, tasks["exact"])
    session.progress.finish(f"{timing.num_tasks} made, {num_cached} were there, {timing.wall_s:.1f} s")
    return timing


def _inputs(session: Session, *names: str) -> list[str]:
    """What an artefact over all pieces depends on: the stages it reads and the pieces."""
    return [
        *(session.stage_fingerprints[name] for name in names),
        *(entry.fingerprint for entry in session.entries),
    ]


def clusters_task(session: Session) -> Task:
    """The task that finds clusters of exact duplicates."""
    settings = session.recipe.dedup.exact
    within = settings.within if settings is not None else None
    return Task(
        step="resolve",
        name="exact",
        inputs=_inputs(session, "document"),
        settings={"version": 1, "within": within},
    )


def factors_task(session: Session) -> Task:
    """The task that fits the factors of token counts."""
    by = list(factor_columns(session))
    return Task(
        step="resolve",
        name="tokens",
        inputs=_inputs(session, session.recipe.tokens.key),
        settings={"version": 1, "by": by},
    )


def factor_columns(session: Session) -> tuple[str | None, str | None]:
    """Columns of source and language, by which token factors differ; None where there is none."""
    names = session.carried.names
    source = session.recipe.input.source if session.recipe.input.source in names else None
    return source, next((name for name in LANGUAGE_COLUMNS if name in names), None)


def _path(task: Task, name: str) -> str:
    return f"resolve/{task.name}-{task.fingerprint[:16]}/{name}"


def _chunks(session: Session) -> Iterator[Chunk]:
    settings = session.recipe.dedup.exact
    within = settings.within if settings is not None else None
    for block in session.blocks():
        frame = session.read_columns(block, ["doc_id", *([within] if within else [])])
        ids = frame["doc_id"].to_arrow().cast(pa.binary(16))
        yield (block.first_ordinal, ids, frame[within].to_arrow()) if within else (block.first_ordinal, ids)


def _write_clusters(session: Session, task: Task) -> Commit:
    memory = session.limits.memory_bytes // 2
    with find_clusters(_chunks(session), scratch=session.run.scratch, memory_bytes=memory) as clusters:

        def write(output: Output) -> int:
            writer = pq.ParquetWriter(output, CLUSTER_SCHEMA, compression="zstd", compression_level=1)
            for block in (block for block in session.blocks() if block.length):
                batch = clusters.read(block.first_ordinal, block.length)
                writer.write_table(
                    pa.Table.from_batches([batch]).cast(CLUSTER_SCHEMA), row_group_size=block.length
                )
            writer.close()
            return sum(entry.length for entry in session.entries)

        meta = {"num_clusters": clusters.num_clusters, "num_docs": clusters.num_docs}
        return session.run.write(task, {_path(task, "clusters.parquet"): write}, meta=meta)


class ClusterFile:
    """Clusters of exact duplicates of the corpus, read block by block."""

    def __init__(self, session: Session) -> None:
        """Open the artefact.

        Raises:
            StateError: it has not been made.
        """
        task = clusters_task(session)
        commit = session.run.lookup(task)
        if commit is None:
            raise StateError("duplicates have not been resolved", hint="run `curate dedup RECIPE`")
        self.meta: dict[str, Any] = dict(commit.meta)
        self.fingerprint = task.fingerprint
        self._file = pq.ParquetFile(session.run.path_of(commit.files[0]))
        ordinals = (block.first_ordinal for block in session.blocks() if block.length)
        self._groups = {ordinal: group for group, ordinal in enumerate(ordinals)}

    def read(self, rows: PieceEntry | Block) -> pa.Table:
        """Columns `exact.cluster_id` and `exact.cluster_size` of one piece or block."""
        blocks = [rows] if isinstance(rows, Block) else rows.blocks()
        groups = [self._groups[block.first_ordinal] for block in blocks if block.length]
        if not groups:
            return CLUSTER_SCHEMA.empty_table()
        return self._file.read_row_groups(groups, use_threads=False).combine_chunks()


def _fit_factors(session: Session, task: Task) -> Commit:
    source, language = factor_columns(session)
    names = [COUNT, *BYTES, *(name for name in (source, language) if name is not None)]
    sample = Sample()
    for block in session.blocks():
        sample.add(session.read_columns(block, names), source=source, language=language)
    data = fit(sample).model_dump_json().encode()

    def write(output: Output) -> None:
        output.write(data)

    return session.run.write(task, {_path(task, "factors.json"): write})


def read_factors(session: Session) -> Factors:
    """The factors that turn byte counts into token counts.

    Raises:
        StateError: they have not been fitted.
    """
    commit = session.run.lookup(factors_task(session))
    if commit is None:
        raise StateError("token factors have not been fitted", hint="run `curate dedup RECIPE`")
    return Factors.model_validate_json(session.run.path_of(commit.files[0]).read_bytes())
