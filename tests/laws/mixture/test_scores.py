"""Weights of scores: drawn as mixtures are, searched as mixtures are, and written as SQL."""

import numpy as np
import polars as pl
import pytest

from curate.errors import ConfigError, DataError
from curate.filters.expression import parse_expression
from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.runs import MixtureRuns
from curate.laws.mixture.scores import Spread, score_expression, score_swarm
from curate.laws.mixture.search import simulate

SCORES = [f"rater.s{number}" for number in range(25)]


def test_256_vectors_of_25_scores_are_drawn_around_equal_weights() -> None:
    found = score_swarm(SCORES)
    assert found.shares.shape == (256, 25)
    assert found.shares.mean(axis=0) == pytest.approx(np.full(25, 1 / 25), abs=0.02)
    assert (found.shares.max(axis=1) > 0.3).sum() > 20


def test_the_score_that_helps_gets_the_weight() -> None:
    truth = LogLinear(
        pools=tuple(SCORES), targets=("loss",), constants=(0.5,), slopes=((-3.0, *([0.0] * 23), 1.0),)
    )
    drawn = score_swarm(SCORES)
    losses = truth.predict(drawn.shares) + np.random.default_rng(0).normal(0, 0.01, (256, 1))
    runs = MixtureRuns(pools=drawn.pools, targets=("loss",), shares=drawn.shares, losses=losses)
    best = simulate(LogLinear.fit(runs).law, dict.fromkeys(SCORES, 1.0), num_samples=20_000)
    weights = best.by_pool()
    assert max(weights, key=weights.__getitem__) == SCORES[0] and weights[SCORES[0]] > 0.3
    assert weights[SCORES[-1]] < 0.04


def test_the_expression_is_the_weighted_score_of_a_document() -> None:
    weights = {"rater.s0": 0.75, "odd name": 0.25, "unused": 0.0}
    spreads = {"rater.s0": Spread(-2.0, 0.5), "odd name": Spread(10.0, 4.0)}
    sql = score_expression(weights, spreads)
    frame = pl.DataFrame({"rater.s0": [-2.0, -1.0], "odd name": [10.0, 14.0]})
    expression = parse_expression(sql)
    assert set(expression.columns) == {"rater.s0", "odd name"}
    assert frame.select(expression.expr.alias("v"))["v"].to_list() == pytest.approx([0.0, 1.75])
    plain = parse_expression(score_expression({"rater.s0": 1.0}))
    assert frame.select(plain.expr.alias("v"))["v"].to_list() == [-2.0, -1.0]


def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="a score stands twice: a"):
        score_swarm(["a", "b", "a"])
    with pytest.raises(DataError, match="two pools or more: a"):
        score_swarm(["a"])
    with pytest.raises(ConfigError, match=r"weights of scores sum to 1, not to: 0.5"):
        score_expression({"a": 0.5})
    with pytest.raises(ConfigError, match="a weight is not below 0, that of a is: -1"):
        score_expression({"a": -1.0, "b": 2.0})
    with pytest.raises(ConfigError, match="no mean and deviation of the score a"):
        score_expression({"a": 1.0}, {})
    with pytest.raises(ConfigError, match=r"a deviation above 0: 1.0, 0.0"):
        Spread(1.0, 0.0)
    with pytest.raises(ConfigError, match="not empty"):
        score_expression({"": 1.0})
