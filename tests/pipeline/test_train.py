"""Training classifiers over the sample: what is taken, what the card says, that only the input shows."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import curate
from curate.errors import ConfigError, DataError
from curate.files import hash_file
from curate.measure.classifier import Classifier
from curate.models.settings import TrainClassifier
from curate.pipeline import load_training
from tests.command import Curate

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample"
TINY = {"bucket": 10_000, "dim": 10, "lr": 1.0, "epoch": 20}
CODE = {"paths": f"{SAMPLE}/part-*.parquet", "where": "lang = 'code'"}
PROSE = {"paths": f"{SAMPLE}/part-*.parquet", "where": "lang <> 'code'"}


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    values = {
        "name": "code",
        "labels": {"hq": [CODE], "cc": [PROSE]},
        "fasttext": TINY,
        "output": str(folder / "model.bin"),
        **changes,
    }
    return {key: value for key, value in values.items() if value is not None}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    parts = [pl.read_parquet(path) for path in sorted(SAMPLE.glob("part-*.parquet"))]
    return pl.concat(parts, how="diagonal_relaxed")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and its card."""
    folder = tmp_path_factory.mktemp("model")
    assert curate.train_classifier(settings(folder)).is_new
    return folder


@pytest.fixture(scope="module")
def card(home: Path) -> Any:
    return json.loads((home / "model.card.json").read_text())


def test_the_card_adds_up(card: Any, home: Path, frame: pl.DataFrame) -> None:
    distinct = frame.filter(pl.col("lang").is_not_null()).unique("text")
    num_code = distinct.filter(pl.col("lang") == "code").height
    for counts in card["examples"].values():
        total = counts["train"] + counts["held_out"]
        assert total == num_code == sum(counts["by_source"].values()) == sum(counts["by_stratum"].values())
        assert 0.02 * total < counts["held_out"] < 0.25 * total
    assert card["held_out"]["num_docs"] == sum(one["held_out"] for one in card["examples"].values())
    assert card["num_docs"] == frame.filter(pl.col("lang").is_not_null()).height
    assert set(card["examples"]["hq"]["by_source"]) == {"code_js", "code_python"}
    assert card["model"]["blake3"] == hash_file(home / "model.bin")
    assert card["model"]["labels"] == ["hq", "cc"]
    assert sorted(files(home)) == ["model.bin", "model.card.json"]


def test_code_is_told_from_prose(card: Any) -> None:
    held_out = card["held_out"]
    assert held_out["positive"] == "hq" and held_out["accuracy"] > 0.85
    area = held_out["roc_auc"]
    assert area["low"] < area["value"] <= area["high"] and area["value"] > 0.85
    means = {name: one["mean_score"] for name, one in held_out["by_source"].items()}
    assert min(means["code_js"], means["code_python"]) > 0.6 > means["package_descriptions"]
    assert sum(one["num_docs"] for one in held_out["calibration"]["bins"]) == held_out["num_docs"]
    assert card["threshold"]["of"] == "the held-out negatives"
    assert 0.1 <= card["threshold"]["found"]["kept_frac"] < 1


def test_the_same_input_in_other_shards_and_threads_gives_the_same_model(
    home: Path, card: Any, tmp_path: Path, frame: pl.DataFrame
) -> None:
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=5)
    for index, start in enumerate(range(0, mixed.height, 300)):
        mixed[start : start + 300].write_parquet(tmp_path / f"{index}.parquet", row_group_size=70)
    paths = str(tmp_path / "*.parquet")
    labels = {"hq": [{**CODE, "paths": paths}], "cc": [{**PROSE, "paths": paths}]}
    made = curate.train_classifier(settings(tmp_path / "out", labels=labels), num_threads=2)
    assert made.path.read_bytes() == (home / "model.bin").read_bytes()
    for key in ("examples", "held_out", "threshold", "model", "left_out", "num_docs"):
        assert made.card[key] == card[key], key
    other = curate.train_classifier(settings(tmp_path / "again"))
    assert files(tmp_path / "again") == files(home) and other.is_new


def test_a_finished_training_is_found_unless_something_was_done_to_it(tmp_path: Path) -> None:
    fast = settings(tmp_path, fasttext={**TINY, "epoch": 1})
    first = curate.train_classifier(fast)
    before = files(tmp_path)
    again = curate.train_classifier(fast)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.card == json.loads(json.dumps(first.card)) and files(tmp_path) == before
    for damage in (b"", b"{}", b'{"format": 1', b"[]"):
        (tmp_path / "model.card.json").write_bytes(damage)
        assert curate.train_classifier(fast).is_new
    (tmp_path / "model.bin").write_bytes(b"other")
    assert curate.train_classifier(fast).is_new and files(tmp_path) == before
    assert curate.train_classifier(fast, overrides=["seed=1"]).is_new
    assert files(tmp_path).keys() == before.keys() and files(tmp_path) != before


