"""Candidates and clusters against slow twins; what they do not depend on; what they refuse."""

import random
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import _rust
from curate.errors import ConfigError, DataError
from tests.reference import near as twin

MEMORY = 1 << 24
Docs = dict[int, tuple[bytes, int | None]]
# Small enough that files are split and components are found on the disk.
MEMORIES = st.sampled_from([1 << 12, 1 << 14, 1 << 24])


def signature(values: list[int]) -> bytes:
    """Slots as random as those of texts are."""
    return struct.pack(f"<{len(values)}I", *(twin.hash_number(value) & 0xFFFFFFFF for value in values))


def add(job: _rust.Candidates, docs: Docs, nodes: list[int], num_threads: int = 1) -> None:
    width = len(next(iter(docs.values()))[0])
    scopes = [docs[node][1] for node in nodes]
    job.add(
        pa.array([docs[node][0] for node in nodes], pa.binary(width)),
        pa.array(nodes, pa.int64()),
        None if scopes[0] is None else pa.array(scopes, pa.uint64()),
        num_threads,
    )


def records(path: Path) -> list[tuple[int, ...]]:
    return list(struct.iter_unpack("<3Q", path.read_bytes())) if path.exists() else []


def outcome(job: _rust.Candidates, folder: Path, *, max_group: int, num_threads: int = 1) -> dict[str, Any]:
    """All that a job says about its documents, with the bytes of the files of three buckets."""
    counts = job.find(max_group, num_threads)
    assert counts.pop("scratch_bytes") >= 0
    buckets = job.buckets(0, 400, 3).to_pylist()
    assert buckets[100:300] == job.buckets(100, 200, 3).to_pylist()
    job.assign(3)
    names = [f"{kind}-{bucket:05d}.bin" for kind in ("pairs", "hot") for bucket in range(3)]
    files = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    assert all(files.values())
    left = {path.name for path in folder.iterdir() if path.suffix == ".bin"}
    assert left == set(files)
    job.close()
    assert {path.name for path in folder.iterdir()} == left
    return {"counts": counts, "buckets": buckets, "files": files}


@st.composite
def corpora(draw: st.DrawFn) -> Docs:
    """Documents whose slots have few values; nodes with gaps."""
    rng = random.Random(draw(st.integers(0, 1 << 32)))
    num_docs = draw(st.integers(1, 120))
    values = [draw(st.sampled_from([1, 3, 10, 40, 1000])) for _ in range(6)]
    scopes = draw(st.sampled_from([None, 1, 2, 5]))
    return {
        node: (
            signature([rng.randrange(count) for count in values]),
            None if scopes is None else rng.randrange(scopes),
        )
        for node in sorted(rng.sample(range(300), num_docs))
    }


@given(st.data(), corpora(), MEMORIES, st.sampled_from(["both", "within", "against"]))
def test_candidates_are_those_of_the_twin(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, docs: Docs, memory_bytes: int, mode: str
) -> None:
    num_bands, num_rows = data.draw(st.sampled_from([(6, 1), (3, 2), (2, 3), (1, 6), (2, 1)]))
    max_group, num_indexed = data.draw(st.sampled_from([1, 2, 5, 30])), data.draw(st.integers(0, 310))
    folder = tmp_path_factory.mktemp("near")
    job = _rust.Candidates(
        folder, num_bands, num_rows, memory_bytes=memory_bytes, num_indexed=num_indexed, mode=mode
    )
    add(job, docs, list(docs))
    found = outcome(job, folder, max_group=max_group)
    expected = twin.candidates(
        docs, num_bands, num_rows, max_group=max_group, num_indexed=num_indexed, mode=mode
    )
    assert found["counts"] == expected["counts"]
    ids = expected["components"]
    assert found["buckets"] == [twin.bucket(ids, node, 3) for node in range(400)]
    for kind in ("pairs", "hot"):
        for bucket in range(3):
            mine = [r for r in expected[kind] if twin.bucket(ids, r[0], 3) == bucket]
            assert records(folder / f"{kind}-{bucket:05d}.bin") == mine


