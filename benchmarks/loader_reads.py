"""What the loader reads from storage for the text that it serves, in memory that is bounded.

Delivered shards, a folder for each source, are served by a small server of the S3 protocol on loopback that
counts. A process of its own builds the index and reads blocks in the order of the loader: a random
permutation of all blocks, a few in each call, cold caches; then again with the blocks of about one row group
beside each other, as small pools have several in each. Amplification is all that the server sent (footers for
the index included) over the bytes of text that were served; for all of an epoch, and for a tenth of it in
another process with an index of its own. The goal is at most 1.5. As zstd makes text a third, stored bytes
are told beside it: bytes sent over the compressed bytes of the documents that were served. Memory is the peak
of the process (VmHWM) less what it had before the first read.

With `--groups` the sizes of row groups are compared: bytes of files and of footers, seconds to write and to
read all rows with pyarrow on one core, amplification. The index of ten million made-up documents is timed at
last.

Data: `../shared/data/corpus` (`--data`), as often as it takes, shuffled anew each time. Without it the sample
of this repository takes its place, and texts compress better than they should.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from curate.files import replace_json  # noqa: E402
from curate.loader.building import build_index  # noqa: E402
from curate.loader.delivered import open_delivered  # noqa: E402
from curate.loader.index import Index  # noqa: E402
from curate.loader.reading import Reader  # noqa: E402
from curate.loader.sources import Rows, SourceShard  # noqa: E402
from curate.pipeline.recipe import Output  # noqa: E402
from curate.pipeline.split import folder_of  # noqa: E402
from curate.shards import ShardWriter  # noqa: E402
from curate.shards.chunks import CHUNKS  # noqa: E402
from tests.loader.store import serve  # noqa: E402

MEGABYTE = 1_000_000
GOAL = 1.5
NUM_LANES = 64
BLOCKS_PER_CALL = 4
SIZES = (256 << 10, 512 << 10, 1 << 20, 32 << 20)
DEFAULT_GROUP = Output.model_fields["row_group_bytes"].default


def report(name: str, value: float, unit: str, goal: float | None = None, *, met: bool | None = None) -> None:
    figure = {"name": name, "value": round(value, 4), "unit": unit, "peer": None, "ratio": None, "goal": goal}
    print(json.dumps({**figure, "met": met, "runs": 1, "spread": [round(value, 4)] * 2}), flush=True)


def tables_of(data: Path) -> Iterator[pa.Table]:
    folder = data / "corpus" if (data / "corpus").is_dir() else ROOT / "sample"
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, columns=["id", "text", "source", "url"])
        table = table.filter(pc.less(pc.binary_length(table["text"]), 200_000))
        yield table.cast(pa.schema([(name, pa.large_string()) for name in table.schema.names]))


def deliver(folder: Path, texts: pa.Table, num_bytes: int, group_bytes: int) -> float:
    """Write shards as a delivery split by source does; the seconds that it took."""
    size = pc.sum(pc.binary_length(texts["text"])).as_py()
    copies = max(1, round(num_bytes / size))
    files, spent = [], 0.0
    sources = sorted(texts["source"].unique().to_pylist())
    for source in sources:
        own = texts.filter(pc.equal(texts["source"], source)).drop_columns(["source"])
        name = folder_of("source", source)
        schema = own.schema.set(1, pa.field("text", pa.large_string()))
        with ShardWriter(
            folder / name, schema, row_group_bytes=group_bytes, max_file_bytes=512 << 20
        ) as writer:
            for copy in range(copies):
                order = np.random.default_rng(copy).permutation(own.num_rows)
                for part in np.array_split(order, max(1, size // (32 << 20))):
                    rows = own.take(pa.array(part))
                    start = time.process_time()
                    writer.write(rows)
                    spent += time.process_time() - start
            start = time.process_time()
            files += [(f"{name}/{file.name}", file) for file in writer.close()]
            spent += time.process_time() - start
    records = [
        {"name": name, "num_rows": one.num_rows, "size_bytes": one.size_bytes, "blake3": one.blake3}
        for name, one in files
    ]
    replace_json(folder / "_manifest.json", {"format": 1, "plan": "made", "files": records})
    return spent


class NoTokens:
    """Gives one token for a document, so that reading alone is measured."""

    content = "none"

    def encode(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """One token each."""
        return np.zeros(len(texts), np.uint32), np.arange(len(texts) + 1)


def memory(field: str) -> float:
    """MB of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(field)) / 1000


