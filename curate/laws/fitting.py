"""The one fitter of all laws: robust least squares from many starts, with intervals, profiles and doubts.

A law gives `residuals(values, data)`, as a rule differences of logarithms. The sum of Huber's function over
them (Huber 1964; delta 1e-3 as in Hoffmann et al. 2022, arXiv:2203.15556, app. D.3) is minimised within
bounds: every start of the grid is looked at, the best are followed by SciPy's trust region method, and the
result is polished by L-BFGS-B on the exact gradient. `Fit.profile` and `Fit.doubts` (in profiles.py) say what
the data leave open; `Fit.intervals` come from a bootstrap of residuals (or of groups of points).

Cost: some thousand calls of `residuals`; a bootstrap of 200 about 20,000. Not here: laws.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize  # type: ignore[import-untyped]

from curate.errors import ConfigError, DataError
from curate.laws.parameters import Floats, Parameter, Space

if TYPE_CHECKING:
    from curate.laws.profiles import Bounded

Loss = Literal["huber", "squares"]
Data = Mapping[str, npt.NDArray[np.float64]]
Residuals = Callable[[Mapping[str, float], Data], Floats]
Jacobian = Callable[[Mapping[str, float], Data], Floats]
"""Derivatives of the residuals by the value of each parameter in their order, shape [points, parameters]."""

_FAR = 1e6
"""What a residual counts as where the law has no value there."""
_NOTHING = 1e-22
"""Objective a point below which there is nothing left to fit: runs without noise."""


def checked_data(data: Mapping[str, npt.ArrayLike], *, at: str = "runs") -> dict[str, Floats]:
    """Take columns of equal length as 64-bit floats.

    Raises:
        DataError: there is no row, lengths differ, or a value is not a finite number.
    """
    found: dict[str, Floats] = {}
    for name, values in data.items():
        try:
            column = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as exc:
            raise DataError(f"{at}: the column {name} is not of numbers: {values!r:.80}") from exc
        if column.ndim != 1:
            raise DataError(f"{at}: the column {name} has {column.ndim} dimensions, not 1")
        bad = np.flatnonzero(~np.isfinite(column))
        if len(bad):
            raise DataError(
                f"{at}: {name} of row {bad[0]} is not a finite number: {column[bad[0]]}",
                hint="leave out runs that diverged or did not finish",
            )
        found[name] = column
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{at}: the columns have different lengths: {lengths}")
    if not lengths or min(lengths.values()) == 0:
        raise DataError(f"{at}: there is no row")
    return found


def positive(data: Data, names: Sequence[str], *, at: str = "runs") -> None:
    """Refuse values that are not above 0, such as negative losses.

    Raises:
        DataError: names column, row and value.
    """
    for name in names:
        bad = np.flatnonzero(~(data[name] > 0))
        if len(bad):
            raise DataError(
                f"{at}: {name} of row {bad[0]} is not above 0: {data[name][bad[0]]}",
                hint=f"{name} is used as a logarithm",
            )


class Problem:
    """Parameters, residuals and data: what is minimised."""

    def __init__(
        self,
        space: Space,
        residuals: Residuals,
        data: Data,
        loss: Loss,
        delta: float,
        jacobian: Jacobian | None = None,
    ) -> None:
        self.space, self.data, self.loss, self.delta = space, data, loss, delta
        self._residuals, self._jacobian = residuals, jacobian
        self._shift: Floats | float = 0.0

    def changed(
        self, *, space: Space | None = None, data: Data | None = None, shift: Floats | None = None
    ) -> "Problem":
        """The same with other parameters, other rows, or residuals that are shifted."""
        found = copy.copy(self)
        found.space = self.space if space is None else space
        found.data = self.data if data is None else data
        found._shift = self._shift if shift is None else shift
        return found

    def residuals(self, vector: Floats) -> Floats:
        """Residuals at a point, none of them infinite."""
        with np.errstate(all="ignore"):
            found = np.asarray(self._residuals(self.space.values(vector), self.data), dtype=np.float64)
        return np.clip(np.nan_to_num(found, nan=_FAR, posinf=_FAR, neginf=-_FAR), -_FAR, _FAR) + self._shift

    def objective(self, vector: Floats) -> float:
        """Sum of half squares, or of Huber's function."""
        return self.total(self.residuals(vector))

    def total(self, residuals: Floats) -> float:
        """The objective of given residuals."""
        size = np.abs(residuals)
        if self.loss == "squares":
            return float(0.5 * (size * size).sum())
        small = size <= self.delta
        return float(np.where(small, 0.5 * size * size, self.delta * (size - 0.5 * self.delta)).sum())

    def jacobian(self, vector: Floats) -> Floats:
        """Derivatives by the free parameters, shape [points, free]: exact where the law gives them.

        Otherwise central differences, one-sided at the bounds.
        """
        if self._jacobian is not None:
            with np.errstate(all="ignore"):
                exact = np.asarray(self._jacobian(self.space.values(vector), self.data), dtype=np.float64)
                return np.nan_to_num(exact @ self.space.chain(vector), posinf=_FAR, neginf=-_FAR)
        columns = []
        for at in range(len(vector)):
            step = 1e-6 * max(1.0, abs(vector[at]))
            ends = [vector.copy(), vector.copy()]
            ends[0][at] = max(vector[at] - step, self.space.low[at])
            ends[1][at] = min(vector[at] + step, self.space.high[at])
            width = ends[1][at] - ends[0][at]
            columns.append((self.residuals(ends[1]) - self.residuals(ends[0])) / width)
        return np.stack(columns, axis=1)

    def gradient(self, vector: Floats) -> tuple[float, Floats]:
        """The objective and its gradient."""
        residuals = self.residuals(vector)
        pull = residuals if self.loss == "squares" else np.clip(residuals, -self.delta, self.delta)
        return self.total(residuals), self.jacobian(vector).T @ pull

    def follow(self, start: Floats, *, max_calls: int = 200, gain: float = 1e-12) -> Floats:
        """The trust region method from one start, until a step gains less than `gain` of the objective."""
        if len(start) == 0:
            return start
        span = self.space.high - self.space.low
        inside = np.clip(start, self.space.low + 1e-9 * span, self.space.high - 1e-9 * span)
        found = optimize.least_squares(
            self.residuals,
            inside,
            jac="2-point" if self._jacobian is None else self.jacobian,
            bounds=(self.space.low, self.space.high),
            loss="linear" if self.loss == "squares" else "huber",
            f_scale=self.delta,
            x_scale="jac",
            max_nfev=max_calls,
            xtol=min(gain, 1e-9),
            ftol=gain,
            gtol=1e-14,
        )
        return np.asarray(found.x)

    def polish(self, start: Floats, *, rounds: int = 3, max_steps: int = 1000, gain: float = 1e-14) -> Floats:
        """Go on by the quasi-Newton method where the trust region stops: at the edges of Huber's loss."""
        if len(start) == 0:
            return start
        best, least = start, self.objective(start)
        for _ in range(rounds):
            scale = 1.0 / max(least, 1e-300)
            found = optimize.minimize(
                lambda at, by=scale: tuple(by * part for part in self.gradient(at)),
                best,
                jac=True,
                method="L-BFGS-B",
                bounds=list(zip(self.space.low, self.space.high, strict=True)),
                options={"maxiter": max_steps, "ftol": gain, "gtol": 1e-10, "maxcor": 30},
            )
            now = self.objective(np.asarray(found.x))
            if not now < least:
                break
            gain, best, least = (least - now) / least, np.asarray(found.x), now
            if gain < 1e-9:
                break
        return best

    def solve(self, starts: Sequence[Floats]) -> Floats:
        """The best point reached from any start."""
        ends = [self.follow(start) for start in starts]
        ends.sort(key=self.objective)
        if self.objective(ends[0]) <= _NOTHING * len(self.residuals(ends[0])):
            return ends[0]
        return min((self.polish(end) for end in ends[:3]), key=self.objective)

    def resolve(self, start: Floats) -> Floats:
        """The best point near a start: for refits of nearly the same problem."""
        end = self.polish(self.follow(start, max_calls=60), rounds=1, max_steps=60)
        return min((start, end), key=self.objective)

    def spread(self, vector: Floats) -> float:
        """Variance of a residual as far as the objective feels it: that of squares, or E psi^2 / E psi'."""
        residuals, free = self.residuals(vector), len(vector)
        degrees = max(len(residuals) - free, 1)
        if self.loss == "squares":
            return float((residuals * residuals).sum() / degrees)
        pull = np.clip(residuals, -self.delta, self.delta)
        # The share within delta may be of a handful of points: the density around 0 says it better. A fit of
        # absolute differences passes through as many points as there are parameters: these say nothing.
        size = np.sort(np.abs(residuals))[min(free, len(residuals) - 1) :]
        width = max(self.delta, 0.7 * float(np.median(size)))
        inside = float((size <= width).mean()) * self.delta / width
        return float((pull * pull).sum() / degrees / inside)


