"""The libraries that trainers use read every export, and find the documents that were put in.

A library that is not in this environment is looked for in `.venv-peers-mds` and `.venv-peers-olmo`, which
`make peers-export` makes (gigabytes: each has a PyTorch of its own); where it is nowhere, a test is skipped.
Cost: some seconds each, for the imports.
"""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.pipeline import OpenRun
from tests.export.corpus import encode, in_order, planned
from tests.export.peer_reader import LIBRARIES

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("mds", "olmo")

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("megatron", "megatron", {}),
    ("megatron", "megatron", {"dtype": "int32"}),
    ("olmo_core", "olmo", {"max_file_bytes": 40_000}),
    ("olmo_core", "olmo", {"dtype": "uint32"}),
    ("streaming", "mds", {"max_file_bytes": 40_000}),
    ("streaming", "mds", {"compression": "zstd", "seq_len": 100}),
    ("streaming", "mds", {"content": "text", "columns": ["id", "document.num_bytes"]}),
    ("datasets", "hf", {"max_file_bytes": 40_000}),
]

pytestmark = pytest.mark.peer


@functools.cache
def python_with(library: str) -> str | None:
    """An interpreter that has a library."""
    if importlib.util.find_spec(library) is not None:
        return sys.executable
    test = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({library!r}) is None)"
    for name in ELSEWHERE:
        python = ROOT / f".venv-peers-{name}" / "bin" / "python"
        if python.is_file() and subprocess.run([python, "-c", test], check=False).returncode == 0:
            return str(python)
    return None


def read(library: str, folder: Path, pool: str) -> Any:
    """What a library finds of a pool."""
    python = python_with(library)
    if python is None:
        pytest.skip(f"{library} is not here, nor in .venv-peers-mds or .venv-peers-olmo")
    script = Path(__file__).with_name("peer_reader.py")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [python, "-W", "ignore", script, library, folder, pool],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("library", "to", "settings"), CASES, ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)]
)
def test_the_library_reads_what_was_exported(
    run: OpenRun, tokenizer: Path, tmp_path: Path, library: str, to: str, settings: dict[str, Any]
) -> None:
    pool = "udhr"
    curate.export(run.path, output=tmp_path / "out", to=to, tokenizer=tokenizer, num_threads=1, **settings)
    documents = in_order(planned(run))[pool]
    found = read(library, tmp_path / "out", pool)
    tokens = [encode(tokenizer, document.text) for document in documents]
    if to == "hf":
        assert [(row["id"], row["text"]) for row in found] == [(doc.id, doc.text) for doc in documents]
    elif settings.get("content") == "text":
        expected = [(doc.text, str(doc.id), len(doc.text.encode())) for doc in documents]
        assert [(row["text"], row["id"], row["document.num_bytes"]) for row in found] == expected
    elif "seq_len" in settings:
        size = settings["seq_len"]
        flat = [token for document in tokens for token in document]
        full = range(0, len(flat) - size + 1, size)
        assert [row["tokens"] for row in found] == [flat[start : start + size] for start in full]
    else:
        assert [row["tokens"] if to == "mds" else row for row in found] == tokens


def test_every_format_is_read_by_a_library() -> None:
    assert {library for library, _, _ in CASES} == LIBRARIES.keys()
    assert {to for _, to, _ in CASES} == {"megatron", "olmo", "mds", "hf"}
