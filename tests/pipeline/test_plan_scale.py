"""The benchmark of plans runs at a small size, and its plan is one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "plan_scale.py"


@pytest.mark.slow
def test_a_plan_over_made_up_columns_meets_its_budget(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    arguments = ["--rows", "150000", "--folder", str(folder), "--memory", "128MiB"]
    found = []
    for order in ("folding", "folding", "shuffle"):
        done = subprocess.run(
            [sys.executable, str(BENCHMARK), *arguments, "--order", order],
            capture_output=True,
            text=True,
            check=False,
            cwd=BENCHMARK.parents[1],
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0]["rows"] == 150_000 and found[0]["peak_mib"] < 1024
    assert 112_500_000 <= found[0]["planned_tokens"] < 113_500_000
    assert {each["planned_tokens"] for each in found} == {found[0]["planned_tokens"]}
