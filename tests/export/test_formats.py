"""Every format holds the documents of the plan, in its order: compared with slow readers and encoders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import curate
from curate.pipeline import OpenRun
from tests.export.corpus import Planned, encode, in_order, make_run, pad_vocabulary, planned, set_repeats
from tests.reference.exports import read_mds, read_megatron, read_olmo

SMALL = 40_000
"""Bytes of a file, so that pools have several parts."""

SHAPES = [("shuffle", "source"), ("input", "source"), ("input", None), ("shuffle", None)]


def export(run: OpenRun, output: Path, **settings: Any) -> dict[str, dict[str, Any]]:
    """Export and return what the weights say, by pool."""
    curate.export(run.path, output=output, num_threads=1, **{"max_file_bytes": SMALL, **settings})
    weights = json.loads((output / "weights.json").read_text("utf-8"))
    return {pool["pool"]: pool for pool in weights["pools"]}


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "-".join(map(str, shape)))
def shaped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OpenRun:
    order, by = request.param
    return make_run(tmp_path_factory.mktemp("shape"), order=order, by=by, max_rows=60)


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> OpenRun:
    found = make_run(tmp_path_factory.mktemp("repeated"), max_rows=40)
    set_repeats(found)
    return found


def check_megatron(run: OpenRun, output: Path, tokenizer: Path, expected: dict[str, list[Planned]]) -> None:
    weights = export(run, output, to="megatron", tokenizer=tokenizer)
    for pool, documents in expected.items():
        found = read_megatron(output / weights[pool]["prefix"])
        assert found == [encode(tokenizer, document.text) for document in documents], pool
        assert weights[pool]["tokens"] == sum(map(len, found))
        assert weights[pool]["docs"] == len(documents)


def test_megatron_files_hold_each_pool_in_the_plans_order(
    shaped: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    check_megatron(shaped, tmp_path / "out", tokenizer, in_order(planned(shaped)))


@pytest.mark.parametrize("direction", ["high_to_low", "folding"])
def test_repeats_of_a_budget_follow_the_curriculum_in_every_pass(
    tokenizer: Path, tmp_path: Path, direction: str
) -> None:
    run = make_run(
        tmp_path,
        max_rows=60,
        pools={"tiers": {"of": "document.num_chars", "quantiles": [0.3, 0.6]}},
        budget=None,
        allocate={"upsample": {"q0-30": 2.5, "q60-100": 0.4}},
        order={"curriculum": direction, "of": "document.num_chars"},
    )
    expected = in_order(planned(run))
    assert {pool: max(doc.repeats for doc in docs) for pool, docs in expected.items()} == {
        "q0-30": 3,
        "q30-60": 1,
        "q60-100": 1,
    }
    check_megatron(run, tmp_path / "out", tokenizer, expected)


def test_repeated_documents_are_written_pass_by_pass(
    repeated: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    expected = in_order(planned(repeated))
    assert max(len(documents) for documents in expected.values()) > 20
    check_megatron(repeated, tmp_path / "out", tokenizer, expected)


def test_without_repeats_each_document_is_written_once(
    repeated: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    weights = export(repeated, tmp_path / "out", to="megatron", tokenizer=tokenizer, repeats=False)
    for pool, documents in in_order(planned(repeated), repeats=False).items():
        found = read_megatron(tmp_path / "out" / weights[pool]["prefix"])
        assert found == [encode(tokenizer, document.text) for document in documents]


def test_megatrons_list_has_weights_and_absolute_prefixes(
    run: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    weights = export(run, tmp_path / "out", to="megatron", tokenizer=tokenizer)
    words = (tmp_path / "out" / "data_path.txt").read_text("utf-8").split()
    pairs = dict(zip(words[1::2], map(float, words[::2]), strict=True))
    assert pairs == {str(tmp_path / "out" / pool["prefix"]): pool["share"] for pool in weights.values()}
    assert sum(pairs.values()) == pytest.approx(1.0)
    plan = {pool["pool"]: pool["planned_tokens"] for pool in run.pools().to_dicts()}
    assert weights["books"]["share"] == plan["books"] / sum(plan.values())


@pytest.mark.parametrize(("to", "wide"), [("megatron", "int32"), ("olmo", "uint32"), ("mds", "int32")])
@pytest.mark.parametrize(("size", "is_narrow"), [(1 << 16, True), ((1 << 16) + 1, False)])
def test_ids_are_16_bits_where_the_vocabulary_fits(
    run: OpenRun, tokenizer: Path, tmp_path: Path, to: str, wide: str, size: int, is_narrow: bool
) -> None:
    padded = pad_vocabulary(tokenizer, tmp_path / "tokenizer.json", size)
    export(run, tmp_path / "out", to=to, tokenizer=padded, pools=["books"])
    manifest = json.loads((tmp_path / "out" / "export.json").read_text("utf-8"))
    assert manifest["tokens"]["dtype"] == ("uint16" if is_narrow else wide)
    first = encode(tokenizer, in_order(planned(run))["books"][0].text)
    if to == "megatron":
        assert read_megatron(tmp_path / "out" / "books")[0] == first
    elif to == "olmo":
        path = min((tmp_path / "out" / "books").glob("*.npy"))
        assert read_olmo(path, manifest["tokens"]["dtype"])[0][0] == first
    else:
        assert read_mds(tmp_path / "out" / "books")[0] == {"tokens": first}


def test_olmo_arrays_and_rows_hold_each_document_and_where_it_is_from(
    shaped: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    export(shaped, tmp_path / "out", to="olmo", tokenizer=tokenizer, max_file_bytes=20_000)
    mixture = yaml.safe_load((tmp_path / "out" / "mixture.yaml").read_text("utf-8"))
    sources = {source["source_name"]: source for source in mixture["sources"]}
    for pool, documents in in_order(planned(shaped)).items():
        found = [doc for path in sources[pool]["paths"] for doc in read_olmo(Path(path), "uint16")]
        expected = [(encode(tokenizer, doc.text), str(doc.id), doc.shard, doc.row) for doc in documents]
        assert found == expected
    assert sum(source["target_ratio"] for source in sources.values()) == pytest.approx(1.0)


def test_olmo_files_keep_the_limit_unless_one_document_is_larger(
    run: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    export(run, tmp_path / "out", to="olmo", tokenizer=tokenizer, max_file_bytes=20_000)
    paths = sorted((tmp_path / "out").rglob("*.npy"))
    large = [path for path in paths if path.stat().st_size > 20_000]
    assert len(paths) > 30
    assert large
    assert all(len(read_olmo(path, "uint16")) == 1 for path in large)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_mds_samples_are_the_documents(
    shaped: OpenRun, tokenizer: Path, tmp_path: Path, compression: str | None
) -> None:
    settings = {"to": "mds", "tokenizer": tokenizer, "compression": compression, "max_file_bytes": 8_000}
    weights = export(shaped, tmp_path / "out", **settings)
    for pool, documents in in_order(planned(shaped)).items():
        found = read_mds(tmp_path / "out" / weights[pool]["prefix"])
        assert [sample["tokens"] for sample in found] == [encode(tokenizer, doc.text) for doc in documents]


def test_packed_samples_are_the_pools_tokens_cut_at_equal_lengths_across_parts(
    shaped: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    settings = {"to": "mds", "tokenizer": tokenizer, "seq_len": 333, "max_file_bytes": 8_000}
    weights = export(shaped, tmp_path / "out", **settings)
    manifest = json.loads((tmp_path / "out" / "export.json").read_text("utf-8"))
    left = {pool["pool"]: pool.get("left_out_tokens") for pool in manifest["pools"]}
    for pool, documents in in_order(planned(shaped)).items():
        tokens = [token for doc in documents for token in encode(tokenizer, doc.text)]
        full = len(tokens) // 333
        assert weights[pool]["tokens"] == full * 333
        if not full:
            continue
        found = read_mds(tmp_path / "out" / weights[pool]["prefix"])
        expected = np.array(tokens[: full * 333]).reshape(full, 333).tolist()
        assert [sample["tokens"] for sample in found] == expected
        assert left[pool] == len(tokens) - full * 333


def test_mds_texts_come_with_the_columns_that_are_asked_for(shaped: OpenRun, tmp_path: Path) -> None:
    settings = {"to": "mds", "content": "text", "columns": ["id", "document.num_bytes"]}
    weights = export(shaped, tmp_path / "out", **settings)
    for pool, documents in in_order(planned(shaped)).items():
        found = read_mds(tmp_path / "out" / weights[pool]["prefix"])
        assert found == [
            {"text": doc.text, "id": str(doc.id), "document.num_bytes": len(doc.text.encode())}
            for doc in documents
        ]


def test_hugging_face_files_hold_text_and_every_column_of_the_input(shaped: OpenRun, tmp_path: Path) -> None:
    weights = export(shaped, tmp_path / "out", to="hf")
    tokens = {pool["pool"]: pool["planned_tokens"] for pool in shaped.pools().to_dicts()}
    assert {name: pool["tokens"] for name, pool in weights.items()} == tokens
    names = {name for shard in shaped.session.shards for name in pq.read_schema(shard.uri).names}
    for pool, documents in in_order(planned(shaped)).items():
        paths = sorted((tmp_path / "out" / weights[pool]["prefix"]).glob("*.parquet"))
        numbers = [f"train-{number:05d}-of-{len(paths):05d}.parquet" for number in range(len(paths))]
        assert [path.name for path in paths] == numbers
        rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
        assert [row["text"] for row in rows] == [doc.text for doc in documents]
        assert [row["id"] for row in rows] == [doc.id for doc in documents]
        assert set(rows[0]) == names


def test_the_card_names_a_configuration_for_each_pool(run: OpenRun, tmp_path: Path) -> None:
    export(run, tmp_path / "out", to="hf", split="validation", columns=[])
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    by_name = {config["config_name"]: config["data_files"] for config in front["configs"]}
    assert by_name.keys() == in_order(planned(run)).keys()
    assert by_name["books"] == [{"split": "validation", "path": "data/books/validation-*.parquet"}]
