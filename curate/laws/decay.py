"""Repeats that are worth less each pass: sums over epochs with a half-life, in closed form or by one table.

The exponent or worth of pass e (0, 1, ...) is `0.5 ** (e / half_life)` of the first one's (Goyal et al. 2024,
arXiv:2404.07177, section 4). Cost: a table of one float a pass, at most 64 half-lives of them, shared by all
points. Not here: the law that is built on it (quality_quantity.py).
"""

import math

import numpy as np

from curate.errors import DataError
from curate.laws.amounts import Floats

MAX_PASSES = 4_000_000
"""Length of the table of passes."""
NEGLIGIBLE = 64.0
"""Half-lives after which a pass counts for nothing: 2**-64 of the first."""


def passes(samples: Floats, size: Floats) -> Floats:
    """Whole passes over a pool of `size` before the last, open one: floor(samples / size)."""
    return np.floor(samples / size)


def log_growth(samples: Floats, size: Floats, half_life: float) -> tuple[Floats, Floats]:
    """Parts of ln(error) / b of a pool read again and again.

    The first is the logarithm of the samples of the first pass; the second sums the later passes' decayed
    logarithms: sum over e >= 1 of 0.5**(e/half_life) ln(end of pass e / its start).

    Raises:
        DataError: a pool is read more than `MAX_PASSES` times with a half-life that still counts there.
    """
    whole = passes(samples, size)
    first = np.log(np.minimum(samples, size))
    last = min(float(whole.max(initial=0.0)), math.ceil(NEGLIGIBLE * half_life))
    if last > MAX_PASSES:
        raise DataError(
            f"a pool is read {whole.max():.4g} times, at most {MAX_PASSES} are computed",
            hint="give fewer samples, or a larger pool",
        )
    index = np.arange(1, int(last) + 1, dtype=np.float64)
    table = np.concatenate([[0.0, 0.0], np.cumsum(np.exp2(-index / half_life) * np.log1p(1 / index))])
    reached = np.minimum(whole, last).astype(np.int64)
    open_pass = np.exp2(-whole / half_life) * np.log(samples / (size * np.maximum(whole, 1.0)))
    return first, np.where(whole >= 1, table[reached] + np.where(whole <= last, open_pass, 0.0), 0.0)


def effective(samples: Floats, size: Floats, half_life: float) -> Floats:
    """Samples as fresh ones: each pass counts `0.5 ** (e / half_life)` of the first."""
    whole = passes(samples, size)
    full = np.expm1(-whole * math.log(2) / half_life) / math.expm1(-math.log(2) / half_life)
    return size * full + (samples - size * whole) * np.exp2(-whole / half_life)
