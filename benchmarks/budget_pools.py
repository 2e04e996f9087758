"""Budgets over many pools: seconds of clock and processor and peak memory of each rule, one JSON line.

Pools have sizes of a power law, contents, and names in random order; utilities are those of made-up evidence,
different for every pool. Each rule is a process of its own, whose peak counts everything, the making of the
pools included. `marginal` is run in both forms of the decay, and with a cap of a million epochs; reading the
evidence and the sensitivity table are part of it. The mixture has a log-linear law of ten targets.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from curate.selection.allocation import Allocate, Evidence, EvidencePool, Supply, allocate, write_evidence

RULES = (
    "natural",
    "stratified",
    "temperature",
    "unimax",
    "fixed",
    "marginal",
    "marginal smooth",
    "marginal cap 1e6",
    "mixture",
)
NUM_TARGETS = 10
LAWS = {
    "half_life": {
        "law": "quality_quantity",
        "format": 1,
        "pools": ["any"],
        "utilities": [-0.1],
        "half_lives": [4.0],
        "scale": 0.025,
    },
}


def pools(count: int) -> list[Supply]:
    rng = np.random.Generator(np.random.PCG64(1))
    sizes = (1e6 * rng.pareto(1.2, count) + 1e4).astype(np.int64)
    names = rng.permutation(count)
    return [
        Supply(
            name=f"cluster/{name:07}",
            unique_tokens=int(size),
            num_docs=1 + int(size) // 1000,
            content=f"{name:032x}",
        )
        for name, size in zip(names.tolist(), sizes.tolist(), strict=True)
    ]


def settings_for(rule: str, supplies: list[Supply], folder: Path) -> Allocate:
    kind = rule.split()[0]
    if kind == "fixed":
        weights = {each.name: 1.0 / len(supplies) for each in supplies}
        return Allocate(rule="fixed", weights=weights)
    if kind not in ("marginal", "mixture"):
        return Allocate(rule=kind)  # type: ignore[arg-type]
    rng = np.random.Generator(np.random.PCG64(2))
    law = LAWS["half_life"]
    if kind == "mixture":
        slopes = rng.normal(size=(NUM_TARGETS, len(supplies)))
        law = {
            "law": "log_linear",
            "format": 1,
            "pools": [each.name for each in supplies],
            "targets": [f"t{n}" for n in range(NUM_TARGETS)],
            "constants": [1.0] * NUM_TARGETS,
            "slopes": slopes.tolist(),
        }
    utilities, lives = -rng.uniform(0.02, 0.2, len(supplies)), rng.uniform(1, 10, len(supplies))
    found = tuple(
        EvidencePool(
            name=each.name,
            unique_tokens=each.unique_tokens,
            content=each.content,
            utility=float(utility),
            half_life=float(life),
        )
        for each, utility, life in zip(supplies, utilities, lives, strict=True)
    )
    path = folder / "evidence.json"
    write_evidence(Evidence(law=law, pools=found), path)
    return Allocate(
        rule=kind,  # type: ignore[arg-type]
        evidence=str(path),
        cap=1e6 if rule.endswith("1e6") else 4.0,
        decay="data_constrained" if rule.endswith("smooth") else None,
    )


def run(rule: str, count: int) -> None:
    supplies = pools(count)
    target = 2 * sum(each.unique_tokens for each in supplies)
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(rule, supplies, Path(folder))
        start, start_cpu = time.perf_counter(), time.process_time()
        plan = allocate(supplies, target, settings)
        elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    assert sum(plan.tokens) == target
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {"seconds": round(elapsed_s, 2), "cpu_seconds": round(cpu_s, 2), "peak_mib": round(peak_mib)}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pools", type=int, default=100_000)
    parser.add_argument("--rule", choices=RULES)
    options = parser.parse_args()
    if options.rule is not None:
        run(options.rule, options.pools)
        return
    found = {}
    for rule in RULES:
        command = [sys.executable, __file__, "--rule", rule, "--pools", str(options.pools)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[rule] = json.loads(done.stdout)
    print(json.dumps({"benchmark": "budget_pools", "pools": options.pools, "rules": found}))


if __name__ == "__main__":
    main()
