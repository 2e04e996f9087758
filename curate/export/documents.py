"""The documents of an export: pool by pool, in the plan's order, cut into parts.

A pass over columns finds how much text every pool has. Where each piece of the corpus holds documents of one
pool, and the order is that of the input, a part is some consecutive pieces and texts are read once. Otherwise
documents are sorted by (pool, pass, order) with the sort of a shuffled delivery, and a part is some
consecutive buckets: one write and read of the text more. A pass r of a pool holds what is repeated r times or
more, so copies of a document lie far from each other. Parts depend on plan and settings alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from curate.pipeline.kept import Decided, KeptDocuments
from curate.pipeline.planfile import PlanFile
from curate.pipeline.session import Block, PieceEntry, Session
from curate.pipeline.shuffle import ORDER, Shuffle
from curate.pipeline.split import Split

BUCKET_BYTES = 64 << 20
"""Text of a bucket of the sort, at most. It decides the parts."""
ORDINAL = "__document"
"""Column beside the documents: their position in the corpus."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Consecutive documents of a pool that are written together."""

    pool: str
    number: int
    """Position among the parts of the pool."""
    num_bytes: int
    """Text, about."""
    entries: tuple[PieceEntry, ...] = ()
    buckets: range = range(0)

    @property
    def inputs(self) -> list[str]:
        """What decides its documents, beside the plan."""
        return [
            self.pool,
            str(self.number),
            *(entry.fingerprint for entry in self.entries),
            str(self.buckets),
        ]


