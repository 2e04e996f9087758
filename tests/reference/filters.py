"""Slow, obvious twins of `curate.filters`: one row at a time, in plain Python with three-valued logic."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Truth = bool | None


def known(value: Any) -> Any:
    """A value, with NaN as None."""
    return None if isinstance(value, float) and math.isnan(value) else value


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
}


def compare(row: Row, column: str, op: str, limit: Any) -> Truth:
    """`column op limit`; None where the column is null or NaN."""
    value = known(row[column])
    return None if value is None else COMPARE[op](value, limit)


def all_of(first: Truth, second: Truth) -> Truth:
    """SQL's AND."""
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def any_of(first: Truth, second: Truth) -> Truth:
    """SQL's OR."""
    if first is True or second is True:
        return True
    return None if first is None or second is None else False


def outcome(drop: Truth, where: Truth) -> str:
    """What a rule says of a document: `drop`, `null` or `keep`."""
    if where is None:
        return "null"
    if where is False:
        return "keep"
    return {True: "drop", False: "keep", None: "null"}[drop]


def reasons(
    row: Row, rules: Sequence[tuple[str, Callable[[Row], Truth], Callable[[Row], Truth]]]
) -> list[str]:
    """Every reason of a row, once, in the order of the first rule that has it; `.null` after the reason."""
    order = list(dict.fromkeys(code for reason, _, _ in rules for code in (reason, reason + ".null")))
    found = set()
    for reason, drop, where in rules:
        said = outcome(drop(row), where(row))
        if said != "keep":
            found.add(reason if said == "drop" else reason + ".null")
    return [code for code in order if code in found]


def preset_reasons(row: Row, preset: Any) -> list[str]:
    """Reasons of a preset, straight from its table of bounds and the limits that hold for the row."""
    limits = {bound.field: getattr(preset, bound.field) for bound in preset.bounds}
    limits.update(preset.limits.get(row.get(preset.by), {}))
    out = []
    for bound in preset.bounds:
        limit = limits[bound.field]
        if limit is None or limit is False:
            continue
        if bound.op == "is":
            flag = re.fullmatch(r"(\S+) = 0", bound.column)
            said = compare(row, flag.group(1), "=", 0) if flag else known(row[bound.column])
        else:
            said = compare(row, bound.column, bound.op, limit)
        if said is None:
            out.append(bound.reason + ".null")
        elif said:
            out.append(bound.reason)
    return out
