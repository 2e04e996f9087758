"""A training script that ends in some way while workers run; says who they are and what they share."""

import json
import os
import re
import signal
import sys
from itertools import islice
from pathlib import Path

from tests.loader.interop import opened


def children():
    """Processes whose parent this is."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def shared_memory(pids):
    """Names in /dev/shm that processes have mapped or open, and that are still there."""
    names = set()
    for pid in pids:
        names |= set(re.findall(r" (/dev/shm/\S+)$", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE))
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                names.add(str(entry.readlink()))
            except FileNotFoundError:
                continue
    return sorted(name for name in names if name.startswith("/dev/shm/") and Path(name).exists())


def main(how, context):
    data = opened()
    loader = data.loader(2, multiprocessing_context=context)
    for number, batch in enumerate(loader):
        if number == 3:
            pids = children()
            shared = shared_memory([os.getpid(), *pids])
            print(json.dumps({"step": batch["step"], "workers": pids, "shared": shared}), flush=True)
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
