"""Near-duplicate removal from Parquet to verified clusters: against gaoya, text-dedup and datatrove.

Ours is `curate dedup` with a fresh run and store: measuring (identity and signatures), candidates, a second
reading of them, exact similarities, clusters. All sides use word 5-grams, 14 bands of 8 rows and one core in
turns, and figures are MB of UTF-8 text per CPU second, medians. The whole child process counts for ours and
gaoya, from its start on, with all that it loads and writes. text-dedup and datatrove take minutes where we
take seconds: they get parts of the same kind, and their loading of packages is not counted. No peer compares
texts: gaoya compares signatures, the others nothing. gaoya and datatrove split words in their own ways, gaoya
at white space.

Then the planted pairs that each side has in one cluster, and documents that it removed although none that
stays in their cluster has a similarity of .8; wall time on two threads and cores against one; signatures
alone against 470 MB/s, which plain C with AVX2 reaches on such a machine (it is not measured again here).

Data: `../shared/data` (`--data`), with duplicates planted as `neardup/planting.py` says; what was planted is
printed. Without it the sample of this repository takes its place, and figures mean little.
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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from heuristics import MEGABYTE, ROOT, quotients, report
from neardup import planting, scores, sides
from neardup.planting import Planted
from neardup.sides import NUM_BANDS, NUM_ROWS, THRESHOLD, Found

import curate
from curate import text
from curate.dedup.scurve import Bands
from curate.measure import MinHash

GOAL_RATE, GOAL_THREADS, NATIVE_RATE, GOAL_NATIVE = 110, 1.8, 470, 0.5
GOALS = {"gaoya": 10, "text-dedup": None, "datatrove": 500}
PARTS = {"gaoya": "whole", "text-dedup": "part", "datatrove": "small"}
SIZES = {"whole": 300 * MEGABYTE, "part": 10 * MEGABYTE, "small": 3 * MEGABYTE}
QUICK_SIZES = {"whole": 30 * MEGABYTE, "part": 2 * MEGABYTE, "small": MEGABYTE // 2}


def child(command: Sequence[str], *, num_threads: int = 1) -> tuple[float, float, float]:
    """CPU seconds of a command and its children, wall seconds, and peak MB of memory."""
    environment = {name: str(num_threads) for name in ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS")}
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    # The peak that wait4 gives is at least the memory of this process: a child starts as its copy.
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        peak = max(peak, peak_memory(process.pid))
        time.sleep(0.02)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return used.ru_utime + used.ru_stime, wall, peak


def peak_memory(pid: int) -> float:
    """MB that a process has held at most so far; 0 where that is not told."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def our_command(planted: Planted, folder: Path, *, num_threads: int) -> list[str]:
    """The command for a fresh run and store in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    settings = sides.recipe(str(planted.path), folder, seed=1, verify="jaccard")
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return [
        *(sys.executable, "-m", "curate.cli", "dedup", str(path)),
        *("--quiet", "--threads", str(num_threads)),
    ]


def peer_command(python: Path, peer: str, planted: Planted, folder: Path) -> list[str]:
    shutil.rmtree(folder, ignore_errors=True)
    return [str(python), "-W", "ignore", str(sides.SCRIPT), peer, str(folder), str(planted.path)]


def peer_rate(python: Path, peer: str, planted: Planted, folder: Path) -> float:
    """MB per CPU second of a peer; 0 where it fails, which is told."""
    if peer == "gaoya":
        return planted.num_bytes / MEGABYTE / child(peer_command(python, peer, planted, folder))[0]
    shutil.rmtree(folder, ignore_errors=True)
    used = sides.run_peer(python, peer, [planted.path], folder)
    return planted.num_bytes / MEGABYTE / used[0]["cpu_s"] if used else 0.0


def compare(folder: Path, sets: dict[str, Planted], python: Path | None, *, runs: int) -> None:
    """All sides in turns on one core."""
    whole, ours, memory = sets["whole"], [], []
    theirs: dict[str, list[float]] = {peer: [] for peer in (GOALS if python else ())}
    for run in range(runs):
        print(f"dedup: run {run + 1} of {runs}", file=sys.stderr, flush=True)
        spent, _, peak = child(our_command(whole, folder / "ours", num_threads=1))
        ours.append(whole.num_bytes / MEGABYTE / spent)
        memory.append(peak)
        for peer, rates in theirs.items():
            rates.append(peer_rate(python, peer, sets[PARTS[peer]], folder / peer))
    shares = [rate / GOAL_RATE for rate in ours]
    report("dedup, Parquet to clusters", ours, shares, unit="MB/s", peer=f"{GOAL_RATE} MB/s", goal=1)
    report("dedup memory", memory, memory, unit="MB", peer="none", goal=None)
    for peer, rates in theirs.items():
        if not min(rates, default=0):
            print(json.dumps({"name": f"dedup against {peer}", "error": "does not run here"}), flush=True)
            continue
        size = sets[PARTS[peer]].num_bytes / MEGABYTE
        name = f"{peer}, {statistics.median(rates):.3g} MB/s on {size:.3g} MB"
        ratios = quotients(ours, rates)
        report("dedup, Parquet to clusters", ours, ratios, unit="MB/s", peer=name, goal=GOALS[peer])


def worth(name: str, planted: Planted, found: Found) -> tuple[float, float]:
    """Report what a side found of what was planted; its recall from .8 on and its share of right removals."""
    same = found.clusters[planted.originals] == found.clusters[planted.copies]
    near, bands = ~planted.is_exact, Bands(NUM_BANDS, NUM_ROWS)
    chosen = {"exact copies": planted.is_exact}
    for low, high in scores.WIDE:
        chosen[f"near copies {low}-{high:g}"] = near & scores.in_bin(planted.similarity, low, high)
    for label, rows in chosen.items():
        if rows.any():
            expected = float(bands.probability(planted.similarity[rows]).mean())
            figure(f"{name}: {label}", same[rows].mean(), f"of {rows.sum()}", peer=f"S-curve {expected:.4f}")
    similar = near & (planted.similarity >= THRESHOLD)
    recall = float(same[similar].mean()) if similar.any() else 1.0
    merges = scores.merges(found, planted.shingles)
    wrong, num_removed = scores.num_wrong(merges, THRESHOLD), len(merges.removed)
    right = 1 - wrong / max(1, num_removed)
    figure(f"{name}: right removals", right, f"of {num_removed} documents", peer="exact similarity")
    return recall, right


def figure(name: str, value: float, unit: str, **more: Any) -> None:
    """Print one figure that is measured once."""
    value = round(float(value), 5)
    keys = {"peer": None, "ratio": None, "goal": None, "met": None, "runs": 1, "spread": [value, value]}
    print(json.dumps({"name": name, "value": value, "unit": unit, **keys, **more}), flush=True)


def our_found(planted: Planted, folder: Path) -> Found:
    """What our side found and would remove, from the run that is there."""
    path = folder / "recipe.yaml"
    clusters = curate.dedup(path, num_threads=1).clusters()["minhash.cluster_id"].to_numpy().copy()
    rows = np.arange(len(clusters))
    clusters[clusters < 0] = rows[clusters < 0]
    reasons = curate.plan(path, num_threads=1).plan()["reasons"]
    return Found(clusters, (reasons.list.len() > 0).to_numpy(), np.empty((0, 2), np.int64))


def quality(folder: Path, sets: dict[str, Planted], python: Path | None) -> None:
    """What all sides found, ours on the documents of each peer; the goal is the peer on the whole set."""
    ours: dict[str, tuple[float, float]] = {}
    for size, planted in sets.items():
        child(our_command(planted, folder / "ours", num_threads=1))
        ours[size] = worth(f"dedup planted {size}, curate", planted, our_found(planted, folder / "ours"))
    for peer in GOALS if python else ():
        size = PARTS[peer]
        planted = sets[size]
        if not (folder / peer / f"{planted.path.stem}-{peer}.parquet").exists():
            continue
        found = sides.read_peer(peer, planted.path, folder / peer)
        theirs = worth(f"dedup planted {size}, {peer}", planted, found)
        names = (f"recall of near copies from {THRESHOLD} on", "right removals")
        for name, mine, other in zip(names, ours[size], theirs, strict=True):
            judged = {"goal": 1, "met": mine >= other} if size == "whole" else {}
            ratio = round(mine / other, 5) if other else None
            figure(
                f"dedup planted {size}: {name}",
                mine,
                "share",
                peer=f"{peer} {other:.4f}",
                ratio=ratio,
                **judged,
            )


def start_up(folder: Path, planted: Planted, *, runs: int) -> None:
    """CPU seconds of the same command on ten short documents: what no amount of text is answerable for."""
    texts = pq.read_table(planted.path, columns=["text"])["text"]
    few = replace(planted, path=folder / "few.parquet")
    pq.write_table(pa.table({"text": [text[:100] for text in texts[:10].to_pylist()]}), few.path)
    spent = [child(our_command(few, folder / "ours", num_threads=1))[0] for _ in range(runs)]
    report("dedup start-up", spent, spent, unit="CPU s", peer="none", goal=None)


def scale(folder: Path, planted: Planted, *, runs: int) -> None:
    """Wall time on one thread and core against two."""
    gains, rates, cores = [], [], sorted(os.sched_getaffinity(0))
    for _ in range(runs):
        walls = []
        for count in (1, 2):
            os.sched_setaffinity(0, cores[:count])
            walls.append(
                child(our_command(planted, folder / "ours", num_threads=count), num_threads=count)[1]
            )
        gains.append(walls[0] / walls[1])
        rates.append(planted.num_bytes / MEGABYTE / walls[1])
    os.sched_setaffinity(0, cores)
    report(
        "dedup on two threads", rates, gains, unit="MB/s of wall time", peer="one thread", goal=GOAL_THREADS
    )


def signatures(planted: Planted, *, runs: int) -> None:
    """Signatures alone, from memory, against plain C."""
    batches = [
        batch.column(0).cast(pa.large_binary())
        for batch in pq.ParquetFile(planted.path).iter_batches(batch_size=2048, columns=["text"])
    ]
    rates, spec = [], MinHash().needs()
    for _ in range(runs):
        start = time.process_time()
        for texts in batches:
            text.measure(texts, spec)
        rates.append(planted.num_bytes / MEGABYTE / (time.process_time() - start))
    shares = [rate / NATIVE_RATE for rate in rates]
    peer = f"plain C, {NATIVE_RATE} MB/s"
    report("dedup signatures alone", rates, shares, unit="MB/s", peer=peer, goal=GOAL_NATIVE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less text and fewer runs: under a minute")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--peers", "--peer-python", help="interpreter of the peers; none: skip them")
    arguments = parser.parse_args()
    data, runs = arguments.data, 2 if arguments.quick else 5
    if not (data / "corpus").is_dir():
        print(f"no corpus under {data}: using the sample of this repository", file=sys.stderr)
        data = ROOT / "sample"
    python, cores = sides.peers_python(arguments.peers), os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as name:
        folder, sets = Path(name), {}
        for size, num_bytes in (QUICK_SIZES if arguments.quick else SIZES).items():
            sets[size] = planting.build(data, folder / f"{size}.parquet", num_bytes=num_bytes)
            print(sets[size].describe(), file=sys.stderr, flush=True)
        os.sched_setaffinity(0, {max(cores)})
        compare(folder, sets, python, runs=runs)
        quality(folder, sets, python)
        start_up(folder, sets["small"], runs=runs)
        signatures(sets["whole"], runs=runs)
        os.sched_setaffinity(0, cores)
        if len(cores) > 1:
            scale(folder, sets["whole"], runs=runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
