"""How much of which source: the best mixture by projected performance, over a grid or by gradient.

The cost of transporting a mixture onto the validation set is measured on embeddings: points of a source share
its weight equally. Its gradient by the share of source i, others giving up mass evenly over their points, is
the mean potential of i's points minus that of all others (projektor, Kang et al. 2023, arXiv:2307.02460). The
search takes p <- the nearest point of the simplex to p +- rate_t dL/dp, rate_t = 5e-4 * .9^t, as published.
By Sinkhorn the potentials are those of the regularised objective, and the gradient is near that of the cost.

Cost: one transport a step, and one a mixture and repetition for `mixture_distances`. Not here: the law
(transport.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from curate.errors import ConfigError, DataError
from curate.laws.parameters import Floats
from curate.laws.transport import Slopes
from curate.laws.transport_terms import checked_shares
from curate.laws.wasserstein import Moved, TransportSettings, checked_points, transport
from curate.schema import Settings

Objective = Callable[[Floats, float], Slopes]
"""(shares, transport cost) -> value and slopes, as `TransportLaw.slopes`."""


def project_simplex(point: npt.ArrayLike) -> Floats:
    """The nearest point whose coordinates are 0 or more and sum to 1.

    Raises:
        DataError: it is empty or not finite.
    """
    values = np.asarray(point, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise DataError(f"a point of the simplex is one or more finite numbers: {values.tolist()!r:.80}")
    falling = np.sort(values)[::-1]
    excess = (np.cumsum(falling) - 1.0) / np.arange(1, len(values) + 1)
    last = int(np.flatnonzero(falling > excess)[-1])
    return np.asarray(np.maximum(values - excess[last], 0.0))


def calibrated_gradient(potential: npt.ArrayLike, owner: npt.ArrayLike, num_sources: int) -> Floats:
    """Change of the transport cost by the share of each source, all others giving up mass evenly.

    Args:
        potential: Of each training point, from `transport`.
        owner: Source of each.
        num_sources: All of them have points, and there are at least two.

    Raises:
        DataError: lengths differ, a source has no points.
    """
    values, places = np.asarray(potential, dtype=np.float64), np.asarray(owner)
    if values.ndim != 1 or values.shape != places.shape:
        raise DataError(f"there is one source for each potential: {values.shape}, {places.shape}")
    if num_sources < 2 or not np.issubdtype(places.dtype, np.integer):
        raise DataError(f"sources are whole numbers, two or more: {num_sources}, {places.dtype}")
    if places.min() < 0 or places.max() >= num_sources:
        raise DataError(f"a source lies from 0 to {num_sources - 1}: {places.min()} to {places.max()}")
    counts = np.bincount(places, minlength=num_sources)
    if (counts == 0).any():
        raise DataError(f"source {int(np.argmin(counts))} has no points")
    # The constant of potentials does not count, its size would cost digits.
    values = values - values.mean()
    sums = np.bincount(places, weights=values, minlength=num_sources)
    return np.asarray(sums / counts - (values.sum() - sums) / (len(values) - counts))


def _stacked(sources: Sequence[npt.ArrayLike]) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All points, the source of each, and how many each has."""
    sets = [checked_points(points, f"source {at}") for at, points in enumerate(sources)]
    if len(sets) < 2:
        raise DataError(f"a mixture has two or more sources: {len(sets)}")
    widths = {points.shape[1] for points in sets}
    if len(widths) > 1:
        raise DataError(f"sources have different dimensions: {sorted(widths)}")
    counts = np.array([len(points) for points in sets])
    return np.concatenate(sets), np.repeat(np.arange(len(sets)), counts), counts


def move_mixture(
    sources: Sequence[npt.ArrayLike],
    shares: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    settings: TransportSettings | None = None,
) -> Moved:
    """Move a mixture of sets of embeddings, their points weighted by share, onto a target.

    Raises:
        DataError: shapes differ, or shares do not sum to 1.
    """
    points, owner, counts = _stacked(sources)
    names = [str(at) for at in range(len(counts))]
    weights = (checked_shares(shares, names)[0] / counts)[owner]
    return transport(points, target, source_weights=weights, settings=settings)


