"""The native pass as a whole: rows, nulls, slices, threads, errors."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import text
from curate.errors import ConfigError, DataError
from curate.text import NativeSpec

GROUPS = ("identity", "document", "gopher", "c4", "fineweb", "redpajama")
ALL = NativeSpec(groups=frozenset(GROUPS), words="uax29")


def binary(values):
    return pa.array(values, type=pa.large_binary())


def test_a_null_text_gives_a_row_of_nulls_that_is_not_called_invalid():
    row = text.measure(binary([None]), ALL).to_pylist()[0]
    assert row.pop(text.INVALID_UTF8) is False
    assert set(row.values()) == {None}


def test_invalid_utf8_gives_a_row_of_nulls_and_is_flagged():
    rows = text.measure(binary([b"ok", b"\xff\xfe", b"a\xed\xa0\x80b", b""]), ALL)
    assert rows[text.INVALID_UTF8].to_pylist() == [False, True, True, False]
    assert rows["document.num_bytes"].to_pylist() == [2, None, None, 0]
    assert rows["doc_id"].null_count == 2


def test_a_sliced_array_gives_the_rows_of_the_slice():
    whole = binary([b"one", None, b"two words", b"\xff", b"three. words. here."])
    assert text.measure(whole.slice(1, 3), ALL).equals(text.measure(whole, ALL).slice(1, 3))


def test_an_empty_array_gives_no_rows_and_all_columns():
    assert text.measure(binary([]), ALL).schema == text.measure(binary([b"x"]), ALL).schema


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_every_string_type_is_read(kind):
    batch = text.measure(pa.array(["Grüße", None], type=pa.string()).cast(kind), ALL)
    assert batch["document.num_chars"].to_pylist() == [5, None]


def test_other_types_are_named_errors():
    with pytest.raises(DataError, match="texts must be strings or binary: int64"):
        text.measure(pa.array([1]), ALL)
    with pytest.raises(DataError, match="words must be lists of strings: string"):
        text.measure_words(binary([b"x"]), pa.array(["x"]), ALL)
    with pytest.raises(DataError, match="1 texts but 2 lists"):
        text.measure_words(binary([b"x"]), pa.array([["x"], ["y"]]), ALL)


def test_an_unknown_group_is_a_config_error_that_lists_the_groups():
    with pytest.raises(ConfigError, match="groups are identity, document"):
        text.measure(binary([b"x"]), NativeSpec(groups=frozenset({"nonsense"})))


def test_no_threads_is_a_config_error():
    with pytest.raises(ConfigError, match="num_threads must be at least 1: 0"):
        text.measure(binary([b"x"]), ALL, num_threads=0)


def test_the_order_of_columns_does_not_depend_on_the_order_of_groups():
    names = [text.measure(binary([]), ALL).schema.names for _ in range(2)]
    assert names[0] == names[1]
    assert names[0][:2] == [text.INVALID_UTF8, "doc_id"]


documents = st.lists(st.none() | st.binary(max_size=40) | st.text(max_size=200).map(str.encode), max_size=30)


@given(documents, st.integers(0, 30))
@settings(deadline=None)
def test_splitting_a_batch_changes_nothing(values, cut):
    texts = binary(values)
    parts = [text.measure(texts.slice(0, cut), ALL), text.measure(texts.slice(cut), ALL)]
    whole = pa.Table.from_batches([text.measure(texts, ALL)])
    assert pa.Table.from_batches(parts).combine_chunks().equals(whole.combine_chunks())


@pytest.mark.parametrize("num_threads", [2, 3, 8])
def test_the_number_of_threads_changes_nothing(num_threads):
    parts = [f"line {i} of {i % 7} lines... " * (i % 50) for i in range(4000)]
    texts = binary([None if i % 11 == 0 else part.encode() for i, part in enumerate(parts)])
    assert texts.nbytes > 2_000_000
    assert text.measure(texts, ALL, num_threads=num_threads).equals(text.measure(texts, ALL))


def test_fused_equals_separate():
    texts = binary([b"Some text, twice. Some text, twice.\n\n- a list...", None, "¡Hola! 你好。".encode()])
    fused = text.measure(texts, ALL)
    for group in GROUPS:
        alone = text.measure(texts, NativeSpec(groups=frozenset({group}), words="uax29"))
        assert alone.equals(fused.select(alone.schema.names))


def test_given_words_take_the_place_of_found_ones():
    batch = text.measure_words(binary([b"ignored words here"]), pa.array([["a", "", "bc"]]), ALL)
    assert batch["document.num_words"].to_pylist() == [2]
    assert batch["document.num_bytes"].to_pylist() == [18]


def test_a_union_of_specs_has_all_their_groups_and_refuses_two_word_modes():
    document = NativeSpec(groups=frozenset({"document"}))
    gopher = NativeSpec(groups=frozenset({"gopher"}), words="uax29", tokens=('{"a":1}',))
    joined = NativeSpec.union([document, gopher, gopher])
    expected = NativeSpec(groups=frozenset({"document", "gopher"}), words="uax29", tokens=('{"a":1}',))
    assert joined == expected
    with pytest.raises(ConfigError, match="datatrove-en, uax29"):
        NativeSpec.union([gopher, NativeSpec(words="datatrove-en")])
