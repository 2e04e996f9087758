"""The published DSIR package: fit, weigh and select; run with an interpreter that has it.

    RAW TARGET FOLDER FIELD NUM [top]

For each line of stdin the whole of DSIR runs once, in one process: counts of both files of JSON lines (text
in FIELD), a weight for every document of RAW, NUM documents drawn (or, with `top`, the best) and written.
Prints its CPU seconds. At the end FOLDER/weights.npy has the log importance weights and FOLDER/lengths.npy
the numbers of tokens, both of the last run.
"""

import resource
import shutil
import sys
from pathlib import Path

import numpy as np
from data_selection import HashedNgramDSIR


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(raw: str, target: str, folder: Path, field: str, num: int, *, top: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    parse = lambda line: line[field]  # noqa: E731
    dsir = HashedNgramDSIR(
        [raw],
        [target],
        cache_dir=str(folder / "cache"),
        raw_parse_example_fn=parse,
        target_parse_example_fn=parse,
        num_proc=1,
    )
    dsir.fit_importance_estimator(num_tokens_to_fit="auto")
    dsir.compute_importance_weights()
    dsir.resample(str(folder / "out"), num_to_sample=num, cache_dir=str(folder / "part"), top_k=top)
    np.save(folder / "weights.npy", np.load(next(Path(dsir.log_importance_weights_dir).glob("*.npy"))))
    np.save(folder / "lengths.npy", np.load(next(Path(dsir.perexample_metadata_dir).glob("*.npy"))))


def main() -> None:
    raw, target, folder, field, num, *top = sys.argv[1:]
    np.random.seed(42)
    for _ in sys.stdin:
        start = cpu_seconds()
        run(raw, target, Path(folder), field, int(num), top=bool(top))
        print(cpu_seconds() - start, flush=True)


if __name__ == "__main__":
    main()