def test_the_kept_documents_of_a_run_are_a_source(tmp_path: Path, frame: pl.DataFrame) -> None:
    recipe = {
        "input": {"paths": f"{SAMPLE}/part-0.parquet"},
        "transform": ["c4_lines"],
        "filter": [{"reason": "user.prose", "drop": "lang <> 'code' OR lang IS NULL"}],
        "plan": {"budget": "0.5"},
        "run": str(tmp_path / "run"),
    }
    run = curate.run(recipe, write=False)
    kept = run.plan().filter(pl.col("repeats") > 0)
    labels = {"hq": [{"run": str(tmp_path / "run")}], "cc": [PROSE]}
    made = curate.train_classifier(settings(tmp_path / "out", labels=labels, balance=False))
    hq = made.card["examples"]["hq"]
    edited = made.card["left_out"]
    # Edits can leave nothing of a text, or make two texts one.
    total = hq["train"] + hq["held_out"] + edited["no_words"] + edited["copies"]
    assert 0 < hq["train"] + hq["held_out"] <= kept.height <= total
    assert hq["by_source"].keys() <= {"code_js", "code_python"}
    assert made.card["inputs"][0]["plan"] == run.summary()["plan"]
    fewer = curate.train_classifier(
        settings(
            tmp_path / "fewer",
            labels={
                "hq": [{"run": str(tmp_path / "run"), "where": "document.num_words > 100"}],
                "cc": [PROSE],
            },
        )
    )
    assert fewer.card["examples"]["hq"]["train"] < hq["train"]


def test_training_files_and_a_pool_are_sources(tmp_path: Path) -> None:
    lines = [f"__label__{'1' if index % 3 else '0'} w{index % 3} x{index} \u00e9" for index in range(300)]
    (tmp_path / "lines.txt").write_text("\n".join([*lines, "no label", "__label__2 else"]) + "\n")
    (tmp_path / "pool.txt").write_text("\n".join(f"w0 y{index}" for index in range(50)))
    made = curate.train_classifier(
        settings(
            tmp_path,
            preset="preselect",
            labels={name: [{"fasttext_file": str(tmp_path / "lines.txt")}] for name in ("1", "0")},
            pool=[{"fasttext_file": str(tmp_path / "pool.txt")}],
        )
    )
    assert {label: one["train"] + one["held_out"] for label, one in made.card["examples"].items()} == {
        "1": 100,
        "0": 100,
    }
    assert made.card["held_out"]["positive"] == "1" and made.card["held_out"]["roc_auc"]["value"] == 1.0
    assert (made.card["threshold"]["of"], made.card["threshold"]["num_docs"]) == ("the pool", 50)
    assert made.card["threshold"]["kept_at"][4] == {"threshold": 0.5, "kept_frac": 0.0}
    assert made.card["left_out"]["no_label"] == 2
    assert made.card["settings"]["fasttext"]["zero_eos"] is True


def test_a_text_under_two_labels_is_left_out_of_both(tmp_path: Path) -> None:
    for name in "ab":
        own = "\n".join(f"__label__{name} {name} own{index}" for index in range(60))
        shared = "\n".join(f"__label__{name} shared{index}" for index in range(7))
        (tmp_path / f"{name}.txt").write_text(f"{own}\n{shared}\n{shared}\n")
    labels = {name: [{"fasttext_file": str(tmp_path / f"{name}.txt")}] for name in "ab"}
    left_out = curate.train_classifier(settings(tmp_path, labels=labels)).card
    assert left_out["left_out"]["several_labels"] == 7 and left_out["left_out"]["copies"] == 14
    assert [one["train"] + one["held_out"] for one in left_out["examples"].values()] == [60, 60]


