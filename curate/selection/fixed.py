"""Mixers that learn nothing: natural, uniform, fixed, temperature, UniMax, replay, functions of users.

Temperature: weights in proportion to tokens^(1/T); 1 is natural, infinite is uniform. UniMax (Chung et al.
2023, arXiv:2304.09151): a budget is shared out evenly over the pools, the smallest first, none above
`max_epochs` of its unique tokens; what a small pool cannot take goes to the larger ones.

Cost: nothing worth a number. Not here: weights that change on a plan (schedule.py) or by feedback.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from curate.errors import ConfigError
from curate.schema import Settings
from curate.selection.budget import parse_budget
from curate.selection.mixer import (
    Floats,
    Ints,
    PoolSupply,
    by_pool,
    check_header,
    checked,
    header,
    normalised,
    pack,
    unpack,
)


class Static:
    """A mixer whose weights depend on the pools and the step alone; children say how."""

    kind = ""
    needs_feedback = False
    settings: Settings | None = None

    def start(self, pools: Sequence[PoolSupply], weights: Floats) -> None:
        """Take the pools and their natural weights."""
        self.names = [pool.name for pool in pools]
        self.natural = normalised(weights)
        self.begin(pools)

    def begin(self, pools: Sequence[PoolSupply]) -> None:
        """Prepare what the weights need."""

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Give the natural weights."""
        return self.natural.copy()

    def update(self, block: int, losses: Floats, counts: Ints, served: Ints) -> None:
        """Learn nothing."""

    def state(self) -> dict[str, Any]:
        """Give what the weights depend on: the settings and the pools."""
        return header(self.kind, self.settings, self.names)

    def load(self, state: dict[str, Any]) -> None:
        """Check that the state is of this mixer."""
        check_header(state, Static.state(self))


class Natural(Static):
    """The pools' shares of the planned tokens."""

    kind = "natural"


class Uniform(Static):
    """The same weight for every pool that has tokens."""

    kind = "uniform"

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Give the same weight to every pool that has tokens."""
        return normalised((self.natural > 0).astype(np.float64))


class TemperatureSettings(Settings):
    """How far the weights are moved from natural to uniform."""

    temperature: float = Field(default=2.0, gt=0)
    """1 is natural, infinite is uniform, below 1 favours the large pools."""


class Temperature(Static):
    """Weights in proportion to tokens^(1/temperature)."""

    kind = "temperature"

    def __init__(self, settings: TemperatureSettings) -> None:
        self.settings: TemperatureSettings = settings

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Give the tempered weights."""
        greatest = float(self.natural.max(initial=0.0))
        power = 1.0 / self.settings.temperature
        parts = [(value / greatest) ** power if value > 0 else 0.0 for value in self.natural.tolist()]
        return normalised(parts)


class UniMaxSettings(Settings):
    """The budget that is shared out, and how often a pool may be repeated."""

    budget: int | str
    """Tokens of the whole training: `600B`."""
    max_epochs: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    """Greatest number of passes over a pool's unique tokens; the paper takes 1 to 10."""

    @field_validator("budget")
    @classmethod
    def _check(cls, value: int | str) -> int:
        budget = parse_budget(value)
        if not isinstance(budget, int) or budget < 1:
            raise ConfigError(f"unimax.budget is a number of tokens, not a fraction, above 0: {value}")
        return budget


class UniMax(Static):
    """Even shares, but no pool above `max_epochs` of its unique tokens."""

    kind = "unimax"

    def __init__(self, settings: UniMaxSettings) -> None:
        self.settings: UniMaxSettings = settings

    def begin(self, pools: Sequence[PoolSupply]) -> None:
        """Share out the budget."""
        sizes = [pool.num_unique_tokens for pool in pools]
        self._weights = normalised(
            unimax_tokens(sizes, float(self.settings.budget), max_epochs=self.settings.max_epochs)
        )

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Give the shares of the budget."""
        return self._weights.copy()


def unimax_tokens(sizes: Sequence[int], budget: float, *, max_epochs: float) -> list[float]:
    """Share a budget out over pools of these sizes, the smallest first; all pools full is less than it."""
    tokens, left = [0.0] * len(sizes), budget
    order = sorted(range(len(sizes)), key=lambda pool: sizes[pool])
    for place, pool in enumerate(order):
        tokens[pool] = min(left / (len(order) - place), sizes[pool] * max_epochs)
        left -= tokens[pool]
    return tokens


class Fixed(Static):
    """Weights from a table that names every pool."""

    kind = "fixed"

    def __init__(self, table: Mapping[str, float]) -> None:
        self.table = dict(table)
        checked(list(self.table.values()), at="fixed")

    def begin(self, pools: Sequence[PoolSupply]) -> None:
        """Bring the table into the order of the pools."""
        self._weights = checked(by_pool(self.table, self.names, at="fixed"), at="fixed")

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Give the weights of the table."""
        return self._weights.copy()

    def state(self) -> dict[str, Any]:
        """Give the table with the rest."""
        return {**super().state(), "table": self.table}

    def load(self, state: dict[str, Any]) -> None:
        """Check that the state has this table."""
        check_header(state, self.state())


