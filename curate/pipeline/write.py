"""Write curated shards: the tasks of delivery, their files, and `_manifest.json` beside them.

Input order: consecutive pieces form a task until `GROUP_FILES` files' worth of kept text is together, so a
kill costs one task and small shards do not make small files. Shuffled order: every piece is scattered once
into buckets of the order key that fit the memory budget, then each bucket is sorted and written; a bucket
is a task. Files depend on the plan and the output settings alone, so a file of a killed task is written
again with the same bytes.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.pipeline.deliver import ORDER, Delivery
from curate.pipeline.output import OutputFolder
from curate.pipeline.planfile import PlanFile
from curate.pipeline.progress import Timing
from curate.pipeline.session import PieceEntry, Session
from curate.runs import Task
from curate.shards import ShardWriter, WrittenFile

GROUP_FILES = 4
"""Output files that a task of an ordered delivery holds, about."""

_BUCKET_BYTES = 256 << 20
"""Text of a bucket of a shuffled delivery, about; a constant, since buckets decide the files."""


@dataclass(frozen=True)
class Work:
    """One task of delivery: consecutive pieces, or one bucket of a shuffle."""

    number: int
    entries: tuple[PieceEntry, ...]
    bucket: int | None = None


def deliver(session: Session, plan: PlanFile) -> Timing:
    """Write every output file that is not there yet, then the manifest; our files of other plans are removed.

    Raises:
        ConfigError: the recipe has no output, or names a column that is not there.
    """
    delivery = Delivery(session, plan)
    folder = OutputFolder(delivery.output.path, delivery.output.storage_options)
    works = _shuffled_work(delivery) if delivery.shuffled else _ordered_work(delivery)
    tasks = [_task(delivery, work) for work in works]
    sizes = folder.sizes()
    done = [_files_of(session, task, sizes) for task in tasks]
    todo = [index for index, files in enumerate(done) if files is None]
    timing = Timing(step="write", num_tasks=len(todo), num_cached=len(tasks) - len(todo))
    session.timings.append(timing)
    with timing:
        session.progress.start(
            "write", num_bytes=sum(entry.piece.num_bytes for entry in session.entries), num_tasks=len(todo)
        )
        folder.remove_temporary(grace_s=0)
        folder.retire(plan.fingerprint)
        if delivery.shuffled and todo:
            _scatter(delivery, works)
        for index in todo:
            done[index] = _write(delivery, works[index], tasks[index], folder)
            session.progress.advance(num_tasks=1)
        folder.publish(plan.fingerprint, [file for files in done for file in files or []])
    session.progress.finish(
        f"{timing.num_tasks} tasks written, {timing.num_cached} were there, {timing.wall_s:.1f} s"
    )
    return timing


def _task(delivery: Delivery, work: Work) -> Task:
    inputs = [delivery.plan.fingerprint, *(entry.fingerprint for entry in work.entries)]
    settings = {"version": 1, "output": delivery.settings, "number": work.number, "bucket": work.bucket}
    return Task(step="write", name=f"part-{work.number:05d}", inputs=inputs, settings=settings)


def _kept_bytes(delivery: Delivery, entry: PieceEntry) -> int:
    """Bytes of the kept text of a piece."""
    repeats = delivery.rows(entry)["repeats"].to_numpy()
    sizes = (
        delivery.session.read_columns(entry, ["document.num_bytes"])["document.num_bytes"]
        .fill_null(0)
        .to_numpy()
    )
    return int(sizes[repeats > 0].sum(dtype=np.int64))


def _ordered_work(delivery: Delivery) -> list[Work]:
    works: list[Work] = []
    entries: list[PieceEntry] = []
    num_bytes = 0
    for entry in delivery.session.entries:
        entries.append(entry)
        num_bytes += _kept_bytes(delivery, entry)
        if num_bytes >= GROUP_FILES * delivery.output.max_file_bytes:
            works.append(Work(len(works), tuple(entries)))
            entries, num_bytes = [], 0
    if entries or not works:
        works.append(Work(len(works), tuple(entries)))
    return works


def _shuffled_work(delivery: Delivery) -> list[Work]:
    entries = tuple(delivery.session.entries)
    total = sum(_kept_bytes(delivery, entry) for entry in entries)
    return [Work(bucket, entries, bucket) for bucket in range(max(1, -(-total // _BUCKET_BYTES)))]


def _bucket_path(delivery: Delivery, bucket: int) -> Path:
    scratch: Path = delivery.session.run.scratch
    return scratch / f"bucket-{bucket:05d}.arrows"


def _scatter(delivery: Delivery, works: list[Work]) -> None:
    """Spill every kept document into the bucket of its order key."""
    schema = delivery.schema.append(pa.field(ORDER[0], pa.uint64())).append(pa.field(ORDER[1], pa.int64()))
    width = (1 << 64) // len(works) + 1
    with ExitStack() as stack:
        writers = []
        for work in works:
            sink = stack.enter_context(_bucket_path(delivery, work.number).open("wb"))
            writers.append(stack.enter_context(pa.ipc.new_stream(sink, schema)))
        for entry in delivery.session.entries:
            for table in delivery.kept(entry):
                buckets = np.array([int(key) // width for key in table[ORDER[0]].to_numpy()], np.int64)
                for bucket in np.unique(buckets):
                    writers[bucket].write_table(table.filter(pa.array(buckets == bucket)))


def _sorted_bucket(delivery: Delivery, bucket: int) -> Iterator[pa.Table]:
    with pa.memory_map(str(_bucket_path(delivery, bucket))) as source:
        table = pa.ipc.open_stream(source).read_all()
        order = np.lexsort((table[ORDER[1]].to_numpy(), table[ORDER[0]].to_numpy()))
        table = table.drop_columns(list(ORDER))
        for start in range(0, len(order), 1024):
            yield table.take(pa.array(order[start : start + 1024]))


def _write(delivery: Delivery, work: Work, task: Task, folder: OutputFolder) -> list[WrittenFile]:
    output = delivery.output
    with ShardWriter(
        folder.place,
        delivery.schema,
        prefix=f"part-{work.number:05d}",
        rows_per_file=output.rows_per_file,
        max_file_bytes=output.max_file_bytes,
        row_group_bytes=output.row_group_bytes,
        compression_level=output.compression_level,
        text=delivery.session.recipe.input.text,
    ) as writer:
        tables = (
            _sorted_bucket(delivery, work.bucket)
            if work.bucket is not None
            else (table for entry in work.entries for table in delivery.kept(entry))
        )
        for table in tables:
            writer.write(table)
        files = writer.close()
    delivery.session.run.commit(task, [], meta={"files": [asdict(file) for file in files]})
    return files


def _files_of(session: Session, task: Task, sizes: Mapping[str, int]) -> list[WrittenFile] | None:
    """The files of a task where it is done and all of them are there with the right size."""
    commit = session.run.lookup(task)
    if commit is None:
        return None
    files = [WrittenFile(**record) for record in commit.meta["files"]]
    return files if all(sizes.get(file.name) == file.size_bytes for file in files) else None