@given(st.data(), corpora(), MEMORIES, st.sampled_from([1, 16, 256]), st.sampled_from([1, 2, 4]))
def test_neither_order_nor_batches_nor_partitions_nor_threads_show(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    docs: Docs,
    memory_bytes: int,
    num_partitions: int,
    num_threads: int,
) -> None:
    folder = tmp_path_factory.mktemp("near")
    job = _rust.Candidates(folder, 6, 1, memory_bytes=MEMORY)
    add(job, docs, list(docs))
    expected = outcome(job, folder, max_group=9)
    folder = tmp_path_factory.mktemp("near")
    job = _rust.Candidates(folder, 6, 1, num_partitions=num_partitions, memory_bytes=memory_bytes)
    nodes = data.draw(st.permutations(list(docs)))
    step = data.draw(st.integers(1, len(nodes)))
    for start in range(0, len(nodes), step):
        add(job, docs, nodes[start : start + step], num_threads)
    assert outcome(job, folder, max_group=9, num_threads=num_threads) == expected


def test_a_hot_group_beyond_the_memory_is_streamed(tmp_path: Path) -> None:
    docs: Docs = {node: (signature([7, node]), None) for node in range(3000)}
    expected = twin.candidates(docs, 2, 1, max_group=50)
    for memory_bytes in (1 << 12, MEMORY):
        folder = tmp_path / str(memory_bytes)
        job = _rust.Candidates(folder, 2, 1, memory_bytes=memory_bytes)
        add(job, docs, list(docs))
        found = job.find(50, 2)
        assert found.pop("scratch_bytes") < 3000 * 200
        assert found == expected["counts"]
        assert found["largest_group"] == found["num_hot_docs"] == 3000
        job.assign(1)
        assert records(folder / "hot-00000.bin") == expected["hot"]
        assert not (folder / "pairs-00000.bin").exists()


def test_rows_without_a_signature_play_no_part(tmp_path: Path) -> None:
    job = _rust.Candidates(tmp_path, 2, 1, memory_bytes=MEMORY)
    signatures = pa.array([None, signature([1, 2]), signature([1, 3])], pa.binary(8))
    job.add(signatures, pa.array([None, 1, 2], pa.int64()), None, 1)
    assert job.find(10, 1)["num_docs"] == 2
    assert job.buckets(0, 3, 1).to_pylist() == [twin.NO_BUCKET, 0, 0]


def test_nothing_at_all_has_no_candidates(tmp_path: Path) -> None:
    job = _rust.Candidates(tmp_path, 2, 1, memory_bytes=MEMORY)
    counts = job.find(10, 2)
    assert set(counts.values()) == {0}
    job.assign(5)
    assert job.buckets(0, 2, 5).to_pylist() == [twin.NO_BUCKET] * 2
    job.close()
    assert list(tmp_path.iterdir()) == []


def test_files_of_an_earlier_job_are_removed(tmp_path: Path) -> None:
    for bucket in (0, 77):
        (tmp_path / f"pairs-{bucket:05d}.bin").write_bytes(b"old")
    (tmp_path / "pairs-mine.bin").write_bytes(b"mine")
    (tmp_path / "candidates.tmp").mkdir()
    (tmp_path / "candidates.tmp" / "keys-0").write_bytes(bytes(16))
    job = _rust.Candidates(tmp_path, 2, 1, memory_bytes=MEMORY)
    assert job.find(10, 1)["num_keys"] == 0
    job.assign(2)
    job.close()
    assert [path.name for path in tmp_path.iterdir()] == ["pairs-mine.bin"]


def test_wrong_settings_and_steps_out_of_order_are_refused(tmp_path: Path) -> None:
    for settings in (
        {"num_partitions": 3},
        {"num_partitions": 1 << 20},
        {"memory_bytes": 100},
        {"mode": "all"},
    ):
        with pytest.raises(ConfigError, match="not: "):
            _rust.Candidates(tmp_path, 2, 1, **{"memory_bytes": MEMORY, **settings})
    for bands in ((0, 1), (1, 0), (1025, 1)):
        with pytest.raises(ConfigError, match="not: "):
            _rust.Candidates(tmp_path, *bands, memory_bytes=MEMORY)
    job = _rust.Candidates(tmp_path, 2, 1, memory_bytes=MEMORY)
    with pytest.raises(ConfigError, match="call find"):
        job.assign(1)
    with pytest.raises(ConfigError, match="max_group"):
        job.find(0, 1)
    job.find(1, 1)
    with pytest.raises(ConfigError, match="once"):
        job.find(1, 1)
    with pytest.raises(ConfigError, match="nothing can be added"):
        job.add(pa.array([bytes(8)], pa.binary(8)), pa.array([1]), None, 1)
    for num_buckets in (0, 100_001):
        with pytest.raises(ConfigError, match="num_buckets"):
            job.assign(num_buckets)
    job.assign(1)
    with pytest.raises(ConfigError, match="once"):
        job.assign(1)
    job.close()
    with pytest.raises(ConfigError, match="closed"):
        job.buckets(0, 1, 1)


