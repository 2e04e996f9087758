"""Transforms that see the whole corpus, from shards to written text: order, ledger, kills, refusals."""

import signal
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate import pipeline
from curate.errors import ConfigError, StateError
from curate.pipeline import Limits, Session, load_recipe
from tests.pipeline.runs_in_process import empty, make_corpus, make_recipe, start, tree
from tests.reference import c4, parts

FOOTER = "\n\nAll rights of this page are reserved.\nShare it with your friends and family."
LINES = {"duplicate_parts": {"unit": "line"}}
BLOOM = {"unit": "line", "method": "bloom", "expected_parts": 100_000, "false_positive_rate": 1e-6}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """The sample with a footer below every second text, in three Parquet shards and one of JSONL."""
    folder = tmp_path / "shards"
    make_corpus(folder, num_copies=1, max_rows=60)
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        texts = [text + FOOTER if row % 2 else text for row, text in enumerate(table["text"].to_pylist())]
        texts[5] = None if path.stem.startswith("part-1") else FOOTER
        table = table.set_column(table.schema.get_field_index("text"), "text", pa.array(texts))
        pq.write_table(table, path, row_group_size=25)
    pl.read_parquet(folder / "part-1-0.parquet").write_ndjson(folder / "part-1-1.jsonl")
    return folder


@pytest.fixture
def recipe(shards: Path, tmp_path: Path) -> dict[str, Any]:
    """Everything that is read is written."""
    return {
        "name": "test",
        "input": {"paths": [f"{shards}/*.parquet", f"{shards}/*.jsonl"]},
        "measure": ["tokens"],
        "transform": [LINES],
        "output": {"path": str(tmp_path / "out")},
        "run": str(tmp_path / "run"),
        "store": str(tmp_path / "store"),
    }


def given(shards: Path) -> pl.DataFrame:
    """The corpus in key order."""
    frames = []
    for path in sorted(shards.iterdir()):
        frames.append(pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path))
    return pl.concat(
        [frame.select(pl.col("id", "text", "lang", "source").cast(pl.String)) for frame in frames]
    )


def expected(texts: list[str | None], unit: str = "line", scopes: list[Any] | None = None) -> list[str]:
    """What is left of each text, empty ones left out."""
    readable = [text or "" for text in texts]
    found = parts.duplicates(readable, scopes or [0] * len(texts), unit, 5)
    left = [parts.remove(text, unit, numbers) for text, numbers in zip(readable, found, strict=True)]
    gone = zip(left, readable, texts, strict=True)
    return [after for after, before, raw in gone if raw is not None and (after or not before)]


def written(recipe: dict[str, Any]) -> list[str]:
    return pl.read_parquet(f"{recipe['output']['path']}/*.parquet")["text"].to_list()


@pytest.mark.parametrize("unit", ["line", "paragraph"])
def test_the_first_occurrence_in_key_order_stays_and_the_rest_reads_well(recipe, shards, unit):
    recipe["transform"] = [{"duplicate_parts": {"unit": unit}}]
    run = curate.run(recipe)
    assert run.verify()[0] == []
    texts = given(shards)["text"].to_list()
    assert written(recipe) == expected(texts, unit)
    assert sum(text.count("Share it with your friends") for text in written(recipe)) == 1
    recipe["transform"] = [{"duplicate_parts": {**BLOOM, "unit": unit}}]
    curate.run(recipe)
    assert written(recipe) == expected(texts, unit)


