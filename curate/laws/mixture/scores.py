"""Weights of quality scores found as weights of domains are: a score for documents that proxies vouch for.

As Meta-rater (Zhuang et al. 2025, arXiv:2504.14194; 25 scores, 256 weight vectors): draw weights of scores
(`score_swarm`), train a proxy on the documents that the weighted score selects, for each; fit a law of
mixtures of the weights, search the best weights (search.py), and select by `score_expression`. Scores are
brought to mean 0 and deviation 1 first, else the weights mean nothing, so the mean and deviation of each
are part of the result.

Cost: none to speak of. Not here: selecting (selection/), training.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curate.errors import ConfigError
from curate.laws.mixture.runs import SUM_TOLERANCE
from curate.laws.mixture.swarm import Swarm, SwarmSettings, swarm

NUM_VECTORS = 256
SCORE_SETTINGS = SwarmSettings(temperature=1.0, min_strength=1.0, max_strength=25.0, max_factor=None)
"""Strengths from a few scores to nearly equal weights."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation of a score over the documents it is for."""

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.deviation) and self.deviation > 0):
            raise ConfigError(
                f"a score has a finite mean and a deviation above 0: {self.mean}, {self.deviation}",
                hint="leave out scores that are the same for every document",
            )


def score_swarm(
    scores: Sequence[str],
    num_vectors: int = NUM_VECTORS,
    *,
    seed: int = 42,
    settings: SwarmSettings = SCORE_SETTINGS,
) -> Swarm:
    """Draw vectors of weights; `pools` of the result are the scores.

    Raises:
        DataError: there are fewer than two scores, or one stands twice.
        ConfigError: a setting is wrong.
    """
    if len(set(scores)) < len(scores):
        twice = next(name for name in scores if list(scores).count(name) > 1)
        raise ConfigError(f"a score stands twice: {twice}")
    return swarm(dict.fromkeys(scores, 1.0), num_vectors, seed=seed, settings=settings)


def score_expression(weights: Mapping[str, float], spreads: Mapping[str, Spread] | None = None) -> str:
    """The weighted score as SQL, for `plan.select.score`; scores of weight 0 are left out.

    Args:
        weights: By name of the column; they sum to 1.
        spreads: Of each score that has a weight; None takes scores as they are, which is right only if all
            have mean 0 and deviation 1 already.

    Raises:
        ConfigError: a weight is negative or not finite, they do not sum to 1, or a score has no spread.
    """
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"a weight is not below 0, that of {name} is: {weight}")
    total = math.fsum(weights.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ConfigError(f"weights of scores sum to 1, not to: {total:g}")
    parts = []
    for name, weight in weights.items():
        if weight == 0:
            continue
        if spreads is None:
            parts.append(f"{_number(weight)} * {_column(name)}")
            continue
        if name not in spreads:
            raise ConfigError(f"there is no mean and deviation of the score {name}")
        spread = spreads[name]
        factor = weight / spread.deviation
        parts.append(f"{_number(factor)} * ({_column(name)} - {_number(spread.mean)})")
    return " + ".join(parts)


def _column(name: str) -> str:
    """A column as SQL: always in quotes, which are doubled inside."""
    if not name:
        raise ConfigError("a score is the name of a column, not empty")
    return '"' + name.replace('"', '""') + '"'


def _number(value: float) -> str:
    """A number as SQL that reads back as itself."""
    text = repr(float(value))
    return f"({text})" if value < 0 else text
