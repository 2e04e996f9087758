"""The native groups `document` and `gopher` and the word splitter against their plain twins."""

import hashlib
import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import _rust, text
from curate.text import NativeSpec
from tests.reference import document, gopher, uax29

GOPHER = NativeSpec(groups=frozenset({"gopher"}), words="uax29")
BOTH = NativeSpec(groups=frozenset({"identity", "document", "gopher"}), words="uax29")
SPACES = "\t\n\r \v\f\x1c\x1d\x85\xa0\u2028\u3000"
MARKS = ".!?'\",:;-#_()\u2022\u2026\u2019\u201d\u00bb\u3002"
LETTERS = "aabbcAZ019\u00e9\u03bb\u4e2d\U0001f600"
# Characters that this Python does not know may be letters by newer tables.
known = st.characters(exclude_categories=("Cs", "Cn"))
texts = st.text(alphabet=SPACES + MARKS + LETTERS + "\n\n  ...", max_size=120) | st.text(known, max_size=40)
words = st.lists(
    st.sampled_from(["a", "aa", "b", "ab", ".", "...", "\u00e9", "the", "with", "1"]), max_size=60
)
latin = st.text(
    alphabet="abZ09_.,:;'\"- \n\r\t\x0b()\u00e9\u0301\u00ad\u00a0\u00b7\u2019\u2028\u03bb", max_size=25
)


def measure_one(value, given_words):
    lists = pa.array([given_words], type=pa.large_list(pa.large_string()))
    batch = text.measure_words(pa.array([value.encode()], type=pa.large_binary()), lists, BOTH)
    return batch.to_pylist()[0]


def assert_same(row, expected):
    for name, value in expected.items():
        if isinstance(value, float):
            assert row[name] is not None, name
            assert math.isclose(row[name], value, rel_tol=1e-15), (name, row[name], value)
        else:
            assert row[name] == value, (name, row[name], value)


@given(texts, words)
def test_gopher_is_its_definition_given_the_words(value, given_words):
    assert_same(measure_one(value, given_words), gopher.signals(value, given_words))


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(100, 700))
def test_repeated_ngrams_are_their_definition_on_longer_texts(seed, kinds, count):
    vocabulary = ["one", "tw", "o", "two", "1", "12", "2", "extraordinarily-long-word-here", "\u00e9t", "."]
    numbers = hashlib.shake_128(str(seed).encode()).digest(count)
    given_words = [vocabulary[number % kinds + number % 5 * (number > 200)] for number in numbers]
    value = " ".join(given_words)
    assert_same(measure_one(value, given_words), gopher.signals(value, given_words))


PARTS = [
    "1",
    "23",
    "12",
    "3",
    "123",
    "in",
    "to",
    "into",
    "side",
    "inside",
    "o",
    "ut",
    "out",
    "outside",
    "a",
    "as",
]
PARTS += [
    "international",
    "ly",
    "internationally",
    "l",
    "y",
    "lys",
    "s",
    "\u00e9",
    "e\u00e9",
    "governme",
    "nt",
    "government",
]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=12), st.data())
def test_words_cut_in_other_places_repeat_what_reads_the_same(phrase, data):
    joined = "".join(phrase)
    given_words = list(phrase)
    for _ in range(data.draw(st.integers(1, 4))):
        given_words += data.draw(st.lists(st.sampled_from(PARTS), max_size=3))
        given_words += cut(joined, data)
    value = " ".join(given_words)
    assert_same(measure_one(value, given_words), gopher.signals(value, given_words))


def cut(joined, data):
    """Cut a text into words of `PARTS`, or single characters where none fits."""
    out = []
    while joined:
        fitting = [part for part in PARTS if joined.startswith(part)] or [joined[0]]
        out.append(data.draw(st.sampled_from(fitting)))
        joined = joined[len(out[-1]) :]
    return out


