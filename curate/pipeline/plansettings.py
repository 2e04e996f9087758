"""The section `plan` of a recipe: pools, how many tokens, which documents, in what order.

Not here: how it is decided (plan.py), the budget of each pool (curate.selection.allocation).
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from curate.config import build
from curate.errors import ConfigError
from curate.schema import Settings
from curate.selection.allocation.settings import Allocate
from curate.selection.curriculum import Curriculum
from curate.selection.settings import Selection
from curate.selection.tiers import Tiers


class Pools(Settings):
    """How the corpus is divided into parts with a budget each."""

    by: str | list[str] | None = None
    """Column whose values name the pools, such as `source`, or several columns: a pool for each combination;
    null makes one pool, `all`."""
    tiers: Tiers | None = None
    """Cuts every pool into tiers of quality: `web/q0-10`, `web/q10-20`, ...; null does not."""

    @field_validator("by")
    @classmethod
    def _names_once(cls, value: str | list[str] | None) -> str | list[str] | None:
        names = value if isinstance(value, list) else []
        if isinstance(value, list) and not value:
            raise ConfigError("plan.pools.by names no column", hint="null makes one pool")
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"plan.pools.by has a column twice: {name}")
        return value

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `by`."""
        return (self.by,) if isinstance(self.by, str) else tuple(self.by or ())


class Budgets(Allocate):
    """How many tokens of which pool, or how often."""

    upsample: dict[str, float] | None = None
    """Epochs by pool, or by tier in all pools: `{q0-10: 4, q10-20: 2}`; those that are not named have 1, and
    0 takes nothing. It says how many tokens there are, so there is no budget beside it."""

    @field_validator("upsample")
    @classmethod
    def _are_epochs(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for name, epochs in (value or {}).items():
            if not 0 <= epochs < 2**16 - 1:
                raise ConfigError(
                    f"plan.allocate.upsample has epochs from 0 and below 65535, {name} has: {epochs}"
                )
        return value

    @model_validator(mode="after")
    def _upsample_is_alone(self) -> "Budgets":
        fields = type(self).model_fields
        others = [name for name, each in fields.items() if getattr(self, name) != each.default]
        others = [name for name in others if name != "upsample"]
        if self.upsample is not None and others:
            raise ConfigError(
                f"plan.allocate.upsample says all, it has no other key beside it: {', '.join(others)}"
            )
        return self

    def upsampled(self, unique: Mapping[str, int]) -> dict[str, int]:
        """Tokens of every pool by `upsample`, rounded down.

        Raises:
            ConfigError: it names what is neither a pool nor a tier of one.
        """
        table = self.upsample or {}
        tiers = {name.rpartition("/")[2] for name in unique}
        for name in table:
            if name not in unique and name not in tiers:
                known = ", ".join(sorted({*tiers, *unique})[:20])
                raise ConfigError(
                    f"plan.allocate.upsample names no pool and no tier: {name}", hint=f"there are {known}"
                )
        found = {}
        for name, tokens in unique.items():
            epochs = table.get(name, table.get(name.rpartition("/")[2], 1.0))
            found[name] = int(Fraction(repr(float(epochs))) * tokens)
        return found


class Compute(Settings):
    """What the training has, in place of a number of tokens or beside it."""

    flops: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Floating-point operations of the training, 6 for each parameter and token: says how many tokens."""
    params: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    """Parameters of the model; null with `flops` takes the best for the unique tokens that survive."""


class Plan(Settings):
    """How much is kept of what survives."""

    pools: Pools = Pools()
    budget: str | int | float | dict[str, str | int | float] | None = None
    """Tokens: `3B`, `200M`, a fraction of what survives such as 0.5, a table pool -> budget, or null for
    everything."""
    compute: Compute | None = None
    """The compute of the training, where that says how many tokens, or to predict a loss."""
    allocate: Budgets | None = None
    """How the budget is shared out over the pools, where documents may be repeated; null shares it in
    proportion to their tokens and repeats none."""
    select: dict[str, Any] = Field(default={})
    """How documents are taken: see `curate.selection.settings.Selection`, without `budget`."""
    order: Literal["input", "shuffle"] | Curriculum = "input"
    """Delivery order: as read, a seeded permutation of the whole corpus, or a curriculum."""

    _selection: Selection = PrivateAttr(default=Selection())

    @model_validator(mode="after")
    def _select_is_readable(self) -> "Plan":
        for key, place in (("budget", "plan.budget"), ("by", "plan.pools.by")):
            if key in self.select:
                raise ConfigError(f"plan.select.{key} is written as `{place}`")
        budget = self.budget
        if budget is None and self.needs_allocation and self.select.get("method") == "threshold":
            raise ConfigError(
                "plan.select.method threshold has no budgets of pools", hint="method: top with a threshold"
            )
        self._selection = build(Selection, {**self.select, "budget": budget}, at="plan.select")
        self._check_target()
        return self

    @property
    def needs_allocation(self) -> bool:
        """Whether more than the selection decides how many tokens of which pool."""
        return self.allocate is not None or (self.compute is not None and self.compute.flops is not None)

    def _check_target(self) -> None:
        by_flops = self.compute is not None and self.compute.flops is not None
        if by_flops and self.budget is not None:
            raise ConfigError(
                f"plan.budget and plan.compute.flops both say how many tokens: {self.budget}",
                hint="set one of them to null",
            )
        if self.allocate is None:
            return
        if isinstance(self.budget, dict):
            raise ConfigError(
                "plan.budget is one number where plan.allocate shares it out",
                hint="plan.allocate.weights is a table of shares",
            )
        if self.allocate.upsample is not None and (self.budget is not None or by_flops):
            raise ConfigError(
                "plan.allocate.upsample says how many tokens there are, beside a budget", hint="budget: null"
            )

    @property
    def selection(self) -> Selection:
        """Budget and method together."""
        return self._selection

    @property
    def is_sorted(self) -> bool:
        """Whether the plan has an order of its own."""
        return self.order != "input"


def budget_overrides(
    *, tokens: int | str | None = None, flops: float | None = None, params: float | None = None
) -> list[str]:
    """Say as overrides of a recipe how many tokens a plan has, or what its training has.

    Raises:
        ConfigError: both tokens and FLOPs are given.
    """
    number = "null" if params is None else repr(params)
    if tokens is not None and flops is not None:
        raise ConfigError(
            f"tokens and flops both say how many tokens: {tokens} and {flops:g}", hint="give one of them"
        )
    if tokens is not None:
        return [f"plan.budget={tokens}", f"plan.compute={{params: {number}}}"]
    if flops is not None:
        return ["plan.budget=null", f"plan.compute={{flops: {flops!r}, params: {number}}}"]
    return [] if params is None else [f"plan.compute.params={number}"]
