import pytest

from curate.errors import ConfigError
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
