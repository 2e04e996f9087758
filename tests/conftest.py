"""Profiles of the property tests; the command line as a fixture."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.command import Curate, caller

settings.register_profile(
    "fast", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("slow", parent=settings.get_profile("fast"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture
def curate(capsys: pytest.CaptureFixture[str]) -> Curate:
    """Run one command in this process: `curate("run", path)`."""
    return caller(capsys)
