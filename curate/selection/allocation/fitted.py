"""Utilities from evidence: strength and half life of each pool by its content, in the form of the fitted law.

Not here: which evidence applies to which pool (evidence.py), published numbers (priors.py).
"""

import math

import numpy as np

from curate.errors import ConfigError
from curate.laws.data_constrained import DataConstrained
from curate.laws.quality_quantity import QualityQuantity
from curate.laws.registry import law_from_json
from curate.selection.allocation.evidence import Evidence
from curate.selection.allocation.pools import Pools
from curate.selection.allocation.utilities import Utilities


def fitted_utilities(evidence: Evidence, pools: Pools) -> Utilities:
    """Take utilities for pools, the decay being that of the evidence's law.

    The quality-quantity law has utilities below 0, as exponents of an error; the data-constrained law has
    strengths above 0, and where the evidence has no half life of a pool it is that of the law's repeats.

    Raises:
        ConfigError: Nothing applies to a pool, the law has no utilities, or one has the wrong sign.
    """
    law = law_from_json(evidence.law)
    if not isinstance(law, QualityQuantity | DataConstrained):
        raise ConfigError(
            f"{evidence.source}: utilities come from the laws quality_quantity and data_constrained, "
            f"not from: {evidence.law['law']}"
        )
    parts = evidence.match(pools.supplies)
    sign = -1.0 if isinstance(law, QualityQuantity) else 1.0
    strengths = sign * evidence.values("utility", parts)
    if (strengths <= 0).any():
        place = int(np.argmin(strengths))
        side = "below" if sign < 0 else "above"
        raise ConfigError(
            f"{evidence.source}: a utility of the law {law.name} is {side} 0, of pool "
            f"{pools.names[place]!r} it is: {sign * strengths[place]:g}",
            hint="leave out a pool that makes training worse",
        )
    if isinstance(law, DataConstrained) and all(pool.half_life is None for pool in evidence.pools):
        half_lives = np.full(len(strengths), law.repeat_tokens * math.log(2))
    else:
        half_lives = evidence.values("half_life", parts)
    ends = evidence.ends(parts)
    low, high = (None, None) if ends is None else _ordered(sign * ends[0], sign * ends[1])
    if low is not None and (low <= 0).any():
        place = int(np.argmin(low))
        raise ConfigError(
            f"{evidence.source}: the interval of pool {pools.names[place]!r} reaches a utility of no use: "
            f"{sign * low[place]:g}",
            hint="more runs make it narrower; or leave out the pool, or its interval",
        )
    return Utilities(
        source=f"evidence {evidence.source}",
        decay="half_life" if isinstance(law, QualityQuantity) else "data_constrained",
        strengths=strengths,
        half_lives=half_lives,
        low=low,
        high=high,
        law=law,
        warnings=_unchecked(evidence, pools),
    )


def _ordered(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(first, second), np.maximum(first, second)


def _unchecked(evidence: Evidence, pools: Pools) -> tuple[str, ...]:
    """Say where evidence was applied by name, as there was no content to compare."""
    known = {pool.name: pool.content for pool in evidence.pools}
    names = [
        supply.name
        for supply in pools.supplies
        if supply.name in known and (supply.content is None or known[supply.name] is None)
    ]
    if not names:
        return ()
    return (f"evidence is applied to {len(names)} pools by name, their content is not known: {names[0]!r}",)
