"""The reader gives the tokens of the documents that are asked for, whatever its memory, cuts and threads."""

import itertools
import multiprocessing
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curate
from curate.errors import ConfigError, DataError
from curate.loader import texts
from curate.loader.building import build_index
from curate.loader.delivered import open_delivered
from curate.loader.index import Index
from curate.loader.reading import Reader
from curate.loader.sources import open_plan
from tests.loader.corpus import EOS, ByteTokenizer, Corpus, Doc, write_plan, write_shards
from tests.loader.test_index import CORPORA, index_of

MEMORIES = st.sampled_from([0, 10, 200, 1 << 20])


def split(answer: tuple[np.ndarray, np.ndarray]) -> list[list[int]]:
    ids, offsets = answer
    assert ids.dtype == np.uint32 and offsets.dtype == np.int64
    assert offsets[0] == 0 and offsets[-1] == len(ids)
    return [ids[start:stop].tolist() for start, stop in itertools.pairwise(offsets)]


def expected(index: Index, corpus: Corpus, docs: np.ndarray) -> list[list[int]]:
    return [corpus.shards[int(index.shard[doc])][int(index.row[doc])].tokens for doc in docs]


@settings(max_examples=60)
@given(
    corpus=CORPORA,
    ordered=st.booleans(),
    block_tokens=st.integers(1, 200),
    memory=MEMORIES,
    seed=st.integers(0, 100),
)
def test_documents_are_those_of_the_shards(
    tmp_path_factory: pytest.TempPathFactory,
    corpus: Corpus,
    ordered: bool,
    block_tokens: int,
    memory: int,
    seed: int,
) -> None:
    index = index_of(corpus, tmp_path_factory.mktemp("read"), ordered=ordered, block_tokens=block_tokens)
    reader = Reader(index, ByteTokenizer(), memory_bytes=memory)
    rng = np.random.default_rng(seed)
    for size in (0, 1, 5, 100):
        docs = rng.integers(0, index.num_docs, size if index.num_docs else 0)
        assert split(reader.read(docs)) == expected(index, corpus, docs)
    every = rng.permutation(index.num_docs)
    assert split(reader.read(every)) == expected(index, corpus, every)
    assert reader.current_shard == -1


def big_corpus() -> Corpus:
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 60, 900).tolist()
    docs = [Doc(f"{number} " * size, pool="ab"[number % 2]) for number, size in enumerate(sizes)]
    docs[37] = Doc("x" * 20_000)
    return Corpus([docs[:400], docs[400:]], group_rows=50)


def test_a_row_group_is_decoded_once_while_it_stays_in_memory(tmp_path: Path) -> None:
    corpus = big_corpus()
    index = index_of(corpus, tmp_path, block_tokens=300)
    reader = Reader(index, ByteTokenizer(), memory_bytes=10 << 20)
    order = np.random.default_rng(0).permutation(int(index.first_block[-1]))
    for block in order:
        docs = np.arange(index.block_starts[block], index.block_starts[block + 1])
        assert split(reader.read(docs)) == expected(index, corpus, docs)
    assert reader.stats.groups_read == 18
    assert reader.stats.blocks_read < 30 and reader.stats.memory_hits > 100
    size = sum(int(chunk["packed_bytes"]) for chunk in index.groups)
    assert reader.stats.bytes_read == size
    assert reader.stats.bytes_served == sum(len(doc.text) for _, _, doc in corpus.docs())
    assert reader.stats.amplification == pytest.approx(size / reader.stats.bytes_served)


@pytest.mark.parametrize("memory", [0, 2_000, 20_000])
def test_memory_is_bounded_whatever_is_asked(tmp_path: Path, memory: int) -> None:
    corpus = big_corpus()
    index = index_of(corpus, tmp_path, block_tokens=300)
    reader = Reader(index, ByteTokenizer(), memory_bytes=memory)
    for docs in np.array_split(np.random.default_rng(0).permutation(index.num_docs), 30):
        assert split(reader.read(docs)) == expected(index, corpus, docs)
        held = reader._here().texts
        assert held is not None and held._used.num_bytes + held._ahead.num_bytes <= memory
        for part in (held._used, held._ahead):
            assert part.num_bytes == sum(one.nbytes for one in part._texts.values())


