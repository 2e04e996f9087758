"""What a recipe says about budgets over pools: `plan.allocate`.

Rules: `natural` gives every pool its share of the unique tokens; `stratified` and `unimax` (Chung et al.
2023, arXiv:2304.09151) the same number of tokens to every pool, as far as its cap goes: under caps the two
are one rule with two names; `temperature` shares in proportion to tokens^(1/temperature); `fixed` shares
from a table; `marginal` gives each next token to the pool where its decayed utility is highest; `mixture`
minimises a log-linear law of mixtures plus `kl` times the divergence from the natural mix (Olmix,
arXiv:2602.12237).

Not here: how it is done (solve.py), where utilities come from (priors.py, evidence.py).
"""

import math
from typing import Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from curate.errors import ConfigError
from curate.schema import Settings
from curate.selection.mixer import checked

Rule: TypeAlias = Literal["natural", "stratified", "temperature", "unimax", "fixed", "marginal", "mixture"]
Decay: TypeAlias = Literal["half_life", "data_constrained"]

EVERY_OTHER = "*"
"""Name in a table of caps that stands for every pool the table does not name."""
SUM_TOLERANCE = 1e-6


class Allocate(Settings):
    """How many tokens of which pool."""

    rule: Rule = "natural"
    """`natural`, `stratified`, `temperature`, `unimax`, `fixed`, `marginal` or `mixture`."""
    cap: float | dict[str, float] = 4.0
    """Greatest number of passes over a pool's unique tokens; or a table by pool, `*` for those not named."""
    weights: dict[str, float] | None = None
    """Share of every pool, sum 1, for the rule `fixed`; a cap moves what is above it to the others."""
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    """For the rule `temperature`: 1 is natural, large is stratified."""
    evidence: str | None = None
    """Path of a JSON file with what was fitted on runs, by content of the pools."""
    prior: str | None = None
    """Name of published utilities, where there is no evidence: `qqt_tmars_imagenet`, `equal`."""
    decay: Decay | None = None
    """How the utility falls with repeats; None takes what the evidence or the prior was fitted with."""
    law: str | None = None
    """Path of the JSON of a log-linear law by name of the pools, for `mixture` without evidence."""
    kl: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    """For the rule `mixture`: what a nat of divergence from the natural mix costs, in units of the loss."""

    @field_validator("cap")
    @classmethod
    def _check_cap(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        for name, cap in value.items() if isinstance(value, dict) else [("cap", value)]:
            if not (math.isfinite(cap) and cap > 0):
                raise ConfigError(f"a cap is a finite number of epochs above 0, {name} is: {cap}")
        return value

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None:
            checked(list(value.values()), at="allocate.weights")
            total = math.fsum(value.values())
            if abs(total - 1) > SUM_TOLERANCE:
                raise ConfigError(
                    f"allocate.weights are shares whose sum is 1, not: {total:g}",
                    hint=f"divide every weight by {total:g}",
                )
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.rule == "fixed") != (self.weights is not None):
            raise ConfigError(
                f"weights belong to the rule fixed, and it needs them; the rule is: {self.rule}"
            )
        if self.evidence is not None and self.prior is not None:
            raise ConfigError(
                f"utilities come from evidence or a prior, not from both: {self.evidence} and {self.prior}"
            )
        if self.law is not None and (self.rule != "mixture" or self.evidence is not None):
            raise ConfigError(f"a law by name is for the rule mixture without evidence, not for: {self.rule}")
        return self
