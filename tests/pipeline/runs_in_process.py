"""Runs of `curate` for tests that kill and break them: a corpus of several shards, its recipe, the command.

Everything is relative to one folder, so that a run elsewhere has to have the same bytes.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SAMPLE = Path(__file__).parents[2] / "sample"
NOT_COMPARED = {"timings.json", "report.html", "report.json", "shards.json", ".lock"}

DRIVER = """
import sys
from curate import cli
from curate.pipeline import write

write.BUCKET_BYTES, write.TASK_BUCKETS = int(sys.argv[1]), 1
cli.main(sys.argv[2:])
"""
"""The command line with small buckets, so that a small shuffle is several tasks."""


def make_corpus(folder: Path, *, num_copies: int, max_rows: int | None = None) -> None:
    """Write every Parquet shard of the sample `num_copies` times; of each copy another third is changed."""
    folder.mkdir(parents=True)
    for path in sorted(SAMPLE.glob("*.parquet")):
        table = pq.read_table(path).slice(0, max_rows)
        texts = table["text"].to_pylist()
        for copy in range(num_copies):
            changed = [f"{copy} {text}" if row % 3 == copy % 3 else text for row, text in enumerate(texts)]
            index = table.schema.get_field_index("text")
            copied = table.set_column(index, "text", pa.array(changed, pa.string()))
            pq.write_table(copied, folder / f"{path.stem}-{copy}.parquet", row_group_size=200)


def make_recipe(shards: Path) -> dict[str, Any]:
    """A recipe with every step, over the shards in a folder; what it writes is relative."""
    return {
        "name": "test",
        "input": {"paths": f"{shards}/*.parquet"},
        "measure": ["heuristics", "tokens", "minhash"],
        "filter": [
            {"preset": "gopher", "where": "lang = 'en'"},
            {"preset": "fineweb", "where": "lang = 'en'"},
            {"reason": "user.short", "drop": "document.num_chars < 100"},
        ],
        "dedup": {"exact": {"keep": "first"}, "minhash": {"keep": "longest", "max_group": 4}},
        "plan": {"pools": {"by": "source"}, "budget": "0.6", "order": "shuffle"},
        "output": {"path": "out", "rows_per_file": 100},
        "run": "run",
        "store": "store",
    }


def start(folder: Path, recipe: dict[str, Any], *arguments: str, bucket_bytes: int) -> subprocess.Popen[str]:
    """Start `curate run` in `folder`; its progress is on the pipe of stderr."""
    folder.mkdir(exist_ok=True)
    path = folder.with_suffix(".yaml")
    path.write_text(json.dumps(recipe), encoding="utf-8")
    command = [sys.executable, "-c", DRIVER, str(bucket_bytes), "run", str(path), *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def tree(folder: Path) -> dict[str, str]:
    """Hash of every file that has to be the same for the same input, by name; temporary files too."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_COMPARED)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def empty(folder: Path) -> None:
    """Forget a run."""
    shutil.rmtree(folder, ignore_errors=True)
