"""Models trained by the reference implementation of fastText give the labels and probabilities that it gives.

The reference binding runs in an environment of its own: `.venv-peers-fasttext` where `make bench` made it,
else one that is made here. Cost: minutes over the sample, and about a quarter of an hour over every document
of `../shared/data`, where that is there, for the models of `LARGE`; `-rP` shows the differences of each.
"""

import gzip
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curate.measure import Language

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "peers" / "fasttext_reference.py"
SHARED = ROOT.parent / "shared" / "data"
LID = SHARED / "models" / "lid176" / "lid.176.ftz"
FOLDERS = ("corpus", "web", "multilingual", "quality", "neardup", "tasks")
TOLERANCE, QUANTISED_TOLERANCE = 1e-5, 1e-4
LONG_BYTES, LONG_TOLERANCE = 500_000, 5e-4
"""A book has hundreds of thousands of features. The reference adds them up one by one as floats, and we do so
with rows that are folded; both may be off by 1e-4: `0.548074` and `0.548035` where `0.548224` is right."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(os.environ.get("CI")), reason="the reference binding comes from the network"),
]

BASE = {"dim": 16, "bucket": 20_000, "epoch": 3, "minCount": 2}
LONG = {"epoch": 20, "lr": 1.0}
PARTS = {"minn": 2, "maxn": 4, "dim": 10}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax-2-bigrams": ("kind", {"loss": "softmax", "wordNgrams": 2, "quantize": {}}),
    "softmax-parts": ("source", {"loss": "softmax", **PARTS, "quantize": {"cutoff": 5000, "qnorm": True}}),
    "softmax-trigrams": ("source", {"loss": "softmax", "wordNgrams": 3, "quantize": {"cutoff": 3000}}),
    "softmax-300": ("bucket", {"loss": "softmax", **LONG, "quantize": {"qout": True, "qnorm": True}}),
    "hs-2-bigrams": ("kind", {"loss": "hs", "wordNgrams": 2, "quantize": {"dsub": 3}}),
    "hs-parts": ("source", {"loss": "hs", **PARTS, "quantize": {"cutoff": 5000, "qnorm": True}}),
    "hs-300-trigrams": ("bucket", {"loss": "hs", "wordNgrams": 3, **LONG, "quantize": {"qout": True}}),
    "ns-2-parts": ("kind", {"loss": "ns", **PARTS, "quantize": {}}),
    "ns-trigrams": ("source", {"loss": "ns", "wordNgrams": 3, **LONG, "quantize": {"cutoff": 3000}}),
    "ova-2-bigrams": ("kind", {"loss": "ova", "wordNgrams": 2, "quantize": {"qnorm": True}}),
    "ova-parts": ("source", {"loss": "ova", **PARTS, "quantize": {"cutoff": 5000}}),
    "ova-300": ("bucket", {"loss": "ova", "epoch": 10, "lr": 0.3, "quantize": {"qout": True}}),
}
"""By name: the column that is the label, and the settings of training."""

LARGE = ("lid.176.ftz", "softmax-2-bigrams.bin", "hs-parts.ftz", "ova-2-bigrams.bin")


@dataclass(frozen=True)
class Peer:
    """The reference binding and the texts of the sample, on disk."""

    python: Path
    folder: Path

    def run(self, verb: str, *arguments: str | Path) -> None:
        command = [str(self.python), str(SCRIPT), verb, *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def predict(self, model: Path, texts: Path) -> pa.Table:
        out = self.folder / "predicted.parquet"
        self.run("predict", model, texts, out)
        return pq.read_table(out)

    def train(self, name: str) -> Path:
        """Train a model of `MODELS`, `.bin` and `.ftz`, unless it is there."""
        label, settings = MODELS[name]
        stem = self.folder / name
        if not stem.with_suffix(".bin").exists():
            texts = pq.read_table(self.folder / "sample.parquet")
            rows = self.folder / "rows.parquet"
            pq.write_table(pa.table({"text": lines(texts["text"]), "label": texts[label]}), rows)
            self.run("train", rows, stem, json.dumps({**BASE, **settings}))
        return stem


def make_environment(folder: Path) -> Path:
    """Install the reference binding, or skip where that cannot be done."""
    python = folder / "venv" / "bin" / "python"
    wanted = ROOT / "benchmarks" / "peers-fasttext.txt"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, capture_output=True)
        install = [
            str(python),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "-q",
            "-r",
            str(wanted),
        ]
        subprocess.run(install, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the reference binding cannot be installed: {error.stderr.decode()[-200:]}")
    return python


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    folder = tmp_path_factory.mktemp("fasttext")
    made = ROOT / ".venv-peers-fasttext"
    python = made / "bin" / "python" if (made / ".installed").exists() else make_environment(folder)
    pq.write_table(sample(), folder / "sample.parquet")
    return Peer(python, folder)


def sample() -> pa.Table:
    """The documents of the repository with three labels each: `kind`, `source` and `bucket`."""
    rows = [
        row
        for path in sorted((ROOT / "sample").glob("*.parquet"))
        for row in pq.read_table(path, columns=["text", "source"]).to_pylist()
    ]
    for path in sorted((ROOT / "sample").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows += [{name: json.loads(line)[name] for name in ("text", "source")} for line in file]
    return pa.table(
        {
            "text": pa.array([row["text"] for row in rows], pa.large_string()),
            "source": [row["source"] for row in rows],
            "kind": ["package" if row["source"].startswith("package") else "other" for row in rows],
            "bucket": [f"b{index % 300}" for index in range(len(rows))],
        }
    )


def lines(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts as the reference takes them: one line each."""
    return pc.replace_substring(texts, "\n", " ")


