"""Row-wise SQL expressions over measured columns, e.g. `gopher.num_words < 50`.

The text is tokenised here, and only what is on a short list goes on to Polars: literals, columns, operators,
CASE and functions that look at one row. So aggregates, windows and subqueries cannot be written, and a dotted
name is one column without quotes. Regular expressions run in time linear in the text (Rust's regex crate, no
backtracking).

Differences from Polars' own SQL, so that no unknown value passes for a number: integers are widened to 64
bits before arithmetic (`num_words - 100` does not wrap around), NaN is null, and division by zero gives null.

Not here: reasons and masks (rules.py).
"""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from curate.errors import ConfigError

MAX_LENGTH = 1 << 18
"""Characters of one expression; a table of limits for thousands of languages has a hundred thousand."""

MAX_DEPTH = 40
"""Parentheses inside parentheses; the SQL parser gives up a little later."""

_FUNCTIONS = """
    ABS CEIL CEILING COALESCE CONCAT ENDS_WITH FLOOR GREATEST IFNULL LEAST LEFT LENGTH LOWER LTRIM NULLIF
    OCTET_LENGTH REGEXP_LIKE REPLACE RIGHT ROUND RTRIM SIGN SQRT STARTS_WITH STRPOS SUBSTR UPPER
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""Functions of one row, the same on every machine: no `ln`, `exp`, `pow`, which differ in the last bit."""

_KEYWORD_LIST = """
    AND AS BETWEEN CASE CAST ELSE END FALSE ILIKE IN IS LIKE NOT NULL OR REGEXP RLIKE THEN TRUE WHEN
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())
_TYPES = frozenset(("BIGINT", "BOOLEAN", "DATE", "DOUBLE", "INTEGER", "TEXT", "TIMESTAMP", "VARCHAR"))
_STARTS = frozenset(("name", "number", "string", "function", "open"))
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<string>'(?:[^']|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")+")'
    r"|(?P<number>(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<word>[^\W\d]\w*(?:\.\w+)*)"
    r"|(?P<operator>::|<>|!=|<=|>=|\|\||!~\*|!~|~\*|[<>=+\-*/%~])"
    r"|(?P<open>\()|(?P<close>\))|(?P<comma>,)"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression; kinds: name number string operator keyword function type open close comma."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: the columns it reads, and the Polars expression of its value."""

    sql: str
    columns: tuple[str, ...]
    expr: pl.Expr
    tokens: tuple[Token, ...]


@functools.lru_cache(maxsize=4096)
def parse_expression(sql: str) -> Expression:
    """Check `sql` and turn it into a Polars expression; a `ConfigError` says what is not allowed."""
    tokens = tuple(tokenize(sql))
    columns = tuple(dict.fromkeys(token.text for token in tokens if token.kind == "name"))
    try:
        expr = pl.sql_expr(_render(tokens))
    except pl.exceptions.PolarsError as exc:
        raise ConfigError(f"not an SQL expression ({exc}): {sql}") from exc
    return Expression(sql, columns, expr, tokens)


def tokenize(sql: str) -> list[Token]:
    """Split an expression; whatever is not on the list of this module is a `ConfigError`."""
    if len(sql) > MAX_LENGTH:
        raise ConfigError(f"an expression has at most {MAX_LENGTH} characters, this one has: {len(sql)}")
    tokens: list[Token] = []
    position = depth = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        if match is None or sql.startswith("--", position):
            raise ConfigError(
                f"unexpected {sql[position]!r} at character {position} of the expression: {sql}"
            )
        position = match.end()
        if match.lastgroup == "space":
            continue
        token = _classify(match, sql, tokens[-1] if tokens else None)
        if token.kind in _STARTS and _is_operand(tokens[-1] if tokens else None):
            raise ConfigError(f"an operator is missing before {token.text!r}: {sql}")
        depth += {"open": 1, "close": -1}.get(token.kind, 0)
        if not 0 <= depth <= MAX_DEPTH:
            raise ConfigError(f"parentheses do not match, or are deeper than {MAX_DEPTH}: {sql}")
        tokens.append(token)
    words = [token.text for token in tokens if token.kind == "keyword"]
    if words.count("AS") != words.count("CAST"):
        raise ConfigError(f"AS belongs to CAST(... AS type): {sql}")
    if not tokens or depth:
        raise ConfigError(
            f"the expression is {'empty' if not tokens else 'missing a closing parenthesis'}: {sql!r}"
        )
    return tokens


