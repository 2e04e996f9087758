"""Published rule sets as settings: a table of bounds, each a field with its limit.

A preset writes its rules as SQL over measured columns, so it follows the same path as a rule of the recipe. A
table `limits` replaces limits per value of the column `by` (a language): `{de: {max_mean_word_length: 12}}`;
values that are not listed, and rows where `by` is null, keep the preset's own limits. Not here: any limit
(gopher.py, c4.py, ...).
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from curate.errors import ConfigError
from curate.filters.expression import parse_expression
from curate.filters.rules import Rule
from curate.schema import Settings

Limit = float | bool | None
Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Frac = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Bound:
    """One rule of a preset: drop where `column op limit`; with `op` `is`, where the column is true."""

    field: str
    reason: str
    column: str
    op: str


class Preset(Settings):
    """Base of the presets; None turns a rule off, 0 is a limit."""

    bounds: ClassVar[tuple[Bound, ...]]

    where: str | None = None
    """SQL expression over columns: the rules hold only where it is true; None is everywhere."""
    by: str = "language"
    """Column whose value selects from `limits`."""
    limits: dict[str, dict[str, Limit]] = Field(default_factory=dict)
    """Other limits per value of `by`: `{de: {max_mean_word_length: 12}}`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.where is not None:
            parse_expression(self.where)
        self._check_order()
        own = self._values()
        for group, changes in self.limits.items():
            unknown = sorted(changes.keys() - own.keys())
            if unknown:
                raise ConfigError(
                    f"limits.{group} names no limit of this preset; known are {', '.join(own)}: {unknown[0]}"
                )
            self._variant(changes)
        return self

    def _variant(self, changes: dict[str, Limit]) -> Self:
        return type(self).model_validate({**self._values(), **changes})

    def _values(self) -> dict[str, Limit]:
        return {bound.field: getattr(self, bound.field) for bound in self.bounds}

    def _check_order(self) -> None:
        for name, low in self._values().items():
            high = getattr(self, "max_" + name[4:], None) if name.startswith("min_") else None
            if low is not None and high is not None and low > high:
                raise ConfigError(f"{name} is above max_{name[4:]}: {low} and {high}")

    def sql(self, bound: Bound, limit: Limit) -> str:
        """Write the condition under which `bound` drops a document, given its limit."""
        if limit is None or limit is False:
            return "FALSE"
        return bound.column if bound.op == "is" else f"{bound.column} {bound.op} {limit!r}"

    def rules(self) -> tuple[Rule, ...]:
        """The rules that are on, in the preset's order."""
        rules = (self._rule(bound) for bound in self.bounds)
        return tuple(rule for rule in rules if rule is not None)

    def _rule(self, bound: Bound) -> Rule | None:
        own: Limit = getattr(self, bound.field)
        table = {
            group: getattr(self._variant(changes), bound.field) for group, changes in self.limits.items()
        }
        table = {group: limit for group, limit in table.items() if limit != own}
        if _is_off(own) and all(map(_is_off, table.values())):
            return None
        drop = self.sql(bound, own)
        if table:
            by = '"' + self.by.replace('"', '""') + '"'
            same: dict[Limit, list[str]] = {}
            for group, limit in table.items():
                same.setdefault(limit, []).append(quote(group))
            cases = " ".join(
                f"WHEN {by} IN ({', '.join(groups)}) THEN {self.sql(bound, limit)}"
                for limit, groups in same.items()
            )
            drop = f"CASE {cases} ELSE {drop} END"
        if bound.op == "is":
            return Rule(reason=bound.reason, drop=drop, where=self.where)
        numbers: dict[str, Any] = {"limit": own, "limits": table, "by": self.by if table else None}
        return Rule(
            reason=bound.reason, drop=drop, where=self.where, column=bound.column, op=bound.op, **numbers
        )


def _is_off(limit: Limit) -> bool:
    return limit is None or limit is False


def quote(text: str) -> str:
    """Write `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