@dataclass(frozen=True, slots=True)
class Profile:
    """The least objective for given values of one parameter, all others being free."""

    name: str
    values: tuple[float, ...]
    objectives: tuple[float, ...]


@dataclass(frozen=True)
class Fit:
    """Parameters, and how well the data know them."""

    values: dict[str, float]
    objective: float
    residuals: Floats
    problem: Problem
    vector: Floats
    draws: dict[str, Floats] = field(default_factory=dict)
    """Values of each free parameter in the bootstrap; empty without one."""

    @property
    def num_points(self) -> int:
        """Residuals that were fitted."""
        return len(self.residuals)

    def intervals(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Percentile intervals of the bootstrap.

        With few runs these are too narrow by some points of coverage; those of `ends` hold.

        Raises:
            ConfigError: there was no bootstrap, or the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ConfigError(f"a level lies between 0 and 1: {level}")
        if not self.draws:
            raise ConfigError("intervals need a bootstrap", hint="fit(..., bootstrap=200)")
        ends = [(1 - level) / 2, (1 + level) / 2]
        return {name: tuple(np.quantile(draws, ends).tolist()) for name, draws in self.draws.items()}

    def profile(self, name: str, grid: Sequence[float] | None = None) -> Profile:
        """Refit with one parameter held at each value of `grid` (21 values over its bounds)."""
        from curate.laws.profiles import profile

        return profile(self, name, grid)

    @cached_property
    def ends(self) -> "dict[str, Bounded]":
        """The 90 % interval of each free parameter by its profile; an open end reaches the bounds."""
        from curate.laws.profiles import bounded

        return {each.name: bounded(self, each.name) for each in self.problem.space.free}

    @cached_property
    def doubts(self) -> dict[str, str]:
        """What the data do not say: a sentence for each free parameter that they do not identify."""
        from curate.laws.profiles import doubts

        return doubts(self)

    @property
    def identified(self) -> dict[str, bool]:
        """Whether the data bound each free parameter on both sides."""
        return {each.name: each.name not in self.doubts for each in self.problem.space.free}


def fit(  # over: what is minimised, and how
    parameters: Sequence[Parameter],
    residuals: Residuals,
    data: Mapping[str, npt.ArrayLike],
    *,
    loss: Loss = "huber",
    delta: float = 1e-3,
    start: Mapping[str, float] | Sequence[Mapping[str, float]] | None = None,
    max_starts: int = 24,
    bootstrap: int = 0,
    groups: Sequence[object] | None = None,
    seed: int = 42,
    jacobian: Jacobian | None = None,
) -> Fit:
    """Find the parameters with the least sum of Huber's function (or half squares) of the residuals.

    Args:
        parameters: Bounds, starts, ties.
        residuals: Function of (values by name, columns) that gives one residual a row; affine in what was
            observed, such as ln predicted - ln observed, for the bootstrap of residuals to hold.
        data: Columns of equal length, finite.
        loss: `huber`, or `squares`.
        delta: Size from which on a residual counts linearly.
        start: Values of one more start, or of several, which are always followed.
        max_starts: Starts that are followed, the best of the grid.
        bootstrap: Refits for the intervals.
        groups: A label for each row; the bootstrap then draws whole groups of rows instead of residuals.
        seed: Of the bootstrap, and of the sample of a very large grid.
        jacobian: Exact derivatives, for laws of many parameters.

    Raises:
        DataError: the data are not finite, or fewer than the free parameters and one more.
        ConfigError: a setting is wrong.
    """
    if not (math.isfinite(delta) and delta > 0):
        raise ConfigError(f"delta is above 0: {delta}")
    space, columns = Space(parameters), checked_data(data)
    num_rows = len(next(iter(columns.values())))
    if num_rows <= len(space.free):
        names = ", ".join(each.name for each in space.free)
        raise DataError(
            f"{len(space.free)} parameters ({names}) need more than {len(space.free)} runs: {num_rows}",
            hint="add runs, or fix or tie parameters",
        )
    problem = Problem(space, residuals, columns, loss, delta, jacobian)
    grid = sorted(space.grid(seed), key=problem.objective)[:max_starts]
    given = [] if start is None else [start] if isinstance(start, Mapping) else start
    best = problem.solve([*map(space.vector, given), *grid])
    left = problem.residuals(best)
    found = Fit(space.values(best), problem.total(left), left, problem, best)
    if bootstrap == 0:
        return found
    draws = _draws(found, bootstrap, groups, seed)
    by_name = {each.name: draws[:, at] for at, each in enumerate(space.free)}
    return Fit(found.values, found.objective, left, problem, best, by_name)


def _draws(found: Fit, count: int, groups: Sequence[object] | None, seed: int) -> Floats:
    """Refit `count` resampled problems; values of the free parameters, shape [count, free]."""
    if count < 20:
        raise ConfigError(f"a bootstrap has at least 20 refits: {count}")
    draw, first = np.random.Generator(np.random.PCG64(seed)), found.problem
    rows = []
    for _ in range(count):
        if groups is None:
            again = _with_new_residuals(found, draw)
        else:
            places = _whole_groups(groups, found.num_points, draw)
            again = first.changed(data={name: column[places] for name, column in first.data.items()})
        values = first.space.values(again.resolve(found.vector))
        rows.append([values[each.name] for each in first.space.free])
    return np.array(rows).reshape(count, len(first.space.free))


def _with_new_residuals(found: Fit, draw: np.random.Generator) -> Problem:
    """The problem of observations that are predictions plus residuals drawn anew.

    As many of the smallest as there are parameters are not drawn: a fit of absolute differences goes through
    so many points, and their zeros would make the refits agree too well. Of squares, what is left has the
    variance of the errors.
    """
    first, left = found.problem, found.residuals
    if len(left) <= len(found.vector):
        raise DataError(f"there are not more residuals than parameters: {len(left)}, {len(found.vector)}")
    telling = left[np.sort(np.argsort(np.abs(left), kind="stable")[len(found.vector) :])]
    shift = (telling - telling.mean())[draw.integers(0, len(telling), len(left))] - left
    return first.changed(shift=shift)


def _whole_groups(
    groups: Sequence[object], num_points: int, draw: np.random.Generator
) -> npt.NDArray[np.int64]:
    if len(groups) != num_points:
        raise ConfigError(f"a group is needed for each of {num_points} rows, there are {len(groups)}")
    places: dict[object, list[int]] = {}
    for at, group in enumerate(groups):
        places.setdefault(group, []).append(at)
    members = list(places.values())
    chosen = draw.integers(0, len(members), len(members))
    return np.concatenate([np.array(members[at], dtype=np.int64) for at in chosen])
