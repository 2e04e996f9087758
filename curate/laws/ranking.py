"""Does a proxy rank recipes as the target does, and how noisy is the ranking?

Decision accuracy is the share of pairs of recipes whose order by the proxy is that by the target (DataDecide,
Magnusson et al. 2025, arXiv:2504.11393). With ties counted as half it is (tau_a + 1) / 2. Spearman's rho as
RegMix reports it (Liu et al. 2024, arXiv:2407.01492) is 100 times the one here. Noise of seeds: Madaan et al.
2024, arXiv:2406.10229.

Cost: the square of the number of recipes, in time and memory; a bootstrap over recipes adds one product of
matrices. Not here: predictions of a target's score (two_step.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from curate.errors import ConfigError, DataError
from curate.laws.fitting import checked_data
from curate.laws.parameters import Floats

Ties = Literal["half", "skip", "wrong"]
TIES = ("half", "skip", "wrong")

MAX_RECIPES = 10_000
"""Pairs are held as a matrix."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a proxy agrees with the target."""

    num_recipes: int
    num_tied: int
    """Pairs of recipes that are equal by the proxy, by the target, or by both."""
    decision_accuracy: float
    kendall_a: float
    kendall_b: float
    spearman: float
    pearson: float

    @property
    def spearman_x100(self) -> float:
        """Spearman's rho in hundredths, as RegMix reports it."""
        return 100 * self.spearman


def _pair(proxy: npt.ArrayLike, target: npt.ArrayLike, *, least: int = 2) -> tuple[Floats, Floats]:
    found = checked_data({"proxy": proxy, "target": target}, at="recipes")
    size = len(found["proxy"])
    if not least <= size <= MAX_RECIPES:
        raise DataError(f"a ranking has {least} to {MAX_RECIPES} recipes: {size}")
    return found["proxy"], found["target"]


def _varied(**columns: Floats) -> None:
    for name, column in columns.items():
        if (column == column[0]).all():
            raise DataError(
                f"all {len(column)} recipes have the same {name}: {column[0]}",
                hint="no correlation is defined; decision_accuracy and kendall_a are",
            )


def _orders(values: Floats) -> npt.NDArray[np.int8]:
    """Sign of the difference of each pair; shape [recipes, recipes]."""
    return np.sign(values[:, None] - values[None, :]).astype(np.int8)


def _points(proxy: Floats, target: Floats, ties: Ties) -> tuple[Floats, Floats]:
    """What each pair counts, and the most it can count; both symmetric with a diagonal of 0."""
    if ties not in TIES:
        raise ConfigError(f"ties is one of {', '.join(TIES)}: {ties!r}")
    product = _orders(proxy).astype(np.float64) * _orders(target)
    value = {"half": 0.5, "skip": 0.0, "wrong": 0.0}[ties]
    points = np.where(product > 0, 1.0, np.where(product < 0, 0.0, value))
    most = np.where(product == 0, 0.0, 1.0) if ties == "skip" else np.ones_like(points)
    np.fill_diagonal(points, 0.0)
    np.fill_diagonal(most, 0.0)
    return points, most


def decision_accuracy(proxy: npt.ArrayLike, target: npt.ArrayLike, *, ties: Ties = "half") -> float:
    """Share of pairs of recipes that the proxy orders as the target does.

    Args:
        proxy: One value a recipe.
        target: One value a recipe, better in the same direction as the proxy's.
        ties: A pair that is equal by either counts `half`, not at all (`skip`), or as `wrong`.

    Raises:
        DataError: there are fewer than two recipes, or no pair counts.
    """
    first, second = _pair(proxy, target)
    points, most = _points(first, second, ties)
    if not most.any():
        raise DataError(f"every pair of {len(first)} recipes is tied: {first[0]}", hint="ties='half'")
    return float(points.sum() / most.sum())


