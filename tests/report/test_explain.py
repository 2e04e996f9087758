import json

import polars as pl
import pyarrow as pa
import pytest

from curate.errors import ConfigError
from curate.filters.rules import Rule
from curate.report.explain import (
    DuplicateFacts,
    Explanation,
    SelectionFacts,
    Selector,
    explain,
    find_rows,
    parse_selector,
)

SHORT = Rule(
    reason="gopher.too_short", drop="gopher.num_words < 50", column="gopher.num_words", op="<", limit=50
)
HASH = Rule(
    reason="gopher.hash_frac", drop="gopher.hash_frac > 0.1", column="gopher.hash_frac", op=">", limit=0.1
)
GERMAN = Rule(
    reason="user.german_short", drop="gopher.num_words < 80", where="lang = 'de'", column="gopher.num_words"
)
MIXED = Rule(reason="user.mixed", drop="gopher.num_words > 40 AND gopher.hash_frac > 0.05")
RULES = (SHORT, HASH, GERMAN, MIXED)


def columns(words: int | None = 60, hashes: float | None = 0.09, lang: str | None = "en") -> pl.DataFrame:
    return pl.DataFrame(
        {"gopher.num_words": [words], "gopher.hash_frac": [hashes], "lang": [lang]},
        schema={"gopher.num_words": pl.UInt32, "gopher.hash_frac": pl.Float64, "lang": pl.String},
    )


def row(*reasons: str) -> dict[str, object]:
    return {
        "row": 7,
        "doc_id": bytes(range(16)),
        "reasons": list(reasons),
        "pool": "web",
        "weight": 1.0,
        "repeats": 0 if reasons else 1,
        "order": 0,
        "tokens": 81,
    }


def make(*reasons: str, rules: tuple[Rule, ...] = (SHORT, HASH), **changes: object) -> Explanation:
    given = {"shard": "a/0.parquet", "row": row(*reasons), "columns": columns(), "rules": rules}
    return explain(**(given | changes))


def test_a_kept_document_lists_the_rules_it_passed_nearest_first() -> None:
    got = make()
    assert got.kept and got.agrees and got.findings == []
    assert [each.reason for each in got.passed] == ["gopher.hash_frac", "gopher.too_short"]
    assert got.passed[0].margin == pytest.approx(0.1)
    assert "verdict   kept" in got.text()


def test_a_dropped_document_shows_value_and_limit_of_every_reason_in_order() -> None:
    got = make("gopher.too_short", "gopher.hash_frac", columns=columns(12, 0.4))
    assert [finding.reason for finding in got.findings] == ["gopher.too_short", "gopher.hash_frac"]
    assert got.findings[0].checks[0].values == {"gopher.num_words": 12}
    assert got.findings[0].checks[0].limit == 50
    assert got.agrees
    assert "drops gopher.num_words < 50; gopher.num_words is 12, limit 50" in got.text()
    assert "dropped, first by gopher.too_short" in got.text()


def test_a_null_reason_names_the_column_that_is_null() -> None:
    got = make("gopher.hash_frac.null", columns=columns(hashes=None))
    assert got.agrees
    assert got.findings[0].checks[0].outcome == "null"
    assert "gopher.hash_frac is null" in got.text()


def test_a_rule_outside_its_where_is_neither_passed_nor_met() -> None:
    got = make(rules=RULES[:3], columns=columns(60, 0.0, "en"))
    assert got.agrees and "user.german_short" not in [each.reason for each in got.passed]
    german = make("user.german_short", rules=RULES[:3], columns=columns(60, 0.0, "de"))
    assert german.agrees and "where lang = 'de'" in german.text()


def test_a_rule_over_several_columns_shows_all_of_them_and_has_no_margin() -> None:
    got = make("user.mixed", rules=RULES)
    check = got.findings[0].checks[0]
    assert check.values == {"gopher.num_words": 60, "gopher.hash_frac": 0.09}
    assert check.margin is None


