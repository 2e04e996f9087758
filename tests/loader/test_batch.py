"""The tensors of a batch against the plain twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import _rust
from curate.errors import DataError
from curate.loader.batch import assemble
from curate.loader.lanes import Sequences
from tests.reference.batch import describe


@st.composite
def parts(draw):
    """Rows with spans that leave gaps before, between and behind them."""
    seq_len = draw(st.integers(1, 40))
    found = []
    for _ in range(draw(st.integers(1, 3))):
        rows, spans = draw(st.integers(1, 3)), []
        for row in range(rows):
            cuts = sorted(draw(st.sets(st.integers(0, seq_len), max_size=6)))
            for start, stop in zip(cuts[::2], cuts[1::2], strict=False):
                spans.append([row, start, stop - start, draw(st.integers(0, 9)), 5, 0])
        numbers = st.integers(-(1 << 31), (1 << 31) - 1)
        tokens = draw(st.lists(numbers, min_size=rows * seq_len, max_size=rows * seq_len))
        found.append((np.array(tokens, np.int32).reshape(rows, seq_len), np.array(spans, np.int64)))
    return [Sequences(tokens, spans.reshape(-1, 6), None) for tokens, spans in found]


@given(parts())
def test_tensors_are_those_of_the_reference(made):
    got = assemble(made)
    first, spans = 0, []
    for part in made:
        spans += [[row + first, *rest] for row, *rest in part.spans.tolist()]
        first += len(part.tokens)
    wanted = describe(np.concatenate([part.tokens for part in made]), spans)
    assert got.pop("doc_spans").tolist() == spans
    for name, array in got.items():
        assert array.dtype == wanted[name].dtype and array.tolist() == wanted[name].tolist(), name


@pytest.mark.parametrize(
    "span",
    [[0, 2, 3, 0, 0, 0], [1, 0, 1, 0, 0, 0], [0, -1, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 4, 1, 0, 0, 0]],
)
def test_spans_out_of_their_rows_are_errors(span):
    out = tuple(np.zeros(4, kind) for kind in (np.int64, np.int64, np.int64, np.int32))
    with pytest.raises(DataError, match="a span is not within its row"):
        _rust.describe_batch(np.zeros((1, 4), np.int32), 4, np.array([span]), out)
