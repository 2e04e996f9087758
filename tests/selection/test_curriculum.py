"""Curricula: exact places in a sorted list, whatever the chunks and the memory."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate import _rust
from curate.selection.curriculum import Curriculum, Lesson
from curate.selection.standing import Standing
from tests.reference import selection as twin

SCORES = st.sampled_from([math.nan, -math.inf, math.inf, -1.0, 0.0, -0.0, 0.25, 0.5]) | st.floats(-1, 1)
DOCS = st.lists(st.tuples(SCORES, st.booleans()), max_size=60)


def ordered(docs: list[tuple[float, bool]], chosen: dict, ids: list[bytes]) -> list[int]:
    """Ordinals of kept documents in the order of the curriculum, from its definition."""
    sign = 1 if chosen["curriculum"] == "high_to_low" else -1
    temperature = chosen.get("temperature", 0.0)
    scored = [i for i, (score, kept) in enumerate(docs) if kept and not math.isnan(score)]
    keys = {i: sign * docs[i][0] for i in scored}
    if temperature > 0:
        keys = {i: key / temperature + twin.gumbel(ids[i], 7, "plan.order") for i, key in keys.items()}
    scored.sort(key=lambda i: (-keys[i], i))
    if chosen["curriculum"] == "folding":
        folds = chosen.get("folds", 5)
        scored = [i for layer in range(folds) for i in scored[layer::folds]]
    return scored + [i for i, (score, kept) in enumerate(docs) if kept and math.isnan(score)]


CHOSEN = [
    {"curriculum": "low_to_high"},
    {"curriculum": "high_to_low"},
    {"curriculum": "high_to_low", "temperature": 2.0},
    {"curriculum": "low_to_high", "temperature": 0.5},
    {"curriculum": "folding"},
    {"curriculum": "folding", "folds": 2, "temperature": 1.0},
]


@pytest.mark.parametrize("chosen", CHOSEN, ids=str)
@given(docs=DOCS, size=st.integers(1, 70), memory=st.sampled_from([1, 1000, 1 << 20]))
@settings(max_examples=60)
def test_the_order_is_that_of_the_definition(tmp_path_factory, chosen, docs, size, memory):
    ids = [bytes.fromhex(_rust.blake3_hex(b"%d" % i))[:16] for i in range(len(docs))]
    scratch = tmp_path_factory.mktemp("c")
    lesson = Lesson(Curriculum(of="a", **chosen), seed=7, scratch=scratch, memory_bytes=memory)
    for first in range(0, len(docs), size):
        part = docs[first : first + size]
        lesson.add(
            first,
            doc_ids=pa.array(ids[first : first + size], pa.binary(16)),
            scores=np.array([score for score, _ in part], np.float64),
            kept=np.array([kept for _, kept in part], bool),
        )
    lesson.finish()
    keys = np.concatenate([lesson.read(f, min(11, len(docs) - f)) for f in range(0, len(docs), 11)] or [[]])
    kept = [i for i, (_, is_kept) in enumerate(docs) if is_kept]
    assert sorted(kept, key=lambda i: (int(keys[i]), i)) == ordered(docs, chosen, ids)
    assert len({int(keys[i]) for i in kept}) == len(kept)
    assert all(keys[i] == 0 for i in range(len(docs)) if i not in kept)
    num_null = sum(kept and math.isnan(score) for score, kept in docs)
    assert len(lesson.warnings) == (num_null > 0)
    lesson.close()
    assert list(scratch.iterdir()) == []


def test_keys_are_spread_over_64_bits(tmp_path):
    lesson = Lesson(
        Curriculum(of="a", curriculum="low_to_high"), seed=7, scratch=tmp_path, memory_bytes=1 << 20
    )
    ids = pa.array([bytes(16)] * 4, pa.binary(16))
    lesson.add(0, doc_ids=ids, scores=np.array([3.0, 1.0, 2.0, 4.0]), kept=np.ones(4, bool))
    lesson.finish()
    assert (lesson.read(0, 4) >> np.uint64(62)).tolist() == [1, 0, 0, 2]
    lesson.close()


ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 255, 2**40, 2**63, 2**64 - 1]), st.integers(0, 5)),
    max_size=50,
)


@given(
    rows=ROWS,
    size=st.integers(1, 50),
    memory=st.sampled_from([1, 500, 1 << 20]),
    stride=st.sampled_from([1, 40000]),
)
def test_standings_equal_sorting_for_any_memory(tmp_path_factory, rows, size, memory, stride):
    standing = Standing(tmp_path_factory.mktemp("s"), "one", memory_bytes=memory)
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        standing.add(
            stride * np.arange(first, first + len(part)),
            np.array([rank for _, rank, _ in part], np.uint64),
            pools=np.array([pool for pool, _, _ in part], np.uint32),
            amounts=np.array([amount for _, _, amount in part], np.uint32),
        )
    standing.finish()
    for i, (pool, rank, _) in enumerate(rows):
        before = sum(a for j, (p, r, a) in enumerate(rows) if p == pool and (r, j) < (rank, i))
        assert standing.read(stride * i, 1).tolist() == [before]
    if stride > 1 and rows:
        assert standing.read(1, 3).tolist() == [-1] * 3
    standing.close()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"curriculum": "sideways", "of": "a"}, "Input should be"),
        ({"curriculum": "folding"}, "Field required"),
        ({"curriculum": "folding", "of": "a", "folds": 1}, "greater than or equal to 2"),
        ({"curriculum": "low_to_high", "of": "a", "folds": 3}, "folds is for folding, not for: low_to_high"),
        ({"curriculum": "folding", "of": "2"}, "reads at least one column: 2"),
        ({"curriculum": "folding", "of": "a", "temperature": -1}, "greater than or equal to 0"),
        ({"curriculum": "folding", "of": "a", "temperature": math.nan}, "finite number"),
    ],
)
def test_settings_without_sense_are_refused(chosen, message):
    with pytest.raises(ValidationError, match=message):
        Curriculum(**chosen)
