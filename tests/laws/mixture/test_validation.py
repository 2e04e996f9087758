"""Cross-validation: every run predicted once, by a law that has not seen it."""

import numpy as np
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.polynomial import Polynomial
from curate.laws.mixture.runs import MixtureRuns
from curate.laws.mixture.validation import cross_validate, held_out, mean_spearman
from tests.laws.mixture.planted import LAW, runs_with


def test_the_right_law_orders_held_out_runs_better_than_the_baseline() -> None:
    runs = runs_with(LAW, 60, noise=0.01)
    good = cross_validate(runs, lambda some: LogLinear.fit(some).law)
    base = cross_validate(runs, lambda some: Polynomial.fit(some).law)
    assert mean_spearman(good) > mean_spearman(base)
    assert all(good[target].mean_abs_error < base[target].mean_abs_error for target in LAW.targets)
    assert "60 runs" in good["prose"].as_text()


def test_folds_are_disjoint_and_cover_all_runs() -> None:
    runs, seen = runs_with(LAW, 23), []

    def remember(some: MixtureRuns) -> LogLinear:
        seen.append({tuple(row) for row in some.shares.tolist()})
        return LAW

    found = cross_validate(runs, remember, folds=4)
    everything = {tuple(row) for row in runs.shares.tolist()}
    left = [everything - some for some in seen]
    assert sum(map(len, left)) == 23 and set().union(*left) == everything
    assert found["prose"].spearman == pytest.approx(1) and found["prose"].mean_abs_error < 1e-12


def test_equal_predictions_have_no_rank() -> None:
    runs = runs_with(LAW, 10)
    flat = MixtureRuns(pools=runs.pools, targets=("t",), shares=runs.shares, losses=np.ones((10, 1)))
    found = held_out(Polynomial.fit(flat).law, flat)
    assert found["t"].spearman is None and mean_spearman(found) is None and "none" in found["t"].as_text()


def test_too_few_runs_and_folds_are_refused() -> None:
    with pytest.raises(ConfigError, match="folds are 2 to the number of runs, 10: 11"):
        cross_validate(runs_with(LAW, 10), lambda some: LAW, folds=11)
    with pytest.raises(DataError, match="cross-validation with 2 folds leaves too little: 5 parameters"):
        cross_validate(runs_with(LAW, 8), lambda some: LogLinear.fit(some).law, folds=2)
