"""Verified edges are those of the twin, for any threads, memory, buckets and order of adding."""

import functools
import json
import random
import struct
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.measure import MinHash
from tests.reference import minhash, verify

PLENTY = 1 << 28
Pairs = list[tuple[int, int, int]]


def settings_of(**values: Any) -> dict[str, Any]:
    return MinHash(**values).model_dump(exclude={"preset"})


WORDS = settings_of(ngram=1, num_hashes=7)
KINDS: dict[str, dict[str, Any]] = {
    "words": WORDS,
    "sampled": settings_of(ngram=1, num_hashes=7, max_shingles=5),
    "characters": settings_of(unit="char", ngram=2, num_hashes=4),
    "fineweb": settings_of(preset="fineweb"),
}


def texts_of(rows: list[str | bytes | None]) -> pa.Array:
    return pa.array([row.encode() if isinstance(row, str) else row for row in rows], pa.large_binary())


def buckets_of(num_docs: int, pairs: Pairs, hot: Pairs, num_buckets: int) -> list[int]:
    """A bucket for each node, the same for all of a connected component."""
    label = list(range(num_docs))
    groups = defaultdict(list)
    for node, key, _ in hot:
        groups[key].append(node)
    links = [(a, b) for a, b, _ in pairs]
    links += [(group[0], other) for group in groups.values() for other in group[1:]]
    before: list[int] = []
    while before != label:
        before = list(label)
        for a, b in links:
            label[a] = label[b] = min(label[a], label[b])
    return [(7 * found + 3) % num_buckets for found in label]


def write_candidates(folder: Path, pairs: Pairs, hot: Pairs, buckets: list[int], num_buckets: int) -> None:
    for kind, records in (("pairs", pairs), ("hot", hot)):
        for bucket in range(num_buckets):
            own = sorted(record for record in records if buckets[record[0]] == bucket)
            if own:
                data = b"".join(struct.pack("<QQQ", *record) for record in own)
                (folder / f"{kind}-{bucket:05d}.bin").write_bytes(data)


