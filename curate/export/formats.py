"""What the formats have in common: the face that exporting.py drives, and names of pools in file names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from curate.export.documents import Part
from curate.export.folder import Closing
from curate.runs import Commit, Draft, FileRecord
from curate.schema import fingerprint

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RESERVED = ("export.json", "weights.json", "readme.md", "data", "data_path.txt")


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pool of the plan."""

    name: str
    slug: str
    """The name in file names."""
    share: float
    """Its share of the planned tokens, among the exported pools."""


@dataclass(frozen=True, kw_only=True)
class PartWork:
    """A part while it is written."""

    part: Part
    pool: Pool
    draft: Draft
    before: Mapping[str, Any]
    """What `write` said of the part before in the same pool; empty for the first."""
    files: list[FileRecord] = field(default_factory=list)
    """Whole files that were not written through the draft; then nothing is in the draft."""

    @property
    def source(self) -> str:
        """Begin of the names of its files in the work folder."""
        return f"parts/{self.pool.slug}/{self.part.number:05d}"


class Format(Protocol):
    """Writes one format; parts of a pool come in order, each once."""

    def write(self, work: PartWork, tables: Iterator[pa.Table]) -> dict[str, Any]:
        """Write the files of a part into its draft and say what is in them: `docs` and `tokens` at least."""
        ...

    def holds(self, part: Part, pool: Pool, meta: Mapping[str, Any]) -> bool:
        """Whether what a part left outside its committed files is there too."""
        ...

    def close_pool(self, closing: Closing, pool: Pool, commits: Sequence[Commit]) -> dict[str, Any]:
        """Place the files of a pool; what the weights say of it: `prefix` at least."""
        ...

    def close(self, closing: Closing, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write what a trainer reads of all pools together."""
        ...


def slug_of(name: str) -> str:
    """A name of a file for a pool: itself where it is plain, else a plain one with a hash."""
    if _PLAIN.fullmatch(name) and name.lower() not in _RESERVED and not name.endswith("."):
        return name
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_-")[:60]
    return f"{plain or 'pool'}-{fingerprint(['pool', name])[:8]}"


def total(commits: Sequence[Commit], key: str) -> int:
    """Sum of a number that the parts of a pool were committed with."""
    return sum(int(commit.meta[key]) for commit in commits)
