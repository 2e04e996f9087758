"""Token budgets: how they are written, and how one budget becomes the budgets of pools.

`3B`, `200M`, `1.5T`, `3e9` and whole numbers are tokens; `0.1` and `10%` are fractions of what is available.
All arithmetic is on integers and exact fractions. Not here: which documents fill a budget (cutter.py).
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction

from curate.errors import ConfigError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}

Budget = int | Fraction
"""Tokens (an int), or a fraction of what is available."""

_TEXT = re.compile(r"(\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE]\+?(\d{1,2}))?\s*([KMBT%]?)")


def parse_budget(value: int | float | str) -> Budget:
    """Read a budget: a whole number of tokens, or a fraction above 0 and up to 1.

    A number with a point and no unit is a fraction: `1` is one token, `1.0` is all of them.
    """
    if isinstance(value, bool):
        raise ConfigError(f"a budget is a number of tokens or a fraction, not: {value}")
    if isinstance(value, int):
        if value < 0:
            raise ConfigError(f"a budget of tokens is not below 0: {value}")
        return value
    number, unit = _split(value)
    if unit in UNITS:
        tokens = number * UNITS[unit]
        if tokens.denominator != 1:
            raise ConfigError(f"a budget is a whole number of tokens: {value}")
        return int(tokens)
    fraction = number / 100 if unit == "%" else number
    if not 0 < fraction <= 1:
        raise ConfigError(
            f"a fraction of the tokens is above 0 and at most 1: {value}", hint="3B is 3 billion"
        )
    return fraction


def _split(value: float | str) -> tuple[Fraction, str]:
    """The number of a budget and its unit, which is `.` for a number with a point and no unit."""
    if isinstance(value, float):
        # The decimal that Python writes: 0.1 is one tenth, not the double nearest to it.
        if math.isfinite(value):
            return Fraction(repr(value)), "."
    elif match := _TEXT.fullmatch(value.strip()):
        number, power, unit = match.groups()
        is_fraction = not unit and power is None and "." in number
        return Fraction(number.replace("_", "")) * 10 ** int(power or 0), "." if is_fraction else unit
    raise ConfigError(f"a budget looks like 3B, 200M, 1_000_000, 0.1 or 10%: {value}")


def resolve_budget(budget: Budget, available: int) -> int:
    """The budget in tokens, given how many there are; a fraction is rounded down."""
    return budget if isinstance(budget, int) else int(budget * available)


def split_budget(budget: int, available: Mapping[str, int]) -> dict[str, int]:
    """Split a budget over pools in proportion to their tokens; the parts add up to it.

    Rounded down, then one token more for the largest remainders, ties by name; 0 where there are no tokens.
    """
    total = sum(available.values())
    if total == 0:
        return dict.fromkeys(available, 0)
    parts = {name: divmod(budget * tokens, total) for name, tokens in available.items()}
    left = budget - sum(part for part, _ in parts.values())
    first = set(sorted(parts, key=lambda name: (-parts[name][1], name))[:left])
    return {name: part + (name in first) for name, (part, _) in parts.items()}


def pool_budgets(
    budget: Budget | Mapping[str, Budget] | None, available: Mapping[str, int]
) -> dict[str, int | None]:
    """The budget of every pool: shares of one, or from a table that names every pool; None is no limit.

    Raises:
        ConfigError: The table leaves out a pool that has tokens.
    """
    if budget is None:
        return dict.fromkeys(available)
    if not isinstance(budget, Mapping):
        total = sum(available.values())
        return dict(split_budget(resolve_budget(budget, total), available))
    missing = sorted(name for name, tokens in available.items() if tokens and name not in budget)
    if missing:
        hint = f"add `{missing[0]}: 0` to take nothing from it, or `{missing[0]}: 1.0` to take all"
        raise ConfigError(f"the table of budgets leaves out pools: {', '.join(missing)}", hint=hint)
    parts = {name: resolve_budget(part, available.get(name, 0)) for name, part in budget.items()}
    return {**dict.fromkeys(available, 0), **parts}
