"""Evidence from a fitted quality-quantity law: utility, half life and interval of each pool, by its content.

A pool whose utility the runs do not identify keeps its value without an interval, and a note says so. Not
here: the fit (curate.laws), evidence on mixtures (selection/mixture_fit.py).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from curate.errors import ConfigError
from curate.laws.fitting import Fit
from curate.laws.law import Fitted
from curate.laws.quality_quantity import QualityQuantity
from curate.selection.allocation.evidence import Evidence, EvidencePool
from curate.selection.allocation.priors import tier_of
from curate.selection.mixer import listed
from curate.selection.pool_tables import NaturalPool


def evidence_of(
    fitted: Fitted[QualityQuantity], pools: Sequence[NaturalPool], *, source: str
) -> tuple[Evidence, tuple[str, ...]]:
    """Key what was fitted by the contents of the pools that the runs were made on.

    Args:
        fitted: A law whose pools have the names of `pools`.
        pools: With unique tokens; those the law does not know are left out.
        source: Where the evidence comes from, for people.

    Returns:
        The evidence, and sentences on what it lacks.

    Raises:
        ConfigError: the law is another, or has a pool that `pools` has not, or whose tokens are not known.
    """
    law = fitted.law
    if not isinstance(law, QualityQuantity):
        raise ConfigError(
            f"utilities of pools come from the law quality_quantity, not from: {getattr(law, 'name', law)}",
            hint="`curate mix fit` makes evidence of laws of mixtures",
        )
    known = {pool.name: pool for pool in pools}
    if missing := [name for name in law.pools if name not in known]:
        raise ConfigError(
            f"there is no pool {listed(missing)} that runs were made on",
            hint=f"the table has {listed(sorted(known))}",
        )
    notes = _amounts(fitted.fit, law.pools, known)
    found = []
    for name in law.pools:
        if known[name].unique_tokens is None:
            raise ConfigError(f"the unique tokens of the pool {name} are not known: the table has shares")
        pool, doubts = _pool(fitted.fit, law, known[name])
        found.append(pool)
        notes += doubts
    unions = _unions([pool.name for pool in found])
    return Evidence(law=law.to_json(), pools=tuple(found), unions=unions, source=source), tuple(notes)


def _pool(fit: Fit, law: QualityQuantity, pool: NaturalPool) -> tuple[EvidencePool, list[str]]:
    """What was fitted of one pool, and sentences on what the runs do not say."""
    place, notes = law.pools.index(pool.name), []
    interval, half_life = _interval(fit, f"utility[{pool.name}]"), law.half_lives[place]
    if interval is None:
        notes.append(f"the runs do not bound the utility of the pool {pool.name}: it has no interval")
    ends = fit.ends[f"half_life[{pool.name}]"]
    is_unknown = ends.is_open_below and ends.is_open_above
    if is_unknown:
        notes.append(
            f"the runs say nothing of the half life of the pool {pool.name}, it has none: no budget can be "
            "planned until runs repeat the pool, or the number is written by hand"
        )
    elif (doubt := fit.doubts.get(f"half_life[{pool.name}]")) is not None:
        notes.append(f"budgets will repeat the pool {pool.name} by a half life in doubt: {doubt}")
    made = EvidencePool(
        name=pool.name,
        unique_tokens=pool.unique_tokens or 0,
        content=pool.content,
        utility=law.utilities[place],
        half_life=None if is_unknown else half_life,
        interval=interval,
    )
    return made, notes


def _amounts(fit: Fit, names: Sequence[str], known: Mapping[str, NaturalPool]) -> list[str]:
    """Say where the runs' pools are not of the size of the documents' pools, in tokens."""
    notes = []
    for place, name in enumerate(names):
        size = float(np.median(fit.problem.data["size"][fit.problem.data["pool"] == place]))
        unique = known[name].unique_tokens
        if unique is not None and not unique / 2 <= size <= unique * 2:
            notes.append(
                f"the pool {name} has size {size:,.6g} in the runs and {unique:,} unique tokens: predictions "
                "for budgets in tokens hold only where samples and size of the runs are tokens, too"
            )
    return notes


def _unions(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Neighbouring tiers of one pool, which another cut may join; and all pools together."""
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for name in names:
        if (tier := tier_of(name)) is not None:
            tiers.setdefault(name.rpartition("/")[0], []).append((*tier, name))
    found = []
    for of_pool in map(sorted, tiers.values()):
        for first in range(len(of_pool)):
            for last in range(first + 1, len(of_pool)):
                if of_pool[last - 1][1] != of_pool[last][0]:
                    break
                found.append(tuple(name for _, _, name in of_pool[first : last + 1]))
    if len(names) > 1 and tuple(names) not in found:
        found.append(tuple(names))
    return tuple(found)


def _interval(fit: Fit, name: str) -> tuple[float, float] | None:
    """The profile's 90 % interval; None where an end is open."""
    if name in fit.doubts:
        return None
    ends = fit.ends[name]
    value = fit.values[name]
    return (min(ends.low, value), max(ends.high, value))