def test_limits_by_language_show_the_limit_in_force() -> None:
    drop = "CASE WHEN lang = 'de' THEN gopher.num_words < 100 ELSE gopher.num_words < 50 END"
    rule = Rule(
        reason="gopher.too_short",
        drop=drop,
        column="gopher.num_words",
        op="<",
        limit=50,
        by="lang",
        limits={"de": 100},
    )
    assert make(rules=(rule,)).passed[0].limit == 50
    german = make("gopher.too_short", rules=(rule,), columns=columns(lang="de"))
    assert german.findings[0].checks[0].limit == 100


@pytest.mark.parametrize("reasons", [(), ("gopher.hash_frac",), ("gopher.too_short", "gopher.hash_frac")])
def test_a_plan_that_the_rules_do_not_give_any_more_is_said(reasons: tuple[str, ...]) -> None:
    got = make(*reasons, columns=columns(12, 0.0))
    assert not got.agrees
    assert "other reasons than the plan" in got.text()


def test_a_duplicate_names_the_kept_copy_the_keep_rule_and_both_keys() -> None:
    facts = DuplicateFacts(
        kept_shard="b.parquet",
        kept_row=3,
        kept_id="x-1",
        kept_doc_id="00" * 16,
        kept_reasons=("budget.over",),
        num_copies=1200,
        keep="highest quality.score",
        key=0.25,
        kept_key=0.75,
    )
    got = make("exact.duplicate", duplicates={"exact.duplicate": facts})
    text = got.text()
    assert "same text as b.parquet:3 (id x-1); 1,200 copies in all" in text
    assert "keep rule highest quality.score: 0.25 here, 0.75 there" in text
    assert "the kept copy was dropped later: budget.over" in text
    assert got.agrees


def test_selection_shows_key_threshold_seed_and_budget() -> None:
    facts = SelectionFacts(
        method="uniform", key=0.93, threshold=0.41, seed=42, budget_tokens=5000, planned_tokens=5040
    )
    text = make("budget.over", selection=facts).text()
    assert "uniform, seed 42: key 0.93, threshold 0.41" in text
    assert "the pool's budget is 5,000 tokens, planned are 5,040" in text


def test_a_row_that_could_not_be_read_is_explained_without_columns() -> None:
    unread = row("input.bad_json") | {"doc_id": None, "tokens": 0}
    got = make("input.bad_json", row=unread, columns=columns().clear())
    assert got.doc_id == "" and got.agrees and not got.kept
    assert "input.bad_json" in got.text()


def test_the_explanation_is_plain_json() -> None:
    got = make("gopher.too_short", columns=columns(12))
    assert json.loads(json.dumps(got.to_json()))["findings"][0]["reason"] == "gopher.too_short"


def test_hostile_names_cannot_control_the_terminal() -> None:
    text = make(row=row() | {"id": "a\x1b[2J\u202e\nfake line", "source": "\r"}).text()
    assert "\x1b" not in text and "\u202e" not in text and "\r" not in text
    assert not [line for line in text.splitlines() if line.startswith("fake")]


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("doc:00010203", Selector(doc_id="00010203")),
        ("doc:ABCDE", Selector(doc_id="abcde")),
        ("id:a:b", Selector(id="a:b")),
        ("crawl/a.parquet:12", Selector(place=("crawl/a.parquet", 12))),
        ("a:b.parquet:0", Selector(place=("a:b.parquet", 0))),
    ],
)
def test_a_document_is_named_by_content_id_or_place(text: str, selector: Selector) -> None:
    assert parse_selector(text) == selector


@pytest.mark.parametrize("text", ["doc:xyz1", "doc:12", "a.parquet", "a.parquet:-1", ":3", ""])
def test_other_names_of_a_document_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_selector(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("doc:000102", [0]),
        ("doc:00010", [0]),
        ("doc:ffff", [1, 3]),
        ("id:c", [2]),
        ("s:11", [1]),
        ("other:11", []),
        ("doc:0002", []),
    ],
)
def test_rows_are_found_by_each_kind_of_name(text: str, found: list[int]) -> None:
    ids = [bytes(range(16)), b"\xff" * 16, None, b"\xff" * 16]
    rows = pa.table({"row": pa.array([10, 11, 12, 13], pa.uint32()), "doc_id": pa.array(ids, pa.binary(16))})
    names = pa.array(["a", "b", "c", None])
    assert find_rows(parse_selector(text), shard="s", rows=rows, ids=names) == found
