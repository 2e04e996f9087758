"""One run and one tokenizer for all tests of a module."""

from pathlib import Path

import pytest

from curate.pipeline import OpenRun
from tests.export.corpus import make_run, make_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level BPE."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> OpenRun:
    """A shuffled plan with a pool for each source."""
    return make_run(tmp_path_factory.mktemp("run"))
