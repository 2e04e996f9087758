"""Rank metrics: identities, SciPy's answers, and which proxy decides as the target does."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from curate.errors import ConfigError, DataError
from curate.laws import ranking

small = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=12)


@given(small)
def test_decision_accuracy_is_the_share_of_pairs_counted_one_by_one(points: list[tuple[int, int]]) -> None:
    proxy, target = zip(*points, strict=True)
    pairs = list(itertools.combinations(points, 2))
    alike = sum((a[0] - b[0]) * (a[1] - b[1]) > 0 for a, b in pairs)
    tied = sum((a[0] - b[0]) * (a[1] - b[1]) == 0 for a, b in pairs)
    found = {ties: (alike + add) / len(pairs) for ties, add in (("half", tied / 2), ("wrong", 0))}
    for ties, wanted in found.items():
        assert ranking.decision_accuracy(proxy, target, ties=ties) == pytest.approx(wanted)
    if tied < len(pairs):
        assert ranking.decision_accuracy(proxy, target, ties="skip") == pytest.approx(
            alike / (len(pairs) - tied)
        )
    tau = ranking.kendall_a(proxy, target)
    assert ranking.decision_accuracy(proxy, target) == pytest.approx((tau + 1) / 2)


@given(small)
def test_correlations_are_those_of_scipy(points: list[tuple[int, int]]) -> None:
    proxy, target = zip(*points, strict=True)
    assume(len(set(proxy)) > 1 and len(set(target)) > 1)
    found = ranking.agreement(proxy, target)
    assert found.kendall_b == pytest.approx(stats.kendalltau(proxy, target, variant="b")[0], abs=1e-12)
    assert found.spearman == pytest.approx(stats.spearmanr(proxy, target)[0], abs=1e-12)
    assert found.spearman_x100 == 100 * found.spearman
    if len(points) > 2:
        assert found.pearson == pytest.approx(stats.pearsonr(proxy, target)[0], abs=1e-12)
    pairs = itertools.combinations(points, 2)
    assert found.num_tied == sum(a[0] == b[0] or a[1] == b[1] for a, b in pairs)


def test_without_ties_all_three_rules_and_both_taus_agree() -> None:
    draw = np.random.default_rng(3)
    proxy, target = draw.normal(size=25), draw.normal(size=25)
    answers = {ranking.decision_accuracy(proxy, target, ties=ties) for ties in ranking.TIES}
    assert len(answers) == 1
    assert ranking.kendall_a(proxy, target) == pytest.approx(ranking.kendall_b(proxy, target))


@given(st.permutations(range(8)))
def test_reversing_the_proxy_reverses_every_decision(order: list[int]) -> None:
    there = ranking.decision_accuracy(order, range(8))
    assert ranking.decision_accuracy([-each for each in order], range(8)) == pytest.approx(1 - there)
    assert ranking.decision_accuracy(order, [3 * each + 1 for each in range(8)]) == there


def test_values_at_the_ends_of_floats_correlate() -> None:
    assert ranking.pearson([1e-300, 2e-300, 3e-300], [1e200, 2e200, 3e200]) == pytest.approx(1.0)


def recipes(noise: float, seed: int) -> dict[str, float]:
    draw = np.random.default_rng(seed)
    return {f"r{at:02}": at + draw.normal(0, noise) for at in range(20)}


def test_the_least_noisy_proxy_is_named_and_losses_are_turned() -> None:
    target = {f"r{at:02}": float(at) for at in range(20)}
    proxies = {"150M": recipes(3.0, 1), "20M": recipes(12.0, 2), "loss": recipes(0.1, 3)}
    proxies["loss"] = {name: -value for name, value in proxies["loss"].items()}
    found = ranking.rank_proxies(proxies, target, lower_is_better=["loss"])
    assert [each.name for each in found.proxies] == ["loss", "150M", "20M"]
    assert found.best.share_best > 0.9
    assert sum(each.share_best for each in found.proxies) == pytest.approx(1.0)
    for each in found.proxies:
        assert each.low <= each.agreement.decision_accuracy <= each.high
    assert found == ranking.rank_proxies(proxies, target, lower_is_better=["loss"])
    assert "over 20 recipes" in found.as_text() and "loss" in found.as_text()
    turned = {name: -value for name, value in target.items()}
    same = ranking.rank_proxies(proxies, turned, lower_is_better=["loss"], target_lower_is_better=True)
    assert same.proxies == found.proxies


def test_equal_proxies_share_the_lead_and_a_copy_of_a_recipe_is_no_pair() -> None:
    target = {"a": 1.0, "b": 2.0, "c": 3.0}
    found = ranking.rank_proxies({"x": target, "y": target}, target, bootstrap=50)
    assert [(each.share_best, each.low, each.high) for each in found.proxies] == [(0.5, 1.0, 1.0)] * 2


def test_the_interval_of_decision_accuracy_holds_the_truth() -> None:
    """Truth: proxy and target with correlation .8 order a pair alike with 1/2 + asin(.8)/pi."""
    truth, draw, inside = 0.5 + math.asin(0.8) / math.pi, np.random.default_rng(0), 0
    for seed in range(100):
        target = draw.normal(size=40)
        proxy = 0.8 * target + 0.6 * draw.normal(size=40)
        names = [f"{at}" for at in range(40)]
        found = ranking.rank_proxies(
            {"p": dict(zip(names, proxy, strict=True))},
            dict(zip(names, target, strict=True)),
            bootstrap=200,
            seed=seed,
        )
        inside += found.best.low <= truth <= found.best.high
    assert 80 <= inside <= 97


def test_seed_noise_is_the_planted_one() -> None:
    draw = np.random.default_rng(5)
    scores = np.linspace(0.4, 0.6, 50)[:, None] + draw.normal(0, 0.01, (50, 30))
    found = ranking.seed_noise(scores)
    assert found.seed_std == pytest.approx(0.01, rel=0.05)
    assert found.signal_to_noise == pytest.approx(50, rel=0.06)
    assert found.gap == pytest.approx(0.2 / 3 * 51 / 49, rel=0.05)
    assert found.gap_to_noise == pytest.approx(found.gap / found.seed_std)
    alone = ranking.seed_noise([[0.5, 0.5, 0.5]])
    assert alone.signal_to_noise == math.inf and math.isnan(alone.gap) and math.isnan(alone.gap_to_noise)


def test_monotonicity_is_1_for_a_rising_curve_and_0_for_a_flat_one() -> None:
    assert ranking.monotonicity([0.1, 0.2, 0.4]) == 1
    assert ranking.monotonicity([0.4, 0.2, 0.1]) == -1
    assert ranking.monotonicity([0.25, 0.25, 0.25]) == 0
    assert ranking.monotonicity([1, 3, 2, 4]) == pytest.approx(stats.kendalltau(range(4), [1, 3, 2, 4])[0])


def test_the_interval_over_items_is_that_of_a_share() -> None:
    items = np.repeat([0.0, 1.0], 200)
    low, high = ranking.item_interval(items)
    assert low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ranking.decision_accuracy([1.0], [2.0]), DataError, "2 to 10000 recipes: 1"),
        (lambda: ranking.decision_accuracy([1, math.nan], [2, 3]), DataError, "proxy of row 1 is not a fin"),
        (lambda: ranking.decision_accuracy([1, 2, 3], [2, 3]), DataError, "different lengths"),
        (lambda: ranking.decision_accuracy([1, 1], [2, 3], ties="skip"), DataError, "every pair of 2"),
        (lambda: ranking.decision_accuracy([1, 2], [2, 3], ties="some"), ConfigError, "half, skip, wrong"),  # type: ignore[arg-type]
        (lambda: ranking.spearman([1, 1], [2, 3]), DataError, "all 2 recipes have the same proxy: 1.0"),
        (lambda: ranking.kendall_b([1, 2], [3, 3]), DataError, "all 2 recipes have the same target: 3.0"),
        (lambda: ranking.rank_proxies({}, {"a": 1}), DataError, "needs at least 3|there is no proxy"),
        (
            lambda: ranking.rank_proxies({"p": {"a": 1, "b": 2, "x": 3}}, {"a": 1, "b": 2, "c": 3}),
            DataError,
            "proxy 'p' lacks 'c': 1 recipes are missing, 1 are not",
        ),
        (
            lambda: ranking.rank_proxies({"p": {"a": 1, "b": math.nan, "c": 2}}, {"a": 1, "b": 2, "c": 3}),
            DataError,
            "'p' of recipe 'b' is not a finite number: nan",
        ),
        (
            lambda: ranking.rank_proxies({"p": {"a": 1}}, {"a": 1, "b": math.inf, "c": 3}),
            DataError,
            "'target' of recipe 'b' is not a finite number: inf",
        ),
        (lambda: ranking.rank_proxies({"p": {}}, {}, level=1.5), ConfigError, "1.5"),
        (lambda: ranking.rank_proxies({"p": {}}, {}, lower_is_better=["q"]), ConfigError, "'q'"),
        (lambda: ranking.rank_proxies({"p": {"a": 1}}, {"a": 1}), DataError, "at least 3: 1"),
        (lambda: ranking.seed_noise([[1.0]]), DataError, r"at least 2 seeds: \(1, 1\)"),
        (lambda: ranking.seed_noise([[1.0, math.inf]]), DataError, "recipe 0, seed 1 is not a finite"),
        (lambda: ranking.monotonicity([]), DataError, "there is no row"),
        (lambda: ranking.item_interval([1.0], bootstrap=3), ConfigError, "at least 20"),
    ],
)
def test_nonsense_is_named(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
