"""Optimal transport between sets of embeddings: its cost, and the potentials that say which points are dear.

Moving a unit of mass from x to y costs |x - y|^power. `exact` is the least cost of moving one weighted set
onto the other (Kantorovich); `sinkhorn` adds `regularisation` times the entropy of the plan (Cuturi 2013,
arXiv:1306.0895), stabilised by logarithms, the regularisation coming down from the greatest cost by halves.
`debias` takes off half of what each set costs with itself (Feydy et al. 2019, arXiv:1810.08278).
Regularisation is in units of the cost: scale embeddings to about 1.

Exact transport between equally many points of equal weight is an assignment; with other weights it is a
linear program up to `MAX_CELLS` pairs, and beyond them the package POT's (the extra `transport`).

Cost: 1,000 against 1,000 points take about a second exactly, some seconds by Sinkhorn at 1e-2; memory is a
few tables of all pairs. Not here: what is predicted from it (transport.py), distances between labels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import optimize, sparse  # type: ignore[import-untyped]
from scipy.spatial import distance as spatial  # type: ignore[import-untyped]

from curate.errors import DataError, MissingExtra
from curate.laws.parameters import Floats
from curate.schema import Settings

MAX_CELLS = 100_000
"""Pairs of points up to which SciPy solves the linear program, in seconds."""
STEPS_ON_THE_WAY = 10
"""Iterations at each regularisation above the wanted one."""
STEPS_AT_ONCE = 200
"""Iterations by scaling vectors between two in logarithms."""
NEWTON_STEPS = 30
MAX_NEWTON = 3000
"""Target points up to which Newton's method finishes what scaling does slowly, as between far clusters."""
MAX_SCALE = 1e100
"""Size from which on the vectors go over into the potentials."""


class TransportSettings(Settings):
    """How transport is computed."""

    method: Literal["exact", "sinkhorn"] = "sinkhorn"
    power: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    """Of the Euclidean distance."""
    regularisation: float = Field(default=1e-2, gt=0, allow_inf_nan=False)
    """Weight of the entropy, in units of the cost."""
    debias: bool = False
    """Take off what each set costs with itself."""
    max_iterations: int = Field(default=20_000, ge=1)
    tolerance: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    """Mass that may be at the wrong place when the iteration ends."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Transport from a source to a target."""

    cost: float
    """Mass times |x - y|^power; after `debias` the same as `objective`."""
    objective: float
    """What was minimised: of this the potentials are the gradients. Without entropy it is the cost."""
    source_potential: Floats
    """What more mass at each source point costs, up to one constant."""
    target_potential: Floats
    num_iterations: int
    """Of Sinkhorn; 0 for exact transport."""


def pair_costs(source: Floats, target: Floats, power: float = 2.0) -> Floats:
    """Cost of each pair, shape [source points, target points]."""
    squares: Floats = spatial.cdist(source, target, "sqeuclidean")
    return squares if power == 2 else np.asarray(np.power(squares, power / 2))


def checked_points(points: npt.ArrayLike, name: str) -> Floats:
    """Take embeddings, shape [points, dimensions].

    Raises:
        DataError: the shape is wrong or a value is not finite.
    """
    found = np.asarray(points, dtype=np.float64)
    if found.ndim != 2 or 0 in found.shape:
        raise DataError(f"{name}: embeddings have the shape [points, dimensions]: {found.shape}")
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise DataError(f"{name}: the embedding of point {row} is not finite")
    return found


def _weights(given: npt.ArrayLike | None, size: int, name: str) -> Floats:
    if given is None:
        return np.full(size, 1.0 / size)
    found = np.asarray(given, dtype=np.float64)
    if found.shape != (size,):
        raise DataError(f"{name}: there is one weight for each of {size} points: {found.shape}")
    bad = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if len(bad):
        raise DataError(f"{name}: the weight of point {bad[0]} is finite and not below 0: {found[bad[0]]}")
    if abs(float(found.sum()) - 1.0) > 1e-6:
        raise DataError(f"{name}: weights sum to 1: {found.sum():.9g}", hint="divide by their sum")
    return np.asarray(found / found.sum())


