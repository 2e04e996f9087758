"""A training script that ends in some way while workers run; says on stdout who they are."""

import os
import signal
import sys
from itertools import islice
from pathlib import Path

from tests.loader.interop import opened


def children():
    """Processes whose parent this is."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def main(how, context):
    data = opened()
    loader = data.loader(2, multiprocessing_context=context)
    for number, batch in enumerate(loader):
        if number == 3:
            print(batch["step"], *children(), flush=True)
            if how == "break":
                break
            if how == "exit":
                sys.exit(3)
            if how == "raise":
                raise RuntimeError("the model is broken")
            if how == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
            if how == "wait":
                signal.pause()
    print("left", *children(), flush=True)
    print(*[batch["step"] for batch in islice(data, 2)], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
