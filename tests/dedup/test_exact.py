"""Exact duplicates: clusters and keepers equal their twins for any cut of the corpus and any memory."""

import itertools
import math
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.dedup.exact import Exact, Keepers, find_clusters
from curate.dedup.keep import Prefer, parse_order
from curate.errors import ConfigError, DataError
from tests.reference import dedup as twin

TINY, PLENTY = 1, 1 << 24


def doc_id(number: int | None) -> bytes | None:
    """Ids that differ in the first half, in the second half, or in both."""
    if number is None:
        return None
    return (number % 3).to_bytes(8, "little") + (number // 3).to_bytes(8, "little")


def cut(values: list, cuts: list[int]) -> list[tuple[int, list]]:
    bounds = sorted({0, len(values), *(c for c in cuts if c <= len(values))})
    return [(a, values[a:b]) for a, b in itertools.pairwise(bounds)]


def clusters_of(
    ids: list, scopes: list | None, cuts: list[int], memory: int, scratch: Path
) -> list[tuple[int, int]]:
    def chunks():
        for first, part in cut(ids, cuts):
            array = pa.array([b"?" * 16, *part], pa.binary(16))[1:]
            if scopes is None:
                yield first, array
            else:
                yield first, array, pa.array(scopes[first : first + len(part)], pa.string())

    with find_clusters(chunks(), scratch=scratch, memory_bytes=memory) as found:
        batches = [found.read(first, len(part)) for first, part in cut(ids, [*cuts, 1])]
        assert not list(scratch.glob("ids-*"))
    assert list(scratch.iterdir()) == []
    return [pair for batch in batches for pair in zip(*(column.to_pylist() for column in batch), strict=True)]


IDS = st.lists(st.none() | st.integers(0, 8), max_size=40)
CUTS = st.lists(st.integers(0, 40), max_size=4)


@given(IDS, CUTS, st.sampled_from([TINY, 2000, PLENTY]), st.booleans(), st.randoms())
def test_clusters_equal_the_twins_for_any_chunks_and_memory(
    tmp_path_factory, numbers, cuts, memory, within, random
):
    ids = [doc_id(number) for number in numbers]
    scopes = [random.choice([None, "", "web", "books"]) for _ in ids] if within else None
    found = clusters_of(ids, scopes, cuts, memory, tmp_path_factory.mktemp("s"))
    assert found == twin.find_clusters(ids, scopes)


def test_clusters_count_documents_and_say_nothing_of_rows_beyond_the_corpus(tmp_path):
    ids = pa.array([doc_id(1), doc_id(2), doc_id(1), None, doc_id(1), None], pa.binary(16))
    with find_clusters([(100, ids)], scratch=tmp_path, memory_bytes=TINY) as found:
        assert (found.num_clusters, found.num_docs) == (1, 3)
        assert found.read(100, 6)["exact.cluster_id"].to_pylist() == [100, -1, 100, -1, 100, -1]
        assert found.read(100, 6)["exact.cluster_size"].to_pylist() == [3, 1, 3, 1, 3, 1]
        assert found.read(5000, 2)["exact.cluster_size"].to_pylist() == [1, 1]
        assert found.read(100, 0).num_rows == 0
        assert found.read(100, 1).schema.types == [pa.int64(), pa.uint32()]


def test_an_empty_corpus_has_no_clusters(tmp_path):
    with find_clusters([], scratch=tmp_path, memory_bytes=TINY) as found:
        assert found.num_clusters == 0
        assert found.read(0, 2)["exact.cluster_id"].to_pylist() == [-1, -1]


def test_ids_of_another_type_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"fixed_size_binary\(16\): string"):
        find_clusters([(0, pa.array(["x"]))], scratch=tmp_path, memory_bytes=TINY)


RULES = [
    Exact(),
    Exact(keep="longest"),
    Exact(keep="score desc"),
    Exact(keep="score, date desc"),
    Exact(keep='"date" DESC , score asc'),
    Exact(prefer=Prefer(column="source", order=("books", "wiki"))),
    Exact(keep="longest", prefer=Prefer(column="source", order=("wiki",))),
]