def test_grades_are_trained_on_and_the_score_is_the_expected_grade(
    tmp_path: Path, frame: pl.DataFrame
) -> None:
    grade = pl.when(pl.col("lang") == "code").then(4.6).when(pl.col("lang") == "en").then(2).otherwise(-1)
    known = pl.when(pl.col("source") == "udhr").then(None).otherwise(grade)
    frame.with_columns(grade=known).write_parquet(tmp_path / "graded.parquet")
    source = {"paths": str(tmp_path / "graded.parquet")}
    changes = {"preset": "edu", "labels": None, "grade": "grade", "examples": [source]}
    made = curate.train_classifier(settings(tmp_path / "out", **changes, holdout_frac=0.2))
    held_out = made.card["held_out"]
    assert list(made.card["examples"]) == made.card["model"]["labels"] == ["0", "2", "5"]
    assert made.card["left_out"]["no_label"] == (frame["source"] == "udhr").sum()
    assert held_out["positive"] == "grade >= 3" and held_out["roc_auc"]["value"] > 0.9
    assert held_out["rmse"] < 1.5 and held_out["macro_f1"] > 0.4
    assert held_out["best_f1"]["f1"] > 0.7 and 0 < held_out["best_f1"]["threshold"] < 5
    assert made.card["threshold"]["of"] == "all held-out documents"
    stage = Classifier(model=made.path, name="edu", grade=True)
    texts = frame["text"].to_arrow()
    scores = stage.annotate(texts)["edu.grade"].to_numpy(zero_copy_only=False)
    means = dict(frame.with_columns(score=scores).group_by("lang").agg(pl.col("score").mean()).iter_rows())
    assert means["code"] > 4 > means["en"]


# Settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"hq": [CODE]}}, "labels needs two or more, all different: hq"),
        ({"labels": {"hq": [CODE], "c c": [PROSE]}}, "a label is one word: 'c c'"),
        ({"labels": {"hq": [CODE], "cc": []}}, "labels.cc has no source"),
        (
            {"labels": {"hq": [CODE], "cc": [{}]}},
            r"labels.cc\[0\] has one of paths, run, fasttext_file: none",
        ),
        ({"labels": {"hq": [CODE], "cc": [{"path": 1}]}}, r"labels.cc\[0\] has one of"),
        ({"labels": {"hq": [CODE], "cc": [{**PROSE, "wher": "x"}]}}, "wher is not a known key, did you mean"),
        (
            {"labels": {"hq": [CODE], "cc": [{**PROSE, "where": "lnag = 1"}]}},
            "labels.cc.where: unknown column: lnag",
        ),
        (
            {"labels": {"hq": [CODE], "cc": [{"fasttext_file": "none.txt"}]}},
            "fasttext_file is not a file: none.txt",
        ),
        ({"labels": {"hq": [CODE], "cc": [{"run": "none"}]}}, "not a run, it has no run.json: none"),
        ({"positive": "x"}, "positive is not one of hq, cc: x"),
        ({"stratify": "what"}, "stratify: labels.hq has no such column: what"),
        ({"output": "model"}, "output is a local file that ends in .bin: model"),
        ({"preset": "edu"}, "a grade belongs to preset edu, labels to the others"),
        ({"labels": None, "grade": "g"}, "a grade belongs to preset edu"),
        ({"labels": None, "grade": "g", "preset": "edu"}, "examples has no source"),
        ({"preset": "dlcm"}, "preset: input should be 'dclm', 'preselect' or 'edu': 'dlcm'"),
        ({"fasttext": {"dim": 0}}, "fasttext.dim: input should be greater than or equal to 1: 0"),
        ({"fasttext": {"minn": 2}}, "fasttext.minn is above fasttext.maxn: 2"),
        ({"fasttext": {**TINY, "bucket": 2_000_000, "dim": 2000}}, "lower bucket or dim"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        curate.train_classifier(settings(tmp_path, **changes))
    assert files(tmp_path) == {}


def test_a_label_without_documents_is_an_error(tmp_path: Path) -> None:
    labels = {"hq": [CODE], "cc": [{**PROSE, "where": "lang = 'none'"}]}
    with pytest.raises(DataError, match="no documents to train on have the label: cc"):
        curate.train_classifier(settings(tmp_path, labels=labels))
    with pytest.raises(DataError, match="no documents held out have the label: hq"):
        curate.train_classifier(settings(tmp_path, holdout_frac=1e-9))


def test_presets_set_what_is_not_given() -> None:
    def load(**values: Any) -> TrainClassifier:
        return load_training({"labels": {"1": [CODE], "0": [PROSE]}, "output": "a/b.bin", **values})

    assert load().fasttext.model_dump() | {"dim": 1} == load(fasttext={"dim": 1}).fasttext.model_dump()
    assert (load().fasttext.word_ngrams, load().fasttext.zero_eos) == (2, False)
    assert load(preset="preselect", fasttext={"dim": 3}).fasttext.zero_eos
    assert not load(preset="preselect", fasttext={"zero_eos": False}).fasttext.zero_eos
    assert load().positive_label == "1" and load(positive="0").positive_label == "0"
    assert str(load().card_path) == "a/b.card.json"


def test_credentials_are_not_in_the_card() -> None:
    source = {**CODE, "storage_options": {"secret": "hidden"}}
    loaded = load_training({"labels": {"a": [source], "b": [source]}, "pool": [source], "output": "m.bin"})
    assert "hidden" not in json.dumps(loaded.public())


# The command line


def test_the_command_line_trains_and_finds(curate: Curate, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "code.yaml"
    values = settings(tmp_path)
    del values["name"]
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    done = curate("train", "classifier", path, "--threads", 1)
    assert done.code == 0
    assert re.search(r"^ROC AUC +0\.[89]\d+ \(0\.\d+ to 1\.0000\)$", done.out, re.MULTILINE)
    assert f"model: {tmp_path}/model.bin (trained)" in done.out
    for step in ("examples", "train", "score"):
        assert re.search(f"^{step}: ", done.err, re.MULTILINE)
    assert (tmp_path / "model.bin").read_bytes() == (home / "model.bin").read_bytes()
    found = curate("train", "classifier", path, "--json", "--quiet")
    assert (found.err, found.value["is_new"], found.value["name"]) == ("", False, "code")
    assert "found, its settings" in curate("train", "classifier", path).out


def test_an_interrupt_ends_a_training_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path, fasttext={**TINY, "epoch": 10**8})), encoding="utf-8")
    command = [sys.executable, "-m", "curate", "train", "classifier", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    with process, process.stderr as stderr:
        next(line for line in stderr if line.startswith("train: "))
        process.send_signal(signal.SIGINT)
        err = stderr.read()
    assert process.returncode == 130 and "Traceback" not in err
    assert sorted(files(tmp_path)) == ["train.yaml"]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["none.yaml"], 2, "does not exist"),
        (["{path}", "--set", "fasttext.dmi=3"], 2, "fasttext.dmi is not a known key, did you mean `dim`"),
        (["{path}", "--set", "labels.cc=[]"], 2, "labels.cc has no source"),
        (["{path}", "--set", "fasttext.lr=1e30"], 1, "numbers do not stay finite, lower lr"),
        (
            ["{path}", "--memory", "128MiB", "--set", "fasttext.bucket=9000000"],
            2,
            "raise min_count or the memory",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(
    curate: Curate, tmp_path: Path, arguments: list[str], code: int, error: str
) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path)), encoding="utf-8")
    done = curate("train", "classifier", *[argument.format(path=path) for argument in arguments], "--quiet")
    assert (done.code, done.out) == (code, "") and error in done.errors[0]
    assert sorted(files(tmp_path)) == ["train.yaml"]