def transport(
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    source_weights: npt.ArrayLike | None = None,
    target_weights: npt.ArrayLike | None = None,
    settings: TransportSettings | None = None,
) -> Moved:
    """Move the source onto the target.

    Points of weight 0 have potentials too: what the first mass at them would cost.

    Args:
        source: Embeddings, shape [points, dimensions].
        target: Embeddings, shape [points, dimensions].
        source_weights: Mass of each point, sum 1; None is equal.
        target_weights: Mass of each point, sum 1; None is equal.
        settings: How.

    Raises:
        DataError: shapes differ, a value is not finite, weights do not sum to 1, or Sinkhorn does not end.
        MissingExtra: exact transport of this size needs POT.
    """
    settings = settings or TransportSettings()
    points, goals = checked_points(source, "source"), checked_points(target, "target")
    if points.shape[1] != goals.shape[1]:
        raise DataError(f"source and target have different dimensions: {points.shape[1]}, {goals.shape[1]}")
    mass = _weights(source_weights, len(points), "source_weights")
    need = _weights(target_weights, len(goals), "target_weights")
    costs = pair_costs(points, goals, settings.power)
    if not np.isfinite(costs).all():
        raise DataError(f"|x - y|^{settings.power:g} is not finite for some points", hint="scale embeddings")
    if settings.method == "exact":
        return _exact(costs, mass, need)
    found = _sinkhorn(costs, mass, need, settings)
    if not settings.debias:
        return found
    at_source = _with_itself(points, mass, settings)
    at_target = _with_itself(goals, need, settings)
    value = found.objective - float(mass @ at_source) - float(need @ at_target)
    return Moved(
        cost=value,
        objective=value,
        source_potential=found.source_potential - at_source,
        target_potential=found.target_potential - at_target,
        num_iterations=found.num_iterations,
    )


def _exact(costs: Floats, mass: Floats, need: Floats) -> Moved:
    used, wanted = np.flatnonzero(mass > 0), np.flatnonzero(need > 0)
    inner = costs[np.ix_(used, wanted)]
    give, take = mass[used], need[wanted]
    if len(give) == len(take) and np.ptp(give) == 0 and np.ptp(take) == 0:
        cost, goal = _assignment(inner)
    elif inner.size <= MAX_CELLS:
        cost, goal = _program(inner, give, take)
    else:
        cost, goal = _by_pot(inner, give, take)
    # The greatest potentials that no pair forbids, for points without mass as well.
    source_potential = (costs[:, wanted] - goal).min(axis=1)
    target_potential = (costs - source_potential[:, None])[used].min(axis=0)
    return Moved(cost, cost, source_potential, target_potential, 0)


def _assignment(costs: Floats) -> tuple[float, Floats]:
    """Least mean cost of a matching, and potentials of the columns by shortest paths over it."""
    rows, columns = optimize.linear_sum_assignment(costs)
    matched = costs[rows, columns]
    slack = costs - matched[:, None]
    goal = np.zeros(costs.shape[1])
    for _ in range(costs.shape[1]):
        # Along an edge from the column of a row to another column.
        closer = np.minimum(goal, (goal[columns][:, None] + slack).min(axis=0))
        if (closer >= goal - 1e-15 * (1.0 + np.abs(goal))).all():
            break
        goal = closer
    return float(matched.mean()), goal


