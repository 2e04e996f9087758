"""The language stage and the fastText models behind it, against a slow twin; damaged models are errors."""

import itertools
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate.errors import ConfigError, DataError
from curate.measure import Language
from tests.reference import fasttext

TEXTS = st.text(
    st.sampled_from(["a", "b", "c", "\u00e9", "\u4e2d", " ", "\n", "\t", "\0", "\u00a0", "<", "\U0001f600"]),
    max_size=40,
)
WORDS = st.sampled_from(["a", "ab", "</s>", "__label__l0", "__label__new", "\u00e9", "zz"])
ROWS = st.lists(st.one_of(TEXTS, st.lists(WORDS, max_size=12).map(" ".join)), max_size=6)

SHAPES: list[tuple[fasttext.Loss, int, int, int, int]] = [
    ("softmax", 6, 4, 0, 1),
    ("softmax", 6, 2, 0, 2),  # fewer labels than dimensions: folded
    ("softmax", 3, 5, 3, 3),
    ("hs", 4, 7, 4, 1),
    ("hs", 8, 2, 0, 2),
    ("hs", 4, 1, 0, 1),
    ("ns", 5, 3, 2, 2),
    ("ova", 3, 6, 0, 1),
]


def models() -> dict[str, fasttext.Model]:
    found = {}
    for seed, (loss, dim, num_labels, max_chars, ngrams) in enumerate(SHAPES):
        name = f"{loss}-{dim}x{num_labels}-{max_chars}-{ngrams}"
        model = fasttext.random_model(
            seed, loss=loss, dim=dim, num_labels=num_labels, max_chars=max_chars, ngrams=ngrams
        )
        found[name] = model
        found[f"{name}-quantised"] = fasttext.quantised(
            model, seed, has_norms=bool(seed % 2), part_width=1 + seed % 3
        )
        found[f"{name}-quantised-output"] = fasttext.quantised(
            model, seed, has_norms=not seed % 2, part_width=1 + seed % 2, with_output=True
        )
    return found


def small_models() -> dict[str, fasttext.Model]:
    """Models of a few kilobytes, with all parts that a file can have."""
    model = fasttext.random_model(9, loss="hs", dim=2, num_labels=3, max_chars=3, ngrams=2, num_buckets=5)
    both = fasttext.quantised(model, 9, has_norms=True, part_width=1, with_output=True)
    return {"dense": model, "quantised": both}


MODELS = models()


