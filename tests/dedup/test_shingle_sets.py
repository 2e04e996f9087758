"""Sets of shingles, similarities of texts and lines of boilerplate are those of the twins."""

import json
import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.measure import MinHash
from tests.reference import minhash, verify

KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "words": {"ngram": 1, "num_hashes": 5},
    "sampled": {"ngram": 2, "max_shingles": 4, "num_hashes": 3},
    "characters": {"unit": "char", "ngram": 3},
    "datatrove": {"ngram": 2, "normalize": "datatrove"},
    "redpajama": {"ngram": 2, "normalize": "redpajama", "seed": 5},
}
PIECES = ["a", "b", "c", "The cat", "don't", "12,000", "\u00e9t\u00e9", "_", "-", "...", " ", "\t", "\u3000"]
LINES = st.lists(st.sampled_from(PIECES), max_size=6).map(" ".join)
TEXTS = st.lists(
    st.one_of(LINES, st.sampled_from(["Home | About", "  Home | About\t\r", "All rights reserved", "-----"])),
    max_size=6,
).map("\n".join)
MODES = ["jaccard", "containment", "signature"]


def settings_of(kind: str) -> dict[str, Any]:
    return MinHash(**KINDS[kind]).model_dump(exclude={"preset"})


def array(rows: list[str | None]) -> pa.Array:
    return pa.array([None if row is None else row.encode() for row in rows], pa.large_binary())


def sources(values: list[int]) -> pa.Array:
    return pa.array(values, pa.uint32())


@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(st.none() | TEXTS, max_size=5), start=st.integers(0, 3))
def test_sets_are_those_of_the_twin(kind: str, rows: list[str | None], start: int) -> None:
    settings = settings_of(kind)
    expected = [None if row is None else sorted(minhash.shingle_set(row, settings)[0]) for row in rows]
    found = _rust.shingle_sets(array(rows), json.dumps(settings))
    assert found.type == pa.large_list(pa.uint64())
    assert found.to_pylist() == expected
    assert _rust.shingle_sets(array(rows).slice(start), json.dumps(settings)).to_pylist() == expected[start:]


def expected_similarity(a: str | None, b: str | None, settings: dict[str, Any], mode: str) -> float | None:
    if a is None or b is None:
        return None
    if mode == "signature":
        return minhash.signature_similarity(
            *(minhash.row(text, settings)["minhash.signature"] for text in (a, b))
        )
    left, right = minhash.shingle_set(a, settings), minhash.shingle_set(b, settings)
    return verify.quotient(verify.fraction(left, right, mode)) if left[0] and right[0] else None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@given(pairs=st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), max_size=4))
def test_similarities_are_those_of_the_twin(kind: str, mode: str, pairs: list) -> None:
    settings = settings_of(kind)
    left, right = array([a for a, _ in pairs]), array([b for _, b in pairs])
    found = _rust.set_similarity(left, right, json.dumps(settings), mode)
    assert found.to_pylist() == [expected_similarity(a, b, settings, mode) for a, b in pairs]


@pytest.mark.parametrize("sizes", [(3000, 3000), (50_000, 50_000), (200, 60_000), (5, 900)])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.95, 1.0])
def test_large_sets_have_the_similarity_of_python(sizes: tuple[int, int], share: float) -> None:
    rng = random.Random(sum(sizes))
    settings = settings_of("words")
    shared = [f"s{n}" for n in range(int(share * min(sizes)))]
    texts = []
    for side, size in zip("ab", sizes, strict=True):
        words = shared + [f"{side}{n}" for n in range(size - len(shared))]
        rng.shuffle(words)
        texts.append(" ".join(words))
    a, b = (set(_rust.shingle_sets(array([text]), json.dumps(settings))[0].as_py()) for text in texts)
    assert (len(a), len(b)) == sizes
    expected = {"jaccard": len(a & b) / len(a | b), "containment": len(a & b) / min(len(a), len(b))}
    for mode, value in expected.items():
        found = _rust.set_similarity(array(texts[:1]), array(texts[1:]), json.dumps(settings), mode)
        assert found.to_pylist() == [value]


DOCS = st.lists(st.tuples(st.none() | TEXTS, st.integers(0, 2)), max_size=8)


@given(
    docs=DOCS,
    min_share=st.sampled_from([0.01, 0.3, 0.5, 1.0]),
    min_docs=st.integers(1, 3),
    cut=st.integers(0, 8),
)
def test_boilerplate_is_that_of_the_twin_whatever_the_order(
    docs: list[tuple[str | None, int]], min_share: float, min_docs: int, cut: int
) -> None:
    expected = verify.boilerplate(docs, min_share, min_docs)
    for order in (docs, docs[cut:] + docs[:cut], docs[::-1]):
        counts = _rust.LineCounts(1000)
        for part in (order[:cut], order[cut:]):
            counts.add(array([text for text, _ in part]), sources([source for _, source in part]))
        batch = counts.finish(min_share, min_docs).to_arrow()
        assert [(row["source"], row["line"]) for row in batch.to_pylist()] == expected
    assert _rust.Boilerplate.from_arrow(batch).to_arrow().equals(batch)


