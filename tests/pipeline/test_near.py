"""Near duplicates through the pipeline: against brute force, and the laws."""

import hashlib
import random
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import ConfigError, DataError
from curate.measure import MinHash
from curate.pipeline import Limits, Session, load_recipe, near_search, run_steps
from curate.pipeline.witnesses import check_witnesses
from tests.pipeline.near_corpus import make_recipe, make_rows, write
from tests.reference import near_duplicates as twin

SETTINGS = MinHash().model_dump()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return make_rows()


@pytest.fixture
def shards(rows, tmp_path) -> Path:
    return write(rows, tmp_path / "shards")


def expect(rows, *, within=None, measure="jaccard", threshold=0.8, bands=(17, 7)):
    texts = [row["text"] for row in rows]
    scopes = [row[within] if within else None for row in rows]
    pairs = twin.candidates(texts, scopes, SETTINGS, *bands)
    return twin.nodes(texts, scopes), twin.edges(texts, pairs, SETTINGS, measure, threshold)


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        ({"max_group": 1000}, {}),
        ({"max_group": 1000, "threshold": 0.9}, {"threshold": 0.9, "bands": (11, 11)}),
        ({"max_group": 1000, "within": "dump"}, {"within": "dump"}),
        ({"max_group": 1000, "verify": "containment"}, {"measure": "containment"}),
        ({"max_group": 1000, "bands": {"num_bands": 3, "num_rows": 20}}, {"bands": (3, 20)}),
    ],
    ids=str,
)
def test_pairs_and_clusters_are_those_of_brute_force(rows, shards, tmp_path, near, expected):
    run = curate.dedup(make_recipe(shards, tmp_path, **near))
    if "bands" in expected and "bands" not in near:
        assert run.session.run.lookup(curate_task(run)).meta["bands"] == list(expected["bands"])
    nodes, edges = expect(rows, **expected)
    found = run.edges()
    assert {(a, b): value for a, b, value in found.select("a", "b", "similarity").iter_rows()} == edges
    assert len(edges) > 20
    clusters = twin.clusters(nodes, list(edges))
    sizes = [clusters.count(cluster) for cluster in clusters]
    frame = run.clusters()
    assert frame["minhash.cluster_size"].to_list() == sizes
    ids = [cluster if size > 1 else -1 for cluster, size in zip(clusters, sizes, strict=True)]
    assert frame["minhash.cluster_id"].to_list() == ids
    assert frame["minhash.node"].to_list() == nodes
    assert found["cluster_id"].to_list() == [clusters[a] for a in found["a"]]
    assert (frame["minhash.similarity"].is_null() == (frame["minhash.cluster_id"] == -1)).all()


def curate_task(run):
    from curate.pipeline import near

    return near.task(run.session)


def witnesses(run) -> pl.DataFrame:
    return pl.read_parquet(run.plan_file.path / "duplicates.parquet")


@pytest.mark.parametrize("keep", ["first", "longest", "score desc"])
@pytest.mark.parametrize("exact", [None, {"keep": "first"}])
def test_every_dropped_document_has_a_better_witness_that_stays_and_no_two_that_stay_are_similar(
    rows, shards, tmp_path, keep, exact
):
    recipe = make_recipe(shards, tmp_path, keep=keep, max_group=1000)
    recipe["dedup"]["exact"] = exact
    recipe["filter"] = [{"reason": "user.low", "drop": "score < 0.1"}]
    run = curate.plan(recipe)
    nodes, edges = expect(rows)
    reasons = run.plan()["reasons"].to_list()
    found = witnesses(run)
    near = found.filter(pl.col("reason") == "minhash.duplicate")
    assert near["ordinal"].to_list() == [at for at, why in enumerate(reasons) if "minhash.duplicate" in why]
    assert found.height == sum("duplicate" in reason for why in reasons for reason in why) > 30

    def rank(at):
        row = rows[at]
        key = {"first": 0, "longest": -len((row["text"] or "").encode()), "score desc": -(row["score"] or -1)}
        return (key[keep], at)

    for at, keeper, similarity, _ in near.iter_rows():
        assert not reasons[keeper] and rank(keeper) < rank(at)
        a, b = sorted((nodes[at], nodes[keeper]))
        assert similarity == (1.0 if a == b else edges[a, b])
    kept = [at for at, why in enumerate(reasons) if not why]
    stays = {nodes[at] for at in kept}
    assert len(stays) == len(kept) - sum(text is None for text in (rows[at]["text"] for at in kept))
    assert not [pair for pair in edges if set(pair) <= stays]
    assert all("user.low" in why for why, row in zip(reasons, rows, strict=True) if row["score"] == 0.0)


