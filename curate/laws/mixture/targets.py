"""What laws of several targets share: the objective, its weights, names, and checks of their parameters.

A law of mixtures predicts a loss for each target; its objective, which is what the best mixture minimises, is
the mean of them, or a weighted mean. Not here: runs (runs.py).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.mixture.runs import MixtureRuns, different, shares_of
from curate.laws.parameters import Floats

WEIGHTS_TOLERANCE = 1e-9


class MixtureLaw(Protocol):
    """A law that predicts losses from shares of pools."""

    @property
    def pools(self) -> tuple[str, ...]:
        """Names in the order of the shares."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names in the order of the losses."""

    @property
    def weights(self) -> tuple[float, ...] | None:
        """Of the targets in the objective."""

    def predict(self, shares: npt.ArrayLike) -> Floats:
        """From shape [runs, pools] to losses of shape [runs, targets]."""

    def objective(self, shares: npt.ArrayLike) -> Floats:
        """What the best mixture minimises, shape [runs]."""


class OverPools:
    """The objective and the tables of a law of mixtures."""

    __slots__ = ()

    def objective(self: MixtureLaw, shares: npt.ArrayLike) -> Floats:
        """Weighted mean of the losses on the targets, shape [runs]."""
        return weighted(self.predict(shares), self.weights)

    def predict_table(self: MixtureLaw, frame: pl.DataFrame) -> Floats:
        """The objective of each row of a table with columns `share.<pool>`."""
        return self.objective(shares_of(frame, self.pools, at="points"))

    def predict_targets(self: MixtureLaw, frame: pl.DataFrame) -> dict[str, Floats]:
        """The loss on each target, one value a row."""
        losses = self.predict(shares_of(frame, self.pools, at="points"))
        return {target: losses[:, at] for at, target in enumerate(self.targets)}


def weighted(losses: Floats, weights: Sequence[float] | None) -> Floats:
    """Mean over targets of shape [runs, targets]."""
    return np.asarray(losses.mean(axis=1) if weights is None else losses @ np.array(weights))


def names_of(names: Sequence[str] | str | None) -> list[str] | None:
    """Names that may have come as text with commas, as on the command line."""
    if isinstance(names, str):
        return [name.strip() for name in names.split(",")]
    return None if names is None else list(names)


def target_weights(weights: Mapping[str, float] | None, targets: Sequence[str]) -> tuple[float, ...] | None:
    """Weights in the order of the targets, made to sum to 1.

    Raises:
        ConfigError: a target is missing or unknown, or a weight is negative or not finite.
    """
    if weights is None:
        return None
    for name in [*weights, *targets]:
        if name not in targets or name not in weights:
            raise ConfigError(
                f"weights name every target once, not so: {name}", hint=f"targets are {', '.join(targets)}"
            )
    try:
        values = np.array([weights[name] for name in targets], dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"weights of targets are numbers: {dict(weights)!r:.80}") from exc
    if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise ConfigError(f"weights of targets are not below 0 and not all 0: {dict(weights)!r:.80}")
    return tuple((values / values.sum()).tolist())


def enough(num_pools: int) -> int:
    """Runs that suffice for the order of mixtures to hold: three for each parameter (Olmix)."""
    return 3 * (num_pools + 1)


def too_few(runs: MixtureRuns) -> tuple[str, ...]:
    """A sentence where there are fewer runs than suffice."""
    wanted = enough(len(runs.pools))
    if runs.num_runs >= wanted:
        return ()
    return (
        f"{runs.num_runs} runs of {len(runs.pools)} pools are few: 3 (pools + 1) or more are right, {wanted}",
    )


def check_shape(
    law: str, pools: Sequence[str], targets: Sequence[str], weights: Sequence[float] | None
) -> None:
    """Check names and weights of a law of mixtures.

    Raises:
        ConfigError: a name stands twice or is missing, or weights are not shares of the targets.
    """
    try:
        different(pools, "pool", at=law)
        different(targets, "target", at=law)
    except DataError as exc:
        raise ConfigError(str(exc)) from exc
    if weights is None:
        return
    finite(law, "weights", weights)
    off = len(weights) != len(targets) or min(weights) < 0
    if off or abs(math.fsum(weights) - 1) > WEIGHTS_TOLERANCE:
        raise ConfigError(
            f"{law}.weights are shares of {len(targets)} targets, sum 1: {tuple(weights)!r:.80}"
        )


def check_rows(law: str, key: str, rows: Sequence[Sequence[float]], names: Sequence[str], width: int) -> None:
    """Check a matrix of parameters: a row for each name, finite numbers.

    Raises:
        ConfigError: names law, key, row and what was found.
    """
    if len(rows) != len(names):
        raise ConfigError(f"{law}.{key} has a row for each of {len(names)}: {len(rows)}")
    for name, row in zip(names, rows, strict=True):
        if len(row) != width:
            raise ConfigError(f"{law}.{key} of {name} has {width} numbers: {len(row)}")
        finite(law, f"{key} of {name}", row)


def check_values(law: str, key: str, values: Sequence[float], names: Sequence[str]) -> None:
    """Check one parameter for each name.

    Raises:
        ConfigError: names law, key and what was found.
    """
    if len(values) != len(names):
        raise ConfigError(f"{law}.{key} has a value for each of {len(names)}: {len(values)}")
    finite(law, key, values)


def finite(law: str, key: str, values: Sequence[float]) -> None:
    """Refuse values that are not finite numbers.

    Raises:
        ConfigError: names law, key and value.
    """
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"{law}.{key} are finite numbers: {value!r}")