class Case:
    """Documents and their candidates."""

    def __init__(self, rows: list[str | bytes | None], pairs: Pairs, hot: Pairs) -> None:
        self.rows, self.pairs, self.hot = rows, pairs, hot

    def verify(
        self,
        settings: dict[str, Any] = WORDS,
        *,
        mode: str = "jaccard",
        threshold: float = 0.5,
        max_reps: int = 64,
        num_buckets: int = 1,
        memory_bytes: int = PLENTY,
        num_threads: int = 1,
        seed: int | None = None,
    ) -> tuple[list[tuple], dict[str, Any]]:
        """Edges and counts; `seed` shuffles the documents and adds them in parts."""
        buckets = buckets_of(len(self.rows), self.pairs, self.hot, num_buckets)
        order = list(range(len(self.rows)))
        if seed is not None:
            random.Random(seed).shuffle(order)
        step = max(1, len(order) if seed is None else len(order) // 3)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_candidates(folder, self.pairs, self.hot, buckets, num_buckets)
            before = sorted(folder.iterdir())
            verifier = _rust.Verifier(
                name,
                json.dumps(settings),
                mode=mode,
                threshold=threshold,
                max_reps=max_reps,
                num_buckets=num_buckets,
                memory_bytes=memory_bytes,
            )
            for start in range(0, len(order), step):
                part = order[start : start + step]
                texts = texts_of([self.rows[node] for node in part])
                places = pa.array(part, pa.int64()), pa.array([buckets[node] for node in part], pa.uint32())
                if mode == "signature":
                    verifier.add_signatures(signatures(texts, settings), *places)
                else:
                    verifier.add_texts(texts, *places, num_threads)
            counts = verifier.verify(num_threads)
            batches = list(verifier.edges())
            assert all(batch.num_rows == 1 << 16 for batch in batches[:-1])
            assert [batch.num_rows for batch in verifier.edges()] == [batch.num_rows for batch in batches]
            verifier.close()
            assert sorted(folder.iterdir()) == before
        return [tuple(row.values()) for batch in batches for row in batch.to_pylist()], counts

    def expected(
        self, settings: dict[str, Any], mode: str, threshold: float, max_reps: int = 64
    ) -> tuple[list[tuple], dict[str, Any]]:
        sets: dict[int, Any] = {}
        for node, row in enumerate(self.rows):
            text = decoded(row)
            if text is None:
                continue
            if mode == "signature":
                found = minhash.row(text, settings)["minhash.signature"]
                sets |= {node: found} if found is not None else {}
            else:
                sampled = minhash.shingle_set(text, settings)
                sets |= {node: sampled} if sampled[0] else {}
        twin = verify.Verification(sets, mode, threshold, max_reps)
        twin.pairs(sorted(self.pairs))
        twin.hot(sorted(self.hot))
        return twin.answer()


def decoded(row: str | bytes | None) -> str | None:
    try:
        return row.decode() if isinstance(row, bytes) else row
    except UnicodeDecodeError:
        return None


def signatures(texts: pa.Array, settings: dict[str, Any]) -> pa.Array:
    return MinHash(**settings).annotate(texts)["minhash.signature"]


ROWS = st.one_of(
    st.lists(st.sampled_from("abcdefgh"), max_size=12).map(" ".join),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(" ".join),
    st.sampled_from([None, "", "...", b"\xff a b", "one", "The e\u0301t\u00e9, 12"]),
)
THRESHOLDS = st.sampled_from([1e-9, 0.2, 1 / 3, 0.5, 0.6, 0.75, 1.0])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows = draw(st.lists(ROWS, min_size=2, max_size=12))
    node = st.integers(0, len(rows) - 1)
    band = st.integers(0, 9)
    drawn = draw(st.lists(st.tuples(node, node, band), max_size=20))
    pairs = {(min(a, b), max(a, b)): (min(a, b), max(a, b), band) for a, b, band in drawn if a != b}
    members = draw(st.lists(st.tuples(node, st.integers(0, 3)), max_size=40, unique=True))
    bands = draw(st.lists(band, min_size=4, max_size=4))
    return Case(rows, sorted(pairs.values()), sorted((n, 2**63 + key, bands[key]) for n, key in members))


@pytest.mark.parametrize("kind", KINDS)
@given(
    case=cases(),
    mode=st.sampled_from(["jaccard", "containment", "signature"]),
    threshold=THRESHOLDS,
    max_reps=st.integers(1, 3),
)
def test_edges_and_counts_are_those_of_the_twin(
    kind: str, case: Case, mode: str, threshold: float, max_reps: int
) -> None:
    settings = KINDS[kind]
    expected = case.expected(settings, mode, threshold, max_reps)
    assert case.verify(settings, mode=mode, threshold=threshold, max_reps=max_reps) == expected


@given(
    case=cases(),
    threshold=THRESHOLDS,
    num_buckets=st.integers(1, 5),
    memory_bytes=st.sampled_from([1, 100, 1000, PLENTY]),
    num_threads=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_how_it_is_run_changes_nothing(case: Case, threshold: float, **how: Any) -> None:
    expected = case.expected(KINDS["sampled"], "jaccard", threshold, 2)
    assert case.verify(KINDS["sampled"], threshold=threshold, max_reps=2, **how) == expected


def crowd(num_docs: int, num_kinds: int, seed: int) -> Case:
    """Documents in families, in hot groups that overlap, and pairs between neighbours."""
    rng = random.Random(seed)
    families = [[f"f{kind}w{rng.randrange(10**6)}" for _ in range(90)] for kind in range(num_kinds)]
    rows: list[str | bytes | None] = []
    for _ in range(num_docs):
        found = list(rng.choice(families))
        for _ in range(rng.randrange(15)):
            found[rng.randrange(90)] = f"x{rng.randrange(10**6)}"
        rows.append(" ".join(found))
    hot = {(node, rng.randrange(5)) for node in range(num_docs) for _ in range(3)}
    pairs = [(a, b, 1) for a in range(num_docs) for b in range(a + 1, min(a + 4, num_docs))]
    return Case(rows, pairs, [(node, key, key) for node, key in sorted(hot)])


HOW = [
    {},
    {"num_threads": 2},
    {"memory_bytes": 5000},
    {"memory_bytes": 100_000, "num_threads": 2, "seed": 1, "num_buckets": 3},
    {"memory_bytes": 1_000_000, "num_threads": 2, "seed": 2, "num_buckets": 7},
]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("num_kinds", "max_reps"), [(1, 64), (40, 64), (40, 4)])
def test_crowds_have_the_edges_of_the_twin_however_they_are_verified(
    num_kinds: int, max_reps: int, how: dict[str, Any]
) -> None:
    case = crowd(600, num_kinds, 3)
    edges, counts = case.verify(threshold=0.6, max_reps=max_reps, **how)
    assert (edges, counts) == expected_crowd(num_kinds, max_reps)
    assert counts["num_hot_edges"] > 100
    assert bool(counts["num_capped_docs"]) == (max_reps == 4)


@functools.cache
def expected_crowd(num_kinds: int, max_reps: int) -> tuple[list[tuple], dict[str, Any]]:
    return crowd(600, num_kinds, 3).expected(WORDS, "jaccard", 0.6, max_reps)


def test_all_equal_documents_cost_one_comparison_each() -> None:
    num_docs = 5000
    case = Case(["a b c d e f"] * num_docs, [], [(node, 9, 2) for node in range(num_docs)])
    edges, counts = case.verify(threshold=1.0, num_threads=2)
    assert edges == [(0, node, 1.0, 2) for node in range(1, num_docs)]
    assert counts["num_hot_comparisons"] == counts["num_hot_edges"] == num_docs - 1
    assert counts["num_capped_groups"] == 0


def test_groups_without_room_bound_the_work_and_are_counted() -> None:
    case = Case([f"only{node}" for node in range(500)], [], [(node, 1, 0) for node in range(500)])
    edges, counts = case.verify(max_reps=10)
    assert edges == []
    assert counts["num_hot_comparisons"] == sum(range(10)) + 490 * 10
    assert (counts["num_capped_groups"], counts["num_capped_docs"]) == (1, 490)


def test_no_files_are_no_candidates() -> None:
    edges, counts = Case([], [], []).verify(num_buckets=3)
    assert edges == [] and not any(counts.pop("rejected_by_tenth")) and not any(counts.values())
    edges, counts = Case(["a"], [], []).verify()
    assert edges == [] and counts["num_pairs"] == 0


def test_documents_without_a_set_are_alike_to_nothing_and_counted() -> None:
    rows: list[str | bytes | None] = ["", "", None, b"\xff", "a", "a"]
    pairs = [(0, 1, 0), (0, 4, 0), (2, 4, 0), (3, 4, 0), (4, 5, 0)]
    edges, counts = Case(rows, pairs, [(node, 5, 0) for node in range(6)]).verify(threshold=1e-9)
    assert edges == [(4, 5, 1.0, 0)]
    assert (counts["num_missing"], counts["num_hot_missing"]) == (4, 4)


def test_rejected_pairs_are_counted_by_tenth() -> None:
    rows = ["a b c d e f g h i j", "a", "a b c", "a b c d e f g", "a b c d e f g h i"]
    pairs = [(0, node, 0) for node in range(1, 5)]
    edges, counts = Case(list(rows), pairs, []).verify(threshold=1.0)
    assert edges == [] and counts["num_rejected"] == 4
    assert counts["rejected_by_tenth"] == [0, 1, 0, 1, 0, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("mode", ["jaccard", "containment"])
def test_samples_are_compared_at_the_higher_level(mode: str) -> None:
    settings = settings_of(ngram=1, max_shingles=100)
    names = [f"w{n}" for n in range(3000)]
    rows = [" ".join(names), " ".join(names[:2000]), " ".join(names[:50])]
    case = Case(list(rows), [(0, 1, 0), (0, 2, 0), (1, 2, 0)], [])
    edges, counts = case.verify(settings, mode=mode, threshold=0.01)
    assert (edges, counts) == case.expected(settings, mode, 0.01)
    similarity = {edge[:2]: edge[2] for edge in edges}
    exact = 2 / 3 if mode == "jaccard" else 1.0
    assert abs(similarity[(0, 1)] - exact) < 0.2
    assert similarity[(0, 1)] != 2 / 3


def verifier(folder: Path, **options: Any) -> _rust.Verifier:
    values = {"mode": "jaccard", "threshold": 0.5, "num_buckets": 1, "memory_bytes": PLENTY} | options
    return _rust.Verifier(folder, json.dumps(WORDS), **values)


OPTIONS = [
    ({"mode": "cosine"}, "mode is jaccard, containment or signature, not: cosine"),
    ({"threshold": 0.0}, "threshold is above 0 and at most 1, not: 0"),
    ({"threshold": 1.5}, r"not: 1\.5"),
    ({"threshold": float("nan")}, "not: NaN"),
    ({"max_reps": 0}, "max_reps is from 1 to"),
    ({"num_buckets": 0}, "num_buckets is from 1 to"),
    ({"memory_bytes": 0}, "memory_bytes is from 1 to"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_options_out_of_bounds_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        verifier(tmp_path, **options)
    with pytest.raises(ConfigError, match="minhash spec"):
        _rust.Verifier(tmp_path, "{}", mode="jaccard", threshold=0.5, num_buckets=1, memory_bytes=1)


RECORDS = [
    ("pairs", b"\0" * 23, "ends within one, with: 23 bytes"),
    ("pairs", struct.pack("<QQQ", 2, 1, 0), "the lesser first"),
    ("pairs", struct.pack("<QQQ", 1, 1, 0), "the lesser first"),
    ("pairs", struct.pack("<QQQ", 1, 2**63, 0), "the lesser first"),
    ("pairs", struct.pack("<QQQ", 1, 2, 65536), "a band"),
    ("pairs", struct.pack("<6Q", 1, 2, 0, 1, 2, 0), "sorted and each is there once"),
    ("pairs", struct.pack("<6Q", 1, 3, 0, 1, 2, 0), "sorted and each is there once"),
    ("hot", b"\0" * 25, "ends within one, with: 25 bytes"),
    ("hot", struct.pack("<QQQ", 2**63, 1, 0), "a node, a key and a band"),
    ("hot", struct.pack("<QQQ", 1, 2, 65536), "a node, a key and a band"),
    ("hot", struct.pack("<6Q", 1, 2, 0, 1, 1, 0), "sorted by node and key"),
    ("hot", struct.pack("<6Q", 2, 1, 0, 1, 1, 0), "sorted by node and key"),
    ("sets", b"\0" * 15, "ends within one, add the texts again"),
    ("sets", b"\0" * 8, "ends within one, add the texts again"),
    ("sets", struct.pack("<QIIQ", 1, 0, 2, 5), "ends within one, add the texts again"),
    ("sets", struct.pack("<QII", 1, 0, 2**32 - 1), "ends within one, add the texts again"),
]


@pytest.mark.parametrize("memory_bytes", [1, PLENTY])
@pytest.mark.parametrize(("kind", "data", "message"), RECORDS)
def test_damaged_files_are_refused(
    tmp_path: Path, kind: str, data: bytes, message: str, memory_bytes: int
) -> None:
    found = verifier(tmp_path, memory_bytes=memory_bytes)
    (tmp_path / f"{kind}-00000.bin").write_bytes(data)
    with pytest.raises(DataError, match=message):
        found.verify(1)
    with pytest.raises(ConfigError, match="verify before asking"):
        found.edges()


COLUMNS = [
    ([1, 2], [0], "nodes has a value for each of 1 rows, not: 2"),
    ([None], [0], "1 nulls"),
    ([1], [None], "buckets has a value"),
    ([-1], [0], "nodes are from 0 on, not: -1"),
    ([1], [1], "buckets are from 0 to 0, not: 1"),
]


@pytest.mark.parametrize(("nodes", "buckets", "message"), COLUMNS)
def test_columns_that_do_not_fit_are_refused(
    tmp_path: Path, nodes: list, buckets: list, message: str
) -> None:
    places = pa.array(nodes, pa.int64()), pa.array(buckets, pa.uint32())
    with pytest.raises(DataError, match=message):
        verifier(tmp_path).add_texts(texts_of(["a"]), *places, 1)
    with pytest.raises(DataError, match=message):
        verifier(tmp_path, mode="signature").add_signatures(pa.array([bytes(28)], pa.binary(28)), *places)


def test_texts_and_signatures_are_for_their_modes(tmp_path: Path) -> None:
    places = pa.array([1], pa.int64()), pa.array([0], pa.uint32())
    with pytest.raises(ConfigError, match="mode signature"):
        verifier(tmp_path).add_signatures(pa.array([bytes(28)], pa.binary(28)), *places)
    with pytest.raises(ConfigError, match="mode signature"):
        verifier(tmp_path, mode="signature").add_texts(texts_of(["a"]), *places, 1)
    with pytest.raises(DataError, match="7 slots of 4 bytes, these have: 8"):
        verifier(tmp_path, mode="signature").add_signatures(pa.array([bytes(8)], pa.binary(8)), *places)


@pytest.mark.parametrize("memory_bytes", [1, PLENTY])
def test_two_texts_of_one_node_are_refused(tmp_path: Path, memory_bytes: int) -> None:
    found = verifier(tmp_path, memory_bytes=memory_bytes)
    for _ in range(2):
        found.add_texts(texts_of(["a"]), pa.array([7], pa.int64()), pa.array([0], pa.uint32()), 1)
    with pytest.raises(DataError, match="two have come for: 7"):
        found.verify(1)


def test_files_that_were_left_are_not_taken_for_its_own_and_others_stay(tmp_path: Path) -> None:
    places = pa.array([1, 2], pa.int64()), pa.array([0, 0], pa.uint32())
    (tmp_path / "pairs-00000.bin").write_bytes(struct.pack("<QQQ", 1, 2, 3))
    (tmp_path / "sets-notes.bin").write_bytes(b"mine")
    for _ in range(2):
        found = verifier(tmp_path, memory_bytes=1)
        found.add_texts(texts_of(["a b", "a b"]), *places, 1)
        found.verify(1)
        assert [batch.to_pylist() for batch in found.edges()] == [
            [{"a": 1, "b": 2, "similarity": 1.0, "band": 3}]
        ]
    assert found.verify(1)["num_edges"] == 1
    found.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs-00000.bin", "sets-notes.bin"]


def test_boilerplate_is_dropped_by_the_source_of_each_text(tmp_path: Path) -> None:
    counts = _rust.LineCounts(9)
    counts.add(texts_of(["MENU\na", "MENU\nb"]), pa.array([1, 1], pa.uint32()))
    lines = counts.finish(1.0, 2)
    (tmp_path / "pairs-00000.bin").write_bytes(struct.pack("<6Q", 1, 2, 0, 3, 4, 0))
    texts = texts_of(["MENU\na", "MENU\nb"] * 2)
    places = pa.array([1, 2, 3, 4], pa.int64()), pa.array([0] * 4, pa.uint32())
    found = verifier(tmp_path, threshold=0.3)
    with pytest.raises(ConfigError, match="boilerplate and sources go together"):
        found.add_texts(texts, *places, 1, boilerplate=lines)
    found.add_texts(texts, *places, 1, lines, pa.array([1, 1, 2, 2], pa.uint32()))
    counts = found.verify(1)
    assert (counts["num_edges"], counts["num_rejected"]) == (1, 1)
    assert [batch["a"].to_pylist() for batch in found.edges()] == [[3]]


def test_edges_are_batches_of_four_columns_in_order(tmp_path: Path) -> None:
    num_docs = 70_000
    case = Case(["a b c"] * num_docs, [(node, node + 1, 65535) for node in range(num_docs - 1)], [])
    edges, counts = case.verify(num_threads=2, memory_bytes=1_000_000)
    assert edges == [(node, node + 1, 1.0, 65535) for node in range(num_docs - 1)]
    found = verifier(tmp_path)
    found.verify(1)
    assert list(found.edges()) == []
    assert counts["num_edges"] == num_docs - 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_texts_of_a_hundred_megabytes_are_compared() -> None:
    settings = settings_of(ngram=5, max_shingles=1 << 16)
    words = [f"w{n}" for n in range(14_000_000)]
    rows: list[str | bytes | None] = [" ".join(words), " ".join(words[:12_000_000])]
    assert len(rows[0] or "") > 100_000_000
    del words
    edges, _ = Case(rows, [(0, 1, 0)], []).verify(settings, threshold=0.5, memory_bytes=1 << 20)
    assert abs(edges[0][2] - 12 / 14) < 0.01