ROW = st.fixed_dictionaries(
    {
        "cluster": st.sampled_from([-1, 0, 1, 2, 7]),
        "survived": st.booleans(),
        "document.num_bytes": st.integers(0, 2),
        "score": st.none() | st.sampled_from([math.nan, -1.0, 0.0, 0.5]),
        "date": st.none() | st.sampled_from(["2019-01-02", "2020", ""]),
        "source": st.none() | st.sampled_from(["web", "books", "wiki"]),
    }
)
SCHEMA = {"document.num_bytes": pl.UInt32, "score": pl.Float64, "date": pl.String, "source": pl.Categorical}


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: f"{settings.keep}+{settings.prefer}")
@given(rows=st.lists(ROW, max_size=30), cuts=CUTS, memory=st.sampled_from([TINY, 2000, PLENTY]))
def test_keepers_equal_the_twins_for_any_chunks_and_memory(tmp_path_factory, settings, rows, cuts, memory):
    scratch = tmp_path_factory.mktemp("k")
    keepers = Keepers(settings, scratch=scratch, memory_bytes=memory)
    for first, part in cut(rows, cuts):
        ids = np.array([row["cluster"] for row in part], dtype=np.int64)
        survived = np.array([row["survived"] for row in part], dtype=bool)
        columns = [{name: row[name] for name in SCHEMA} for row in part]
        keepers.add(first, ids, survived, pl.DataFrame(columns, schema=SCHEMA).select(settings.columns()))
    found = {}
    with keepers.finish() as losers:
        for first, part in cut(rows, [*cuts, 3]):
            ordinals, kept = read(losers, first, len(part))
            assert ordinals == sorted(ordinals) and all(first <= i < first + len(part) for i in ordinals)
            found.update(zip(ordinals, kept, strict=True))
        assert losers.num_docs == len(found)
    assert list(scratch.iterdir()) == []
    prefer = None if settings.prefer is None else (settings.prefer.column, settings.prefer.order)
    survivors = [row["survived"] for row in rows]
    expected = twin.choose_keepers(
        [row["cluster"] for row in rows], survivors, rows, parse_order(settings.keep), prefer
    )
    assert found == expected


def read(losers, first, num_rows):
    found = losers.read(first, num_rows)
    return ([], []) if found is None else (found["ordinal"].to_list(), found["keeper"].to_list())


def test_a_cluster_whose_first_document_is_filtered_keeps_another_one(tmp_path):
    keepers = Keepers(Exact(), scratch=tmp_path, memory_bytes=PLENTY)
    keepers.add(0, np.array([0, 0, 0]), np.array([False, True, True]), pl.DataFrame())
    with keepers.finish() as losers:
        assert read(losers, 0, 3) == ([2], [1])


def test_a_column_that_is_not_there_is_an_error(tmp_path):
    keepers = Keepers(Exact(keep="score desc"), scratch=tmp_path, memory_bytes=PLENTY)
    with pytest.raises(ConfigError, match="reads a column that is not there: score"):
        keepers.add(0, np.array([0]), np.array([True]), pl.DataFrame({"x": [1]}))


def test_a_keep_rule_names_columns_in_order():
    assert parse_order("first") == ()
    assert parse_order('quality.score desc, "odd, ""name""" ASC') == (
        ("quality.score", True),
        ('odd, "name"', False),
    )
    assert Exact(keep="a desc, b", prefer=Prefer(column="b", order=("x",))).columns() == ("b", "a")


@pytest.mark.parametrize("keep", ["", "a down", "a,", "max(a)", "a desc b", "-a"])
def test_a_keep_rule_that_is_no_list_of_columns_is_refused(keep):
    with pytest.raises(ValidationError, match="keep is not `first`, `longest` or"):
        Exact(keep=keep)


def test_preferred_values_are_different():
    with pytest.raises(ValidationError, match="order needs different values"):
        Prefer(column="source", order=("a", "a"))


@pytest.mark.slow
def test_a_million_documents_fit_in_a_small_budget(tmp_path):
    rng = np.random.default_rng(7)
    numbers = rng.integers(0, 600_000, 1_000_000)
    data = np.stack([numbers, numbers], axis=1).astype("<u8").tobytes()
    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(numbers), [None, pa.py_buffer(data)])
    chunks = [(first, ids[first : first + 70_000]) for first in range(0, len(numbers), 70_000)]
    with find_clusters(chunks, scratch=tmp_path, memory_bytes=8 << 20) as found:
        got = np.concatenate(
            [found.read(first, len(part))["exact.cluster_size"].to_numpy() for first, part in chunks]
        )
    assert (got == np.bincount(numbers)[numbers]).all()
