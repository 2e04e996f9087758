"""The token log: what was asked of each pool and what was served, block by block, as JSON lines.

The first line is the header `{"format": 1, "pools": [...], "settings": {...}, "plan": ...}`, then there is
one line a block, written when its last step was handed out. Numbers are exact (`repr` of floats), so the log
with the index gives every batch again. A line is one write and one fsync. A last line that a crash tore is
dropped on reading and cut on appending, and so are the blocks that a resumed training does again. Other
damage is an error with its line.

Cost: about 130 bytes a pool and block; 4 ms to append and 5 ms to read a block of 1,000 pools. One process
writes. Not here: plots (report), mixers that replay (mixers.py).
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from curate.errors import DataError, StateError
from curate.files import atomic_file, naming_errors, to_json

FORMAT = 1
MAX_LINE_BYTES = 1 << 26
MAX_COUNT = 1 << 63
TABLES = {"weights": float, "tokens": int, "docs": int, "total_tokens": int, "epochs": float}
COUNTS = ("block", "first_step", "num_steps")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogHeader:
    """What a log belongs to."""

    pools: tuple[str, ...]
    """Names of the pools."""
    settings: Mapping[str, Any]
    """Settings of the training that decide its batches, as JSON values."""
    plan: str
    """Fingerprint of what is served."""

    def to_line(self) -> bytes:
        """Write it as the first line."""
        return to_json(
            {
                "format": FORMAT,
                "pools": list(self.pools),
                "settings": dict(self.settings),
                "plan": self.plan,
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LogBlock:
    """One block that was handed out; tables are by pool, and a pool that is missing has 0."""

    block: int
    first_step: int
    num_steps: int
    """Steps that were handed out, fewer than the others in the last block of a finite training."""
    weights: Mapping[str, float]
    """Asked shares, after the limits of supply."""
    tokens: Mapping[str, int]
    """Tokens served in the block."""
    docs: Mapping[str, int]
    """Documents begun in the block."""
    total_tokens: Mapping[str, int]
    """Tokens served up to the end of the block."""
    epochs: Mapping[str, float]
    """Those, divided by the tokens of one epoch."""
    loss: Mapping[str, float | None] = field(default_factory=dict)
    """Mean loss by pool; None, or a value that is not finite, is not known."""
    events: tuple[Any, ...] = ()
    """What happened in the block, as JSON values: a pool that ran out, weights set by hand, another plan."""

    def to_line(self) -> bytes:
        """Write it as a line."""
        value: dict[str, Any] = {name: getattr(self, name) for name in COUNTS}
        for name, kind in TABLES.items():
            value[name] = {pool: kind(number) for pool, number in getattr(self, name).items()}
        value["loss"] = {
            pool: float(loss) if loss is not None and math.isfinite(loss) else None
            for pool, loss in self.loss.items()
        }
        return to_json({**value, "events": list(self.events)})


class TokenLog:
    """Appends to a log; use as a context manager, or close it."""

    def __init__(self, path: Path, header: LogHeader, *, next_block: int = 0) -> None:
        """Create the log, or open it to go on at `next_block`; blocks from there on are cut.

        Lines of earlier blocks may be missing (a log that was moved away): the log goes on with a gap.

        Raises:
            StateError: The log at `path` has another plan, other pools or other settings.
            DataError: It is damaged in what would stay.
        """
        self.path = path
        self._last = -1
        keep = self._cut_at(header, next_block) if path.exists() else None
        if keep is None:
            with atomic_file(path) as new:
                new.write(header.to_line())
        with naming_errors(path):
            self._handle = path.open("r+b", buffering=0)
            if keep is not None:
                self._handle.truncate(keep)
                os.fsync(self._handle.fileno())
            self._handle.seek(0, os.SEEK_END)

    def _cut_at(self, header: LogHeader, next_block: int) -> int | None:
        """The bytes that stay; None where not even the header is whole, and nothing is lost."""
        keep = None
        for end, value, where in _lines(self.path, stop_at=next_block):
            if keep is None:
                _check_same(_header(value, where), header, self.path)
            elif (block := _block(value, where).block) < next_block:
                self._last = block
            else:
                break
            keep = end
        return keep

    def append(self, block: LogBlock) -> None:
        """Write a block so that it survives a crash.

        Raises:
            StateError: It does not come after the last one.
        """
        if block.block <= self._last:
            raise StateError(f"{self.path} has block {self._last} already, then comes block {block.block}")
        with naming_errors(self.path):
            data = memoryview(block.to_line())
            while data:
                data = data[self._handle.write(data) :]
            os.fsync(self._handle.fileno())
        self._last = block.block

    def close(self) -> None:
        """Close the file; nothing is pending."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_log(path: Path) -> tuple[LogHeader, Iterator[LogBlock]]:
    """Read a log: its header, and its blocks one after another; a torn last line is dropped.

    Raises:
        DataError: The header is not whole, a line other than the last is damaged, or blocks do not grow.
            Errors of blocks come when they are reached.
    """
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path} is no token log: it has no whole line")
    return _header(first[1], first[2]), _blocks(lines)


