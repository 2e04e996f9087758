"""Which examples are taken: the laws of the draw, whatever the order and the batches."""

import io
import random
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.models import drawing
from curate.models.drawing import POOL, Batch, Drawing, Smallest, numbers, quotas
from curate.models.gather import Example, Gathering, Split, as_line, count_split, iter_lines, split_examples

Row = tuple[str, int, str, str]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 30).map(lambda number: f"text {number}"),
        st.sampled_from([0, 1, POOL]),
        st.sampled_from(["s", "t", ""]),
        st.sampled_from(["x", "y"]),
    ),
    max_size=60,
)


def batches(rows: list[Row], size: int) -> Iterable[Batch]:
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield Batch(
            texts=pa.array([text.encode() for text, *_ in part], pa.large_binary()),
            labels=np.array([label for _, label, *_ in part], np.int32),
            strata=[stratum for *_, stratum, _ in part],
            sources=[source for *_, source in part],
        )


def draw(rows: list[Row], *, size: int = 7, most: int = 10, **changes: object) -> tuple[Split, io.BytesIO]:
    first = Drawing(seed=1, docs_per_label=most, pool_docs=5)
    file = io.BytesIO()
    for batch in batches(rows, size):
        first.add(batch)
    second = Gathering(first.candidates(), file)
    for batch in batches(rows, size):
        second.add(batch)
    options = {"docs_per_label": most, "balance": True, "holdout_frac": 0.3, **changes}
    return split_examples(second.examples.values(), seed=1, pool_docs=5, **options), file  # type: ignore[arg-type]


def lines(split: Split, file: io.BytesIO) -> list[tuple[int, str, str, str, bytes]]:
    everything = [("train", *pair) for pair in split.train] + [("held_out", *pair) for pair in split.held_out]
    everything += [("pool", POOL, example) for example in split.pool]
    texts = iter_lines(file, [example for *_, example in everything])
    return [
        (label, side, example.stratum, example.source, line)
        for (side, label, example), line in zip(everything, texts, strict=True)
    ]


@settings(deadline=None)
@given(rows=ROWS, seed=st.integers(0, 100), size=st.integers(1, 60))
def test_neither_order_nor_batches_show(rows: list[Row], seed: int, size: int) -> None:
    mixed = random.Random(seed).sample(rows, len(rows))
    assert lines(*draw(rows)) == lines(*draw(mixed, size=size))


@settings(deadline=None)
@given(rows=ROWS)
def test_a_text_is_on_one_side_once_and_under_its_only_label(rows: list[Row]) -> None:
    split, file = draw(rows)
    found = lines(split, file)
    labels_of: dict[bytes, set[int]] = {}
    for text, label, *_ in rows:
        labels_of.setdefault(text.encode(), set()).add(label)
    texts = [line for label, *_, line in found if label != POOL]
    assert len(set(texts)) == len(texts)
    for label, side, *_, line in found:
        assert label in labels_of[line]
        assert side == "pool" or labels_of[line] - {POOL} == {label}
    trained = {line for _, side, *_, line in found if side == "train"}
    assert not trained & {line for _, side, *_, line in found if side == "pool"}
    several = sum(len(labels - {POOL}) > 1 for labels in labels_of.values())
    assert split.left_out["several_labels"] == several
    sizes = [sum(mine == label for mine, *_ in found) for label in (0, 1)]
    assert not all(sizes) or sizes[0] == sizes[1] <= 10


def test_taken_are_the_smallest_hashes_and_training_is_in_their_order() -> None:
    rows: list[Row] = [(f"t{index}", index % 2, "", "") for index in range(400)]
    split, file = draw(rows, most=50, holdout_frac=0.2)
    for label in (0, 1):
        mine = [text.encode() for text, number, *_ in rows if number == label]
        ids = [one or b"" for one in drawing.doc_ids(pa.array(mine, pa.large_binary()), num_threads=1)]
        order = np.argsort(numbers(ids, seed=1, purpose="train"))[:50]
        taken = [line for number, *_, line in lines(split, file) if number == label]
        assert sorted(taken) == sorted(mine[row] for row in order)
    keys = numbers([example.doc_id for _, example in split.train], seed=1, purpose="train")
    assert (np.diff(keys) > 0).all()
    assert 5 < len(split.held_out) < 40
    assert {label for label, _ in split.held_out} == {0, 1}


