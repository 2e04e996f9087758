"""Write curated shards: the tasks of delivery, their files, and `_manifest.json` beside them.

Input order: consecutive pieces form a task until `GROUP_FILES` files' worth of kept text is together, so a
kill costs one task and small shards do not make small files. Shuffled order: every piece is scattered once
into buckets of the order key (shuffle.py); a few consecutive buckets, sorted and written, are a task. Files
depend on the plan and the output settings alone, so a file of a killed task is written again with the same
bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from curate.pipeline.deliver import Delivery
from curate.pipeline.output import OutputFolder
from curate.pipeline.planfile import PlanFile
from curate.pipeline.progress import Timing
from curate.pipeline.session import PieceEntry, Session
from curate.pipeline.shuffle import Shuffle
from curate.runs import Task
from curate.shards import ShardWriter, WrittenFile

GROUP_FILES = 4
"""Output files that a task of an ordered delivery holds, about."""

BUCKET_BYTES = 64 << 20
"""Text of a bucket of a shuffled delivery, about; one is sorted in memory."""
TASK_BUCKETS = 16
"""Buckets of a task of a shuffled delivery. Both are constants, since they decide the files."""


@dataclass(frozen=True)
class Work:
    """One task of delivery: consecutive pieces, or consecutive buckets of a shuffle."""

    number: int
    entries: tuple[PieceEntry, ...]
    buckets: range = range(0)


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
        shuffle = _scatter(delivery, works) if delivery.shuffled and todo else None
        for index in todo:
            session.stop.check()
            tables = _tables(delivery, works[index], shuffle)
            done[index] = _write(delivery, tasks[index], tables, folder)
            session.progress.advance(num_tasks=1)
        folder.publish(plan.fingerprint, [file for files in done for file in files or []])
    session.progress.finish(
        f"{timing.num_tasks} tasks written, {timing.num_cached} were there, {timing.wall_s:.1f} s"
    )
    return timing


def _task(delivery: Delivery, work: Work) -> Task:
    inputs = [delivery.plan.fingerprint, *(entry.fingerprint for entry in work.entries)]
    settings = {
        "version": 1,
        "output": delivery.settings,
        "number": work.number,
        "buckets": list(work.buckets),
    }
    return Task(step="write", name=f"part-{work.number:05d}", inputs=inputs, settings=settings)


def _kept_bytes(delivery: Delivery, entry: PieceEntry) -> int:
    """Bytes of the kept text of a piece."""
    num_bytes = 0
    for block in entry.blocks():
        repeats = delivery.rows(block, ["repeats"])["repeats"].to_numpy()
        sizes = delivery.session.read_columns(block, ["document.num_bytes"])["document.num_bytes"]
        num_bytes += int(sizes.fill_null(0).to_numpy()[repeats > 0].sum(dtype=np.int64))
    return num_bytes


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
    buckets = range(max(1, -(-total // BUCKET_BYTES)))
    starts = enumerate(range(0, len(buckets), TASK_BUCKETS))
    return [Work(number, entries, buckets[start : start + TASK_BUCKETS]) for number, start in starts]


def _scatter(delivery: Delivery, works: list[Work]) -> Shuffle:
    """Spill every kept document, to be read back by buckets of the order key."""
    run_bytes = delivery.session.limits.memory_bytes // 8
    scratch = delivery.session.run.scratch
    shuffle = Shuffle(scratch, num_buckets=works[-1].buckets.stop, run_bytes=run_bytes)
    for entry in delivery.session.entries:
        for table in delivery.kept(entry):
            shuffle.add(table)
    shuffle.flush()
    return shuffle


def _tables(delivery: Delivery, work: Work, shuffle: Shuffle | None) -> Iterator[pa.Table]:
    if shuffle is None:
        for entry in work.entries:
            yield from delivery.kept(entry)
    else:
        for bucket in work.buckets:
            yield from shuffle.read(bucket)


def _write(
    delivery: Delivery, task: Task, tables: Iterator[pa.Table], folder: OutputFolder
) -> list[WrittenFile]:
    output = delivery.output
    with ShardWriter(
        folder.place,
        delivery.schema,
        prefix=task.name,
        rows_per_file=output.rows_per_file,
        max_file_bytes=output.max_file_bytes,
        row_group_bytes=output.row_group_bytes,
        compression_level=output.compression_level,
        text=delivery.session.recipe.input.text,
    ) as writer:
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
