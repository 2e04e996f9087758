"""Any mix of steps, saves, loads on other topologies, feedback, weights and plans gives the same batches."""

import io
from pathlib import Path

import numpy as np
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from curate.loader.data import Data
from curate.loader.world import World
from curate.selection.mixers import make_mixer
from tests.loader.fakes import FakeIndex, corpus
from tests.loader.ranks import Ranks, same

RNG = np.random.default_rng(5)
LENGTHS = {"a": RNG.integers(1, 20, 90), "b": RNG.integers(1, 200, 40), "c": RNG.integers(1, 9, 7)}
REPEATS = {"a": RNG.integers(1, 3, 90), "b": [1] * 40, "c": [1] * 7}
PLANS = {
    "first": FakeIndex(LENGTHS, REPEATS, name="first"),
    "second": FakeIndex(
        {"a": LENGTHS["a"], "b": LENGTHS["b"], "c": LENGTHS["c"][:5]}, name="second", block_docs=2
    ),
    "third": FakeIndex({"a": LENGTHS["a"], "d": LENGTHS["b"][:9]}, name="third"),
}


def opened(name, **constants):
    return corpus(PLANS[name], **constants)


class LoaderMachine(RuleBasedStateMachine):
    """A single process that never stops beside one that is saved, stopped and resumed with other ranks."""

    @initialize(
        mixer=st.sampled_from(["natural", "exp3", "odm"]),
        packing=st.sampled_from(["split", "best_fit"]),
        lanes=st.sampled_from([4, 8]),
        block_steps=st.sampled_from([1, 2, 3]),
    )
    def begin(self, mixer, packing, lanes, block_steps):
        self.mixer = mixer
        self.constants = {
            "packing": packing,
            "lanes": lanes,
            "block_steps": block_steps,
            "pack_pieces": 4,
            "delay": 3,
        }
        self.plain = self.make(World(0, 1))
        self.batches = iter(self.plain)
        self.ranks = Ranks(1, self.make)
        self.last = None
        self.state = None

    def make(self, world):
        constants = self.constants
        return Data(
            opened("first", **constants),
            make_mixer(self.mixer),
            world,
            source="first",
            opener=lambda name: opened(Path(name).name, **constants),
        )

    @rule(num_steps=st.integers(1, 5))
    def steps(self, num_steps):
        for _ in range(num_steps):
            self.last = next(self.batches)
            same(self.ranks.next(), self.last)

    @precondition(lambda self: self.last is not None)
    @rule(kind=st.sampled_from(["tokens", "shifted", "rows", "one"]), seed=st.integers(0, 99))
    def feedback(self, kind, seed):
        source_id = self.last["source_id"]
        loss = torch.from_numpy(np.random.default_rng(seed).exponential(3, source_id.shape))
        loss = {"tokens": loss, "shifted": loss[:, 1:], "rows": loss[:, 0], "one": loss[0, 0]}[kind]
        self.plain.feedback(source_id, loss)
        size = len(source_id) // self.ranks_size
        for rank, data in enumerate(self.ranks.data):
            part = slice(rank * size, (rank + 1) * size)
            data.feedback(source_id[part], loss[part] if loss.ndim else loss)

    @property
    def ranks_size(self):
        return len(self.ranks.data)

    @rule(
        weights=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0.0, 1e-4, 0.3, 2.0]), min_size=1)
    )
    def set_weights(self, weights):
        pending = self.plain.pending
        names = set(self.plain.corpus.names if pending is None else pending[2].names)
        weights = {name: weight for name, weight in weights.items() if name in names}
        if pending is None and any(weights.values()):
            step = self.plain.set_weights(weights)
            assert all(data.set_weights(weights) == step for data in self.ranks.data)

    @precondition(lambda self: self.plain.pending is None and len(self.plain.stages) < 4)
    @rule(name=st.sampled_from(sorted(PLANS)))
    def swap_plan(self, name):
        step = self.plain.swap_plan(name)
        assert all(data.swap_plan(name) == step for data in self.ranks.data)

    @rule()
    def save(self):
        buffer = io.BytesIO()
        torch.save(self.ranks.state(), buffer)
        buffer.seek(0)
        self.resume(torch.load(buffer, weights_only=True), self.ranks_size)

    @rule(size=st.sampled_from([1, 2, 4]))
    def change_topology(self, size):
        self.resume(self.ranks.state(), size)

    def resume(self, state, size):
        self.ranks.close()
        self.ranks = Ranks(size, self.make)
        self.ranks.load(state)

    @invariant()
    def stands_alike(self):
        if hasattr(self, "plain"):
            assert all(data.step == self.plain.step for data in self.ranks.data)
            assert all(data.weights() == self.plain.weights() for data in self.ranks.data)

    def teardown(self):
        if hasattr(self, "ranks"):
            self.ranks.close()


TestLoaderMachine = LoaderMachine.TestCase
TestLoaderMachine.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
