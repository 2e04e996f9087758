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
from curate.pipeline import near
from curate.pipeline.deliver import output_schema
from curate.pipeline.measure import locate, missing_stages, place
from curate.pipeline.output import OutputFolder
from curate.pipeline.plan import plan_task
from curate.pipeline.resolve import all_tasks, open_facts
from curate.pipeline.session import PieceEntry, Session
from curate.schema import TEXT
from curate.shards import iter_batches

_PROBE_BYTES = 4 << 20
_MAX_LISTED = 5
_WRITE_RATE = 60e6
"""Bytes of text a second that reading and writing kept text takes on one core, about."""
_KEY_BYTES = 40
"""Scratch of a band key of a document, with the pairs that it may make, about."""
_KEY_RATE = 8e6
"""Band keys a second that one core partitions, sorts and groups, about."""
_VERIFY_RATE = 200e6
"""Bytes of text a second that one core decodes and compares of candidates, about."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run would do."""

    num_shards: int
    num_pieces: int
    num_bytes: int
    """Text in the corpus; for JSONL the bytes of the files."""
    missing: dict[str, int]
    """Stage -> pieces that have to be measured for it."""
    why: dict[str, str]
    """Stage -> why those pieces are not in the store."""
    bytes_to_measure: int
    rate_bytes_per_s: float | None
    """Text measured a second by a probe; None where nothing is to be measured."""
    estimated_s: float
    memory_bytes: int
    scratch_bytes: int
    dedup: dict[str, float] | None
    """Near duplicates: seconds and scratch bytes of candidates, and those of verification if every document
    were a candidate; None where they are not looked for, or are found."""
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
                f"  {name}: {count} of {self.num_pieces} pieces not in the store: {self.why[name]}"
                for name, count in self.missing.items()
                if count
            ),
            f"time      about {self.estimated_s:,.0f} s",
            f"memory    {self.memory_bytes / 1e6:,.0f} MB budget",
            f"scratch   about {self.scratch_bytes / 1e6:,.1f} MB",
        ]
        if self.dedup is not None:
            lines.append(
                f"near      candidates about {self.dedup['candidates_s']:,.0f} s and "
                f"{self.dedup['candidates_bytes'] / 1e6:,.1f} MB of scratch; verification at most "
                f"{self.dedup['verify_s']:,.0f} s and {self.dedup['verify_bytes'] / 1e6:,.1f} MB, if every "
                f"document were a candidate"
            )
        return "\n".join(lines)


