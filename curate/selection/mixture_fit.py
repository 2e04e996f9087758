"""From the results of proxy runs to the weights of pools: fit, check on held-out runs, search, compare.

A law of mixtures (curate/laws/mixture) is fitted to a table of runs, cross-validated, and asked for the
mixture with the least objective plus `kl` times the divergence from the natural mix (Olmix,
arXiv:2602.12237). For laws that are sums of exponentials that is the exact convex program of
allocation/program.py, for the others a simulation. The natural and the stratified mixture are always valued
beside it.

Cost: one fit a fold, one more for all, and the profiles that say what is not identified: a minute for 512
runs of 17 pools and 13 targets. Not here: tokens and repeats of a plan (allocation/), which takes the
evidence.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from curate.errors import ConfigError, DataError
from curate.laws.law import Fitted
from curate.laws.mixture.bivariate import Bivariate
from curate.laws.mixture.boosted import Boosted
from curate.laws.mixture.exponential import Exponential
from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.nested import extrapolate
from curate.laws.mixture.polynomial import Polynomial
from curate.laws.mixture.runs import MixtureRuns, runs_of
from curate.laws.mixture.search import Best, best_at, caps_of, in_order, simulate
from curate.laws.mixture.targets import MixtureLaw
from curate.laws.mixture.validation import HeldOut, cross_validate, mean_spearman
from curate.laws.parameters import Floats
from curate.schema import Settings
from curate.selection.allocation.evidence import Evidence, EvidencePool
from curate.selection.allocation.program import Program, solve
from curate.selection.pool_tables import NaturalPool

MIXTURE_LAWS: dict[str, Any] = {
    each.name: each for each in (LogLinear, Exponential, Boosted, Bivariate, Polynomial)
}
MIN_KL = 1e-6
"""Below this the exact program is not used: with no divergence the best mixture may have pools of share 0."""


class MixtureFitSettings(Settings):
    """How weights are found."""

    law: str = "log_linear"
    """`log_linear`, `exponential`, `boosted`, `bivariate` or `polynomial`."""
    settings: dict[str, Any] = Field(default={})
    """Settings of its fit."""
    targets: tuple[str, ...] | None = None
    """Losses that are fitted; None is every column `loss.<target>`."""
    weights: dict[str, float] | None = None
    """Of the targets in the objective; None is their mean."""
    kl: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    """Loss that a nat of divergence from the natural mix costs."""
    max_shares: dict[str, float] = Field(default={})
    """Greatest shares, of pools that have one."""
    tokens: int | None = Field(default=None, gt=0)
    """Tokens of the run that the mixture is for; None leaves repetition out."""
    cap: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    """Greatest passes over a pool, where tokens are given."""
    steps: float | None = None
    """Steps that losses are extrapolated to first, from a column `steps`."""
    size: float | None = None
    """Size of model that losses are extrapolated to first, from a column `size`."""
    folds: int = Field(default=5, ge=2)
    """Of the cross-validation."""
    num_samples: int = Field(default=100_000, ge=1000)
    """Mixtures of a simulation."""
    seed: int = Field(default=42, ge=0)
    """Of folds and simulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureFit:
    """Weights, what they are worth, and how far to trust them."""

    fitted: Fitted[Any]
    best: Best
    natural: Best
    stratified: Best
    """Equal shares of all pools."""
    is_exact: bool
    """From the convex program; else simulated."""
    held_out: Mapping[str, HeldOut]
    num_runs: int
    notes: tuple[str, ...]
    """Sentences about runs and mixture, without the doubts of the fit."""
    pools: tuple[NaturalPool, ...] = field(default=())

    def doubts(self) -> tuple[str, ...]:
        """What the runs do not identify, which takes profiles, and the notes."""
        return (*self.fitted.doubts(), *self.notes)

    def to_json(self) -> dict[str, Any]:
        """Weights and their quality as JSON values; the law is in the evidence."""
        return {
            "law": self.fitted.law.name,
            "num_runs": self.num_runs,
            "is_exact": self.is_exact,
            "weights": self.best.by_pool(),
            "natural": self.natural.by_pool(),
            "predicted": {name: getattr(self, name).objective for name in ("best", "natural", "stratified")},
            "divergence": self.best.divergence,
            "held_out": {
                target: {"spearman": each.spearman, "mean_abs_error": each.mean_abs_error}
                for target, each in self.held_out.items()
            },
            "doubts": list(self.doubts()),
        }

    def as_text(self) -> str:
        """Tables for people, then the doubts."""
        law = self.fitted.law
        lines = [f"law {law.name}, {self.num_runs} runs, {len(law.pools)} pools, {len(law.targets)} targets"]
        if self.held_out:
            lines.append("held-out runs:")
            lines += [f"  {target:<30} {each.as_text()}" for target, each in self.held_out.items()]
            mean = mean_spearman(self.held_out)
            if mean is not None and len(self.held_out) > 1:
                lines.append(f"  {'mean':<30} Spearman x 100 {100 * mean:>6.2f}")
        lines.append(f"{'pool':<32} {'weight':>8} {'natural':>8} {'equal':>8} {'times natural':>14}")
        columns = zip(law.pools, self.best.shares, self.natural.shares, self.stratified.shares, strict=True)
        for pool, share, natural, equal in columns:
            lines.append(f"{pool:<32} {share:>8.4f} {natural:>8.4f} {equal:>8.4f} {share / natural:>14.3f}")
        lines.append(
            f"{'predicted objective':<32} {self.best.objective:>8.4f} {self.natural.objective:>8.4f} "
            f"{self.stratified.objective:>8.4f}"
        )
        lines.append(
            f"{'divergence from natural, nats':<32} {self.best.divergence:>8.4f}; "
            f"{'exact' if self.is_exact else 'simulated'}"
        )
        return "\n".join([*lines, *(f"note: {text}" for text in self.doubts())])

    def evidence(self, source: str) -> Evidence | None:
        """The law keyed by the content of its pools; None where the tokens of pools are not known."""
        found = []
        for pool in self.pools:
            if pool.unique_tokens is None:
                return None
            found.append(EvidencePool(name=pool.name, unique_tokens=pool.unique_tokens, content=pool.content))
        return Evidence(law=self.fitted.law.to_json(), pools=tuple(found), source=source)


