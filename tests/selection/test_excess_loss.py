import json
import math
from pathlib import Path

import numpy as np
import pytest

from curate.errors import ConfigError, DataError
from curate.selection.excess_loss import clipped_excess, doremi_weights
from tests.selection.mixing import give, started

EXCESS = [[0.5, 0.1, -0.2, 0.3], [0.4, 0.2, 0.0, 0.1], [0.1, 0.6, 0.0, 0.2]]
WEIGHTS = [
    [0.3229680461207403, 0.21657437553218625, 0.19598838941478472, 0.2644691889322886],
    [0.3901144604325251, 0.2142936092597775, 0.15883665628271848, 0.23675527402497884],
    [0.33949435045519155, 0.30748949017206756, 0.12523038642242318, 0.2277857729503177],
]
AVERAGE = [0.35085895233615233, 0.2461191583213438, 0.1600184773733088, 0.24300341196919506]
REFERENCE = {"p0000": 0.0, "p0001": 0.0, "p0002": 0.0, "p0003": 0.0}


@pytest.mark.parametrize("name", ["excess_loss", "doremi"])
def test_the_weights_are_the_known_ones(name: str) -> None:
    mixer = started({name: {"reference": REFERENCE}}, [9, 1, 1, 1])
    assert mixer.weights(0, 0, 1).tolist() == [0.25] * 4
    for block, excess in enumerate(EXCESS):
        weights = give(mixer, block, dict(enumerate(excess)), 4)
        assert weights == pytest.approx(WEIGHTS[block], rel=1e-12)


def test_the_average_is_the_known_one() -> None:
    mixer = started({"excess_loss": {"reference": REFERENCE, "average": True}}, [9, 1, 1, 1])
    for block, excess in enumerate(EXCESS):
        weights = give(mixer, block, dict(enumerate(excess)), 4)
    assert weights == pytest.approx(AVERAGE, rel=1e-12)


def test_a_second_known_case_and_the_reference_is_subtracted() -> None:
    reference = {"p0000": 2.0, "p0001": 3.0, "p0002": 1.0}
    mixer = started({"excess_loss": {"reference": reference, "smoothing": 1e-3}}, [1, 1, 1])
    first = give(mixer, 0, {0: 2.3, 1: 3.1, 2: 0.8}, 3)
    assert first == pytest.approx([0.39064, 0.31989, 0.28948], abs=1e-5)


def test_a_pool_that_was_not_seen_counts_with_its_last_excess() -> None:
    mixers = [started({"excess_loss": {"reference": REFERENCE}}, [1] * 4) for _ in range(2)]
    for mixer in mixers:
        give(mixer, 0, {0: 0.5, 1: 0.1, 2: 0.0, 3: 0.3}, 4)
    assert (
        give(mixers[0], 1, {0: 0.5, 1: 0.2}, 4).tolist()
        == give(mixers[1], 1, {0: 0.5, 1: 0.2, 2: 0.0, 3: 0.3}, 4).tolist()
    )


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"p0000": 1.0}, "leaves out pools: 'p0001'"),
        ({"p0000": 1.0, "p0001": 1.0, "web": 2.0}, "no pool is named 'web'; there are: 'p0000', 'p0001'"),
        ({"p0000": 1.0, "p0001": float("inf")}, "a loss is finite: 'p0001' has inf"),
    ],
)
def test_a_wrong_reference_is_named(reference: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        started({"excess_loss": {"reference": reference}}, [1, 1])


def test_offline_weights_are_the_known_ones() -> None:
    found = doremi_weights(EXCESS)
    assert found.after_each == pytest.approx(np.array(WEIGHTS), rel=1e-12)
    assert found.average == pytest.approx(AVERAGE, rel=1e-12)


def test_the_second_known_case_clips_each_token_before_the_mean() -> None:
    tokens, domains = [0.5, 0.1, -0.4, 0.2, -0.3, -0.1], [0, 0, 1, 1, 2, 2]
    excess = clipped_excess(tokens, [0.0] * 6, domains, 3)
    assert excess == pytest.approx([0.3, 0.1, 0.0])
    found = doremi_weights([excess, excess])
    assert found.after_each[0] == pytest.approx([0.39064, 0.31989, 0.28948], abs=6e-6)
    assert found.after_each[1] == pytest.approx([0.45045, 0.30211, 0.24744], abs=6e-6)
    # The mean of B's tokens is below 0: clipped after the mean B would have nothing.
    assert np.mean(tokens[2:4]) < 0 < excess[1]


def test_offline_and_online_are_one_update() -> None:
    draw = np.random.default_rng(0)
    table = draw.normal(0.1, 0.5, (20, 4))
    table[draw.random((20, 4)) < 0.3] = math.nan
    offline = doremi_weights(table, eta=0.7, smoothing=0.01)
    mixer = started({"excess_loss": {"reference": REFERENCE, "eta": 0.7, "smoothing": 0.01}}, [1] * 4)
    for block, row in enumerate(table):
        seen = {pool: value for pool, value in enumerate(row.tolist()) if not math.isnan(value)}
        weights = give(mixer, block, seen, 4)
        assert weights == pytest.approx(offline.after_each[block], rel=1e-14)


def test_offline_weights_begin_where_they_are_told() -> None:
    found = doremi_weights([[0.0, 0.0]], start=[3, 1], smoothing=0.1)
    assert found.average == pytest.approx([0.9 * 0.75 + 0.05, 0.9 * 0.25 + 0.05])


def test_the_published_weights_are_a_fixed_mix() -> None:
    path = Path(__file__).parents[1] / "golden" / "doremi" / "pile_280M_paper.json"
    table = json.loads(path.read_text("utf-8"))
    assert table["Pile-CC"] == 0.6057
    names = {f"p{at:04}": weight for at, weight in enumerate(table.values())}
    weights = started({"fixed": names}, [1] * len(names)).weights(0, 0, 1)
    assert weights == pytest.approx(np.array(list(table.values())) / sum(table.values()))


def test_a_domain_without_tokens_has_no_excess() -> None:
    found = clipped_excess([1.0], [0.5], [1], 3)
    assert found[1] == 0.5 and np.isnan(found[[0, 2]]).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: doremi_weights([0.1, 0.2]), DataError, r"\(2,\)"),
        (lambda: doremi_weights([[0.1, math.inf]]), DataError, "domain 1 at step 0 is infinite"),
        (lambda: doremi_weights([[0.1, 0.2]], eta=0), ConfigError, "eta .*: 0, 0.001"),
        (lambda: doremi_weights([[0.1, 0.2]], smoothing=2), ConfigError, "1.0, 2"),
        (lambda: doremi_weights([[0.1, 0.2]], start=[1, 0]), ConfigError, r"\[1, 0\]"),
        (lambda: doremi_weights([[0.1, 0.2]], start=[1, 2, 3]), ConfigError, r"each of 2 domains"),
        (lambda: doremi_weights([[0.1, 0.2]], start=[1, -2]), ConfigError, "-2"),
        (lambda: clipped_excess([1.0], [math.nan], [0], 1), DataError, "token 0 are finite: 1.0, nan"),
        (lambda: clipped_excess([1.0], [1.0, 2.0], [0], 1), DataError, "same tokens"),
        (lambda: clipped_excess([1.0], [1.0], [3], 2), DataError, "from 0 to 1: 3"),
        (lambda: clipped_excess([1.0], [1.0], [0.5], 2), DataError, "float64"),
    ],
)
def test_nonsense_offline_is_named(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
