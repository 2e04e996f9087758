"""The reference binding of fastText: train, predict and time; run with an interpreter that has it.

    train TEXTS STEM OPTIONS   write STEM.bin, and STEM.ftz where OPTIONS have `quantize`
    predict MODEL TEXTS OUT    the best label of each text, its probability and its ties
    time MODEL TEXTS OUT       for each line of stdin print CPU seconds of `predict` over all texts

TEXTS is a Parquet file with a column `text` of single lines, and `label` for training. OPTIONS are those of
`train_supervised` as JSON. Training is on one thread, so it gives the same model again. Loading is not timed.
With the folder of `fasttext-predict` first in PYTHONPATH the last verb times that one; it cannot train.
The file is not called `fasttext.py`, as it would import itself.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fasttext
import pyarrow as pa
import pyarrow.parquet as pq

PREFIX = "__label__"
ROUNDING = 1e-6
"""Probabilities that differ by less than this part are as good as equal: the last places of floats."""


def load(path: str) -> Any:
    """Load a model without the warning that `load_model` prints."""
    fasttext.FastText.eprint = lambda *_: None
    return fasttext.load_model(path)


def read_texts(path: str) -> list[str]:
    return pq.read_table(path, columns=["text"])["text"].to_pylist()


def write(path: str, labels: list[str | None], scores: list[float | None], **more: Any) -> None:
    columns = {"label": pa.array(labels, pa.string()), "score": pa.array(scores, pa.float32()), **more}
    pq.write_table(pa.table(columns), path)


def train(texts: str, stem: str, options: str) -> None:
    settings = json.loads(options)
    quantize = settings.pop("quantize", None)
    table = pq.read_table(texts)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt", delete=False) as file:
        for text, label in zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True):
            file.write(f"{PREFIX}{label} {text}\n")
    try:
        trained = fasttext.train_supervised(file.name, thread=1, verbose=0, **settings)
    finally:
        Path(file.name).unlink()
    trained.save_model(f"{stem}.bin")
    if quantize is not None:
        trained.quantize(thread=1, verbose=0, **quantize)
        trained.save_model(f"{stem}.ftz")


def predict(model: str, texts: str, out: str) -> None:
    """The greatest probability as it is, every label that has exactly this one, and those within rounding."""
    loaded = load(model)
    labels: list[str | None] = []
    scores: list[float | None] = []
    ties: list[list[str]] = []
    near: list[list[str]] = []
    for text in read_texts(texts):
        # The method below `predict`: that one makes an array of each answer, and cannot do so with NumPy 2.
        found = loaded.f.predict(f"{text}\n", -1, 0.0, "strict")
        best = found[0][0] if found else None
        scores.append(best)
        labels.append(found[0][1].removeprefix(PREFIX) if found else None)
        ties.append([label.removeprefix(PREFIX) for score, label in found if score == best])
        close = [label for score, label in found if best > score >= best * (1 - ROUNDING)]
        near.append([label.removeprefix(PREFIX) for label in close])
    kind = pa.list_(pa.string())
    write(out, labels, scores, ties=pa.array(ties, kind), near=pa.array(near, kind))


def timed(model: str, texts: str, out: str) -> None:
    loaded = load(model)
    lines = read_texts(texts)
    found: list[Any] = []
    for _ in sys.stdin:
        start = time.process_time()
        found = [loaded.predict(line) for line in lines]
        print(time.process_time() - start, flush=True)
    labels = [label[0].removeprefix(PREFIX) if len(label) else None for label, _ in found]
    write(out, labels, [float(score[0]) if len(score) else None for _, score in found])


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    {"train": train, "predict": predict, "time": timed}[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
