"""The sides that are compared: ours through its Python interface, peers in an interpreter of their own.

All give the same: the cluster of each document, whether it is removed, and the pairs that were found. Ours
finds pairs among the first documents of equal texts; here they are given for all that have these texts.
Which documents our side removes is what a plan without filters drops: exact and near duplicates.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import curate

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "peers" / "near_duplicates.py"
NUM_BANDS, NUM_ROWS, THRESHOLD = 14, 8, 0.8
PEERS = ("gaoya", "rensa", "text-dedup", "datasketch", "datatrove")


@dataclass(frozen=True)
class Found:
    """What one side found in one set of documents."""

    clusters: np.ndarray
    """A number for each document; documents of one cluster have the same."""
    is_removed: np.ndarray
    pairs: np.ndarray
    """Rows of a and b, a < b, in order, each once."""


def recipe(paths: str, folder: Path, *, seed: int, verify: str, **near: Any) -> dict[str, Any]:
    """What our side is asked for: the bands of the peers, everything else as it comes."""
    bands = {"num_bands": NUM_BANDS, "num_rows": NUM_ROWS}
    return {
        "input": {"paths": paths, "id": None, "source": None},
        "measure": [{"minhash": {"seed": seed}}],
        "dedup": {
            "exact": {"keep": "first"},
            "minhash": {"threshold": THRESHOLD, "verify": verify, "bands": bands, "keep": "first", **near},
        },
        "output": {"path": str(folder / "out")},
        "run": str(folder / "run"),
        "store": str(folder / "store"),
    }


def ours(path: Path, folder: Path, *, seed: int = 1, verify: str = "jaccard", **near: Any) -> Found:
    """Deduplicate anew in `folder`, which is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = recipe(str(path), folder, seed=seed, verify=verify, **near)
    run = curate.dedup(settings, num_threads=1)
    texts = pl.read_parquet(path, columns=["text"])["text"]
    clusters = run.clusters()["minhash.cluster_id"].to_numpy().copy()
    rows = np.arange(len(texts))
    clusters[clusters < 0] = rows[clusters < 0]
    pairs = _spread(run.edges().select("a", "b"), texts)
    reasons = curate.plan(settings, num_threads=1).plan()["reasons"]
    return Found(clusters, (reasons.list.len() > 0).to_numpy(), pairs)


def _spread(edges: pl.DataFrame, texts: pl.Series) -> np.ndarray:
    """Pairs of all documents whose texts are paired, and of those with equal texts."""
    nodes = pl.DataFrame({"row": np.arange(len(texts)), "text": texts})
    nodes = nodes.select("row", node=pl.col("row").min().over("text"))
    linked = edges.join(nodes, left_on="a", right_on="node").rename({"row": "one"})
    linked = linked.join(nodes, left_on="b", right_on="node").rename({"row": "other"})
    copies = nodes.join(nodes, on="node", suffix="_b").filter(pl.col("row") < pl.col("row_b"))
    both = pl.concat([linked.select("one", "other"), copies.select(one="row", other="row_b")])
    pairs = both.select(a=pl.min_horizontal("one", "other"), b=pl.max_horizontal("one", "other"))
    return pairs.unique().sort("a", "b").to_numpy()


def peers_python(peers: str | None) -> Path | None:
    """The interpreter of the environment for these peers, beside that of the others; None without it."""
    if peers is None:
        return None
    python = Path(f"{Path(peers).absolute().parents[1]}-dedup") / "bin" / "python"
    if python.exists():
        return python
    print(f"the peers of near-duplicate removal are not there (make bench): {python}", file=sys.stderr)
    return None


def run_peer(
    python: Path, peer: str, files: Sequence[Path], work: Path, *, flags: Sequence[str] = (), threads: int = 1
) -> list[dict[str, Any]]:
    """Let a peer deduplicate files; what each took. An empty list where the peer fails, which is told."""
    command = [str(python), "-W", "ignore", str(SCRIPT), peer, str(work), *map(str, files), *flags]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        print(f"{peer} fails: {done.stderr.strip()[-400:]}", file=sys.stderr, flush=True)
        return []
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def read_peer(peer: str, file: Path, work: Path) -> Found:
    """What a peer found in a file; without pairs where they were not asked for."""
    found = pl.read_parquet(work / f"{file.stem}-{peer}.parquet")
    pairs_path = work / f"{file.stem}-{peer}-pairs.parquet"
    pairs = pl.read_parquet(pairs_path).to_numpy() if pairs_path.exists() else np.empty((0, 2), np.int64)
    return Found(found["cluster"].to_numpy(), found["is_removed"].to_numpy(), pairs)
