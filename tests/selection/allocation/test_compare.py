import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.data_constrained import DataConstrained
from curate.laws.quality_quantity import QualityQuantity
from curate.selection.allocation import (
    Allocate,
    Comparison,
    Evidence,
    EvidencePool,
    Supply,
    allocate,
    write_evidence,
)
from curate.selection.allocation.candidates import MAX_NESTED, nested
from curate.selection.allocation.compare import compare
from curate.selection.allocation.comparison import best_of
from curate.selection.allocation.pools import pools_of
from curate.selection.allocation.predicting import predictor
from curate.selection.allocation.priors import prior_utilities
from curate.selection.allocation.utilities import Utilities

SIZE = 12_800_000
TIERS = [Supply(name=f"q{n}-{n + 10}", unique_tokens=SIZE, num_docs=1) for n in range(0, 40, 10)]
BUDGETS = [32_000_000, 64_000_000, 128_000_000, 640_000_000]
PRIOR = Allocate(rule="marginal", prior="qqt_tmars_imagenet", cap=1000)


def test_the_published_predictions_and_best_filters_are_met() -> None:
    """Goyal et al. 2024: accuracy of the best 10, 20, 30, 40 % from the published parameters."""
    found = compare(TIERS, BUDGETS[2], PRIOR, budgets=BUDGETS)
    published = {
        "top 10 %": [18.247, 24.621, 28.729, 31.176],
        "top 20 %": [15.836, 23.301, 29.600, 38.552],
        "top 30 %": [13.422, 20.398, 26.766, 37.565],
        "natural": [11.677, 17.989, 24.128, 35.136],
    }
    curves = {curve.name: curve.predicted for curve in found.curves}
    for name, accuracy in published.items():
        assert [100 * (1 - error) for error in curves[name]] == pytest.approx(accuracy, abs=6e-4)  # type: ignore[operator]
    assert found.best(nested=True) == ("top 10 %", "top 10 %", "top 20 %", "top 20 %")
    (crossing,) = found.filter_crossovers
    assert (crossing.before, crossing.after) == ("top 10 %", "top 20 %")
    assert 64e6 < crossing.tokens < 128e6
    at = compare(TIERS, BUDGETS[2], PRIOR, budgets=[round(crossing.tokens * f) for f in (0.99, 1.01)])
    assert at.best(nested=True) == ("top 10 %", "top 20 %")


def test_the_best_filter_widens_with_the_budget() -> None:
    found = compare(TIERS, "200M", PRIOR)
    order = ["top 10 %", "top 20 %", "top 30 %", "natural"]
    steps = [
        order.index(crossing.after) - order.index(crossing.before) for crossing in found.filter_crossovers
    ]
    assert len(steps) >= 2 and all(step > 0 for step in steps[1:])  # before the first all are the same error
    assert 200_000_000 in found.budgets and found.target_tokens == 200_000_000


def test_a_candidate_ends_where_its_caps_do() -> None:
    settings = Allocate(rule="marginal", prior="qqt_tmars_imagenet", cap=4)
    found = compare(TIERS, "40M", settings)
    curves = {curve.name: curve.predicted for curve in found.curves}
    for budget, first, last in zip(found.budgets, curves["top 10 %"], curves["natural"], strict=True):
        assert (first is None) == (budget > 4 * SIZE) and last is not None
    assert found.budgets[-1] == 16 * SIZE
    assert "-" in found.as_text().splitlines()[-8]


def test_under_the_data_constrained_law_no_candidate_beats_marginal(tmp_path: Path) -> None:
    """The model is small: a larger one is limited by different tokens, of which other plans may have more."""
    pools = tuple(
        EvidencePool(name=tier.name, unique_tokens=SIZE, utility=2.0 - 0.4 * n)
        for n, tier in enumerate(TIERS)
    )
    path = tmp_path / "e.json"
    write_evidence(Evidence(law=DataConstrained.published().to_json(), pools=pools), path)
    found = compare(TIERS, "60M", Allocate(rule="marginal", evidence=str(path), cap=20), params=1e4)
    curves = {curve.name: curve.predicted for curve in found.curves}
    marginal = curves.pop("marginal")
    for place, least in enumerate(marginal):
        assert least is not None
        for column in curves.values():
            value = column[place]
            assert value is None or least <= value * (1 + 1e-6)
    assert found.quality == "loss" and found.flops is not None
    assert found.flops[0] == 6 * 1e4 * found.budgets[0]


def test_equal_pools_leave_the_natural_mix_best_at_every_budget() -> None:
    found = compare(TIERS, "60M", Allocate(cap=8))
    assert set(found.best()) == {"natural"} and found.crossovers == ()
    assert "the same at all budgets" in found.as_text()


def test_losses_of_unrepeated_natural_tokens_are_those_of_the_law() -> None:
    utilities = prior_utilities("equal", [tier.name for tier in TIERS])
    unique = np.full(4, SIZE)
    predict, _, _ = predictor(utilities, unique, params=1e6, sample_tokens=1.0)
    law = DataConstrained.published()
    for passes in (0.5, 1.0, 3.0):
        tokens = np.full(4, round(passes * SIZE))
        expected = law.predict(1e6, float(tokens.sum()), 4.0 * SIZE)
        assert predict(tokens) == pytest.approx(float(expected), rel=1e-9)


