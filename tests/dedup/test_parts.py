"""Duplicate parts: the native functions and the exact finder against their twins; order, error and bounds."""

import json
from contextlib import closing
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import text
from curate.config import build
from curate.dedup.parts import DuplicateParts, ExactParts, NgramOverlap
from curate.errors import ConfigError, DataError
from tests.reference import parts as twin

WORDS = ("a", "b", "Cd", "e,f", "don't", "3.14", "\u00e9t\u00e9", "wordofseventeenba", "eightlet", "four")
SPACES = (" ", " ", " ", "  ", "\t", "\n", "\n\n", " \n \n", "\r\n", "\u2028", "\x1c", "\u00a0")
PIECES = st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)).map("".join)
TEXTS = st.builds(
    lambda before, pieces, cut: (before + "".join(pieces)).rstrip() if cut else before + "".join(pieces),
    st.sampled_from(("", "\n", "  ", "\n\n ")),
    st.lists(PIECES, max_size=25),
    st.booleans(),
)
ROWS = st.lists(TEXTS, max_size=12)
UNITS = st.sampled_from(("paragraph", "line"))


def array(rows):
    return pa.array([None if row is None else row.encode() for row in rows], pa.large_binary())


def find_exactly(tmp_path, batches, settings, *, memory_bytes=1 << 20, num_threads=1):
    """Duplicate parts of each document of batches of (texts, scopes), each a group."""
    exact = ExactParts(settings, scratch=tmp_path, memory_bytes=memory_bytes, num_threads=num_threads)
    with closing(exact):
        exact.find(
            iter([(array(rows), None if scopes is None else pa.array(scopes, pa.string()))])
            for rows, scopes in batches
        )
        found = [
            row for n in range(len(batches)) for batch in exact.read(n) for row in batch["parts"].to_pylist()
        ]
    assert not list(tmp_path.iterdir())
    return found


@given(rows=ROWS, unit=UNITS, min_words=st.integers(1, 4))
def test_hashes_are_equal_exactly_where_the_words_are(rows, unit, min_words):
    settings = json.dumps({"unit": unit, "min_words": min_words})
    found = text.part_hashes(array(rows), None, settings, num_threads=2).to_pylist()
    expected = [twin.keys(row, unit, min_words) for row in rows]
    assert [len(parts) for parts in found] == [len(parts) for parts in expected]
    pairs = {
        (key, value) for f, e in zip(found, expected, strict=True) for key, value in zip(f, e, strict=True)
    }
    assert len(pairs) == len({key for key, _ in pairs}) == len({value for _, value in pairs})
    assert all((key is None) == (value is None) for key, value in pairs)


@given(rows=ROWS, unit=UNITS, data=st.data())
def test_removed_parts_leave_what_separates_the_others(rows, unit, data):
    removed = [
        sorted(data.draw(st.sets(st.integers(0, len(parts) - 1)))) if (parts := twin.split(row, unit)) else []
        for row in rows
    ]
    whole = [data.draw(st.booleans()) for _ in rows]
    lists = pa.array(removed, pa.list_(pa.uint32()))
    edits = text.part_edits(array(rows), lists, pa.array(whole, pa.bool_()), unit)
    left = text.apply_edits(array(rows), edits).to_pylist()
    assert [row.decode() for row in left] == [
        twin.remove(*given) for given in zip(rows, [unit] * len(rows), removed, whole, strict=True)
    ]


@given(st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=4), st.data())
def test_composed_edits_do_what_both_do_one_after_the_other(gaps, data):
    texts = [bytes(range(65, 65 + 40)) for _ in gaps]
    first = [spans_of(steps, 40) for steps in gaps]
    once = [twin.cut(raw, spans) for raw, spans in zip(texts, first, strict=True)]
    second = [spans_of(data.draw(st.lists(st.integers(0, 3), max_size=12)), len(raw)) for raw in once]
    both = text.compose_edits(edits_of(first), edits_of(second))
    found = text.apply_edits(pa.array(texts, pa.large_binary()), both).to_pylist()
    assert found == [twin.cut(raw, spans) for raw, spans in zip(once, second, strict=True)]
    for spans in both.to_pylist():
        assert all(a["end"] < b["start"] for a, b in pairwise(spans))


