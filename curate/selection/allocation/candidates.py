"""Plans that a budget is compared with, at any budget: nested best tiers, natural, stratified, marginal.

A nested candidate draws uniformly from the union of the best pools and repeats it as often as needed: what a
filter does that keeps the top 10 %, 20 %, and so on. Tiers are joined by their quantiles where all pools are
tiers, otherwise pools by their utility, those of the same utility at once; there are at most MAX_NESTED.

Not here: what is predicted for them (predicting.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curate.errors import ConfigError
from curate.selection.allocation.pools import Pools, exact_sum
from curate.selection.allocation.priors import tier_of
from curate.selection.allocation.proportional import natural_tokens, proportional, stratified_tokens
from curate.selection.allocation.utilities import Utilities, marginal_tokens
from curate.selection.mixer import Ints

MAX_NESTED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A rule that gives tokens of each pool for any budget."""

    name: str
    is_nested: bool
    limit: int
    """Greatest budget that the caps allow it."""
    tokens: Callable[[int], Ints]


def candidates(pools: Pools, utilities: Utilities) -> list[Candidate]:
    """List the candidates, the narrowest first."""
    total = pools.total_cap()
    found = [_nested(pools, name, mask) for name, mask in nested(pools, utilities)]
    found += [
        Candidate(name="natural", is_nested=True, limit=total, tokens=lambda n: natural_tokens(pools, n)),
        Candidate(
            name="stratified", is_nested=False, limit=total, tokens=lambda n: stratified_tokens(pools, n)
        ),
        Candidate(
            name="marginal",
            is_nested=False,
            limit=total,
            tokens=lambda n: marginal_tokens(pools, n, utilities)[0],
        ),
    ]
    return found


def _nested(pools: Pools, name: str, mask: np.ndarray) -> Candidate:
    weights = np.where(mask, pools.unique, 0).astype(np.float64)
    return Candidate(
        name=name,
        is_nested=True,
        limit=exact_sum(pools.caps[mask]),
        tokens=lambda n: proportional(pools, n, weights),
    )


def nested(pools: Pools, utilities: Utilities) -> list[tuple[str, np.ndarray]]:
    """Give unions of the best pools with their names, without the union of all, which is `natural`."""
    tiers = [tier_of(name) for name in pools.names]
    ends = [tier[1] for tier in tiers if tier is not None]
    if len(ends) == len(tiers):
        ranks = np.array(ends)
        names = {end: f"top {100 * end:g} %" for end in ends}
    else:
        ranks = -utilities.strengths
        count = len(pools.names)
        names = {rank: f"best {number} of {count} pools" for rank, number in _running_counts(ranks).items()}
    steps = _thinned(np.unique(ranks)[:-1], ranks, pools.unique)
    return [(names[step], ranks <= step) for step in steps]


def _running_counts(ranks: np.ndarray) -> dict[float, int]:
    values, counts = np.unique(ranks, return_counts=True)
    return dict(zip(values.tolist(), np.cumsum(counts).tolist(), strict=True))


def _thinned(steps: np.ndarray, ranks: np.ndarray, unique: Ints) -> list[float]:
    """Keep at most MAX_NESTED steps: those nearest to even parts of the tokens."""
    if len(steps) <= MAX_NESTED:
        return [float(step) for step in steps]
    order = np.argsort(ranks, kind="stable")
    running = np.cumsum(unique[order].astype(np.float64))
    parts = running[np.searchsorted(ranks[order], steps, side="right") - 1] / running[-1]
    wanted = np.arange(1, MAX_NESTED + 1) / (MAX_NESTED + 1)
    places = np.unique(np.abs(parts[None, :] - wanted[:, None]).argmin(axis=1))
    return [float(step) for step in steps[places]]


def check_budgets(budgets: Sequence[int]) -> list[int]:
    """Take a grid of budgets, growing.

    Raises:
        ConfigError: There are fewer than two, or they do not grow.
    """
    given = [int(budget) for budget in budgets]
    if len(given) < 2 or given[0] < 1 or any(b <= a for a, b in pairwise(given)):
        raise ConfigError(f"budgets to compare at are two or more whole numbers that grow: {given[:8]}")
    return given
