from itertools import pairwise

import numpy as np
import pytest

from curate.errors import ConfigError
from curate.selection.allocation.priors import LEAST, prior_utilities, tier_of


def strengths(*names: str) -> list[float]:
    return prior_utilities("qqt_tmars_imagenet", names).strengths.tolist()


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("q0-10", (0.0, 0.1)),
        ("web/q10-20", (0.1, 0.2)),
        ("a/b/q2.5-5", (0.025, 0.05)),
        ("web", None),
        ("webq0-10", None),
        ("q20-10", None),
        ("q50-150", None),
    ],
)
def test_tiers_are_read_from_names(name: str, tier: tuple[float, float] | None) -> None:
    assert tier_of(name) == (None if tier is None else pytest.approx(tier))


def test_published_deciles_are_given_as_published() -> None:
    found = prior_utilities("qqt_tmars_imagenet", ["q0-10", "q10-20", "q20-30", "q30-40"])
    assert found.strengths.tolist() == pytest.approx([0.16, 0.125, 0.1, 0.085])
    assert found.half_lives.tolist() == pytest.approx([6.7273, 8.5455, 5.2727, 2.2727])
    assert found.decay == "half_life" and len(found.warnings) == 1


def test_other_tiers_get_the_mean_over_their_range() -> None:
    assert strengths("q0-20", "q5-15", "q0-40") == pytest.approx([0.1425, 0.1425, 0.1175])


def test_beyond_the_published_tiers_the_line_is_continued_and_said_so() -> None:
    found = prior_utilities("qqt_tmars_imagenet", ["q30-50", "q40-50", "q50-60", "q90-100", "q95-100"])
    assert found.strengths[:3].tolist() == pytest.approx([(0.085 + 0.07) / 2, 0.07, 0.055])
    assert LEAST < found.strengths[3] < 0.005 and found.strengths[4] == pytest.approx(LEAST)
    assert found.half_lives[1:].tolist() == pytest.approx([2.2727] * 4)
    assert "5 pools lie beyond" in found.warnings[1] and "extrapolated" in found.warnings[1]


def test_utility_falls_with_the_quantile_everywhere() -> None:
    found = strengths(*(f"q{n}-{n + 1}" for n in range(100)))
    assert all(a + 1e-12 >= b > 0 for a, b in pairwise(found))
    assert np.mean(found) == pytest.approx(strengths("q0-100")[0])


def test_what_is_no_prior_or_no_tier_is_refused() -> None:
    with pytest.raises(ConfigError, match="no prior 'best'") as info:
        prior_utilities("best", ["a"])
    assert "equal, qqt_tmars_imagenet" in str(info.value.hint)
    with pytest.raises(ConfigError, match="this pool is none: 'web'"):
        strengths("web/q0-10", "web")


def test_equal_pools_fade_as_published() -> None:
    found = prior_utilities("equal", ["a", "b"])
    assert found.strengths.tolist() == [1.0, 1.0] and found.repeats() == pytest.approx([15.387756] * 2)
