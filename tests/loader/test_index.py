"""The index holds every planned document once, by pool and block, whatever the cuts."""

import errno
import os
import pickle
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError, DataError, StateError
from curate.loader import building
from curate.loader.building import build_index
from curate.loader.cutting import cut, most_tokens
from curate.loader.index import Index
from curate.loader.sources import open_plan
from tests.loader.corpus import Corpus, Doc, write_plan, write_shards

DOCS = st.builds(
    Doc,
    text=st.text("abc\u00e9", max_size=30),
    pool=st.sampled_from(["web", "books", "capped"]),
    repeats=st.sampled_from([0, 1, 1, 1, 2, 5]),
    order=st.integers(0, 9),
)
CORPORA = st.builds(
    Corpus,
    shards=st.lists(st.lists(DOCS, min_size=1, max_size=40), min_size=1, max_size=4),
    group_rows=st.integers(1, 15),
    jsonl=st.sets(st.integers(0, 3), max_size=2),
    more_pools=st.sampled_from([(), ("empty",), ("zzz",)]),
)


def index_of(corpus: Corpus, folder: Path, *, num_lanes: int = 1, **options: object) -> Index:
    plan = write_plan(corpus, folder / "plan", write_shards(corpus, folder / "shards"))
    source = open_plan(plan)
    return build_index(source, folder / "index", num_lanes=num_lanes, **options)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(
    corpus=CORPORA,
    num_lanes=st.integers(1, 3),
    block_tokens=st.integers(1, 200),
    ordered=st.booleans(),
    chunk=st.sampled_from([1, 8, 1 << 20]),
)
def test_every_planned_document_is_in_one_block_of_its_pool(
    tmp_path_factory: pytest.TempPathFactory,
    corpus: Corpus,
    num_lanes: int,
    block_tokens: int,
    ordered: bool,
    chunk: int,
) -> None:
    folder = tmp_path_factory.mktemp("index")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "CHUNK_DOCS", max(chunk, 8))
        index = index_of(corpus, folder, num_lanes=num_lanes, block_tokens=block_tokens, ordered=ordered)
    planned = [(shard, row, doc) for shard, row, doc in corpus.docs() if doc.repeats]
    names = {doc.pool for _, _, doc in corpus.docs()} | set(corpus.more_pools)
    assert [pool.name for pool in index.pools] == sorted(names)
    assert index.num_docs == len(planned)
    for number, pool in enumerate(index.pools):
        own = [item for item in planned if item[2].pool == pool.name]
        tokens = [len(doc.tokens) for _, _, doc in own]
        assert pool.num_docs == len(own)
        assert pool.num_unique_tokens == sum(tokens)
        assert pool.num_tokens == sum(len(doc.tokens) * doc.repeats for _, _, doc in own)
        assert pool.num_levels == max((doc.repeats for _, _, doc in own), default=0)
        assert pool.cap == (4.0 if pool.name == "capped" else None)
        target = max(1, min(block_tokens, sum(tokens) // (8 * num_lanes)))
        if ordered:
            own.sort(key=lambda item: item[2].order)
        check_blocks(index, number, own, target, corpus.group_rows if not ordered else None, corpus.jsonl)


def check_blocks(
    index: Index,
    pool: int,
    own: list[tuple[int, int, Doc]],
    target: int,
    group_rows: int | None,
    jsonl: set[int],
) -> None:
    found = []
    for number in range(index.pools[pool].num_blocks):
        start, stop = index.block(pool, number)
        assert start < stop
        docs = np.arange(start, stop)
        tokens = index.tokens[start:stop]
        assert stop - start == 1 or tokens.sum() <= most_tokens(target)
        shards, rows = index.shard[docs], index.row[docs]
        if group_rows is not None:
            assert len(set(shards.tolist())) == 1
            if int(shards[0]) not in jsonl:
                assert len(set((rows // group_rows).tolist())) == 1
            assert (np.diff(rows.astype(int)) > 0).all()
        found += list(zip(shards.tolist(), rows.tolist(), tokens.tolist(), index.repeats[docs], strict=True))
        assert index.locate(start)[1] == int(rows[0])
    assert found == [(shard, row, len(doc.tokens), doc.repeats) for shard, row, doc in own]


@given(
    tokens=st.lists(st.integers(1, 30), min_size=1, max_size=200),
    cuts=st.sets(st.integers(1, 199), max_size=10),
    target=st.integers(1, 12),
    size=st.integers(60, 200),
)
def test_cuts_do_not_depend_on_how_many_documents_are_seen_at_once(
    tokens: list[int], cuts: set[int], target: int, size: int
) -> None:
    values = np.array(tokens, np.uint32)
    runs = np.array(sorted({0} | {place for place in cuts if place < len(tokens)}))
    whole, _ = cut(values, runs, target, is_last=True)
    parts: list[int] = []
    start = 0
    while start < len(values):
        end = min(start + size, len(values))
        inside = runs[(runs > start) & (runs < end)] - start
        starts, place = cut(
            values[start:end], np.concatenate([[0], inside]), target, is_last=end == len(values)
        )
        parts += (starts + start).tolist()
        start += place
    assert parts == whole.tolist()
    assert set(runs.tolist()) <= set(parts)
    for first, stop in zip(parts, [*parts[1:], len(tokens)], strict=True):
        assert stop - first == 1 or sum(tokens[first:stop]) <= most_tokens(target)


def test_small_pools_have_eight_blocks_a_lane(tmp_path: Path) -> None:
    corpus = Corpus([[Doc("x" * 9) for _ in range(1000)]], group_rows=1000)
    index = index_of(corpus, tmp_path, num_lanes=4)
    assert index.pools[0].num_blocks == pytest.approx(32, abs=1)


def test_an_index_is_found_again_and_names_what_decided_it(tmp_path: Path) -> None:
    corpus = Corpus([[Doc("a"), Doc("bc", pool="b")]])
    first = index_of(corpus, tmp_path)
    stamp = (first.path / "index.json").stat().st_mtime_ns
    again = index_of(corpus, tmp_path)
    assert again.path == first.path and (first.path / "index.json").stat().st_mtime_ns == stamp
    other = index_of(corpus, tmp_path, num_lanes=2)
    assert other.path != first.path and other.fingerprint != first.fingerprint
    assert sorted(path.name for path in first.path.iterdir()) == [
        "block_starts.bin",
        "group_block_starts.bin",
        "group_blocks.bin",
        "group_rows.bin",
        "groups.bin",
        "index.json",
        "repeats.bin",
        "row.bin",
        "shard.bin",
        "tokens.bin",
    ]


def test_builders_that_race_get_the_same_index(tmp_path: Path) -> None:
    corpus = Corpus([[Doc(f"{row}", pool="ab"[row % 2]) for row in range(300)]] * 4)
    plan = write_plan(corpus, tmp_path / "plan", write_shards(corpus, tmp_path / "shards"))
    with ThreadPoolExecutor(6) as pool:
        pending = [
            pool.submit(build_index, open_plan(plan), tmp_path / "index", num_lanes=1) for _ in range(6)
        ]
        paths = {future.result().path for future in pending}
    assert [*(tmp_path / "index").iterdir()] == list(paths)


def test_what_killed_builders_left_is_removed_after_a_day(tmp_path: Path) -> None:
    for name, age in (("old", 2 * 24 * 3600), ("new", 60)):
        left = tmp_path / "index" / f".index-0.tmp-{name}"
        left.mkdir(parents=True)
        os.utime(left, (time.time() - age, time.time() - age))
    index = index_of(Corpus([[Doc("a")]]), tmp_path)
    assert {path.name for path in (tmp_path / "index").iterdir()} == {index.path.name, ".index-0.tmp-new"}


def test_a_full_disk_is_an_error_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left.*shard\.bin"):
        index_of(Corpus([[Doc("a")]]), tmp_path)
    assert list((tmp_path / "index").iterdir()) == []


def test_an_index_is_pickled_by_its_path(tmp_path: Path) -> None:
    index = index_of(Corpus([[Doc("a" * 100)] * 1000]), tmp_path)
    index.shard, index.tokens  # noqa: B018
    data = pickle.dumps(index)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again.pools == index.pools and again.block(0, 3) == index.block(0, 3)


def test_moved_shards_make_another_folder_with_the_same_fingerprint(tmp_path: Path) -> None:
    corpus = Corpus([[Doc("a"), Doc("b")]])
    plan = write_plan(corpus, tmp_path / "plan", write_shards(corpus, tmp_path / "old"))
    first = build_index(open_plan(plan), tmp_path / "index", num_lanes=1)
    (tmp_path / "old").rename(tmp_path / "new")
    relocate = {str(tmp_path / "old"): str(tmp_path / "new")}
    moved = build_index(open_plan(plan, relocate=relocate), tmp_path / "index", num_lanes=1)
    assert moved.fingerprint == first.fingerprint and moved.path != first.path
    assert moved.shards[0].uri == str(tmp_path / "new" / "000.parquet")


@pytest.mark.parametrize("is_jsonl", [False, True])
def test_a_shard_that_changed_since_the_plan_is_refused_by_key(tmp_path: Path, is_jsonl: bool) -> None:
    corpus = Corpus([[Doc("a")], [Doc("b"), Doc("c")]], jsonl={1} if is_jsonl else set())
    plan = write_plan(corpus, tmp_path / "plan", write_shards(corpus, tmp_path / "shards"))
    changed = Corpus([[Doc("a")], [Doc("b"), Doc("d")]], jsonl=corpus.jsonl, group_rows=1)
    write_shards(changed, tmp_path / "shards")
    with pytest.raises(DataError, match=r"^001\.\w+ changed since it was planned"):
        build_index(open_plan(plan), tmp_path / "index", num_lanes=1)
    assert list((tmp_path / "index").iterdir()) == []


def test_settings_out_of_bounds_and_damaged_indexes_are_refused(tmp_path: Path) -> None:
    corpus = Corpus([[Doc("a"), Doc("b")]])
    with pytest.raises(ConfigError, match="num_lanes is at least 1: 0"):
        index_of(corpus, tmp_path, num_lanes=0)
    index = index_of(corpus, tmp_path)
    (index.path / "row.bin").write_bytes(b"123")
    with pytest.raises(StateError, match="3 bytes, the index says 8"):
        Index(index.path).row  # noqa: B018
    header = (index.path / "index.json").read_text()
    (index.path / "index.json").write_text(header.replace('"format":3', '"format":9'))
    with pytest.raises(StateError, match="index format 9"):
        Index(index.path)
    (index.path / "index.json").write_text(header.replace('"pools":', '"pool":'))
    with pytest.raises(StateError, match="is damaged: 'pools'"):
        Index(index.path)


def test_a_plan_that_keeps_nothing_has_an_empty_index(tmp_path: Path) -> None:
    index = index_of(Corpus([[Doc("a", repeats=0)]], more_pools=["none"]), tmp_path)
    assert Counter(pool.num_docs for pool in index.pools) == {0: 2}
    assert index.num_docs == 0 and len(index.shard) == 0
    with pytest.raises(IndexError):
        index.block(0, 0)
