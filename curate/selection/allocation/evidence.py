"""What was fitted on runs, kept by the content of the pools: read, write, and apply where it applies.

A file has a law and, for each pool it was fitted on, its content (a fingerprint of its documents in any
order, additive over disjoint sets of documents), its unique tokens, its utility and its half life in epochs,
with an interval of the utility where one is known. It is applied to a pool

1. whose content is that of a pool of the file, whatever their names;
2. whose content is the sum, modulo 2^128, of a union of pools of the file: those listed under `unions`,
   and those whose names begin with the same `name/`. It gets the means by unique tokens;
3. whose name is that of a pool of the file, where one of the two has no content to compare.

A pool to which nothing applies is refused by name: numbers of other documents say nothing about it.

Cost: a table of the file's pools. Not here: published numbers (priors.py), fitting (curate.laws).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import ConfigError, DataError
from curate.files import read_json, replace_json
from curate.selection.allocation.pools import CONTENT_MODULUS, Supply, is_content
from curate.selection.mixer import Floats, listed

FORMAT = 1
MAX_NUMBER = 1e9
"""Size of a utility or a half life above which it is a slip of the file."""

Parts = tuple[tuple[int, float], ...]
"""Pools of the evidence, by place, that make up a pool, with their shares of its tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePool:
    """A pool that runs were made on."""

    name: str
    unique_tokens: int
    content: str | None = None
    utility: float | None = None
    """b of the quality-quantity law, below 0, or the strength of the data-constrained law, above 0."""
    half_life: float | None = None
    """Epochs in which the utility halves."""
    interval: tuple[float, float] | None = None
    """Of the utility."""

    def __post_init__(self) -> None:
        at = f"evidence on pool {self.name!r}"
        if not isinstance(self.unique_tokens, int) or isinstance(self.unique_tokens, bool):
            raise DataError(f"{at}: unique_tokens is a whole number, not: {self.unique_tokens!r}")
        if self.unique_tokens < 1:
            raise DataError(f"{at}: unique_tokens is above 0, not: {self.unique_tokens}")
        if self.content is not None and not is_content(self.content):
            raise DataError(f"{at}: a content is 32 hexadecimal digits or null, not: {self.content!r}")
        if self.utility is not None and (not math.isfinite(self.utility) or self.utility == 0):
            raise DataError(f"{at}: a utility is finite and not 0: {self.utility}")
        if self.half_life is not None and not (math.isfinite(self.half_life) and self.half_life > 0):
            raise DataError(f"{at}: a half life is a finite number of epochs above 0: {self.half_life}")
        if self.interval is not None:
            low, high = self.interval
            value = math.nan if self.utility is None else self.utility
            if not (math.isfinite(low) and math.isfinite(high) and low <= value <= high):
                raise DataError(f"{at}: an interval [{low}, {high}] holds the utility: {self.utility}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A law and the pools it was fitted on."""

    law: Mapping[str, Any]
    """The law as it writes itself to JSON."""
    pools: tuple[EvidencePool, ...]
    unions: tuple[tuple[str, ...], ...] = ()
    """Groups of pools, by name, whose union may be met as one pool."""
    source: str = "evidence"
    """Where it comes from, for people: the path."""

    def __post_init__(self) -> None:
        if not self.pools:
            raise DataError(f"{self.source}: evidence is on pools, there are: 0")
        if not isinstance(self.law, Mapping) or not isinstance(self.law.get("law"), str):
            raise DataError(f"{self.source}: the law of an evidence has a name under `law`: {self.law!r:.80}")
        names = {pool.name for pool in self.pools}
        if len(names) < len(self.pools):
            raise DataError(f"{self.source}: names of pools are unique: {listed(sorted(names))}")
        for union in self.unions:
            for name in union:
                if name not in names:
                    raise DataError(f"{self.source}: a union has a pool that is not there: {name!r}")

    def groups(self) -> Iterator[list[int]]:
        """Give the unions that are looked at: those listed, and the pools below each `name/`."""
        places = {pool.name: place for place, pool in enumerate(self.pools)}
        for union in self.unions:
            yield [places[name] for name in union]
        below: dict[str, list[int]] = {}
        for name, place in places.items():
            parts = name.split("/")
            for depth in range(1, len(parts)):
                below.setdefault("/".join(parts[:depth]), []).append(place)
        yield from below.values()

    def _by_content(self) -> dict[int, Parts]:
        """What each content that can be recognised is made of; a pool of its own goes before a union."""
        found: dict[int, Parts] = {}
        contents = [None if pool.content is None else int(pool.content, 16) for pool in self.pools]
        for group in self.groups():
            known = [content for place in group if (content := contents[place]) is not None]
            if len(known) < len(group):
                continue
            tokens = sum(self.pools[place].unique_tokens for place in group)
            shares = tuple((place, self.pools[place].unique_tokens / tokens) for place in group)
            found.setdefault(sum(known) % CONTENT_MODULUS, shares)
        for place, content in enumerate(contents):
            if content is not None:
                found[content] = ((place, 1.0),)
        return found

    def match(self, supplies: Sequence[Supply]) -> list[Parts]:
        """Say which pools of the evidence make up each pool.

        Raises:
            ConfigError: Nothing applies to a pool; it is named, with the reason.
        """
        contents = self._by_content()
        names = {pool.name: place for place, pool in enumerate(self.pools)}
        parts: list[Parts] = []
        refused: list[str] = []
        other = False
        for supply in supplies:
            found = None if supply.content is None else contents.get(int(supply.content, 16))
            place = names.get(supply.name)
            if found is None and place is not None:
                if supply.content is None or self.pools[place].content is None:
                    found = ((place, 1.0),)
                else:
                    other = True
            if found is None:
                refused.append(supply.name)
            parts.append(found or ())
        if refused:
            why = "; a pool of that name was measured with other documents" if other else ""
            raise ConfigError(
                f"{self.source} has no evidence that applies to {len(refused)} pools{why}: {listed(refused)}",
                hint="fit runs on these pools (`curate laws fit`), or leave them out, or name a prior: "
                "`prior: equal`",
            )
        return parts

    def values(self, key: str, parts: Sequence[Parts]) -> Floats:
        """Mean of a number of the pools by tokens, for each of `parts`.

        Raises:
            ConfigError: A pool that is needed has no such number.
        """
        given = [getattr(pool, key) for pool in self.pools]
        for part in parts:
            for place, _ in part:
                if given[place] is None:
                    raise ConfigError(
                        f"{self.source}: pool {self.pools[place].name!r} has no number: {key}",
                        hint="runs that repeat the pool say its half life (`curate laws fit`)",
                    )
        return np.array([math.fsum(share * float(given[place]) for place, share in part) for part in parts])

    def ends(self, parts: Sequence[Parts]) -> tuple[Floats, Floats] | None:
        """Ends of the intervals of utilities, the utility itself where there is none; None without any."""
        if all(pool.interval is None for pool in self.pools):
            return None
        bounds = [
            pool.interval if pool.interval is not None else (pool.utility or 0.0, pool.utility or 0.0)
            for pool in self.pools
        ]
        low, high = (
            np.array([math.fsum(share * bounds[place][end] for place, share in part) for part in parts])
            for end in (0, 1)
        )
        return low, high

    def to_json(self) -> dict[str, Any]:
        """Give the evidence as JSON values."""
        keys = ("content", "unique_tokens", "utility", "half_life")
        pools = {
            pool.name: {
                **{key: getattr(pool, key) for key in keys},
                "interval": None if pool.interval is None else list(pool.interval),
            }
            for pool in self.pools
        }
        unions = [list(union) for union in self.unions]
        return {"format": FORMAT, "law": dict(self.law), "pools": pools, "unions": unions}


def write_evidence(evidence: Evidence, path: Path) -> None:
    """Write a file, in place of what had that name."""
    replace_json(path, evidence.to_json())


def read_evidence(path: Path) -> Evidence:
    """Read a file.

    Raises:
        DataError: It is no evidence; the message has path, key and value.
    """
    return evidence_from_json(read_json(path), source=str(path))


def evidence_from_json(value: Any, *, source: str) -> Evidence:
    """Check JSON values and give the evidence.

    Raises:
        DataError: A key is missing, unknown or has a wrong value.
    """
    _check_keys(value, {"format", "law", "pools"}, {"unions"}, at=source)
    if value["format"] != FORMAT:
        raise DataError(f"{source}: the format of an evidence is {FORMAT}, not: {value['format']!r}")
    if not isinstance(value["pools"], dict):
        raise DataError(f"{source}: pools is a table by name, not: {value['pools']!r:.80}")
    unions = value.get("unions", [])
    if not isinstance(unions, list) or not all(
        isinstance(union, list) and union and all(isinstance(name, str) for name in union) for union in unions
    ):
        raise DataError(f"{source}: unions is a list of lists of names, not: {unions!r:.80}")
    pools = tuple(_pool(name, each, f"{source}: pools.{name}") for name, each in value["pools"].items())
    return Evidence(
        law=value["law"], pools=pools, unions=tuple(tuple(union) for union in unions), source=source
    )


def _pool(name: str, value: Any, at: str) -> EvidencePool:
    keys = {"content", "unique_tokens", "utility", "half_life", "interval"}
    _check_keys(value, {"unique_tokens"}, keys, at=at)
    interval = value.get("interval")
    if interval is not None and not (isinstance(interval, list) and len(interval) == 2):
        raise DataError(f"{at}: an interval is two numbers or null, not: {interval!r}")
    numbers = [value.get("utility"), value.get("half_life"), *(interval or [])]
    for number in numbers:
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
            raise DataError(f"{at}: a number is wanted, not: {number!r}")
        if number is not None and abs(number) > MAX_NUMBER:
            raise DataError(f"{at}: a number is within {MAX_NUMBER:g}, not: {str(number)[:40]}")
    return EvidencePool(
        name=name,
        unique_tokens=value["unique_tokens"],
        content=value.get("content"),
        utility=value.get("utility"),
        half_life=value.get("half_life"),
        interval=None if interval is None else (float(interval[0]), float(interval[1])),
    )


def _check_keys(value: Any, needed: set[str], allowed: set[str], *, at: str) -> None:
    if not isinstance(value, dict):
        raise DataError(f"{at}: a table is wanted, not: {value!r:.80}")
    missing = sorted(needed - set(value))
    unknown = sorted(set(value) - needed - allowed)
    if missing or unknown:
        raise DataError(
            f"{at}: missing keys: {listed(missing) or 'none'}; unknown keys: {listed(unknown) or 'none'}"
        )
