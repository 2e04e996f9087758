"""What the tests of mixers share: pools, a mixer that is started, one block of feedback."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.selection.mixer import Floats, Mixer
from curate.selection.mixers import MixerSpec, make_mixer


@dataclass(frozen=True)
class Pool:
    name: str
    num_tokens: int
    num_unique_tokens: int


def pools_of(sizes: Sequence[int]) -> list[Pool]:
    return [Pool(f"p{number:04d}", size, size) for number, size in enumerate(sizes)]


def started(spec: MixerSpec, sizes: Sequence[int]) -> Mixer:
    mixer = make_mixer(spec)
    total = sum(sizes)
    natural = [size / total if total else 0.0 for size in sizes]
    mixer.start(pools_of(sizes), np.array(natural))
    return mixer


def give(mixer: Mixer, block: int, losses: Mapping[int, float], num_pools: int) -> Floats:
    """Hand out one block, give feedback for some pools, and return the weights of the next block."""
    mixer.weights(block, block * 10, 100)
    array = np.array([losses.get(pool, math.nan) for pool in range(num_pools)])
    counts = np.where(np.isfinite(array), 1000, 0)
    mixer.update(block, array, counts, np.zeros(num_pools, np.int64))
    return mixer.weights(block + 1, block * 10 + 10, 100)
