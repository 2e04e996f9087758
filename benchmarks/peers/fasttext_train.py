"""Train with the reference implementation on one thread; prints CPU and wall seconds, model written."""

import json
import sys
import time

import fasttext


def main() -> None:
    path, model, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    cpu, wall = time.process_time(), time.perf_counter()
    fasttext.train_supervised(path, thread=1, verbose=0, **settings).save_model(model)
    print(time.process_time() - cpu, time.perf_counter() - wall)


if __name__ == "__main__":
    main()
