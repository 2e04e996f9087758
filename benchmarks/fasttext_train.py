"""Training a fastText classifier against the reference implementation with one thread: same file, settings.

Settings of DCLM: dimension 100, words and bigrams, two million buckets. Both sides run in turns; figures are
medians of CPU time, counting, training and writing together. With one random block both write the same bytes
where no two words are equally frequent; here ties change which row a word has, and nothing else.

Data: documents of the Parquet files under `--data`, labelled by whether they are code; without it
`../shared/data/corpus`, and where that is missing the sample of this repository.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from fasttext import reference_python
from heuristics import MEGABYTE, ROOT, report

from curate import _rust


def write_examples(data: Path, path: Path, max_bytes: int) -> tuple[int, int]:
    """Write about so many bytes of examples; returns bytes and words."""
    num_bytes = num_words = 0
    with path.open("w", encoding="utf-8") as out:
        for shard in sorted(data.glob("*.parquet")):
            for batch in pq.ParquetFile(shard).iter_batches(64, columns=["text", "lang"]):
                for text, lang in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    if num_bytes >= max_bytes:
                        return num_bytes, num_words
                    words = text.split()
                    line = f"__label__{'code' if lang == 'code' else 'prose'} {' '.join(words)}\n"
                    out.write(line)
                    num_bytes += len(line.encode())
                    num_words += len(words)
    return num_bytes, num_words


def ours(path: Path, model: Path, epoch: int) -> float:
    """CPU seconds of the native trainer."""
    settings = {"dim": 100, "epoch": epoch, "lr": 0.1, "word_ngrams": 2, "min_count": 1, "bucket": 2_000_000}
    settings |= {"minn": 0, "maxn": 0, "seed": 0, "init_blocks": 1, "zero_eos": False, "max_bytes": 1 << 33}
    start = time.process_time()
    trainer = _rust.FastTextTrainer(str(path), json.dumps(settings))
    while trainer.advance(1 << 20):
        pass
    trainer.write(str(model))
    return time.process_time() - start


def peer(python: str, path: Path, model: Path, epoch: int) -> float:
    """CPU seconds of the reference implementation."""
    settings = json.dumps({"dim": 100, "epoch": epoch, "lr": 0.1, "wordNgrams": 2, "bucket": 2_000_000})
    command = [python, str(ROOT / "benchmarks" / "peers" / Path(__file__).name), path, model, settings]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less text, one epoch and fewer runs")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "corpus")
    parser.add_argument("--peers", help="interpreter of the peers; none: nothing is measured")
    arguments = parser.parse_args()
    python, data = reference_python(arguments.peers), arguments.data
    if python is None:
        return 0
    if not data.is_dir():
        print(f"no data under {data}: using the sample of this repository", file=sys.stderr)
        data = ROOT / "sample"
    epoch, runs, size = (1, 3, 20) if arguments.quick else (5, 3, 60)
    rates, ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        path, model = Path(folder, "examples.txt"), Path(folder, "model.bin")
        num_bytes, num_words = write_examples(data, path, size * MEGABYTE)
        for _ in range(runs):
            mine = ours(path, model, epoch)
            rates.append(epoch * num_words / mine / 1e6)
            ratios.append(peer(str(python), path, model, epoch) / mine)
    name = f"training a fastText classifier, {num_bytes / MEGABYTE:.0f} MB, {epoch} epochs"
    report(name, rates, ratios, unit="million words/s", peer="fasttext-wheel 0.9.2, one thread", goal=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
