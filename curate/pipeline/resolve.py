"""Resolve: facts that need the columns of all shards - duplicates and factors of token counts.

Each artefact is one task over all pieces; it is found again as long as no piece and no setting that it
reads changed. Facts only: which copy stays is the plan's decision.
"""

from collections.abc import Collection, Iterator

import pyarrow as pa

from curate.dedup.exact import Chunk, find_clusters
from curate.errors import ConfigError, StateError
from curate.measure.token_estimate import Factors, Sample, fit
from curate.measure.tokens import BYTES, COUNT
from curate.pipeline import artefact, near
from curate.pipeline.artefact import FactFile
from curate.pipeline.near_search import find_near
from curate.pipeline.progress import Timing
from curate.pipeline.session import INPUT_STAGE, Session
from curate.runs import Commit, Output, Task

LANGUAGE_COLUMNS = ("language", "lang")
"""Columns of the input that name a document's language; the first that is there."""

CLUSTER_SCHEMA = pa.schema(
    [
        pa.field("exact.cluster_id", pa.int64(), nullable=False),
        pa.field("exact.cluster_size", pa.uint32(), nullable=False),
    ]
)


def resolve(session: Session, *, only: Collection[str] | None = None) -> Timing:
    """Make every artefact that the recipe needs, of those in `only`; pieces must be measured and placed."""
    open_facts(session)
    _check_columns(session)
    tasks = {name: task for name, task in all_tasks(session).items() if only is None or name in only}
    done = {name: session.run.lookup(task) for name, task in tasks.items()}
    num_cached = sum(commit is not None for commit in done.values())
    timing = Timing(step="resolve", num_tasks=len(tasks) - num_cached, num_cached=num_cached)
    session.timings.append(timing)
    make = {"tokens": _fit_factors, "exact": _write_clusters, "minhash": find_near}
    with timing:
        session.progress.start("resolve", num_bytes=0, num_tasks=timing.num_tasks)
        for name, task in tasks.items():
            if done[name] is None:
                make[name](session, task)
    if "minhash" in tasks:
        for warning in near.check(session):
            session.progress.warn(warning)
    session.progress.finish(f"{timing.num_tasks} made, {num_cached} were there, {timing.wall_s:.1f} s")
    return timing


def all_tasks(session: Session) -> dict[str, Task]:
    """The tasks of the artefacts that the recipe needs, by name."""
    tasks = {"tokens": factors_task(session)}
    if session.recipe.dedup.exact is not None:
        tasks["exact"] = clusters_task(session)
    if session.recipe.dedup.minhash is not None:
        tasks["minhash"] = near.task(session)
    return tasks


DUPLICATES = ("exact", "minhash")
"""Artefacts about duplicates, which need no other columns than `dedup_stages`."""


def dedup_stages(session: Session) -> set[str]:
    """Stages whose columns finding duplicates reads."""
    dedup = session.recipe.dedup
    stages = {INPUT_STAGE, "identity"}
    for rule in (dedup.exact, dedup.minhash):
        if rule is not None and rule.within is not None:
            stages.add(session.stage_of(rule.within))
    return stages | (near.stages(session) if dedup.minhash is not None else set())


def _check_columns(session: Session) -> None:
    """Refuse columns of lists and structs, which have no order and are not stored."""
    dedup = session.recipe.dedup
    for section, rule in (("exact", dedup.exact), ("minhash", dedup.minhash)):
        names = () if rule is None else (*rule.columns(), *([rule.within] if rule.within else []))
        for name in names:
            if name in session.carried.names and pa.types.is_nested(session.carried.field(name).type):
                kind = session.carried.field(name).type
                raise ConfigError(f"dedup.{section} needs a column of single values, {name} is {kind}")


def open_facts(session: Session) -> None:
    """Let the session read the columns of the artefacts; each is opened when it is first read."""
    session.facts = []
    if session.recipe.dedup.exact is not None:
        session.facts.append(cluster_file(session))
    if session.recipe.dedup.minhash is not None:
        session.facts.append(near.cluster_file(session))


def clusters_task(session: Session) -> Task:
    """The task that finds clusters of exact duplicates."""
    settings = session.recipe.dedup.exact
    within = settings.within if settings is not None else None
    return Task(
        step="resolve",
        name="exact",
        inputs=artefact.inputs(session, "identity"),
        settings={"version": 1, "within": within},
    )


def factors_task(session: Session) -> Task:
    """The task that fits the factors of token counts."""
    by = list(factor_columns(session))
    return Task(
        step="resolve",
        name="tokens",
        inputs=artefact.inputs(session, session.recipe.tokens.key),
        settings={"version": 1, "by": by},
    )


def factor_columns(session: Session) -> tuple[str | None, str | None]:
    """Columns of source and language, by which token factors differ; None where there is none."""
    names = session.carried.names
    source = session.recipe.input.source if session.recipe.input.source in names else None
    return source, next((name for name in LANGUAGE_COLUMNS if name in names), None)


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
            return artefact.write_rows(
                session,
                output,
                CLUSTER_SCHEMA,
                lambda block: clusters.read(block.first_ordinal, block.length),
            )

        meta = {"num_clusters": clusters.num_clusters, "num_docs": clusters.num_docs}
        return session.run.write(task, {artefact.path(task, "clusters.parquet"): write}, meta=meta)


def cluster_file(session: Session) -> FactFile:
    """Clusters of exact duplicates, a row for every document."""
    return FactFile(session, clusters_task, CLUSTER_SCHEMA)


def _fit_factors(session: Session, task: Task) -> Commit:
    source, language = factor_columns(session)
    names = [COUNT, *BYTES, *(name for name in (source, language) if name is not None)]
    sample = Sample()
    for block in session.blocks():
        sample.add(session.read_columns(block, names), source=source, language=language)
    data = fit(sample).model_dump_json().encode()

    def write(output: Output) -> None:
        output.write(data)

    return session.run.write(task, {artefact.path(task, "factors.json"): write})


def read_factors(session: Session) -> Factors:
    """The factors that turn byte counts into token counts.

    Raises:
        StateError: they have not been fitted.
    """
    commit = session.run.lookup(factors_task(session))
    if commit is None:
        raise StateError("token factors have not been fitted", hint="run `curate plan RECIPE`")
    return Factors.model_validate_json(session.run.path_of(commit.files[0]).read_bytes())