@dataclass
class Tally:
    """What came out of comparing one model over some texts.

    Another label is no difference where the reference gives both labels the same probability, or one that is
    within rounding of it.
    """

    model: Path
    num_texts: int = 0
    num_ties: int = 0
    num_swapped: int = 0
    num_rounded: int = 0
    greatest: float = 0.0
    greatest_long: float = 0.0
    found: list[str] = field(default_factory=list)

    def add(self, where: str, num_bytes: int, our: dict[str, Any], their: dict[str, Any]) -> None:
        label, score = our["language.label"], our["language.score"]
        self.num_texts += 1
        self.num_ties += len(their["ties"]) > 1
        self.num_swapped += label != their["label"] and label in their["ties"]
        self.num_rounded += label in their["near"]
        if label is None or their["label"] is None:
            if label != their["label"]:
                self.found.append(f"{where}: {label} instead of {their['label']}")
            return
        difference = abs(score - their["score"])
        tolerance = QUANTISED_TOLERANCE if self.model.suffix == ".ftz" else TOLERANCE
        if num_bytes > LONG_BYTES:
            self.greatest_long = max(self.greatest_long, difference)
            tolerance = LONG_TOLERANCE
        else:
            self.greatest = max(self.greatest, difference)
        is_best = label in their["ties"] or label in their["near"]
        if not (difference <= tolerance and is_best):
            answers = f"{label} {score:.7f} instead of {their['label']} {their['score']:.7f}"
            self.found.append(f"{where}: {answers}, {num_bytes} bytes")

    def compare(self, peer: Peer, texts: pa.ChunkedArray, name: str = "sample") -> None:
        """Compare all texts, one batch of ours after the other."""
        given = peer.folder / "lines.parquet"
        pq.write_table(pa.table({"text": lines(texts)}), given)
        theirs = peer.predict(self.model, given).to_pylist()
        stage = Language(model=self.model)
        ours = [row for chunk in texts.chunks for row in stage.annotate(chunk, num_threads=1).to_pylist()]
        sizes = pc.binary_length(texts).to_pylist()
        for row, (size, our, their) in enumerate(zip(sizes, ours, theirs, strict=True)):
            self.add(f"{name} row {row}", size, our, their)

    def check(self) -> None:
        """Sum up on stdout; fail with the rows that differ."""
        summary = (
            f"{self.model.name}: {self.num_texts} texts, {len(self.found)} differ, by at most"
            f" {self.greatest:.2e} ({self.greatest_long:.2e} in long texts); {self.num_ties} ties, in"
            f" {self.num_swapped} another label; {self.num_rounded} other labels within rounding"
        )
        print(summary)
        assert not self.found, "\n".join([summary, *self.found[:50]])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("suffix", [".bin", ".ftz"])
def test_a_model_gives_what_the_reference_gives_on_the_sample(peer: Peer, name: str, suffix: str) -> None:
    tally = Tally(peer.train(name).with_suffix(suffix))
    tally.compare(peer, pq.read_table(peer.folder / "sample.parquet")["text"])
    tally.check()


@pytest.mark.skipif(not LID.exists(), reason="the large sets are not there: ../shared/data")
@pytest.mark.parametrize("name", LARGE)
def test_a_model_gives_what_the_reference_gives_on_all_documents(peer: Peer, name: str) -> None:
    model = LID if name == LID.name else peer.train(Path(name).stem).with_suffix(Path(name).suffix)
    paths = [path for folder in FOLDERS for path in sorted((SHARED / folder).glob("*.parquet"))]
    paths = [path for path in paths if "text" in pq.read_schema(path).names]
    tally = Tally(model)
    for path in paths:
        texts = pq.read_table(path, columns=["text"])["text"].cast(pa.large_string())
        tally.compare(peer, texts, path.name)
    tally.check()
