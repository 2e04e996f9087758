"""Parameters of a law while it is fitted: bounds, starts, ties, and the scale they are searched on.

A parameter with `log` is searched as its logarithm, so steps are factors. `tied` takes the value of another
parameter, `fixed` is not searched at all. Not here: the search (fitting.py).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError

Floats = npt.NDArray[np.float64]

MAX_SCREENED = 4096
"""Starting points whose objective is looked at; a larger grid is sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One number of a law."""

    name: str
    low: float
    """Least value; above 0 where `log`."""
    high: float
    starts: tuple[float, ...] = ()
    """Where the search begins, each with each of the other parameters; empty is the middle."""
    log: bool = False
    """Searched as its logarithm."""
    tied: str | None = None
    """Name of the parameter whose value this one takes."""
    fixed: float | None = None
    """Value that is not searched."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(
                f"bounds of {self.name} are two finite numbers in order: {self.low}, {self.high}"
            )
        if self.log and self.low <= 0:
            raise ConfigError(f"{self.name} is searched as a logarithm, its bound is not above 0: {self.low}")
        for value in (*self.starts, *([] if self.fixed is None else [self.fixed])):
            if not self.low <= value <= self.high:
                raise ConfigError(f"{self.name} lies between {self.low} and {self.high}: {value}")

    @property
    def is_free(self) -> bool:
        """Whether it is searched."""
        return self.tied is None and self.fixed is None

    def inner(self, value: float) -> float:
        """From its value to the scale of the search."""
        return math.log(value) if self.log else value

    def outer(self, value: float) -> float:
        """From the scale of the search to its value, within the bounds."""
        plain = math.exp(value) if self.log else value
        return min(max(plain, self.low), self.high)


class Space:
    """The free parameters as one vector; ties and fixed values are filled in."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        names = [each.name for each in parameters]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"a parameter stands twice: {name}")
        self.all = tuple(parameters)
        self.free = tuple(each for each in parameters if each.is_free)
        known = {each.name: each for each in parameters}
        for each in parameters:
            if each.tied is not None and (each.tied not in known or known[each.tied].tied is not None):
                raise ConfigError(f"{each.name} is tied to no parameter of its own: {each.tied}")
        self.low = np.array([each.inner(each.low) for each in self.free])
        self.high = np.array([each.inner(each.high) for each in self.free])

    def values(self, vector: Floats) -> dict[str, float]:
        """Name every parameter's value."""
        found = {each.name: each.outer(at) for each, at in zip(self.free, vector.tolist(), strict=True)}
        for each in self.all:
            if each.fixed is not None:
                found[each.name] = each.fixed
        for each in self.all:
            if each.tied is not None:
                found[each.name] = found[each.tied]
        return {each.name: found[each.name] for each in self.all}

    def vector(self, values: Mapping[str, float]) -> Floats:
        """The free parameters of `values` on the scale of the search, within the bounds."""
        found = np.array([each.inner(values[each.name]) for each in self.free], dtype=np.float64)
        return np.clip(found, self.low, self.high)

    def grid(self, seed: int) -> list[Floats]:
        """All combinations of starts; of more than `MAX_SCREENED` a seeded sample."""
        axes = [
            [each.inner(value) for value in each.starts] or [(low + high) / 2]
            for each, low, high in zip(self.free, self.low, self.high, strict=True)
        ]
        count = math.prod(map(len, axes))
        if count <= MAX_SCREENED:
            return [np.array(point) for point in itertools.product(*axes)]
        draw = np.random.Generator(np.random.PCG64(seed))
        chosen = [draw.integers(0, len(axis), MAX_SCREENED) for axis in axes]
        return list(
            np.array([np.asarray(axis)[at] for axis, at in zip(axes, chosen, strict=True)], np.float64).T
        )

    def without(self, name: str, value: float) -> "Space":
        """The same with one parameter held at a value."""
        held = [
            Parameter(name=each.name, low=each.low, high=each.high, log=each.log, fixed=value)
            if each.name == name
            else each
            for each in self.all
        ]
        return Space(held)
