"""A small run in memory for tests with other libraries."""

import numpy as np
import pytest

from curate.loader.data import Data
from curate.loader.world import World
from curate.selection.mixers import make_mixer
from tests.loader.fakes import FakeIndex, corpus

RNG = np.random.default_rng(11)
INDEX = FakeIndex({"a": RNG.integers(1, 40, 300), "b": RNG.integers(1, 200, 80), "c": [3] * 5})
NAMES = ("input_ids", "labels", "positions", "source_id", "doc_spans")


def opened(mixer="natural", *, world=None, log=None, **constants):
    constants = {"block_steps": 2, **constants}
    return Data(corpus(INDEX, **constants), make_mixer(mixer), world or World(0, 1), log=log)


def library(name):
    """Import another project's library, or skip the module."""
    return pytest.importorskip(name, reason=f"{name} is not installed")


def loss_of(batch):
    """A loss for each token that depends on the tokens only."""
    return (batch["input_ids"] % 7).float()
