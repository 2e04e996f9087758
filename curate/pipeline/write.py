"""Write curated shards: the tasks of delivery, their files, and `_manifest.json` beside them.

Input order: consecutive pieces form a task until `GROUP_FILES` files' worth of kept text is together, so a
kill costs one task and small shards do not make small files. Shuffled order, or a folder for each value of a
column: every piece is scattered once into buckets of the sort key (shuffle.py, split.py); a few consecutive
buckets, sorted and written, are a task. Files depend on the plan and the output settings alone, so a file of
a killed task is written again with the same bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from curate.files import read_json, replace_json
from curate.pipeline.deliver import BUCKET_BYTES, Delivery
from curate.pipeline.output import OutputFolder
from curate.pipeline.planfile import PlanFile
from curate.pipeline.progress import Timing
from curate.pipeline.session import PieceEntry, Session
from curate.pipeline.shuffle import Shuffle, equal_bounds
from curate.pipeline.split import folder_of
from curate.runs import Task
from curate.shards import ShardWriter, WrittenFile

OUTPUT_RECORD = "output.json"
"""File of the run that says where deliveries wrote to."""

GROUP_FILES = 4
"""Output files that a task of an ordered delivery holds, about."""

TASK_BUCKETS = 16
"""Buckets of a task of a sorted delivery, at most. A constant, since it decides the files."""


@dataclass(frozen=True)
class Work:
    """One task of delivery: consecutive pieces, or consecutive buckets of a sort."""

    number: int
    entries: tuple[PieceEntry, ...]
    buckets: range = range(0)
    folder: str = ""
    """Folder of its files below that of the output."""


def deliver(session: Session, plan: PlanFile) -> Timing:
    """Write every output file that is not there yet, then the manifest; our files of other plans are removed.

    Raises:
        ConfigError: the recipe has no output, or names a column that is not there.
    """
    delivery = Delivery(session, plan)
    works, bounds = _sorted_work(delivery) if delivery.is_sorted else (_ordered_work(delivery), [])
    tasks = [_task(delivery, work) for work in works]
    folder = _open_folder(delivery, {work.folder for work in works} - {""})
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
        shuffle = _scatter(delivery, bounds) if delivery.is_sorted and todo else None
        for index in todo:
            session.stop.check()
            tables = _tables(delivery, works[index], shuffle)
            done[index] = _write(delivery, tasks[index], tables, folder, works[index].folder)
            session.progress.advance(num_tasks=1)
        folder.publish(plan.fingerprint, [file for files in done for file in files or []])
    session.progress.finish(
        f"{timing.num_tasks} tasks written, {timing.num_cached} were there, {timing.wall_s:.1f} s"
    )
    return timing


def _open_folder(delivery: Delivery, folders: set[str]) -> OutputFolder:
    """The output, with the folders that deliveries of the run write to, this one's included, recorded."""
    output, record = delivery.output, delivery.session.run.root / OUTPUT_RECORD
    known = folders | set(output_folders(delivery.session))
    folder = OutputFolder(output.path, output.storage_options, folders=known)
    folder.check_free(folders)
    replace_json(record, {"format": 1, "path": output.path, "folders": sorted(known)})
    return folder


def output_folders(session: Session) -> list[str]:
    """Folders below the output that deliveries of the run wrote to."""
    record, output = session.run.root / OUTPUT_RECORD, session.recipe.output
    if output is None or not record.is_file():
        return []
    found = read_json(record)
    return list(found["folders"]) if found.get("path") == output.path else []


def _task(delivery: Delivery, work: Work) -> Task:
    inputs = [delivery.plan.fingerprint, *(entry.fingerprint for entry in work.entries)]
    settings = {
        "version": 1,
        "output": delivery.settings,
        "number": work.number,
        "buckets": list(work.buckets),
        "folder": work.folder,
    }
    return Task(step="write", name=f"part-{work.number:05d}", inputs=inputs, settings=settings)


def _kept_bytes(delivery: Delivery, entry: PieceEntry) -> int:
    """Bytes of the kept text of a piece."""
    return sum(int(delivery.kept_bytes(block).sum()) for block in entry.blocks())


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


def _sorted_work(delivery: Delivery) -> tuple[list[Work], list[int]]:
    """Tasks of a sorted delivery, folder by folder, and the bounds of the buckets."""
    entries = tuple(delivery.session.entries)
    split = delivery.split or delivery.passes
    if split is None:
        total = sum(_kept_bytes(delivery, entry) for entry in entries)
        bounds = equal_bounds(max(1, -(-total // BUCKET_BYTES)))
        folders = [("", len(bounds) + 1)]
    else:
        starts = split.bounds()
        bounds = [start for one in starts for start in one][1:]
        names = [
            "" if split is delivery.passes else folder_of(split.column, value) for value in split.values()
        ]
        folders = [(name, len(one)) for name, one in zip(names, starts, strict=True)] or [("", 1)]
    works: list[Work] = []
    first = 0
    for folder, num_buckets in folders:
        buckets = range(first, first + num_buckets)
        for start in range(0, num_buckets, TASK_BUCKETS):
            works.append(Work(len(works), entries, buckets[start : start + TASK_BUCKETS], folder))
        first += num_buckets
    return works, bounds


def _scatter(delivery: Delivery, bounds: list[int]) -> Shuffle:
    """Spill every kept document, to be read back bucket by bucket."""
    run_bytes = delivery.session.limits.memory_bytes // 8
    shuffle = Shuffle(delivery.session.run.scratch, bounds=bounds, run_bytes=run_bytes)
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
    delivery: Delivery, task: Task, tables: Iterator[pa.Table], folder: OutputFolder, below: str
) -> list[WrittenFile]:
    output = delivery.output
    with ShardWriter(
        folder.below(below),
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
        files = [replace(file, name=f"{below}/{file.name}".lstrip("/")) for file in writer.close()]
    delivery.session.run.commit(task, [], meta={"files": [asdict(file) for file in files]})
    return files


def _files_of(session: Session, task: Task, sizes: Mapping[str, int]) -> list[WrittenFile] | None:
    """The files of a task where it is done and all of them are there with the right size."""
    commit = session.run.lookup(task)
    if commit is None:
        return None
    files = [WrittenFile(**record) for record in commit.meta["files"]]
    return files if all(sizes.get(file.name) == file.size_bytes for file in files) else None
