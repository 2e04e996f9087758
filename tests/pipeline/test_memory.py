"""Peak memory of whole runs, measured from outside the process, under a memory cgroup where one may be made.

The figure is the kernel's own high-water mark of resident memory, VmHWM of `/proc/<pid>/status`, read until
the process ends: anonymous memory and every mapped page of files, scratch included. In the cgroup the process
would be killed above the limit. RLIMIT_AS is of no use, as the imports alone map more than the limit.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from tests.pipeline.cgroup import memory_group
from tests.pipeline.runs_in_process import SAMPLE, start

MEMORY = "512MiB"
LIMIT_MIB = 512 + 200

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc"),
]


def peak_mib(process: subprocess.Popen[str]) -> float:
    """Wait for the end of a process; the most resident memory that it had."""
    peak, status = 0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        peak = max(peak, int(match[1]) if match else 0)
        time.sleep(0.01)
    return peak / 1024


def run_peak(folder: Path, recipe: dict[str, Any], *arguments: str) -> float:
    """Run a recipe with the memory limit; the peak in MiB."""
    with memory_group(LIMIT_MIB << 20) as group:
        process = start(folder, recipe, "--memory", MEMORY, "--quiet", *arguments, bucket_bytes=64 << 20)
        if group is not None:
            group.add(process.pid)
        peak = peak_mib(process)
        assert process.stderr is not None
        with process.stderr as pipe:
            assert process.returncode == 0, pipe.read()
        print("cgroup:", "none to be had" if group is None else f"{group.peak_mib():.0f} MiB")
    print(f"peak of {folder.name}: {peak:.0f} MiB")
    return peak


def changed_copies(num_bytes: int) -> Iterator[pa.RecordBatch]:
    """The sample again and again up to `num_bytes` of text, four of five documents changed in the middle."""
    tables = [pq.read_table(path) for path in sorted(SAMPLE.glob("*.parquet"))]
    texts = [text for table in tables for text in table["text"].to_pylist() if text is not None]
    sources = [f"s{row % 3}" for row in range(len(texts))]
    copy = size = 0
    while size < num_bytes:
        half = [len(text) // 2 for text in texts]
        mine = [
            text if row % 5 == copy % 5 else f"{text[: half[row]]} {copy} {text[half[row] :]}"
            for row, text in enumerate(texts)
        ]
        ids = [f"{copy}-{row}" for row in range(len(texts))]
        yield pa.record_batch({"id": ids, "text": mine, "source": sources})
        size += sum(len(text.encode()) for text in mine)
        copy += 1


def write_groups(path: Path, *group_bytes: int) -> None:
    """Write a file with row groups of so many bytes of text; a row group is held while it is written."""
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("source", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["source"]) as writer:
        for size in group_bytes:
            table = pa.Table.from_batches(changed_copies(size), schema)
            writer.write_table(table, row_group_size=table.num_rows)
            del table


def make_recipe(path: Path, *filters: dict[str, Any]) -> dict[str, Any]:
    """A recipe with every step and a shuffled output, which is the hardest."""
    return {
        "input": {"paths": str(path)},
        "measure": ["heuristics", "tokens"],
        "filter": list(filters),
        "dedup": {"exact": {"keep": "longest"}},
        "plan": {"pools": {"by": "source"}, "budget": "0.9", "order": "shuffle"},
        "output": {"path": "out"},
        "run": "run",
        "store": "store",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is removed at once: gigabytes are not kept for the next runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_two_gigabytes_with_a_row_group_of_one_stay_under_the_budget(folder: Path, num_threads: int) -> None:
    write_groups(folder / "large.parquet", 1_000_000_000, *[100_000_000] * 10)
    groups = pq.ParquetFile(folder / "large.parquet").metadata
    assert groups.row_group(0).total_byte_size > 900e6
    recipe = make_recipe(folder / "large.parquet", {"preset": "fineweb"})
    assert run_peak(folder / "work", recipe, "--threads", str(num_threads)) < LIMIT_MIB
    run = open_in(folder / "work")
    assert run["kept_docs"] > 10_000


def test_two_million_tiny_documents_in_one_row_group_stay_under_the_budget(folder: Path) -> None:
    num_rows = 2_000_000
    texts = [f"A short line of {row % 1_500_000} letters, as a title is." for row in range(num_rows)]
    sources = [f"s{row % 3}" for row in range(num_rows)]
    pq.write_table(
        pa.table({"id": [str(row) for row in range(num_rows)], "text": texts, "source": sources}),
        folder / "tiny.parquet",
        row_group_size=num_rows,
    )
    recipe = make_recipe(folder / "tiny.parquet", {"reason": "user.short", "drop": "document.num_chars < 42"})
    assert run_peak(folder / "work", recipe, "--threads", "2") < LIMIT_MIB
    run = open_in(folder / "work")
    assert run["kept_docs"] > 1_000_000


def open_in(folder: Path) -> dict[str, Any]:
    """The totals of the plan of the run in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        totals: dict[str, Any] = curate.open_run("run").summary()["totals"]
        return totals


def test_duplicate_lines_of_half_a_gigabyte_are_found_under_the_budget(folder: Path) -> None:
    write_groups(folder / "large.parquet", *[50_000_000] * 10)
    recipe = make_recipe(folder / "large.parquet")
    recipe["measure"] = ["tokens"]
    recipe["transform"] = [{"duplicate_parts": {"unit": "line", "min_words": 1}}]
    assert run_peak(folder / "work", recipe, "--threads", "2") < LIMIT_MIB
    run = open_in(folder / "work")
    assert run["kept_docs"] > 5_000