def forecast(session: Session, *, write: bool) -> Forecast:
    """Say what `run` would do now."""
    open_facts(session)
    locate(session)
    missing: dict[str, list[PieceEntry]] = {name: [] for name in session.stage_fingerprints}
    to_measure = 0
    for entry in session.entries:
        lacking = missing_stages(session, entry)
        to_measure += entry.piece.num_bytes if lacking else 0
        for name in lacking:
            missing[name].append(entry)
    total = sum(entry.piece.num_bytes for entry in session.entries)
    rate, shingles = _probe(session) if to_measure else (None, _shingles_per_byte(session))
    write = write and session.recipe.output is not None
    if write:
        output_schema(session)
    seconds = (to_measure / rate if rate else 0.0) + (total / _WRITE_RATE if write else 0.0)
    num_docs = sum(shard.num_rows or shard.size_bytes // 1000 for shard in session.shards)
    dedup = _dedup(session, num_docs, total, shingles)
    output = session.recipe.output if write else None
    is_sorted = output is not None and bool(session.recipe.plan.is_sorted or output.split_by)
    return Forecast(
        num_shards=len(session.shards),
        num_pieces=len(session.entries),
        num_bytes=total,
        missing={name: len(entries) for name, entries in missing.items()},
        why={name: _why(session, name, entries) for name, entries in missing.items() if entries},
        bytes_to_measure=to_measure,
        rate_bytes_per_s=rate,
        estimated_s=round(seconds + (dedup["candidates_s"] + dedup["verify_s"] if dedup else 0.0), 1),
        memory_bytes=session.limits.memory_bytes,
        scratch_bytes=num_docs * 80
        + (total if is_sorted else 0)
        + int(dedup["candidates_bytes"] + dedup["verify_bytes"] if dedup else 0),
        dedup=dedup,
        steps=_steps(session, to_measure, write=write),
    )


def _why(session: Session, stage: str, entries: list[PieceEntry]) -> str:
    """Why the store has no columns of a stage for these pieces."""
    known = [one.stages for one in session.store.passes()]
    if not any(session.stage_fingerprints[stage] in stages.values() for stages in known):
        others = any(stage in stages for stages in known)
        return "measured with other settings only" if others else "not begun"
    keys = list(dict.fromkeys(entry.shard.key for entry in entries))
    more = f" and {len(keys) - _MAX_LISTED} more" if len(keys) > _MAX_LISTED else ""
    return f"new, changed or not finished are {', '.join(keys[:_MAX_LISTED])}{more}"


def _rounds(session: Session) -> dict[str, str]:
    """What is to be done for transforms that see the whole corpus; their filters have to fit into memory."""
    todo = []
    for each in session.recipe.rounds:
        if any(each.name not in entry.commits for entry in session.entries):
            each.check_memory(session.limits.memory_bytes)
            todo.append(each.name)
    if not session.recipe.rounds:
        return {}
    return {"transform": f"all texts to read for {', '.join(todo)}" if todo else "cached"}


def _steps(session: Session, to_measure: int, *, write: bool) -> dict[str, str]:
    if to_measure:
        measure, later = f"{to_measure / 1e6:,.1f} MB of text to read", "to do, since columns are missing"
        return {
            **_rounds(session),
            "measure": measure,
            "resolve": later,
            "plan": later,
            "write": _write(session, None, write),
        }
    place(session)
    lacking = [name for name, task in all_tasks(session).items() if session.run.lookup(task) is None]
    task = plan_task(session)
    done = session.run.lookup(task) is not None
    return {
        **_rounds(session),
        "measure": "cached, every column is in the store",
        "resolve": f"to do for this corpus: {', '.join(lacking)}" if lacking else "cached",
        "plan": f"cached, {task.fingerprint[:16]}"
        if done
        else "to do: no plan of these columns and settings",
        "write": _write(session, task.fingerprint if done else None, write),
    }


def _write(session: Session, plan: str | None, write: bool) -> str:
    if not write or session.recipe.output is None:
        return "not asked for"
    folder = session.recipe.output.path
    if plan is None:
        return f"to {folder}: the plan is to be made"
    manifest = OutputFolder(folder, session.recipe.output.storage_options).read_manifest()
    if manifest is None:
        return f"to {folder}: nothing is complete there"
    if manifest.get("plan") != plan:
        return f"to {folder}: it holds another plan"
    return f"cached, unless columns or sizes of the output changed: {folder} holds this plan"


def _probe(session: Session) -> tuple[float | None, float]:
    """Measure a few MB of the first piece with rows: bytes a second, and shingles of signatures a byte."""
    for entry in session.entries:
        batches = iter_batches(entry.piece, session.recipe.input, max_bytes=_PROBE_BYTES)
        started, num_bytes, shingles = time.perf_counter(), 0, 0
        for batch in islice(batches, 1):
            found = text.measure(batch[TEXT], session.spec, num_threads=session.limits.num_threads)
            num_bytes += int(pc.sum(pc.binary_length(batch[TEXT])).as_py() or 0)
            if near.NUM_SHINGLES in found.schema.names:
                shingles += int(pc.sum(found[near.NUM_SHINGLES]).as_py() or 0)
        if num_bytes:
            return num_bytes / (time.perf_counter() - started), shingles / num_bytes
    return None, 0.0


def _shingles_per_byte(session: Session) -> float:
    """From columns of the first rows; everything is measured."""
    if session.recipe.dedup.minhash is None:
        return 0.0
    place(session)
    for block in session.blocks():
        frame = session.read_columns(block, [near.NUM_SHINGLES, "document.num_bytes"]).sum()
        shingles, num_bytes = frame.row(0)
        if num_bytes:
            return float(shingles or 0) / float(num_bytes)
    return 0.0


def _dedup(session: Session, num_docs: int, num_bytes: int, shingles: float) -> dict[str, float] | None:
    """What near duplicates would cost, unless they are found."""
    if session.recipe.dedup.minhash is None:
        return None
    measured = all(not missing_stages(session, entry) for entry in session.entries)
    if measured and session.run.lookup(near.task(session)) is not None:
        return None
    settings, stage = near.near_settings(session)
    num_keys = num_docs * near.choose_bands(session).num_bands
    threads = session.limits.num_threads
    per_doc = 8 * shingles * num_bytes if settings.reads_text else 4 * stage.num_hashes * num_docs
    return {
        "candidates_s": round(num_keys / _KEY_RATE / threads, 1),
        "candidates_bytes": float(num_keys * _KEY_BYTES),
        "verify_s": round(num_bytes / _VERIFY_RATE / threads, 1),
        "verify_bytes": float(round(per_doc)),
    }
