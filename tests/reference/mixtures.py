"""Slow twins of what mixtures compute, in exact fractions or one draw at a time."""

import math
from collections.abc import Sequence
from fractions import Fraction


def within_supply(weights: Sequence[int], left: Sequence[int], block: int) -> list[Fraction]:
    """Water-filling in exact fractions, one pool a round."""
    pools = [pool for pool, weight in enumerate(weights) if weight]
    result = [Fraction(0)] * len(weights)
    total = sum(left[pool] for pool in pools)
    if total <= block:
        for pool in pools:
            result[pool] = Fraction(left[pool], total) if total else Fraction(0)
        return result
    room = Fraction(1)
    while pools:
        share = {pool: room * weights[pool] / sum(weights[each] for each in pools) for pool in pools}
        over = [pool for pool in pools if share[pool] * block > left[pool]]
        if not over:
            for pool in pools:
                result[pool] = share[pool]
            return result
        result[over[0]] = Fraction(left[over[0]], block)
        room -= result[over[0]]
        pools.remove(over[0])
    return result


def odm(size: int, draws: Sequence[tuple[int, float]], *, smoothing: float) -> list[list[float]]:
    """Online Data Mixing as published: one draw, one update; the policy after each."""
    rewards, policy, policies = [0.0] * size, [1 / size] * size, []

    def least(time: int) -> float:
        return 1 / size if time == 0 else min(1 / size, math.sqrt(math.log(size) / (size * time)))

    for time, (pool, loss) in enumerate(draws, 1):
        rewards[pool] = smoothing * rewards[pool] + (1 - smoothing) * loss / policy[pool]
        parts = [math.exp(least(time - 1) * reward) for reward in rewards]
        policy = [(1 - size * least(time)) * part / sum(parts) + least(time) for part in parts]
        policies.append(policy)
    return policies


def exp3(size: int, draws: Sequence[tuple[int, float]], *, gamma: float) -> list[list[float]]:
    """Exp3 as published: weights multiplied after each draw; the policy after each."""
    weights, policies = [1.0] * size, []

    def policy() -> list[float]:
        return [(1 - gamma) * weight / sum(weights) + gamma / size for weight in weights]

    for pool, reward in draws:
        weights[pool] *= math.exp(gamma * (reward / policy()[pool]) / size)
        policies.append(policy())
    return policies
