"""What a recipe says about selection: the method, the scores, the budget, the pools.

Methods: `top` takes the best scores; `threshold` all scores from a limit on; `uniform` and `weighted` draw
without replacement, the latter in proportion to exp(score / temperature) (as QuRating, arXiv:2402.09739) or
to weight^(1/temperature); `mix` takes by several scores at once, each with a share of the budget.

Not here: how it is done (select.py).
"""

import math
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from curate.errors import ConfigError
from curate.filters.expression import parse_expression
from curate.schema import Settings
from curate.selection.budget import Budget, parse_budget

SHARES_TOLERANCE = 1e-9


class Criterion(Settings):
    """One of the scores of a `mix`."""

    score: str
    """SQL expression over columns, the greater the better."""
    share: float = Field(gt=0, le=1)
    """Of the budget; the shares of all criteria add up to 1."""

    @field_validator("score")
    @classmethod
    def _check_sql(cls, value: str) -> str:
        parse_expression(value)
        return value


class Selection(Settings):
    """What is taken of the documents that survive."""

    method: Literal["top", "threshold", "uniform", "weighted", "mix"] = "uniform"
    """`top` scores, scores from a `threshold` on, drawn without replacement, `uniform` or `weighted`, or a
    `mix` of several scores."""
    of: list[Criterion] = Field(default=[], max_length=64)
    """The scores of a `mix`, with their shares of the budget."""
    score: str | None = None
    """SQL expression over columns, the greater the better: `quality.score`; for all methods but `uniform`."""
    weight: str | None = None
    """SQL expression over columns: `weighted` draws in proportion to it, instead of by a score."""
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Divides the score (or the logarithm of the weight) before drawing: near 0 is top, large is uniform. 0,
    which does not draw, is for a `mix` alone."""
    normalize: Literal["none", "zscore"] = "none"
    """`zscore` subtracts the mean and divides by the standard deviation of all survivors before drawing."""
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    """Least score, before normalising, of what may be taken by any method; None is no threshold."""
    budget: int | float | str | dict[str, int | float | str] | None = None
    """Tokens (`3B`), a fraction (`0.1`), or a table of them by pool; None takes everything."""
    seed: int = Field(default=42, ge=0, lt=2**64)
    """Seed of the draw."""

    @field_validator("score", "weight")
    @classmethod
    def _check_sql(cls, value: str | None) -> str | None:
        if value is not None:
            parse_expression(value)
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.parsed_budget()
        self._check_mix()
        needs_score = self.method in ("top", "threshold") or self.threshold is not None
        if needs_score and self.score is None:
            raise ConfigError(f"the method {self.method} with these settings needs a score")
        if (
            self.method == "weighted"
            and (self.score is None) == (self.weight is None)
            and self.threshold is None
        ):
            raise ConfigError("the method weighted needs either a score or a weight")
        if self.weight is not None and self.method != "weighted":
            raise ConfigError(f"a weight is for the method weighted, not for: {self.method}")
        if self.method == "threshold" and (self.threshold is None) == (self.budget is None):
            raise ConfigError("the method threshold needs either a threshold or a budget")
        return self

    def _check_mix(self) -> None:
        if self.method != "mix":
            if self.of:
                raise ConfigError(f"plan.select.of is for the method mix, not for: {self.method}")
            if self.temperature == 0:
                raise ConfigError("a temperature of 0 is for the method mix", hint="method: top")
            return
        if not self.of:
            raise ConfigError("the method mix needs scores", hint="of: [{score: a, share: 0.5}, ...]")
        if self.score is not None or self.threshold is not None:
            raise ConfigError("the method mix has its scores under `of`, and no threshold")
        total = math.fsum(each.share for each in self.of)
        if abs(total - 1) > SHARES_TOLERANCE:
            raise ConfigError(f"the shares of a mix add up to 1, these to: {total:g}")

    def parsed_budget(self) -> Budget | dict[str, Budget] | None:
        """The budget, read."""
        if isinstance(self.budget, dict):
            return {name: parse_budget(part) for name, part in self.budget.items()}
        return None if self.budget is None else parse_budget(self.budget)

    def is_drawn(self) -> bool:
        """Whether documents are drawn, not ranked."""
        return self.method in ("uniform", "weighted") or (self.method == "mix" and self.temperature > 0)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns that selecting reads."""
        scores = [self.score, self.weight, *(each.score for each in self.of)]
        return tuple(dict.fromkeys(name for sql in scores if sql for name in parse_expression(sql).columns))
