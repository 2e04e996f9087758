"""Where the loader's documents come from: a plan, a delivered folder, files of tokens.

A source says which shards there are, where the texts of their row groups lie, and for every document that is
to be served its pool, how often, how many tokens and in which place; it opens shards for their footers only.
Shards that are not what the plan or the manifest says are refused by key. Cost: a footer of each Parquet
shard, two requests; a plain JSONL shard is read once. Not here: tables of documents (index.py), files of
tokens (tokenfiles.py), delivered folders (delivered.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import ConfigError, DataError
from curate.pipeline.kept import spans_of
from curate.pipeline.openrun import OpenRun, moved
from curate.pipeline.planfile import PlanFile
from curate.pipeline.session import Session
from curate.shards import locate
from curate.shards.chunks import Chunks, locate_lines, locate_text
from curate.shards.lines import HashingReader
from curate.shards.ranges import RangeFile
from curate.shards.storage import LOCAL_BLOCK_BYTES, REMOTE_BLOCK_BYTES, open_file

NO_CAP: Mapping[str, float | None] = {}


@dataclass(frozen=True, kw_only=True)
class SourceShard:
    """A file with documents."""

    key: str
    uri: str
    format: str
    """`parquet`, `jsonl` or `tokens`."""
    size_bytes: int
    fingerprint: str
    num_rows: int
    row_groups: tuple[int, ...] | None = None
    """Rows of each row group, where that is known beforehand."""
    dtype: str | None = None
    """Of a file of tokens: how numpy calls the type of a token."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Documents to be served, of one shard, in row order."""

    shard: int
    row: npt.NDArray[np.uint32]
    pool: npt.NDArray[np.uint32]
    """Codes into the source's `pool_names`."""
    repeats: npt.NDArray[np.uint16]
    tokens: npt.NDArray[np.uint32]
    order: npt.NDArray[np.uint64] | None = None
    """Place in the pool: ascending, ties in the order of rows; None is the order of rows."""
    start: npt.NDArray[np.uint64] | None = None
    """Of files of tokens: where the document begins, in tokens."""
    spans: pa.Array | None = None
    """What is removed of the texts: lists of start and end."""


class Source(Protocol):
    """Documents to be served."""

    @property
    def content(self) -> list[Any]:
        """What decides the documents and their order: JSON values; not where files lie."""

    @property
    def shards(self) -> Sequence[SourceShard]:
        """The shards, in key order."""

    @property
    def pool_names(self) -> list[str]:
        """Names by code; complete when `rows` is through."""

    @property
    def caps(self) -> Mapping[str, float | None]:
        """How often a token of a pool may be served at most, on average, where something says so."""

    @property
    def text(self) -> str:
        """Column of the text."""

    @property
    def storage_options(self) -> dict[str, str]:
        """How to reach remote shards."""

    @property
    def max_line_bytes(self) -> int:
        """Longest line of a JSONL shard."""

    @property
    def has_edits(self) -> bool:
        """Whether texts are read through edits."""

    def chunks(self, shard: int) -> Chunks:
        """Where the text of each row group lies; none in files of tokens."""
        ...

    def rows(self) -> Iterator[Rows]:
        """Documents to be served, shard by shard, in row order; called once, after `chunks` of each shard."""
        ...


def locate_chunks(shard: SourceShard, *, text: str, storage_options: dict[str, str]) -> Chunks:
    """Find where the text of each row group of a shard lies.

    Raises:
        DataError: the shard is not what the plan or manifest says, by key; or it is compressed JSONL.
    """
    place = locate(shard.uri, storage_options)
    if shard.format == "jsonl":
        block_bytes = LOCAL_BLOCK_BYTES if place.is_local else REMOTE_BLOCK_BYTES
        with HashingReader(open_file(place), block_bytes=block_bytes) as reader:
            found = locate_lines(reader, shard.key)
            check_same(shard, reader.num_bytes == shard.size_bytes, "its size differs")
            check_same(shard, reader.hexdigest() == shard.fingerprint, "its content differs")
    else:
        file = RangeFile(place)
        check_same(shard, file.size_bytes == shard.size_bytes, "its size differs")
        found, _ = locate_text(file, shard.key, text=text)
    rows = tuple(found["num_rows"].tolist())
    check_same(shard, shard.row_groups is None or rows == shard.row_groups, "its row groups differ")
    check_same(shard, sum(rows) == shard.num_rows, "its number of rows differs")
    return found


def check_same(shard: SourceShard, is_same: bool, what: str) -> None:
    """Raise `DataError` for a shard that is not what it was."""
    if not is_same:
        raise DataError(
            f"{shard.key} changed since it was planned or written: {what} ({shard.uri})",
            hint="plan or deliver again, or put the old shard back",
        )


