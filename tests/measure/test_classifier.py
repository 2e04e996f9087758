"""fastText stages beyond label and score: named labels, grades, parts of documents, languages mixed."""

import hashlib
import importlib
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate import text as native
from curate.errors import ConfigError, DataError
from curate.measure import Classifier, FastText, Heuristics, Language
from curate.measure.fasttext import describe
from tests.reference import fasttext

pipeline_measure = importlib.import_module("curate.pipeline.measure")
SAMPLE = Path(__file__).parents[2] / "sample"
PIECES = st.sampled_from(
    ["a", "bc", "\u00e9", "ab c", ". ", "! ", "\u3002", "\n", "\n\n", " ", "\t", "x_1", "."]
)
ROWS = st.lists(st.lists(PIECES, max_size=14).map("".join), max_size=5)
TOLERANCE = 2e-6


def model_of(labels: list[str], *, seed: int = 1, loss: fasttext.Loss = "softmax") -> fasttext.Model:
    made = fasttext.random_model(seed, loss=loss, dim=5, num_labels=len(labels), max_chars=3, ngrams=2)
    return fasttext.Model(**{**made.__dict__, "labels": labels})


TWO = model_of(["hq", "cc"])
GRADES = model_of(["0", "1", "2", "3"], seed=2)
LANGUAGES = model_of(["eng_Latn", "deu_Latn", "zho_Hani", "xx"], seed=3, loss="hs")
MODELS = {"two": TWO, "grades": GRADES, "languages": LANGUAGES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    for name, model in MODELS.items():
        (path / f"{name}.bin").write_bytes(fasttext.to_bytes(model))
    return path


def annotate(stage: FastText, rows: list[str]) -> list[dict[str, Any]]:
    found = stage.annotate(pa.array(rows, pa.large_string()))
    assert tuple(found.schema.names) == stage.columns()
    rows_found: list[dict[str, Any]] = found.to_pylist()
    return rows_found


@pytest.mark.parametrize("unit", ["document", "line", "paragraph", "sentence"])
@pytest.mark.parametrize("aggregate", ["mean", "max", "length_weighted"])
@given(rows=ROWS)
def test_the_score_is_that_of_the_named_label_over_the_parts(
    folder: Path, unit: Any, aggregate: Any, rows: list[str]
) -> None:
    stage = Classifier(
        model=folder / "two.bin", score="hq", labels=("cc", "hq"), unit=unit, aggregate=aggregate
    )
    for text, row in zip(rows, annotate(stage, rows), strict=True):
        expected = fasttext.aggregated(TWO, text, unit, aggregate)
        if not expected:
            assert set(row.values()) == {None}, text
            continue
        assert math.isclose(row["quality.score"], expected[0], abs_tol=TOLERANCE), text
        assert row["quality.score_hq"] == row["quality.score"]
        assert math.isclose(row["quality.score_cc"], expected[1], abs_tol=TOLERANCE), text
        assert expected[TWO.labels.index(row["quality.label"])] >= max(expected) - TOLERANCE


@given(rows=ROWS)
def test_the_grade_is_the_mean_of_the_labels_as_numbers(folder: Path, rows: list[str]) -> None:
    stage = Classifier(model=folder / "grades.bin", name="edu", grade=True, top=2)
    for text, row in zip(rows, annotate(stage, rows), strict=True):
        expected = fasttext.probabilities(GRADES, text)
        mean = sum(grade * share for grade, share in enumerate(expected)) / sum(expected)
        assert math.isclose(row["edu.grade"], mean, abs_tol=1e-5), text
        best = sorted(expected, reverse=True)
        assert math.isclose(row["edu.score"], best[0], abs_tol=TOLERANCE)
        assert math.isclose(row["edu.score_2"], best[1], abs_tol=TOLERANCE)
        assert row["edu.label"] != row["edu.label_2"]


@pytest.mark.parametrize("unit", ["document", "line", "paragraph", "sentence"])
@given(rows=ROWS)
def test_the_mix_says_which_languages_the_parts_are_in(folder: Path, unit: Any, rows: list[str]) -> None:
    stage = Language(model=folder / "languages.bin", mix=True, script=True, unit=unit)
    parts = "paragraph" if unit == "document" else unit
    for text, row in zip(rows, annotate(stage, rows), strict=True):
        label = row["language.label"]
        expected = fasttext.shares(LANGUAGES, text, parts)
        if label is None:
            assert not fasttext.aggregated(LANGUAGES, text, unit, "mean")
            assert row["language.mix"] is None
            continue
        found = json.loads(row["language.mix"])
        assert found == pytest.approx(expected, abs=6e-4), text
        assert list(found.values()) == sorted(found.values(), reverse=True)
        if not expected:
            assert row["language.main_frac"] is None
        else:
            assert math.isclose(row["language.main_frac"], expected.get(label, 0.0), abs_tol=1e-6), text
        code, _, script = label.partition("_")
        assert row["language.code"] == code
        if script:
            assert row["language.script"] == script


@given(rows=ROWS)
def test_models_in_one_pass_are_models_apart_with_any_threads(folder: Path, rows: list[str]) -> None:
    stages = [
        Heuristics(),
        Classifier(model=folder / "two.bin", score="hq"),
        Classifier(model=folder / "grades.bin", name="edu", grade=True, unit="sentence"),
        Language(model=folder / "languages.bin", mix=True),
        Language(model=folder / "languages.bin", name="second", top=3),
    ]
    texts = pa.array([*rows, None], pa.large_string())
    spec = native.NativeSpec.union([stage.needs() for stage in stages])
    fused = native.measure(texts, spec)
    for stage in stages:
        assert fused.select(list(stage.columns())).equals(stage.annotate(texts, num_threads=2))


def test_what_a_label_names_wins_over_the_script_of_the_text(folder: Path) -> None:
    model = model_of(["xx", "yy"], seed=5)
    path = folder / "plain.bin"
    path.write_bytes(fasttext.to_bytes(model))
    rows = ["abc", "\u4e2d\u6587", "\u0431\u0432", "12"]
    found = annotate(Language(model=path, script=True), rows)
    assert [row["language.script"] for row in found] == ["Latn", "Hani", "Cyrl", None]
    assert {row["language.code"] for row in found} <= {"xx", "yy"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score": "nope"}, "quality has no label nope; there are hq, cc"),
        ({"labels": ("hq", "zz")}, "quality has no label zz"),
        ({"top": 3}, r"quality\.top is between 1 and 2, not: 3"),
        ({"grade": True}, r"quality\.grade needs labels that are numbers, not: hq, cc"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_errors(
    folder: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        annotate(Classifier(model=folder / "two.bin", **settings), [])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "gopher"}, "a name is lower-case letters"),
        ({"name": "A b"}, "a name is lower-case letters"),
        ({"labels": ["2"], "top": 2}, "two columns have one name"),
        ({"labels": ["a", "a"]}, "labels are named twice"),
        ({"top": 0}, r"measure\[0\]\.classifier\.top"),
    ],
)
def test_settings_that_fit_no_model_are_errors_of_the_recipe(entry: dict[str, Any], message: str) -> None:
    recipe = {"input": {"paths": "x.parquet"}, "measure": [{"classifier": {"model": "m.bin", **entry}}]}
    with pytest.raises(ConfigError, match=message):
        curate.run(recipe)


