"""How well a law of mixtures orders runs it has not seen: cross-validation by target.

Runs are dealt into folds by a seeded shuffle; each fold is predicted by the law fitted on the others.
Reported are Spearman's rank correlation, as RegMix (Liu et al. 2024, arXiv:2407.01492), and the mean
absolute error, over all runs together.

Cost: one fit a fold. Not here: decision accuracy between scales (laws/ranking.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from curate.errors import ConfigError, DataError
from curate.laws.mixture.runs import MixtureRuns
from curate.laws.mixture.targets import MixtureLaw
from curate.laws.ranking import spearman

FitLaw = Callable[[MixtureRuns], MixtureLaw]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Quality of predictions for runs that were not fitted."""

    num_runs: int
    spearman: float | None
    """None where all predictions, or all losses, are equal."""
    mean_abs_error: float

    def as_text(self) -> str:
        """One line."""
        rank = "none" if self.spearman is None else f"{100 * self.spearman:.2f}"
        return (
            f"Spearman x 100 {rank:>6}, mean absolute error {self.mean_abs_error:.4g}, {self.num_runs} runs"
        )


def held_out(law: MixtureLaw, runs: MixtureRuns) -> dict[str, HeldOut]:
    """Compare a law with runs that it was not fitted on, by target."""
    return _compare(runs, law.predict(runs.shares))


def cross_validate(
    runs: MixtureRuns, fit_law: FitLaw, *, folds: int = 5, seed: int = 42
) -> dict[str, HeldOut]:
    """Fit on all folds but one, predict that one, for each.

    Raises:
        ConfigError: there are fewer than two folds, or more than runs.
        DataError: a fit on some of the runs is not possible.
    """
    if not 2 <= folds <= runs.num_runs:
        raise ConfigError(f"folds are 2 to the number of runs, {runs.num_runs}: {folds}")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(runs.num_runs)
    predicted = np.empty_like(runs.losses)
    for fold in range(folds):
        rows = np.sort(order[fold::folds])
        others = np.setdiff1d(np.arange(runs.num_runs), rows)
        try:
            law = fit_law(runs.take(others))
        except DataError as exc:
            raise DataError(
                f"cross-validation with {folds} folds leaves too little: {exc}", hint=exc.hint
            ) from exc
        predicted[rows] = law.predict(runs.shares[rows])
    return _compare(runs, predicted)


def _compare(runs: MixtureRuns, predicted: np.ndarray) -> dict[str, HeldOut]:
    found = {}
    for at, target in enumerate(runs.targets):
        given, told = runs.losses[:, at], predicted[:, at]
        bad = np.flatnonzero(~np.isfinite(told))
        if len(bad):
            raise DataError(f"the prediction of {target} for row {bad[0]} is not finite: {told[bad[0]]}")
        is_flat = np.ptp(given) == 0 or np.ptp(told) == 0
        rank = None if is_flat else spearman(told, given)
        found[target] = HeldOut(runs.num_runs, rank, float(np.abs(told - given).mean()))
    return found


def mean_spearman(found: Mapping[str, HeldOut]) -> float | None:
    """Mean over the targets that have one."""
    values = [each.spearman for each in found.values() if each.spearman is not None]
    return float(np.mean(values)) if values else None
