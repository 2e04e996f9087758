"""`--dry-run`: what would run, what is cached and why not, bytes, time, memory and scratch.

Shards are listed and fingerprinted (cached), nothing else is read. The time is bytes over rates measured on
a small sample of the corpus in this very process, so it knows the machine.
"""

import time
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import pyarrow.compute as pc

from curate import text
from curate.pipeline.measure import locate, missing_stages
from curate.pipeline.session import Session
from curate.schema import TEXT
from curate.shards import iter_batches

_PROBE_BYTES = 4 << 20
_WRITE_RATE = 60e6
"""Bytes of text a second that reading and writing kept text takes on one core, about."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run would do."""

    num_shards: int
    num_pieces: int
    num_bytes: int
    """Text in the corpus; for JSONL the bytes of the files."""
    missing: dict[str, int]
    """Stage -> pieces that have to be measured for it."""
    bytes_to_measure: int
    rate_bytes_per_s: float | None
    """Text measured a second by a probe; None where nothing is to be measured."""
    estimated_s: float
    memory_bytes: int
    scratch_bytes: int
    steps: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def as_text(self) -> str:
        """For people."""
        lines = [
            f"corpus    {self.num_shards} shards, {self.num_pieces} pieces, "
            f"{self.num_bytes / 1e6:,.1f} MB of text",
            *(f"{name:<9} {what}" for name, what in self.steps.items()),
            *(
                f"  {name}: {count} of {self.num_pieces} pieces not in the store"
                for name, count in self.missing.items()
                if count
            ),
            f"time      about {self.estimated_s:,.0f} s",
            f"memory    {self.memory_bytes / 1e6:,.0f} MB budget",
            f"scratch   about {self.scratch_bytes / 1e6:,.1f} MB",
        ]
        return "\n".join(lines)


def forecast(session: Session, *, write: bool) -> Forecast:
    """Say what `run` would do now."""
    locate(session)
    missing = dict.fromkeys(session.stage_fingerprints, 0)
    to_measure = 0
    for entry in session.entries:
        lacking = missing_stages(session, entry)
        to_measure += entry.piece.num_bytes if lacking else 0
        for name in lacking:
            missing[name] += 1
    total = sum(entry.piece.num_bytes for entry in session.entries)
    rate = _probe(session) if to_measure else None
    write = write and session.recipe.output is not None
    seconds = (to_measure / rate if rate else 0.0) + (total / _WRITE_RATE if write else 0.0)
    num_docs = sum(shard.num_rows or shard.size_bytes // 1000 for shard in session.shards)
    shuffled = write and session.recipe.plan.order == "shuffle"
    return Forecast(
        num_shards=len(session.shards),
        num_pieces=len(session.entries),
        num_bytes=total,
        missing=missing,
        bytes_to_measure=to_measure,
        rate_bytes_per_s=rate,
        estimated_s=round(seconds, 1),
        memory_bytes=session.limits.memory_bytes,
        scratch_bytes=num_docs * 80 + (total if shuffled else 0),
        steps=_steps(session, to_measure, write),
    )


def _steps(session: Session, to_measure: int, write: bool) -> dict[str, str]:
    measure = f"{to_measure / 1e6:,.1f} MB of text to read" if to_measure else "everything is in the store"
    again = "to do, columns will change" if to_measure else "redone only where rules or columns changed"
    place = session.recipe.output.path if write and session.recipe.output is not None else ""
    return {
        "measure": measure,
        "resolve": again,
        "plan": again,
        "write": f"to {place}" if write else "not asked for",
    }


def _probe(session: Session) -> float | None:
    """Measure a few MB of the first piece with rows and return bytes a second."""
    for entry in session.entries:
        batches = iter_batches(entry.piece, session.recipe.input, max_bytes=_PROBE_BYTES)
        started, num_bytes = time.perf_counter(), 0
        for batch in islice(batches, 1):
            text.measure(batch[TEXT], session.spec, num_threads=session.limits.num_threads)
            num_bytes += int(pc.sum(pc.binary_length(batch[TEXT])).as_py() or 0)
        if num_bytes:
            return num_bytes / (time.perf_counter() - started)
    return None