def _directions(runs: MixtureRuns) -> list[str]:
    """Say in how many directions the mixtures differ, where it is fewer than there are.

    Raises:
        DataError: all mixtures are the same.
    """
    spread = runs.shares - runs.shares.mean(axis=0)
    rank = int((np.linalg.svd(spread, compute_uv=False) > 1e-6).sum())
    if rank == 0 and len(spread) > 1:
        raise DataError(
            f"all {len(spread)} runs have the same mixture: nothing says what another would give",
            hint="train the mixtures of `curate mix swarm`",
        )
    if rank >= len(runs.pools) - 1:
        return []
    return [
        f"the runs' mixtures differ in {rank} of {len(runs.pools) - 1} directions: pools that always move "
        "together are not told apart, and weights between them are the natural ones at best"
    ]


def fit_mixture(
    frame: pl.DataFrame, pools: Sequence[NaturalPool] | None, settings: MixtureFitSettings
) -> MixtureFit:
    """Fit runs and find the weights.

    Args:
        frame: Columns `share.<pool>`, `loss.<target>`, where wanted `steps` and `size`.
        pools: The natural amounts of the same pools; None takes the mean of the runs as natural.
        settings: The law, and what the mixture is for.

    Raises:
        DataError: the runs are wrong or too few.
        ConfigError: a setting is wrong, or pools are not those of the runs.
    """
    if settings.law not in MIXTURE_LAWS:
        raise ConfigError(
            f"there is no law of mixtures {settings.law}", hint=f"there are {', '.join(MIXTURE_LAWS)}"
        )
    kind = MIXTURE_LAWS[settings.law]
    notes: list[str] = []
    runs = _runs(frame, settings, notes)
    notes += _directions(runs)
    natural = _natural(runs, pools, notes)
    given = dict(settings.settings)
    if settings.weights is not None:
        given["weights"] = settings.weights
    fitted = kind.fit_table(runs.table(), **given)
    quick = {key: value for key, value in given.items() if key != "bootstrap"}
    held_out = _validated(runs, kind, quick, settings, notes)
    shares = in_order(natural, fitted.law.pools)
    caps = _caps(fitted.law, pools, settings)
    best, is_exact = _best(fitted.law, natural, caps, settings)
    fit = MixtureFit(
        fitted=fitted,
        best=best,
        natural=best_at(fitted.law, shares, shares),
        stratified=best_at(fitted.law, np.full(len(shares), 1 / len(shares)), shares),
        is_exact=is_exact,
        held_out=held_out,
        num_runs=runs.num_runs,
        notes=(*notes, *_outside(best, runs), *_gain(fitted.law, best, shares, held_out)),
        pools=_ordered(pools, fitted.law.pools),
    )
    return fit


def _runs(frame: pl.DataFrame, settings: MixtureFitSettings, notes: list[str]) -> MixtureRuns:
    targets = None if settings.targets is None else list(settings.targets)
    if settings.steps is None and settings.size is None:
        return runs_of(frame, targets=targets)
    nested = extrapolate(frame, steps=settings.steps, size=settings.size, targets=targets)
    notes.extend(nested.doubts())
    return nested.runs


