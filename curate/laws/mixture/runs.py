"""Runs on mixtures, checked: the shares of every pool and the losses on every target, a row for each run.

A table has a column `share.<pool>` for each pool and `loss.<target>` for each target; other columns (a name
of the run, steps, sizes) are left alone. Shares of a row sum to 1, give or take `SUM_TOLERANCE`, which is
what rounding to three digits makes of 17 pools; they are used as they are.

Cost: copies of the columns. Not here: laws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.fitting import positive
from curate.laws.law import columns_of
from curate.laws.parameters import Floats

SHARE = "share."
"""Before the name of a pool, in names of columns."""
LOSS = "loss."
"""Before the name of a target, in names of columns."""
SUM_TOLERANCE = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureRuns:
    """What was trained on, and what came out."""

    pools: tuple[str, ...]
    targets: tuple[str, ...]
    shares: Floats
    """Shape [runs, pools]; rows sum to 1 within `SUM_TOLERANCE`."""
    losses: Floats
    """Shape [runs, targets]; above 0."""

    def __post_init__(self) -> None:
        different(self.pools, "pool")
        different(self.targets, "target")
        object.__setattr__(self, "shares", checked_shares(self.shares, self.pools))
        losses = np.asarray(self.losses, dtype=np.float64)
        if losses.shape != (len(self.shares), len(self.targets)):
            raise DataError(f"losses have a row a run and a column a target: {losses.shape}")
        for at, target in enumerate(self.targets):
            bad = np.flatnonzero(~np.isfinite(losses[:, at]))
            if len(bad):
                raise DataError(
                    f"runs: {LOSS}{target} of row {bad[0]} is not a finite number: {losses[bad[0], at]}"
                )
            positive({LOSS + target: losses[:, at]}, [LOSS + target])
        object.__setattr__(self, "losses", losses)

    @property
    def num_runs(self) -> int:
        """Rows."""
        return len(self.shares)

    def take(self, rows: npt.NDArray[np.int64]) -> "MixtureRuns":
        """Some of the runs."""
        return MixtureRuns(
            pools=self.pools, targets=self.targets, shares=self.shares[rows], losses=self.losses[rows]
        )

    def of_targets(self, targets: Sequence[str]) -> "MixtureRuns":
        """The same runs with some of the targets.

        Raises:
            ConfigError: a target is unknown.
        """
        places = [place_of(target, self.targets, "target") for target in targets]
        return MixtureRuns(
            pools=self.pools, targets=tuple(targets), shares=self.shares, losses=self.losses[:, places]
        )

    def target(self, name: str) -> Floats:
        """Losses on one target, shape [runs].

        Raises:
            ConfigError: the target is unknown.
        """
        return np.asarray(self.losses[:, place_of(name, self.targets, "target")])

    def table(self) -> pl.DataFrame:
        """The runs as a table that `runs_of` reads."""
        columns = {SHARE + pool: self.shares[:, at] for at, pool in enumerate(self.pools)}
        columns |= {LOSS + target: self.losses[:, at] for at, target in enumerate(self.targets)}
        return pl.DataFrame(columns)


def different(names: Sequence[str], what: str, *, at: str = "runs") -> None:
    """Refuse an empty list of names, or one with a name twice.

    Raises:
        DataError: names it.
    """
    if not names:
        raise DataError(f"{at}: there is no {what}", hint=f"columns are named {SHARE}POOL and {LOSS}TARGET")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not name:
            raise DataError(f"{at}: a {what} has a name: {name!r}")
        if name in seen:
            raise DataError(f"{at}: a {what} stands twice: {name}")
        seen.add(name)


def place_of(name: str, names: Sequence[str], what: str) -> int:
    """Where a name stands.

    Raises:
        ConfigError: it is unknown.
    """
    if name not in names:
        raise ConfigError(f"there is no {what} {name}", hint=f"there are {', '.join(names)}")
    return tuple(names).index(name)


def checked_shares(shares: npt.ArrayLike, pools: Sequence[str], *, at: str = "runs") -> Floats:
    """Take shares of shape [runs, pools], or [pools] for one run.

    Raises:
        DataError: another shape, no row, a share that is negative or not finite, or a sum that is not 1.
    """
    try:
        found = np.atleast_2d(np.asarray(shares, dtype=np.float64))
    except (TypeError, ValueError) as exc:
        raise DataError(f"{at}: shares are numbers: {shares!r:.80}") from exc
    if found.ndim != 2 or found.shape[1] != len(pools):
        raise DataError(f"{at}: there is a share for each of {len(pools)} pools: shape {found.shape}")
    if not len(found):
        raise DataError(f"{at}: there is no row")
    bad = np.argwhere(~(np.isfinite(found) & (found >= 0)))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{at}: the share of {pools[column]} in row {row} is not between 0 and 1: {found[row, column]}"
        )
    sums = found.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if len(off):
        raise DataError(
            f"{at}: shares of row {off[0]} sum to 1, not to: {sums[off[0]]:.6g}",
            hint="give the shares of all pools, as fractions",
        )
    return found


def shares_of(frame: pl.DataFrame, pools: Sequence[str] | None = None, *, at: str = "runs") -> Floats:
    """Take the columns of shares of a table, by name; None takes all there are.

    Raises:
        DataError: a pool has no column, there is a column of a pool that is not in `pools`, or as
            `checked_shares`.
    """
    there = [name.removeprefix(SHARE) for name in frame.columns if name.startswith(SHARE)]
    names = there if pools is None else list(pools)
    different(names, "pool", at=at)
    if unknown := [name for name in there if name not in names]:
        raise DataError(
            f"{at}: the law does not know the pool {unknown[0]}", hint=f"it knows {', '.join(names)}"
        )
    columns = columns_of(frame, [SHARE + name for name in names], at=at)
    return checked_shares(np.stack(list(columns.values()), axis=1), names, at=at)


def runs_of(
    frame: pl.DataFrame, *, targets: Sequence[str] | None = None, pools: Sequence[str] | None = None
) -> MixtureRuns:
    """Read a table of runs.

    Args:
        frame: Columns `share.<pool>` and `loss.<target>`.
        targets: Which losses; each may be the name of a column, too. None takes all `loss.` columns.
        pools: Which pools; None takes all `share.` columns.

    Raises:
        DataError: a column is missing or has a wrong value; names column, row and value.
    """
    names = pools_named(frame) if pools is None else list(pools)
    if targets is None:
        targets = [name.removeprefix(LOSS) for name in frame.columns if name.startswith(LOSS)]
    different(targets, "target")
    columns = [name if name in frame.columns else LOSS + name for name in targets]
    losses = columns_of(frame, columns)
    return MixtureRuns(
        pools=tuple(names),
        targets=tuple(name.removeprefix(LOSS) for name in targets),
        shares=shares_of(frame, names),
        losses=np.stack(list(losses.values()), axis=1),
    )


def pools_named(frame: pl.DataFrame) -> list[str]:
    """Pools that a table has shares of, in the order of its columns."""
    return [name.removeprefix(SHARE) for name in frame.columns if name.startswith(SHARE)]