def test_wrong_rows_are_refused_before_any_is_added(tmp_path: Path) -> None:
    job = _rust.Candidates(tmp_path, 2, 1, memory_bytes=MEMORY)
    two = pa.array([bytes(8)] * 2, pa.binary(8))
    for nodes in ([0, -1], [0, 1 << 54], [0, None], [0]):
        with pytest.raises(DataError, match=r"nodes"):
            job.add(two, pa.array(nodes, pa.int64()), None, 1)
    with pytest.raises(DataError, match="scope"):
        job.add(two, pa.array([0, 1]), pa.array([1, None], pa.uint64()), 1)
    with pytest.raises(DataError, match="wrong Arrow type"):
        job.add(two, pa.array([0, 1], pa.int32()), None, 1)
    with pytest.raises(ConfigError, match="bands times rows"):
        job.add(pa.array([bytes(4)], pa.binary(4)), pa.array([0]), None, 1)
    assert job.find(1, 1)["num_docs"] == 0


@pytest.mark.parametrize("memory_bytes", [1 << 12, MEMORY])
@pytest.mark.parametrize("num_docs", [2, 500])
def test_a_document_that_is_added_twice_is_an_error(tmp_path: Path, memory_bytes: int, num_docs: int) -> None:
    docs: Docs = {node: (signature([1, 2]), None) for node in range(num_docs)}
    job = _rust.Candidates(tmp_path, 2, 1, memory_bytes=memory_bytes)
    add(job, docs, [*docs, num_docs // 2])
    with pytest.raises(DataError, match=f"twice: node {num_docs // 2}"):
        job.find(3, 1)


def test_a_file_that_cannot_be_written_is_an_os_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    with pytest.raises(NotADirectoryError, match=r"folder/candidates\.tmp"):
        _rust.Candidates(tmp_path / "folder", 2, 1, memory_bytes=MEMORY)


def test_a_full_disk_is_an_os_error_with_the_path_of_the_file(tmp_path: Path) -> None:
    code = """
import resource, sys
import pyarrow as pa
from curate import _rust
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
job = _rust.Candidates(sys.argv[1], 2, 1, num_partitions=1, memory_bytes=1 << 12)
try:
    for start in range(0, 10_000, 1000):
        rows = range(start, start + 1000)
        signatures = pa.array([node.to_bytes(8, "little") for node in rows], pa.binary(8))
        job.add(signatures, pa.array(rows, pa.int64()), None, 2)
except OSError as error:
    print(errno.errorcode[error.errno], error.filename)
"""
    command = [sys.executable, "-c", "import errno" + code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["EFBIG", str(tmp_path / "candidates.tmp" / "keys-0")]


def arrays(edges: list[tuple[int, int, float]]) -> tuple[pa.Array, pa.Array, pa.Array]:
    types = (pa.int64(), pa.int64(), pa.float64())
    a, b, similarity = (pa.array([edge[at] for edge in edges], types[at]) for at in range(3))
    return a, b, similarity


SHAPES = ("chain", "mixed chain", "star", "clique", "random", "pairs")


def graph(shape: str, size: int, rng: random.Random) -> list[tuple[int, int]]:
    """Edges of a graph over the first nodes."""
    if shape == "chain":
        return [(at, at + 1) for at in range(size)]
    if shape == "mixed chain":
        names = rng.sample(range(size + 1), size + 1)
        return list(pairwise(names))
    if shape == "star":
        return [(size // 2, at) for at in range(size) if at != size // 2]
    if shape == "clique":
        count = min(size, 25)
        return [(a, b) for a in range(count) for b in range(a)]
    if shape == "pairs":
        return [(at, at + 1) for at in range(0, size, 3)]
    ends = [(rng.randrange(size + 1), rng.randrange(size + 1)) for _ in range(size)]
    return [(a, b) for a, b in ends if a != b]


@given(st.data(), st.sampled_from(SHAPES), st.integers(1, 300), MEMORIES, st.sampled_from([1, 2, 4]))
def test_clusters_are_those_of_the_twin(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    shape: str,
    size: int,
    memory_bytes: int,
    num_threads: int,
) -> None:
    rng = random.Random(data.draw(st.integers(0, 1 << 32)))
    similarities = [0.0, -0.0, 0.5, 0.8, 0.8, 1.0, rng.random()]
    edges = [(a, b, rng.choice(similarities)) for a, b in graph(shape, size, rng)]
    edges += rng.choices(edges, k=len(edges) // 3) if edges else []
    rng.shuffle(edges)
    # A place far up, where the bits of all numbers do not fit the smaller memories.
    num_nodes = data.draw(st.sampled_from([size + 5, 1_000_000]))
    job = _rust.Clusters(tmp_path_factory.mktemp("near"), num_nodes, memory_bytes)
    step = data.draw(st.integers(1, max(1, len(edges))))
    for start in range(0, len(edges), step):
        job.add(*arrays(edges[start : start + step]))
    counts = job.finish(num_threads)
    expected = twin.clusters(size + 5, edges)
    ids = [row["cluster_id"] for row in expected if row["cluster_id"] >= 0]
    assert counts.pop("scratch_bytes") >= 0
    assert counts == {
        "num_clusters": len(set(ids)),
        "num_docs": len(ids),
        "largest": max(row["cluster_size"] for row in expected),
    }
    step = data.draw(st.integers(1, size + 5))
    starts = range(0, size + 5, step)
    rows = [row for at in starts for row in job.read(at, min(step, size + 5 - at)).to_pylist()]
    assert rows == expected
    assert job.read(2, 3).to_pylist() == expected[2:5]
    job.close()


def test_clusters_have_one_row_for_each_node_with_the_types_of_the_contract(tmp_path: Path) -> None:
    job = _rust.Clusters(tmp_path, 5, MEMORY)
    job.add(*arrays([(3, 1, 0.75), (3, 4, 0.75)]))
    assert job.finish(1) | {"scratch_bytes": 0} == {
        "num_clusters": 1,
        "num_docs": 3,
        "largest": 3,
        "scratch_bytes": 0,
    }
    found = job.read(0, 5)
    assert found.schema == pa.schema(
        [
            pa.field("cluster_id", pa.int64(), nullable=False),
            pa.field("cluster_size", pa.uint32(), nullable=False),
            pa.field("nearest", pa.int64(), nullable=False),
            pa.field("similarity", pa.float64()),
        ]
    )
    assert found.to_pydict() == {
        "cluster_id": [-1, 1, -1, 1, 1],
        "cluster_size": [1, 3, 1, 3, 3],
        "nearest": [-1, 3, -1, 1, 3],
        "similarity": [None, 0.75, None, 0.75, 0.75],
    }
    job.close()
    assert list(tmp_path.iterdir()) == []


def test_wrong_edges_and_steps_out_of_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="memory_bytes"):
        _rust.Clusters(tmp_path, 5, 1)
    job = _rust.Clusters(tmp_path, 5, MEMORY)
    for edge in ((0, 5, 0.5), (-1, 2, 0.5), (2, 2, 0.5), (0, 1, float("nan")), (0, 1, None)):
        with pytest.raises(DataError):
            job.add(*arrays([(1, 2, 0.5), edge]))
    with pytest.raises(ConfigError, match="call finish"):
        job.read(0, 1)
    assert job.finish(1)["num_docs"] == 0
    with pytest.raises(ConfigError, match="nodes are below 5"):
        job.read(4, 2)
    with pytest.raises(ConfigError, match="nothing can be added"):
        job.add(*arrays([(0, 1, 0.5)]))
    with pytest.raises(ConfigError, match="once"):
        job.finish(1)
