"""The small corpus of the pipeline's tests; a server of the S3 protocol on loopback that counts."""

from collections.abc import Iterator

import pytest

from tests.loader.store import Store, serve
from tests.pipeline.conftest import recipe

__all__ = ["recipe", "store"]


@pytest.fixture
def store() -> Iterator[Store]:
    with serve() as running:
        yield running
