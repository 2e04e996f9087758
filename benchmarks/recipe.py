"""A whole recipe, from Parquet to curated Parquet: measure, exact duplicates, plan, write with zstd 1.

Against the same chain in datatrove (Gopher repetition and quality, C4, FineWeb, exact duplicates, Parquet),
in turns on one core, per CPU second of each side; start-up and our report are not counted. Ours measures
everything for all documents, counts bytes for the token estimate and keeps every reason. datatrove is timed
as it is run, where a filter does not see what an earlier one dropped, and with every filter on every
document, which is the work that ours does. It gets a small part of the same file without documents above
50 kB. Figures of the single steps follow, and `curate measure` on two cores against one.

Data: English documents below `--data`, by default `../shared/data/corpus`; where that is missing the sample.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from heuristics import MEGABYTE, ROOT, english, num_bytes, part, quotients, report

STEPS = ("measure", "resolve", "plan", "write")
PEERS = ("datatrove 0.10.1, the same chain", "datatrove 0.10.1, every filter on every document")
GOAL_RATE, GOAL_RATIO, GOAL_THREADS = 22, 300, 1.8


def write_recipe(folder: Path, *, words: str) -> Path:
    """The recipe over `input/`, with all that it writes below `ours/`."""
    recipe = {
        "input": {"paths": str(folder / "input" / "*.parquet"), "id": None, "source": None},
        "measure": [{"heuristics": {"words": words, "sets": ["gopher", "c4", "fineweb"]}}, "tokens"],
        "filter": [{"preset": "gopher"}, {"preset": "c4"}, {"preset": "fineweb"}],
        "dedup": {"exact": {"keep": "first"}},
        "output": {"path": str(folder / "ours" / "out"), "compression_level": 1},
        "run": str(folder / "ours" / "run"),
        "store": str(folder / "ours" / "store"),
    }
    path = folder / f"{words}.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def our_steps(
    folder: Path, *, words: str, num_threads: int, verb: str = "run"
) -> dict[str, dict[str, float]]:
    """Do the recipe anew; what each step took, as the run tells it."""
    shutil.rmtree(folder / "ours", ignore_errors=True)
    command = [sys.executable, "-m", "curate.cli", verb, str(write_recipe(folder, words=words)), "--quiet"]
    command += ["--threads", str(num_threads), "--json"]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(num_threads)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    if verb == "measure":
        return {"measure": json.loads(done.stdout)}
    timings = json.loads((folder / "ours" / "run" / "timings.json").read_text(encoding="utf-8"))
    return {timing["step"]: timing for timing in timings["steps"]}


def their_seconds(peer: str, folder: Path) -> list[float]:
    """CPU seconds of the chain in datatrove: as it is run, and with every filter on every document."""
    shutil.rmtree(folder / "theirs", ignore_errors=True)
    script = ROOT / "benchmarks" / "peers" / "recipe.py"
    command = [peer, "-W", "ignore", str(script), str(folder / "part"), str(folder / "theirs")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(line) for line in output.splitlines()[-2:]]


def compare(folder: Path, table: pa.Table, *, peer: str | None, peer_bytes: int, runs: int) -> None:
    """Run all sides in turns on one core and report their figures."""
    size, taken = num_bytes(table) / MEGABYTE, part(table, peer_bytes)
    for name, rows in (("input", table), ("part", taken)):
        (folder / name).mkdir()
        pq.write_table(rows, folder / name / "text.parquet", compression="zstd", row_group_size=1000)
    ours: dict[str, list[dict[str, float]]] = {"datatrove-en": [], "uax29": []}
    theirs: tuple[list[float], list[float]] = ([], [])
    for run in range(runs):
        print(f"recipe: run {run + 1} of {runs}", file=sys.stderr, flush=True)
        for words, found in ours.items():
            steps = our_steps(folder, words=words, num_threads=1)
            found.append({step: steps[step]["cpu_s"] for step in STEPS})
        if peer:
            for rates, spent in zip(theirs, their_seconds(peer, folder), strict=True):
                rates.append(num_bytes(taken) / MEGABYTE / spent)
    for words, found in ours.items():
        rates = [size / sum(steps.values()) for steps in found]
        for name, others in zip(PEERS, theirs, strict=True) if peer else ():
            ratios = quotients(rates, others)
            report(f"recipe {words}", rates, ratios, unit="MB/s", peer=name, goal=GOAL_RATIO)
        shares = [rate / GOAL_RATE for rate in rates]
        report(f"recipe {words}", rates, shares, unit="MB/s", peer=f"{GOAL_RATE} MB/s", goal=1)
        for step in STEPS:
            values = [size / max(steps[step], 1e-3) for steps in found]
            parts = [steps[step] / sum(steps.values()) for steps in found]
            report(f"recipe {words} {step}", values, parts, unit="MB/s", peer="share of the time", goal=None)


def scale(folder: Path, *, size: float, runs: int) -> None:
    """Wall time of `curate measure` on one thread and core against two; reading and writing run beside it."""
    gains, rates = [], []
    cores = sorted(os.sched_getaffinity(0))
    for _ in range(runs):
        spent = []
        for count in (1, 2):
            os.sched_setaffinity(0, cores[:count])
            steps = our_steps(folder, words="uax29", num_threads=count, verb="measure")
            spent.append(steps["measure"]["wall_s"])
        gains.append(spent[0] / spent[1])
        rates.append(size / spent[1])
    name = "curate measure on two cores"
    report(name, rates, gains, unit="MB/s of wall time", peer="one core", goal=GOAL_THREADS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less text and fewer runs: under a minute")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "corpus")
    parser.add_argument("--peers", "--peer-python", help="interpreter that has datatrove; none: skip it")
    arguments = parser.parse_args()
    data, runs = arguments.data, 2 if arguments.quick else 7
    if not data.is_dir():
        print(f"no data under {data}: using the sample of this repository", file=sys.stderr)
        data = ROOT / "sample"
    table = english(data, (30 if arguments.quick else 100) * MEGABYTE)
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as name:
        os.sched_setaffinity(0, {max(cores)})
        peer_bytes = (300 if arguments.quick else 1000) * 1000
        compare(Path(name), table, peer=arguments.peers, peer_bytes=peer_bytes, runs=runs)
        os.sched_setaffinity(0, cores)
        if len(cores) > 1:
            scale(Path(name), size=num_bytes(table) / MEGABYTE, runs=runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
