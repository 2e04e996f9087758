"""Compare candidates over budgets: what the law predicts for each, and at which budgets the best one changes.

Candidates are planned anew at every budget of a grid, under the same caps; between two budgets whose best
candidates differ the crossover is found by bisection, with the plans of the budgets between them.

Cost: some hundred plans and predictions; a second for 100 pools, minutes for 100,000. Not here: the plan
that is carried out (solve.py).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np

from curate.errors import ConfigError
from curate.laws.chinchilla import FLOPS_PER_TOKEN
from curate.selection.allocation.candidates import Candidate, candidates, check_budgets
from curate.selection.allocation.comparison import Comparison, Crossover, Curve, best_of, widest_first
from curate.selection.allocation.evidence import read_evidence
from curate.selection.allocation.pools import Pools, Supply, parse_target, pools_of
from curate.selection.allocation.predicting import Predict, predictor
from curate.selection.allocation.priors import TMARS_PRIOR, sample_tokens_of
from curate.selection.allocation.settings import Allocate
from curate.selection.allocation.solve import utilities_for

STEPS_PER_DOUBLING = 3
DOUBLINGS = 5
TIE = 1e-6
"""Relative difference of predictions below which candidates are equal."""
TOLERANCE = 1e-3
"""Of a crossover, relative."""
MAX_CROSSOVERS = 8
"""Between two budgets of the grid."""

Value: TypeAlias = Callable[[Candidate, int], float | None]
"""What is predicted for a candidate at a budget."""


def compare(
    supplies: Sequence[Supply],
    target_tokens: int | str,
    settings: Allocate,
    *,
    budgets: Sequence[int] | None = None,
    params: float | None = None,
    sample_tokens: float | None = None,
) -> Comparison:
    """Predict quality against compute for nested best tiers, natural, stratified and marginal plans.

    Args:
        supplies: The pools.
        target_tokens: Budget of the plan; the grid lies around it.
        settings: Caps, and where utilities come from; without evidence or prior it is the prior `equal`.
        budgets: Tokens to compare at, growing; None is five doublings each way, three a doubling, as far as
            the caps go.
        params: Parameters of the model, for FLOPs and for the data-constrained law.
        sample_tokens: Tokens that are one sample to the quality-quantity law; None is 1, and for the prior
            of published tiers as many as make the pools as large as the published ones.

    Raises:
        ConfigError: Settings or budgets are wrong.
        DataError: Pools or files are wrong.
    """
    _check(params=params, sample_tokens=sample_tokens)
    target = parse_target(target_tokens)
    pools = pools_of(supplies, settings.cap)
    evidence = None if settings.evidence is None else read_evidence(Path(settings.evidence))
    utilities = utilities_for(pools, settings, evidence)
    sample_tokens = sample_tokens or _sample_tokens(pools, settings)
    predict, quality, law = predictor(utilities, pools.unique, params=params, sample_tokens=sample_tokens)
    grid = _grid(target, pools.total_cap()) if budgets is None else check_budgets(budgets)
    found, value = candidates(pools, utilities), _values(predict)
    curves = [
        Curve(name=each.name, is_nested=each.is_nested, predicted=tuple(value(each, n) for n in grid))
        for each in found
    ]
    return Comparison(
        law=law,
        quality=quality,
        budgets=tuple(grid),
        flops=None if params is None else tuple(FLOPS_PER_TOKEN * params * n for n in grid),
        curves=tuple(curves),
        crossovers=_crossovers(found, grid, value),
        filter_crossovers=_crossovers([each for each in found if each.is_nested], grid, value),
        target_tokens=target,
        warnings=(*utilities.warnings, *_advice(settings.rule, found, grid, target, value)),
    )


def _sample_tokens(pools: Pools, settings: Allocate) -> float:
    """Tokens of a sample where none are given."""
    is_published = settings.prior == TMARS_PRIOR and settings.evidence is None
    return sample_tokens_of(pools.names, pools.unique) if is_published else 1.0


def _check(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} is a finite number above 0: {value}")


def _values(predict: Predict) -> Value:
    """Predict for candidates and budgets, each once; None where the caps do not allow the budget."""
    seen: dict[tuple[str, int], float | None] = {}

    def value(candidate: Candidate, budget: int) -> float | None:
        key = (candidate.name, budget)
        if key not in seen:
            allowed = budget <= candidate.limit
            seen[key] = predict(candidate.tokens(budget)) if allowed else None
        return seen[key]

    return value


def _grid(target: int, most: int) -> list[int]:
    steps = range(-DOUBLINGS * STEPS_PER_DOUBLING, DOUBLINGS * STEPS_PER_DOUBLING + 1)
    exact = [target * 2.0 ** (step / STEPS_PER_DOUBLING) for step in steps]
    grid = sorted({max(1, round(each)) for each in exact if each < most} | {min(target, most)})
    if exact[-1] >= most:
        grid = sorted({*grid, most})
    return grid if len(grid) > 1 else [grid[0], grid[0] + 1]


def _change(
    by_name: Mapping[str, Candidate], between: tuple[int, int], before: str, after: str, value: Value
) -> Crossover | None:
    """Say how the best candidate changes; None where both are the same plan from there on."""
    left, right = between
    is_cap = value(by_name[before], right) is None
    if not is_cap and np.array_equal(by_name[before].tokens(right), by_name[after].tokens(right)):
        return None
    return Crossover(tokens=math.sqrt(left * right), before=before, after=after, is_cap=is_cap)


def _advice(
    rule: str, found: Sequence[Candidate], grid: Sequence[int], target: int, value: Value
) -> tuple[str, ...]:
    """Say where the law prefers another candidate, or fewer tokens, to what the rule makes of the budget."""
    by_name = {each.name: each for each in found}
    own = value(by_name[rule], target) if rule in by_name else None
    if own is None:
        return ()
    texts, at_target = [], {each.name: value(each, target) for each in widest_first(found)}
    best = best_of(at_target)
    least = at_target[best]
    if least is not None and least < own - TIE * abs(own):
        why = "the rule adds up what tokens are worth pool by pool, the law predicts their mixture"
        texts.append(
            f"at this budget {best} is predicted to be better than {rule}: {least:.4g}, {own:.4g}; {why}"
        )
    fewer = {n: each for n in grid if n < target and (each := value(by_name[rule], n)) is not None}
    at = min(fewer, key=lambda n: fewer[n], default=target)
    if fewer and fewer[at] < own - TIE * abs(own):
        texts.append(
            f"{at:,} tokens by the rule {rule} are predicted to be better than {target:,}: {fewer[at]:.4g}, "
            f"{own:.4g}; what is added are repeats and pools of little worth"
        )
    return tuple(texts)


def _crossovers(found: Sequence[Candidate], grid: Sequence[int], value: Value) -> tuple[Crossover, ...]:
    """Find where the best candidate changes."""

    def best(budget: int) -> str:
        return best_of({each.name: value(each, budget) for each in widest_first(found)})

    by_name = {each.name: each for each in found}
    crossovers: list[Crossover] = []
    for low, high in pairwise(grid):
        left, last = low, best(high)
        for _ in range(MAX_CROSSOVERS):
            before = best(left)
            if before == last:
                break
            right = high
            while right > left + 1 and right > left * (1 + TOLERANCE):
                middle = min(max(round(math.sqrt(left * right)), left + 1), right - 1)
                left, right = (middle, right) if best(middle) == before else (left, middle)
            crossing = _change(by_name, (left, right), before, best(right), value)
            crossovers += [] if crossing is None else [crossing]
            left = right
    return tuple(crossovers)
