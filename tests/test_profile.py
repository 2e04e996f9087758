import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curate.errors import DataError
from curate.filters.rules import Rule
from curate.profile import Sample, find_column, plain, profile, quote, share, spread
from curate.shards import Input

SAMPLE = Path(__file__).parent.parent / "sample"


def write(path: Path, **columns: list[Any]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def recipe_of(text: str) -> dict[str, Any]:
    recipe = yaml.safe_load(text)
    assert isinstance(recipe, dict)
    return recipe


def test_the_sample_gives_a_recipe_with_its_columns_and_presets() -> None:
    text = profile(Input(paths=[f"{SAMPLE}/*.parquet", f"{SAMPLE}/*.jsonl.gz"]))
    recipe = recipe_of(text)
    assert list(recipe) == ["input", "measure", "filter", "dedup", "plan", "output", "run", "store"]
    assert (recipe["input"]["text"], recipe["input"]["id"], recipe["input"]["source"]) == (
        "text",
        "id",
        "source",
    )
    assert [entry["preset"] for entry in recipe["filter"]] == ["gopher", "fineweb"]
    assert "'en'" in recipe["filter"][0]["where"]
    assert recipe["plan"]["pools"] == {"by": "source"}
    assert "4 shards (1 jsonl, 3 parquet)" in text and "are copies" in text


def test_a_text_column_of_another_name_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", content=["the end of that"], key=[1])
    recipe = recipe_of(profile(Input(paths=path)))
    assert recipe["input"]["text"] == "content"
    assert recipe["input"]["id"] is None and recipe["input"]["source"] is None
    assert "pools" not in recipe["plan"]


def test_a_text_field_of_another_name_is_found_in_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"body": f"document {n}", "url": f"u{n}"}) + "\n" for n in range(5))
    recipe = recipe_of(profile(Input(paths=str(path))))
    assert (recipe["input"]["text"], recipe["input"]["id"]) == ("body", "url")


def test_without_any_text_column_the_error_names_the_one_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", number=[1])
    with pytest.raises(DataError, match="prose"):
        profile(Input(paths=path, text="prose"))


def test_texts_that_are_not_english_get_no_english_preset(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=["\u4e2d\u6587\u6587\u672c"] * 9, id=list(range(9)))
    recipe = recipe_of(profile(Input(paths=path)))
    assert [entry["reason"] for entry in recipe["filter"]] == ["user.empty"]
    assert Rule.model_validate(recipe["filter"][0]).columns() == ("document.num_words",)


def test_values_of_the_input_cannot_break_out_of_a_comment(tmp_path: Path) -> None:
    bad = "x\nrun: /etc\u2028\u0085- y"
    path = write(tmp_path / "a.parquet", text=["a"] * 4, source=[bad] * 4, lang=[bad, bad, "en", "en"])
    recipe = recipe_of(profile(Input(paths=path)))
    assert recipe["run"] == "runs/first"


def test_empty_shards_give_a_recipe(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert recipe_of(profile(Input(paths=str(tmp_path))))["input"]["text"] == "text"


def test_no_more_documents_are_read_than_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=["word"] * 5000)
    assert "the first 100 documents" in profile(Input(paths=path), sample_docs=100)


def test_an_id_has_a_value_of_its_own_and_a_source_repeats() -> None:
    sample = Sample(
        num_docs=4, values={"id": Counter("aabb"), "url": Counter("abcd"), "domain": Counter("abab")}
    )
    assert find_column(sample, ("id", "url"), unique=True) == "url"
    assert find_column(sample, ("url", "domain"), unique=False) == "domain"


def test_shards_are_chosen_evenly() -> None:
    assert spread(list(range(100)), 4) == [0, 25, 50, 75]  # type: ignore[arg-type, comparison-overlap]
    assert spread([1, 2], 8) == [1, 2]  # type: ignore[list-item, comparison-overlap]


@pytest.mark.parametrize(
    ("count", "total", "text"), [(0, 5, "0 %"), (1, 500, "<1 %"), (1, 4, "25 %"), (0, 0, "0 %")]
)
def test_what_is_there_is_never_zero_percent(count: int, total: int, text: str) -> None:
    assert share(count, total) == text


@pytest.mark.parametrize("value", ["a b", "x: y", None, ["a", "#b"], {"k": "v"}, "line\nbreak", "\u00e9"])
def test_quoted_values_are_one_line_and_read_back(value: object) -> None:
    assert "\n" not in quote(value)
    assert yaml.safe_load(f"key: {quote(value)}") == {"key": value}


def test_plain_values_are_printable_ascii() -> None:
    assert plain("a\n\u00e9\x1b").isprintable() and plain("a\n\u00e9").isascii()
