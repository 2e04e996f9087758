"""What a mixer of pools is, and what all mixers share: tables by pool, sums that add up to 1, saved states.

A mixer gives the weights of a block of steps as a pure function of the feedback it has seen. Pools without
tokens get no weight from any mixer that is not told otherwise. Sums are exactly rounded (`math.fsum`) and
functions are applied number by number, so that weights do not depend on the order of the pools.

Cost: about a millisecond a block for 1,000 pools. Not here: the mixers (fixed.py, schedule.py, bandit.py,
odm.py, ucb.py, excess_loss.py), what a name stands for (mixers.py), caps (supply.py).
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from curate.errors import ConfigError, StateError
from curate.schema import Settings

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

STATE_FORMAT = 1
MAX_LOSS = 100.0
"""Losses are cut to this size, in nats a token: no vocabulary has exp(100) tokens."""
NUM_NAMED = 8
"""Names that an error lists."""


class PoolSupply(Protocol):
    """What a mixer knows of a pool."""

    @property
    def name(self) -> str:
        """Name of the pool."""

    @property
    def num_tokens(self) -> int:
        """Planned tokens of one epoch, repeats counted."""

    @property
    def num_unique_tokens(self) -> int:
        """Planned tokens, each document once."""


@runtime_checkable
class Mixer(Protocol):
    """Gives the weights of blocks of steps."""

    needs_feedback: bool

    def start(self, pools: Sequence[PoolSupply], weights: Floats) -> None:
        """Take the pools and their natural weights, before the first block."""

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Give the weights of a block: finite, not below 0, sum 1; all 0 where no pool has tokens."""

    def update(self, block: int, losses: Floats, counts: Ints, served: Ints) -> None:
        """Learn from a block, in the order of blocks.

        Args:
            block: Number of the block.
            losses: Mean loss of each pool in it; what is not finite was not seen.
            counts: Tokens of each pool that gave feedback.
            served: Tokens of each pool handed out so far.
        """

    def state(self) -> dict[str, Any]:
        """Give all that later weights depend on, as JSON values that survive JSON exactly."""

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state; the mixer was made with the same settings and started with its pools."""


def normalised(values: Sequence[float] | Floats) -> Floats:
    """Scale what is finite and not below 0 to the sum 1; zeros stay zeros, and all zeros stay so."""
    greatest = max(map(float, values), default=0.0)
    if greatest <= 0:
        return np.zeros(len(values))
    parts = [float(value) / greatest for value in values]
    total = math.fsum(parts)
    return np.array([part / total for part in parts])


def softmax(values: Sequence[float]) -> list[float]:
    """Give exp(value), scaled to the sum 1; differences above 745 give 0."""
    greatest = max(values)
    parts = [math.exp(value - greatest) for value in values]
    total = math.fsum(parts)
    return [part / total for part in parts]


def checked(values: Sequence[float] | Floats, *, at: str) -> Floats:
    """Check and scale weights that somebody gave.

    Raises:
        ConfigError: A weight is negative or not finite, or all are 0.
    """
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        wrong = next(float(value) for value in array if not (math.isfinite(value) and value >= 0))
        raise ConfigError(f"{at}: a weight is finite and not below 0: {wrong}")
    if not array.any():
        raise ConfigError(f"{at}: a weight must be above 0, all are: 0")
    return normalised(array)


def check_names(given: Sequence[str] | Mapping[str, Any], names: Sequence[str], *, at: str) -> None:
    """Refuse names that are no pools.

    Raises:
        ConfigError: A name is not among `names`.
    """
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ConfigError(f"{at}: no pool is named {listed(unknown)}; there are: {listed(sorted(names))}")


def by_pool(table: Mapping[str, float], names: Sequence[str], *, at: str) -> list[float]:
    """Bring a table that names every pool into the order of `names`.

    Raises:
        ConfigError: A name is unknown, or a pool is left out.
    """
    check_names(table, names, at=at)
    missing = sorted(set(names) - set(table))
    if missing:
        raise ConfigError(
            f"{at} leaves out pools: {listed(missing)}", hint=f"name every pool, as in `{missing[0]}: 0`"
        )
    return [float(table[name]) for name in names]


def listed(names: Sequence[str]) -> str:
    """Write the first names, and how many more there are."""
    more = len(names) - NUM_NAMED
    text = ", ".join(map(repr, names[:NUM_NAMED]))
    return text + (f" and {more} more" if more > 0 else "")


def header(mixer: str, settings: Settings | None, names: Sequence[str]) -> dict[str, Any]:
    """Give what every state begins with."""
    dumped = json.loads(settings.model_dump_json()) if settings is not None else {}
    return {"format": STATE_FORMAT, "mixer": mixer, "settings": dumped, "pools": list(names)}


def check_header(state: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a state of another mixer, other settings or other pools.

    Raises:
        StateError: The first field that differs, with both values.
    """
    for key, value in wanted.items():
        if state.get(key) != value:
            raise StateError(f"the state of the mixer has another {key}: {state.get(key)!r}, not {value!r}")


def pack(values: Floats) -> list[float | None]:
    """Write numbers as JSON values; NaN is null."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def unpack(state: Mapping[str, Any], key: str, size: int) -> Floats:
    """Read what `pack` wrote.

    Raises:
        StateError: It is not a list of `size` numbers.
    """
    values = state.get(key)
    if not isinstance(values, list) or len(values) != size:
        raise StateError(f"the state of the mixer has no {size} numbers as {key}: {str(values)[:80]}")
    try:
        return np.array([math.nan if value is None else float(value) for value in values])
    except (TypeError, ValueError) as exc:
        raise StateError(f"the state of the mixer has what is no number in {key}: {exc}") from exc


def unpack_count(state: Mapping[str, Any], key: str, *, least: int = 0) -> int:
    """Read a whole number.

    Raises:
        StateError: It is not one, or below `least`.
    """
    value = state.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise StateError(f"the state of the mixer has no whole number from {least} as {key}: {value!r}")
    return value
