"""The C4, FineWeb and RedPajama signals of the native pass against their twins and hand-derived answers."""

import math
import unicodedata
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import text
from curate.errors import DataError
from tests.reference import c4, fineweb, redpajama, words_en

GROUPS = frozenset({"document", "c4", "fineweb", "redpajama"})

# The extension's Unicode tables are newer than Python's: leave out what is assigned or changed case since.
CHARS = st.characters(exclude_categories=("Cs", "Cn", "Lm"), exclude_characters="\u0295")
BREAKS = (" ", "\n", "\r\n", "\r", "\v", "\x1c", "\x1f", "\x85", "\u2028", "\xa0", "\t")
MARKS = (".", "...", "\u2026", "!", "?", "\u3002", '"', "'", "{", "}", "#", "-", "_")
CITATIONS = ("[1]", "[]", "[edit]", "[citation needed]", "[\u0661]", "[x]", "[1")
PHRASES = ("lorem ipsum", "Lorem IPSUM", "JavaScript", "Terms of use", "privacy policy", "cookie policy")
COOKIES = ("use of cookies", "use cookies", "Uses coo\u212aies", "pr\u0130vacy policy")
WORDS = (
    "One two three.",
    "a b c d e f",
    "NASA",
    "3.14",
    "\u039f\u03a3",
    "\u03a3",
    "\u01c5",
    "e\u0301\u0316",
    "\u0958",
)
OTHERS = ("\u0939\u093f", "\u24b6", "a" * 30, "\u4e2d" * 31, "long line " * 20)
LONG = ("w" * 1000 + " x y.", "w" * 1001 + " x y.")
PIECES = st.sampled_from(BREAKS + MARKS + CITATIONS + PHRASES + COOKIES + WORDS + OTHERS + LONG)
TEXTS = st.lists(st.one_of(PIECES, PIECES, st.text(CHARS, max_size=8)), max_size=30).map("".join)
ROWS = st.lists(st.one_of(st.none(), st.just(""), TEXTS, st.text(CHARS)), max_size=5)


def measure(rows: list[str | None], words: text.WordMode = "uax29") -> list[dict[str, Any]]:
    spec = text.NativeSpec(groups=GROUPS, words=words)
    columns = text.measure(pa.array(rows, pa.large_string()), spec)
    return list(columns.to_pylist())


def assert_equal(found: dict[str, Any], expected: dict[str, Any], shown: str | None) -> None:
    for name, value in expected.items():
        got = found[name]
        if isinstance(value, float) and got is not None:
            assert math.isclose(got, value, rel_tol=0, abs_tol=1.5e-8), (name, got, value, shown)
        else:
            assert got == value, (name, got, value, shown)


TWINS: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "c4": lambda doc, _: c4.signals(doc),
    "fineweb": fineweb.signals,
    "redpajama": lambda doc, _: redpajama.signals(doc),
}


@pytest.mark.parametrize("group", TWINS)
@given(rows=ROWS)
def test_every_signal_equals_its_twin(group: str, rows: list[str | None]) -> None:
    for doc, found in zip(rows, measure(rows), strict=True):
        columns = {name: value for name, value in found.items() if name.startswith(f"{group}.")}
        if doc is None:
            assert set(columns.values()) == {None}
            continue
        expected = TWINS[group](doc, found["document.num_words"])
        assert list(columns) and set(columns) == set(expected)
        assert_equal(columns, expected, doc)


@given(doc=TEXTS)
def test_sentences_are_those_of_the_word_mode(doc: str) -> None:
    found = measure([doc], "datatrove-en")[0]
    assert_equal(found, c4.signals(doc, words_en.count_sentences), doc)


@given(rows=st.lists(st.lists(st.sampled_from("abc"), max_size=60).map(" ".join), max_size=3))
def test_repeated_ngrams_equal_their_twin(rows: list[str]) -> None:
    for doc, found in zip(rows, measure(list(rows)), strict=True):
        assert_equal(found, redpajama.signals(doc), doc)


@given(rows=ROWS, start=st.integers(0, 5))
def test_a_slice_of_a_batch_measures_as_the_rows_alone(rows: list[str | None], start: int) -> None:
    spec = text.NativeSpec(groups=GROUPS, words="uax29")
    array = pa.array(rows, pa.large_string()).cast(pa.large_binary())
    assert text.measure(array.slice(start), spec).to_pylist() == measure(rows[start:])


@given(doc=TEXTS)
def test_c4_edits_leave_what_the_rewriting_keeps(doc: str) -> None:
    doc = "\n".join(doc.splitlines())
    array = pa.array([doc, None], pa.large_string())
    edited = text.apply_edits(array, text.c4_edits(array)).to_pylist()
    assert edited == [c4.rewrite(doc).encode(), None]


@given(doc=TEXTS)
def test_c4_edits_change_nothing_but_the_separators_of_unusual_lines(doc: str) -> None:
    array = pa.array([doc], pa.large_string())
    edited = text.apply_edits(array, text.c4_edits(array))[0].as_py().decode()
    assert edited.splitlines() == c4.rewrite(doc).splitlines()


def test_edits_beyond_their_text_are_refused_by_row() -> None:
    edits = text.c4_edits(pa.array(["all of this is removed"]))
    with pytest.raises(DataError, match=r"row 0: edit 0\.\.22 of 5 bytes"):
        text.apply_edits(pa.array(["short"]), edits)


