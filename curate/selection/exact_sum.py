"""Sums of floats that do not depend on the order: exact while adding, rounded once at the end.

Mantissas are added as integers per exponent, as `math.fsum` would but over any number of chunks. Cost: a few
array passes.
"""

from fractions import Fraction

import numpy as np

_MANTISSA_BITS = 53
_LOW_BITS = 26
_OFFSET = 1100
"""Added to exponents to make them indices."""
_SLICE = 1 << 20
"""Values added at once: sums of halves of mantissas stay exact in doubles."""


class ExactSum:
    """A sum of finite floats; exact for up to 2^36 of them."""

    def __init__(self) -> None:
        self._high = np.zeros(2 * _OFFSET, dtype=np.int64)
        self._low = np.zeros(2 * _OFFSET, dtype=np.int64)

    def add(self, values: np.ndarray) -> None:
        """Add finite floats."""
        for first in range(0, len(values), _SLICE):
            parts, exponents = np.frexp(values[first : first + _SLICE])
            mantissas = (parts * (1 << _MANTISSA_BITS)).astype(np.int64)
            index = exponents + _OFFSET
            high, low = mantissas >> _LOW_BITS, mantissas & ((1 << _LOW_BITS) - 1)
            self._high += np.bincount(index, high, 2 * _OFFSET).astype(np.int64)
            self._low += np.bincount(index, low, 2 * _OFFSET).astype(np.int64)

    def value(self) -> float:
        """The sum, rounded once; raises `OverflowError` where it is not a finite float."""
        total = 0
        for index in np.flatnonzero(self._high | self._low).tolist():
            total += ((int(self._high[index]) << _LOW_BITS) + int(self._low[index])) << index
        return float(Fraction(total, 1 << (_OFFSET + _MANTISSA_BITS)))
