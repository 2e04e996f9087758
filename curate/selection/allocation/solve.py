"""From pools and a target to an allocation: the rule, the baselines beside it, what it rests on.

The result is a function of the pools, whatever their order, the target and the settings. Utilities come from
evidence or a named prior; the rule `marginal` refuses to run without. The other rules are valued with the
prior `equal` where nothing else is given.

Cost: one to four seconds for 100,000 pools. Not here: predictions over many targets (compare.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from curate.errors import ConfigError
from curate.selection.allocation.allocation import Allocation, Shift
from curate.selection.allocation.evidence import Evidence, read_evidence
from curate.selection.allocation.mixing import (
    LAW,
    mixture_shifts,
    mixture_tokens,
    predicted_text,
    program_of,
    slopes_by_name,
    slopes_from_evidence,
    slopes_from_law,
)
from curate.selection.allocation.pools import Pools, Supply, parse_target, pools_of
from curate.selection.allocation.priors import PRIORS, prior_utilities
from curate.selection.allocation.proportional import (
    natural_tokens,
    proportional,
    stratified_tokens,
    weights_of,
)
from curate.selection.allocation.sensitivity import marginal_shifts
from curate.selection.allocation.settings import Allocate
from curate.selection.allocation.utilities import Utilities, marginal_tokens
from curate.selection.mixer import Ints, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a rule gives."""

    tokens: Ints
    level: float | None = None
    shifts: tuple[Shift, ...] = ()
    notes: tuple[str, ...] = ()


def allocate(supplies: Sequence[Supply], target_tokens: int | str, settings: Allocate) -> Allocation:
    """Say how many tokens of which pool.

    Raises:
        ConfigError: A setting is wrong, nothing says what pools are worth where the rule needs it, or the
            pools cannot give the target under their caps.
        DataError: Pools or files are wrong.
    """
    target = parse_target(target_tokens)
    pools = pools_of(supplies, settings.cap)
    evidence = None if settings.evidence is None else read_evidence(Path(settings.evidence))
    utilities = utilities_for(pools, settings, evidence)
    found = _by_rule(pools, target, settings, utilities, evidence)
    baselines = {"natural": natural_tokens(pools, target), "stratified": stratified_tokens(pools, target)}
    values = {settings.rule: found.tokens, **baselines}
    totals = {name: float(utilities.total(each, pools.unique).sum()) for name, each in values.items()}
    return Allocation(
        rule=settings.rule,
        target_tokens=target,
        names=pools.names,
        unique_tokens=tuple(pools.unique.tolist()),
        tokens=tuple(found.tokens.tolist()),
        caps=tuple(pools.cap_epochs.tolist()),
        marginal=tuple(utilities.marginal(found.tokens, pools.unique).tolist()),
        baselines={name: tuple(each.tolist()) for name, each in baselines.items()},
        values={name: total / totals[settings.rule] for name, total in totals.items()},
        valued_by=utilities.source,
        decay=utilities.decay,
        level=found.level,
        contents=tuple(supply.content for supply in pools.supplies),
        sensitivity=found.shifts,
        warnings=(*utilities.warnings, *found.notes, *_cap_warnings(pools, target, found.tokens, settings)),
    )


def utilities_for(pools: Pools, settings: Allocate, evidence: Evidence | None) -> Utilities:
    """Find what tokens of the pools are worth: from evidence, a prior, or, where no rule needs it, `equal`.

    Raises:
        ConfigError: The rule is marginal and nothing says it; or the evidence does not apply.
    """
    if settings.rule == "mixture" and evidence is not None:
        slopes_by_name(evidence.law, [], at=evidence.source)
    if evidence is not None and evidence.law.get("law") != LAW:
        from curate.selection.allocation.fitted import fitted_utilities

        return fitted_utilities(evidence, pools).with_decay(settings.decay)
    if settings.prior is not None:
        return prior_utilities(settings.prior, pools.names).with_decay(settings.decay)
    if settings.rule == "marginal":
        raise ConfigError(
            "the rule marginal needs utilities of the pools: neither evidence nor a prior is given"
            if evidence is None
            else f"the rule marginal needs utilities, the evidence has a law of mixtures: {evidence.source}",
            hint="fit runs (`curate laws fit quality_quantity runs.csv`) and name the file as `evidence:`, "
            f"or take published numbers, `prior:` {' or '.join(PRIORS)}",
        )
    return replace(prior_utilities("equal", pools.names).with_decay(settings.decay), warnings=())


def _by_rule(
    pools: Pools, target: int, settings: Allocate, utilities: Utilities, evidence: Evidence | None
) -> _Found:
    if settings.rule == "marginal":
        tokens, level = marginal_tokens(pools, target, utilities)
        shifts = marginal_shifts(pools, target, utilities, tokens)
        return _Found(tokens=tokens, level=level, shifts=shifts)
    if settings.rule == "mixture":
        if evidence is not None:
            slopes = slopes_from_evidence(evidence, pools)
        elif settings.law is not None:
            slopes = slopes_from_law(Path(settings.law), pools.names)
        else:
            raise ConfigError(
                "the rule mixture needs a log-linear law: neither evidence nor a law is given",
                hint="train proxies (`curate mix swarm`), fit them (`curate mix fit`), and name the file",
            )
        program = program_of(pools, target, slopes, kl=settings.kl)
        tokens, _ = mixture_tokens(pools, target, program)
        notes = (predicted_text(pools, target, program, tokens),)
        return _Found(tokens=tokens, shifts=mixture_shifts(pools, target, program, tokens), notes=notes)
    return _Found(tokens=proportional(pools, target, weights_of(pools, settings)))


def _cap_warnings(pools: Pools, target: int, tokens: Ints, settings: Allocate) -> list[str]:
    """Say which pools are held back by their cap."""
    full = np.flatnonzero(tokens >= np.minimum(pools.caps, target))
    full = full[tokens[full] < target]
    if not len(full) or len(full) == len(tokens):
        return []
    names = [pools.names[place] for place in full.tolist()]
    text = f"{len(names)} pools are at their cap: {listed(names)}"
    if settings.rule == "fixed" and settings.weights is not None:
        place = int(full[0])
        asked = settings.weights[names[0]]
        text += f"; {names[0]!r} is asked for {asked:.4g} and gives {tokens[place] / target:.4g}"
    return [text]