def test_cutting_a_tier_into_sources_does_not_change_what_is_predicted() -> None:
    cut = [
        Supply(name=f"{source}/{tier.name}", unique_tokens=SIZE // 4, num_docs=1)
        for tier in TIERS
        for source in "abcd"
    ]
    there, back = (compare(each, "128M", PRIOR, budgets=BUDGETS) for each in (TIERS, cut))
    for one, other in zip(there.curves, back.curves, strict=True):
        assert one.name == other.name and one.predicted == pytest.approx(other.predicted, rel=1e-6)


def test_samples_of_many_tokens_are_fewer_samples() -> None:
    tiers = [Supply(name=t.name, unique_tokens=100 * SIZE, num_docs=1) for t in TIERS]
    there = compare(TIERS, BUDGETS[2], PRIOR, budgets=BUDGETS)
    back = compare(tiers, "12.8B", PRIOR, budgets=[100 * b for b in BUDGETS], sample_tokens=100)
    for one, other in zip(there.curves, back.curves, strict=True):
        assert one.predicted == pytest.approx(other.predicted, rel=1e-7)


def test_the_prior_is_read_at_equal_passes_whatever_the_size_of_the_corpus() -> None:
    small = [Supply(name=t.name, unique_tokens=SIZE // 100, num_docs=1) for t in TIERS]
    there = compare(TIERS, BUDGETS[2], PRIOR, budgets=BUDGETS)
    here = compare(small, BUDGETS[2] // 100, PRIOR, budgets=[b // 100 for b in BUDGETS])
    for one, other in zip(there.curves, here.curves, strict=True):
        assert one.predicted == pytest.approx(other.predicted, rel=1e-6)


def test_pools_that_are_no_tiers_are_joined_by_utility_and_thinned() -> None:
    pools = pools_of([Supply(name=f"p{n:03}", unique_tokens=10, num_docs=1) for n in range(100)], 4)
    strengths = np.arange(100, 0, -1.0)
    utilities = Utilities(source="s", decay="half_life", strengths=strengths, half_lives=np.ones(100))
    found = nested(pools, utilities)
    assert len(found) == MAX_NESTED and found[0][0] == "best 9 of 100 pools"
    for name, mask in found:
        assert int(name.split()[1]) == mask.sum() and mask[: mask.sum()].all()
    same = Utilities(source="s", decay="half_life", strengths=np.ones(100), half_lives=np.ones(100))
    assert nested(pools, same) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budgets": [5]}, "two or more whole numbers that grow"),
        ({"budgets": [5, 5]}, "two or more whole numbers that grow"),
        ({"budgets": [0, 5]}, "two or more whole numbers that grow"),
        ({"params": 0.0}, "params is a finite number above 0: 0.0"),
        ({"params": math.nan}, "params is a finite number above 0: nan"),
        ({"sample_tokens": -1.0}, "sample_tokens is a finite number above 0: -1.0"),
    ],
)
def test_nonsense_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(TIERS, "60M", PRIOR, **given)


def test_utilities_without_a_law_predict_nothing() -> None:
    utilities = Utilities(source="mine", decay="half_life", strengths=np.ones(1), half_lives=np.ones(1))
    with pytest.raises(ConfigError, match="no law predicts quality for utilities of: mine"):
        predictor(utilities, np.ones(1, dtype=np.int64), params=None, sample_tokens=1.0)


def test_a_comparison_is_read_back_and_nonsense_is_refused() -> None:
    found = compare(TIERS, "60M", PRIOR, params=1e9)
    value = json.loads(json.dumps(found.to_json()))
    assert Comparison.from_json(value) == found
    for wrong in (None, {**value, "format": 3}, {**value, "budgets": [1]}, {**value, "curves": 3}):
        with pytest.raises(DataError, match="comparison"):
            Comparison.from_json(wrong)


def test_of_equals_the_first_is_best_and_of_nothing_nothing() -> None:
    assert best_of({"a": None, "b": 1.0, "c": 1.0}) == "b"
    assert best_of({"a": None}) == ""


def test_a_single_pool_has_a_comparison() -> None:
    found = compare([Supply(name="a", unique_tokens=1, num_docs=1)], 1, Allocate(cap=1))
    assert found.budgets == (1, 2) and found.best() == ("natural", "")


def test_the_clean_form_has_the_crossover_too(tmp_path: Path) -> None:
    pools = tuple(
        EvidencePool(name=tier.name, unique_tokens=SIZE, utility=utility, half_life=life)
        for tier, utility, life in zip(
            TIERS, (-0.16, -0.125, -0.1, -0.085), (6.7273, 8.5455, 5.2727, 2.2727), strict=True
        )
    )
    law = QualityQuantity(
        pools=tuple(tier.name for tier in TIERS),
        utilities=(-0.16, -0.125, -0.1, -0.085),
        half_lives=(6.7273, 8.5455, 5.2727, 2.2727),
        scale=0.025,
    )
    path = tmp_path / "e.json"
    write_evidence(Evidence(law=law.to_json(), pools=pools), path)
    settings = Allocate(rule="marginal", evidence=str(path), cap=1000)
    assert allocate(TIERS, "64M", settings).decay == "half_life"
    found = compare(TIERS, "64M", settings, budgets=BUDGETS)
    assert found.best(nested=True) == ("top 10 %", "top 10 %", "top 20 %", "top 20 %")
