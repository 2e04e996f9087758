import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.selection.odm import exploration
from tests.reference import mixtures
from tests.selection.mixing import give, started

DRAWS = [(0, 4.0), (1, 3.0), (2, 2.0), (0, 3.8), (1, 2.9), (2, 1.9), (0, 3.6), (1, 2.8)]
PAPER = [
    *[[0.3333333333, 0.3333333333, 0.3333333333]] * 3,
    [0.3440140202, 0.3292628815, 0.3267230984],
    [0.3469562028, 0.3356621343, 0.3173816629],
    [0.3461183236, 0.3328982328, 0.3209834436],
    [0.362704935, 0.3247707231, 0.3125243419],
    [0.3567168396, 0.3368738796, 0.3064092808],
]
GROUPS = [[4.0, 3.0, 2.0], [3.9, 2.9, 1.9], [3.8, 2.8, 1.8], [3.7, 2.7, 1.7], [3.6, 2.6, 1.6]]
GROUP_UPDATE = [
    *[[0.3333333333, 0.3333333333, 0.3333333333]] * 3,
    [0.3639611073, 0.3251570532, 0.3108818395],
    [0.3957680672, 0.3166659819, 0.287565951],
]


def test_the_paper_s_form_gives_the_known_policies() -> None:
    mixer = started("odm", [1, 1, 1])
    for block, (pool, loss) in enumerate(DRAWS):
        assert give(mixer, block, {pool: loss}, 3) == pytest.approx(PAPER[block], abs=1e-10)


def test_the_code_s_group_update_gives_the_known_policies() -> None:
    mixer = started({"odm": {"form": "group_update"}}, [1, 1, 1])
    for block, losses in enumerate(GROUPS):
        assert give(mixer, block, dict(enumerate(losses)), 3) == pytest.approx(GROUP_UPDATE[block], abs=1e-10)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 10)), min_size=1, max_size=40), st.floats(0, 0.99))
def test_blocks_of_one_pool_are_the_published_draws(draws: list[tuple[int, float]], smoothing: float) -> None:
    mixer = started({"odm": {"smoothing": smoothing}}, [1] * 5)
    expected = mixtures.odm(5, draws, smoothing=smoothing)
    for block, (pool, loss) in enumerate(draws):
        assert give(mixer, block, {pool: loss}, 5) == pytest.approx(expected[block], rel=1e-9)


def test_exploration_is_even_at_first_and_fades() -> None:
    assert [exploration(3, time) for time in (0, 1, 2, 3)] == [1 / 3] * 4
    assert exploration(3, 4) == pytest.approx(0.302574, abs=1e-6)
    assert exploration(1, 0) == 1.0 and exploration(1, 5) == 0.0