def test_strata_have_equal_parts_as_far_as_there_are_documents() -> None:
    rows: list[Row] = [(f"a{index}", 0, "rare" if index < 5 else "common", "") for index in range(100)]
    rows += [(f"b{index}", 1, "common", "") for index in range(100)]
    split, _ = draw(rows, most=20)
    counts = count_split(split, ["no", "yes"])
    assert counts["no"]["by_stratum"] == {"common": 15, "rare": 5}
    assert counts["yes"]["by_stratum"] == {"common": 20}
    assert quotas({"a": 1, "b": 9, "c": 9}, 10) == {"a": 1, "b": 4, "c": 5}
    assert quotas({}, 5) == {}


def test_without_balance_every_label_gives_what_it_has() -> None:
    rows: list[Row] = [(f"a{index}", int(index < 4), "", "") for index in range(30)]
    sizes = {
        balance: [
            sum(label == mine for mine, *_ in lines(*draw(rows, most=20, balance=balance)))
            for label in (0, 1)
        ]
        for balance in (True, False)
    }
    assert sizes == {True: [4, 4], False: [20, 4]}


def test_unreadable_texts_and_texts_without_words_are_left_out_and_counted() -> None:
    texts = pa.array([b"a", None, b"\xff", b" \n\0", b"__label__x", b"b"], pa.large_binary())
    batch = Batch(
        texts=texts, labels=np.array([0, 0, 0, 0, 0, 1], np.int32), strata=[""] * 6, sources=[""] * 6
    )
    first = Drawing(seed=0, docs_per_label=9, pool_docs=9)
    first.add(batch)
    second = Gathering(first.candidates(), io.BytesIO())
    second.add(batch)
    split = split_examples(
        second.examples.values(), seed=0, docs_per_label=9, pool_docs=9, balance=True, holdout_frac=0.5
    )
    assert first.num_unreadable == 2 and split.left_out["no_words"] == 2
    assert len(split.train) + len(split.held_out) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a\nb\r\n\tc\0d", b"a b c d"),
        (b"__label__x a x__label__y\n__label__ </s> </s>s", b"a x__label__y </s>s"),
        (b"__label__a__label__b", b""),
        ("\u00a0a\u2028b".encode(), "\u00a0a\u2028b".encode()),
    ],
)
def test_a_text_becomes_a_line_that_says_nothing_of_labels(text: bytes, line: bytes) -> None:
    assert as_line(text) == line


@given(st.lists(st.binary(min_size=2, max_size=2), max_size=300), st.integers(1, 20))
def test_the_smallest_are_the_smallest(parts: list[bytes], size: int) -> None:
    ids = [part * 8 for part in parts]
    found = Smallest(size)
    for start in range(0, len(ids), 40):
        found.add(numbers(ids[start : start + 40], seed=3, purpose="p"), ids[start : start + 40])
    different = sorted(set(ids))
    keys = numbers(different, seed=3, purpose="p")
    assert found.ids() == [different[row] for row in np.argsort(keys)[:size]]


def test_memory_is_bounded_by_what_is_taken() -> None:
    found = Smallest(100)
    for start in range(0, 200_000, 1000):
        ids = [number.to_bytes(16, "big") for number in range(start, start + 1000)]
        found.add(numbers(ids, seed=3, purpose="p"), ids)
        assert found._num_held <= 2 * 100 + 1024 + 1000
    assert len(found.ids()) == 100


def test_too_many_strata_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MAX_STRATA", 3)
    rows: list[Row] = [(f"t{index}", 0, f"s{index}", "") for index in range(4)]
    with pytest.raises(ConfigError, match=r"stratify has more values, .*: 3"):
        draw(rows)


def test_an_example_has_labels_beside_the_pool() -> None:
    example = Example(doc_id=b"", offset=0, size=1, labels={POOL, 2}, stratum="", source="")
    assert example.own_labels == [2]
