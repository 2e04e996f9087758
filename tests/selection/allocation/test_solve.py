import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate.errors import ConfigError, DataError
from curate.selection.allocation import Allocate, Allocation, Evidence, EvidencePool, Supply, allocate
from curate.selection.allocation.evidence import write_evidence
from curate.selection.allocation.utilities import Utilities

POOLS = [
    Supply(name=f"web/q{n}-{n + 10}", unique_tokens=1000 + n, num_docs=5, content=f"{n:032x}")
    for n in range(0, 100, 10)
]
LAW = {
    "law": "log_linear",
    "format": 1,
    "pools": [pool.name for pool in POOLS],
    "targets": ["a", "b"],
    "constants": [0.1, 0.2],
    "slopes": [[-1.0 + 0.1 * n for n in range(10)], [0.3 * (n % 3) for n in range(10)]],
}


def law_file(folder: Path, **changes: Any) -> str:
    path = folder / "law.json"
    path.write_text(json.dumps({**LAW, **changes}))
    return str(path)


def settings_of(rule: str, folder: Path) -> Allocate:
    more: dict[str, Any] = {
        "fixed": {"weights": {pool.name: 0.1 for pool in POOLS}},
        "marginal": {"prior": "qqt_tmars_imagenet"},
        "mixture": {"law": law_file(folder)},
    }.get(rule, {})
    return Allocate(rule=rule, **more)  # type: ignore[arg-type]


RULES = ("natural", "stratified", "temperature", "unimax", "fixed", "marginal", "mixture")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("target", [1, 999, 12345, 41_800])
def test_every_rule_gives_the_target_under_the_caps_whatever_the_order(
    rule: str, target: int, tmp_path: Path
) -> None:
    settings = settings_of(rule, tmp_path)
    plan = allocate(POOLS, target, settings)
    assert sum(plan.tokens) == target and math.isclose(sum(plan.share), 1)
    assert all(0 <= n <= 4 * pool.unique_tokens for n, pool in zip(plan.tokens, POOLS, strict=True))
    mixed = list(POOLS)
    random.Random(3).shuffle(mixed)
    assert allocate(mixed, target, settings) == plan
    assert json.dumps(allocate(mixed, target, settings).to_json()) == json.dumps(plan.to_json())
    for name in ("natural", "stratified"):
        assert sum(plan.baselines[name]) == target
    assert plan.values[rule] == 1.0 and Allocation.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("rule", RULES)
def test_a_budget_beyond_the_caps_is_refused_by_every_rule(rule: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="all 10 pools at the cap give 41800 tokens") as info:
        allocate(POOLS, 83_600, settings_of(rule, tmp_path))
    hint = "raise the cap from 4 to 8, or find 2 times the tokens, or lower the budget to 41800"
    assert info.value.hint == hint


def test_marginal_is_worth_most_and_says_what_it_rests_on(tmp_path: Path) -> None:
    plan = allocate(POOLS, 10_000, settings_of("marginal", tmp_path))
    assert plan.valued_by == "prior qqt_tmars_imagenet"
    assert plan.values["natural"] < 1 and plan.values["stratified"] < 1
    assert [shift.change for shift in plan.sensitivity] == [
        "utility ratios x 0.8",
        "utility ratios x 1.25",
        "half lives x 0.5",
        "half lives x 2",
    ]
    assert plan.sensitivity[2].moved > 0
    assert plan.level is not None and plan.level > 0
    text = plan.as_text()
    assert "how sure" in text and "not measured on these pools" in text and "web/q0-10" in text


def test_marginal_refuses_without_utilities_and_says_how_to_get_them() -> None:
    with pytest.raises(ConfigError, match="neither evidence nor a prior is given") as info:
        allocate(POOLS, 100, Allocate(rule="marginal"))
    assert "curate laws fit" in str(info.value.hint) and "equal or qqt_tmars_imagenet" in str(info.value.hint)


def test_mixture_refuses_without_a_law() -> None:
    with pytest.raises(ConfigError, match="neither evidence nor a law is given"):
        allocate(POOLS, 100, Allocate(rule="mixture"))


def test_a_mixture_prefers_pools_of_low_slopes_and_a_large_divergence_keeps_the_natural_mix(
    tmp_path: Path,
) -> None:
    path = law_file(tmp_path)
    near = allocate(POOLS, 1000, Allocate(rule="mixture", law=path, kl=1e6))
    assert max(abs(a - b) for a, b in zip(near.tokens, near.baselines["natural"], strict=True)) <= 1
    far = allocate(POOLS, 1000, Allocate(rule="mixture", law=path, kl=0.01))
    assert far.tokens[0] > 2 * far.baselines["natural"][0] and far.tokens[-1] < 20
    assert [shift.change for shift in far.sensitivity] == [
        "slopes x 0.8",
        "slopes x 1.25",
        "kl x 0.5",
        "kl x 2",
    ]
    one = law_file(tmp_path, weights=[0.0, 1.0])
    second = allocate(POOLS, 1000, Allocate(rule="mixture", law=one, kl=0.01))
    # The same slope on the second target: only the natural mix tells them apart.
    assert second.tokens[0] / 1000 == pytest.approx(second.tokens[3] / 1030, rel=0.01)


