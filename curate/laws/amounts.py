"""Numbers that are given to a law, checked: samples, tokens, parameters, losses, and its own parameters.

Every law refuses what is not a number above 0 by name and value. Not here: columns of runs (fitting.py).
"""

import math

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]


def amounts(value: npt.ArrayLike, name: str) -> Floats:
    """Take numbers above 0 of any shape.

    Raises:
        DataError: names the first value that is not a finite number above 0.
    """
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"{name} is not of numbers: {value!r:.80}") from exc
    bad = ~(np.isfinite(found) & (found > 0))
    if bad.any():
        raise DataError(f"{name} is a finite number above 0: {found[bad].flat[0]}")
    return found


def amount(value: float, name: str) -> float:
    """Take one number above 0.

    Raises:
        DataError: it is not a finite number above 0, or not one number.
    """
    found = amounts(value, name)
    if found.ndim:
        raise DataError(f"{name} is one number: {value!r:.80}")
    return float(found)


def within(law: str, name: str, value: float, low: float, high: float = math.inf) -> None:
    """Check a parameter of a law: a finite number above `low` and below `high`.

    Raises:
        ConfigError: names law, parameter, bounds and value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{law}.{name} is a finite number: {value!r}")
    if not low < value < high:
        bounds = f"above {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        if low == -math.inf:
            bounds = f"below {high:g}"
        raise ConfigError(f"{law}.{name} is {bounds}: {value:g}")