@dataclass(kw_only=True)
class PlanSource:
    """Documents that a plan keeps, read from the source shards in place."""

    plan: PlanFile
    session: Session | None = None
    """Of the run, where texts are read through edits."""
    text: str = "text"
    storage_options: dict[str, str] = field(default_factory=dict)
    relocate: Mapping[str, str] = field(default_factory=dict)
    max_line_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        """Read the header and the pools."""
        header = self.plan.header
        self.has_edits = bool(header["edits"])
        if self.has_edits and self.session is None:
            raise ConfigError(
                f"the plan reads texts through edits, which are in the store of its run: {self.plan.path}",
                hint="open the run instead of the plan, or deliver",
            )
        self.content: list[Any] = ["plan", header["fingerprint"], self.text]
        pools = self.plan.pools()
        self.pool_names: list[str] = pools["pool"].to_pylist()
        self.caps: Mapping[str, float | None] = dict(
            zip(self.pool_names, pools["cap"].to_pylist(), strict=True)
        )
        self.shards = [self._shard(entry) for _, entry in self.plan.iter_shards()]

    def _shard(self, entry: dict[str, Any]) -> SourceShard:
        uri = entry["uri"]
        for old, new in self.relocate.items():
            uri = moved(uri, old, new)
        return SourceShard(
            key=entry["key"],
            uri=uri,
            format=entry["format"],
            size_bytes=entry["size_bytes"],
            fingerprint=entry["fingerprint"],
            num_rows=entry["num_rows"],
            row_groups=tuple(entry["row_groups"]) if entry["format"] == "parquet" else None,
        )

    def chunks(self, shard: int) -> Chunks:
        """Where the text of each row group lies."""
        return locate_chunks(self.shards[shard], text=self.text, storage_options=self.storage_options)

    def rows(self) -> Iterator[Rows]:
        """Kept documents, in the blocks in which the plan was written."""
        codes = {name: code for code, name in enumerate(self.pool_names)}
        columns = ["row", "pool", "repeats", "order", "tokens"]
        spans = self._spans() if self.has_edits else None
        for index, _ in self.plan.iter_shards():
            for table in self.plan.iter_rows(index, columns=columns):
                if not table.num_rows:
                    continue
                repeats = table["repeats"].to_numpy()
                kept = np.flatnonzero(repeats)
                pool = table["pool"].combine_chunks()
                known = np.array([self._code(name, codes) for name in pool.dictionary.to_pylist()], np.uint32)
                yield Rows(
                    shard=index,
                    row=table["row"].to_numpy()[kept],
                    pool=known[pool.indices.to_numpy()[kept]],
                    repeats=repeats[kept],
                    tokens=table["tokens"].to_numpy()[kept],
                    order=table["order"].to_numpy()[kept],
                    spans=None if spans is None else self._take(spans, index, table.num_rows, kept),
                )

    def _code(self, name: str, codes: dict[str, int]) -> int:
        """Code of a pool; the plan's table has none where filters and duplicates left nothing."""
        if name not in codes:
            codes[name] = len(codes)
            self.pool_names.append(name)
        return codes[name]

    def _take(
        self, spans: Iterator[pa.Array], shard: int, num_rows: int, kept: npt.NDArray[np.int64]
    ) -> pa.Array:
        """Edits of the kept rows of the next block."""
        found = next(spans, None)
        num_found = 0 if found is None else len(found)
        if found is None or num_found != num_rows:
            raise DataError(f"{self.shards[shard].key}: {num_found} rows of edits, the plan has {num_rows}")
        return found.take(pa.array(kept))

    def _spans(self) -> Iterator[pa.Array]:
        """Edits of all rows, in the blocks in which the plan was written."""
        assert self.session is not None
        listed = {shard.key: shard.fingerprint for shard in self.session.shards}
        for shard in self.shards:
            check_same(shard, listed.get(shard.key) == shard.fingerprint, "its content differs")
        for block in self.session.blocks():
            if block.length:
                yield spans_of(self.session, block)


def open_plan(
    run: OpenRun | PlanFile,
    *,
    text: str | None = None,
    storage_options: dict[str, str] | None = None,
    relocate: Mapping[str, str] | None = None,
) -> PlanSource:
    """The kept documents of a run's current plan, or of a plan.

    `text` and `storage_options` are the recipe's where a run is given; `relocate` names places of shards that
    moved: old to new.

    Raises:
        StateError: the run has no plan, or is not measured where its plan edits texts.
        ConfigError: the plan edits texts, and only its run knows how.
    """
    if isinstance(run, PlanFile):
        return PlanSource(
            plan=run, text=text or "text", storage_options=storage_options or {}, relocate=relocate or {}
        )
    settings = run.session.recipe.input
    plan = run.plan_file
    return PlanSource(
        plan=plan,
        session=run.located() if plan.header["edits"] else None,
        text=text or settings.text,
        storage_options=settings.storage_options if storage_options is None else storage_options,
        relocate={**run.relocated, **(relocate or {})},
        max_line_bytes=settings.max_line_bytes,
    )
