"""Which of several documents that are alike stays: a rule over any columns, ties by place in the corpus."""

import re

import polars as pl
from pydantic import field_validator

from curate.errors import ConfigError
from curate.schema import Settings

LONGEST = "document.num_bytes"

_KEY = re.compile(r'(?:"((?:[^"]|"")+)"|([^\W\d]\w*(?:\.\w+)*))(?:\s+(asc|desc))?', re.IGNORECASE)


class Prefer(Settings):
    """Values of a column in the order in which they are preferred."""

    column: str
    """Name of the column."""
    order: tuple[str, ...]
    """Its values, the most preferred first; all others come after them, and are equal among each other."""

    @field_validator("order")
    @classmethod
    def _check_order(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ConfigError(f"order needs different values, at least one: {', '.join(value)}")
        return value


class KeepRule(Settings):
    """Which of several documents that are alike stays, and where they are looked for."""

    keep: str = "first"
    """`first`, `longest`, or columns as in ORDER BY: `quality.score desc, date`; nulls come last."""
    prefer: Prefer | None = None
    """Preferred values of a column, such as sources; looked at before `keep`; None is no preference."""
    within: str | None = None
    """Column inside whose values duplicates are looked for, such as a source; None is the whole corpus."""

    @field_validator("keep")
    @classmethod
    def _check_keep(cls, value: str) -> str:
        parse_order(value)
        return value

    def columns(self) -> tuple[str, ...]:
        """Names of the columns that choosing a keeper reads."""
        first = () if self.prefer is None else (self.prefer.column,)
        return tuple(dict.fromkeys((*first, *(column for column, _ in parse_order(self.keep)))))

    def descending(self) -> list[bool]:
        """Whether the greatest value is the best, for each of `sort_keys`."""
        return [*([False] if self.prefer else []), *(down for _, down in parse_order(self.keep))]

    def sort_keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns `0`, `1`, ... to sort by, in the directions of `descending()`, the best first.

        Raises:
            ConfigError: `frame` lacks one of `columns()`.
        """
        missing = [name for name in self.columns() if name not in frame.columns]
        if missing:
            raise ConfigError(f"a rule of dedup reads a column that is not there: {missing[0]}")
        keys = []
        if self.prefer is not None:
            prefer = self.prefer
            ranks = {value: rank for rank, value in enumerate(prefer.order)}
            named = frame[prefer.column].cast(pl.String)
            keys.append(named.replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64))
        for column, _ in parse_order(self.keep):
            values = frame[column]
            if values.dtype.is_float():
                values = values.fill_nan(None)
            keys.append(values.cast(pl.String) if values.dtype in (pl.Categorical, pl.Enum) else values)
        return pl.DataFrame([key.alias(str(index)) for index, key in enumerate(keys)])


def parse_order(keep: str) -> tuple[tuple[str, bool], ...]:
    """Columns of a keep rule, each with whether its greatest value is the best."""
    if keep == "first":
        return ()
    if keep == "longest":
        return ((LONGEST, True),)
    keys = []
    for part in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', keep):
        match = _KEY.fullmatch(part.strip())
        if match is None:
            raise ConfigError(f"keep is not `first`, `longest` or `column [asc|desc], ...`: {keep}")
        quoted, plain, direction = match.groups()
        keys.append((plain or quoted.replace('""', '"'), (direction or "asc").lower() == "desc"))
    return tuple(keys)
