"""How many tokens a plan has, and how many of each pool: `budget.json` of a plan.

The target is a number of tokens, a fraction of what survives, or what a compute allows: FLOPs over 6 times
the parameters, and without parameters the best for the unique tokens (data-constrained law, arXiv:2305.16264,
with its published constants). `plan.allocate` shares it out.

Not here: rules of sharing (curate.selection.allocation), which documents (select.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curate.errors import ConfigError
from curate.files import to_json
from curate.laws.chinchilla import FLOPS_PER_TOKEN
from curate.pipeline.plansettings import Budgets, Plan
from curate.selection.allocation.allocation import Allocation
from curate.selection.allocation.compare import compare
from curate.selection.allocation.comparison import Comparison
from curate.selection.allocation.pools import MAX_TOKENS, Supply
from curate.selection.allocation.priors import tier_of
from curate.selection.allocation.solve import allocate
from curate.selection.budget import resolve_budget, split_budget

FORMAT = 1
MAX_COMPARED = 1000
"""Pools above which candidates are not compared over budgets, which takes minutes for 100,000."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Tokens of every pool, and why."""

    tokens: Mapping[str, int]
    """Of each pool that has any unique ones."""
    can_repeat: bool
    caps: Mapping[str, float]
    """Epochs at most, where there is a limit."""
    record: Mapping[str, Any]
    """What `budget.json` says."""
    warnings: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """The file."""
        return to_json(dict(self.record))


def decide_budget(plan: Plan, supplies: Sequence[tuple[str, int, int, str]]) -> Budget | None:
    """Share out the budget; None where the selection does that by itself.

    Args:
        plan: The section of the recipe.
        supplies: Name, documents, unique tokens and content of each pool.

    Raises:
        ConfigError: the pools cannot give it, or nothing survives.
    """
    if not plan.needs_allocation and plan.compute is None:
        return None
    unique = {name: tokens for name, docs, tokens, _ in supplies if docs}
    if not unique:
        raise ConfigError(
            "no document survives that a budget could be shared out over: 0 unique tokens",
            hint="`curate explain` and the report say what dropped them",
        )
    settings, total = plan.allocate, sum(unique.values())
    if settings is not None and settings.upsample is not None:
        tokens = settings.upsampled(unique)
        target = _target(plan, total, sum(tokens.values()))
        record = _record(target, total) | {"upsample": dict(settings.upsample)}
        return Budget(tokens=tokens, can_repeat=True, caps={}, record=record)
    target = _target(plan, total, None)
    record = _record(target, total)
    if settings is None:
        return Budget(
            tokens=split_budget(target.tokens, unique),
            can_repeat=False,
            caps={},
            record=record,
            warnings=_not_repeated(target.tokens, total),
        )
    pools = [
        Supply(name=name, num_docs=docs, unique_tokens=tokens, content=content)
        for name, docs, tokens, content in supplies
        if docs
    ]
    found = allocate(pools, target.tokens, settings)
    comparison = _compare(pools, target, settings)
    return Budget(
        tokens=dict(zip(found.names, found.tokens, strict=True)),
        can_repeat=True,
        caps=dict(zip(found.names, found.caps, strict=True)),
        record=record | {"allocation": found.to_json(), "comparison": comparison},
        warnings=_odd_tiers(pools),
    )


def _odd_tiers(pools: Sequence[Supply]) -> tuple[str, ...]:
    """Say which tiers hold far more or less than their names say: equal scores are never parted."""
    tokens: dict[tuple[float, float], int] = {}
    for pool in pools:
        if (tier := tier_of(pool.name)) is not None:
            tokens[tier] = tokens.get(tier, 0) + pool.unique_tokens
    total = sum(tokens.values())
    return tuple(
        f"the tier q{100 * low:g}-{100 * high:g} has {held / total:.0%} of the tokens: many documents have "
        "the same score, and a prior takes the tier for what its name says"
        for (low, high), held in sorted(tokens.items())
        if not 0.5 <= held / total / (high - low) <= 1.5
    )