C4_CASES = [
    ("", {}),
    ("One two three.", {"num_kept_lines": 1, "num_sentences": 1}),
    ("One two three", {"num_lines_no_terminal_punct": 1}),
    ("One two three...", {"num_lines_no_terminal_punct": 1}),
    ("One two three\u3002", {"num_lines_no_terminal_punct": 1}),
    ("One two three.[12]", {"num_kept_lines": 1, "num_sentences": 1}),
    ("One two three...[edit]", {"num_lines_no_terminal_punct": 1}),
    ("One two.", {"num_lines_too_few_words": 1}),
    ("Turn on JavaScript.", {"num_lines_javascript": 1}),
    ("Turn on Java[2]Script.", {"num_lines_javascript": 1}),
    ("We use coo\u212aies here.", {"num_lines_policy": 1}),
    ("Lorem ipsum dolor.", {"num_kept_lines": 1, "num_sentences": 1, "has_lorem_ipsum": True}),
    ("Lorem ipsum", {"num_lines_no_terminal_punct": 1}),
    ("javascript {has braces}.", {"num_lines_javascript": 1}),
    ("privacy policy {has braces}.", {"num_lines_policy": 1, "has_curly_bracket": True}),
    ("{One. Two two! Three?", {"num_kept_lines": 1, "num_sentences": 3, "has_curly_bracket": True}),
    ("b" * 1001 + " two three.", {"num_lines_too_long_word": 1, "num_long_lines": 1}),
    ("\u00e9" * 1000 + " two three.", {"num_kept_lines": 1, "num_sentences": 1, "num_long_lines": 1}),
    ("\u4e2d" * 200, {"num_lines_no_terminal_punct": 1, "num_long_lines": 1}),
    ("\u4e2d" * 199, {"num_lines_no_terminal_punct": 1}),
    ("terms of\u00a0use are here.", {"num_kept_lines": 1, "num_sentences": 1}),
]


@pytest.mark.parametrize(("doc", "expected"), C4_CASES, ids=range(len(C4_CASES)))
def test_a_line_falls_to_the_first_rule_it_breaks(doc: str, expected: dict[str, int]) -> None:
    found = {name: value for name, value in measure([doc])[0].items() if name.startswith("c4.")}
    lines = {"num_lines": len(doc.splitlines())}
    assert {name: value for name, value in found.items() if value} == {
        f"c4.{name}": value for name, value in (expected | lines).items() if value
    }


def test_lines_end_as_splitlines_ends_them_and_long_lines_at_newlines() -> None:
    doc = "One two three.\r\nFour five six.\x85\u2028Seven eight nine.\x1dno\n"
    found = measure([doc])[0]
    assert (found["c4.num_lines"], found["c4.num_kept_lines"], found["fineweb.num_lines"]) == (5, 3, 2)


def test_fineweb_fractions_are_those_of_a_text_counted_by_hand() -> None:
    found = measure(["Same line.\n\nSame line.\n" + "x" * 31 + "\n \n"])[0]
    expected = {"num_lines": 3, "line_punct_frac": 2 / 3, "short_line_frac": 2 / 3, "char_dup_frac": 10 / 52}
    assert {name: found[f"fineweb.{name}"] for name in expected} == expected
    # Words: Same, line, the full stop, twice; and the long one.
    assert found["fineweb.newline_word_frac"] == 5 / 7


def test_a_text_without_lines_has_no_fractions() -> None:
    found = measure(["\n \n\t"])[0]
    assert {value for name, value in found.items() if name.startswith("fineweb.") and "_frac" in name} == {
        None
    }


def test_redpajama_signals_are_those_of_a_text_counted_by_hand() -> None:
    doc = "The CAT sat... THE cat sat!\n#1 {x}"
    found = measure([doc])[0]
    expected = {
        # the cat sat the cat sat 1 x
        "word_count": 8.0,
        "mean_word_length": 2.5,
        "frac_unique_words": 0.625,
        "frac_chars_top_2gram": 0.6,
        "frac_chars_top_3gram": 0.9,
        "frac_chars_top_4gram": 0.0,
        "frac_chars_dupe_5grams": 0.0,
        # The CAT sat ... THE cat sat ! # 1 { x }
        "symbol_to_word_ratio": round(2 / 13, 8),
        "frac_no_alph_words": round(6 / 13, 8),
        "frac_all_caps_words": round(2 / 13, 8),
        "num_sentences": 3.0,
        "frac_lines_end_with_ellipsis": 0.0,
        "curly_bracket": round(2 / 34, 8),
        "lorem_ipsum": 0.0,
        "unigram_entropy": round(-3 / 4 * math.log(1 / 4) - 1 / 4 * math.log(1 / 8), 8),
    }
    assert {name: found[f"redpajama.rps_doc_{name}"] for name in expected} == expected


def test_documents_above_the_word_limit_have_no_ngram_signals() -> None:
    at_limit, above = measure(["a " * 2**20, "a " * (2**20 + 1)])
    assert at_limit["redpajama.rps_doc_frac_chars_dupe_10grams"] == 1.0
    assert above["redpajama.rps_doc_frac_chars_dupe_10grams"] is None
    assert above["redpajama.rps_doc_frac_chars_top_2gram"] is None
    assert above["redpajama.rps_doc_word_count"] == 2**20 + 1


def test_every_assigned_character_is_normalised_as_python_does() -> None:
    skipped = ("Cs", "Cn", "Lm")
    chars = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in skipped and c != 0x295]
    rows: list[str | None] = ["A".join(chars[i : i + 500]) for i in range(0, len(chars), 500)]
    for doc, found in zip(rows, measure(rows), strict=True):
        assert doc is not None
        assert_equal(found, redpajama.signals(doc) | c4.signals(doc), None)
