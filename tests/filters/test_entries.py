"""The recipe's list of filters: presets, rules, and errors that name the key."""

import pytest

from curate.errors import ConfigError
from curate.filters.entries import parse_filters
from curate.filters.gopher import Gopher


def test_entries_give_their_rules_in_order():
    rules = parse_filters(
        [
            {"preset": "gopher", "min_words": 30},
            {"reason": "my.rule", "drop": "quality.score < -0.5", "where": "source = 'web'"},
        ]
    )
    assert rules[:-1] == Gopher(min_words=30).rules()
    assert rules[0].limit == 30
    assert rules[-1].reason == "my.rule"
    assert (rules[-1].column, rules[-1].op, rules[-1].limit) == ("quality.score", "<", -0.5)


@pytest.mark.parametrize("drop", ["a < b", "a + 1 < 2", "a = 'x'", "NOT a", "3 < a", "a < - b"])
def test_only_a_plain_comparison_with_a_number_has_a_limit(drop):
    (rule,) = parse_filters([{"reason": "my.rule", "drop": drop}])
    assert (rule.column, rule.op, rule.limit) == (None, None, None)


ERRORS = [
    ("gopher", "filter[1] needs `preset:` or `reason:` and `drop:`: 'gopher'"),
    ({"preset": "gofer"}, "filter[1].preset is not one of c4, fineweb, gopher, language, redpajama: 'gofer'"),
    ({"preset": ["c4"]}, "filter[1].preset is not one of"),
    ({"preset": "gopher", "min_word": 3}, "filter[1].min_word: Extra inputs are not permitted: 3"),
    ({"preset": "gopher", "min_words": "x"}, "filter[1].min_words: "),
    ({"preset": "gopher", "limits": {"de": {"x": 1}}}, "filter[1]: limits.de names no limit of this preset"),
    ({"drop": "a > 1"}, "filter[1].reason is missing"),
    ({"reason": "my.rule"}, "filter[1].drop is missing"),
    ({"reason": "my.rule", "drop": "avg(a) > 1"}, "filter[1].drop: not a function of one row: avg"),
    ({"reason": "my.rule", "drop": "a > 1", "where": "b >"}, "filter[1].where: not an SQL expression"),
    ({"reason": "My rule", "drop": "a > 1"}, "filter[1].reason: a reason is `stage.rule`"),
]


@pytest.mark.parametrize(("entry", "message"), ERRORS)
def test_an_error_names_the_key_by_its_path(entry, message):
    with pytest.raises(ConfigError) as caught:
        parse_filters([{"preset": "c4"}, entry])
    assert str(caught.value).startswith(message)