def _blocks(lines: Iterator[tuple[int, Any, str]]) -> Iterator[LogBlock]:
    last = -1
    for _, value, where in lines:
        block = _block(value, where)
        if block.block <= last:
            raise DataError(f"{where}: block {block.block} comes after block {last}")
        last = block.block
        yield block


def _lines(path: Path, *, stop_at: int | None = None) -> Iterator[tuple[int, Any, str]]:
    """Whole lines: where each ends, its value, its place in words.

    With `stop_at` the reading ends at the first block from there on, so that damage after it does not matter.
    """
    end, number = 0, 0
    with path.open("rb") as handle:
        while line := handle.readline(MAX_LINE_BYTES + 1):
            number += 1
            end += len(line)
            where = f"{path}, line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"{where} is longer than {MAX_LINE_BYTES} bytes")
            if not line.endswith(b"\n"):
                return
            try:
                value = json.loads(line.decode("utf-8"), parse_constant=_refuse)
            except (ValueError, RecursionError) as exc:
                if not handle.read(1):
                    return
                raise DataError(f"{where} is not JSON: {exc}") from exc
            yield end, value, where
            if stop_at is not None and isinstance(value, dict) and value.get("block") == stop_at:
                return


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _header(value: Any, where: str) -> LogHeader:
    if not isinstance(value, dict) or "format" not in value:
        raise DataError(f"{where} is not the header of a token log: {str(value)[:80]}")
    if value["format"] != FORMAT:
        raise DataError(f"{where}: this version reads token logs of format {FORMAT}: {value['format']!r}")
    pools, settings, plan = value.get("pools"), value.get("settings"), value.get("plan")
    if not isinstance(pools, list) or not all(isinstance(pool, str) for pool in pools):
        raise DataError(f"{where}: pools are a list of names: {str(pools)[:80]}")
    if not isinstance(settings, dict) or not isinstance(plan, str):
        raise DataError(f"{where}: settings are an object and plan is text: {str((settings, plan))[:80]}")
    return LogHeader(pools=tuple(pools), settings=settings, plan=plan)


def _check_same(found: LogHeader, wanted: LogHeader, path: Path) -> None:
    """Refuse a log of another training by the first field that differs."""
    settings = json.loads(to_json(dict(wanted.settings)))
    pairs: list[tuple[str, Any, Any]] = [
        ("plan", found.plan, wanted.plan),
        ("pools", found.pools, wanted.pools),
    ]
    keys = sorted({*found.settings, *settings})
    pairs += [(f"settings.{key}", found.settings.get(key), settings.get(key)) for key in keys]
    for name, old, new in pairs:
        if old != new:
            raise StateError(
                f"{path} is the log of another training, {name}: {str(old)[:200]}, not {str(new)[:200]}",
                hint="use another file for this training",
            )


def _block(value: Any, where: str) -> LogBlock:
    """Check a block's line field by field."""
    if not isinstance(value, dict):
        raise DataError(f"{where} is not a block: {str(value)[:80]}")
    counts: dict[str, Any] = {name: _number(value.get(name), int, f"{where}: {name}") for name in COUNTS}
    tables: dict[str, Any] = {
        name: _table(value.get(name), kind, f"{where}: {name}") for name, kind in TABLES.items()
    }
    loss, events = value.get("loss", {}), value.get("events", [])
    if not isinstance(loss, dict) or not isinstance(events, list):
        raise DataError(f"{where}: loss is an object and events are a list: {str((loss, events))[:80]}")
    losses = {
        pool: None if each is None else _number(each, float, f"{where}: loss of {pool!r}", least=-math.inf)
        for pool, each in loss.items()
    }
    return LogBlock(**counts, **tables, loss=losses, events=tuple(events))


def _table(value: Any, kind: type, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where} is not an object by pool: {str(value)[:80]}")
    return {pool: _number(number, kind, f"{where} of {pool!r}") for pool, number in value.items()}


def _number(value: Any, kind: type, where: str, *, least: float = 0) -> Any:
    """A finite number from `least` on, whole where `kind` is int; an int stays exact as a float."""
    allowed = int if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or value < least:
        raise DataError(f"{where} is no {'whole ' if kind is int else ''}number from {least}: {value!r}")
    if value >= MAX_COUNT and isinstance(value, int):
        raise DataError(f"{where} is above {MAX_COUNT - 1}: {hex(value)[:40]}")
    number = kind(value)
    if not math.isfinite(number):
        raise DataError(f"{where} is not finite: {value!r}")
    return number