@pytest.mark.parametrize("near", [{}, {"max_group": 4, "max_reps": 2}, {"verify": "containment"}], ids=str)
def test_witnesses_are_checked_again_from_the_text(with_template, tmp_path, near):
    recipe = make_recipe(write(with_template, tmp_path / "shards"), tmp_path, **near)
    recipe["dedup"]["exact"] = {}
    run = curate.plan(recipe)
    checked = check_witnesses(curate.open_run(run.path))
    assert checked.problems == [] and checked.num_dropped > checked.num_recomputed > 60
    path = run.plan_file.path / "duplicates.parquet"
    found = pl.read_parquet(path)
    similarity = pl.when(pl.col("similarity") < 1).then(0.9).otherwise(pl.col("similarity"))
    found.with_columns(similarity=similarity).write_parquet(path)
    assert len(check_witnesses(curate.open_run(run.path)).problems) > 1


def test_connected_keeps_the_best_of_every_cluster(rows, shards, tmp_path):
    run = curate.plan(make_recipe(shards, tmp_path, cluster="connected", max_group=1000))
    clusters, reasons = run.clusters()["minhash.cluster_id"].to_list(), run.plan()["reasons"].to_list()
    first = {cluster: at for at, cluster in reversed(list(enumerate(clusters))) if cluster >= 0}
    for at, (cluster, why) in enumerate(zip(clusters, reasons, strict=True)):
        assert ("minhash.duplicate" in why) == (cluster >= 0 and first[cluster] != at)


