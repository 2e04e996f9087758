"""The expressions of rules: what may be written, and what it means on null, NaN, integers and zero."""

import polars as pl
import pytest

from curate.errors import ConfigError
from curate.filters.expression import MAX_LENGTH, check_expression, parse_expression, prepare

FRAME = pl.DataFrame(
    {
        "gopher.num_words": pl.Series([10, 60, None], dtype=pl.UInt32),
        "quality.score": [float("nan"), 0.5, None],
        "language": ["de", "en", None],
        "source": pl.Series(["a b", "it's", "a"], dtype=pl.Categorical),
        "flag": [True, False, None],
        "odd name": [0, 1, 2],
        "big": pl.Series([2**63, 2**63 + 1, 0], dtype=pl.UInt64),
    }
)

VALUES = [
    ("gopher.num_words < 50", [True, False, None]),
    ("gopher.num_words - 100 < 0", [True, True, None]),
    ("1_000 > gopher.num_words", [True, True, None]),
    ("quality.score > 1e-3", [None, True, None]),
    ("quality.score IS NULL", [True, False, True]),
    ("COALESCE(quality.score, 0) < .1", [True, False, True]),
    ('"quality.score" > 0.4 OR flag', [True, True, None]),
    ("flag", [True, False, None]),
    ("not flag", [False, True, None]),
    ('"odd name" = 2', [False, False, True]),
    ('1 / "odd name" > 0', [None, True, True]),
    ('1 / ("odd name" - 1) < 0', [True, None, False]),
    ('1 / abs("odd name") > 0.6', [None, True, False]),
    ('1 / -"odd name"::double < 0', [None, True, True]),
    ("1 / CASE WHEN flag THEN 0 ELSE 2 END > 0", [None, True, True]),
    ('1 / CAST("odd name" AS double) / 2 >= 0.5', [None, True, False]),
    ('5 % "odd name" = 1', [None, False, True]),
    ("language IN ('de', 'fr')", [True, False, None]),
    ("language <> 'en'", [True, False, None]),
    ("source = 'it''s'", [False, True, False]),
    ("source LIKE 'a%'", [True, False, True]),
    ("source ~ '^a\\s'", [True, False, False]),
    ("REGEXP_LIKE(source, '^.$')", [False, False, True]),
    ('"odd name" BETWEEN 1 AND 2', [False, True, True]),
    ('"odd name" * 2 = 4', [False, False, True]),
    ("CASE language WHEN 'de' THEN TRUE ELSE FALSE END", [True, False, False]),
    ("length(language) + 1 = 3", [True, True, None]),
    ("big > 9223372036854775807", [True, True, False]),
    ("big + 1 > 0", [True, True, True]),
    ("TRUE", [True]),
]


@pytest.mark.parametrize(("sql", "expected"), VALUES)
def test_an_expression_means_what_sql_says_with_nan_and_zero_divisors_as_null(sql, expected):
    expression = parse_expression(sql)
    check_expression(expression, FRAME.schema)
    frame = prepare(FRAME, expression.columns) if expression.columns else FRAME.head(1)
    assert frame.select(expression.expr.alias("v"))["v"].to_list() == expected


def test_columns_are_those_that_the_expression_reads_each_once_without_quotes():
    expression = parse_expression(
        "a.b > 1 AND \"odd name\" = 'not.this' OR lower(c) = 'x' AND a.b < 9 AND CAST(d AS text) = ''"
    )
    assert expression.columns == ("a.b", "odd name", "c", "d")


REFUSED = [
    ("", "empty"),
    ("sum(gopher.num_words) > 3", "not a function of one row: sum"),
    ("count(*) > 3", "not a function of one row: count"),
    ("max(gopher.num_words) OVER () > 3", "not a function of one row: max"),
    ("row_number() over (order by x) = 1", "not a function of one row: row_number"),
    ("language IN (SELECT a FROM b)", "an operator is missing before 'a'"),
    ("EXISTS (SELECT 1)", "not a function of one row: EXISTS"),
    ("* > 3", "`*` multiplies"),
    ('"*" > 3', "a pattern of columns"),
    ('"^gopher.*$" > 3', "a pattern of columns"),
    ("a > 1; DROP TABLE b", "unexpected ';'"),
    ("a > 1 -- why", "unexpected '-'"),
    ("a > /* why */ 1", "`*` multiplies"),
    ("a > 'open", 'unexpected "\'"'),
    ("(a > 1", "missing a closing parenthesis"),
    ("a > 1)", "parentheses do not match"),
    ("(" * 41 + "a" + ")" * 41, "deeper than 40"),
    ("a >", "not an SQL expression"),
    ("a b", "an operator is missing before 'b'"),
    ("a > 1 AS text", "AS belongs to CAST"),
    ("a > 1 text", "an operator is missing"),
    ("a > $1", "unexpected '$'"),
    ("a::json > 1", "unknown type"),
    ("a" * (MAX_LENGTH + 1), f"at most {MAX_LENGTH}"),
]


@pytest.mark.parametrize(("sql", "message"), REFUSED)
def test_what_is_not_an_expression_of_one_row_is_refused_with_the_reason(sql, message):
    with pytest.raises(ConfigError) as caught:
        parse_expression(sql)
    assert message in str(caught.value)


UNFIT = [
    ("gopher.num_wrds < 50", "unknown column: gopher.num_wrds", "did you mean gopher.num_words?"),
    (
        "gopher.num_words + 1",
        "a rule needs true or false, this expression gives Int64: gopher.num_words + 1",
        None,
    ),
    ("language ~ '(a'", "the expression does not run", None),
    ("language > 3", "the expression does not run", None),
]


@pytest.mark.parametrize(("sql", "message", "hint"), UNFIT)
def test_an_expression_is_checked_against_the_columns_before_any_run(sql, message, hint):
    with pytest.raises(ConfigError) as caught:
        check_expression(parse_expression(sql), FRAME.schema)
    assert str(caught.value).startswith(message)
    assert caught.value.hint == hint


def test_a_function_that_is_nearly_right_is_suggested():
    with pytest.raises(ConfigError) as caught:
        parse_expression("lenght(a) > 1")
    assert "LENGTH" in str(caught.value.hint)


def test_a_long_chain_of_conditions_is_fine():
    sql = " OR ".join(['"odd name" = 1'] * 400)
    assert prepare(FRAME, ["odd name"]).select(parse_expression(sql).expr)["odd name"].to_list() == [
        False,
        True,
        False,
    ]
