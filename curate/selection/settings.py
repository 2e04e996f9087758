"""What a recipe says about selection: the method, the scores, the budget, the pools.

Methods: `top` takes the best scores; `threshold` all scores from a limit on; `uniform` and `weighted` draw
without replacement, the latter in proportion to exp(score / temperature) (as QuRating, arXiv:2402.09739) or
to weight^(1/temperature).

Not here: how it is done (select.py).
"""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from curate.errors import ConfigError
from curate.filters.expression import parse_expression
from curate.schema import Settings
from curate.selection.budget import Budget, parse_budget


class Selection(Settings):
    """What is taken of the documents that survive."""

    method: Literal["top", "threshold", "uniform", "weighted"] = "uniform"
    """`top` scores, scores from a `threshold` on, or drawn without replacement, `uniform` or `weighted`."""
    score: str | None = None
    """SQL expression over columns, the greater the better: `quality.score`; for all methods but `uniform`."""
    weight: str | None = None
    """SQL expression over columns: `weighted` draws in proportion to it, instead of by a score."""
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Divides the score (or the logarithm of the weight) before drawing: near 0 is top, large is uniform."""
    normalize: Literal["none", "zscore"] = "none"
    """`zscore` subtracts the mean and divides by the standard deviation of all survivors before drawing."""
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    """Least score, before normalising, of what may be taken by any method; None is no threshold."""
    budget: int | float | str | dict[str, int | float | str] | None = None
    """Tokens (`3B`), a fraction (`0.1`), or a table of them by pool; None takes everything."""
    by: str | None = "source"
    """Column of the pools that get a budget each, in proportion to their tokens; None is one pool."""
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

    def parsed_budget(self) -> Budget | dict[str, Budget] | None:
        """The budget, read."""
        if isinstance(self.budget, dict):
            return {name: parse_budget(part) for name, part in self.budget.items()}
        return None if self.budget is None else parse_budget(self.budget)

    def is_drawn(self) -> bool:
        """Whether documents are drawn, not ranked."""
        return self.method in ("uniform", "weighted")

    def columns(self) -> tuple[str, ...]:
        """Names of the columns that selecting reads."""
        read = [name for sql in (self.score, self.weight) if sql for name in parse_expression(sql).columns]
        return tuple(dict.fromkeys([*read, *([self.by] if self.by else [])]))
