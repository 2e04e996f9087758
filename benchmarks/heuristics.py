"""The fused pass over text, from Parquet to a column file: against datatrove, a bare pass, and two threads.

Rule sets: Gopher quality and repetition, C4, FineWeb; ours adds counts and `doc_id`, which datatrove's
filters do not give. All sides run on one core in turns; figures are medians, per CPU second. Column files are
written as the store writes them. datatrove gets a small part of the same file, spread over it and without
documents above 50 kB, as it takes minutes where we take tenths of a second; its loading is not counted, ours
and our writing is. Two threads: wall time of `curate.measure` on two cores against one, all that it does.

Data: English documents of the Parquet files under `--data`; without it `../shared/data/corpus`, and where
that is missing the sample of this repository.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import curate
from curate import _rust, text
from curate.runs import ROW_GROUP_ROWS, parquet_writer

ROOT = Path(__file__).parents[1]
GROUPS = frozenset({"document", "gopher", "c4", "fineweb"})
BATCH_ROWS = 2048
MEGABYTE = 1_000_000


def english(folder: Path, max_bytes: int) -> pa.Table:
    """Documents in English of the files in `folder`, up to so many bytes."""
    tables = []
    for path in sorted(folder.rglob("*.parquet")):
        for group in range((file := pq.ParquetFile(path)).num_row_groups):
            table = file.read_row_group(group)
            if "lang" in table.column_names:
                table = table.filter(pc.equal(table["lang"], "en"))
            tables.append(pa.table({"text": table["text"].cast(pa.large_string())}))
            if (max_bytes := max_bytes - num_bytes(tables[-1])) <= 0:
                return pa.concat_tables(tables)
    return pa.concat_tables(tables)


def num_bytes(table: pa.Table) -> int:
    return int(pc.sum(pc.binary_length(table["text"])).as_py() or 0)


def batches(path: Path) -> Iterable[pa.Array]:
    for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS, columns=["text"]):
        yield batch.column(0).cast(pa.large_binary())


def measure(source: Path, target: Path, *, words: text.WordMode, num_threads: int = 1) -> None:
    """From Parquet to a column file."""
    spec = text.NativeSpec(groups=GROUPS, words=words)
    waiting: list[pa.RecordBatch] = []
    writer = None
    for texts in batches(source):
        waiting.append(text.measure(texts, spec, num_threads=num_threads))
        if sum(columns.num_rows for columns in waiting) >= ROW_GROUP_ROWS:
            writer = write_group(writer, target, waiting)
    if waiting:
        writer = write_group(writer, target, waiting)
    if writer:
        writer.close()


def write_group(
    writer: pq.ParquetWriter | None, target: Path, waiting: list[pa.RecordBatch]
) -> pq.ParquetWriter:
    """Write what waits as one row group, as the store does."""
    columns = pa.Table.from_batches(waiting).combine_chunks()
    waiting.clear()
    writer = writer or parquet_writer(target, columns.schema)
    writer.write_table(columns)
    return writer


def bare(source: Path) -> None:
    """Decode Parquet and hash the text, nothing else."""
    for texts in batches(source):
        _rust.blake3_hex(texts.buffers()[2].to_pybytes())


def seconds(clock: Callable[[], float], job: Callable[[], Any]) -> float:
    start = clock()
    job()
    return clock() - start


def peer_seconds(peer: str, source: Path) -> list[float]:
    """CPU seconds of datatrove: with words shared by its filters, and with each filter alone."""
    command = [peer, str(ROOT / "benchmarks" / "peers" / "heuristics.py"), str(source)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(line) for line in output.splitlines()[-2:]]


def report(
    name: str, values: list[float], ratios: list[float], *, unit: str, peer: str, goal: float | None
) -> None:
    """Print one figure; the ratio to `peer` decides whether the goal is met, if there is one."""
    ratio = statistics.median(ratios)
    figure = {
        "name": name,
        "value": round(statistics.median(values), 3),
        "unit": unit,
        "peer": peer,
        "ratio": round(ratio, 3),
        "goal": goal,
        "met": None if goal is None else ratio >= goal,
        "runs": len(ratios),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }
    print(json.dumps(figure), flush=True)


def part(table: pa.Table, max_bytes: int) -> pa.Table:
    """Some documents from all over the table."""
    short = table.filter(pc.less(pc.binary_length(table["text"]), 50_000))
    return short.take(list(range(0, len(short), max(1, num_bytes(short) // max_bytes))))


def compare(folder: Path, table: pa.Table, *, peer: str | None, peer_bytes: int, runs: int) -> None:
    """Run all sides in turns on one core and report their figures."""
    source, target, small = folder / "text.parquet", folder / "columns.parquet", folder / "part.parquet"
    size, taken = num_bytes(table) / MEGABYTE, part(table, peer_bytes)
    pq.write_table(table, source, compression="zstd", row_group_size=1000)
    pq.write_table(taken, small, compression="zstd", row_group_size=1000)
    ours: dict[text.WordMode, list[float]] = {"datatrove-en": [], "uax29": []}
    base: list[float] = []
    theirs: list[float] = []
    alone: list[float] = []
    for run in range(runs):
        print(f"heuristics: run {run + 1} of {runs}", file=sys.stderr, flush=True)
        for words, rates in ours.items():
            job = partial(measure, source, target, words=words)
            rates.append(size / seconds(time.process_time, job))
        base.append(size / seconds(time.process_time, lambda: bare(source)))
        if peer:
            for rates, spent in zip((theirs, alone), peer_seconds(peer, small), strict=True):
                rates.append(num_bytes(taken) / MEGABYTE / spent)
    for words, rates in ours.items():
        figure = partial(report, f"heuristics {words}", rates, unit="MB/s")
        if theirs:
            figure(quotients(rates, theirs), peer="datatrove 0.10.1, words shared by its filters", goal=500)
            figure(quotients(rates, alone), peer="datatrove 0.10.1, each filter alone", goal=500)
        figure([rate / 60 for rate in rates], peer="60 MB/s", goal=1)
        figure(quotients(rates, base), peer="bare pass: decode and hash", goal=None)


def quotients(ours: list[float], theirs: list[float]) -> list[float]:
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def measure_step(folder: Path, *, num_threads: int) -> float:
    """Wall seconds of the step of a recipe, from listing the shard to the committed columns."""
    work = folder / "step"
    recipe = {
        "input": {"paths": str(folder / "many.parquet"), "id": None, "source": None},
        "measure": [{"heuristics": {"sets": ["gopher", "c4", "fineweb"]}}],
        "output": {"path": str(work / "out")},
        "run": str(work / "run"),
        "store": str(work / "store"),
    }
    spent = seconds(time.perf_counter, lambda: curate.measure(recipe, num_threads=num_threads))
    shutil.rmtree(work)
    return spent


def scale(folder: Path, table: pa.Table, *, runs: int) -> None:
    """Wall time on one core against two; reading and writing have no core of their own on either side."""
    pq.write_table(table, folder / "many.parquet", compression="zstd", row_group_size=1000)
    cores = sorted(os.sched_getaffinity(0))
    gains, rates = [], []
    for _ in range(runs):
        spent = []
        for num_threads in (1, 2):
            os.sched_setaffinity(0, cores[:num_threads])
            spent.append(measure_step(folder, num_threads=num_threads))
        gains.append(spent[0] / spent[1])
        rates.append(num_bytes(table) / MEGABYTE / spent[1])
    os.sched_setaffinity(0, cores)
    report("heuristics two threads", rates, gains, unit="MB/s of wall time", peer="one thread", goal=1.8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less text and fewer runs: under a minute")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "corpus")
    parser.add_argument("--peers", "--peer-python", help="interpreter that has datatrove; none: skip it")
    arguments = parser.parse_args()
    data, runs = arguments.data, 3 if arguments.quick else 7
    if not data.is_dir():
        print(f"no data under {data}: using the sample of this repository", file=sys.stderr)
        data = ROOT / "sample"
    table = english(data, (10 if arguments.quick else 60) * MEGABYTE)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as name:
        peer_bytes = (300 if arguments.quick else 1000) * 1000
        compare(Path(name), table, peer=arguments.peers, peer_bytes=peer_bytes, runs=runs)
        if (os.cpu_count() or 1) > 1:
            scale(Path(name), english(data, (60 if arguments.quick else 200) * MEGABYTE), runs=runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