@pytest.mark.parametrize("mode", MODES)
@given(docs=DOCS, others=DOCS)
def test_lines_are_dropped_as_the_twin_drops_them(mode: str, docs: list, others: list) -> None:
    settings = settings_of("datatrove")
    counts = _rust.LineCounts(1000)
    counts.add(array([text for text, _ in docs]), sources([source for _, source in docs]))
    lines = verify.boilerplate(docs, 0.5, 1)
    pairs = list(zip(docs, others, strict=False))

    def dropped(doc: tuple[str | None, int]) -> str | None:
        return None if doc[0] is None else verify.drop_lines(doc[0], doc[1], lines)

    found = _rust.set_similarity(
        array([a[0] for a, _ in pairs]),
        array([b[0] for _, b in pairs]),
        json.dumps(settings),
        mode,
        counts.finish(0.5, 1),
        sources([a[1] for a, _ in pairs]),
        sources([b[1] for _, b in pairs]),
    )
    assert found.to_pylist() == [
        expected_similarity(dropped(a), dropped(b), settings, mode) for a, b in pairs
    ]


def menu(texts: list[str]) -> _rust.Boilerplate:
    """Lines that all texts of source 0 have."""
    counts = _rust.LineCounts(100)
    counts.add(array(list(texts)), sources([0] * len(texts)))
    return counts.finish(1.0, 2)


def similarity(a: str, b: str, lines: _rust.Boilerplate, source: int = 0) -> float | None:
    settings = json.dumps(settings_of("words") | {"ngram": 2})
    of = sources([source])
    return _rust.set_similarity(array([a]), array([b]), settings, "jaccard", lines, of, of)[0].as_py()


def test_pages_that_share_a_template_alone_are_not_alike() -> None:
    template = "Home | About\nLog in or register\n{}\nAll rights reserved"
    pages = [template.format("one two three"), template.format("four five six")]
    lines = menu(pages)
    assert lines.to_arrow().num_rows == 3
    assert similarity(*pages, lines) == 0.0
    assert similarity(*pages, lines, source=1) > 0.3  # type: ignore[operator]


def test_dropping_a_line_joins_no_words_and_shingles_run_over_its_place() -> None:
    lines = menu(["x\nMENU", "y\nMENU"])
    assert similarity("one\nMENU\ntwo", "one two", lines) == 1.0
    assert similarity("one\nMENU\ntwo", "onetwo", lines) == 0.0
    assert similarity("  MENU\t\r\none two", "one two\nMENU", lines) == 1.0
    assert similarity("one MENU\ntwo", "one two", lines) == 0.0


def test_a_text_of_boilerplate_alone_has_no_set() -> None:
    assert similarity("MENU", "MENU", menu(["x\nMENU", "y\nMENU"])) is None


def test_lines_without_words_are_never_boilerplate() -> None:
    assert menu(["---\n\n***", "---\n\n***"]).to_arrow().num_rows == 0


def test_wrong_calls_are_refused() -> None:
    settings = json.dumps(settings_of("words"))
    lines, one, two = menu(["a", "a"]), array(["a"]), array(["a", "b"])
    for value, match in (
        ({"boilerplate": lines}, "go together"),
        ({"sources_b": sources([1])}, "go together"),
    ):
        with pytest.raises(ConfigError, match=match):
            _rust.set_similarity(one, one, settings, "jaccard", **value)
    with pytest.raises(DataError, match="sources has a value for each of 1 rows, not: 2"):
        _rust.set_similarity(one, one, settings, "jaccard", lines, sources([1]), sources([1, 1]))
    with pytest.raises(DataError, match="row by row, they have: 1 and 2 rows"):
        _rust.set_similarity(one, two, settings, "jaccard")
    with pytest.raises(ConfigError, match="not: overlap"):
        _rust.set_similarity(one, one, settings, "overlap")
    with pytest.raises(ConfigError, match="minhash spec"):
        _rust.shingle_sets(one, "{")
    with pytest.raises(DataError, match="sources has a value"):
        _rust.LineCounts(9).add(one, pa.array([None], pa.uint32()))
    with pytest.raises(ConfigError, match="max_lines; count fewer documents, or allow more than: 1"):
        _rust.LineCounts(1).add(two, sources([1, 1]))
    with pytest.raises(ConfigError, match="max_lines is at least 1"):
        _rust.LineCounts(0)
    for share, num_docs, match in ((0.0, 1, "min_share"), (1.5, 1, "min_share"), (0.5, 0, "min_docs")):
        with pytest.raises(ConfigError, match=match):
            _rust.LineCounts(9).finish(share, num_docs)
    for batch in (
        pa.record_batch({"source": sources([1])}),
        pa.record_batch({"source": sources([1]), "line": pa.array([None], pa.uint64())}),
        pa.record_batch({"source": sources([1]), "line": pa.array([1], pa.int64())}),
    ):
        with pytest.raises(DataError, match="boilerplate has columns"):
            _rust.Boilerplate.from_arrow(batch)
