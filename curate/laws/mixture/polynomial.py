"""Losses as a polynomial of the shares, linear or quadratic: the baselines that other laws must beat.

Fitted by least squares with the least norm, so that many pools and few runs still have an answer; it is
exact for planted polynomials as far as the runs tell them apart. The linear one is RegMix's baseline (Liu
et al. 2024, arXiv:2407.01492).

Cost: one singular value decomposition, milliseconds. Not here: laws with a floor (log_linear.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError
from curate.laws.law import Fitted, Json, known_settings
from curate.laws.mixture.runs import MixtureRuns, checked_shares, runs_of
from curate.laws.mixture.targets import (
    OverPools,
    check_rows,
    check_shape,
    check_values,
    names_of,
    target_weights,
    too_few,
)
from curate.laws.parameters import Floats

MAX_POOLS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Polynomial(OverPools, Json):
    """Losses as sums of shares and of their products."""

    name: ClassVar[str] = "polynomial"
    columns: ClassVar[tuple[str, ...]] = ("share.*", "loss.*")

    pools: tuple[str, ...]
    targets: tuple[str, ...]
    degree: int
    """1 is linear, 2 quadratic."""
    intercepts: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]
    """A row a target: one for each pool, then of degree 2 one for each pair i <= j."""
    weights: tuple[float, ...] | None = None
    """Of the targets in the objective; None is their mean."""

    def __post_init__(self) -> None:
        check_shape(self.name, self.pools, self.targets, self.weights)
        if self.degree not in (1, 2):
            raise ConfigError(f"{self.name}.degree is 1 or 2: {self.degree}")
        check_values(self.name, "intercepts", self.intercepts, self.targets)
        width = _terms(np.zeros((1, len(self.pools))), self.degree).shape[1]
        check_rows(self.name, "coefficients", self.coefficients, self.targets, width)

    def predict(self, shares: npt.ArrayLike) -> Floats:
        """Losses of mixtures: from shape [runs, pools] to [runs, targets]."""
        terms = _terms(checked_shares(shares, self.pools), self.degree)
        return np.asarray(np.array(self.intercepts) + terms @ np.array(self.coefficients).T)

    @classmethod
    def fit_table(
        cls, frame: pl.DataFrame, *, targets: Sequence[str] | None = None, **settings: Any
    ) -> Fitted[Self]:
        """Fit a table with columns `share.<pool>` and `loss.<target>`; see `fit`."""
        return cls.fit(runs_of(frame, targets=names_of(targets)), **known_settings(cls.fit, settings))

    @classmethod
    def fit(
        cls, runs: MixtureRuns, *, degree: int = 1, weights: Mapping[str, float] | None = None
    ) -> Fitted[Self]:
        """Fit all targets by least squares.

        Raises:
            ConfigError: the degree is not 1 or 2, or there are too many pools.
        """
        if degree not in (1, 2) or len(runs.pools) > MAX_POOLS:
            raise ConfigError(
                f"{cls.name} has degree 1 or 2 and at most {MAX_POOLS} pools: {degree}, {len(runs.pools)}"
            )
        terms = _terms(runs.shares, degree)
        middle, level = terms.mean(axis=0), runs.losses.mean(axis=0)
        found = np.linalg.lstsq(terms - middle, runs.losses - level, rcond=None)
        coefficients, rank = found[0], int(found[2])
        law = cls(
            pools=runs.pools,
            targets=runs.targets,
            degree=degree,
            intercepts=tuple((level - middle @ coefficients).tolist()),
            coefficients=tuple(tuple(row) for row in coefficients.T.tolist()),
            weights=target_weights(weights, runs.targets),
        )
        notes = too_few(runs)
        free = {1: len(runs.pools) - 1, 2: terms.shape[1] - len(runs.pools)}[degree]
        if rank < free:
            notes += (f"the runs tell {rank} of {free} terms apart; coefficients are those of least norm",)
        return Fitted(law=law, fits={}, notes=notes)


def _terms(shares: Floats, degree: int) -> Floats:
    """Shares, and for degree 2 their products, side by side."""
    if degree == 1:
        return shares
    rows, columns = np.triu_indices(shares.shape[1])
    return np.concatenate([shares, shares[:, rows] * shares[:, columns]], axis=1)
