"""Hashed linear models against a slow twin, bit for bit, and what their scores do not depend on."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate import text
from curate.config import build
from curate.errors import ConfigError
from curate.measure import Document, HashedLinear, Heuristics
from curate.models import hashed_linear
from curate.models.hashed_linear import Description
from tests.reference import hashed_linear as twin

IS_PYTHON_3_11 = unicodedata.unidata_version == "14.0.0"
"""Whether this Python has the tables of characters that the models are defined by."""

MARKS = (
    "\u03a3",
    "A\u03a3",
    "\u0130",
    "\u00b9",
    "e\u0301",
    "\u0939\u093f",
    "\u2026",
    "\u3000",
    "\x1c",
    "\x85",
    "\0",
)
PLAIN = (" ", "\n", "\r\n", "a", "The", "the", "_", "-", "...", "don't", "3.14", "x" * 30, "x" * 70, "!" * 65)
CHARS = st.characters(exclude_categories=("Cs",), max_codepoint=None if IS_PYTHON_3_11 else 0x24F)
# What the twin of UAX #29 knows.
LATIN = st.sampled_from("aZ09_.,:;'\"- \n\t()!\u00e9\u00c9\u00f1\u0301\u00a0\u2019\u03b1")
PIECES = st.sampled_from(PLAIN + MARKS)
TEXTS = st.lists(st.one_of(PIECES, PIECES, st.text(CHARS, max_size=6)), max_size=30).map("".join)
LATIN_TEXTS = st.lists(st.one_of(st.sampled_from(PLAIN), st.text(LATIN, max_size=6)), max_size=30).map(
    "".join
)
ROWS: dict[str, Any] = {
    "wordpunct_lower": st.lists(TEXTS, max_size=5),
    "whitespace": st.lists(TEXTS, max_size=5),
    "uax29": st.lists(LATIN_TEXTS, max_size=5),
}

MODELS: dict[str, tuple[Description, int]] = {
    "dsir": (Description(outputs=("weight",)), 10_000),
    "long": (Description(outputs=("a", "b", "c"), ngrams=8, aggregate="mean", min_tokens=3), 1 << 16),
    "words": (Description(outputs=("a",), tokens="uax29", ngrams=3, hash="fnv", aggregate="mean"), 999_983),
    "one": (Description(outputs=("a", "b"), tokens="whitespace", ngrams=1, min_tokens=2), 1),
    "fnv": (Description(outputs=("a", "b"), hash="fnv", ngrams=4), 1 << 20),
    "pieces": (Description(outputs=("a",), tokens="whitespace", ngrams=5, hash="fnv"), 77),
    "upper": (Description(outputs=("a",), tokens="uax29", ngrams=2, min_tokens=1), 5_000),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(1)
    for name, (description, num_buckets) in MODELS.items():
        width = len(description.outputs)
        bias = rng.normal(size=width) if width > 1 else None
        hashed_linear.save(path / name, description, rng.normal(size=(num_buckets, width)), bias)
    return path


def annotate(stage: HashedLinear, rows: Any, **settings: Any) -> list[list[float] | None]:
    """The scores of each row; None where they are null, which all are then."""
    array = rows if isinstance(rows, pa.Array) else pa.array(rows, pa.large_string())
    found = []
    for row in stage.annotate(array, **settings).to_pylist():
        values = list(row.values())
        assert len({value is None for value in values}) == 1
        found.append(None if values[0] is None else values)
    return found


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
def test_scores_are_those_of_the_twin_to_the_last_bit(folder: Path, name: str, data: st.DataObject) -> None:
    rows = data.draw(ROWS[MODELS[name][0].tokens])
    model = hashed_linear.load(folder / name)
    stage = HashedLinear(name="x", model=folder / name)
    assert annotate(stage, rows) == [twin.scores(row, model) for row in rows]


def test_buckets_are_those_that_dsir_publishes(tmp_path: Path) -> None:
    weight = np.zeros((10_000, 1))
    weight[6720], weight[114] = 1, 100
    hashed_linear.save(tmp_path / "model", Description(outputs=("weight",)), weight)
    stage = HashedLinear(name="dsir", model=tmp_path / "model")
    assert stage.columns() == ("dsir.weight",)
    assert annotate(stage, ["Alice", "ALICE\nwent", "alice alice went"]) == [[1], [101], [102]]


@pytest.mark.skipif(not IS_PYTHON_3_11, reason="characters are those of Python 3.11")
def test_every_character_is_a_token_and_lowered_as_in_python(tmp_path: Path) -> None:
    description = Description(outputs=("a",), ngrams=1)
    weight = np.random.default_rng(2).normal(size=(1 << 16, 1))
    hashed_linear.save(tmp_path / "model", description, weight)
    model = hashed_linear.load(tmp_path / "model")
    # From there on only a few are assigned; tests of the table count the flags of all.
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (c < 0x32400 or c % 97 == 0)]
    codes += [*range(0xE0000, 0xE0200)]
    rows = []
    for start in range(0, len(codes), 100):
        chars = [chr(code) for code in codes[start : start + 100]]
        rows.append(" ".join(f"a{c}b {c}. {c}\u03a3 A\u03a3{c}d" for c in chars))
    stage = HashedLinear(name="x", model=tmp_path / "model")
    for row, found in zip(rows, annotate(stage, rows), strict=True):
        assert found == twin.scores(row, model), ascii(row)


@pytest.mark.parametrize("name", MODELS)
def test_texts_without_tokens_and_what_is_no_text_have_no_score(folder: Path, name: str) -> None:
    rows = pa.array([b"a b c d", None, b"\xff", b"", b" \n\t ", b"a b c d"], pa.large_binary())
    found = annotate(HashedLinear(name="x", model=folder / name), rows)
    assert found[0] is not None
    assert found == [found[0], None, None, None, None, found[0]]


def test_texts_with_fewer_tokens_than_asked_for_have_no_score(tmp_path: Path) -> None:
    for ngrams, shortest in ((1, 3), (2, 3), (4, 3)):
        description = Description(outputs=("a",), ngrams=ngrams, min_tokens=3)
        hashed_linear.save(tmp_path / f"{ngrams}", description, np.ones((100, 1)))
        stage = HashedLinear(name="x", model=tmp_path / f"{ngrams}")
        found = annotate(stage, ["a " * count for count in range(6)])
        assert [scores is not None for scores in found] == [count >= shortest for count in range(6)]


@pytest.mark.parametrize("words", ["uax29", "datatrove-en"])
def test_fused_stages_measure_what_each_measures_alone(folder: Path, words: text.WordMode) -> None:
    stages = [HashedLinear(name=name, model=folder / name) for name in MODELS]
    rows = pa.array([f"{n} It's {n % 7} e.g. caf\u00e9 \u6f22\u5b57, {n % 3}! " * 9 for n in range(300)])
    others = [Document(words=words), Heuristics(words=words)]
    spec = text.NativeSpec.union([stage.needs() for stage in (*others, *stages)])
    for num_threads in (1, 2):
        fused = text.measure(rows, spec, num_threads=num_threads)
        for stage in (*others, *stages):
            assert fused.select(list(stage.columns())).equals(stage.annotate(rows))


@pytest.mark.parametrize("name", ["dsir", "words"])
def test_threads_and_batches_change_nothing(folder: Path, name: str) -> None:
    stage = HashedLinear(name="x", model=folder / name)
    rng = np.random.default_rng(3)
    numbers = rng.integers(0, 90_000, size=(2000, 300))  # more words than are remembered
    rows = pa.array([" ".join(f"w{n}" for n in row) for row in numbers.tolist()], pa.large_string())
    one = annotate(stage, rows)
    assert annotate(stage, rows, num_threads=2) == one
    assert [scores for at in range(0, 2000, 77) for scores in annotate(stage, rows.slice(at, 77))] == one
    model = hashed_linear.load(folder / name)
    assert one[::200] == [twin.scores(row, model) for row in rows.to_pylist()[::200]]


def test_given_words_play_no_part(folder: Path) -> None:
    stage = HashedLinear(name="x", model=folder / "words")
    found = text.measure_words(pa.array(["a b"]), pa.array([["other"]]), stage.needs())
    assert found["x.a"].to_pylist() == stage.annotate(pa.array(["a b"]))["x.a"].to_pylist()


def test_the_content_of_the_model_and_the_name_decide_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    stage = HashedLinear(name="x", model=folder / "dsir")
    (tmp_path / "copy").write_bytes((folder / "dsir").read_bytes())
    assert HashedLinear(name="x", model=tmp_path / "copy").fingerprint() == stage.fingerprint()
    assert HashedLinear(name="y", model=folder / "dsir").fingerprint() != stage.fingerprint()
    assert HashedLinear(name="x", model=folder / "fnv").fingerprint() != stage.fingerprint()


@pytest.mark.parametrize("name", ["", "A", "1a", "a.b", "a b", "gopher", "edits"])
def test_a_name_is_the_beginning_of_a_column(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        build(HashedLinear, {"name": name, "model": str(folder / "dsir")}, at="measure")


def test_a_recipe_may_have_several_models(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    entries = [{"hashed_linear": {"name": name, "model": name}} for name in ("dsir", "fnv")]
    recipe: dict[str, Any] = {
        "input": {"paths": str(Path(__file__).parents[2] / "sample" / "part-0.parquet")},
        "measure": entries,
        "filter": [{"reason": "user.far", "drop": "dsir.weight < 0 AND fnv.b < 0"}],
        "run": str(tmp_path / "run"),
    }
    run = curate.run(recipe, write=False)
    columns, plan = run.columns(["dsir.weight", "fnv.b"]), run.plan()
    dropped = (columns["dsir.weight"] < 0) & (columns["fnv.b"] < 0)
    assert (plan["reasons"].list.contains("user.far") == dropped).all()
    assert 0 < int(dropped.sum()) < len(dropped)
    monkeypatch.chdir(tmp_path)
    assert curate.open_run(tmp_path / "run").status()["measured"] == 1
    with pytest.raises(ConfigError, match="measure has a stage twice: dsir"):
        curate.run({**recipe, "measure": [entries[0], entries[0]]}, write=False)