def _program(costs: Floats, give: Floats, take: Floats) -> tuple[float, Floats]:
    size, goals = costs.shape
    sums = sparse.vstack(
        [
            sparse.kron(sparse.eye(size), np.ones((1, goals))),
            sparse.kron(np.ones((1, size)), sparse.eye(goals)),
        ],
        format="csr",
    )
    found = optimize.linprog(costs.ravel(), A_eq=sums, b_eq=np.concatenate([give, take]), method="highs")
    if not found.success:
        raise DataError(f"the linear program of transport did not end: {found.message}")
    return float(found.fun), np.asarray(found.eqlin.marginals[size:], dtype=np.float64)


def _by_pot(costs: Floats, give: Floats, take: Floats) -> tuple[float, Floats]:
    try:
        import ot  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as exc:
        raise MissingExtra(
            f"exact transport of more than {MAX_CELLS} pairs of unequal weight needs POT: "
            f"pip install 'curate[transport]': {costs.shape[0]} x {costs.shape[1]}",
            hint="or method='sinkhorn', or fewer points",
        ) from exc
    cost, log = ot.emd2(give, take, np.ascontiguousarray(costs), log=True, numItermax=10_000_000)
    return float(cost), np.asarray(log["v"], dtype=np.float64)


def _sinkhorn(costs: Floats, mass: Floats, need: Floats, settings: TransportSettings) -> Moved:
    used, wanted = np.flatnonzero(mass > 0), np.flatnonzero(need > 0)
    inner = costs[np.ix_(used, wanted)]
    scaling = _Scaling(inner, mass[used], need[wanted])
    last, level = settings.regularisation, max(float(inner.max()), settings.regularisation)
    while level > last:
        scaling.run(level, STEPS_ON_THE_WAY, settings.tolerance)
        level = max(level / 2, last)
    error = scaling.run(last, settings.max_iterations, settings.tolerance)
    _check_end(error, settings, float(inner.max()))
    source, goal = scaling.source, scaling.goal
    cost = float((scaling.plan(last) * inner).sum())
    objective = float(mass[used] @ source + need[wanted] @ goal)
    # Potentials of points without mass follow from those of the other side.
    whole_source = _soft_least(costs[:, wanted], goal, np.log(need[wanted]), last)
    whole_goal = _soft_least(costs[used].T, source, np.log(mass[used]), last)
    return Moved(cost, objective, whole_source, whole_goal, scaling.num_iterations)


