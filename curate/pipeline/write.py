"""Write curated shards: the tasks of delivery, their files, and `_manifest.json` beside them.

Input order: consecutive pieces form a task until `GROUP_FILES` files' worth of kept text is together, so a
kill costs one task and small shards do not make small files. Shuffled order: every piece is scattered once
into buckets of the order key that fit the memory budget, then each bucket is sorted and written; a bucket
is a task. Files depend on the plan and the output settings alone, so a file of a killed task is written
again with the same bytes.
"""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.files import hash_file, is_temporary, read_json, replace_json, sync_dir
from curate.pipeline.deliver import ORDER, Delivery
from curate.pipeline.planfile import PlanFile
from curate.pipeline.progress import Timing
from curate.pipeline.session import PieceEntry, Session
from curate.runs import Task
from curate.shards import ShardWriter, WrittenFile

FORMAT = 1
GROUP_FILES = 4
"""Output files that a task of an ordered delivery holds, about."""

MANIFEST = "_manifest.json"
_PART = re.compile(r"part-\d{5}-\d{5}\.parquet")
_OURS = re.compile(r"\.(part-\d{5}-\d{5}\.parquet|_manifest\.json)\.tmp-")
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
    folder = Path(delivery.output.path)
    works = _shuffled_work(delivery) if delivery.shuffled else _ordered_work(delivery)
    tasks = [_task(delivery, work) for work in works]
    done = [_files_of(session, task, folder) for task in tasks]
    todo = [index for index, files in enumerate(done) if files is None]
    timing = Timing(step="write", num_tasks=len(todo), num_cached=len(tasks) - len(todo))
    session.timings.append(timing)
    with timing:
        session.progress.start(
            "write", num_bytes=sum(entry.piece.num_bytes for entry in session.entries), num_tasks=len(todo)
        )
        remove_temporary(folder, grace_s=0)
        _retire(folder, plan.fingerprint)
        if delivery.shuffled and todo:
            _scatter(delivery, works)
        for index in todo:
            done[index] = _write(delivery, works[index], tasks[index], folder)
            session.progress.advance(num_tasks=1)
        _publish(folder, plan.fingerprint, [file for files in done for file in files or []])
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


def _write(delivery: Delivery, work: Work, task: Task, folder: Path) -> list[WrittenFile]:
    output = delivery.output
    with ShardWriter(
        folder,
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


def _files_of(session: Session, task: Task, folder: Path) -> list[WrittenFile] | None:
    """The files of a task where it is done and all of them are there with the right size."""
    commit = session.run.lookup(task)
    if commit is None:
        return None
    files = [WrittenFile(**record) for record in commit.meta["files"]]
    sizes = [(folder / file.name).stat().st_size if (folder / file.name).is_file() else -1 for file in files]
    return files if sizes == [file.size_bytes for file in files] else None


def remove_temporary(folder: Path, *, grace_s: float) -> list[Path]:
    """Remove what a killed delivery left in an output folder, older than `grace_s`; lock the run."""
    oldest = time.time() - grace_s
    removed = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_temporary(path.name) and _OURS.match(path.name) and path.stat().st_mtime <= oldest:
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _retire(folder: Path, plan: str) -> None:
    """Take away the manifest of another plan before its files are replaced."""
    path = folder / MANIFEST
    if path.is_file() and read_json(path).get("plan") != plan:
        path.unlink()
        sync_dir(folder)


def _publish(folder: Path, plan: str, files: list[WrittenFile]) -> None:
    """Write the manifest, then remove files of ours that it does not name."""
    records: list[dict[str, Any]] = [asdict(file) for file in files]
    replace_json(folder / MANIFEST, {"format": FORMAT, "plan": plan, "files": records})
    named = {file.name for file in files}
    for path in folder.iterdir():
        if _PART.fullmatch(path.name) and path.name not in named:
            path.unlink()


def check_output(folder: Path, plan: str, *, hashes: bool) -> tuple[list[str], int]:
    """Compare the files of an output folder with its manifest; returns problems and files checked."""
    path = folder / MANIFEST
    if not path.is_file():
        return [], 0
    manifest = read_json(path)
    problems = [] if manifest.get("plan") == plan else [f"{path}: is of another plan: {manifest.get('plan')}"]
    for record in manifest["files"]:
        file = folder / record["name"]
        if not file.is_file():
            problems.append(f"{file}: is missing")
        elif file.stat().st_size != record["size_bytes"]:
            problems.append(
                f"{file}: has another size than recorded: {file.stat().st_size} and {record['size_bytes']}"
            )
        elif hashes and hash_file(file) != record["blake3"]:
            problems.append(f"{file}: has another hash than recorded")
    return problems, len(manifest["files"])