class Replay(Static):
    """Weights that were used before, by step; after the last one it stays, or is an error."""

    kind = "replay"

    def __init__(
        self, first_steps: Sequence[int], tables: Sequence[Mapping[str, float]], *, end_step: int | None
    ) -> None:
        """Take the blocks of a log.

        Args:
            first_steps: First step of each, growing.
            tables: Weights of each by pool; a pool that is not named has none.
            end_step: First step that has no weights any more; None repeats the last ones for ever.
        """
        if not tables:
            raise ConfigError("replay: the log has no blocks: 0")
        self.first_steps, self.tables, self.end_step = list(first_steps), list(tables), end_step

    def begin(self, pools: Sequence[PoolSupply]) -> None:
        """Nothing to do: tables are brought into the order of the pools when their step comes."""

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Give the weights of the logged block that the step is in, to the last bit.

        A pool of weight that is not here is an error.
        """
        if self.end_step is not None and first_step >= self.end_step:
            raise ConfigError(
                f"replay: the log ends before step {self.end_step}: {first_step}",
                hint="`after: hold` keeps the last weights",
            )
        if first_step < self.first_steps[0]:
            raise ConfigError(f"replay: the log begins at step {self.first_steps[0]}: {first_step}")
        table = self.tables[bisect_right(self.first_steps, first_step) - 1]
        named = {name: weight for name, weight in table.items() if weight != 0 or name in self.names}
        return np.array(by_pool({**dict.fromkeys(self.names, 0.0), **named}, self.names, at="replay"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a function of a user gets: all that was seen so far, in the order of `names`."""

    names: tuple[str, ...]
    natural: Floats
    """Shares of the planned tokens."""
    last_block: int
    """The last block that gave feedback; -1 before the first."""
    losses: Floats
    """Mean loss of each pool when it was last seen; NaN for one that never was."""
    counts: Floats
    """Tokens of each pool that gave feedback, in all blocks."""
    served: Floats
    """Tokens of each pool handed out up to the last block that gave feedback."""


Function = Callable[[int, int, Seen], Mapping[str, float] | Sequence[float] | Floats]
"""(block, first step, what was seen) -> weights, by name or in order; must depend on nothing else."""


class FromFunction(Static):
    """Weights from a function; exact resume holds where it depends on its arguments alone."""

    kind = "function"
    needs_feedback = True

    def __init__(self, function: Function) -> None:
        self.function = function

    def begin(self, pools: Sequence[PoolSupply]) -> None:
        """Nothing was seen yet."""
        size = len(self.names)
        self.last_block = -1
        self.losses, self.counts, self.served = np.full(size, math.nan), np.zeros(size), np.zeros(size)

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Ask the function; its weights are checked and scaled to the sum 1."""
        seen = Seen(
            names=tuple(self.names),
            natural=self.natural.copy(),
            last_block=self.last_block,
            losses=self.losses.copy(),
            counts=self.counts.copy(),
            served=self.served.copy(),
        )
        given = self.function(block, first_step, seen)
        at = f"weights of the function for block {block}"
        if isinstance(given, Mapping):
            given = by_pool(given, self.names, at=at)
        if len(given) != len(self.names):
            raise ConfigError(f"{at}: one for each of {len(self.names)} pools, not: {len(given)}")
        return checked(given, at=at)

    def update(self, block: int, losses: Floats, counts: Ints, served: Ints) -> None:
        """Remember what was seen; a loss that is not finite was not."""
        self.last_block = block
        self.losses = np.where(np.isfinite(losses), losses, self.losses)
        self.counts = self.counts + counts
        self.served = np.asarray(served, dtype=np.float64)

    def state(self) -> dict[str, Any]:
        """Give what was seen."""
        arrays = {key: pack(getattr(self, key)) for key in ("losses", "counts", "served")}
        return {**super().state(), "last_block": self.last_block, **arrays}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what was seen."""
        super().load(state)
        size = len(self.names)
        self.last_block = int(state["last_block"])
        self.losses, self.counts, self.served = (
            unpack(state, key, size) for key in ("losses", "counts", "served")
        )