def test_ledger_report_explanation_and_columns_say_what_was_removed(recipe, shards):
    run = curate.run({**recipe, "transform": [{"c4_lines": {"where": "lang = 'xx'"}}, LINES]})
    names = ["duplicate_parts.num_bytes", "duplicate_parts.num_parts", "duplicate_parts.is_duplicate"]
    columns = run.columns([*names, "edits.num_bytes", "document.num_bytes", "c4_lines.num_bytes"])
    kept = run.plan()["repeats"] > 0
    _, entry = run.plan_file.header["edits"]
    removed = columns[names[0]]
    assert entry["bytes_removed"] == removed.sum() == columns["edits.num_bytes"].sum() > 0
    assert columns["c4_lines.num_bytes"].sum() == 0
    assert entry["docs"] == (removed > 0).sum()
    assert entry["parts_removed"] == columns[names[1]].sum() > entry["kept_parts_removed"] > 0
    assert entry["kept_bytes_removed"] == removed.filter(kept).sum()
    reasons = run.plan()["reasons"].cast(pl.List(pl.String)).list.join(" ")
    assert (reasons == "duplicate_parts.duplicate").to_list() == columns[names[2]].fill_null(False).to_list()
    dropped = [row for row, reason in enumerate(reasons) if reason == "duplicate_parts.duplicate"]
    place = run.plan().with_row_index("at").row(dropped[0], named=True)
    text = curate.explain(run.path, f"{place['shard']}:{place['row']}")[0].text()
    size, num_parts = columns["document.num_bytes"][dropped[0]], columns[names[1]][dropped[0]]
    assert f"removed {size} of {size} bytes in {num_parts} duplicate parts" in text
    assert "dropped, first by duplicate_parts.duplicate" in text and "threshold" not in text
    page = (run.path / "report.html").read_text()
    assert "<h2>Transforms</h2>" in page and f"{entry['bytes_removed']:,}" in page.replace("\u202f", ",")
    assert f"edited     duplicate_parts: {entry['docs']:,} documents" in run.as_text()


def test_values_of_a_column_are_apart(recipe, shards):
    recipe["transform"] = [{"duplicate_parts": {"unit": "line", "within": "source"}}]
    curate.run(recipe)
    frame = given(shards)
    assert written(recipe) == expected(frame["text"].to_list(), scopes=frame["source"].to_list())


def test_transforms_apply_one_after_the_other(recipe, shards):
    overlap = {"ngram_overlap": {"ngram": 3, "expected_ngrams": 100_000, "false_positive_rate": 1e-6}}
    recipe["transform"] = ["c4_lines", LINES, overlap]
    run = curate.run(recipe)
    texts = [None if text is None else c4.rewrite(text) for text in given(shards)["text"]]
    readable = [text or "" for text in texts]
    found = parts.duplicates(readable, [0] * len(texts), "line", 5)
    once = [parts.remove(text, "line", numbers) for text, numbers in zip(readable, found, strict=True)]
    options = {"unit": "line", "ngram": 3, "min_words": 3, "threshold": 0.8}
    twice = [
        parts.remove(text, "line", *flags)
        for text, flags in zip(once, parts.overlap(once, **options), strict=True)
    ]
    sizes = run.columns(["document.num_bytes", "edits.num_bytes"])
    left = (sizes["document.num_bytes"] - sizes["edits.num_bytes"]).fill_null(0)
    assert left.to_list() == [len(text.encode()) for text in twice]
    raw = given(shards)["text"].to_list()
    kept = (run.plan()["repeats"] > 0).to_list()
    assert written(recipe) == [text for text, here in zip(twice, kept, strict=True) if here]
    assert sum(kept) == sum(
        text is not None and bool(after or not before)
        for text, before, after in zip(raw, readable, twice, strict=True)
    )


def test_copies_of_a_shard_lose_what_the_first_one_has(recipe, shards):
    (shards / "part-9.parquet").write_bytes((shards / "part-0-0.parquet").read_bytes())
    curate.run(recipe)
    texts = given(shards)["text"].to_list()
    assert written(recipe) == expected(texts)


@pytest.mark.parametrize("method", ["exact", "bloom"])
def test_bytes_do_not_depend_on_threads_memory_or_what_was_done_before(recipe, tmp_path, monkeypatch, method):
    recipe["transform"] = [{"duplicate_parts": BLOOM if method == "bloom" else LINES["duplicate_parts"]}]
    trees = []
    for number, limits in enumerate((Limits(num_threads=2), Limits(memory_bytes=128 << 20))):
        monkeypatch.setattr(Limits, "batch_bytes", (1 << 14) if number else (1 << 22))
        places = {"run": f"{tmp_path}/{number}/run", "store": f"{tmp_path}/{number}/store"}
        made = {**recipe, **places, "output": {"path": f"{tmp_path}/{number}/out"}}
        pipeline.run_steps(Session(load_recipe(made), limits=limits))
        trees.append(tree(tmp_path / str(number)))
    assert without_places(trees[0]) == without_places(trees[1])
    # Of the parts found some are lost: they come again as they were, whatever is still there.
    store = tmp_path / "0" / "store"
    lost = sorted(store.glob("columns/duplicate_parts-*/*.parquet"))
    lost[0].unlink()
    lost[-1].unlink()
    made = {
        **recipe,
        "run": f"{tmp_path}/0/run",
        "store": str(store),
        "output": {"path": f"{tmp_path}/0/out"},
    }
    pipeline.run_steps(Session(load_recipe(made)))
    again = {name: value for name, value in tree(tmp_path / "0").items() if "damaged" not in name}
    assert again == trees[0]


