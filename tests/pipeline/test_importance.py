"""Importance weights over the sample: the published formula, what is counted, what a plan makes of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import curate
from curate.errors import ConfigError, DataError
from curate.files import hash_file
from curate.models import hashed_linear
from tests.command import Curate
from tests.reference import hashed_linear as twin

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample"
RAW = {"paths": f"{SAMPLE}/part-*.parquet"}
CODE = {**RAW, "where": "lang = 'code'"}


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    values = {
        "targets": {"code": [CODE]},
        "raw": [RAW],
        "output": str(folder / "dsir.safetensors"),
        **changes,
    }
    return {key: value for key, value in values.items() if value is not None}


def texts_of(frame: pl.DataFrame) -> list[str]:
    return [text for text in frame["text"].to_list() if text is not None]


def write(path: Path, texts: list[Any], kind: pa.DataType | None = None) -> dict[str, Any]:
    pq.write_table(pa.table({"text": pa.array(texts, kind or pa.string())}), path, row_group_size=10)
    return {"paths": str(path)}


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    parts = [pl.read_parquet(path) for path in sorted(SAMPLE.glob("part-*.parquet"))]
    return pl.concat(parts, how="diagonal_relaxed")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and its card."""
    folder = tmp_path_factory.mktemp("model")
    assert curate.train_importance(settings(folder), num_threads=2).is_new
    return folder


@pytest.fixture(scope="module")
def card(home: Path) -> Any:
    return json.loads((home / "dsir.card.json").read_text())


def test_the_card_adds_up(card: Any, home: Path, frame: pl.DataFrame) -> None:
    code = frame.filter(lang="code")
    for counted, rows in ((card["raw"], frame), (card["targets"]["code"], code)):
        assert counted["num_docs"] == rows.height and counted["is_all"]
        assert counted["num_bytes"] == sum(len(text.encode()) for text in texts_of(rows))
        lengths = [len(twin.tokens(text, "wordpunct_lower")) for text in texts_of(rows)]
        assert counted["num_ngrams"] == sum(2 * length - 1 for length in lengths if length)
    assert card["targets"]["code"]["share"] == 1 and card["targets"]["code"]["divergence"] > 0.1
    assert card["model"]["blake3"] == hash_file(home / "dsir.safetensors")
    assert (card["format"], card["kind"], card["model"]["outputs"]) == (1, "importance", ["code"])
    assert sorted(path.name for path in home.iterdir()) == ["dsir.card.json", "dsir.safetensors"]


def test_scores_are_the_published_weights_and_a_plan_selects_by_them(
    tmp_path: Path, frame: pl.DataFrame
) -> None:
    some = frame.filter(pl.col("lang").is_in(["code", "en"])).gather_every(6).select("text", "lang")
    some.write_parquet(tmp_path / "some.parquet")
    raw = {"paths": str(tmp_path / "some.parquet")}
    code = {**raw, "where": CODE["where"]}
    model = curate.train_importance(settings(tmp_path, raw=[raw], targets={"code": [code]})).path
    counts = {"tokens_of": "wordpunct_lower", "longest": 2, "hash_of": "sha256", "num_buckets": 10_000}
    of_raw = twin.counts(texts_of(some), **counts)
    target = twin.counts(texts_of(some.filter(lang="code")), **counts)
    recipe: dict[str, Any] = {
        "input": raw,
        "measure": [{"hashed_linear": {"name": "dsir", "model": str(model)}}],
        "plan": {
            "budget": 0.1,
            "pools": {"by": None},
            "select": {"method": "top", "score": "dsir.code"},
        },
        "run": str(tmp_path / "run"),
    }
    run = curate.run(recipe, write=False)
    found = run.columns(["dsir.code"])["dsir.code"].to_list()
    wanted = [twin.importance(text, target, of_raw) for text in texts_of(some)]
    assert [value is None for value in found] == [value is None for value in wanted]
    pairs = [(a, b) for a, b in zip(found, wanted, strict=True) if a is not None and b is not None]
    np.testing.assert_allclose(*np.array(pairs).T, rtol=1e-5, atol=1e-3)
    assert None in wanted and len(pairs) > 50
    plan = run.plan()
    kept = pl.Series(found).filter(plan["repeats"] > 0)
    assert kept.null_count() == 0 and kept.min() >= pl.Series(found).filter(plan["repeats"] == 0).max()
    is_short = pl.Series([value is None for value in wanted])
    assert (plan["reasons"].list.contains("plan.null_score") == is_short).all()
    overrides = ["plan.select.method=weighted", f"run={tmp_path / 'drawn'}"]
    again = curate.run(recipe, write=False, overrides=overrides).plan()
    assert int(again["repeats"].sum()) > 0
    assert not (again["repeats"] > 0).filter(is_short).any()