def _classify(match: re.Match[str], sql: str, previous: Token | None) -> Token:
    kind, text = str(match.lastgroup), match.group()
    upper = text.upper()
    if kind == "word":
        if previous is not None and previous.text in ("::", "AS"):
            if upper not in _TYPES:
                raise ConfigError(f"unknown type; known are {', '.join(sorted(_TYPES))}: {text}")
            return Token("type", upper)
        called = sql[match.end() :].lstrip().startswith("(")
        if upper in _KEYWORDS:
            return Token("keyword", upper)
        if called and upper not in FUNCTIONS:
            near = difflib.get_close_matches(upper, FUNCTIONS, 3)
            hint = f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(sorted(FUNCTIONS))}"
            raise ConfigError(f"not a function of one row: {text}", hint=hint)
        return Token("function", upper) if called else Token("name", text)
    if kind == "quoted":
        text, kind = text[1:-1].replace('""', '"'), "name"
        if text == "*" or text.startswith("^"):
            raise ConfigError(f"a pattern of columns is not a column: {text}")
    if kind == "number":
        text = text.replace("_", "")
    if text == "*" and kind == "operator" and not _is_operand(previous):
        raise ConfigError(f"`*` multiplies, it does not stand for columns: {sql}")
    return Token(kind, text)


def _is_operand(token: Token | None) -> bool:
    if token is None:
        return False
    return token.kind in ("name", "number", "string", "close", "type") or token.text in (
        "END",
        "NULL",
        "TRUE",
        "FALSE",
    )


def _render(tokens: tuple[Token, ...]) -> str:
    """Write the tokens as SQL that Polars reads: names quoted, and every divisor in NULLIF(..., 0)."""
    out: list[str] = []
    closers: dict[int, int] = {}
    for index, token in enumerate(tokens):
        out.append('"' + token.text.replace('"', '""') + '"' if token.kind == "name" else token.text)
        if token.kind == "operator" and token.text in ("/", "%"):
            out.append("NULLIF(")
            end = _operand_end(tokens, index + 1)
            closers[end] = closers.get(end, 0) + 1
        out.extend([", 0)"] * closers.get(index, 0))
    return " ".join(out)


def _operand_end(tokens: tuple[Token, ...], start: int) -> int:
    """Index of the last token of the operand at `start`: signs, then a value, call, group or CASE ... END."""
    index, last = start, len(tokens) - 1
    while index < last and tokens[index].text in ("+", "-"):
        index += 1
    if index < last and (tokens[index].kind == "function" or tokens[index].text == "CAST"):
        index += 1
    pairs = {"open": 1, "close": -1}
    words = {"CASE": 1, "END": -1}
    depth = 0
    while index <= last:
        token = tokens[index]
        depth += pairs.get(token.kind, 0) + (words.get(token.text, 0) if token.kind == "keyword" else 0)
        if depth <= 0:
            break
        index += 1
    while index + 2 <= last and tokens[index + 1].text == "::":
        index += 2
    return min(index, last)


def prepare(frame: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """Take the columns read: 64-bit integers, doubles with NaN as null, dictionaries as text."""
    return frame.select([_widened(name, frame.schema[name]) for name in dict.fromkeys(columns)])


def _widened(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_float():
        return column.cast(pl.Float64).fill_nan(None)
    if dtype == pl.UInt64:
        return column.cast(pl.Int128)
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    return column


def check_expression(expression: Expression, schema: Mapping[str, pl.DataType]) -> None:
    """Raise `ConfigError` unless `expression` reads columns of `schema` and gives true, false or null."""
    for name in expression.columns:
        if name not in schema:
            near = difflib.get_close_matches(name, schema, 3, 0.5)
            raise ConfigError(
                f"unknown column: {name}", hint=f"did you mean {', '.join(near)}?" if near else None
            )
    # One row of zeros and empty text finds what fails only when run, such as a malformed regular expression.
    rows = {
        name: pl.zeros(1, dtype=schema[name], eager=True)
        for name in expression.columns
        if _has_zero(schema[name])
    }
    frame = pl.DataFrame(
        {name: rows.get(name, pl.Series([None], dtype=schema[name])) for name in expression.columns}
    )
    try:
        frame = prepare(frame, expression.columns) if expression.columns else pl.DataFrame({"": [0]})
        dtype = frame.select(expression.expr.alias("value"))["value"].dtype
    except pl.exceptions.PolarsError as exc:
        raise ConfigError(
            f"the expression does not run ({str(exc).splitlines()[0]}): {expression.sql}"
        ) from exc
    if dtype != pl.Boolean:
        raise ConfigError(f"a rule needs true or false, this expression gives {dtype}: {expression.sql}")


def _has_zero(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.String, pl.Boolean)