def without_places(found: dict[str, str]) -> dict[str, str]:
    """Files whose bytes name no folder."""
    named = ("run/recipe.yaml", "run/current.json", "run/output.json")
    return {name: value for name, value in found.items() if name not in named}


def test_a_run_that_is_killed_while_it_finds_parts_is_completed_with_the_same_bytes(tmp_path):
    make_corpus(tmp_path / "shards", num_copies=2)
    recipe = {**make_recipe(tmp_path / "shards"), "transform": [LINES]}
    whole = start(tmp_path / "work", recipe, "--threads", "1", bucket_bytes=1 << 20)
    assert whole.communicate() and whole.returncode == 0
    expected_tree = tree(tmp_path / "work")
    empty(tmp_path / "work")
    killed = start(tmp_path / "work", recipe, "--threads", "1", bucket_bytes=1 << 20)
    assert killed.stderr is not None
    for line in killed.stderr:
        if line.startswith("transform:"):
            break
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.stderr.close()
    assert not (tmp_path / "work" / "run" / "current.json").exists()
    again = start(tmp_path / "work", recipe, "--threads", "2", bucket_bytes=1 << 20)
    assert again.communicate() and again.returncode == 0
    pipeline.open_run(tmp_path / "work" / "run").gc(grace_s=0)
    assert tree(tmp_path / "work") == expected_tree


def test_more_parts_than_expected_are_a_warning_and_in_the_ledger(recipe):
    class Watcher(pipeline.Silent):
        warnings: ClassVar[list[str]] = []

        def warn(self, text: str) -> None:
            self.warnings.append(text)

    recipe["transform"] = [{"duplicate_parts": {**BLOOM, "expected_parts": 100}}]
    run = pipeline.run_steps(Session(load_recipe(recipe), progress=Watcher()), write=False)
    assert "more than expected" in Watcher.warnings[0]
    entry = run.plan_file.header["edits"][0]
    assert entry["num_items"] > 100 and entry["false_positive_rate"] > 1e-6


def test_another_part_waits_for_the_first(recipe):
    with pytest.raises(StateError, match="has not seen the whole corpus"):
        curate.measure(recipe, part=(2, 2))
    curate.measure(recipe, part=(1, 2))
    run = curate.measure(recipe, part=(2, 2))
    assert run.status()["measured"] == run.status()["pieces"] > 3


def test_a_dry_run_names_the_pass_over_the_corpus(recipe):
    forecast = pipeline.forecast(Session(load_recipe(recipe)), write=False)
    assert forecast.steps["transform"] == "all texts to read for duplicate_parts"
    curate.plan(recipe)
    assert pipeline.forecast(Session(load_recipe(recipe)), write=False).steps["transform"] == "cached"


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ([LINES, LINES], "transform has one twice: duplicate_parts"),
        (
            [{"duplicate_parts": {"within": "nowhere"}}],
            "names no column of the input with plain values: nowhere",
        ),
        ([{"ngram_overlap": {"expected_ngrams": 10**12}}], "more than half of the memory budget"),
        ([{"duplicate_parts": {"method": "bloom"}}], "needs `expected_parts`"),
        ([{"ngram_overlap": {}}], "expected_ngrams"),
    ],
)
def test_what_cannot_work_is_refused_before_texts_are_read(recipe, transform, message):
    with pytest.raises(ConfigError, match=message):
        curate.run({**recipe, "transform": transform})