class PoolDocuments(KeptDocuments):
    """The kept documents of some pools."""

    plan_columns: ClassVar[tuple[str, ...]] = ("repeats", "order", "pool", "tokens")

    def __init__(  # over: what is exported, and how it is cut
        self,
        session: Session,
        plan: PlanFile,
        schema: pa.Schema,
        *,
        pools: Sequence[str],
        repeats: bool,
        part_bytes: int,
    ) -> None:
        """Look through the columns: `pools` are sorted, `part_bytes` of text make a part."""
        super().__init__(session, plan, schema)
        self.pools = list(pools)
        self._ranks = {name: rank for rank, name in enumerate(self.pools)}
        self._repeats = repeats
        self._part_bytes = part_bytes
        self._shuffled = session.recipe.plan.is_sorted
        bucket, is_even = min(part_bytes, BUCKET_BYTES), session.recipe.plan.order == "shuffle"
        self._split = Split(column="pool", bucket_bytes=bucket, shuffled=self._shuffled, is_even=is_even)
        self._entry_bytes: list[Counter[str]] = [Counter() for _ in session.entries]
        self.num_tokens: Counter[str] = Counter()
        """Tokens of each pool as the plan counts them, those of copies too."""
        self._first_key = 0
        self._sorted = False
        self._survey()

    @property
    def is_sorted(self) -> bool:
        """Whether documents are sorted, not just read."""
        return self._sorted

    @property
    def num_bytes(self) -> int:
        """Bytes of all texts, those of copies too, about."""
        return sum(self._split.sizes.values())

    def parts(self) -> list[Part]:
        """All parts, pool by pool; a pool without documents has none."""
        return self._sorted_parts() if self.is_sorted else self._direct_parts()

    def tables(self, part: Part, shuffle: Shuffle | None) -> Iterator[pa.Table]:
        """The documents of a part: columns of the schema and `ORDINAL`."""
        if shuffle is None:
            for entry in part.entries:
                yield from self.kept(entry)
        else:
            for bucket in part.buckets:
                yield from shuffle.read(bucket)

    def scatter(self, folder: Path, parts: Sequence[Part]) -> Shuffle:
        """Sort the documents of the last parts, those from `parts[0]` on, into `folder`."""
        bounds = [key for starts in self._split.bounds() for key in starts]
        self._first_key = bounds[parts[0].buckets.start]
        run_bytes = self.session.limits.memory_bytes // 8
        shuffle = Shuffle(folder, bounds=bounds[1:], run_bytes=run_bytes)
        for entry in self.session.entries:
            self.session.stop.check()
            for table in self.kept(entry):
                shuffle.add(table)
        shuffle.flush()
        return shuffle

    def locate(self, ordinals: Any) -> tuple[list[str], Any]:
        """Shard key and row of documents."""
        entries = self.session.entries
        firsts = np.array([entry.first_ordinal for entry in entries], np.int64)
        places = np.searchsorted(firsts, ordinals, side="right") - 1
        rows = np.array([entry.first_row for entry in entries], np.int64)[places] + ordinals - firsts[places]
        return [entries[place].shard.key for place in places.tolist()], rows

    def _survey(self) -> None:
        """Add up bytes by pool and pass; see whether a sort is needed."""
        position = {id(entry): index for index, entry in enumerate(self.session.entries)}
        for block in self.session.blocks():
            plan = self.rows(block, list(self.plan_columns))
            repeats, codes = self._wanted(block, plan), _codes(plan, self._ranks)
            if not repeats.any():
                continue
            sizes, tokens = self.kept_bytes(block), plan["tokens"].to_numpy()
            for number in range(int(repeats.max())):
                wanted = np.where(repeats > number, sizes, 0)
                order = plan["order"].to_numpy()
                self._split.add(self._cells(codes, number), wanted, block.first_ordinal, order)
                mine = wanted > 0
                num_bytes = np.bincount(codes[mine], wanted[mine], minlength=len(self.pools))
                num_tokens = np.bincount(codes[mine], tokens[mine], minlength=len(self.pools))
                for rank in np.flatnonzero(num_bytes).tolist():
                    self.num_tokens[self.pools[rank]] += int(num_tokens[rank])
                    self._entry_bytes[position[id(block.entry)]][self.pools[rank]] += int(num_bytes[rank])
        is_mixed = any(len(pools) > 1 for pools in self._entry_bytes)
        has_copies = any(not str(cell).endswith(_pass_name(0)) for cell in self._split.sizes)
        self._sorted = self._shuffled or is_mixed or has_copies

    def _direct_parts(self) -> list[Part]:
        found: list[Part] = []
        for pool in self.pools:
            number, num_bytes = 0, 0
            entries: list[PieceEntry] = []
            for entry, sizes in zip(self.session.entries, self._entry_bytes, strict=True):
                if pool in sizes:
                    entries.append(entry)
                    num_bytes += sizes[pool]
                if num_bytes >= self._part_bytes:
                    found.append(Part(pool=pool, number=number, num_bytes=num_bytes, entries=tuple(entries)))
                    number, num_bytes, entries = number + 1, 0, []
            if entries:
                found.append(Part(pool=pool, number=number, num_bytes=num_bytes, entries=tuple(entries)))
        return found

    def _sorted_parts(self) -> list[Part]:
        """A part never goes over the end of a pass."""
        found: list[Part] = []
        numbers: Counter[str] = Counter()
        first = 0
        step = max(1, self._part_bytes // self._split.bucket_bytes)
        for cell, starts in zip(self._split.values(), self._split.bounds(), strict=True):
            pool = self.pools[int(str(cell).partition(".")[0])]
            size = self._split.sizes[cell] // len(starts)
            for start in range(0, len(starts), step):
                buckets = range(first + start, first + min(start + step, len(starts)))
                num_bytes = size * len(buckets)
                found.append(Part(pool=pool, number=numbers[pool], num_bytes=num_bytes, buckets=buckets))
                numbers[pool] += 1
            first += len(starts)
        return found

    def _wanted(self, block: Block, plan: pa.Table) -> Any:
        repeats = plan["repeats"].to_numpy()
        repeats = np.where(_codes(plan, self._ranks) >= 0, repeats, 0)
        repeats = repeats if self._repeats else np.minimum(repeats, 1)
        if self._first_key and self._sorted:
            repeats = self._still_wanted(block, plan, repeats)
        return repeats

    def _still_wanted(self, block: Block, plan: pa.Table, repeats: Any) -> Any:
        """Leave out documents all of whose copies are in parts that are done, so that they are not read."""
        rows = np.flatnonzero(repeats)
        if not len(rows):
            return repeats
        keys = np.zeros(len(rows), np.uint64)
        for number in range(int(repeats.max())):
            mine = repeats[rows] > number
            keys[mine] = np.maximum(keys[mine], self._keys(block, plan, rows[mine], number))
        left = np.zeros_like(repeats)
        is_left = keys >= np.uint64(self._first_key)
        left[rows[is_left]] = repeats[rows[is_left]]
        return left

    def _finish(self, table: pa.Table, rows: Any, decided: Decided) -> pa.Table:
        """Add `ORDINAL`, and in a sort its keys and a row for each copy that is not written yet."""
        ordinals = rows + decided.block.first_ordinal
        table = table.append_column(ORDINAL, pa.array(ordinals, pa.int64()))
        if not self.is_sorted:
            return table
        repeats = decided.repeats[rows]
        tables = []
        for number in range(int(repeats.max())):
            places = np.flatnonzero(repeats > number)
            keys = self._keys(decided.block, decided.plan, rows[places], number)
            places, keys = places[keys >= self._first_key], keys[keys >= self._first_key]
            copies = table.take(pa.array(places)).append_column(ORDER[0], pa.array(keys, pa.uint64()))
            tables.append(copies.append_column(ORDER[1], pa.array(ordinals[places], pa.int64())))
        return pa.concat_tables(tables)

    def _keys(self, block: Block, plan: pa.Table, rows: Any, number: int) -> Any:
        """Sort keys of rows of a block in a pass."""
        cells = self._cells(_codes(plan, self._ranks)[rows], number)
        order = plan["order"].to_numpy()[rows]
        return self._split.keys(cells, order, rows + block.first_ordinal)

    def _cells(self, codes: Any, number: int) -> pl.Series:
        """Names of pool and pass, which sort as the two do; of rows in no pool the name of the first."""
        names = np.array([f"{rank:05d}{_pass_name(number)}" for rank in range(len(self.pools))])
        return pl.Series(names[np.maximum(codes, 0)], dtype=pl.String)


def _pass_name(number: int) -> str:
    return f".{number:05d}"


def _codes(plan: pa.Table, ranks: dict[str, int]) -> Any:
    """Rank of each row's pool, -1 where it is not exported."""
    found = []
    for chunk in plan["pool"].chunks:
        names = np.array([ranks.get(name, -1) for name in chunk.dictionary.to_pylist()] + [-1], np.int64)
        found.append(names[chunk.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)])
    return np.concatenate(found) if found else np.zeros(0, np.int64)
