"""Seconds and CPU seconds of a process with its children; imported by the peers' script, too."""

import os
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Process ids of all descendants that are alive."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            pids = [int(one) for one in (task / "children").read_text().split()]
        except OSError:
            continue
        for one in pids:
            found += [one, *children(one)] if Path(f"/proc/{one}").exists() else []
    return found


def cpu_seconds() -> float:
    """Of this process and the descendants that are alive."""
    total = time.process_time()
    for pid in children(os.getpid()):
        try:
            numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(numbers[11]) + int(numbers[12])) / TICKS
    return total


def steady(batches: Iterable[Any], *, warm: int, seconds: float, start: float) -> dict[str, float]:
    """Tokens by second once `warm` batches were taken; `start` is when the batches were asked for."""
    iterator = iter(batches)
    tokens_of(next(iterator))
    first_s = time.perf_counter() - start
    for _ in islice(iterator, warm):
        pass
    tokens, spent, begin = 0, cpu_seconds(), time.perf_counter()
    while (wall := time.perf_counter() - begin) < seconds:
        tokens += tokens_of(next(iterator))
    spent = cpu_seconds() - spent
    return {"first_s": first_s, "tokens": tokens, "wall_s": wall, "cpu_s": spent}


def tokens_of(batch: Any) -> int:
    """Tokens of a batch."""
    return int((batch["input_ids"] if isinstance(batch, dict) else batch).numel())
