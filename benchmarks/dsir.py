"""DSIR natively against the published package `data-selection`: rates, and the same documents.

Counting and scoring: CPU time over texts in memory. The whole, on one thread: counts of target and raw text,
the model, a measuring pass that scores every document, a plan that draws a tenth of the tokens by the
weights, curated shards; from Parquet, in folders of their own each time. The package does the same over a
small part of the same documents as JSON lines, spread over them, as it takes minutes where we take seconds;
the runs take turns, rates are medians of bytes of raw and target text per CPU second, imports and the start
of both processes left out.

Equal documents: over that part, the tenth with the greatest weights is the same for both. The golden example
of the package is `../shared/reference/dsir`, which is not in this repository: without it the figure is left
out.

Data: `../shared/data/corpus`, the target 300 kB of its books; without it the sample of this repository.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from heuristics import BATCH_ROWS, MEGABYTE, ROOT, num_bytes, quotients, report, seconds

import curate
from curate.measure import HashedLinear
from curate.text import NgramCounter, measure

SHARED = ROOT.parent / "shared"
GOLDEN = SHARED / "reference" / "dsir"
SCRIPT = ROOT / "benchmarks" / "peers" / "dsir_reference.py"
PEER = "data-selection 1.0.3"
TARGET_SOURCE, TARGET_BYTES = "books", 300_000
GOAL_RATE, GOAL_RATIO = 30, 20
MAX_ERROR = 1e-5
"""Greatest difference of weights that is one of 32-bit floats, as a part of the greatest weight."""

Floats = npt.NDArray[np.float64]


class Peer:
    """A process that runs the package again and again."""

    def __init__(self, python: Path, raw: Path, target: Path, folder: Path, *, field: str, num: int) -> None:
        self.folder = folder
        command = [str(python), str(SCRIPT), str(raw), str(target), str(folder), field, str(num)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def seconds(self) -> float:
        """CPU seconds of one run."""
        assert self.process.stdin and self.process.stdout
        print("go", file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def weights(self) -> Floats:
        """End the process; the log weights of its last run, NaN for what is too short."""
        self.process.communicate()
        lengths = np.load(self.folder / "lengths.npy")
        return np.where(lengths >= 100, np.load(self.folder / "weights.npy"), np.nan)


def peer_python(peers: str | None) -> Path | None:
    """The interpreter of the environment for DSIR, beside that of the other peers; None without it."""
    if peers is None:
        return None
    python = Path(f"{Path(peers).absolute().parents[1]}-dsir") / "bin" / "python"
    if python.exists():
        return python
    print(f"data-selection is not there (make bench): {python}", file=sys.stderr)
    return None


def fit(raw: dict[str, Any], target: dict[str, Any], folder: Path) -> Path:
    """Fit weights on one thread; the model."""
    settings = {"raw": [raw], "targets": {"weight": [target]}, "output": str(folder / "dsir.safetensors")}
    return curate.train_importance(settings, num_threads=1).path


def whole(raw: dict[str, Any], target: dict[str, Any], folder: Path) -> None:
    """Everything from texts to curated shards, on one thread."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recipe = {
        "input": raw,
        "measure": [{"hashed_linear": {"name": "dsir", "model": str(fit(raw, target, folder))}}],
        "plan": {
            "budget": 0.1,
            "pools": {"by": None},
            "select": {"method": "weighted", "score": "dsir.weight"},
        },
        "output": {"path": str(folder / "curated")},
        "run": str(folder / "run"),
        "store": str(folder / "store"),
    }
    curate.run(recipe, num_threads=1)


def scores(texts: pa.Array, model: Path) -> Floats:
    """The weight of each text, NaN where it has none."""
    found = HashedLinear(name="dsir", model=model).annotate(texts)["dsir.weight"]
    return np.asarray(found.to_numpy(zero_copy_only=False), np.float64)


def best(weights: Floats, num: int) -> list[int]:
    """Rows of the greatest weights, the greatest first."""
    order = np.argsort(np.where(np.isnan(weights), np.inf, -weights), kind="stable")
    return [int(row) for row in order[:num]]


def native(table: pa.Table, model: Path, *, runs: int) -> None:
    """Counting and scoring alone, over texts in memory."""
    batches = [batch.column(0) for batch in table.select(["text"]).to_batches(max_chunksize=BATCH_ROWS)]
    size, spec = num_bytes(table) / MEGABYTE, HashedLinear(name="dsir", model=model).needs()

    def count() -> None:
        counter = NgramCounter(num_buckets=10_000, tokens="wordpunct_lower", ngrams=2, hash="sha256")
        for texts in batches:
            counter.add(texts)

    def score() -> None:
        for texts in batches:
            measure(texts, spec)

    for name, job in (("counting", count), ("scoring", score)):
        rates = [size / seconds(time.process_time, job) for _ in range(runs)]
        ratios = [rate / GOAL_RATE for rate in rates]
        report(f"dsir {name}", rates, ratios, unit="MB/s", peer=f"{GOAL_RATE} MB/s", goal=1)