def mixture_distances(
    sources: Sequence[npt.ArrayLike],
    shares: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    num_points: int,
    repeats: int = 5,
    settings: TransportSettings | None = None,
    seed: int = 42,
) -> Floats:
    """Transport cost of each mixture: the median over repetitions with other points of every set.

    Args:
        sources: Embeddings of each source, shape [points, dimensions].
        shares: Shape [mixtures, sources].
        target: Embeddings of the validation set.
        num_points: Drawn from a mixture, by its shares, and from the target (all of a smaller one).
        repeats: Repetitions.
        settings: Of transport; `exact` is fast here, the points having equal weight.
        seed: Of the draws; the same repetition draws the same points of a source for all mixtures, more of
            them where its share is larger.

    Raises:
        DataError: a source has fewer points than a share asks for.
        ConfigError: a number is below 1.
    """
    points, owner, counts = _stacked(sources)
    goals = checked_points(target, "target")
    table = checked_shares(shares, [str(at) for at in range(len(counts))])
    if num_points < 1 or repeats < 1:
        raise ConfigError(f"num_points and repeats are 1 or more: {num_points}, {repeats}")
    wanted = np.array([_counts(counts, row, num_points) for row in table])
    found = np.empty((repeats, len(table)))
    for again in range(repeats):
        draw = np.random.Generator(np.random.PCG64([seed, again]))
        orders = [draw.permutation(np.flatnonzero(owner == at)) for at in range(len(counts))]
        chosen = goals[draw.permutation(len(goals))[:num_points]]
        for mixture, numbers in enumerate(wanted):
            rows = np.concatenate([order[:number] for order, number in zip(orders, numbers, strict=True)])
            found[again, mixture] = transport(points[rows], chosen, settings=settings).cost
    return np.asarray(np.median(found, axis=0))


def _counts(sizes: npt.NDArray[np.int64], shares: Floats, num_points: int) -> npt.NDArray[np.int64]:
    """Whole numbers of points by shares, the largest remainders rounded up."""
    exact = shares * num_points
    counts = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: num_points - int(counts.sum())]] += 1
    short = np.flatnonzero(counts > sizes)
    if len(short):
        at = int(short[0])
        raise DataError(
            f"source {at} has fewer points than its share of {num_points}: {sizes[at]}, {counts[at]}",
            hint="embed more of it, or lower num_points",
        )
    return counts


class Search(Settings):
    """Settings of the search by gradient."""

    rate: float = Field(default=5e-4, gt=0, allow_inf_nan=False)
    """Step for a slope of 1."""
    decay: float = Field(default=0.9, gt=0, le=1)
    """Factor of the rate from each step to the next."""
    steps: int = Field(default=100, ge=1)
    maximise: bool = True
    """Performance is better when higher; false for losses."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Where a search by gradient went."""

    shares: Floats
    """The best mixture on the way."""
    value: float
    path: Floats
    """Shape [steps + 1, sources]."""
    values: Floats
    """Of each mixture of the path."""


def select_sources(
    objective: Objective,
    sources: Sequence[npt.ArrayLike],
    target: npt.ArrayLike,
    *,
    start: npt.ArrayLike | None = None,
    search: Search | None = None,
    settings: TransportSettings | None = None,
) -> Selected:
    """Follow the gradient of performance, through the shares and through the transport cost.

    Args:
        objective: Such as `law.slopes` of stage 1, or `lambda p, t: law.slopes(p, t, scale=N)` of both.
        sources: Embeddings of each source.
        target: Embeddings of the validation set.
        start: Mixture to begin with; None is even.
        search: Rates and steps.
        settings: Of transport.

    Raises:
        DataError: shapes differ, or a slope is not finite.
    """
    search = search or Search()
    points, owner, counts = _stacked(sources)
    size = len(counts)
    even = np.full(size, 1.0 / size)
    shares = checked_shares(even if start is None else start, [str(at) for at in range(size)])[0]
    path, values = [shares], []
    for step in range(search.steps + 1):
        moved = transport(points, target, source_weights=(shares / counts)[owner], settings=settings)
        at = objective(shares, moved.cost)
        values.append(at.value)
        if step == search.steps:
            break
        slope = at.by_share + at.by_distance * calibrated_gradient(moved.source_potential, owner, size)
        if not np.isfinite(slope).all():
            raise DataError(f"the slope of source {int(np.argmin(np.isfinite(slope)))} is not finite")
        rate = search.rate * search.decay**step
        shares = project_simplex(shares + (rate if search.maximise else -rate) * slope)
        path.append(shares)
    best = int(np.argmax(values) if search.maximise else np.argmin(values))
    return Selected(path[best], float(values[best]), np.array(path), np.array(values))


def best_mixture(
    predicted: npt.ArrayLike, shares: npt.ArrayLike, *, maximise: bool = True
) -> tuple[Floats, float]:
    """The mixture with the best predicted performance, the first of equal ones.

    Raises:
        DataError: numbers differ, or a prediction is not finite.
    """
    values, table = np.asarray(predicted, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if values.ndim != 1 or table.ndim != 2 or len(values) != len(table) or not len(values):
        raise DataError(f"there is one prediction for each mixture: {values.shape}, {table.shape}")
    if not np.isfinite(values).all():
        raise DataError(f"prediction of mixture {int(np.argmin(np.isfinite(values)))} is not finite")
    at = int(np.argmax(values) if maximise else np.argmin(values))
    return table[at].copy(), float(values[at])
