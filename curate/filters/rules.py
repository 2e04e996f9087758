"""Rules: a reason, an SQL expression over columns that says when to drop, and optionally where it applies.

A document is dropped by a rule where `where` and `drop` are both true. Where `where` is null, or `where` is
true and `drop` is null, the answer is not known: the document is dropped under a reason of its own,
`<reason>.null`. NaN counts as null before anything is computed; `COALESCE` and `IS NULL` in the expression
answer for it as the user wishes.

Cost: 20 rules over 10^6 rows take well under a second. Not here: the presets (gopher.py and others), what is
read from where.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator

from curate.errors import ConfigError
from curate.filters.expression import check_expression, parse_expression, prepare
from curate.schema import NULL_SUFFIX, Settings, is_reason

MAX_REASONS = 65_536
"""Codes of reasons are 16-bit."""


class RuleEntry(Settings):
    """A rule as a recipe writes it: drop where `drop` is true, under `reason`."""

    reason: str
    """`stage.rule` in lower case: what was wrong with the document."""
    drop: str
    """SQL expression over columns, true where the document is to be dropped."""
    where: str | None = None
    """SQL expression over columns: the rule holds only where it is true; None is everywhere."""

    @field_validator("reason")
    @classmethod
    def _check_reason(cls, value: str) -> str:
        if not is_reason(value) or value.endswith(NULL_SUFFIX):
            raise ConfigError(
                f"a reason is `stage.rule` in lower case, and not {NULL_SUFFIX} at the end: {value}"
            )
        return value

    @field_validator("drop", "where")
    @classmethod
    def _check_sql(cls, value: str | None) -> str | None:
        if value is not None:
            parse_expression(value)
        return value


class Rule(RuleEntry):
    """One rule, with what is known of its limit; rules that share a reason count as one."""

    column: str | None = None
    """The column that `limit` is compared with, for explanations and histograms; None where there is none."""
    op: str | None = None
    """How `column` is compared with `limit` to drop: `<`, `<=`, `>`, `>=`, `=` or `<>`."""
    limit: float | None = None
    """The limit where no entry of `limits` holds; None where there is none."""
    by: str | None = None
    """Column whose value selects from `limits`."""
    limits: dict[str, float | None] = Field(default_factory=dict)
    """Limit per value of `by`; None is off for that value."""

    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the rule reads, in the order of first use."""
        where = () if self.where is None else parse_expression(self.where).columns
        return tuple(dict.fromkeys((*where, *parse_expression(self.drop).columns)))

    def limit_for(self, group: str | None) -> float | None:
        """The limit that holds for a document whose `by` column is `group`; None where the rule is off."""
        return self.limits[group] if group is not None and group in self.limits else self.limit


def rule_columns(rules: Sequence[Rule]) -> tuple[str, ...]:
    """Names of all columns that `rules` read, in the order of first use."""
    return tuple(dict.fromkeys(name for rule in rules for name in rule.columns()))


def reason_codes(rules: Sequence[Rule]) -> tuple[str, ...]:
    """Every reason that `rules` can give, in order: each reason, then the same with `.null`."""
    reasons = dict.fromkeys(rule.reason for rule in rules)
    return tuple(code for reason in reasons for code in (reason, reason + NULL_SUFFIX))


def check_rules(rules: Sequence[Rule], schema: Mapping[str, pl.DataType]) -> None:
    """Raise `ConfigError` for the first rule that names an unknown column or is not true or false."""
    for rule in rules:
        for key, sql in (("drop", rule.drop), ("where", rule.where)):
            if sql is None:
                continue
            try:
                check_expression(parse_expression(sql), schema)
            except ConfigError as exc:
                raise ConfigError(f"{key} of the rule {rule.reason}: {exc}", hint=exc.hint) from exc


def evaluate(rules: Sequence[Rule], frame: pl.DataFrame) -> list[tuple[str, pl.Series]]:
    """Say for each reason of `reason_codes(rules)` which rows of `frame` it drops; no mask has nulls."""
    missing = [name for name in rule_columns(rules) if name not in frame.columns]
    if missing:
        raise ConfigError(f"columns that the rules read are missing: {', '.join(missing)}")
    if not rules:
        return []
    null = pl.lit(None, dtype=pl.Boolean)
    found: dict[str, pl.Expr] = {}
    for rule in rules:
        drop = parse_expression(rule.drop).expr
        if rule.where is not None:
            where = parse_expression(rule.where).expr
            drop = pl.when(where.is_null()).then(null).when(where).then(drop).otherwise(pl.lit(False))
        for code, mask in ((rule.reason, drop.fill_null(False)), (rule.reason + NULL_SUFFIX, drop.is_null())):
            found[code] = found[code] | mask if code in found else mask
    # A column of all rows, so that a rule without columns has a mask of the right length.
    data = pl.DataFrame({"": np.ones(frame.height, dtype=bool)}).hstack(prepare(frame, rule_columns(rules)))
    codes = reason_codes(rules)
    masks = data.select(**{f"{index}": found[code] & pl.col("") for index, code in enumerate(codes)})
    return [(code, masks[f"{index}"]) for index, code in enumerate(codes)]


def reasons_column(masks: Sequence[tuple[str, pl.Series | np.ndarray]], num_rows: int) -> pa.ListArray:
    """List every reason of every row: `list<dictionary<uint16, string>>`, each list in the order of `masks`.

    The dictionary holds all codes of `masks` in order, whether or not they occur. Cost: 10^6 rows and 60
    masks take about a tenth of a second; only rows that a mask drops cost memory.
    """
    codes = list(dict.fromkeys(code for code, _ in masks))
    if len(masks) != len(codes) or len(codes) > MAX_REASONS:
        raise ConfigError(
            f"reasons must be different, and at most {MAX_REASONS}: {len(masks)} masks, {len(codes)} codes"
        )
    hits: list[tuple[int, np.ndarray]] = []
    offsets = np.zeros(num_rows + 1, dtype=np.int64)
    for index, (code, mask) in enumerate(masks):
        if len(mask) != num_rows:
            raise ConfigError(
                f"the mask of {code} has another length than the table: {len(mask)} and {num_rows}"
            )
        if mask.any():
            rows = np.flatnonzero(np.asarray(mask))
            offsets[rows + 1] += 1
            hits.append((index, rows))
    np.cumsum(offsets, out=offsets)
    values = np.empty(int(offsets[-1]), dtype=np.uint16)
    free = offsets[:-1].copy()
    for index, rows in hits:
        values[free[rows]] = index
        free[rows] += 1
    dictionary = pa.DictionaryArray.from_arrays(pa.array(values, pa.uint16()), pa.array(codes, pa.string()))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), dictionary)
