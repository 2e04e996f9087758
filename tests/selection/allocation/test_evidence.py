import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import ConfigError, DataError
from curate.selection.allocation import Allocate, Evidence, EvidencePool, Supply, allocate
from curate.selection.allocation.evidence import evidence_from_json, read_evidence, write_evidence
from curate.selection.allocation.fitted import fitted_utilities
from curate.selection.allocation.pools import pools_of

QUALITY = {
    "law": "quality_quantity",
    "format": 1,
    "pools": ["x"],
    "utilities": [-0.1],
    "half_lives": [4.0],
    "scale": 0.025,
}


def content(number: int) -> str:
    return f"{number % 2**128:032x}"


def pool(
    name: str, tokens: int, number: int | None, utility: float = -0.1, life: float = 4.0
) -> EvidencePool:
    found = None if number is None else content(number)
    return EvidencePool(name=name, unique_tokens=tokens, content=found, utility=utility, half_life=life)


def supply(name: str, tokens: int, number: int | None = None) -> Supply:
    return Supply(
        name=name, unique_tokens=tokens, num_docs=1, content=None if number is None else content(number)
    )


EVIDENCE = Evidence(
    law=QUALITY,
    pools=(
        pool("web/q0-10", 100, 5, -0.2, 8.0),
        pool("web/q10-20", 300, 2**128 - 2, -0.1, 4.0),
        pool("wiki", 50, 77, -0.3, 2.0),
        pool("code", 50, None, -0.05, 1.0),
    ),
    unions=(("wiki", "web/q0-10"),),
)


def strengths(*supplies: Supply) -> list[float]:
    pools = pools_of(supplies, 4)
    found = fitted_utilities(EVIDENCE, pools)
    return list(found.strengths.tolist())


def test_a_renamed_pool_keeps_its_evidence() -> None:
    assert strengths(supply("encyclopedia", 50, 77)) == [0.3]


def test_a_union_of_the_pools_below_a_name_gets_the_means_by_tokens() -> None:
    found = fitted_utilities(EVIDENCE, pools_of([supply("everything", 400, 3)], 4))  # 5 - 2 modulo 2^128
    assert found.strengths.tolist() == pytest.approx([(100 * 0.2 + 300 * 0.1) / 400])
    assert found.half_lives.tolist() == pytest.approx([(100 * 8 + 300 * 4) / 400])


def test_a_listed_union_is_recognised_and_no_other() -> None:
    assert strengths(supply("best", 150, 82)) == pytest.approx([(100 * 0.2 + 50 * 0.3) / 150])
    with pytest.raises(ConfigError, match=r"no evidence that applies to 1 pools: 'mixed'"):
        strengths(supply("mixed", 350, 75))  # wiki and web/q10-20: not listed


def test_by_name_only_where_there_is_no_content_to_compare() -> None:
    assert strengths(supply("code", 60, 1234)) == [0.05]
    assert strengths(supply("wiki", 60)) == [0.3]
    with pytest.raises(ConfigError, match=r"of that name was measured with other documents: 'wiki'") as info:
        strengths(supply("wiki", 60, 78), supply("code", 10))
    assert "curate laws fit" in str(info.value.hint) and "prior: equal" in str(info.value.hint)
    warnings = fitted_utilities(EVIDENCE, pools_of([supply("wiki", 60)], 4)).warnings
    assert "by name" in warnings[0] and "'wiki'" in warnings[0]


def test_files_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    interval = EvidencePool(
        name="a", unique_tokens=7, utility=-0.2, half_life=3.0, interval=(-0.3, -0.1), content=content(9)
    )
    evidence = Evidence(law=QUALITY, pools=(interval, *EVIDENCE.pools), unions=EVIDENCE.unions)
    write_evidence(evidence, path)
    back = read_evidence(path)
    assert back.pools == tuple(sorted(evidence.pools, key=lambda pool: pool.name))
    assert (back.unions, back.law) == (evidence.unions, evidence.law)
    assert back.source == str(path)


