"""fastText models natively against `fasttext-predict`: one core, inside the fused pass, and on two threads.

Two models: a classifier of two labels (bigrams, dimension 100, 2,000,000 buckets), trained by the reference
binding on documents of `--data` and kept beside it in `.venv-peers-fasttext/models`, and lid.176.ftz. Both
sides score the same texts from memory in turns, k = 1; newlines become spaces for the peer before its time
starts, and neither loads a model in it. Rates are medians per CPU second. The fused pass runs heuristics and
both models at once against each alone. Two threads are measured by wall time, in turns with one.

Data: English documents of `../shared/data/corpus`, and for lid.176.ftz those of `multilingual` as well. That
model is not in this repository: without `../shared/data` the classifier alone is measured, on the sample.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from heuristics import BATCH_ROWS, GROUPS, MEGABYTE, ROOT, num_bytes, quotients, report, seconds

from curate.measure import Language
from curate.text import NativeSpec, measure

SHARED = ROOT.parent / "shared" / "data"
LID = Path("models") / "lid176" / "lid.176.ftz"
SCRIPT = ROOT / "benchmarks" / "peers" / "fasttext_reference.py"
PREDICT = "fasttext-predict 0.9.2.4"
PROSE = ("books", "reviews", "news", "textbooks", "speeches", "wikipedia", "masc", "patient")
TRAINING = {"dim": 100, "wordNgrams": 2, "bucket": 2_000_000, "epoch": 1, "minCount": 6}
TRAINING_BYTES = 120 * MEGABYTE
GOALS = {"two labels": (110, 15), "lid.176.ftz": (30, 10), "lid.176.ftz multilingual": (30, 10)}
GOAL_THREADS = 1.8


class Peer:
    """A process that has loaded a model and times itself over the same texts again and again."""

    def __init__(self, python: Path, model: Path, folder: Path, texts: pa.Table) -> None:
        given, self.out = folder / "lines.parquet", folder / "labels.parquet"
        pq.write_table(pa.table({"text": pc.replace_substring(texts["text"], "\n", " ")}), given)
        environment = {**os.environ, "PYTHONPATH": str(python.parents[1] / "predict")}
        command = [str(python), str(SCRIPT), "time", str(model), str(given), str(self.out)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def seconds(self) -> float:
        """CPU seconds of one run over all texts."""
        assert self.process.stdin and self.process.stdout
        print("go", file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def labels(self) -> list[str | None]:
        """End the process; the labels of its last run."""
        self.process.communicate()
        return pq.read_table(self.out)["label"].to_pylist()


def reference_python(peers: str | None) -> Path | None:
    """The interpreter of the environment for fastText, beside that of the other peers; None without it."""
    if peers is None:
        return None
    python = Path(f"{Path(peers).absolute().parents[1]}-fasttext") / "bin" / "python"
    if python.exists():
        return python
    print(f"the reference binding of fastText is not there (make bench): {python}", file=sys.stderr)
    return None


def documents(folder: Path, max_bytes: int, *, lang: str | None = None) -> pa.Table:
    """Text and source of the documents in `folder`, spread over its files, about so many bytes."""
    schema = pa.schema({"text": pa.large_string(), "source": pa.string()})
    tables = []
    for path in sorted(folder.rglob("*.parquet")):
        table = pq.read_table(path, columns=["text", "source", "lang"])
        chosen = table if lang is None else table.filter(pc.equal(table["lang"], lang))
        tables.append(chosen.select(["text", "source"]).cast(schema))
    found = pa.concat_tables(tables)
    step = max(1, round(num_bytes(found) / max_bytes))
    return found.take(list(range(0, len(found), step)))


def classifier(python: Path, data: Path) -> Path:
    """The model of two labels, trained once."""
    stem = python.parents[1] / "models" / f"two-{data.name}"
    if not (model := stem.with_suffix(".bin")).exists():
        stem.parent.mkdir(exist_ok=True)
        print("fasttext: training a classifier, once", file=sys.stderr, flush=True)
        table = documents(data, TRAINING_BYTES)
        labels = ["prose" if source.startswith(PROSE) else "other" for source in table["source"].to_pylist()]
        rows = pa.table({"text": pc.replace_substring(table["text"], "\n", " "), "label": labels})
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            pq.write_table(rows, file.name)
            new = stem.with_name(f"{stem.name}-new")
            command = [str(python), str(SCRIPT), "train", file.name, str(new), json.dumps(TRAINING)]
            subprocess.run(command, check=True, stdout=sys.stderr)
        new.with_suffix(".bin").rename(model)
    return model


def run(texts: pa.Table, spec: NativeSpec) -> list[pa.RecordBatch]:
    """One native pass over all texts, by batches."""
    batches = texts.select(["text"]).to_batches(max_chunksize=BATCH_ROWS)
    return [measure(batch.column(0), spec) for batch in batches]


def compare(name: str, model: Path, texts: pa.Table, *, python: Path | None, runs: int) -> None:
    """Our rate against the goal and, in turns, against the peer's; labels have to be the same."""
    spec, size = Language(model=model).needs(), num_bytes(texts) / MEGABYTE
    goal_rate, goal_ratio = GOALS[name]
    found = run(texts, spec)
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(python, model, Path(folder), texts) if python else None
        for number in range(runs):
            print(f"fasttext: {name}, run {number + 1} of {runs}", file=sys.stderr, flush=True)
            ours.append(size / seconds(time.process_time, partial(run, texts, spec)))
            if peer:
                theirs.append(size / peer.seconds())
        labels = peer.labels() if peer else []
    goal = partial(report, f"fasttext {name}", ours, unit="MB/s")
    goal([rate / goal_rate for rate in ours], peer=f"{goal_rate} MB/s", goal=1)
    if peer:
        goal(quotients(ours, theirs), peer=PREDICT, goal=goal_ratio)
        own = [label for batch in found for label in batch.column("language.label").to_pylist()]
        is_same = [float(a == b) for a, b in zip(own, labels, strict=True)]
        equal = f"fasttext {name} equal labels"
        shares = [statistics.fmean(is_same)]
        report(equal, [sum(is_same)], shares, unit=f"of {len(own)} documents", peer=PREDICT, goal=1)


