"""The rule `mixture`: shares that a log-linear law of mixtures predicts to be best, near the natural mix.

The law has, for each target, slopes by pool, so that the loss at shares x is c + exp(slopes . x); constants
do not move the best mixture. A pool that is the union of pools of the law gets the mean of their slopes by
tokens: exact, as long as the union keeps their natural proportions.

Not here: the solver (program.py), fitting (curate.laws).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import ConfigError
from curate.files import read_json
from curate.selection.allocation.allocation import Shift
from curate.selection.allocation.evidence import Evidence
from curate.selection.allocation.pools import Pools, check_supply
from curate.selection.allocation.program import Program, Solution, solve
from curate.selection.allocation.proportional import natural_tokens, stratified_tokens
from curate.selection.allocation.sensitivity import shift_of
from curate.selection.allocation.whole import whole_tokens
from curate.selection.mixer import Floats, Ints, by_pool, listed

LAW = "log_linear"
CHANGES = (("slopes", 0.8), ("slopes", 1.25), ("kl", 0.5), ("kl", 2.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """Slopes of a law, a row for each target and a column for each pool, in the order of the pools."""

    values: Floats
    weights: Floats
    """Of the targets, sum 1."""
    source: str


def slopes_by_name(law: Any, names: Sequence[str], *, at: str) -> dict[str, Floats]:
    """Read the slopes of a log-linear law by name of its pools, and check them.

    Raises:
        ConfigError: It is another law, or a value is missing or wrong.
    """
    if not isinstance(law, Mapping) or law.get("law") != LAW:
        raise ConfigError(
            f"{at}: the rule mixture needs a law {LAW!r}, not: {law!r:.80}", hint="`curate mix fit` gives one"
        )
    pools, slopes = law.get("pools"), law.get("slopes")
    if not isinstance(pools, Sequence) or isinstance(pools, str) or len(set(pools)) < len(pools):
        raise ConfigError(f"{at}: pools of a law are names, each once: {pools!r:.80}")
    try:
        rows = np.array(slopes, dtype=np.float64)
    except (TypeError, ValueError):
        rows = np.empty((0, 0))
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] != len(pools):
        raise ConfigError(f"{at}: slopes are a list for each target of {len(pools)} numbers: {slopes!r:.80}")
    if not np.isfinite(rows).all():
        raise ConfigError(f"{at}: slopes are finite: {rows[~np.isfinite(rows)][0]}")
    found = dict(zip(pools, rows.T, strict=True))
    missing = sorted(set(names) - set(found))
    if missing:
        raise ConfigError(f"{at}: the law does not know these pools: {listed(missing)}")
    return found


def weights_of_targets(law: Mapping[str, Any], *, at: str) -> Floats:
    """Read the weights of the targets of a law whose slopes are checked; without any they are equal.

    Raises:
        ConfigError: They are not one for each target, not below 0, sum 1.
    """
    count, given = len(law["slopes"]), law.get("weights")
    if given is None:
        return np.full(count, 1.0 / count)
    try:
        weights = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        weights = np.empty(0)
    if weights.shape != (count,) or not (weights >= 0).all() or not abs(weights.sum() - 1) <= 1e-6:
        raise ConfigError(f"{at}: weights are a share for each of {count} targets, sum 1: {given!r:.80}")
    return weights


def slopes_from_law(path: Path, names: Sequence[str]) -> Slopes:
    """Read a law by name of the pools; it knows these pools and no others.

    Raises:
        ConfigError: It is no such law.
    """
    law = read_json(path)
    found = slopes_by_name(law, names, at=str(path))
    by_pool({name: 0.0 for name in found}, names, at=f"{path}: the law")
    values = np.stack([found[name] for name in names], axis=1)
    return Slopes(values=values, weights=weights_of_targets(law, at=str(path)), source=str(path))


def slopes_from_evidence(evidence: Evidence, pools: Pools) -> Slopes:
    """Take the slopes for pools by their content.

    Raises:
        ConfigError: It does not apply to a pool, or its law is another.
    """
    found = slopes_by_name(evidence.law, [pool.name for pool in evidence.pools], at=evidence.source)
    columns = [found[pool.name] for pool in evidence.pools]
    parts = evidence.match(pools.supplies)
    values = [np.sum([share * columns[place] for place, share in part], axis=0) for part in parts]
    weights = weights_of_targets(evidence.law, at=evidence.source)
    return Slopes(values=np.stack(values, axis=1), weights=weights, source=evidence.source)


def program_of(pools: Pools, target: int, slopes: Slopes, *, kl: float) -> Program:
    """Pose the problem for these pools and this target."""
    natural = pools.unique / float(pools.unique.sum(dtype=np.float64))
    caps = np.maximum(np.minimum(pools.caps, target), 0.5) / target  # a cap of no token rounds to none
    counted = slopes.weights > 0
    return Program(
        intercepts=np.log(slopes.weights[counted] * counted.sum()),
        slopes=slopes.values[counted],
        prior=natural,
        caps=caps,
        kl=kl,
    )


def mixture_tokens(pools: Pools, target: int, program: Program) -> tuple[Ints, Solution]:
    """Find the best shares and give them in whole tokens.

    Raises:
        ConfigError: The pools cannot give the target under their caps, or the law has no best mixture.
    """
    check_supply(pools, target)
    solution = solve(program)
    return whole_tokens(solution.shares * target, np.minimum(pools.caps, target), target), solution


def predicted_text(pools: Pools, target: int, program: Program, tokens: Ints) -> str:
    """Say what the law predicts for the plan, the natural and the stratified mix under the same caps."""
    plans = {
        "this plan": tokens,
        "natural": natural_tokens(pools, target),
        "stratified": stratified_tokens(pools, target),
    }
    found = ", ".join(f"{name} {program.objective(each / target):.6g}" for name, each in plans.items())
    return f"objective of the law, lower is better, less its constants: {found}"


def mixture_shifts(pools: Pools, target: int, program: Program, tokens: Ints) -> tuple[Shift, ...]:
    """Allocate again with slopes and divergence scaled."""
    shifts = []
    for key, factor in CHANGES:
        value = getattr(program, key)
        changed = mixture_tokens(pools, target, replace(program, **{key: factor * value}))[0]
        shifts.append(shift_of(f"{key} x {factor:g}", pools, target, tokens, changed))
    return tuple(shifts)