def test_what_is_done_is_found_and_what_changed_is_not(tmp_path: Path) -> None:
    first = curate.train_importance(settings(tmp_path))
    bytes_of = first.path.read_bytes(), first.card_path.read_bytes()
    again = curate.train_importance(settings(tmp_path), num_threads=2)
    assert not again.is_new and again.card == first.card and "found" in again.as_text()
    first.path.write_bytes(b"x")
    assert curate.train_importance(settings(tmp_path)).is_new
    assert (first.path.read_bytes(), first.card_path.read_bytes()) == bytes_of
    assert curate.train_importance(settings(tmp_path), overrides=["smoothing=1"]).is_new
    assert first.path.read_bytes() != bytes_of[0]


def test_several_targets_are_fitted_each_on_its_own(home: Path, tmp_path: Path) -> None:
    prose = {**RAW, "where": "lang = 'en'"}
    made = curate.train_importance(settings(tmp_path, targets={"code": [CODE], "prose": [prose]}))
    both, one = (hashed_linear.load(path / "dsir.safetensors") for path in (tmp_path, home))
    assert both.description.outputs == ("code", "prose") and both.weight.shape == (10_000, 2)
    assert (both.weight[:, :1] == one.weight).all()
    shares = [target["share"] for target in made.card["targets"].values()]
    assert sum(shares) == pytest.approx(1, abs=1e-5) and min(shares) > 0
    assert "prose" in made.as_text()


def test_where_shards_are_cut_does_not_show(home: Path, tmp_path: Path, frame: pl.DataFrame) -> None:
    for number, part in enumerate(frame.sample(fraction=1, shuffle=True, seed=1).iter_slices(100)):
        part.write_parquet(tmp_path / f"part-{number}.parquet", row_group_size=33)
    raw = {"paths": f"{tmp_path}/part-*.parquet"}
    code = {**raw, "where": CODE["where"]}
    made = curate.train_importance(settings(tmp_path, raw=[raw], targets={"code": [code]}), num_threads=2)
    assert made.path.read_bytes() == (home / "dsir.safetensors").read_bytes()


