"""What data leave open about a law: profiles of the objective, and which parameters they do not identify.

A parameter is identified where the profile, which is the least objective with it held and all others free,
rises above that of a 90 % interval on both sides before the bounds of the search, and where that interval
spans less than a factor of ten. For Huber's function the rise is in units of E psi^2 / E psi' (the likelihood
ratio of M-estimators); its quantile is that of F, which for few runs is far above that of chi squared.
Cost: some tens of refits a parameter.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from curate.errors import ConfigError
from curate.laws.parameters import Floats, Parameter

if TYPE_CHECKING:
    from curate.laws.fitting import Fit, Problem, Profile

LEVEL = 0.9
MAX_SPAN = 10.0
"""Ratio of the ends of the profile's interval from which on a parameter of factors is not identified."""
GRID_POINTS = 21


@dataclass(frozen=True, slots=True)
class Bounded:
    """The interval that a profile gives; an open end reaches the bounds of the search."""

    low: float
    high: float
    is_open_below: bool
    is_open_above: bool


def profile(fit: "Fit", name: str, grid: Sequence[float] | None = None) -> "Profile":
    """Refit with one parameter held at each value of `grid`, going out from its best value.

    Raises:
        ConfigError: `name` is no free parameter, or a value lies outside its bounds.
    """
    from curate.laws.fitting import Profile

    parameter, best = _free(fit, name), fit.values[name]
    if grid is None:
        low, high = parameter.inner(parameter.low), parameter.inner(parameter.high)
        grid = [parameter.outer(at) for at in np.linspace(low, high, GRID_POINTS).tolist()]
    values = sorted(set(grid))
    if not values or values[0] < parameter.low or values[-1] > parameter.high:
        raise ConfigError(f"{name} lies between {parameter.low} and {parameter.high}: {list(grid)}")
    found: dict[float, float] = {}
    for side in ([v for v in values if v >= best], [v for v in reversed(values) if v < best]):
        walk = _Walk(fit, name)
        for value in side:
            found[value] = walk.at(value)
    return Profile(name, tuple(values), tuple(found[value] for value in values))


class _Walk:
    """Objectives along one side of a profile, each refit begun where the last one ended."""

    def __init__(self, fit: "Fit", name: str) -> None:
        self.fit, self.name, self.values = fit, name, dict(fit.values)

    def at(self, value: float, enough: float = -math.inf) -> float:
        """The least objective with the parameter held at `value`, or a value not above `enough`."""
        space = self.fit.problem.space.without(self.name, value)
        held = self.fit.problem.changed(space=space)
        best, least = space.vector(self.values), math.inf
        for start in (self.values, self.fit.values):
            for end in self._ends(held, space.vector(start), is_rough=enough > -math.inf):
                objective = held.objective(end)
                if objective < least:
                    best, least = end, objective
                if least <= enough:
                    break
            if least <= enough:
                break
        self.values = space.values(best)
        return least

    @staticmethod
    def _ends(held: "Problem", start: Floats, *, is_rough: bool) -> Iterator[Floats]:
        """Points that are reached from a start, each better than the one before."""
        yield start
        # What is compared with a limit need not be known to more than some digits.
        end = held.follow(start, max_calls=60, gain=1e-6 if is_rough else 1e-12)
        yield end
        yield held.polish(end, rounds=1, max_steps=60, gain=1e-6) if is_rough else held.polish(end)


def bounded(fit: "Fit", name: str, level: float = LEVEL) -> Bounded:
    """Walk out from the best value on both sides until the objective has risen."""
    parameter = _free(fit, name)
    limit = fit.objective + rise(fit, level) * fit.problem.spread(fit.vector)
    low, open_below = _end(fit, parameter, limit, -1)
    high, open_above = _end(fit, parameter, limit, +1)
    return Bounded(low, high, open_below, open_above)


def rise(fit: "Fit", level: float) -> float:
    """Half the quantile of F(1, points - parameters): how far the objective rises, in units of its spread."""
    degrees = max(fit.num_points - len(fit.vector), 1)
    return float(stats.t.ppf((1 + level) / 2, degrees) ** 2) / 2


def _end(fit: "Fit", parameter: Parameter, limit: float, sign: int) -> tuple[float, bool]:
    """Where the profile crosses `limit` on one side, or the bound if it does not."""
    bound = parameter.inner(parameter.high if sign > 0 else parameter.low)
    inside, step = parameter.inner(fit.values[parameter.name]), _first_step(fit, parameter)
    walk = _Walk(fit, parameter.name)
    while abs(bound - inside) > 1e-12:
        outside = inside + sign * step
        outside = min(outside, bound) if sign > 0 else max(outside, bound)
        if walk.at(parameter.outer(outside), limit) > limit:
            break
        inside, step = outside, step * 2
    else:
        return parameter.outer(bound), True
    for _ in range(6):
        middle = (inside + outside) / 2
        if walk.at(parameter.outer(middle), limit) > limit:
            outside = middle
        else:
            inside = middle
    return parameter.outer(outside), False


def _first_step(fit: "Fit", parameter: Parameter) -> float:
    """Half a standard error from the curvature, or a fiftieth of the bounds where there is none."""
    at = [each.name for each in fit.problem.space.free].index(parameter.name)
    span = float(fit.problem.space.high[at] - fit.problem.space.low[at])
    jacobian = fit.problem.jacobian(fit.vector)
    # The pseudo-inverse: a parameter without effect must not spoil the steps of the others.
    curvature = np.linalg.pinv(jacobian.T @ jacobian, hermitian=True)
    variance = curvature[at, at] * fit.problem.spread(fit.vector)
    if not (np.isfinite(variance) and variance > 0):
        return span / 50
    return float(np.clip(0.5 * np.sqrt(variance), span * 1e-6, span / 10))


def doubts(fit: "Fit") -> dict[str, str]:
    """A sentence for each free parameter that the data do not identify."""
    found = {}
    for parameter in fit.problem.space.free:
        text = _doubt(parameter, fit.ends[parameter.name])
        if text:
            found[parameter.name] = text + _at_bound(parameter, fit.values[parameter.name])
    return found


def _at_bound(parameter: Parameter, value: float) -> str:
    """Say where the best value is an end of the search."""
    span = parameter.inner(parameter.high) - parameter.inner(parameter.low)
    for bound in (parameter.low, parameter.high):
        if abs(parameter.inner(value) - parameter.inner(bound)) < 1e-6 * span:
            return f"; its best value is the bound of the search, {bound:g}, so the truth may lie beyond"
    return ""


def _doubt(parameter: Parameter, ends: Bounded) -> str | None:
    name = parameter.name
    if ends.is_open_below and ends.is_open_above:
        return (
            f"{name} is not identified: every value from {parameter.low:g} to {parameter.high:g} fits as well"
        )
    if ends.is_open_above:
        return (
            f"{name} is not identified from above: all values from {ends.low:.4g} to {parameter.high:g} fit"
        )
    if ends.is_open_below:
        return (
            f"{name} is not identified from below: all values from {parameter.low:g} to {ends.high:.4g} fit"
        )
    if parameter.log and ends.high / ends.low > MAX_SPAN:
        return f"{name} is not identified: all values from {ends.low:.4g} to {ends.high:.4g} fit"
    return None


def _free(fit: "Fit", name: str) -> Parameter:
    for each in fit.problem.space.free:
        if each.name == name:
            return each
    raise ConfigError(
        f"{name} is no free parameter, there are {', '.join(each.name for each in fit.problem.space.free)}"
    )
