"""Slow twins of budgets over pools: one token, one pass or one mixture at a time."""

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction


def all_allocations(caps: Sequence[int], target: int) -> Iterator[tuple[int, ...]]:
    """Every way to give the target in whole tokens under caps."""
    for given in itertools.product(*(range(cap + 1) for cap in caps[:-1])):
        last = target - sum(given)
        if 0 <= last <= caps[-1]:
            yield (*given, last)


def stepwise_worth(tokens: int, unique: int, strength: float, half_life: float) -> float:
    """Worth of the first tokens of a pool, token by token, when it falls with every pass."""
    return math.fsum(strength * 0.5 ** ((token // unique) / half_life) for token in range(tokens))


def smooth_worth(tokens: int, unique: int, strength: float, repeats: float) -> float:
    """Worth of the first tokens of a pool when it falls smoothly after the first pass: the integral."""
    passes = tokens / unique
    if passes <= 1:
        return strength * tokens
    return strength * unique * (1 + repeats * (1 - math.exp(-(passes - 1) / repeats)))


def proportional(weights: Sequence[int], caps: Sequence[int], target: int) -> list[Fraction]:
    """Shares in proportion to weights under caps, in exact fractions: fill what is tight, share the rest."""
    result = [Fraction(0)] * len(weights)
    free = [place for place, weight in enumerate(weights) if weight]
    left = Fraction(target)
    while free:
        scale = left / sum(weights[place] for place in free)
        tight = [place for place in free if scale * weights[place] > caps[place]]
        if not tight:
            for place in free:
                result[place] = scale * weights[place]
            return result
        for place in tight:
            result[place] = Fraction(caps[place])
            left -= caps[place]
            free.remove(place)
    return result
