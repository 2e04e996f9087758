"""Mixtures of sources, and the features of them that projektor's first stage is linear in.

Columns of a table are named `share.<source>`; shares of a row sum to 1. Cost: copies. Not here: the law
(transport.py).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.parameters import Floats

Form = Literal["reduced", "full", "published"]
FORMS = ("reduced", "full", "published")
SHARE = "share."
"""Before the name of a source, in names of columns."""
SUM_TOLERANCE = 1e-6
MAX_GRID = 1_000_000
"""Mixtures that `simplex_grid` gives at most."""


@dataclass(frozen=True, slots=True)
class Term:
    """A feature: share of a source (or 1) to a power, with or without the transport cost."""

    source: int | None
    power: int
    has_distance: bool

    def value(self, shares: Floats, distances: Floats) -> Floats:
        """Of each mixture."""
        part = np.ones(len(shares)) if self.source is None else shares[:, self.source] ** self.power
        return np.asarray(part * distances if self.has_distance else part)

    def named(self, sources: Sequence[str]) -> str:
        """Such as `share.web^2 x distance`."""
        share = "" if self.source is None else SHARE + sources[self.source]
        share += f"^{self.power}" if self.power > 1 else ""
        return " x ".join([*([share] if share else []), *(["distance"] if self.has_distance else [])]) or "1"


def terms(num_sources: int, form: Form) -> tuple[Term, ...]:
    """The features of a form."""
    kept = range(num_sources - 1)
    squares = range(num_sources) if form == "full" and num_sources > 2 else kept
    found = []
    for has_distance in (True, False):
        found += [Term(None, 0, has_distance), *(Term(at, 1, has_distance) for at in kept)]
        if has_distance or form != "published":
            found += [Term(at, 2, has_distance) for at in squares]
    return tuple(found)


def checked_shares(shares: npt.ArrayLike, sources: Sequence[str], *, at: str = "mixtures") -> Floats:
    """Take shares of shape [mixtures, sources] that sum to 1.

    Raises:
        DataError: names row, source and value.
    """
    found = np.atleast_2d(np.asarray(shares, dtype=np.float64))
    if found.ndim != 2 or found.shape[1] != len(sources) or not len(found):
        raise DataError(f"{at}: there is a share for each of {len(sources)} sources: shape {found.shape}")
    bad = np.argwhere(~(np.isfinite(found) & (found >= 0)))
    if len(bad):
        row, column = bad[0].tolist()
        raise DataError(
            f"{at}: the share of {sources[column]} in row {row} is not between 0 and 1: {found[row, column]}"
        )
    sums = found.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if len(wrong):
        raise DataError(f"{at}: shares of row {wrong[0]} sum to 1: {sums[wrong[0]]:.9g}")
    return found


def checked_distances(values: npt.ArrayLike, count: int) -> Floats:
    """Take a transport cost for each mixture; one number stands for all.

    Raises:
        DataError: numbers differ, or a cost is not finite.
    """
    found = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if found.shape == (1,) and count > 1:
        found = np.repeat(found, count)
    if found.shape != (count,):
        raise DataError(f"there is one distance for each of {count} mixtures: shape {found.shape}")
    if not np.isfinite(found).all():
        raise DataError(f"distance of row {int(np.argmin(np.isfinite(found)))} is not a finite number")
    return found


def source_names(frame: pl.DataFrame) -> tuple[str, ...]:
    """Names of the sources of a table with columns `share.<source>`.

    Raises:
        DataError: there are fewer than two.
    """
    found = tuple(name.removeprefix(SHARE) for name in frame.columns if name.startswith(SHARE))
    if len(found) < 2:
        raise DataError(
            f"mixtures: two or more columns are named {SHARE}SOURCE: {len(found)}",
            hint=f"the table has {', '.join(frame.columns) or 'no columns'}",
        )
    return found


def simplex_grid(num_sources: int, steps: int = 10) -> Floats:
    """All mixtures whose shares are multiples of 1 / steps; shape [mixtures, sources].

    Raises:
        ConfigError: there would be more than `MAX_GRID` of them, or fewer than two sources.
    """
    if num_sources < 2 or steps < 1:
        raise ConfigError(f"a grid has two or more sources and one or more steps: {num_sources}, {steps}")
    count = math.comb(steps + num_sources - 1, num_sources - 1)
    if count > MAX_GRID:
        raise ConfigError(f"a grid has at most {MAX_GRID} mixtures: {count}", hint="take fewer steps")
    bars = np.array(list(itertools.combinations(range(steps + num_sources - 1), num_sources - 1)))
    edges = np.concatenate(
        [np.full((count, 1), -1), bars, np.full((count, 1), steps + num_sources - 1)], axis=1
    )
    return np.asarray((np.diff(edges, axis=1) - 1) / steps)