def load(path: Path) -> None:
    """Read a model, which the columns alone do not need."""
    Language(model=path).annotate(pa.array([], pa.large_string()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    for name, model in MODELS.items():
        (path / f"{name}.bin").write_bytes(fasttext.to_bytes(model))
    return path


@pytest.mark.parametrize("name", MODELS)
@given(rows=ROWS)
def test_labels_and_probabilities_are_those_of_the_twin(folder: Path, name: str, rows: list[str]) -> None:
    model = MODELS[name]
    found = Language(model=folder / f"{name}.bin").annotate(pa.array(rows, pa.large_string())).to_pylist()
    for text, row in zip(rows, found, strict=True):
        expected = fasttext.probabilities(model, text)
        label, score = row["language.label"], row["language.score"]
        if not expected:
            assert (label, score) == (None, None), text
            continue
        # A step of the table of the logistic function is up to 1/128: rounding may cross it.
        tolerance = 1 / 64 if model.loss in ("ns", "ova") else 2e-6
        assert math.isclose(score, max(expected), rel_tol=0, abs_tol=tolerance), text
        assert expected[model.labels.index(label)] >= max(expected) - tolerance, text


def test_null_and_broken_texts_give_nulls_and_threads_change_nothing(folder: Path) -> None:
    stage = Language(model=folder / "softmax-6x4-0-1.bin")
    rows = pa.array([b"a b", None, b"\xff", b""] * 100_000, pa.large_binary())
    one, two = (stage.annotate(rows, num_threads=count) for count in (1, 2))
    assert one.equals(two)
    first = one.slice(0, 4).to_pylist()
    assert [row["language.label"] is None for row in first] == [False, True, True, False]


@pytest.mark.parametrize("name", ["dense", "quantised"])
def test_every_truncation_of_a_model_is_an_error(tmp_path: Path, name: str) -> None:
    model = small_models()[name]
    data = fasttext.to_bytes(model)
    path = tmp_path / "short.bin"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match="no fastText model that can be read"):
            load(path)
    path.write_bytes(data)
    load(path)


def test_flipped_bytes_give_an_error_or_scores_and_never_a_crash(folder: Path, tmp_path: Path) -> None:
    texts = pa.array(["a b c", "\u00e9", ""], pa.large_string())
    num_errors = 0
    for name in ("hs-4x7-4-1", "softmax-6x2-0-2-quantised", "softmax-3x5-3-3-quantised-output"):
        data = (folder / f"{name}.bin").read_bytes()
        for place, flip in itertools.product(range(0, 900, 3), (0x01, 0x80, 0xFF)):
            path = tmp_path / f"{place}-{flip}.bin"
            path.write_bytes(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
            try:
                assert Language(model=path).annotate(texts).num_rows == 3
            except DataError:
                num_errors += 1
            path.unlink()
    assert num_errors > 300


@pytest.mark.parametrize(
    ("place", "number", "message"),
    [
        (0, 1, "it starts with 1"),
        (4, 99, "format version"),
        (8, 2**31 - 1, "the dimension is not between"),
        (8, 0, "the dimension is 0"),
        (32, 9, "the loss is 1 to 4"),
        (36, 1, "it is no classifier"),
        (40, -5, "the number of buckets is not between"),
        (64, 2**31 - 1, "the number of words and labels is not between"),
    ],
)
def test_absurd_numbers_are_named(
    folder: Path, tmp_path: Path, place: int, number: int, message: str
) -> None:
    data = (folder / "hs-4x7-4-1.bin").read_bytes()
    path = tmp_path / "absurd.bin"
    path.write_bytes(data[:place] + number.to_bytes(4, "little", signed=True) + data[place + 4 :])
    with pytest.raises(DataError, match=message):
        load(path)


@pytest.mark.parametrize("weight", [math.nan, math.inf, 1e13])
def test_weights_that_no_training_gives_are_named(tmp_path: Path, weight: float) -> None:
    model = fasttext.random_model(0, loss="softmax", dim=4, num_labels=2, max_chars=0, ngrams=1)
    model.input[3, 1] = -weight
    (tmp_path / "huge.bin").write_bytes(fasttext.to_bytes(model))
    with pytest.raises(DataError, match="the input matrix has a weight that is not below 1e12"):
        load(tmp_path / "huge.bin")


def test_a_missing_model_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"language\.model is not a file"):
        Language(model=tmp_path / "none.bin").needs()


def test_languages_are_filtered_by_expressions_over_their_columns(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    recipe: dict[str, Any] = {
        "input": {"paths": str(Path(__file__).parents[2] / "sample" / "part-0.parquet")},
        "measure": [{"language": {"model": "softmax-6x4-0-1.bin"}}],
        "filter": [{"reason": "language.not_l0", "drop": "language.label <> 'l0' OR language.score < 0.1"}],
        "run": str(tmp_path / "run"),
    }
    run = curate.run(recipe, write=False)
    columns, plan = run.columns(["language.label", "language.score"]), run.plan()
    dropped = (columns["language.label"] != "l0") | (columns["language.score"] < 0.1)
    assert (plan["reasons"].list.contains("language.not_l0") == dropped).all()
    assert int(dropped.sum()) > 0
    monkeypatch.chdir(tmp_path)
    assert curate.open_run(tmp_path / "run").status()["measured"] == 1
    with pytest.raises(ConfigError):
        curate.run({**recipe, "measure": [{"language": {}}]}, write=False)