def test_threads_share_a_reader(tmp_path: Path) -> None:
    corpus = big_corpus()
    index = index_of(corpus, tmp_path, block_tokens=300)
    reader = Reader(index, ByteTokenizer(), memory_bytes=30_000)
    problems: list[str] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(40):
            docs = rng.integers(0, index.num_docs, 20)
            if split(reader.read(docs)) != expected(index, corpus, docs):
                problems.append(f"seed {seed}")

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_threads_wait_for_a_row_group_that_one_of_them_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Corpus([[Doc("abc")] * 10], group_rows=10)
    index = index_of(corpus, tmp_path)
    reader = Reader(index, ByteTokenizer())
    begun, go = threading.Event(), threading.Event()
    fetch = texts.BlockTexts._fetch

    def slow(self: texts.BlockTexts, group: int) -> bytes:
        begun.set()
        go.wait(10)
        return fetch(self, group)

    monkeypatch.setattr(texts.BlockTexts, "_fetch", slow)
    docs = np.arange(10)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(split(reader.read(docs)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go.set()
    for thread in threads:
        thread.join()
    assert found == [expected(index, corpus, docs)] * 3
    assert reader.stats.groups_read == 1


def _child(reader: Reader, docs: np.ndarray, queue: Any) -> None:
    queue.put((split(reader.read(docs)), reader.stats.groups_read))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_opens_everything_anew(tmp_path: Path, method: str) -> None:
    corpus = big_corpus()
    index = index_of(corpus, tmp_path, block_tokens=300)
    reader = Reader(index, ByteTokenizer(), memory_bytes=1 << 20)
    docs = np.arange(0, index.num_docs, 7)
    reader.read(docs)
    held = reader._here().texts
    assert held is not None
    held._lock.acquire()  # as a thread would that the child does not have
    try:
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        child = context.Process(target=_child, args=(reader, docs, queue))
        child.start()
        answer, groups_read = queue.get(timeout=60)
        child.join()
    finally:
        held._lock.release()
    assert answer == expected(index, corpus, docs) and groups_read == 18


def test_a_reader_is_pickled_without_what_it_has_open(tmp_path: Path) -> None:
    corpus = big_corpus()
    reader = Reader(index_of(corpus, tmp_path), ByteTokenizer())
    docs = np.arange(50)
    answer = split(reader.read(docs))
    data = pickle.dumps(reader)
    assert len(data) < 2000
    assert split(pickle.loads(data).read(docs)) == answer


def test_settings_and_documents_out_of_bounds_are_refused(tmp_path: Path) -> None:
    index = index_of(Corpus([[Doc("a")]]), tmp_path)
    with pytest.raises(ConfigError, match="a tokenizer is needed"):
        Reader(index)
    with pytest.raises(ConfigError, match="memory_bytes is 0 or more"):
        Reader(index, ByteTokenizer(), memory_bytes=-1)
    for doc in (-1, 1):
        with pytest.raises(IndexError, match="documents are 0 to 0"):
            Reader(index, ByteTokenizer()).read(np.array([doc]))


@pytest.mark.parametrize("name", ["000.parquet", "001.jsonl"])
def test_a_shard_that_changed_since_the_index_is_refused_by_key(tmp_path: Path, name: str) -> None:
    corpus = Corpus([[Doc("abc" * 99)] * 9, [Doc("def" * 99)] * 9], jsonl={1})
    index = index_of(corpus, tmp_path)
    path = tmp_path / "shards" / name
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(DataError, match=f"^{name} changed since it was planned"):
        Reader(index, ByteTokenizer()).read(np.arange(18))
    middle = len(data) // 2
    path.write_bytes(data[:40] + bytes(middle - 40) + data[middle:])
    with pytest.raises(DataError, match=name):
        Reader(index, ByteTokenizer()).read(np.arange(18))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=name):
        Reader(index, ByteTokenizer()).read(np.arange(18))


def test_a_text_that_became_null_is_refused_with_its_row(tmp_path: Path) -> None:
    corpus = Corpus([[Doc("a"), Doc("b"), Doc("c")]], group_rows=2)
    plan = write_plan(corpus, tmp_path / "plan", write_shards(corpus, tmp_path / "shards"))
    path = tmp_path / "shards" / "000.parquet"
    pq.write_table(pa.table({"text": ["a", "b", None], "source": ["all"] * 3}), path, row_group_size=2)
    plan.header["shards"][0]["size_bytes"] = path.stat().st_size
    index = build_index(open_plan(plan), tmp_path / "index", num_lanes=1)
    with pytest.raises(DataError, match=r"000\.parquet changed since it was planned: row 2 has no text"):
        Reader(index, ByteTokenizer()).read(np.arange(3))


# Runs and deliveries of the engine itself


def from_reader(index: Index, **options: Any) -> dict[str, list[str]]:
    """Texts of every pool, as the reader has them."""
    answer = split(Reader(index, ByteTokenizer(), **options).read(np.arange(index.num_docs)))
    found: dict[str, list[str]] = {}
    for number, pool in enumerate(index.pools):
        if pool.num_docs:
            first, stop = index.block(number, 0)[0], index.block(number, pool.num_blocks - 1)[1]
            assert all(ids[-1] == EOS for ids in answer[first:stop])
            found[pool.name] = [bytes(ids[:-1]).decode() for ids in answer[first:stop]]
    return found


@pytest.mark.parametrize("order", ["input", "shuffle"])
@pytest.mark.parametrize("transform", [[], ["c4_lines"], ["c4_lines", {"duplicate_parts": {}}]])
def test_a_run_is_read_as_it_is_delivered(
    tmp_path: Path, recipe: dict[str, Any], transform: list[Any], order: str
) -> None:
    recipe["input"]["paths"] = recipe["input"]["paths"][:1]
    recipe["plan"]["order"] = order
    recipe["transform"] = transform
    recipe["output"] |= {"columns": ["text", "source", "tokens.count"]}
    curate.run(recipe)
    run = curate.open_run(tmp_path / "run")
    is_ordered = order == "shuffle"
    index = build_index(
        open_plan(run), tmp_path / "index", num_lanes=2, block_tokens=2000, ordered=is_ordered
    )
    assert index.has("spans") == bool(transform)
    out = pl.read_parquet(sorted((tmp_path / "out").glob("*.parquet")))
    texts_of = {
        name: frame["text"].to_list() for (name,), frame in out.group_by("source", maintain_order=True)
    }
    assert from_reader(index) == texts_of
    planned = run.plan().filter(pl.col("repeats") > 0)
    assert sum(pool.num_tokens for pool in index.pools) == planned["tokens"].sum()
    delivered = open_delivered(str(tmp_path / "out"))
    second = build_index(delivered, tmp_path / "index", num_lanes=2, block_tokens=2000)
    assert from_reader(second) == texts_of
    assert [pool.name for pool in second.pools] == sorted(texts_of)


def test_a_delivery_in_folders_has_a_pool_for_each(tmp_path: Path, recipe: dict[str, Any]) -> None:
    recipe["plan"]["order"] = "shuffle"
    recipe["output"] |= {"split_by": "source", "columns": ["text", "lang"]}
    curate.run(recipe)
    out = tmp_path / "out"
    index = build_index(open_delivered(str(out)), tmp_path / "index", num_lanes=1, block_tokens=1000)
    assert {f"source={pool.name}" for pool in index.pools} == {path.name for path in out.glob("source=*")}
    found = from_reader(index, memory_bytes=10_000)
    for pool in index.pools:
        files = sorted((out / f"source={pool.name}").glob("*.parquet"))
        assert found[pool.name] == pl.read_parquet(files)["text"].to_list()
    counted = build_index(open_delivered(str(out), count=ByteTokenizer()), tmp_path / "index", num_lanes=1)
    for pool in counted.pools:
        assert pool.num_tokens == sum(len(text.encode()) + 1 for text in found[pool.name])
    estimate = sum(pool.num_tokens for pool in index.pools)
    assert estimate == pytest.approx(sum(pool.num_tokens for pool in counted.pools) / 4, rel=0.05)
    by_language = build_index(open_delivered(str(out), by="lang"), tmp_path / "index", num_lanes=1)
    assert {"en"} < {pool.name for pool in by_language.pools}
    with pytest.raises(ConfigError, match="no column colour"):
        open_delivered(str(out), by="colour")


def test_a_column_of_repeats_is_obeyed(tmp_path: Path) -> None:
    from curate.files import replace_json
    from curate.shards import ShardWriter

    table = pa.table(
        {
            "text": pa.array([f"text {row}" for row in range(9)], pa.large_string()),
            "repeats": pa.array([row % 3 for row in range(9)], pa.uint16()),
        }
    )
    with ShardWriter(tmp_path / "out", table.schema) as writer:
        writer.write(table)
        (file,) = writer.close()
    record = {"name": file.name, "num_rows": 9, "size_bytes": file.size_bytes, "blake3": file.blake3}
    replace_json(tmp_path / "out" / "_manifest.json", {"format": 1, "plan": "x", "files": [record]})
    index = build_index(open_delivered(str(tmp_path / "out")), tmp_path / "index", num_lanes=1)
    (pool,) = index.pools
    assert (pool.name, pool.num_docs, pool.num_levels) == ("all", 6, 2)
    assert index.row.tolist() == [1, 2, 4, 5, 7, 8] and index.repeats.tolist() == [1, 2] * 3
    assert from_reader(index)["all"] == [f"text {row}" for row in (1, 2, 4, 5, 7, 8)]


def test_a_folder_without_a_manifest_and_a_plan_with_edits_alone_are_refused(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"has no _manifest\.json"):
        open_delivered(str(tmp_path))
    recipe["transform"] = ["c4_lines"]
    recipe["input"]["paths"] = recipe["input"]["paths"][:1]
    del recipe["output"]
    run = curate.run(recipe)
    with pytest.raises(ConfigError, match="in the store of its run") as caught:
        open_plan(run.plan_file)
    assert "open the run instead" in str(caught.value.hint)


def test_compressed_jsonl_is_refused_with_the_way_out(tmp_path: Path, recipe: dict[str, Any]) -> None:
    del recipe["output"]
    run = curate.run(recipe)
    with pytest.raises(DataError, match="compressed JSONL") as caught:
        build_index(open_plan(run), tmp_path / "index", num_lanes=1)
    assert "deliver it first" in str(caught.value.hint)
