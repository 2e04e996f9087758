"""`curate dedup` from the command line: what it finds, the largest clusters, why a document was dropped."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import curate as package
from curate.report.differences import MAX_WORDS, compare, side_by_side
from tests.pipeline.near_corpus import make_recipe, make_rows, write


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return make_rows(num_originals=60, num_template=30, seed=5)


@pytest.fixture(scope="module")
def home(rows, tmp_path_factory) -> Path:
    """A folder with a recipe and its finished run."""
    folder = tmp_path_factory.mktemp("home")
    recipe = make_recipe(write(rows, folder / "shards"), folder)
    recipe["output"] = {"path": str(folder / "out")}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    package.run(recipe)
    return folder


def test_dedup_says_what_was_found_and_what_bands_expect(curate, rows, tmp_path):
    recipe = make_recipe(write(rows, tmp_path / "shards"), tmp_path)
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    done = curate("dedup", tmp_path / "recipe.yaml")
    assert done.code == 0
    assert f"documents  {len(rows)}" in done.out
    assert "bands      17 of 7 rows: 98.2% of pairs at Jaccard 0.8 become candidates" in done.out
    assert re.search(r"pairs +\d+ candidates, \d+ verified, \d+ rejected", done.out)
    assert re.search(r"bounded +\d+ groups", done.out)
    again = curate("dedup", tmp_path / "recipe.yaml", "--json").value
    assert again["num_cached"] == 1 and again["found"]["near"]["num_edges"] > 20


def test_dedup_measures_nothing_else(curate, rows, tmp_path):
    recipe = make_recipe(write(rows, tmp_path / "shards"), tmp_path)
    (tmp_path / "recipe.yaml").write_text(json.dumps({**recipe, "measure": ["minhash", "heuristics"]}))
    assert curate("dedup", tmp_path / "recipe.yaml", "-q").code == 0
    missing = curate("run", tmp_path / "recipe.yaml", "--dry-run", "--json").value["missing"]
    assert {name for name, number in missing.items() if not number} == {"input", "identity", "minhash"}


def test_a_dry_run_predicts_scratch_and_time(curate, rows, tmp_path):
    recipe = make_recipe(write(rows, tmp_path / "shards"), tmp_path)
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    found = curate("run", tmp_path / "recipe.yaml", "--dry-run", "--json").value["dedup"]
    assert found["candidates_bytes"] == len(rows) * 17 * 40 and found["verify_bytes"] > 100_000
    assert "near      candidates about" in curate("run", tmp_path / "recipe.yaml", "--dry-run").out


def test_the_largest_clusters_are_shown_side_by_side(curate, home):
    done = curate("dedup", "clusters", home / "run", "--largest", "2", "--members", "1")
    assert done.code == 0 and done.out.count("cluster ") == 2
    assert re.search(r"cluster \d+: 3\d documents, 1 kept; (books|wiki) \d+, ", done.out)
    assert re.search(r"^ +\S.* \* ", done.out, re.MULTILINE)
    views = curate("dedup", "clusters", home / "run", "--json").value
    sizes = [view["size"] for view in views]
    assert sizes == sorted(sizes, reverse=True) and len(views) == 20
    assert all(sum(view["sources"].values()) == view["size"] for view in views)


def test_explain_compares_the_dropped_with_the_kept(curate, home, rows):
    run = package.open_run(home / "run")
    reasons = run.plan()["reasons"].to_list()
    at = next(at for at, why in enumerate(reasons) if "minhash.duplicate" in why)
    done = curate("dedup", "explain", home / "run", f"id:{rows[at]['id']}")
    assert done.code == 0 and "is dropped: minhash.duplicate" in done.out
    assert "exact jaccard of word 5-grams, threshold 0.8" in done.out
    kept = next(at for at, why in enumerate(reasons) if not why)
    refused = curate("dedup", "explain", home / "run", f"id:{rows[kept]['id']}")
    assert refused.code == 1 and "not dropped as a duplicate" in refused.err
    assert "similarity" in curate("explain", home / "run", f"id:{rows[at]['id']}").out


def test_the_report_shows_the_largest_clusters(home):
    page = (home / "run" / "report.html").read_text()
    assert "Largest clusters of near duplicates" in page
    report = json.loads((home / "run" / "report.json").read_bytes())
    assert len(report["clusters"]) == 20 and report["clusters"][0]["kept"] == 1


def test_a_recipe_without_near_duplicates_has_no_clusters(curate, tmp_path, rows):
    recipe = make_recipe(write(rows, tmp_path / "shards"), tmp_path)
    del recipe["dedup"]
    run = package.plan(recipe)
    done = curate("dedup", "clusters", run.path)
    assert done.code == 1 and "does not look for near duplicates" in done.err


def test_help_of_the_group_and_of_its_default(curate):
    assert "clusters" in curate("dedup", "--help").out
    assert "RECIPE" in curate("dedup", "find", "--help").out


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("a b c", "a b c", [(True, "a b c", "a b c")]),
        ("a b c", "a x c", [(True, "a", "a"), (False, "b", "x"), (True, "c", "c")]),
        ("", "a", [(False, "", "a")]),
        ("", "", []),
    ],
)
def test_stretches(left, right, expected):
    assert [(each.is_same, each.left, each.right) for each in compare(left, right)] == expected


def test_long_texts_are_cut_and_equal_stretches_shortened():
    words = [f"w{at}" for at in range(MAX_WORDS + 10)]
    (only,) = compare(" ".join(words), " ".join(words))
    assert only.num_words == MAX_WORDS and f"[{MAX_WORDS - 12} words]" in only.left
    lines = side_by_side(compare("x " + "y" * 300, "z " + "y" * 300), width=60, max_lines=4)
    assert len(lines) == 5 and all(len(line) <= 60 for line in lines)
