"""Simulated trainings with a planted best pool: what the learners find, and what they win over even weights.

A pool's loss is floor + gap * exp(-tokens / speed), with noise of a hash-like fixed generator.
"""

import numpy as np
import pytest

from curate.selection.mixer import Floats, Mixer
from curate.selection.mixers import MixerSpec
from tests.selection.mixing import started

TOKENS = 10_000
DELAY = 2
LEARNERS: tuple[MixerSpec, ...] = (
    "odm",
    {"odm": {"form": "smoothed_mean"}},
    {"exp3": {"rate": 0.5}},
    "ucb",
    {"ucb": {"floor": 0.2, "form": "plus_one"}},
)


def train(
    mixer: Mixer, floors: Floats, gaps: Floats, speeds: Floats, *, num_blocks: int, noise: float = 0.05
) -> tuple[Floats, Floats]:
    """Train with late feedback; give the weights of all blocks and the final losses."""
    rng = np.random.default_rng(7)
    size = len(floors)
    served = np.zeros(size)
    history, ready = [], []
    for block in range(num_blocks):
        weights = mixer.weights(block, block * 10, TOKENS // 10)
        tokens = np.floor(weights * TOKENS).astype(np.int64)
        served += tokens
        losses = floors + gaps * np.exp(-served / speeds) + noise * rng.standard_normal(size)
        ready.append((np.where(tokens > 0, losses, np.nan), tokens))
        history.append(weights)
        late = block - (DELAY - 1)
        if late >= 0:
            mixer.update(late, *ready[late], served.astype(np.int64))
    return np.array(history), floors + gaps * np.exp(-served / speeds)


# The paper's rewards of Online Data Mixing, L / p, hold the weights near even.
@pytest.mark.parametrize(
    ("spec", "least", "regret_part"),
    [(spec, 1.15 if spec == "odm" else 1.4, 0.98 if spec == "odm" else 0.9) for spec in LEARNERS],
    ids=str,
)
def test_the_pool_of_highest_loss_gets_the_most(spec: MixerSpec, least: float, regret_part: float) -> None:
    floors = np.array([2.0, 2.0, 4.0, 2.0, 2.5, 2.0])
    flat = np.zeros(6)
    history, _ = train(started(spec, [1] * 6), floors, flat, np.ones(6), num_blocks=200)
    share = history[-50:].mean(axis=0)
    assert share.argmax() == 2 and share[2] > least / 6
    regret = (floors.max() - history @ floors).sum()
    even = (floors.max() - floors.mean()) * len(history)
    assert regret < regret_part * even


@pytest.mark.parametrize(
    "spec",
    [
        {"exp3": {"reward": "fall", "rate": 0.3, "gamma": 0.2}},
        {"ucb": {"reward": "fall", "floor": 0.3, "discount": 0.95}},
    ],
    ids=str,
)
def test_the_pool_whose_loss_falls_fastest_is_found(spec: MixerSpec) -> None:
    size = 6
    floors, gaps = np.full(size, 1.0), np.full(size, 3.0)
    speeds = np.full(size, 1e9)
    speeds[4] = 1e6
    history, final = train(started(spec, [1] * size), floors, gaps, speeds, num_blocks=150, noise=0.002)
    share = history[-100:].mean(axis=0)
    assert share.argmax() == 4 and share[4] > 2 / size
    _, even = train(started("uniform", [1] * size), floors, gaps, speeds, num_blocks=150, noise=0.002)
    assert final[4] < even[4]


def test_excess_loss_finds_the_pool_far_from_its_reference() -> None:
    floors = np.array([3.0, 1.0, 2.0])
    spec = {"excess_loss": {"reference": {"p0000": 3.0, "p0001": 0.2, "p0002": 2.0}, "eta": 0.1}}
    history, _ = train(started(spec, [1] * 3), floors, np.zeros(3), np.ones(3), num_blocks=60, noise=0.0)
    assert history[-1].argmax() == 1 and history[-1][1] > 0.9 and history[-1].min() > 0


@pytest.mark.parametrize("spec", LEARNERS, ids=str)
def test_what_is_learned_changes_when_the_world_does(spec: MixerSpec) -> None:
    size = 4
    history, final = train(
        started(spec, [1] * size),
        np.full(size, 1.5),
        np.array([0.0, 0.0, 4.0, 0.0]),
        np.array([1.0, 1.0, 4e5, 1.0]),
        num_blocks=200,
    )
    assert history[20:60, 2].mean() > 1 / size
    even = train(
        started("uniform", [1] * size),
        np.full(size, 1.5),
        np.array([0.0, 0.0, 4.0, 0.0]),
        np.array([1.0, 1.0, 4e5, 1.0]),
        num_blocks=200,
    )[1]
    assert final[2] < even[2]