def spans_of(steps, size):
    ends = np.minimum(np.cumsum(steps), size)
    return [(int(a), int(b)) for a, b in zip(ends[::2], ends[1::2], strict=False) if a < b]


def edits_of(rows):
    kind = pa.list_(pa.struct([("start", pa.uint32()), ("end", pa.uint32())]))
    return pa.array([[{"start": a, "end": b} for a, b in spans] for spans in rows], kind)


@given(rows=ROWS, unit=UNITS, scopes=st.data())
def test_the_exact_finder_finds_every_occurrence_but_the_first(tmp_path_factory, rows, unit, scopes):
    tmp_path = tmp_path_factory.mktemp("scratch")
    values = [scopes.draw(st.sampled_from(("x", "y", None))) for _ in rows]
    settings = DuplicateParts(unit=unit, min_words=2, within="source")
    half = len(rows) // 2
    batches = [(rows[:half], values[:half]), ([], []), (rows[half:], values[half:])]
    expected = twin.duplicates(rows, values, unit, 2)
    assert find_exactly(tmp_path, batches, settings) == expected
    assert find_exactly(tmp_path, batches, settings, memory_bytes=1000, num_threads=2) == expected
    unscoped = [(batch, None) for batch, _ in batches]
    assert find_exactly(tmp_path, unscoped, settings) == twin.duplicates(rows, [0] * len(rows), unit, 2)


@given(rows=ROWS, unit=UNITS, expected=st.sampled_from((3, 40, 1000)), rate=st.sampled_from((0.5, 0.1, 1e-4)))
def test_the_filter_sets_the_bits_that_its_twin_sets(rows, unit, expected, rate):
    settings = text.PartFilterSettings(unit=unit, min_words=2, expected=expected, false_positive_rate=rate)
    seen, found = twin.Bloom(expected, rate), []
    for row in rows:
        numbers = []
        for number, key in enumerate(twin.keys(row, unit, 2)):
            if key is not None and key in seen:
                numbers.append(number)
            elif key is not None:
                seen.add(key)
        found.append(numbers)
    native = text.PartFilter(settings)
    assert native.find(array(rows), None)["parts"].to_pylist() == found
    assert native.num_items == seen.num_items
    assert native.error == pytest.approx(
        twin.error(seen.num_items / seen.num_blocks, seen.num_bits) if rows and seen.num_items else 0
    )


@given(
    rows=ROWS,
    unit=UNITS,
    ngram=st.integers(1, 5),
    min_words=st.integers(1, 6),
    threshold=st.sampled_from((0.3, 0.5, 0.8, 1.0)),
    rate=st.sampled_from((0.5, 1e-6)),
)
def test_overlap_of_ngrams_is_that_of_the_twin(rows, unit, ngram, min_words, threshold, rate):
    settings = text.PartFilterSettings(
        unit=unit,
        min_words=min_words,
        ngram=ngram,
        threshold=threshold,
        expected=50,
        false_positive_rate=rate,
    )
    found = text.PartFilter(settings).find(array(rows), None, num_threads=2)
    options = {"unit": unit, "ngram": ngram, "min_words": min_words, "threshold": threshold}
    expected = twin.overlap(rows, **options, seen=twin.Bloom(50, rate))
    assert list(zip(found["parts"].to_pylist(), found["is_whole"].to_pylist(), strict=True)) == expected


def test_few_false_positives_are_what_exact_ngrams_give():
    rng = np.random.default_rng(3)
    rows = [" ".join(rng.choice(WORDS[:3], 30)) + "\n" + " ".join(rng.choice(WORDS, 9)) for _ in range(300)]
    settings = NgramOverlap(ngram=5, threshold=0.5, expected_ngrams=10_000, false_positive_rate=1e-7)
    found = text.PartFilter(settings.filter_settings()).find(array(rows), None)
    expected = twin.overlap(rows, unit="line", ngram=5, min_words=5, threshold=0.5)
    assert list(zip(found["parts"].to_pylist(), found["is_whole"].to_pylist(), strict=True)) == expected
    assert 50 < found["is_whole"].true_count < 300


