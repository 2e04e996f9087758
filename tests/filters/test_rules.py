"""Rules and reasons: drop, keep or not known, against the twin."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.errors import ConfigError
from curate.filters.rules import Rule, check_rules, evaluate, reason_codes, reasons_column, rule_columns
from tests.reference import filters as twin

NUMBERS = st.none() | st.sampled_from([float("nan"), -1.0, 0.0, 0.5, 1.0, 2.0])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "m.a": NUMBERS,
            "m.b": NUMBERS,
            "m.n": st.none() | st.integers(0, 3),
            "language": st.sampled_from([None, "de", "en"]),
        }
    ),
    max_size=30,
)
SCHEMA = {"m.a": pl.Float64, "m.b": pl.Float64, "m.n": pl.UInt32, "language": pl.String}

RULES = [
    (
        Rule(reason="t.high", drop="m.a > 0.5"),
        lambda row: twin.compare(row, "m.a", ">", 0.5),
        lambda row: True,
    ),
    (
        Rule(reason="t.either", drop="m.a < 0 OR m.b >= 1", where="language <> 'en'"),
        lambda row: twin.any_of(twin.compare(row, "m.a", "<", 0), twin.compare(row, "m.b", ">=", 1)),
        lambda row: twin.compare(row, "language", "<>", "en"),
    ),
    (
        Rule(reason="t.few", drop="m.n < 2", where="language = 'de'"),
        lambda row: twin.compare(row, "m.n", "<", 2),
        lambda row: twin.compare(row, "language", "=", "de"),
    ),
    (
        Rule(reason="t.few", drop="m.n < 1 AND m.a < 1", where="m.b > 0"),
        lambda row: twin.all_of(twin.compare(row, "m.n", "<", 1), twin.compare(row, "m.a", "<", 1)),
        lambda row: twin.compare(row, "m.b", ">", 0),
    ),
]


@given(ROWS)
def test_reasons_of_every_row_equal_the_twins(rows):
    frame = pl.DataFrame(rows, schema=SCHEMA)
    masks = evaluate([rule for rule, _, _ in RULES], frame)
    expected = [
        twin.reasons(row, [(rule.reason, drop, where) for rule, drop, where in RULES]) for row in rows
    ]
    assert reasons_column(masks, len(rows)).to_pylist() == expected
    assert all(mask.null_count() == 0 for _, mask in masks)


def test_a_nan_is_never_a_silent_keep_nor_a_plain_drop():
    frame = pl.DataFrame({"a": [float("nan"), None, 1.0]})
    masks = dict(evaluate([Rule(reason="t.r", drop="a > 2"), Rule(reason="t.s", drop="a < 2")], frame))
    assert masks["t.r"].to_list() == [False, False, False]
    assert masks["t.r.null"].to_list() == [True, True, False]
    assert masks["t.s"].to_list() == [False, False, True]


def test_rules_with_one_reason_count_once_and_at_the_first_place():
    rules = [
        Rule(reason="t.b", drop="a = 1"),
        Rule(reason="t.a", drop="a = 1"),
        Rule(reason="t.b", drop="a <= 2"),
    ]
    assert reason_codes(rules) == ("t.b", "t.b.null", "t.a", "t.a.null")
    masks = evaluate(rules, pl.DataFrame({"a": [1, 2, 3]}))
    assert reasons_column(masks, 3).to_pylist() == [["t.b", "t.a"], ["t.b"], []]


def test_a_constant_rule_gives_a_mask_of_all_rows():
    masks = dict(evaluate([Rule(reason="t.all", drop="TRUE")], pl.DataFrame({"a": [1, 2]})))
    assert masks["t.all"].to_list() == [True, True]


def test_no_rules_and_no_rows_give_empty_answers():
    frame = pl.DataFrame({"a": pl.Series([], dtype=pl.Int64)})
    assert evaluate([], frame) == []
    assert reasons_column(evaluate([Rule(reason="t.r", drop="a > 1")], frame), 0).to_pylist() == []
    assert reasons_column([], 2).to_pylist() == [[], []]


def test_the_reasons_column_has_the_type_of_the_plan_and_a_fixed_dictionary():
    column = reasons_column([("t.a", np.array([False, True])), ("t.b", np.array([False, False]))], 2)
    assert column.type == pa.list_(pa.dictionary(pa.uint16(), pa.string()))
    assert column.values.dictionary.to_pylist() == ["t.a", "t.b"]
    column.validate(full=True)


@given(st.integers(0, 40), st.integers(0, 6), st.randoms())
def test_the_reasons_column_lists_the_masks_that_hold(num_rows, num_masks, random):
    masks = [
        (f"t.m{i}", np.array([random.random() < 0.3 for _ in range(num_rows)], dtype=bool))
        for i in range(num_masks)
    ]
    expected = [[code for code, mask in masks if mask[row]] for row in range(num_rows)]
    assert reasons_column(masks, num_rows).to_pylist() == expected


def test_masks_of_another_length_or_with_one_reason_twice_are_refused():
    with pytest.raises(ConfigError, match="another length than the table: 1 and 2"):
        reasons_column([("t.a", np.array([True]))], 2)
    with pytest.raises(ConfigError, match="reasons must be different"):
        reasons_column([("t.a", np.array([True]))] * 2, 1)


@pytest.mark.parametrize("reason", ["", "short", "Gopher.short", "t.r.null", "t r.x"])
def test_a_reason_is_stage_and_rule_in_lower_case_and_leaves_null_to_the_engine(reason):
    with pytest.raises(ValidationError, match="in lower case"):
        Rule(reason=reason, drop="TRUE")


def test_a_rule_knows_its_columns_and_is_checked_against_a_schema():
    rule = Rule(reason="t.r", drop="a.x > b", where="c = 'x' AND b < 1")
    assert rule.columns() == ("c", "b", "a.x")
    assert rule_columns([rule, Rule(reason="t.s", drop="d")]) == ("c", "b", "a.x", "d")
    schema = {"a.x": pl.Int64(), "b": pl.Float64(), "c": pl.String()}
    check_rules([rule], schema)
    with pytest.raises(ConfigError, match="unknown column: c"):
        check_rules([rule], {"a.x": pl.Int64(), "b": pl.Float64()})
    with pytest.raises(ConfigError, match="columns that the rules read are missing: c"):
        evaluate([rule], pl.DataFrame({"a.x": [1], "b": [1.0]}))


def test_a_sliced_and_chunked_frame_gives_the_same_as_its_copy():
    frame = pl.concat([pl.DataFrame({"a": [1, None, 3]}), pl.DataFrame({"a": [4, 5]})], rechunk=False)[1:4]
    masks = evaluate([Rule(reason="t.r", drop="a > 3")], frame)
    assert reasons_column(masks, 3).to_pylist() == [["t.r.null"], [], ["t.r"]]
