"""Who is kept of a cluster: against a slow twin, by hand, and fast enough."""

import random
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import _rust
from curate.errors import DataError
from tests.reference import near as twin

Docs = list[tuple[int, int, int]]
EdgeList = list[tuple[int, int, float]]


def doc_batch(docs: Docs) -> pa.RecordBatch:
    columns = [pa.array([doc[at] for doc in docs], pa.int64()) for at in range(3)]
    return pa.record_batch(columns, ["cluster", "doc", "node"])


def edge_batch(edges: EdgeList) -> pa.RecordBatch:
    types = (pa.int64(), pa.int64(), pa.float64())
    columns = [pa.array([edge[at] for edge in edges], types[at]) for at in range(3)]
    return pa.record_batch(columns, ["a", "b", "similarity"])


def choose(docs: Docs, edges: EdgeList, connected: bool = False) -> list[tuple[int, int, float | None]]:
    found = _rust.choose_keepers(doc_batch(docs), edge_batch(edges), connected)
    assert found.schema == pa.schema(
        [
            pa.field("doc", pa.int64(), nullable=False),
            pa.field("keeper", pa.int64(), nullable=False),
            pa.field("similarity", pa.float64()),
        ]
    )
    return list(zip(*found.to_pydict().values(), strict=True))


@given(st.integers(0, 1 << 32), st.integers(0, 60), st.booleans())
def test_keepers_are_those_of_the_twin(seed: int, num_docs: int, connected: bool) -> None:
    rng = random.Random(seed)
    num_nodes = rng.randint(1, 40)
    clusters = [rng.randrange(rng.randint(1, 4)) for _ in range(num_nodes)]
    ids = rng.sample(range(1000), num_docs)
    nodes = [rng.randrange(num_nodes) for _ in range(num_docs)]
    docs = sorted(
        ((clusters[node], doc, node) for doc, node in zip(ids, nodes, strict=True)), key=lambda doc: doc[0]
    )
    count = rng.choice([0, 5, 40, 200])
    ends = [(rng.randrange(num_nodes), rng.randrange(num_nodes)) for _ in range(count)]
    edges = sorted((a, b, rng.choice([0.25, 0.5, 0.8, 1.0])) for a, b in ends if a != b)
    assert choose(docs, edges, connected) == twin.choose_keepers(docs, edges, connected)


def test_a_document_that_is_only_like_a_dropped_one_is_kept() -> None:
    # 10 is like 11, and 11 is like 12.
    docs = [(0, 10, 0), (0, 11, 1), (0, 12, 2)]
    edges = [(0, 1, 0.9), (1, 2, 0.8)]
    assert choose(docs, edges) == [(11, 10, 0.9)]
    assert choose(docs, edges, connected=True) == [(11, 10, 0.9), (12, 10, None)]


def test_the_keeper_is_the_most_similar_and_then_the_better_one() -> None:
    docs = [(0, 10, 0), (0, 11, 1), (0, 12, 2), (0, 13, 2)]
    assert choose(docs, [(0, 2, 0.8), (1, 2, 0.9)]) == [(12, 11, 0.9), (13, 11, 0.9)]
    assert choose(docs, [(0, 2, 0.8), (1, 2, 0.8)]) == [(12, 10, 0.8), (13, 10, 0.8)]


def test_documents_of_the_same_text_are_alike_without_an_edge() -> None:
    assert choose([(0, 10, 7), (0, 11, 7), (1, 12, 7)], []) == [(11, 10, 1.0)]


def test_no_document_has_no_keeper() -> None:
    assert choose([], []) == []
    assert choose([], [(0, 1, 0.5)], connected=True) == []


def test_a_million_documents_that_are_like_one_take_seconds() -> None:
    count = 1_000_000
    others = pa.array(range(1, count), pa.int64())
    zeros = pa.array([0] * count, pa.int64())
    numbers = pa.array(range(count), pa.int64())
    docs = pa.record_batch([zeros, numbers, numbers], ["cluster", "doc", "node"])
    scores = pa.array([0.9] * (count - 1), pa.float64())
    edges = pa.record_batch([zeros.slice(1), others, scores], ["a", "b", "similarity"])
    start = time.perf_counter()
    for connected in (False, True):
        found = _rust.choose_keepers(docs, edges, connected)
        assert found["keeper"].unique().to_pylist() == [0]
        assert found["doc"].equals(others)
    # Copies of the one do not look at its neighbours again.
    copies = pa.record_batch(
        [zeros, pa.array(range(count), pa.int64()), pa.array([0] * count, pa.int64())],
        ["cluster", "doc", "node"],
    )
    assert _rust.choose_keepers(copies, edges, False).num_rows == count - 1
    assert time.perf_counter() - start < 10


def test_what_is_not_as_agreed_is_refused() -> None:
    docs, edges = doc_batch([(0, 1, 1)]), edge_batch([(0, 1, 0.5)])
    for wrong, match in (
        (doc_batch([(1, 1, 1), (0, 2, 2)]), "sorted by cluster"),
        (docs.select(["cluster", "doc"]), "missing: node"),
        (pa.record_batch({"cluster": [0], "doc": [1], "node": pa.array([None], pa.int64())}), "nulls"),
        (pa.record_batch({"cluster": [0], "doc": [1], "node": pa.array([1], pa.int32())}), "type"),
    ):
        with pytest.raises(DataError, match=match):
            _rust.choose_keepers(wrong, edges, False)
    for wrong, match in (
        (edge_batch([(1, 2, 0.5), (0, 2, 0.5)]), "sorted by a and b"),
        (edge_batch([(0, 1, float("nan"))]), "not a number"),
        (edges.select(["a", "b"]), "missing: similarity"),
    ):
        with pytest.raises(DataError, match=match):
            _rust.choose_keepers(docs, wrong, False)