def test_a_budget_counts_just_as_much_raw_text_as_is_asked_for(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.parquet", [f"word{n} and" for n in range(1000)])
    target = write(tmp_path / "target.parquet", ["word1 and"])
    for asked, counted, is_all in ((1, 3, False), (3, 3, False), (1000, 1002, False), (2999, 3000, True)):
        made = curate.train_importance(
            settings(tmp_path, raw=[raw], targets={"a": [target]}, raw_ngrams=asked)
        )
        found = made.card["raw"]
        assert (found["num_ngrams"], found["is_all"]) == (counted, is_all)
        assert found["num_docs"] == counted // 3
    everything = curate.train_importance(
        settings(tmp_path, raw=[raw], targets={"a": [target]}, raw_ngrams="all")
    )
    assert everything.card["raw"]["num_docs"] == 1000


def test_a_budget_is_of_pieces_in_an_order_by_seed_and_content(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{name}.parquet", [f"{name} {n}" for n in range(50)]) for name in "abcdefgh"]
    target = {"target": [write(tmp_path / "target.parquet", ["a b c"])]}

    def counted(raw: list[dict[str, Any]], seed: int) -> str:
        made = curate.train_importance(
            settings(tmp_path, raw=raw, targets=target, raw_ngrams=200, seed=seed, min_tokens=0)
        )
        return str(made.card["raw"]["blake3"])

    assert counted(parts, 1) == counted(parts[::-1], 1)
    assert len({counted(parts, seed) for seed in range(6)}) > 1


def test_runs_and_training_files_are_sources_too(tmp_path: Path) -> None:
    recipe = {"input": RAW, "run": str(tmp_path / "run")}
    curate.run(
        {**recipe, "filter": [{"reason": "user.short", "drop": "document.num_bytes < 1000"}]}, write=False
    )
    lines = tmp_path / "lines.txt"
    lines.write_text("__label__a the words of a target\n__label__b more of them\n")
    made = curate.train_importance(
        settings(
            tmp_path, raw=[{"run": str(tmp_path / "run")}], targets={"lines": [{"fasttext_file": str(lines)}]}
        )
    )
    assert made.card["targets"]["lines"]["num_docs"] == 2
    assert (
        0
        < made.card["raw"]["num_docs"]
        == int((curate.open_run(tmp_path / "run").plan()["repeats"] > 0).sum())
    )


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        ([], None, "targets.a has no n-grams: 0 documents, 0 unreadable"),
        (["", " \n", None], None, "targets.a has no n-grams: 3 documents, 1 unreadable"),
        ([b"\xff\xfe", b"\x80"], pa.binary(), "targets.a has no n-grams: 2 documents, 2 unreadable"),
    ],
)
def test_a_target_without_text_is_named(
    tmp_path: Path, texts: list[Any], kind: pa.DataType | None, message: str
) -> None:
    target = write(tmp_path / "target.parquet", texts, kind)
    with pytest.raises(DataError, match=message):
        curate.train_importance(settings(tmp_path, targets={"a": [target]}))
    with pytest.raises(DataError, match=message.replace("targets.a", "raw")):
        curate.train_importance(settings(tmp_path, raw=[target]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target.parquet"]


def test_one_bucket_has_a_weight_of_nothing(tmp_path: Path) -> None:
    made = curate.train_importance(settings(tmp_path, buckets=1))
    assert hashed_linear.load(made.path).weight.tolist() == [[0.0]]


def test_rows_that_cannot_be_read_are_counted_as_such(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.parquet", [b"a b", None, b"\xff", b""], pa.binary())
    found = curate.train_importance(settings(tmp_path, raw=[raw])).card["raw"]
    assert (found["num_docs"], found["num_unreadable"], found["num_ngrams"]) == (4, 2, 3)


def test_counts_have_to_fit_into_the_memory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="268,435,456 buckets and 1 targets need more memory than there is"):
        curate.train_importance(settings(tmp_path, buckets=1 << 28), memory="1GiB")
    many = settings(tmp_path, buckets=1 << 18)
    assert curate.train_importance(many, memory="256MiB", num_threads=2).card["raw"]["num_ngrams"] > 0


def test_the_settings_of_the_repository_give_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    output = f"output={tmp_path / 'books.safetensors'}"
    made = curate.train_importance("configs/train/importance.yaml", overrides=[output])
    assert made.card["name"] == "importance" and made.card["model"]["outputs"] == ["books"]
    assert made.card["targets"]["books"]["divergence"] > 0.1


def test_the_command_prints_card_or_error(curate: Curate, tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path)), encoding="utf-8")
    done = curate("train", "importance", path, "--json", "--quiet")
    assert done.code == 0 and done.value["is_new"] and done.value["name"] == "train"
    done = curate("train", "importance", path, "--quiet")
    assert "found" in done.out and "nats per n-gram from raw" in done.out
    for change, code, error in (
        ("bucket=1", 2, "did you mean `buckets`"),
        ("raw=[{paths: none.parquet}]", 2, "none.parquet"),
        ("raw=[{paths: '" + str(SAMPLE) + "/part-*.parquet', text: body}]", 1, "body"),
        ("targets.code=[{paths: '" + str(SAMPLE) + "/part-*.parquet', where: 'x > 1'}]", 2, "x"),
    ):
        done = curate("train", "importance", path, "--quiet", "--set", change)
        assert (done.code, done.out) == (code, "") and error in done.err