def test_ngrams_compare_the_words_run_together_as_datatrove_does():
    given_words = ["1", "23", "x", "y", "z", "|", "12", "3", "x", "y", "z"]
    row = measure_one(" ".join(given_words), given_words)
    assert row["gopher.dup_5gram_char_frac"] == 6 / 23


def test_ngrams_of_uax29_words_compare_word_by_word():
    value = pa.array([b"in to x y z | into x y z q"], type=pa.large_binary())
    assert text.measure(value, BOTH)["gopher.dup_5gram_char_frac"].to_pylist() == [0.0]
    same = pa.array([b"in to x y z | in to x y z q"], type=pa.large_binary())
    assert text.measure(same, BOTH)["gopher.dup_5gram_char_frac"].to_pylist() == [7 / 27]


@given(texts, words)
def test_document_sizes_are_their_definition(value, given_words):
    row = measure_one(value, given_words)
    assert_same(row, document.sizes(value, len(given_words)))
    assert row["doc_id"].hex() == _rust.blake3_hex(value.encode())


@given(latin)
def test_words_are_those_of_uax29(value):
    found = text.measure(pa.array([value.encode()], type=pa.large_binary()), BOTH).to_pylist()[0]
    expected = uax29.words(value)
    assert found["document.num_words"] == len(expected)
    assert_same(found, gopher.signals(value, expected, joined=False))


@pytest.mark.parametrize(
    ("value", "sentences"),
    [
        ("", 0),
        ("no end", 1),
        ("One. Two! Three?", 3),
        ("Wait... what?!", 2),
        ('He said "Go." Then (he went.) Done', 3),
        ("3.14 is e.g. pi", 2),
        ("\u4f60\u597d\u3002\u518d\u89c1\u3002", 2),
        ("\u201cYes.\u201d No", 2),
        ("?!", 0),
    ],
)
def test_sentences_end_at_terminal_punctuation_before_space(value, sentences):
    assert measure_one(value, [])["document.num_sentences"] == sentences


@pytest.mark.parametrize(
    ("value", "lines", "paragraphs"),
    [("", 0, 0), ("a", 1, 1), ("a\n", 1, 1), ("\n", 1, 0), ("a\r\n \r\nb\n\n\nc", 6, 3), ("a\rb", 1, 1)],
)
def test_lines_and_paragraphs_are_counted_as_a_reader_does(value, lines, paragraphs):
    row = measure_one(value, [])
    assert (row["document.num_lines"], row["document.num_paragraphs"]) == (lines, paragraphs)


def test_without_words_or_text_fractions_are_null_not_zero():
    row = measure_one("", [])
    undefined = {name for name, value in row.items() if value is None}
    assert {"gopher.mean_word_length", "gopher.hash_frac", "gopher.dup_5gram_char_frac"} <= undefined
    assert (row["gopher.num_words"], row["gopher.dup_line_frac"]) == (0, 0.0)


def test_too_many_words_give_null_ngrams_and_all_other_signals():
    batch = text.measure(pa.array([b"ab " * (2**20 + 1), b"ab " * 2**20], type=pa.large_binary()), GOPHER)
    assert batch["gopher.num_words"].to_pylist() == [2**20 + 1, 2**20]
    assert [value is None for value in batch["gopher.top_2gram_char_frac"].to_pylist()] == [True, False]
    assert [value is None for value in batch["gopher.dup_10gram_char_frac"].to_pylist()] == [True, False]
    assert batch["gopher.mean_word_length"].to_pylist() == [2.0, 2.0]


@pytest.mark.slow
def test_a_document_of_100_mb_is_measured():
    value = b"All work and no play makes Jack a dull boy.\n" * 2_300_000
    row = text.measure(pa.array([value], type=pa.large_binary()), BOTH).to_pylist()[0]
    assert row["document.num_lines"] == 2_300_000
    assert row["gopher.dup_line_frac"] == 2_299_999 / 2_300_001
