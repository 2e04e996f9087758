"""The published rule sets: hand-made cases with the expected reasons, and every preset against the twin."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.filters.c4 import C4
from curate.filters.entries import PRESETS
from curate.filters.fineweb import FineWeb
from curate.filters.gopher import Gopher
from curate.filters.language import LanguageFilter
from curate.filters.preset import Preset
from curate.filters.redpajama import RedPajama
from curate.filters.rules import evaluate, reason_codes, reasons_column, rule_columns
from tests.reference import filters as twin

GOOD = {
    "gopher.num_words": 500,
    "gopher.mean_word_length": 4.5,
    "gopher.num_stop_words": 6,
    "gopher.alpha_word_frac": 0.95,
    "c4.num_sentences": 12,
    "c4.has_lorem_ipsum": False,
    "c4.has_curly_bracket": False,
    "c4.num_long_lines": 4,
    "fineweb.num_lines": 20,
    "fineweb.line_punct_frac": 0.9,
    "redpajama.rps_doc_word_count": 500.0,
    "redpajama.rps_doc_mean_word_length": 4.5,
    "language": "en",
}


def reasons(preset: Preset, **changes: object) -> list[str]:
    rules = preset.rules()
    row = (
        {name: 0.0 for name in rule_columns(rules)}
        | GOOD
        | {key.replace("__", "."): v for key, v in changes.items()}
    )
    return reasons_column(evaluate(rules, pl.DataFrame([row])), 1).to_pylist()[0]


@pytest.mark.parametrize("preset", [Gopher(), C4(min_long_lines=3), FineWeb(), RedPajama()])
def test_a_good_document_has_no_reason(preset):
    assert reasons(preset) == []


CASES = [
    (Gopher(), {"gopher__num_words": 49}, ["gopher.too_short"]),
    (Gopher(), {"gopher__num_words": 50}, []),
    (Gopher(), {"gopher__num_words": 100_001}, ["gopher.too_long"]),
    (Gopher(), {"gopher__mean_word_length": 2.999}, ["gopher.words_too_short"]),
    (Gopher(), {"gopher__mean_word_length": 10.001}, ["gopher.words_too_long"]),
    (
        Gopher(),
        {"gopher__mean_word_length": None},
        ["gopher.words_too_short.null", "gopher.words_too_long.null"],
    ),
    (Gopher(), {"gopher__hash_frac": 0.11}, ["gopher.too_many_hashes"]),
    (Gopher(), {"gopher__hash_frac": 0.1}, []),
    (Gopher(), {"gopher__ellipsis_frac": 0.11}, ["gopher.too_many_ellipses"]),
    (Gopher(), {"gopher__bullet_line_frac": 0.91}, ["gopher.too_many_bullet_lines"]),
    (Gopher(), {"gopher__ellipsis_line_frac": 0.31}, ["gopher.too_many_ellipsis_lines"]),
    (Gopher(), {"gopher__alpha_word_frac": 0.79}, ["gopher.too_few_alpha_words"]),
    (Gopher(), {"gopher__num_stop_words": 1}, ["gopher.too_few_stop_words"]),
    (Gopher(), {"gopher__dup_line_frac": 0.31}, ["gopher.dup_lines"]),
    (Gopher(), {"gopher__dup_para_frac": 0.31}, ["gopher.dup_paras"]),
    (Gopher(), {"gopher__dup_line_char_frac": 0.21}, ["gopher.dup_line_chars"]),
    (Gopher(), {"gopher__dup_para_char_frac": 0.21}, ["gopher.dup_para_chars"]),
    (Gopher(), {"gopher__top_2gram_char_frac": 0.21}, ["gopher.top_2gram"]),
    (Gopher(), {"gopher__top_3gram_char_frac": 0.19}, ["gopher.top_3gram"]),
    (Gopher(), {"gopher__top_4gram_char_frac": 0.17}, ["gopher.top_4gram"]),
    (Gopher(), {"gopher__dup_5gram_char_frac": 0.151}, ["gopher.dup_5gram"]),
    (Gopher(), {"gopher__dup_6gram_char_frac": 0.141}, ["gopher.dup_6gram"]),
    (Gopher(), {"gopher__dup_7gram_char_frac": 0.131}, ["gopher.dup_7gram"]),
    (Gopher(), {"gopher__dup_8gram_char_frac": 0.121}, ["gopher.dup_8gram"]),
    (Gopher(), {"gopher__dup_9gram_char_frac": 0.111}, ["gopher.dup_9gram"]),
    (Gopher(), {"gopher__dup_10gram_char_frac": 0.101}, ["gopher.dup_10gram"]),
    (Gopher(), {"gopher__dup_10gram_char_frac": math.nan}, ["gopher.dup_10gram.null"]),
    (C4(), {"c4__num_sentences": 4}, ["c4.too_few_sentences"]),
    (C4(), {"c4__has_lorem_ipsum": True}, ["c4.lorem_ipsum"]),
    (
        C4(),
        {"c4__has_curly_bracket": True, "c4__num_sentences": 4},
        ["c4.curly_bracket", "c4.too_few_sentences"],
    ),
    (C4(curly_bracket=False), {"c4__has_curly_bracket": True}, []),
    (C4(), {"c4__num_long_lines": 0}, []),
    (C4(min_long_lines=3), {"c4__num_long_lines": 2}, ["c4.too_few_long_lines"]),
    (FineWeb(), {"fineweb__num_lines": 0}, ["fineweb.empty"]),
    (FineWeb(), {"fineweb__line_punct_frac": 0.11}, ["fineweb.too_few_punctuated_lines"]),
    (FineWeb(), {"fineweb__line_punct_frac": 0.0}, ["fineweb.too_few_punctuated_lines"]),
    (FineWeb(allow_no_line_punct=True), {"fineweb__line_punct_frac": 0.0}, []),
    (
        FineWeb(allow_no_line_punct=True),
        {"fineweb__line_punct_frac": 0.11},
        ["fineweb.too_few_punctuated_lines"],
    ),
    (FineWeb(), {"fineweb__short_line_frac": 0.68}, ["fineweb.too_many_short_lines"]),
    (FineWeb(), {"fineweb__char_dup_frac": 0.011}, ["fineweb.dup_line_chars"]),
    (FineWeb(), {"fineweb__newline_word_frac": 0.31}, ["fineweb.too_many_newlines"]),
    (RedPajama(), {"redpajama__rps_doc_word_count": 49.0}, ["redpajama.too_short"]),
    (RedPajama(), {"redpajama__rps_doc_symbol_to_word_ratio": 0.11}, ["redpajama.too_many_symbols"]),
    (RedPajama(), {"redpajama__rps_doc_frac_no_alph_words": 0.21}, ["redpajama.too_few_alpha_words"]),
    (RedPajama(), {"redpajama__rps_doc_frac_chars_dupe_10grams": 0.11}, ["redpajama.dup_10gram"]),
    (
        RedPajama(min_unigram_entropy=3),
        {"redpajama__rps_doc_unigram_entropy": 2.9},
        ["redpajama.entropy_too_low"],
    ),
]


@pytest.mark.parametrize(("preset", "changes", "expected"), CASES)
def test_one_measure_past_its_limit_gives_its_reason(preset, changes, expected):
    assert reasons(preset, **changes) == expected


def test_zero_is_a_limit_not_off_and_none_is_off():
    assert reasons(Gopher(max_hash_frac=0), gopher__hash_frac=0.01) == ["gopher.too_many_hashes"]
    assert reasons(Gopher(max_hash_frac=None), gopher__hash_frac=9.0) == []
    assert "gopher.too_many_hashes" not in reason_codes(Gopher(max_hash_frac=None).rules())


def test_limits_per_language_replace_the_presets_and_keep_the_reason():
    preset = Gopher(limits={"de": {"max_mean_word_length": 12}, "zh": {"max_mean_word_length": None}})
    said = ["gopher.words_too_long"]
    cases = [("en", 11.0, said), ("de", 11.0, []), ("de", 12.5, said), ("zh", 99.0, []), (None, 11.0, said)]
    for language, length, expected in [*cases, ("zh", None, ["gopher.words_too_short.null"])]:
        found = reasons(preset, language=language, gopher__mean_word_length=length)
        assert found == expected, (language, length)
    rule = next(rule for rule in preset.rules() if rule.reason == "gopher.words_too_long")
    assert (rule.column, rule.op, rule.limit, rule.by) == ("gopher.mean_word_length", ">", 10, "language")
    assert [rule.limit_for(group) for group in ("de", "zh", "en", None)] == [12, None, 10, 10]


def test_a_rule_that_is_off_can_be_turned_on_for_one_language_in_another_column():
    preset = C4(by="lang.label", min_sentences=None, limits={"o'c": {"min_sentences": 2}})
    assert reasons(preset, c4__num_sentences=1, lang__label="o'c") == ["c4.too_few_sentences"]
    assert reasons(preset, c4__num_sentences=1, lang__label="en") == []
    assert "language" not in rule_columns(preset.rules())


def test_where_limits_the_whole_preset():
    preset = Gopher(where="language = 'en'")
    assert reasons(preset, gopher__num_words=1) == ["gopher.too_short"]
    assert reasons(preset, gopher__num_words=1, language="de") == []
    assert "gopher.too_short.null" in reasons(preset, gopher__num_words=1, language=None)


REFUSED = [
    (Gopher, {"min_words": 9, "max_words": 8}, "min_words is above max_words: 9 and 8"),
    (Gopher, {"max_hash_frac": -0.1}, "greater than or equal to 0"),
    (Gopher, {"max_dup_line_frac": 1.5}, "less than or equal to 1"),
    (Gopher, {"max_mean_word_length": math.inf}, "finite"),
    (Gopher, {"max_word": 3}, "Extra inputs"),
    (Gopher, {"where": "sum(a) > 1"}, "not a function of one row"),
    (Gopher, {"limits": {"de": {"max_wrds": 3}}}, "limits.de names no limit of this preset"),
    (Gopher, {"limits": {"de": {"max_words": 3}}}, "min_words is above max_words"),
    (Gopher, {"limits": {"de": {"min_words": 1.5}}}, "valid integer"),
]


@pytest.mark.parametrize(("preset", "settings", "message"), REFUSED)
def test_limits_that_make_no_sense_are_refused(preset, settings, message):
    with pytest.raises(ValidationError, match=message):
        preset(**settings)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_limit_has_a_sentence_and_every_reason_begins_with_the_preset(name):
    preset = PRESETS[name]
    source = {bound.field for bound in preset.bounds}
    assert source <= set(preset.model_fields)
    assert preset().preset == name
    assert all(
        bound.reason.startswith(f"{name}.") and bound.column.startswith(f"{name}.") for bound in preset.bounds
    )


VALUE = st.none() | st.sampled_from(
    [math.nan, 0.0, 0.1, 0.12, 0.15, 0.3, 0.5, 0.9, 1.0, 3.0, 5.0, 12.0, 200.0, 2e5]
)
LIMITS = {
    "gopher": {"de": {"max_mean_word_length": 12, "min_words": None}},
    "c4": {"de": {"min_sentences": 0, "curly_bracket": False}},
    "fineweb": {"de": {"max_char_dup_frac": 0.2}},
    "redpajama": {"de": {"min_sentences": 3}},
    "language": {"de": {"min_score": 0.5}},
}


def test_only_the_kept_languages_stay_and_an_unknown_one_has_a_reason_of_its_own():
    rules = LanguageFilter(keep=("en", "it's"), min_score=None).rules()
    rows = pl.DataFrame({"language.label": ["en", "de", "it's", None]})
    found = reasons_column(evaluate(rules, rows), 4).to_pylist()
    assert found == [[], ["language.not_kept"], [], ["language.not_kept.null"]]
    with pytest.raises(ValidationError, match="keep names no language"):
        LanguageFilter(keep=())


def test_a_table_holds_thousands_of_languages():
    labels = [f"l{number:04d}_Latn" for number in range(2000)]
    limits = {label: {"min_score": 0.5 + number % 40 / 100} for number, label in enumerate(labels)}
    rules = LanguageFilter(keep=tuple(labels), limits=limits).rules()
    rows = pl.DataFrame({"language.label": [*labels, "zz"], "language.score": [0.7] * 2001})
    found = reasons_column(evaluate(rules, rows), 2001).to_pylist()
    low = [number for number in range(2000) if 0.5 + number % 40 / 100 > 0.7]
    assert [number for number in range(2000) if found[number]] == low
    assert found[-1] == ["language.not_kept"]


@pytest.mark.parametrize("name", sorted(PRESETS))
@given(data=st.data())
def test_presets_equal_the_twin(name, data):
    preset = PRESETS[name](limits=LIMITS[name])
    rules = preset.rules()
    kinds = {
        column: (st.none() | st.booleans() if ".has_" in column else VALUE) for column in rule_columns(rules)
    }
    kinds[preset.by] = st.sampled_from([None, "de", "en"])
    rows = data.draw(st.lists(st.fixed_dictionaries(kinds), max_size=8))
    schema = {column: pl.Boolean if ".has_" in column else pl.Float64 for column in kinds} | {
        preset.by: pl.String
    }
    found = reasons_column(evaluate(rules, pl.DataFrame(rows, schema=schema)), len(rows))
    assert found.to_pylist() == [twin.preset_reasons(row, preset) for row in rows]
