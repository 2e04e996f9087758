"""Evidence from a fitted quality-quantity law: utility, half life and interval of each pool, by its content.

A pool whose utility the runs do not identify keeps its value without an interval, and a note says so. Not
here: the fit (curate.laws), evidence on mixtures (selection/mixture_fit.py).
"""

from collections.abc import Sequence

from curate.errors import ConfigError
from curate.laws.fitting import Fit
from curate.laws.law import Fitted
from curate.laws.quality_quantity import QualityQuantity
from curate.selection.allocation.evidence import Evidence, EvidencePool
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
    notes, found = [], []
    for name, utility, half_life in zip(law.pools, law.utilities, law.half_lives, strict=True):
        pool = known[name]
        if pool.unique_tokens is None:
            raise ConfigError(f"the unique tokens of the pool {name} are not known: the table has shares")
        interval = _interval(fitted.fit, f"utility[{name}]")
        if interval is None:
            notes.append(f"the runs do not bound the utility of the pool {name}: it has no interval")
        found.append(
            EvidencePool(
                name=name,
                unique_tokens=pool.unique_tokens,
                content=pool.content,
                utility=utility,
                half_life=half_life,
                interval=interval,
            )
        )
    return Evidence(law=law.to_json(), pools=tuple(found), source=source), tuple(notes)


def _interval(fit: Fit, name: str) -> tuple[float, float] | None:
    """The profile's 90 % interval; None where an end is open."""
    if name in fit.doubts:
        return None
    ends = fit.ends[name]
    value = fit.values[name]
    return (min(ends.low, value), max(ends.high, value))
