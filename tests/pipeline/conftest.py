"""A small corpus of real text and a recipe over it."""

from pathlib import Path
from typing import Any

import pytest

SAMPLE = Path(__file__).parents[2] / "sample"


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """The demo's recipe with everything below a temporary folder."""
    return {
        "name": "test",
        "input": {"paths": [f"{SAMPLE}/*.parquet", f"{SAMPLE}/*.jsonl.gz"]},
        "measure": ["heuristics", "tokens"],
        "filter": [
            {"preset": "gopher", "where": "lang = 'en'"},
            {"preset": "c4", "where": "lang = 'en'", "min_sentences": 2},
            {"preset": "fineweb", "where": "lang = 'en'"},
            {"reason": "user.short", "drop": "document.num_chars < 100"},
        ],
        "dedup": {"exact": {"keep": "first"}},
        "plan": {"pools": {"by": "source"}, "budget": "0.6", "order": "shuffle"},
        "output": {"path": str(tmp_path / "out"), "rows_per_file": 300},
        "run": str(tmp_path / "run"),
        "store": str(tmp_path / "store"),
    }