def tree(folder: Path) -> dict[str, str]:
    """Hashes of what resolve and plan wrote."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix == ".parquet")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def with_template() -> list[dict[str, Any]]:
    return make_rows(num_template=60, seed=7)


@pytest.mark.parametrize(("num_threads", "memory"), [(1, 2 << 30), (2, 256 << 20), (4, 128 << 20)])
@pytest.mark.parametrize("verify", ["jaccard", "signature"])
def test_threads_and_memory_change_no_byte(with_template, tmp_path, monkeypatch, verify, num_threads, memory):
    shards = write(with_template, tmp_path / "shards")
    recipe = make_recipe(shards, tmp_path / "one", max_group=4, max_reps=2, verify=verify)
    run_steps(Session(load_recipe(recipe), limits=Limits(num_threads=1)), write=False)
    recipe = make_recipe(shards, tmp_path / "two", max_group=4, max_reps=2, verify=verify)
    monkeypatch.setattr(near_search, "NUM_PARTITIONS", 16)
    limits = Limits(num_threads=num_threads, memory_bytes=memory)
    run_steps(Session(load_recipe(recipe), limits=limits), write=False)
    assert tree(tmp_path / "one" / "run") == tree(tmp_path / "two" / "run")


def test_documents_of_hot_groups_whose_representative_is_filtered_are_verified_again(with_template, tmp_path):
    shards = write(with_template, tmp_path / "shards")
    recipe = make_recipe(shards, tmp_path, max_group=4)
    frame = curate.dedup(recipe).clusters().with_row_index("at")
    assert frame["minhash.is_hot"].sum() > 60
    largest = frame.filter(pl.col("minhash.cluster_size") == frame["minhash.cluster_size"].max())
    first = with_template[largest["at"].min()]["id"]
    recipe["filter"] = [{"reason": "user.first", "drop": f"id = '{first}'"}]
    run = curate.plan(recipe)
    reasons = run.plan()["reasons"].to_list()
    kept = [at for at in largest["at"] if not reasons[at]]
    assert len(kept) == 1
    sets = {at: twin.shingle_set(with_template[at]["text"], SETTINGS) for at in largest["at"]}
    for at, keeper, similarity, _ in (
        witnesses(run).filter(pl.col("ordinal").is_in(largest["at"])).iter_rows()
    ):
        assert similarity == twin.similarity(sets[at], sets[keeper], "jaccard") >= 0.8


def test_without_verification_every_candidate_counts(rows, shards, tmp_path):
    run = curate.dedup(make_recipe(shards, tmp_path, verify="none", bands={"num_bands": 32, "num_rows": 2}))
    texts = [row["text"] for row in rows]
    pairs = twin.candidates(texts, [None] * len(rows), SETTINGS, 32, 2)
    assert set(run.edges().select("a", "b").iter_rows()) == pairs
    assert run.edges()["similarity"].min() < 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": ["tokens"]}, "dedup.minhash needs signatures"),
        ({"dedup": {"minhash": {"threshold": 0}}}, "dedup.minhash.threshold"),
        ({"dedup": {"minhash": {"bands": {"num_bands": 20, "num_rows": 10}}}}, "need 200 slots"),
        ({"dedup": {"minhash": {"verify": "signature", "boilerplate": {}}}}, "not: signature"),
        ({"dedup": {"minhash": {"keep": "score up"}}}, "keep is not"),
        ({"dedup": {"minhash": {"within": "nothing"}}}, "no column of that name: nothing"),
    ],
)
def test_wrong_settings_are_named(shards, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        curate.dedup({**make_recipe(shards, tmp_path), **change})


def test_rails_warn_or_stop(with_template, tmp_path):
    shards = write(with_template, tmp_path / "shards")
    rails = {"min_docs": 10, "max_cluster_share": 0.2, "max_loss_share": 0.3}
    run = curate.plan(make_recipe(shards, tmp_path, rails=rails))
    warnings = run.plan_file.header["warnings"]
    assert any("one cluster" in text for text in warnings) and any("loses" in text for text in warnings)
    with pytest.raises(DataError, match="one cluster"):
        curate.plan(make_recipe(shards, tmp_path, rails={**rails, "stop": True}))


def test_cluster_sizes_are_columns_for_filters_weights_and_output(shards, tmp_path):
    recipe = make_recipe(shards, tmp_path)
    recipe["filter"] = [{"reason": "user.large", "drop": '"minhash.cluster_size" > 6'}]
    recipe["plan"] = {"budget": 0.9, "select": {"method": "weighted", "weight": "minhash.cluster_size"}}
    recipe["output"] = {"path": str(tmp_path / "out"), "columns": ["id", "minhash.cluster_size"]}
    run = curate.run(recipe)
    sizes = run.clusters()["minhash.cluster_size"]
    assert [("user.large" in why) for why in run.plan()["reasons"]] == (sizes > 6).to_list()
    written = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert written["minhash.cluster_size"].max() > 1


@pytest.mark.parametrize("near", [{"max_group": 2, "max_reps": 1}, {}], ids=str)
def test_no_two_that_stay_are_similar_where_the_hub_of_a_hot_group_is_filtered(tmp_path, near):
    rng = random.Random(1)
    hub = [f"w{rng.randrange(10**6)}" for _ in range(200)]
    rows = []
    for at in range(400):
        words = list(hub)
        for place in rng.sample(range(200), 4 if at else 0):
            words[place] = f"x{rng.randrange(10**6)}"
        row = {"id": str(at), "text": " ".join(words), "source": "s", "dump": "d", "score": float(at > 0)}
        rows.append(row)
    recipe = make_recipe(write(rows, tmp_path / "shards"), tmp_path, **near)
    recipe["filter"] = [{"reason": "user.hub", "drop": "score < 0.5"}]
    run = curate.plan(recipe)
    kept = [at for at, why in enumerate(run.plan()["reasons"].to_list()) if not why]
    sets = {at: twin.shingle_set(rows[at]["text"], SETTINGS) for at in kept}
    texts = [row["text"] for row in rows]
    pairs = twin.candidates(texts, [None] * len(rows), SETTINGS, 17, 7)
    similar = [pair for pair in pairs if set(pair) <= set(kept)]
    assert not [(a, b) for a, b in similar if twin.similarity(sets[a], sets[b], "jaccard") >= 0.8]
    assert len(kept) > 100 and check_witnesses(run).problems == []


def test_columns_of_lists_are_refused(shards, tmp_path):
    table = pq.read_table(shards / "part-0.parquet")
    tags = pa.array([["a"]] * table.num_rows)
    pq.write_table(table.append_column("tags", tags), shards / "part-0.parquet")
    for near in ({"within": "tags"}, {"keep": "tags desc"}):
        with pytest.raises(ConfigError, match=r"needs a column of single values, tags is list"):
            curate.dedup(make_recipe(shards, tmp_path, **near))


def test_an_index_is_local(shards, tmp_path):
    with pytest.raises(ConfigError, match="an index is a local folder"):
        curate.dedup(make_recipe(shards, tmp_path, index={"path": "s3://bucket/seen"}))
