"""Counts of hashed n-grams against a slow twin, and what they do not depend on."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError, DataError
from curate.text import NgramCounter
from tests.measure.test_hashed_linear import ROWS
from tests.reference import hashed_linear as twin

DSIR: dict[str, Any] = {"num_buckets": 10_000, "tokens": "wordpunct_lower", "ngrams": 2, "hash": "sha256"}
KINDS: dict[str, dict[str, Any]] = {
    "dsir": DSIR,
    "long": {**DSIR, "ngrams": 8, "num_buckets": 999},
    "words": {**DSIR, "tokens": "uax29", "ngrams": 3, "hash": "fnv", "num_buckets": 1 << 12},
    "pieces": {**DSIR, "tokens": "whitespace", "ngrams": 5},
    "one": {**DSIR, "num_buckets": 1},
}


def counted(kind: dict[str, Any], rows: Any, **settings: Any) -> tuple[list[int | None], list[int]]:
    """N-grams of each row, and all counts."""
    counter = NgramCounter(**kind)
    array = rows if isinstance(rows, pa.Array) else pa.array(rows, pa.large_string())
    lengths = counter.add(array, **settings)
    assert counter.lengths(array, **settings) == lengths
    return lengths.to_pylist(), counter.counts().to_pylist()


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_counts_are_those_of_the_twin(name: str, data: st.DataObject) -> None:
    kind = KINDS[name]
    rows = data.draw(ROWS[kind["tokens"]])
    lengths, counts = counted(kind, rows)
    assert counts == twin.counts(
        rows,
        tokens_of=kind["tokens"],
        longest=kind["ngrams"],
        hash_of=kind["hash"],
        num_buckets=kind["num_buckets"],
    )
    assert sum(number or 0 for number in lengths) == sum(counts)


def test_buckets_are_those_that_dsir_publishes() -> None:
    lengths, counts = counted(DSIR, ["Alice", "ALICE\nwent", ""])
    assert lengths == [1, 3, 0]
    assert (counts[6720], counts[114], sum(counts)) == (2, 1, 4)


def test_what_is_no_text_counts_nothing_and_is_told_from_an_empty_one() -> None:
    rows = pa.array([b"a b", None, b"\xff", b" \n", b"a b"], pa.large_binary())
    lengths, counts = counted(DSIR, rows)
    assert lengths == [3, None, None, 0, 3] and sum(counts) == 6
    assert counted(DSIR, rows.slice(1, 3)) == ([None, None, 0], [0] * 10_000)


@pytest.mark.parametrize("name", ["dsir", "words", "pieces"])
def test_threads_and_batches_change_nothing(name: str) -> None:
    rows = pa.array([f"{n} It's {n % 7} caf\u00e9 {n * n}, {n % 3}! " * 30 for n in range(2000)])
    whole = counted(KINDS[name], rows)
    assert counted(KINDS[name], rows, num_threads=3) == whole
    counter = NgramCounter(**KINDS[name])
    for start in range(0, 2000, 77):
        counter.add(rows.slice(start, 77), num_threads=2)
    assert counter.counts().to_pylist() == whole[1]


def test_huge_documents_are_counted_as_small_ones() -> None:
    words = [f"w{n % 5000}" for n in range(60_000)]
    lengths, counts = counted(DSIR, [" ".join(words), "x" * 3_000_000, "\u0130" * 100_000])
    assert lengths[0] == 2 * 60_000 - 1 and lengths[1] == 1
    wanted = twin.counts(
        [" ".join(words), "x" * 3_000_000, "\u0130" * 100_000],
        tokens_of="wordpunct_lower",
        longest=2,
        hash_of="sha256",
        num_buckets=10_000,
    )
    assert counts == wanted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_buckets": 0}, "num_buckets is not a number from 1 to 268435456: 0"),
        ({"num_buckets": (1 << 28) + 1}, "num_buckets is not a number from 1 to 268435456: 268435457"),
        ({"num_buckets": -1}, "-1"),
        ({"ngrams": 0}, "ngrams is not a number from 1 to 8: 0"),
        ({"ngrams": 9}, "ngrams is not a number from 1 to 8: 9"),
        ({"tokens": "word_tokenize"}, "unknown variant `word_tokenize`"),
        ({"hash": "md5"}, "unknown variant `md5`"),
    ],
)
def test_settings_out_of_bounds_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NgramCounter(**{**DSIR, **changes})


def test_wrong_calls_are_named() -> None:
    counter = NgramCounter(**DSIR)
    with pytest.raises(ConfigError, match="num_threads must be at least 1: 0"):
        counter.add(pa.array(["a"]), num_threads=0)
    with pytest.raises(ConfigError, match="num_threads must be at least 1: -1"):
        counter.lengths(pa.array(["a"]), num_threads=-1)
    with pytest.raises(DataError, match="texts must be strings or binary: int64"):
        counter.add(pa.array([1]))
