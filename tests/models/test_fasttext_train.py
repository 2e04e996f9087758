"""The native fastText trainer against a slow twin and the reference implementation; bad input."""

import itertools
import json
import os
import random
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.measure import Language
from tests.reference.fasttext_train import Settings, model_bytes, train

SMALL = Settings()
TOKENS = st.sampled_from(
    ["a", "b", "ab", "\u00e9", "c\u00a0d", "</s>", "__label__x", "__label__y", "__label__", "<", "\U0001f600"]
)
SPACES = st.sampled_from([" ", "\n", "  ", "\n", "\t", " \0", "\r\n", "\n\n", " "])
FILES = st.lists(st.tuples(TOKENS, SPACES), max_size=150).map(
    lambda pairs: "__label__x a\n__label__y b\n" + "".join(token + space for token, space in pairs)
)
SETTINGS = st.builds(
    Settings,
    dim=st.integers(1, 5),
    epoch=st.integers(1, 3),
    lr=st.sampled_from([0.01, 0.1, 1.0]),
    word_ngrams=st.integers(1, 4),
    min_count=st.integers(1, 2),
    bucket=st.integers(1, 30),
    minn=st.integers(0, 2),
    maxn=st.sampled_from([0, 2, 3]),
    seed=st.integers(0, 2**31),
    init_blocks=st.integers(1, 10),
    zero_eos=st.booleans(),
).map(lambda one: replace(one, minn=min(one.minn, one.maxn)))


def native(path: Path, given: Settings, *, step: int = 1 << 20) -> bytes:
    """Train natively on a file, so many bytes at a time; the bytes of the model."""
    trainer = _rust.FastTextTrainer(str(path), json.dumps(asdict(given)))
    while trainer.advance(step):
        pass
    model = path.with_suffix(".bin")
    trainer.write(str(model))
    return model.read_bytes()


def write(folder: Path, text: str) -> Path:
    path = folder / "train.txt"
    path.write_bytes(text.encode())
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=FILES, chosen=SETTINGS, is_cut=st.booleans())
def test_a_model_has_the_bytes_that_the_twin_gives(
    tmp_path: Path, text: str, chosen: Settings, is_cut: bool
) -> None:
    text = text.rstrip("\n") if is_cut else text
    if not train(text, replace(chosen, epoch=1)).model.words:
        return
    assert native(write(tmp_path, text), chosen) == model_bytes(train(text, chosen), chosen)


def test_the_steps_that_it_is_done_in_do_not_show(tmp_path: Path) -> None:
    path = write(tmp_path, corpus(30, num_labels=2))
    assert len({native(path, SMALL, step=step) for step in (1, 100, 1 << 20)}) == 1
    assert native(path, SMALL) != native(path, replace(SMALL, seed=1))


def test_the_model_tells_its_labels_apart_and_is_read_by_the_scorer(tmp_path: Path) -> None:
    rng = random.Random(0)
    lines = [
        f"__label__{side} " + " ".join(rng.choices(f"{side}1 {side}2 c d".split(), k=9))
        for side in "ab" * 200
    ]
    path = write(tmp_path, "\n".join(lines) + "\n")
    native(path, replace(SMALL, dim=10, epoch=5, bucket=1000, lr=0.5))
    stage = Language(model=path.with_suffix(".bin"))
    found = stage.annotate(pa.array(["a1 c a2 d c", "c d b2 c"], pa.large_string())).to_pylist()
    assert [row["language.label"] for row in found] == ["a", "b"]
    assert min(row["language.score"] for row in found) > 0.9


def test_progress_goes_from_nothing_to_all(tmp_path: Path) -> None:
    path = write(tmp_path, corpus(30, num_labels=2))
    trainer = _rust.FastTextTrainer(str(path), json.dumps(asdict(SMALL)))
    assert (trainer.done_frac(), trainer.sizes()) == (0.0, None)
    seen = [
        trainer.done_frac() for _ in itertools.takewhile(lambda _: trainer.advance(200), itertools.count())
    ]
    assert seen == sorted(seen) and len(set(seen)) > 5 and trainer.done_frac() == 1.0
    text = path.read_text().replace("\n", " </s> ").split()
    assert trainer.sizes() == (31, 2, len(text))


def test_a_step_ends_though_the_file_begins_anew_within_it(tmp_path: Path) -> None:
    path = write(tmp_path, corpus(30, num_labels=2))
    trainer = _rust.FastTextTrainer(str(path), json.dumps(asdict(replace(SMALL, epoch=20))))
    step = path.stat().st_size * 2 // 3
    num_steps = sum(1 for _ in itertools.takewhile(lambda _: trainer.advance(step), itertools.count()))
    assert 25 <= num_steps <= 35


