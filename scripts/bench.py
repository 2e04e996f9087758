"""Run every script in `benchmarks/` and collect what they measure.

Each is called as `script.py --peers PYTHON`, where PYTHON is the interpreter that has the peers, and
prints results as JSON objects, one a line; other lines are for people. The objects are appended to
`benchmarks/results/<date>.jsonl` after one line that describes the machine.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def machine() -> dict[str, Any]:
    """Describe what the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in _lines(info) if line.startswith("model name")]
    memory = [int(line.split()[1]) for line in _lines(Path("/proc/meminfo")) if line.startswith("MemTotal")]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "cpu": models[0] if models else platform.processor(),
        "num_cpus": os.cpu_count(),
        "memory_bytes": memory[0] * 1024 if memory else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def run(script: Path, peers: str) -> tuple[list[dict[str, Any]], int]:
    """Run one script; its printed JSON objects and its exit code."""
    results = []
    command = [sys.executable, str(script), "--peers", peers]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.startswith("{"):
                results.append({"benchmark": script.stem, **json.loads(line)})
    return results, process.returncode


def main() -> int:
    """Run all, write the results, fail if one failed."""
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument("--peers", required=True, help="Python interpreter that has the peers")
    peers = parser.parse_args().peers
    out = ROOT / "benchmarks" / "results" / f"{datetime.date.today().isoformat()}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    failed = []
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"machine": machine()}) + "\n")
        for script in sorted((ROOT / "benchmarks").glob("*.py")):
            print(f"== {script.stem}", flush=True)
            results, code = run(script, peers)
            file.writelines(json.dumps(result) + "\n" for result in results)
            file.flush()
            if code:
                failed.append(script.stem)
    print(f"results: {out}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