def test_labels_may_come_from_a_column(tmp_path: Path, frame: pl.DataFrame) -> None:
    examples = [{"paths": f"{SAMPLE}/part-*.parquet"}]
    changes = {"labels": None, "label": "lang", "values": ["en", "de", "code"], "examples": examples}
    card = curate.train_classifier(settings(tmp_path, **changes, balance=False)).card
    distinct = frame.filter(pl.col("lang").is_not_null()).unique("text")
    for label, counts in card["examples"].items():
        assert counts["train"] + counts["held_out"] == distinct.filter(lang=label).height
    assert card["left_out"]["no_label"] == frame.filter(~pl.col("lang").is_in(["en", "de", "code"])).height
    assert card["held_out"]["accuracy"] > 0.9
    lines = tmp_path / "lines.txt"
    lines.write_text("__label__en some words\n__label__xx other words\n" + "__label__de ein Wort\n" * 3)
    from_file = settings(
        tmp_path, labels=None, label="lang", values=["en", "de"], examples=[{"fasttext_file": str(lines)}]
    )
    with pytest.raises(DataError, match="no documents held out have the label"):
        curate.train_classifier({**from_file, "output": str(tmp_path / "other.bin")})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "lang", "values": ["en", "de"]}, "label and values go together, without labels"),
        ({"labels": None, "label": "lang"}, "label and values go together"),
        (
            {"labels": None, "label": "lang", "values": ["en", "en"]},
            "labels needs two or more, all different",
        ),
        ({"labels": None, "label": "lang", "values": ["en", "de"]}, "examples has no source"),
        (
            {
                "labels": None,
                "label": "what",
                "values": ["en", "de"],
                "examples": [{"paths": f"{SAMPLE}/part-0.parquet"}],
            },
            "label: examples.0. has no such column: what",
        ),
    ],
)
def test_labels_of_a_column_are_checked(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        curate.train_classifier(settings(tmp_path, **changes))


def test_what_a_killed_training_left_is_removed(tmp_path: Path) -> None:
    for pid in (os.getpid(), 2**22 + 1):
        (tmp_path / f".model.bin.tmp-{pid}-abc").mkdir()
    curate.train_classifier(settings(tmp_path))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f".model.bin.tmp-{os.getpid()}-abc", "model.bin", "model.card.json"]