def test_a_model_is_written_only_when_its_training_is_over(tmp_path: Path) -> None:
    trainer = _rust.FastTextTrainer(
        str(write(tmp_path, "__label__a x\n__label__b y\n")), json.dumps(asdict(SMALL))
    )
    with pytest.raises(ConfigError, match="written after its training is over"):
        trainer.write(str(tmp_path / "model.bin"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the training file is empty"),
        ("a b\nc\n", "no line has a label, a word that starts with __label__"),
        ("__label__a x\n__label__a y\n", "two or more labels are needed, there is one: __label__a"),
        ("__label__a\nx y\n__label__b </s>\n", "no line has a label and a word beside it"),
    ],
)
def test_a_file_that_nothing_is_learned_from_is_an_error_with_its_name(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        native(path, SMALL)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 0}, "dim is not between 1 and 65536: 0"),
        ({"epoch": 0}, "epoch is not between 1 and 2147483647: 0"),
        ({"bucket": 0}, "bucket is not between 1 and 2147483647: 0"),
        ({"minn": 3, "maxn": 2}, "minn is not between 0 and 2: 3"),
        ({"init_blocks": 11}, "init_blocks is not between 1 and 10: 11"),
        ({"lr": 0.0}, "lr is not a number above 0: 0"),
        ({"bucket": 2_000_000, "dim": 100}, "more than the 1048576 bytes that they may have.*: 800002000"),
        ({"bucket": 2_000_000_000, "dim": 60_000, "max_bytes": 1 << 60}, "there is no memory for a matrix"),
        ({"wordNgrams": 2}, "unknown field `wordNgrams`"),
    ],
)
def test_a_setting_that_is_wrong_is_an_error_with_its_bounds(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, "__label__a x\n__label__b y\n")
    trainer_settings = asdict(SMALL) | changes
    with pytest.raises(ConfigError, match=message):
        trainer = _rust.FastTextTrainer(str(path), json.dumps(trainer_settings))
        while trainer.advance(100):
            pass


def test_words_that_are_all_too_rare_and_numbers_that_explode_are_errors(tmp_path: Path) -> None:
    path = write(tmp_path, "__label__a x\n__label__b y\n" * 50)
    with pytest.raises(DataError, match="no word is as frequent as min_count: 1000"):
        native(path, replace(SMALL, min_count=1000))
    with pytest.raises(DataError, match="numbers do not stay finite, lower lr: 1000"):
        native(write(tmp_path, "__label__a x\n__label__b x\n" * 50), replace(SMALL, lr=1e30))
    with pytest.raises(DataError, match=r"none\.txt: No such file"):
        native(tmp_path / "none.txt", SMALL)


def test_a_file_that_loses_its_text_meanwhile_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, corpus(200, num_labels=2))
    trainer = _rust.FastTextTrainer(str(path), json.dumps(asdict(replace(SMALL, epoch=100))))
    while trainer.sizes() is None:
        trainer.advance(1000)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="the training file changed while it was read"):
        while trainer.advance(1 << 20):
            pass


# Against the reference implementation

REFERENCE = """
import json, sys, fasttext
path, model, settings, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
if settings is not None:
    fasttext.train_supervised(path, thread=1, verbose=0, **settings).save_model(model)
labels, scores = fasttext.load_model(model).predict(texts, k=-1)
print(json.dumps([dict(zip(*pair)) for pair in zip(labels, [list(map(float, row)) for row in scores])]))
"""
NAMES = {"word_ngrams": "wordNgrams", "min_count": "minCount"}
SHARED = ("dim", "epoch", "lr", "word_ngrams", "min_count", "bucket", "minn", "maxn", "seed")


def corpus(num_words: int, *, num_labels: int) -> str:
    """A training file whose words, and whose labels, all have different counts."""
    rng = random.Random(num_words)
    words = [f"w{index}\u00e9" for index in range(num_words) for _ in range(index + 1)]
    rng.shuffle(words)
    lines = []
    while words:
        label = min(len(lines) % (num_labels + 1), num_labels - 1)
        size = rng.randint(1, 40) if len(lines) > num_words else 1
        lines.append(" ".join([f"__label__{'xyz'[label]}", *words[:size]]))
        words = words[size:]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a Python with the reference implementation; skips where it cannot be installed."""
    if os.environ.get("CI"):
        pytest.skip("the reference implementation is not installed in CI")
    folder = tmp_path_factory.mktemp("reference")
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    for command in ([sys.executable, "-m", "venv", str(folder)], [*pip, "fasttext-wheel==0.9.2", "numpy<2"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"the reference implementation cannot be installed: {done.stderr.strip()[-200:]}")
    (folder / "reference.py").write_text(REFERENCE)
    return [str(python), str(folder / "reference.py")]


def ask(reference: list[str], *arguments: Any) -> Any:
    values = [str(value) if isinstance(value, Path) else value for value in arguments]
    values[2:] = map(json.dumps, values[2:])
    done = subprocess.run([*reference, *values], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("num_labels", "chosen"),
    [
        (2, Settings(dim=100, epoch=5, word_ngrams=2, bucket=20_000)),
        (3, Settings(dim=7, epoch=3, word_ngrams=1, lr=0.5, seed=5)),
        (3, Settings(dim=16, epoch=5, word_ngrams=3, bucket=777, minn=2, maxn=4, min_count=5)),
    ],
)
def test_the_reference_with_one_thread_writes_the_same_bytes_and_reads_ours(
    reference: list[str], tmp_path: Path, num_labels: int, chosen: Settings
) -> None:
    path = write(tmp_path, corpus(120, num_labels=num_labels))
    chosen = replace(chosen, init_blocks=1, max_bytes=1 << 30)
    theirs = {NAMES.get(name, name): value for name, value in asdict(chosen).items() if name in SHARED}
    texts = ["w1\u00e9 w2\u00e9 w119\u00e9", "w50\u00e9 unknown w60\u00e9 w60\u00e9", "w3\u00e9"]
    expected = ask(reference, path, tmp_path / "theirs.bin", theirs, texts)
    made = native(path, chosen)
    assert made == (tmp_path / "theirs.bin").read_bytes()
    assert ask(reference, path, path.with_suffix(".bin"), None, texts) == expected
    found = Language(model=path.with_suffix(".bin")).annotate(pa.array(texts, pa.large_string())).to_pylist()
    for row, scores in zip(found, expected, strict=True):
        assert row["language.score"] == pytest.approx(scores[f"__label__{row['language.label']}"], abs=2e-6)