class _Scaling:
    """Sinkhorn's iteration: vectors scale the plan, and go over into the potentials before they overflow."""

    def __init__(self, costs: Floats, mass: Floats, need: Floats) -> None:
        self.costs, self.mass, self.need = costs, mass, need
        self.give, self.take = np.log(mass), np.log(need)
        self.source, self.goal = np.zeros(len(mass)), np.zeros(len(need))
        self.num_iterations = 0

    def plan(self, level: float) -> Floats:
        """The plan that the potentials stand for."""
        table = (self.source[:, None] + self.goal - self.costs) / level
        return np.asarray(np.exp(table + (self.give[:, None] + self.take)))

    def run(self, level: float, steps: int, tolerance: float) -> float:
        """Iterate at one regularisation; the mass that is misplaced at the end."""
        error = np.inf
        while steps > 0 and not error < tolerance:
            self.source = _soft_least(self.costs, self.goal, self.take, level)
            self.goal = _soft_least(self.costs.T, self.source, self.give, level)
            taken = min(steps, STEPS_AT_ONCE)
            error, done = self._scale(level, taken, tolerance)
            steps -= max(done, 1)
            self.num_iterations += max(done, 1)
            if taken == STEPS_AT_ONCE and not error < tolerance and len(self.need) <= MAX_NEWTON:
                error = self._newton(level, tolerance)
        return error

    def _newton(self, level: float, tolerance: float) -> float:
        """Newton's method with halved steps on the target's potential, the source's being its best answer."""
        error = np.inf
        for _ in range(NEWTON_STEPS):
            self.source = _soft_least(self.costs, self.goal, self.take, level)
            plan = self.plan(level)
            miss = self.need - plan.sum(axis=0)
            error = float(np.abs(miss).sum())
            if error < tolerance:
                break
            self.num_iterations += 1
            curve = np.diag(self.need - miss) - plan.T @ (plan / self.mass[:, None])
            # A constant is free: the first potential stays.
            ridge = 1e-15 * np.eye(len(miss) - 1)
            try:
                step = np.append(0.0, np.linalg.solve(curve[1:, 1:] + ridge, level * miss[1:]))
            except np.linalg.LinAlgError:
                break
            if not self._try(step, float(miss @ step), level):
                break
        return error

    def _try(self, step: Floats, slope: float, level: float) -> bool:
        """Take a step, or the half of it and so on, that raises the objective; false where none does."""
        if not (np.isfinite(step).all() and slope > 0):
            return False
        before = float(self.mass @ self.source + self.need @ self.goal)
        for halvings in range(40):
            goal = self.goal + step * 0.5**halvings
            source = _soft_least(self.costs, goal, self.take, level)
            if self.mass @ source + self.need @ goal >= before + 1e-4 * 0.5**halvings * slope:
                self.goal = goal
                return True
        return False

    def _scale(self, level: float, steps: int, tolerance: float) -> tuple[float, int]:
        """Up to `steps` iterations by vectors; stops early where their range runs out."""
        plan = self.plan(level)
        rows, columns = np.ones(len(self.mass)), np.ones(len(self.need))
        error, done = np.inf, 0
        for _ in range(steps):
            sums = plan @ columns
            error = float(np.abs(rows * sums - self.mass).sum())
            if error < tolerance or not (sums > 0).all():
                break
            now = self.mass / sums
            other = self.need / np.maximum(now @ plan, np.finfo(np.float64).tiny)
            if max(now.max(), other.max()) > MAX_SCALE or min(now.min(), other.min()) < 1 / MAX_SCALE:
                break
            rows, columns, done = now, other, done + 1
        self.source = self.source + level * np.log(rows)
        self.goal = self.goal + level * np.log(columns)
        return error, done


def _with_itself(points: Floats, mass: Floats, settings: TransportSettings) -> Floats:
    """Potential of a set and itself, the gradient of half of what it costs; by means of old and new."""
    costs, used = pair_costs(points, points, settings.power), np.flatnonzero(mass > 0)
    inner, log_mass = costs[np.ix_(used, used)], np.log(mass[used])
    last, level = settings.regularisation, max(float(inner.max()), settings.regularisation)
    potential, error = np.zeros(len(used)), np.inf
    while True:
        for _ in range(settings.max_iterations if level <= last else STEPS_ON_THE_WAY):
            new = _soft_least(inner, potential, log_mass, level)
            error = float((mass[used] * np.abs(np.expm1(np.clip((potential - new) / level, -50, 50)))).sum())
            potential = 0.5 * (potential + new)
            if error < settings.tolerance:
                break
        if level <= last:
            break
        level = max(level / 2, last)
    _check_end(error, settings, float(inner.max()))
    return _soft_least(costs[:, used], potential, log_mass, last)


def _check_end(error: float, settings: TransportSettings, greatest: float) -> None:
    if not error < settings.tolerance:
        raise DataError(
            f"Sinkhorn left {error:.3g} of the mass misplaced after {settings.max_iterations} iterations, "
            f"not {settings.tolerance:g}, at regularisation {settings.regularisation:g}, "
            f"with costs up to {greatest:.4g}",
            hint="scale embeddings down, or raise regularisation or max_iterations",
        )


def _soft_least(costs: Floats, other: Floats, log_mass: Floats, level: float) -> Floats:
    """-level ln sum_j mass_j exp((other_j - cost_ij) / level), for each i."""
    table = costs * (-1.0 / level)
    table += other / level + log_mass
    top = table.max(axis=1)
    table -= top[:, None]
    np.exp(table, out=table)
    return np.asarray(-level * (np.log(table.sum(axis=1)) + top))