def named(model: Path, name: str) -> NativeSpec:
    """The wish for a model under a name of its own."""
    settings = [json.loads(spec) | {"name": name} for spec in Language(model=model).needs().models]
    return NativeSpec(models=tuple(json.dumps(each, sort_keys=True) for each in settings))


def fused(models: dict[str, Path], texts: pa.Table, *, runs: int) -> None:
    """CPU seconds of one pass for all against the sum of a pass for each."""
    parts = [NativeSpec(groups=GROUPS), *(named(model, name) for name, model in models.items())]
    union = NativeSpec.union(parts)
    run(texts, union)
    rates, gains = [], []
    for _ in range(runs):
        spent = seconds(time.process_time, partial(run, texts, union))
        alone = sum(seconds(time.process_time, partial(run, texts, part)) for part in parts)
        rates.append(num_bytes(texts) / MEGABYTE / spent)
        gains.append(alone / spent)
    title = f"fasttext heuristics and {len(models)} models in one pass"
    report(title, rates, gains, unit="MB/s", peer="each in a pass of its own", goal=1)


def scale(name: str, model: Path, texts: pa.Table, *, runs: int) -> None:
    """Wall time of two threads against one, over one batch: small batches wait for their longest text."""
    spec, batch = Language(model=model).needs(), texts["text"].combine_chunks()
    measure(batch, spec, num_threads=2)
    rates, gains = [], []
    for _ in range(runs):
        one, two = (
            seconds(time.perf_counter, partial(measure, batch, spec, num_threads=count)) for count in (1, 2)
        )
        rates.append(num_bytes(texts) / MEGABYTE / two)
        gains.append(one / two)
    title, unit = f"fasttext {name} two threads", "MB/s of wall time"
    report(title, rates, gains, unit=unit, peer="one thread", goal=GOAL_THREADS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less text and fewer runs: under a minute")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--peers", "--peer-python", help="interpreter of the peers; none: skip them")
    arguments = parser.parse_args()
    python, runs = reference_python(arguments.peers), 3 if arguments.quick else 7
    size = (4 if arguments.quick else 20) * MEGABYTE
    corpus, lid = arguments.data / "corpus", arguments.data / LID
    if not corpus.is_dir():
        print(f"no data under {corpus}: using the sample of this repository", file=sys.stderr)
        corpus = ROOT / "sample"
    english = documents(corpus, size, lang="en")
    models = {"two labels": classifier(python, corpus)} if python else {}
    models |= {"lid.176.ftz": lid} if lid.exists() else {}
    for name, model in models.items():
        compare(name, model, english, python=python, runs=runs)
    if lid.exists():
        texts = documents(arguments.data / "multilingual", size)
        compare("lid.176.ftz multilingual", lid, texts, python=python, runs=runs)
    if models:
        fused(models, english, runs=runs)
    for name, model in models.items():
        scale(name, model, documents(corpus, 4 * size, lang="en"), runs=runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
