"""Corpora at the edges: none, one, all alike, none alike, texts of one character and of 100 MB."""

import random
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.pipeline.witnesses import check_witnesses
from tests.pipeline.near_corpus import edited, make_recipe


def write(texts: list[str | None], folder: Path, *, num_shards: int = 2) -> Path:
    folder.mkdir(parents=True)
    step = max(1, -(-len(texts) // num_shards))
    for shard in range(num_shards):
        table = pa.table({"text": pa.array(texts[shard * step : (shard + 1) * step], pa.string())})
        pq.write_table(table, folder / f"{shard}.parquet", row_group_size=50)
    return folder


def keep(texts: list[str | None], folder: Path, **near: Any) -> list[int]:
    """The documents that stay; every other one has a witness."""
    run = curate.plan(make_recipe(write(texts, folder / "shards"), folder, **near))
    assert check_witnesses(run).problems == []
    reasons = run.plan()["reasons"].to_list()
    assert len(reasons) == len(texts)
    return [at for at, why in enumerate(reasons) if "minhash.duplicate" not in why]


def words(number: int, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join(f"w{rng.randrange(10**9)}" for _ in range(number))


def test_no_documents(tmp_path):
    assert keep([], tmp_path) == []
    assert curate.open_run(tmp_path / "run").clusters().height == 0


def test_one_document(tmp_path):
    assert keep([words(100, 1)], tmp_path) == [0]


def test_no_duplicates(tmp_path):
    assert keep([words(50, seed) for seed in range(300)], tmp_path) == list(range(300))
    assert curate.open_run(tmp_path / "run").edges().height == 0


@pytest.mark.parametrize("verify", ["jaccard", "containment", "signature", "none"])
def test_all_the_same(tmp_path, verify):
    assert keep([words(50, 1)] * 300, tmp_path, verify=verify) == [0]


@pytest.mark.parametrize("cluster", ["direct", "connected"])
def test_one_cluster_of_everything(tmp_path, cluster):
    rng = random.Random(1)
    original = words(400, 1)
    texts: list[str | None] = [original, *(edited(original, 0.004, rng) for _ in range(300))]
    found = keep(texts, tmp_path, cluster=cluster)
    assert found == [0]
    assert set(curate.open_run(tmp_path / "run").clusters()["minhash.cluster_size"]) == {301}


def test_a_chain_of_small_changes_does_not_drag_everything_together(tmp_path):
    rng, texts = random.Random(1), [words(300, 1)]
    for _ in range(40):
        texts.append(edited(texts[-1], 0.01, rng))
    direct = keep(texts, tmp_path / "direct")
    assert len(direct) > 5
    assert keep(texts, tmp_path / "connected", cluster="connected") == [0]
    reasons = curate.open_run(tmp_path / "direct" / "run").plan()["reasons"].to_list()
    assert not reasons[direct[-1]]


def test_texts_that_are_hardly_any(tmp_path):
    texts = [
        None,
        "",
        " ",
        "a",
        "b",
        "a",
        "A",
        "!",
        "?",
        "a b",
        "A  b",
        "\u00e9",
        "\u4f60",
        "\u4f60\u597d",
        "\0",
    ]
    found = keep(texts, tmp_path)
    # Words of one shingle: the same text, or the same words but for case and marks.
    assert found == [0, 1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14]
    run = curate.open_run(tmp_path / "run")
    assert run.plan()["reasons"].to_list()[0] == ["input.null_text"]


def test_short_texts_are_alike_only_if_they_have_the_same_words(tmp_path):
    assert keep(["one two three", "one two three four", "One two, three!"], tmp_path) == [0, 1]


@pytest.mark.slow
def test_texts_of_a_hundred_megabytes(tmp_path):
    rng = random.Random(1)
    vocabulary = [f"w{number}" for number in range(50_000)]
    long = rng.choices(vocabulary, k=17_000_000)
    copied = [word if rng.random() > 0.01 else "x" for word in long]
    texts = [" ".join(long), words(100, 1), " ".join(copied), words(100, 1)]
    assert len(texts[0]) > 90_000_000
    assert keep(texts, tmp_path, threshold=0.7) == [0, 1]
    run = curate.open_run(tmp_path / "run")
    assert run.columns(["minhash.is_sampled"])["minhash.is_sampled"].to_list() == [True, False, True, False]
    assert 0.9 < pl.read_parquet(run.plan_file.path / "duplicates.parquet")["similarity"].min() < 0.98