def kendall_a(proxy: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Pairs ordered alike minus pairs ordered otherwise, over all pairs; ties count as neither."""
    first, second = _pair(proxy, target)
    size = len(first)
    total = float((_orders(first).astype(np.int64) * _orders(second)).sum())
    return total / (size * (size - 1))


def kendall_b(proxy: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """The same over the geometric mean of the pairs that are not tied by the proxy and by the target.

    Raises:
        DataError: all recipes are equal by one of them.
    """
    first, second = _pair(proxy, target)
    _varied(proxy=first, target=second)
    one, other = _orders(first).astype(np.int64), _orders(second).astype(np.int64)
    return float((one * other).sum() / np.sqrt(float((one * one).sum()) * float((other * other).sum())))


def pearson(proxy: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Correlation of the values.

    Raises:
        DataError: all recipes are equal by one of them.
    """
    first, second = _pair(proxy, target)
    _varied(proxy=first, target=second)
    # Scaled first: the squares of very large or very small values leave the range of floats.
    one, other = (_scaled(each - each.mean()) for each in (first, second))
    return float(np.clip((one @ other) / np.sqrt((one @ one) * (other @ other)), -1.0, 1.0))


def _scaled(values: Floats) -> Floats:
    return values / max(float(np.abs(values).max()), np.finfo(np.float64).tiny)


def spearman(proxy: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Correlation of the ranks; equal values share the mean of their ranks.

    Raises:
        DataError: all recipes are equal by one of them.
    """
    first, second = _pair(proxy, target)
    _varied(proxy=first, target=second)
    return pearson(stats.rankdata(first), stats.rankdata(second))


def agreement(proxy: npt.ArrayLike, target: npt.ArrayLike, *, ties: Ties = "half") -> Agreement:
    """All of the above, and the number of ties.

    Raises:
        DataError: all recipes are equal by one of them.
    """
    first, second = _pair(proxy, target)
    tied = (_orders(first) == 0) | (_orders(second) == 0)
    return Agreement(
        num_recipes=len(first),
        num_tied=int((tied.sum() - len(first)) // 2),
        decision_accuracy=decision_accuracy(first, second, ties=ties),
        kendall_a=kendall_a(first, second),
        kendall_b=kendall_b(first, second),
        spearman=spearman(first, second),
        pearson=pearson(first, second),
    )


@dataclass(frozen=True, slots=True)
class RankedProxy:
    """One proxy among others."""

    name: str
    agreement: Agreement
    low: float
    """Lower end of the interval of the decision accuracy."""
    high: float
    share_best: float
    """Share of the resamples of recipes in which no other proxy decides better; those equal share it."""


@dataclass(frozen=True, slots=True)
class ProxyRanking:
    """Proxies, the one with the best decision accuracy first; equal ones by name."""

    recipes: tuple[str, ...]
    level: float
    proxies: tuple[RankedProxy, ...]

    @property
    def best(self) -> RankedProxy:
        """The first."""
        return self.proxies[0]

    def as_text(self) -> str:
        """One line a proxy."""
        width = max(len(each.name) for each in self.proxies)
        head = f"{'proxy':<{max(width, 5)}}  decisions  {self.level:.0%} interval   best   rho x100  pearson"
        lines = [
            f"{each.name:<{max(width, 5)}}  {each.agreement.decision_accuracy:9.3f}  "
            f"{each.low:.3f} to {each.high:.3f}  {each.share_best:5.0%}  "
            f"{each.agreement.spearman_x100:9.2f}  {each.agreement.pearson:7.3f}"
            for each in self.proxies
        ]
        return "\n".join([head, *lines, f"over {len(self.recipes)} recipes"])


def rank_proxies(  # over: what is ranked, directions, and the bootstrap
    proxies: Mapping[str, Mapping[str, float]],
    target: Mapping[str, float],
    *,
    lower_is_better: Collection[str] = (),
    target_lower_is_better: bool = False,
    ties: Ties = "half",
    level: float = 0.9,
    bootstrap: int = 1000,
    seed: int = 42,
) -> ProxyRanking:
    """Say which proxy ranks recipes as the target does.

    Args:
        proxies: Score of each recipe by name of the proxy, such as a small scale or another metric.
        target: Score of each recipe.
        lower_is_better: Proxies of which a low value is good, such as losses.
        target_lower_is_better: Whether this holds for the target.
        ties: As in `decision_accuracy`.
        level: Of the intervals.
        bootstrap: Resamples of recipes; a pair of a recipe and its own copy does not count.
        seed: Of the bootstrap.

    Raises:
        DataError: recipes differ between a proxy and the target, or are fewer than three.
        ConfigError: a setting is wrong.
    """
    if not 0 < level < 1 or bootstrap < 20:
        raise ConfigError(f"level is between 0 and 1, bootstrap at least 20: {level}, {bootstrap}")
    if unknown := sorted(set(lower_is_better) - set(proxies)):
        raise ConfigError(f"lower_is_better names no proxy: {unknown[0]!r}")
    if not proxies:
        raise DataError("there is no proxy")
    recipes = tuple(sorted(target))
    wanted = _of_recipes(target, recipes, "target")
    goal = -wanted if target_lower_is_better else wanted
    counts = _resamples(len(recipes), bootstrap, seed)
    names = sorted(proxies)
    found, shares = [], np.empty((len(names), bootstrap))
    for at, name in enumerate(names):
        values = _of_recipes(proxies[name], recipes, name)
        values = -values if name in lower_is_better else values
        found.append(agreement(values, goal, ties=ties))
        points, most = _points(values, goal, ties)
        whole = np.einsum("bi,bi->b", counts @ most, counts)
        shares[at] = np.einsum("bi,bi->b", counts @ points, counts) / np.where(whole > 0, whole, np.nan)
    ends = np.nanquantile(shares, [(1 - level) / 2, (1 + level) / 2], axis=1)
    leads = np.where(np.isnan(shares), -1.0, shares)
    leads = np.isclose(leads, leads.max(axis=0), rtol=0, atol=1e-12).astype(np.float64)
    leads = (leads / leads.sum(axis=0)).mean(axis=1)
    ranked = [
        RankedProxy(name, found[at], float(ends[0, at]), float(ends[1, at]), float(leads[at]))
        for at, name in enumerate(names)
    ]
    ranked.sort(key=lambda each: (-each.agreement.decision_accuracy, each.name))
    return ProxyRanking(recipes, level, tuple(ranked))


def _of_recipes(values: Mapping[str, float], recipes: Sequence[str], proxy: str) -> Floats:
    missing, extra = sorted(set(recipes) - set(values)), sorted(set(values) - set(recipes))
    if missing or extra:
        what = f"lacks {missing[0]!r}" if missing else f"has {extra[0]!r}, which the target lacks"
        raise DataError(
            f"proxy {proxy!r} {what}: {len(missing)} recipes are missing, {len(extra)} are not in the target",
            hint="leave out recipes that were not measured everywhere",
        )
    for name in recipes:
        if not np.isfinite(values[name]):
            raise DataError(f"{proxy!r} of recipe {name!r} is not a finite number: {values[name]}")
    return np.array([values[name] for name in recipes], dtype=np.float64)


def _resamples(size: int, count: int, seed: int) -> Floats:
    """How often each recipe was drawn, at least two of them; shape [resamples, recipes]."""
    if size < 3:
        raise DataError(f"a bootstrap over recipes needs at least 3: {size}")
    draw = np.random.Generator(np.random.PCG64(seed))
    counts = np.empty((count, size))
    for at in range(count):
        while True:
            counts[at] = np.bincount(draw.integers(0, size, size), minlength=size)
            if (counts[at] > 0).sum() > 1:
                break
    return counts


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """How far the seeds of training move a score."""

    num_recipes: int
    num_seeds: int
    mean: float
    seed_std: float
    """Standard deviation between seeds of one recipe, pooled over recipes; with n - 1."""
    signal_to_noise: float
    """Mean score over `seed_std`; infinite where seeds agree exactly."""
    gap: float
    """Mean absolute difference of the means of two recipes; NaN for one recipe."""
    gap_to_noise: float
    """`gap` over `seed_std`: below about 2 one seed does not order two recipes."""


def seed_noise(scores: npt.ArrayLike) -> SeedNoise:
    """Measure the noise of seeds, after Madaan et al. 2024 (arXiv:2406.10229).

    Args:
        scores: Shape [recipes, seeds], at the end of training or averaged over checkpoints.

    Raises:
        DataError: there are fewer than two seeds, or a value is not finite.
    """
    table = _table(scores)
    means = table.mean(axis=1)
    spread = float(np.sqrt(table.var(axis=1, ddof=1).mean()))
    size = len(means)
    gap = float(np.abs(means[:, None] - means[None, :]).sum() / (size * (size - 1))) if size > 1 else np.nan
    mean = float(table.mean())
    return SeedNoise(
        num_recipes=size,
        num_seeds=table.shape[1],
        mean=mean,
        seed_std=spread,
        signal_to_noise=mean / spread if spread > 0 else np.inf,
        gap=gap,
        gap_to_noise=gap / spread if spread > 0 else (np.nan if np.isnan(gap) else np.inf),
    )


def _table(scores: npt.ArrayLike) -> Floats:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise DataError(f"scores have the shape [recipes, seeds] with at least 2 seeds: {table.shape}")
    if not np.isfinite(table).all():
        row, seed = (int(at[0]) for at in np.nonzero(~np.isfinite(table)))
        raise DataError(f"score of recipe {row}, seed {seed} is not a finite number: {table[row, seed]}")
    return table


def monotonicity(scores: npt.ArrayLike) -> float:
    """Kendall's tau_a between the order of checkpoints and their scores; 0 for a flat curve.

    Raises:
        DataError: there are fewer than two checkpoints, or a value is not finite.
    """
    column = checked_data({"scores": scores}, at="checkpoints")["scores"]
    return kendall_a(np.arange(len(column), dtype=np.float64), column)


def item_interval(
    items: npt.ArrayLike, *, level: float = 0.95, bootstrap: int = 1000, seed: int = 42
) -> tuple[float, float]:
    """Interval of a mean score by a bootstrap over the items of a benchmark.

    It holds for other items, not for other seeds of training: the paper finds it wider than those.

    Raises:
        DataError: there is no item, or a value is not finite.
        ConfigError: a setting is wrong.
    """
    column = checked_data({"items": items}, at="benchmark")["items"]
    if not 0 < level < 1 or bootstrap < 20:
        raise ConfigError(f"level is between 0 and 1, bootstrap at least 20: {level}, {bootstrap}")
    draw, size = np.random.Generator(np.random.PCG64(seed)), len(column)
    means = [float(column[draw.integers(0, size, size)].mean()) for _ in range(bootstrap)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high
