"""Text read through edits: what is measured, what is written, what the ledger says."""

import polars as pl
import pytest

import curate
from curate.errors import ConfigError
from curate.pipeline import load_recipe
from tests.reference import c4


@pytest.fixture
def edited(recipe):
    recipe["transform"] = [{"c4_lines": {"where": "lang = 'en'"}}]
    recipe["filter"] = [
        {"reason": "user.empty", "drop": "tokens.bytes_ascii_lower = 0", "where": "lang = 'en'"}
    ]
    recipe["plan"] = {"order": "input"}
    return recipe


def test_written_text_is_the_text_without_the_removed_lines(edited, tmp_path):
    run = curate.run(edited)
    assert run.verify()[0] == []
    given = run.columns(["id", "lang", "doc_id", "document.num_bytes", "edits.num_bytes"])
    given = given.with_columns(kept=run.plan()["repeats"] > 0).filter("kept")
    written = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert written["id"].to_list() == given["id"].to_list()
    sizes = given["document.num_bytes"] - given["edits.num_bytes"]
    assert written["text"].str.len_bytes().to_list() == sizes.to_list()
    raw = {
        **edited,
        "transform": [],
        "run": str(tmp_path / "raw"),
        "output": {"path": str(tmp_path / "raw-out")},
    }
    curate.run({**raw, "filter": []})
    originals = dict(pl.read_parquet(tmp_path / "raw-out" / "*.parquet").select("id", "text").iter_rows())
    for id_, lang, text in written.select("id", "lang", "text").iter_rows():
        expected = c4.rewrite(originals[id_]) if lang == "en" else originals[id_]
        assert text == expected


def test_the_ledger_of_edits_counts_documents_and_bytes(edited):
    run = curate.plan(edited)
    removed = run.columns(["edits.num_bytes"])["edits.num_bytes"]
    kept = run.plan()["repeats"] > 0
    entry = run.plan_file.header["edits"][0]
    assert entry["name"] == "c4_lines"
    assert (entry["docs"], entry["bytes_removed"]) == ((removed > 0).sum(), removed.sum()) > (0, 0)
    assert entry["kept_bytes_removed"] == removed.filter(kept).sum()


def test_columns_of_another_view_are_measured_anew_and_document_is_not(edited, recipe):
    curate.measure({**recipe, "transform": []})
    run = curate.measure(edited)
    passes = {tuple(sorted(one.stages)) for one in run.session.store.passes()}
    assert passes == {
        ("document", "heuristics", "identity", "input", "tokens"),
        ("edits", "heuristics", "tokens"),
    }


def test_a_transform_that_is_not_known_is_refused(edited):
    with pytest.raises(ConfigError, match="c4_lines, duplicate_parts, ngram_overlap: c4_words"):
        load_recipe({**edited, "transform": ["c4_words"]})