def spread(table: pa.Table, max_bytes: int) -> pa.Table:
    """Some documents from all over the table, none of them large."""
    short = table.filter(pc.less(pc.binary_length(table["text"]), 50_000))
    return short.take(list(range(0, len(short), max(1, round(num_bytes(short) / max_bytes)))))


def write_lines(path: Path, table: pa.Table) -> dict[str, Any]:
    """Write texts as JSON lines; the input that reads them."""
    lines = (json.dumps({"text": text}) + "\n" for text in table["text"].to_pylist())
    path.write_text("".join(lines), encoding="utf-8")
    return {"paths": str(path)}


def compare(data: Path, table: pa.Table, python: Path | None, folder: Path, *, size: int, runs: int) -> None:
    """The whole of DSIR over all documents, in turns with the package over some of them."""
    raw, target = {"paths": f"{data}/*.parquet"}, {"paths": str(folder / "target.jsonl")}
    part, target_bytes = spread(table, size), (folder / "target.jsonl").stat().st_size
    of_part = write_lines(folder / "raw.jsonl", part)
    peer = None
    if python:
        files = folder / "raw.jsonl", folder / "target.jsonl", folder / "peer"
        peer = Peer(python, *files, field="text", num=len(part) // 10)
    ours, theirs = [], []
    for number in range(runs):
        print(f"dsir: run {number + 1} of {runs}", file=sys.stderr, flush=True)
        spent = seconds(time.process_time, partial(whole, raw, target, folder / "ours"))
        ours.append((num_bytes(table) + target_bytes) / MEGABYTE / spent)
        if peer:
            theirs.append((num_bytes(part) + target_bytes) / MEGABYTE / peer.seconds())
    goal = partial(report, "dsir whole", ours, unit="MB/s")
    goal([rate / GOAL_RATE for rate in ours], peer=f"{GOAL_RATE} MB/s", goal=1)
    if peer:
        goal(quotients(ours, theirs), peer=PEER, goal=GOAL_RATIO)
        weights = scores(part["text"].combine_chunks(), fit(of_part, target, folder))
        agree(weights, peer.weights(), num=len(part) // 10)


def agree(ours: Floats, theirs: Floats, *, num: int) -> None:
    """Whether the same documents have a weight, nearly the same one, and the same are the best."""
    same = bool((np.isnan(ours) == np.isnan(theirs)).all())
    error = float(np.nanmax(np.abs(ours - theirs)) / np.nanmax(np.abs(theirs)))
    num_equal = len(set(best(ours, num)) & set(best(theirs, num)))
    print(f"dsir: greatest difference of weights {error:.2g} of the greatest", file=sys.stderr)
    shares = [num_equal / num if same and error < MAX_ERROR else 0.0]
    report("dsir equal documents", [num_equal], shares, unit=f"of {num} documents", peer=PEER, goal=1)


def golden(folder: Path) -> None:
    """The example of the package: which documents are long enough, and the ten with the greatest weights."""
    if not GOLDEN.is_dir():
        print(f"the golden example is not there: {GOLDEN}", file=sys.stderr)
        return
    wanted = json.loads((GOLDEN / "golden_ngram2_b10000.json").read_text("utf-8"))
    raw, target = GOLDEN / "toy_pile_data.jsonl", GOLDEN / "toy_target_data.jsonl"
    model = fit({"paths": str(raw), "text": "contents"}, {"paths": str(target), "text": "contents"}, folder)
    texts = pa.array([json.loads(line)["contents"] for line in raw.read_text("utf-8").splitlines()])
    found = scores(texts, model)
    equal = best(found, 10) == wanted["top10_by_logweight_len_ge_100"]
    equal = equal and int((~np.isnan(found)).sum()) == wanted["n_len_ge_100"]
    equal = bool(equal and abs(found[0] - wanted["top10_weights"][0]) < 1)
    print(
        json.dumps({"name": "dsir golden", "golden_ids_equal": equal, "goal": True, "met": equal}), flush=True
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less text and fewer runs: about a minute")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--peers", "--peer-python", help="interpreter of the peers; none: skip them")
    arguments = parser.parse_args()
    data, runs = arguments.data / "corpus", 1 if arguments.quick else 5
    if not data.is_dir():
        print(f"no data under {data}: using the sample of this repository", file=sys.stderr)
        data = ROOT / "sample"
    schema = pa.schema({"text": pa.large_string(), "source": pa.string()})
    table = pa.concat_tables(
        pq.read_table(path, columns=schema.names).cast(schema) for path in sorted(data.glob("*.parquet"))
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        golden(folder)
        of_target = table.filter(pc.equal(table["source"], TARGET_SOURCE))
        target = write_lines(folder / "target.jsonl", spread(of_target, TARGET_BYTES))
        some = table.slice(0, len(table) // 4) if arguments.quick else table
        native(some, fit({"paths": f"{data}/*.parquet"}, target, folder), runs=runs)
        size = (1 if arguments.quick else 3) * MEGABYTE
        compare(data, table, peer_python(arguments.peers), folder, size=size, runs=runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
