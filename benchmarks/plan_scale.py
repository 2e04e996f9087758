"""A plan at scale: tiers, a budget by marginal utility with repeats, and an order, over made-up columns.

There is no text: shards have empty ones, and the column files that measuring would have written are made
here, through the store, with the columns that planning reads: sources, a score, ids, token counts and bytes
by class. Everything after that is the code that `curate plan` runs. The plan is made in a process of its own,
under a limit of memory that its private data must keep; the peak is VmHWM, which counts mapped files, too.

Prints one line of JSON. Needs about 70 bytes of disk a row for columns, 100 for scratch and plan.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SHARD_ROWS = 1 << 20
SOURCES = ("books", "code", "forum", "papers", "web-a", "web-b", "web-c", "wiki")
SOURCE_SHARES = (0.03, 0.1, 0.12, 0.05, 0.3, 0.2, 0.15, 0.05)
SEED = 7


def recipe(folder: Path, num_rows: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """The recipe that is planned; about 500 tokens a document."""
    plan: dict[str, Any] = {
        "pools": {"by": "source", "tiers": {"of": "score", "quantiles": [0.1, 0.2, 0.4]}},
        "select": {"method": chosen.method, "score": "score"},
        "order": {"curriculum": "folding", "of": "score"} if chosen.order == "folding" else chosen.order,
    }
    if chosen.method == "uniform":
        del plan["select"]["score"]
    if chosen.rule == "marginal":
        plan["budget"] = int(num_rows * 500 * chosen.budget)
        plan["allocate"] = {"rule": "marginal", "prior": chosen.prior, "cap": 8.0}
    else:
        plan["allocate"] = {"upsample": {"q0-10": 4.0, "q10-20": 2.5, "q40-100": 0.3}}
    return {
        "input": {"paths": [f"{folder}/shards/*.parquet"], "source": "source"},
        "measure": ["tokens"],
        "filter": [{"reason": "user.short", "drop": "tokens.count < 30"}],
        "plan": plan,
        "run": f"{folder}/run",
        "store": f"{folder}/store",
    }


def write_shards(folder: Path, num_rows: int) -> None:
    """Shards of empty texts, with the columns of the input."""
    (folder / "shards").mkdir(parents=True)
    for number, first in enumerate(range(0, num_rows, SHARD_ROWS)):
        count = min(SHARD_ROWS, num_rows - first)
        rng = np.random.Generator(np.random.PCG64([SEED, number]))
        codes = rng.choice(len(SOURCES), count, p=SOURCE_SHARES).astype(np.int8)
        table = pa.table(
            {
                "text": pa.array([""]).take(pa.array(np.zeros(count, np.int32))),
                "source": pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(SOURCES)),
                "score": pa.array(np.round(rng.beta(2, 5, count) * 5, 4)),
            }
        )
        pq.write_table(table, folder / "shards" / f"part-{number:05d}.parquet", compression="zstd")


def write_columns(folder: Path, num_rows: int, chosen: argparse.Namespace) -> None:
    """What measuring would have written, from the columns of the shards and made-up counts."""
    from curate.pipeline import Session, load_recipe
    from curate.pipeline.session import DETAIL
    from curate.runs import ROW_GROUP_ROWS
    from curate.schema import ERROR

    session = Session(load_recipe(recipe(folder, num_rows, chosen)))
    schema = pa.schema(
        [
            pa.field(ERROR, pa.string()),
            pa.field(DETAIL, pa.string()),
            *session.carried,
            *session.measured_schema,
        ]
    )
    one = session.store.add_pass("measure", session.stage_fingerprints)
    for number, entry in enumerate(session.entries):
        given = pq.read_table(entry.shard.uri.removeprefix("file://"), columns=["source", "score"])
        rng = np.random.Generator(np.random.PCG64([SEED, 1, number]))
        with session.store.write_columns(one, entry) as writer:
            for first in range(0, given.num_rows, ROW_GROUP_ROWS):
                writer.write(_batch(schema, given.slice(first, ROW_GROUP_ROWS), rng))
            writer.commit(meta={"columns": schema.names, "num_quarantined": {}})


def _batch(schema: pa.Schema, given: pa.Table, rng: np.random.Generator) -> pa.RecordBatch:
    count = given.num_rows
    tokens = np.minimum(rng.lognormal(5.7, 1.0, count), 1e6).astype(np.uint32)
    columns: dict[str, Any] = {
        "source": given["source"].combine_chunks().cast(schema.field("source").type),
        "score": given["score"].combine_chunks(),
        "doc_id": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), count, [None, pa.py_buffer(rng.bytes(16 * count))]
        ),
        "tokens.count": pa.array(tokens),
        "document.num_bytes": pa.array(tokens * np.uint32(4)),
    }
    for name, share in (("ascii_lower", 12), ("ascii_upper", 1), ("space", 3), ("ascii_punct", 1)):
        noise = rng.integers(0, 16, count, dtype=np.uint32)
        columns[f"tokens.bytes_{name}"] = pa.array((tokens * np.uint32(share) + noise) // np.uint32(4))
    zeros = pa.array(np.zeros(count, np.uint32))
    arrays = []
    for field in schema:
        if pa.types.is_string(field.type) and field.name not in columns:
            arrays.append(pa.nulls(count, pa.string()))
        else:
            arrays.append(columns.get(field.name, zeros).cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def run_plan(folder: Path, num_rows: int, chosen: argparse.Namespace) -> None:
    """In a process of its own: plan, and print what it took."""
    from curate.pipeline import Limits, Session, load_recipe, parse_bytes, plan, prepare, resolve
    from curate.pipeline.measure import locate, place

    if chosen.limit:
        limit = parse_bytes(chosen.limit)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    pa.set_cpu_count(chosen.threads)
    pa.set_io_thread_count(chosen.threads)
    limits = Limits(num_threads=chosen.threads, memory_bytes=parse_bytes(chosen.memory))
    session = Session(load_recipe(recipe(folder, num_rows, chosen)), limits=limits)
    with session.run.lock():
        prepare(session)
        locate(session)
        place(session)
        before = time.perf_counter()
        resolve(session)
        middle, middle_cpu = time.perf_counter(), time.process_time()
        if chosen.profile:
            import cProfile
            import pstats

            profile = cProfile.Profile()
            found = profile.runcall(plan, session)
            pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(60)
        else:
            found = plan(session)
        seconds, cpu_seconds = time.perf_counter() - middle, time.process_time() - middle_cpu
        scratch = sum(path.stat().st_size for path in session.run.scratch.rglob("*"))
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    pools = found.pools()
    totals = found.header["totals"]
    result = {
        "rows": num_rows,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "rows_per_s": round(num_rows / seconds),
        "resolve_seconds": round(middle - before, 1),
        "peak_mib": int(peak.split()[1]) // 1024,
        "scratch_mib": scratch >> 20,
        "threads": chosen.threads,
        "memory": chosen.memory,
        "limit": chosen.limit,
        "pools": pools.num_rows,
        "kept_docs": totals["kept_docs"],
        "planned_tokens": totals["planned_tokens"],
        "num_tokens": totals["num_tokens"],
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    """Make columns, then plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="2GiB", help="what the planner is told")
    parser.add_argument(
        "--limit", default="4GiB", help="hard limit of private memory (RLIMIT_DATA); '' is none"
    )
    parser.add_argument("--method", default="top", choices=("top", "uniform", "weighted"))
    parser.add_argument("--order", default="folding", choices=("folding", "shuffle", "input"))
    parser.add_argument("--rule", default="marginal", choices=("marginal", "upsample"))
    parser.add_argument("--prior", default="qqt_tmars_imagenet")
    parser.add_argument("--budget", type=float, default=1.5, help="tokens, as a part of the corpus")
    parser.add_argument("--folder", type=Path, help="keeps shards, columns and plan there")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        run_plan(chosen.folder, chosen.rows, chosen)
        return
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="plan-scale-"))
    try:
        if not (folder / "store" / "made").is_file():
            write_shards(folder, chosen.rows)
            write_columns(folder, chosen.rows, chosen)
            (folder / "store" / "made").touch()
        shutil.rmtree(folder / "run", ignore_errors=True)
        arguments = [sys.executable, __file__, *sys.argv[1:], "--child", "--folder", str(folder)]
        threads = {"POLARS_MAX_THREADS": str(chosen.threads), "OMP_NUM_THREADS": str(chosen.threads)}
        subprocess.run(arguments, check=True, env={**os.environ, **threads})
    finally:
        if chosen.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