def order_of(index: Index, *, runs: bool) -> np.ndarray:
    """All blocks at random; with `runs` those of about one row group stay together."""
    rng, keys = np.random.default_rng(0), []
    for pool in index.pools:
        length = -(-pool.num_blocks // max(pool.num_groups, 1)) if runs else 1
        number = np.arange(pool.num_blocks) // max(length, 1)
        keys.append(rng.random(pool.num_blocks)[number])
    return np.argsort(np.concatenate(keys), kind="stable")


def child(arguments: argparse.Namespace) -> None:
    """Build an index and read a share of its blocks in random order."""
    options = json.loads(arguments.child)
    start = time.perf_counter()
    source = open_delivered("s3://bucket/shards", storage_options=options["storage"])
    index = build_index(source, Path(options["index"]), num_lanes=NUM_LANES)
    index_s = time.perf_counter() - start
    reader = Reader(index, NoTokens(), memory_bytes=arguments.memory << 20)
    order = order_of(index, runs=options["runs"])
    order = order[: max(1, int(len(order) * options["share"]))]
    before, start, num_docs = memory("VmRSS"), time.perf_counter(), 0
    for blocks in np.array_split(order, -(-len(order) // BLOCKS_PER_CALL)):
        bounds = [index.block_starts[block : block + 2].tolist() for block in blocks]
        docs = np.concatenate([np.arange(first, stop) for first, stop in bounds])
        num_docs += len(docs)
        reader.read(docs)
    found = reader.stats.as_dict() | {
        "index_s": index_s,
        "wall_s": time.perf_counter() - start,
        "num_docs": index.num_docs,
        "served_frac": num_docs / index.num_docs,
        "num_blocks": len(order),
        "before_mb": before,
        "peak_mb": memory("VmHWM"),
        "packed": int(index.groups["packed_bytes"].sum()),
        "text": int(index.groups["unpacked_bytes"].sum()),
    }
    print(json.dumps(found))


def read_share(folder: Path, share: float, memory_mb: int, *, runs: bool = False) -> dict[str, Any]:
    """Read a share of an epoch in a process of its own; what it says, and the bytes that the server sent."""
    with serve(folder) as store, tempfile.TemporaryDirectory() as index:
        options = {"storage": store.options, "index": index, "share": share, "runs": runs}
        command = [sys.executable, __file__, "--child", json.dumps(options), "--memory", str(memory_mb)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        found["sent"] = store.bytes_read
        found["requests"] = len(store.reads)
    return found


def report_share(name: str, found: dict[str, Any]) -> None:
    served = found["bytes_served"]
    value = found["sent"] / served
    report(f"{name}, bytes sent by bytes of text", value, "", GOAL, met=value <= GOAL)
    stored = found["packed"] * served / found["text"]
    report(f"{name}, bytes sent by stored bytes", found["sent"] / stored, "")
    report(f"{name}, text", served / MEGABYTE / found["wall_s"], "MB/s")
    report(f"{name}, peak memory beside the process", found["peak_mb"] - found["before_mb"], "MB")
    print(json.dumps({"name": f"{name}, counts", **found}), file=sys.stderr)


def compare_groups(folder: Path, texts: pa.Table, num_bytes: int, memory_mb: int) -> None:
    """What small row groups cost, and what they save."""
    for size in SIZES:
        shards = folder / "bucket" / "shards"
        spent = deliver(shards, texts, num_bytes, size)
        files = sorted(shards.rglob("*.parquet"))
        footers = sum(int.from_bytes(path.read_bytes()[-8:-4], "little") for path in files)
        start = time.process_time()
        for path in files:
            for _ in pq.ParquetFile(path).iter_batches(use_threads=False):
                pass
        name = f"row groups of {size >> 10} KiB"
        report(f"{name}, files", sum(path.stat().st_size for path in files) / MEGABYTE, "MB")
        report(f"{name}, footers", footers / MEGABYTE, "MB")
        report(f"{name}, to write", spent, "CPU s")
        report(f"{name}, to read all", time.process_time() - start, "CPU s")
        for share in (1.0, 0.1):
            report_share(f"{name}, {share:.0%} of an epoch", read_share(folder, share, memory_mb))
        shutil.rmtree(shards)


class Made:
    """Made-up documents of ten pools in shards of a million rows; half of the rows are kept."""

    text, max_line_bytes, has_edits = "text", 0, False
    storage_options: dict[str, str] = {}  # noqa: RUF012
    caps: dict[str, float | None] = {}  # noqa: RUF012

    def __init__(self, num_rows: int) -> None:
        self.content = ["made", num_rows]
        self.pool_names = [f"pool{number}" for number in range(10)]
        self.shards = [
            SourceShard(
                key=str(number),
                uri=f"/{number}",
                format="parquet",
                size_bytes=0,
                fingerprint="",
                num_rows=10**6,
            )
            for number in range(num_rows // 10**6)
        ]

    def chunks(self, shard: int) -> np.ndarray:
        """A thousand row groups."""
        found = np.zeros(1000, CHUNKS)
        found["num_rows"] = 1000
        return found

    def rows(self) -> Iterator[Rows]:
        """Half of the rows."""
        for shard in range(len(self.shards)):
            rng = np.random.default_rng(shard)
            for first in range(0, 10**6, 62_500):
                row = (first + np.flatnonzero(rng.random(62_500) < 0.5)).astype(np.uint32)
                pool = rng.integers(0, 10, len(row)).astype(np.uint32)
                tokens = rng.lognormal(6.3, 1, len(row)).astype(np.uint32)
                yield Rows(
                    shard=shard, row=row, pool=pool, repeats=np.ones(len(row), np.uint16), tokens=tokens
                )


def time_index(folder: Path, num_rows: int) -> None:
    start, clock = time.perf_counter(), Made(num_rows)
    for _ in clock.rows():
        pass
    making = time.perf_counter() - start
    start = time.perf_counter()
    index = build_index(Made(num_rows), folder / "index", num_lanes=512)
    spent = time.perf_counter() - start - making
    size = sum(path.stat().st_size for path in index.path.iterdir())
    report(f"index of {index.num_docs:.0e} documents", spent, "s")
    report(f"index of {index.num_docs:.0e} documents, a document", size / index.num_docs, "bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="not used: nothing is compared with a peer")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--quick", action="store_true", help="200 MB instead of 5 GB")
    parser.add_argument(
        "--groups", action="store_true", help="compare sizes of row groups, a fifth of the text"
    )
    parser.add_argument("--memory", type=int, default=256, help="MB of texts that the reader keeps")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return 0
    num_bytes = (200 if arguments.quick else 5000) * MEGABYTE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bucket").mkdir()
        texts = pa.concat_tables(tables_of(arguments.data))
        if arguments.groups:
            compare_groups(folder, texts, num_bytes // 5, arguments.memory)
        deliver(folder / "bucket" / "shards", texts, num_bytes, DEFAULT_GROUP)
        for share, what in ((1.0, "an epoch"), (0.1, "a tenth of an epoch")):
            for runs, how in ((False, "blocks at random"), (True, "runs at random")):
                found = read_share(folder, share, arguments.memory, runs=runs)
                report_share(f"loader reads {what}, {how}", found)
        time_index(folder, 2 * 10**6 if arguments.quick else 2 * 10**7)
    return 0


if __name__ == "__main__":
    sys.exit(main())
