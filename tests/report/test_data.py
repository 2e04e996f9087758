from collections import Counter

import pyarrow as pa
import pytest

from curate.report.counts import salted_keys
from curate.report.data import build_report, order_steps, step_of
from curate.report.histograms import NUM_BINS, bins_of
from curate.report.model import KEPT, Part, Report, ReportInput
from tests.report.conftest import RULES, cut, make_input, make_part


@pytest.fixture(scope="module")
def report(given: ReportInput) -> Report:
    return build_report(given)


def all_rows(parts: list[Part]) -> list[dict[str, object]]:
    """Slow twin: every row as a dict."""
    return [row for part in parts for row in part.rows.to_pylist()]


def test_documents_in_are_kept_plus_dropped_overall_and_by_source(report: Report) -> None:
    assert report.totals.num_docs == 4000
    dropped = sum(step.dropped_docs for step in report.funnel)
    assert report.totals.kept_docs + dropped == report.totals.num_docs
    assert report.funnel[-1].left_docs == report.totals.kept_docs
    assert report.funnel[-1].left_tokens == report.totals.kept_tokens
    assert sum(source.num_tokens for source in report.sources) == report.totals.num_tokens
    for source in report.sources:
        assert source.kept_docs + sum(source.dropped_docs.values()) == source.num_docs
        assert source.kept_tokens + sum(source.dropped_tokens.values()) == source.num_tokens


def test_first_any_and_only_counts_equal_a_slow_count(report: Report, parts: list[Part]) -> None:
    first: Counter[str] = Counter()
    every: Counter[str] = Counter()
    only: Counter[str] = Counter()
    for row in all_rows(parts):
        reasons, tokens = row["reasons"], row["tokens"]
        first.update({reasons[0]: tokens} if reasons else {})
        every.update({reason: tokens for reason in reasons})
        only.update({reasons[0]: tokens} if len(reasons) == 1 else {})
    for entry in report.reasons:
        got = (entry.first_tokens, entry.any_tokens, entry.only_tokens)
        assert got == (first[entry.reason], every[entry.reason], only[entry.reason])


def test_planned_tokens_count_repeats_and_kept_tokens_do_not(report: Report, parts: list[Part]) -> None:
    rows = [row for row in all_rows(parts) if not row["reasons"]]
    assert report.totals.kept_tokens == sum(row["tokens"] for row in rows)
    assert report.totals.planned_tokens == sum(row["tokens"] * row["repeats"] for row in rows)
    assert report.totals.planned_tokens > report.totals.kept_tokens


def test_the_answer_does_not_depend_on_how_shards_are_cut(report: Report, parts: list[Part]) -> None:
    pieces = [piece for part in parts for piece in cut(part, 777)]
    assert build_report(make_input(pieces)) == report


def test_the_funnel_goes_input_filters_duplicates_selection(report: Report) -> None:
    assert [step.name for step in report.funnel] == [
        "input",
        "gopher",
        "c4",
        "fineweb",
        "user",
        "exact duplicates",
        "selection",
    ]


def test_a_rule_that_drops_nothing_is_listed_with_zeros(report: Report) -> None:
    entry = next(entry for entry in report.reasons if entry.reason == "user.odd")
    assert (entry.first_docs, entry.any_docs) == (0, 0)
    assert "forum" in entry.drop


def test_the_null_reason_of_a_rule_counts_in_the_step_of_the_rule() -> None:
    steps = order_steps(["gopher.too_short.null", "input.bad_json"], RULES)
    assert steps["gopher.too_short.null"] == ("gopher", "filter")
    assert next(iter(steps)) == "input.bad_json"


def test_unknown_reasons_are_selection() -> None:
    assert step_of("sample.not_drawn") == ("selection", "selection")
    assert step_of("minhash.duplicate") == ("minhash duplicates", "duplicates")


def test_every_document_is_in_one_bin_or_null(report: Report) -> None:
    for histogram in report.histograms:
        assert sum(histogram.kept) + sum(histogram.dropped) + histogram.num_null == 4000
        assert len(histogram.edges) == len(histogram.kept) + 1 <= NUM_BINS + 1


def test_limits_are_drawn_on_the_column_that_the_rule_reads(report: Report) -> None:
    words = next(each for each in report.histograms if each.column == "gopher.num_words")
    assert [(limit.op, limit.limit) for limit in words.limits] == [("<", 50.0), (">", 100000.0)]


@pytest.mark.parametrize(
    ("column", "scale", "high"),
    [
        ("gopher.num_words", "log", 1e6),
        ("fineweb.line_punct_frac", "linear", 1.0),
        ("redpajama.rps_doc_frac_unique_words", "linear", 1.0),
        ("tokens.count", "log", 1e7),
    ],
)
def test_bins_follow_from_the_name_alone(column: str, scale: str, high: float) -> None:
    got, edges = bins_of(column)
    assert (got, edges[-1]) == (scale, pytest.approx(high))


def test_nulls_and_nans_are_counted_apart() -> None:
    part = make_part("x", 3, 5)
    values = pa.array([None, float("nan"), 0.5], pa.float64())
    index = part.columns.column_names.index("gopher.dup_line_frac")
    columns = part.columns.set_column(index, "gopher.dup_line_frac", values)
    changed = Part(shard="x", rows=part.rows, columns=columns, sources=part.sources)
    report = build_report(make_input([changed]))
    histogram = next(each for each in report.histograms if each.column == "gopher.dup_line_frac")
    assert histogram.num_null == 2


def test_examples_met_their_reason_first_and_carry_the_measured_value(
    report: Report, parts: list[Part]
) -> None:
    by_place = {(part.shard, row["row"]): row for part in parts for row in part.rows.to_pylist()}
    limits = {rule.reason: rule for rule in RULES}
    assert {example.reason for example in report.examples} >= {KEPT, "gopher.too_short", "exact.duplicate"}
    for example in report.examples:
        reasons = by_place[example.shard, example.row]["reasons"]
        assert (reasons or [KEPT])[0] == example.reason
        if example.reason == "gopher.too_short":
            assert example.value is not None and example.value < limits[example.reason].limit


def test_texts_are_fetched_for_examples_only_and_cut(report: Report) -> None:
    assert len(report.examples) <= 3 * (len(report.reasons) + 1)
    assert all(example.text is not None and len(example.text) <= 601 for example in report.examples)


def test_no_parts_give_a_report_of_zeros() -> None:
    report = build_report(make_input([]))
    assert report.totals.num_docs == 0
    assert report.histograms == []


def test_salted_keys_of_a_slice_equal_the_slice_of_the_keys(parts: list[Part]) -> None:
    ids, rows = parts[0].rows["doc_id"], parts[0].rows["row"]
    assert salted_keys(ids.slice(7, 20), rows.slice(7, 20)).tolist() == salted_keys(ids, rows).tolist()[7:27]


def test_rows_without_doc_id_are_shown_last_and_are_no_copies_of_each_other() -> None:
    ids = pa.chunked_array([pa.array([None, b"\x00" * 16, None], pa.binary(16))])
    keys = salted_keys(ids, pa.chunked_array([pa.array([5, 6, 7], pa.uint32())])).tolist()
    assert keys[1] < keys[0] < keys[2]


def test_copies_are_one_example(parts: list[Part]) -> None:
    rows = parts[0].rows.slice(0, 1)
    copies = pa.concat_tables([rows] * 9)
    columns = pa.concat_tables([parts[0].columns.slice(0, 1)] * 9)
    examples = build_report(make_input([Part(shard="s", rows=copies, columns=columns)])).examples
    assert len(examples) == 1