def changed(**changes: Any) -> dict[str, Any]:
    value = json.loads(json.dumps(EVIDENCE.to_json()))
    for key, part in changes.items():
        if key in value:
            value[key] = part
        else:
            value["pools"]["wiki"][key] = part
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (changed(format=2), "the format of an evidence is 1, not: 2"),
        (
            changed(half_life=0),
            "evidence on pool 'wiki': a half life is a finite number of epochs above 0: 0",
        ),
        (changed(half_life=-1.0), "above 0: -1.0"),
        (changed(utility=0), "a utility is finite and not 0: 0"),
        (changed(utility=float("nan")), "a utility is finite and not 0: nan"),
        (changed(utility="high"), "file: pools.wiki: a number is wanted, not: 'high'"),
        (changed(unique_tokens=-3), "unique_tokens is above 0, not: -3"),
        (changed(unique_tokens=1.5), "unique_tokens is a whole number, not: 1.5"),
        (changed(interval=[-0.2, -0.1]), "an interval [-0.2, -0.1] holds the utility: -0.3"),
        (changed(interval=[1]), "an interval is two numbers or null, not: [1]"),
        (changed(content="zz"), "a content is 32 hexadecimal digits or null, not: 'zz'"),
        (changed(quality=1), "unknown keys: 'quality'"),
        (changed(pools={}), "there are: 0"),
        (changed(pools=[]), "pools is a table by name"),
        (changed(law=3), "has a name under `law`: 3"),
        (changed(unions=[["nobody"]]), "a union has a pool that is not there: 'nobody'"),
        (changed(unions="wiki"), "unions is a list of lists of names"),
        ([], "a table is wanted, not: []"),
        ({"format": 1}, "missing keys: 'law', 'pools'"),
    ],
)
def test_nonsense_in_a_file_is_named(value: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        evidence_from_json(value, source="file")


def test_a_utility_of_the_wrong_sign_and_a_law_without_utilities_are_refused() -> None:
    bad = Evidence(law=QUALITY, pools=(pool("a", 5, None, utility=0.1),), source="f.json")
    with pytest.raises(ConfigError, match=r"of the law quality_quantity is below 0, of pool 'a' it is: 0.1"):
        fitted_utilities(bad, pools_of([supply("a", 5)], 4))
    law = {"law": "chinchilla", "format": 1}
    law |= {"ln_a": 6.0, "ln_b": 7.0, "ln_e": 0.6, "alpha": 0.35, "beta": 0.35}
    other = Evidence(law=law, pools=(pool("a", 5, None),))
    with pytest.raises(ConfigError, match="not from: chinchilla"):
        fitted_utilities(other, pools_of([supply("a", 5)], 4))


def test_the_law_of_the_file_chooses_the_decay(tmp_path: Path) -> None:
    from curate.laws.data_constrained import DataConstrained

    law = DataConstrained.published().to_json()
    pools = (
        EvidencePool(name="a", unique_tokens=100, utility=2.0),
        EvidencePool(name="b", unique_tokens=100, utility=1.0),
    )
    path = tmp_path / "e.json"
    write_evidence(Evidence(law=law, pools=pools), path)
    supplies = [supply("a", 100), supply("b", 100)]
    plan = allocate(supplies, 200, Allocate(rule="marginal", evidence=str(path)))
    # A repeat of the first is worth 2 exp(-x / 15.4), more than a fresh token of the other.
    assert plan.decay == "data_constrained" and plan.tokens == (200, 0)
    stepwise = allocate(supplies, 200, Allocate(rule="marginal", evidence=str(path), decay="half_life"))
    assert stepwise.decay == "half_life"
    write_evidence(Evidence(law=QUALITY, pools=EVIDENCE.pools), path)
    plan = allocate([supply("w", 50, 77)], 60, Allocate(rule="marginal", evidence=str(path)))
    assert plan.decay == "half_life" and plan.marginal == pytest.approx((0.3 * 0.5**0.5,))


def test_intervals_are_looked_at_by_the_sensitivity_table(tmp_path: Path) -> None:
    pools = (
        EvidencePool(name="a", unique_tokens=100, utility=-0.2, half_life=4.0, interval=(-0.25, -0.1)),
        EvidencePool(name="b", unique_tokens=100, utility=-0.15, half_life=4.0),
    )
    path = tmp_path / "e.json"
    write_evidence(Evidence(law=QUALITY, pools=pools), path)
    plan = allocate([supply("a", 100), supply("b", 100)], 100, Allocate(rule="marginal", evidence=str(path)))
    changes = {shift.change: shift for shift in plan.sensitivity}
    assert changes["a at its weak end"].moved == 1.0 and changes["a at its strong end"].moved == 0.0
    assert "utilities at the weak ends of their intervals" in changes
    assert not any("b at its" in change for change in changes)
    assert np.isclose(sum(share for _, share, _ in changes["a at its weak end"].pools), 1)
