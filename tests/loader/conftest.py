"""The small corpus of the pipeline's tests."""

from tests.pipeline.conftest import recipe

__all__ = ["recipe"]