def test_a_recipe_runs_several_models_and_filters_by_language(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    models = [
        {"classifier": {"model": "two.bin", "score": "hq"}},
        {"classifier": {"model": "grades.bin", "name": "edu", "grade": True}},
        {"language": {"model": "languages.bin", "top": 2}},
    ]
    keep = ["eng_Latn", "zho_Hani"]
    language = {"preset": "language", "keep": keep, "min_score": 0.35}
    recipe: dict[str, Any] = {
        "input": {"paths": str(SAMPLE / "part-0.parquet")},
        "measure": models,
        "filter": [{**language, "limits": {"eng_Latn": {"min_score": 0.4}}}],
        "plan": {"budget": 0.25, "select": {"method": "threshold", "score": "quality.score"}},
        "run": str(tmp_path / "run"),
    }
    run = curate.run(recipe, write=False)
    columns, plan = run.columns(["language.label", "language.score", "quality.score"]), run.plan()
    reasons = plan["reasons"].list
    label, score = columns["language.label"], columns["language.score"]
    assert (reasons.contains("language.not_kept") == ~label.is_in(keep)).all()
    low = (score < 0.35) | ((label == "eng_Latn") & (score < 0.4))
    assert (reasons.contains("language.low_score") == low).all()
    assert 0 < int(low.sum()) < len(low)
    kept = columns["quality.score"].filter(plan["repeats"] > 0)
    cut = columns["quality.score"].filter(reasons.contains("plan.below_threshold"))
    assert kept.min() > cut.max()
    monkeypatch.chdir(tmp_path)
    assert curate.open_run(tmp_path / "run").status()["measured"] == 1
    with pytest.raises(ConfigError, match="measure has a stage twice: quality"):
        curate.run({**recipe, "measure": [models[0], models[0]]}, write=False)
    (folder / "two.bin").rename(folder / "moved.bin")
    with pytest.raises(DataError, match=r"quality\.model is not a file"):
        curate.run(recipe, write=False)
    (folder / "moved.bin").rename(folder / "two.bin")


def test_a_model_is_described(folder: Path) -> None:
    path = folder / "languages.bin"
    facts = describe(path)
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [entry["label"] for entry in facts["labels"]] == LANGUAGES.labels
    assert [entry["count"] for entry in facts["labels"]] == LANGUAGES.counts
    found = {name: facts[name] for name in ("loss", "dim", "num_words", "word_ngrams", "max_chars")}
    assert found == {
        "loss": "hs",
        "dim": 5,
        "num_words": len(LANGUAGES.words),
        "word_ngrams": 2,
        "max_chars": 3,
    }
    assert facts["is_folded"] and not facts["is_quantised"] and facts["num_kept_buckets"] is None
    with pytest.raises(DataError, match="the model is not a file"):
        describe(folder / "none.bin")


def test_a_model_that_is_replaced_during_a_run_is_an_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes((folder / "two.bin").read_bytes())
    spec = Classifier(model=path).needs()
    path.write_bytes(fasttext.to_bytes(model_of(["hq", "cc"], seed=9)))
    with pytest.raises(DataError, match="the model changed meanwhile"):
        native.measure(pa.array(["a"], pa.large_string()), spec)
    recipe: dict[str, Any] = {
        "input": {"paths": f"{SAMPLE}/*.parquet"},
        "measure": [{"classifier": {"model": str(path), "score": "hq"}}],
        "run": str(tmp_path / "run"),
        "store": str(tmp_path / "store"),
    }
    real = pipeline_measure.measure_piece

    def replaced(session: Any, entry: Any, missing: list[str]) -> int:
        num_bytes = real(session, entry, missing)
        path.write_bytes((folder / "two.bin").read_bytes())
        return num_bytes

    monkeypatch.setattr(pipeline_measure, "measure_piece", replaced)
    run = curate.run(recipe, write=False)
    scores = run.columns(["quality.score"])["quality.score"]
    monkeypatch.undo()
    path.write_bytes(fasttext.to_bytes(model_of(["hq", "cc"], seed=9)))
    fresh = {**recipe, "run": str(tmp_path / "fresh"), "store": str(tmp_path / "fresh-store")}
    assert scores.equals(curate.run(fresh, write=False).columns(["quality.score"])["quality.score"])


def test_a_word_that_ends_the_line_ends_the_text(folder: Path) -> None:
    rows = ["ab c", "ab c </s> b a", "ab c </s>", "ab c </s>x"]
    found = [row["quality.score"] for row in annotate(Classifier(model=folder / "two.bin", score="hq"), rows)]
    assert found[0] == found[1] == found[2] != found[3]
