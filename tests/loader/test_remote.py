"""Shards over the S3 protocol: the ranges that are read, the cache on disk, forks."""

import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import DataError
from curate.files import replace_json
from curate.loader.building import build_index
from curate.loader.delivered import open_delivered
from curate.loader.index import Index
from curate.loader.reading import Reader
from curate.shards import ShardWriter, storage
from tests.loader.corpus import ByteTokenizer
from tests.loader.store import Store
from tests.loader.test_reading import split

GROUP_BYTES = 4_000


def texts(num_docs: int = 600) -> list[str]:
    rng = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnop "))
    return ["".join(rng.choice(letters, int(size))) for size in rng.integers(1, 800, num_docs)]


def deliver(folder: Path, values: list[str]) -> None:
    """Shards in two pools, as a delivery writes them."""
    files = []
    for pool in ("a", "b"):
        own = values[: len(values) // 3] if pool == "a" else values[len(values) // 3 :]
        table = pa.table({"text": pa.array(own, pa.large_string()), "id": list(range(len(own)))})
        with ShardWriter(
            folder / f"source={pool}", table.schema, row_group_bytes=GROUP_BYTES, rows_per_file=150
        ) as writer:
            writer.write(table)
            files += [(f"source={pool}/{file.name}", file) for file in writer.close()]
    records = [
        {"name": name, "num_rows": one.num_rows, "size_bytes": one.size_bytes, "blake3": one.blake3}
        for name, one in files
    ]
    replace_json(folder / "_manifest.json", {"format": 1, "plan": "p", "files": records})


def remote_index(store: Store, tmp_path: Path, values: list[str]) -> Index:
    deliver(store.folder / "corpus" / "out", values)
    source = open_delivered("s3://corpus/out", storage_options=store.options)
    return build_index(source, tmp_path / "index", num_lanes=1, block_tokens=GROUP_BYTES // 4)


def all_texts(index: Index, reader: Reader) -> list[str]:
    return [bytes(ids[:-1]).decode() for ids in split(reader.read(np.arange(index.num_docs)))]


def test_only_the_ranges_of_the_texts_are_read(store: Store, tmp_path: Path) -> None:
    values = texts()
    index = remote_index(store, tmp_path, values)
    store.clear()
    reader = Reader(index, ByteTokenizer(), memory_bytes=1 << 20)
    order = np.random.default_rng(0).permutation(int(index.first_block[-1]))
    found: dict[int, list[int]] = {}
    for blocks in np.array_split(order, 20):
        docs = np.concatenate([np.arange(*index.block_starts[block : block + 2]) for block in blocks])
        found |= dict(zip(docs.tolist(), split(reader.read(docs)), strict=True))
    assert [bytes(found[doc][:-1]).decode() for doc in range(len(values))] == values
    chunks = {(int(chunk["start"]), int(chunk["packed_bytes"])) for chunk in index.groups}
    assert {(start, size) for _, start, size in store.reads} == chunks
    assert len(store.reads) == len(index.groups)
    assert reader.stats.bytes_read == store.bytes_read
    assert reader.stats.bytes_served == sum(map(len, values))
    assert reader.stats.amplification <= 1.0
    assert store.num_heads <= len(index.shards) + reader.num_threads  # threads may open one at the same time


def test_a_part_of_an_epoch_costs_its_part(store: Store, tmp_path: Path) -> None:
    index = remote_index(store, tmp_path, texts(2000))
    reader = Reader(index, ByteTokenizer(), memory_bytes=100_000)
    store.clear()
    order = np.random.default_rng(0).permutation(int(index.first_block[-1]))
    for block in order[: len(order) // 10]:
        reader.read(np.arange(*index.block_starts[block : block + 2]))
    assert store.bytes_read / reader.stats.bytes_served <= 1.5


def test_the_cache_on_disk_answers_the_next_process(store: Store, tmp_path: Path) -> None:
    values = texts()
    index = remote_index(store, tmp_path, values)
    options: dict[str, Any] = {"cache_dir": tmp_path / "cache", "cache_bytes": 10 << 20}
    first = Reader(index, ByteTokenizer(), **options)
    assert all_texts(index, first) == values
    store.clear()
    again = Reader(index, ByteTokenizer(), **options)
    assert all_texts(index, again) == values
    assert store.reads == [] and again.stats.bytes_read == 0
    assert again.stats.bytes_cached == first.stats.bytes_read


def test_a_small_cache_gives_the_same_answers(store: Store, tmp_path: Path) -> None:
    values = texts()
    index = remote_index(store, tmp_path, values)
    reader = Reader(
        index,
        ByteTokenizer(),
        memory_bytes=0,
        cache_dir=tmp_path / "cache",
        cache_bytes=60_000,
        num_threads=2,
    )
    for _ in range(2):
        assert all_texts(index, reader) == values
        held = [path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert sum(held) <= 60_000 + 8
    assert reader.stats.bytes_read > 0


def test_lost_connections_are_survived_until_all_are_lost(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "FIRST_PAUSE_S", 0.01)
    values = texts(200)
    index = remote_index(store, tmp_path, values)
    store.num_failures = 3
    assert all_texts(index, Reader(index, ByteTokenizer())) == values
    assert store.num_failures == 0
    store.num_failures = 10_000
    with pytest.raises(OSError, match=r"cannot read s3://corpus/out/source=.*\(5 attempts\)"):
        Reader(index, ByteTokenizer()).read(np.arange(index.num_docs))
    store.num_failures = 0


READ_ALL = """
import sys
from pathlib import Path
import numpy as np
from curate.loader.index import Index
from curate.loader.reading import Reader
from tests.loader.test_remote import NoTokens, peak

index = Index(Path(sys.argv[1]))
reader = Reader(index, NoTokens(), memory_bytes=int(sys.argv[2]))
reader.read(np.arange(0, index.num_docs, 500))
before = peak()
for docs in np.array_split(np.random.default_rng(0).permutation(index.num_docs), 300):
    reader.read(docs)
assert reader.stats.groups_read > 300
print(peak() - before)
"""


class NoTokens:
    """One token for a document."""

    def encode(self, values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(values), np.uint32), np.arange(len(values) + 1)


def peak() -> int:
    """Most bytes of memory that this process had."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def test_a_process_stays_within_the_memory_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"{number:x}" for number in rng.integers(0, 1 << 40, 3000)])
    files = []
    table = pa.table(
        {"text": pa.array([" ".join(rng.choice(words, 300)) for _ in range(20_000)], pa.large_string())}
    )
    with ShardWriter(tmp_path / "out", table.schema) as writer:
        writer.write(table)
        files = writer.close()
    assert table.nbytes > 60 << 20
    records = [
        {"name": one.name, "num_rows": one.num_rows, "size_bytes": one.size_bytes, "blake3": one.blake3}
        for one in files
    ]
    replace_json(tmp_path / "out" / "_manifest.json", {"format": 1, "plan": "p", "files": records})
    index = build_index(open_delivered(str(tmp_path / "out")), tmp_path / "index", num_lanes=1)
    command = [sys.executable, "-c", READ_ALL, str(index.path), str(16 << 20)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert int(done.stdout) < 24 << 20


def test_changed_and_missing_objects_are_named(store: Store, tmp_path: Path) -> None:
    index = remote_index(store, tmp_path, texts())
    path = store.folder / "corpus" / "out" / index.shards[0].key
    data = path.read_bytes()
    path.write_bytes(data + b"x")
    with pytest.raises(DataError, match=f"^{index.shards[0].key} changed since it was planned or written"):
        Reader(index, ByteTokenizer()).read(np.arange(10))
    flipped = bytearray(data)
    for position in range(30, 3000, 20):
        flipped[position] ^= 1
    path.write_bytes(bytes(flipped))
    with pytest.raises(DataError, match=index.shards[0].key):
        Reader(index, ByteTokenizer()).read(np.arange(index.num_docs))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=index.shards[0].uri):
        Reader(index, ByteTokenizer()).read(np.arange(10))


def test_changed_files_are_refused_when_an_index_is_built(store: Store, tmp_path: Path) -> None:
    deliver(store.folder / "corpus" / "out", texts(50))
    path = store.folder / "corpus" / "out" / "source=a" / "part-00000.parquet"
    pq.write_table(pa.table({"text": ["other"]}), path)
    source = open_delivered("s3://corpus/out", storage_options=store.options)
    with pytest.raises(DataError, match=r"^source=a/part-00000\.parquet changed since"):
        build_index(source, tmp_path / "index", num_lanes=1)


def _child(reader: Reader, queue: Any) -> None:
    queue.put(split(reader.read(np.arange(reader.index.num_docs))))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_reads_remote_shards_after_its_parent_did(store: Store, tmp_path: Path, method: str) -> None:
    values = texts(200)
    index = remote_index(store, tmp_path, values)
    reader = Reader(index, ByteTokenizer(), cache_dir=tmp_path / "cache")
    assert all_texts(index, reader) == values
    context = multiprocessing.get_context(method)
    queues = [context.Queue() for _ in range(3)]
    children = [context.Process(target=_child, args=(reader, queue)) for queue in queues]
    for child in children:
        child.start()
    for queue in queues:
        answer = queue.get(timeout=60)
        assert [bytes(ids[:-1]).decode() for ids in answer] == values
    for child in children:
        child.join()
        assert child.exitcode == 0