def _natural(runs: MixtureRuns, pools: Sequence[NaturalPool] | None, notes: list[str]) -> dict[str, float]:
    """Natural amounts by pool."""
    if pools is not None:
        return {pool.name: pool.amount for pool in pools}
    notes.append("no natural amounts were given: natural is the mean of the runs")
    mean = runs.shares.mean(axis=0)
    if not (mean > 0).all():
        pool = runs.pools[int(np.argmin(mean))]
        raise DataError(f"no run has some of the pool {pool}", hint="leave out its column, or give pools")
    return dict(zip(runs.pools, mean.tolist(), strict=True))


def _ordered(pools: Sequence[NaturalPool] | None, names: Sequence[str]) -> tuple[NaturalPool, ...]:
    by_name = {} if pools is None else {pool.name: pool for pool in pools}
    return tuple(by_name[name] for name in names if name in by_name)


def _validated(
    runs: MixtureRuns,
    kind: Any,
    given: Mapping[str, Any],
    settings: MixtureFitSettings,
    notes: list[str],
) -> dict[str, HeldOut]:
    """Cross-validate; where the runs are too few for that, say so."""

    def fit_law(some: MixtureRuns) -> MixtureLaw:
        law: MixtureLaw = kind.fit_table(some.table(), **given).law
        return law

    try:
        return cross_validate(runs, fit_law, folds=min(settings.folds, runs.num_runs), seed=settings.seed)
    except DataError as exc:
        notes.append(f"not checked on held-out runs: {exc}")
        return {}


def _caps(
    law: MixtureLaw, pools: Sequence[NaturalPool] | None, settings: MixtureFitSettings
) -> dict[str, float]:
    """Greatest shares: as given, and so that no pool is passed over more than `cap` times."""
    found = dict(settings.max_shares)
    if settings.tokens is not None:
        for pool in pools or ():
            if pool.unique_tokens is not None:
                most = min(1.0, settings.cap * pool.unique_tokens / settings.tokens)
                found[pool.name] = min(found.get(pool.name, 1.0), most)
        if not pools or any(pool.unique_tokens is None for pool in pools):
            raise ConfigError(
                f"caps for {settings.tokens} tokens need the unique tokens of every pool",
                hint="give a table with columns pool, tokens",
            )
    caps_of(found, law.pools)
    return found


def _best(
    law: Any, natural: Mapping[str, float], caps: Mapping[str, float], settings: MixtureFitSettings
) -> tuple[Best, bool]:
    """The best mixture, and whether it is exact."""
    shares = in_order(natural, law.pools)
    terms = _exponentials(law)
    if terms is not None and settings.kl >= MIN_KL:
        intercepts, slopes = terms
        solution = solve(
            Program(
                intercepts=intercepts,
                slopes=slopes,
                prior=shares,
                caps=caps_of(caps, law.pools),
                kl=settings.kl,
            )
        )
        return best_at(law, solution.shares, shares), True
    found = simulate(
        law, natural, num_samples=settings.num_samples, kl=settings.kl, caps=caps, seed=settings.seed
    )
    return found, False


def _exponentials(law: Any) -> tuple[Floats, Floats] | None:
    """A law as the mean of exponentials of the shares, without what no mixture changes."""
    if isinstance(law, LogLinear):
        rows = [(target, 0.0, row) for target, row in enumerate(law.slopes)]
    elif isinstance(law, Exponential):
        rows = [
            (target, factor, row)
            for target, (factors, table) in enumerate(zip(law.factors, law.slopes, strict=True))
            for factor, row in zip(factors, table, strict=True)
        ]
    else:
        return None
    weights = [1 / len(law.targets)] * len(law.targets) if law.weights is None else law.weights
    used = [(math.log(weights[at] * len(rows)) + factor, row) for at, factor, row in rows if weights[at] > 0]
    # The program takes the mean over its rows; those of weight 0 are left out.
    scale = math.log(len(used) / len(rows))
    return np.array([value + scale for value, _ in used]), np.array([row for _, row in used])


def _outside(best: Best, runs: MixtureRuns) -> list[str]:
    """Pools of which the mixture has more than any run had."""
    most = runs.shares.max(axis=0)
    return [
        f"{pool}: the weight {share:.4f} is above the greatest share of any run, {top:.4f}: extrapolated"
        for pool, share, top in zip(best.pools, best.shares.tolist(), most.tolist(), strict=True)
        if share > top + 1e-9
    ]


def _gain(law: MixtureLaw, best: Best, natural: Floats, held_out: Mapping[str, HeldOut]) -> list[str]:
    """A sentence where the predicted gain is within the error of the law."""
    if not held_out:
        return []
    gain = float(law.objective(natural)[0]) - best.objective
    error = float(np.mean([each.mean_abs_error for each in held_out.values()]))
    if gain > error:
        return []
    return [
        f"the predicted gain over the natural mix, {gain:.4g}, is not above the mean error on held-out runs, "
        f"{error:.4g}"
    ]