def test_shorter_parts_than_an_ngram_are_left_alone_unless_asked_for():
    rows = ["one two three"] * 2
    for min_words, expected in ((None, [[], []]), (3, [[], [0]]), (4, [[], []])):
        settings = NgramOverlap(min_words=min_words, expected_ngrams=100)
        found = text.PartFilter(settings.filter_settings()).find(array(rows), None)
        assert found["parts"].to_pylist() == expected


def test_the_answer_of_a_filter_does_not_depend_on_batches_or_threads():
    rng = np.random.default_rng(1)
    lines = [" ".join(rng.choice(WORDS, 6)) for _ in range(400)]
    # More than one stretch of text, so that hashing runs ahead.
    rows = ["\n".join(rng.choice(lines, 40)) + " " + "x" * 20_000 for _ in range(600)]
    scopes = pa.array([("s", "t", None)[row % 3] for row in range(600)])
    for ngram in (None, 4):
        settings = text.PartFilterSettings(
            unit="line", min_words=2, ngram=ngram, threshold=0.7, expected=600, false_positive_rate=0.1
        )
        whole = text.PartFilter(settings).find(array(rows), scopes)
        for size, num_threads in ((600, 2), (7, 1), (1, 2)):
            one = text.PartFilter(settings)
            parts = [
                one.find(array(rows[at : at + size]), scopes[at : at + size], num_threads=num_threads)
                for at in range(0, 600, size)
            ]
            assert pa.Table.from_batches(parts).combine_chunks() == pa.Table.from_batches([whole])
        assert len(whole["parts"].values) > 100


@pytest.mark.parametrize(("num_parts", "rate"), [(30_000, 0.01), (100_000, 0.001), (10_000, 0.2)])
def test_the_error_against_the_exact_answer_is_the_stated_one(num_parts, rate):
    """All parts are different, so whatever is found is an error."""
    settings = DuplicateParts(
        unit="line", method="bloom", expected_parts=num_parts, false_positive_rate=rate, min_words=1
    )
    seen = text.PartFilter(settings.filter_settings())
    lines = ["\n".join(map(str, range(at, at + 100))) for at in range(0, num_parts, 100)]
    missed = len(seen.find(array(lines), None)["parts"].values)
    assert missed == num_parts - seen.num_items < rate * num_parts
    # Of twice as many the error is far larger, so it is measured in a filter that has hardly grown.
    num_tries = num_parts // 20
    found = len(seen.find(array([f"x{number}" for number in range(num_tries)]), None)["parts"].values)
    wanted = rate * num_tries
    assert abs(found - wanted) < 4 * np.sqrt(wanted) + 0.3 * wanted
    assert 0.5 * rate < seen.error < 1.5 * rate


def test_rows_that_cannot_be_read_have_no_parts_and_no_edits():
    rows = pa.array([b"a b c", None, b"\xff", b"a b c"], pa.large_binary())
    seen = text.PartFilter(
        text.PartFilterSettings(unit="line", min_words=1, expected=9, false_positive_rate=0.01)
    )
    found = seen.find(rows, None)
    assert found["parts"].to_pylist() == [[], [], [], [0]]
    edits = text.part_edits(rows, found["parts"], found["is_whole"], "line")
    assert edits.to_pylist() == [[], None, None, [{"start": 0, "end": 5}]]


def test_parts_that_a_text_does_not_have_are_refused_by_row():
    with pytest.raises(DataError, match="row 0 has no such parts"):
        text.part_edits(array(["a"]), pa.array([[1]], pa.list_(pa.uint32())), pa.array([False]), "line")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"expected_parts": 10**9}, "--memory 3693MiB"),
        ({"expected_parts": 10**9, "false_positive_rate": 0.3}, None),
    ],
)
def test_a_filter_larger_than_half_the_memory_is_refused(settings, message):
    made = DuplicateParts(method="bloom", **settings)
    if message is None:
        made.check_memory(1 << 30)
    else:
        with pytest.raises(ConfigError, match="more than half of the memory") as caught:
            made.check_memory(1 << 30)
        assert message in caught.value.hint
        made.check_memory(3693 << 20)


def test_a_filter_without_an_expected_number_is_refused():
    with pytest.raises(ConfigError, match="needs `expected_parts`"):
        build(DuplicateParts, {"method": "bloom"}, at="transform[0].duplicate_parts")