def test_a_mixture_by_evidence_follows_content_not_names(tmp_path: Path) -> None:
    pools = tuple(
        EvidencePool(name=each.name, unique_tokens=each.unique_tokens, content=each.content) for each in POOLS
    )
    path = tmp_path / "e.json"
    write_evidence(Evidence(law=LAW, pools=pools), path)
    by_name = allocate(POOLS, 1000, Allocate(rule="mixture", law=law_file(tmp_path)))
    renamed = [
        Supply(
            name=f"r{9 - n}", unique_tokens=each.unique_tokens, num_docs=each.num_docs, content=each.content
        )
        for n, each in enumerate(POOLS)
    ]
    found = allocate(renamed, 1000, Allocate(rule="mixture", evidence=str(path)))
    assert found.tokens[::-1] == by_name.tokens
    with pytest.raises(ConfigError, match="the evidence has a law of mixtures"):
        allocate(renamed, 1000, Allocate(rule="marginal", evidence=str(path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"law": "bivariate"}, "needs a law 'log_linear'"),
        ({"pools": LAW["pools"][:9]}, "slopes are a list for each target of 9 numbers"),  # type: ignore[index]
        ({"pools": ["x", *LAW["pools"][1:]]}, "the law does not know these pools: 'web/q0-10'"),  # type: ignore[index]
        ({"slopes": [["a"] * 10]}, "slopes are a list for each target of 10 numbers"),
        ({"weights": [0.5, 0.6]}, "weights are a share for each of 2 targets, sum 1"),
        ({"weights": [1.0]}, "weights are a share for each of 2 targets, sum 1"),
    ],
)
def test_nonsense_in_a_law_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        allocate(POOLS, 100, Allocate(rule="mixture", law=law_file(tmp_path, **changes)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cap": 0}, "above 0, cap is: 0"),
        ({"cap": math.nan}, "above 0, cap is: nan"),
        ({"cap": {"a": -1}}, "above 0, a is: -1"),
        ({"rule": "fixed"}, "needs them; the rule is: fixed"),
        ({"weights": {"a": 1.0}}, "the rule is: natural"),
        ({"rule": "fixed", "weights": {"a": 0.5, "b": 0.6}}, "whose sum is 1, not: 1.1"),
        ({"rule": "fixed", "weights": {"a": 1.5, "b": -0.5}}, "not below 0: -0.5"),
        ({"rule": "fixed", "weights": {"a": math.nan}}, "not below 0: nan"),
        ({"rule": "marginal", "prior": "equal", "evidence": "e.json"}, "not from both: e.json and equal"),
        ({"law": "l.json"}, "a law by name is for the rule mixture"),
        ({"temperature": 0}, "greater than 0"),
        ({"kl": math.inf}, "finite"),
        ({"rule": "best"}, "natural"),
        ({"cups": 4}, "cups"),
    ],
)
def test_nonsense_in_settings_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Allocate(**given)


def test_a_pool_held_back_by_its_cap_is_named() -> None:
    weights = {pool.name: 0.5 if n == 0 else 0.5 / 9 for n, pool in enumerate(POOLS)}
    plan = allocate(POOLS, 10_000, Allocate(rule="fixed", weights=weights))
    assert any("'web/q0-10' is asked for 0.5 and gives 0.4" in text for text in plan.warnings)
    assert plan.full()[0] and not any(plan.full()[1:])
    assert "4*" in plan.as_text()


def test_utilities_that_are_not_above_zero_are_refused() -> None:
    import numpy as np

    with pytest.raises(ConfigError, match="half_lives are finite and above 0: 0"):
        Utilities(source="s", decay="half_life", strengths=np.ones(1), half_lives=np.zeros(1))
    with pytest.raises(ConfigError, match="strengths are finite and above 0: nan"):
        Utilities(source="s", decay="half_life", strengths=np.array([math.nan]), half_lives=np.ones(1))


@pytest.mark.parametrize(
    "value", [None, {}, {"kind": "allocation", "format": 9}, {"kind": "allocation", "format": 1}]
)
def test_what_is_no_allocation_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="allocation"):
        Allocation.from_json(value)


def test_an_allocation_that_does_not_add_up_is_refused() -> None:
    value = allocate(POOLS, 100, Allocate()).to_json()
    value["pools"]["tokens"][0] += 1
    with pytest.raises(DataError, match="add up to 101, not to 100"):
        Allocation.from_json(value)