def _compare(pools: Sequence[Supply], target: "_Target", settings: Budgets) -> dict[str, Any] | None:
    """Predictions of candidates over budgets, where something says what pools are worth."""
    has_worth = settings.evidence is not None or settings.prior is not None
    if not has_worth or settings.rule == "mixture" or len(pools) > MAX_COMPARED:
        return None
    return compare(pools, target.tokens, settings, params=target.params).to_json()


@dataclass(frozen=True, kw_only=True)
class _Target:
    tokens: int
    flops: float | None = None
    params: float | None = None
    loss: float | None = None


def _target(plan: Plan, unique: int, tokens: int | None) -> _Target:
    """How many tokens, with what is known of the training."""
    compute = plan.compute
    params = None if compute is None else compute.params
    if tokens is None:
        asked = plan.selection.parsed_budget()
        if isinstance(asked, dict):
            tokens = sum(resolve_budget(each, unique) for each in asked.values())
        elif compute is not None and compute.flops is not None:
            tokens, params = _tokens_of(compute.flops, params, unique)
        else:
            tokens = unique if asked is None else resolve_budget(asked, unique)
    if not 0 < tokens < MAX_TOKENS:
        raise ConfigError(f"a budget has tokens, from 1 to below 2^60, this one has: {tokens}")
    if params is None:
        return _Target(tokens=tokens)
    from curate.laws.data_constrained import DataConstrained

    loss = float(DataConstrained.published().predict(params, tokens, min(unique, tokens)))
    return _Target(tokens=tokens, flops=FLOPS_PER_TOKEN * params * tokens, params=params, loss=loss)


def _tokens_of(flops: float, params: float | None, unique: int) -> tuple[int, float]:
    if params is not None:
        tokens = int(flops / (FLOPS_PER_TOKEN * params))
        if tokens < 1:
            raise ConfigError(
                f"{flops:g} FLOPs are less than a token for a model of so many parameters: {params:g}",
                hint="raise plan.compute.flops or lower plan.compute.params",
            )
        return tokens, params
    from curate.laws.data_constrained import DataConstrained

    best = DataConstrained.published().optimal_allocation(flops, unique)
    return int(best.tokens), float(best.params)


def _record(target: _Target, unique: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "target_tokens": target.tokens,
        "unique_tokens": unique,
        "flops": target.flops,
        "params": target.params,
        "predicted_loss": target.loss,
        "upsample": None,
        "allocation": None,
        "comparison": None,
    }


def _not_repeated(target: int, unique: int) -> tuple[str, ...]:
    if target <= unique:
        return ()
    return (
        f"the budget is {target} tokens, {unique} survive, and nothing says that they may be repeated: "
        "add plan.allocate",
    )


def budget_as_text(record: Mapping[str, Any]) -> str:
    """What `budget.json` says, for people."""
    target, unique = record["target_tokens"], record["unique_tokens"]
    lines = [f"budget     {target:>15,}   tokens, {target / unique:.3g} times the {unique:,} that survive"]
    if record["params"] is not None:
        lines.append(
            f"           {record['params']:.4g} parameters, {record['flops']:.4g} FLOPs, predicted loss "
            f"{record['predicted_loss']:.4f} (data-constrained law, published constants)"
        )
    if record["upsample"] is not None:
        lines += [f"           {name}: {epochs:g} epochs" for name, epochs in record["upsample"].items()]
    said: tuple[str, ...] = ()
    if record["allocation"] is not None:
        allocation = Allocation.from_json(record["allocation"])
        lines, said = [*lines, "", allocation.as_text()], allocation.warnings
    if record["comparison"] is not None:
        found = Comparison.from_json(record["comparison"])
        new = tuple(text for text in found.warnings if text not in said)
        lines += ["", replace(found, warnings=new).as_text()]
    return "\n".join(lines)
