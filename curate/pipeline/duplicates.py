"""The plan's choice among duplicates: exact copies first, then near duplicates among what is left.

Every document that is dropped has a witness: the document that stays and their similarity, kept beside the
plan. Not here: finding duplicates (resolve.py, near.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.dedup.exact import DUPLICATE as EXACT
from curate.dedup.exact import Keepers, Losers
from curate.dedup.near import DUPLICATE as NEAR
from curate.dedup.near_keepers import NearKeepers, NearLosers
from curate.dedup.spill import ByOrdinal
from curate.pipeline import near, rails
from curate.pipeline.pairs import verify_pairs
from curate.pipeline.session import Block, Session
from curate.runs import Output

REASONS = (EXACT, NEAR)
_MAX_ROUNDS = 64
"""Times that missing pairs of documents that stay are verified and the choice is made anew."""

WITNESS_SCHEMA = pa.schema(
    [
        pa.field("ordinal", pa.int64(), nullable=False),
        pa.field("keeper", pa.int64(), nullable=False),
        pa.field("similarity", pa.float64()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""For every dropped duplicate, in key order: the document that stays for it, and their similarity (null where
`cluster: connected` links them by others only). A copy of a document that goes for a similar one has that as
its witness."""

_NO_ROWS = pl.DataFrame(
    schema={"ordinal": pl.Int64, "keeper": pl.Int64, "similarity": pl.Float64, "reason": pl.String}
)

Survivors = Callable[[Block], npt.NDArray[np.bool_]]


class Duplicates:
    """Which documents are dropped for another one."""

    def __init__(self, session: Session) -> None:
        """Choose nothing yet."""
        self._session = session
        self._memory = session.limits.memory_bytes // 2
        self._exact: Losers | None = None
        self._near: NearLosers | None = None
        self.warnings: list[str] = []

    def choose(self, survivors: Survivors) -> None:
        """Choose among the documents that filters leave."""
        dedup = self._session.recipe.dedup
        if dedup.exact is not None:
            keepers = Keepers(dedup.exact, scratch=self._session.run.scratch, memory_bytes=self._memory)
            for block in self._session.blocks():
                ids = self._session.read_columns(block, ["exact.cluster_id"])["exact.cluster_id"].to_numpy()
                keys = self._session.read_columns(block, dedup.exact.columns())
                keepers.add(block.first_ordinal, ids, survivors(block), keys)
            self._exact = keepers.finish()
        if dedup.minhash is not None:
            self._choose_near(survivors)

    def _choose_near(self, survivors: Survivors) -> None:
        session, settings = self._session, self._session.recipe.dedup.minhash
        assert settings is not None
        num_docs = sum(entry.length for entry in session.entries)
        keepers = NearKeepers(
            settings, scratch=session.run.scratch, memory_bytes=self._memory, num_docs=num_docs
        )
        names = ["minhash.cluster_id", "minhash.node", "minhash.is_hot"]
        for block in session.blocks():
            left = survivors(block)
            self._drop(self._exact, block, left)
            keys = session.read_columns(block, settings.columns())
            keepers.add(block.first_ordinal, session.read_columns(block, names), left, keys)
        for edges in _read_edges(session):
            keepers.add_edges(edges)
        self.warnings = near.check(session) + self._verify_missing(keepers)
        self._near = keepers.finish()
        keepers.close()
        self.warnings += self._check_losses(survivors)

    def _verify_missing(self, keepers: NearKeepers) -> list[str]:
        """Compare documents that stay and were not compared; a warning where they are too many."""
        for _ in range(_MAX_ROUNDS):
            missing = list(keepers.unverified())
            if not missing:
                return []
            keepers.add_edges(verify_pairs(self._session, pl.concat(missing)))
        pairs = list(keepers.unverified())
        if not pairs:
            return []
        number = pl.concat([part[name] for part in pairs for name in ("a", "b")]).n_unique()
        return [
            f"{number:,} documents of groups without a representative that stays were not all compared with "
            f"each other, and may be similar: raise dedup.minhash.max_group"
        ]

    def _check_losses(self, survivors: Survivors) -> list[str]:
        session, settings = self._session, self._session.recipe.dedup.minhash
        assert settings is not None
        name = rails.source_column(session)
        before: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        for block in session.blocks():
            left = survivors(block)
            self._drop(self._exact, block, left)
            dropped = left.copy()
            self._drop(self._near, block, left)
            dropped &= ~left
            source = session.read_columns(block, [name])[name].cast(pl.String) if name else _all(block.length)
            for counter, mask in ((before, left | dropped), (lost, dropped)):
                for value, number in source.filter(pl.Series(mask)).value_counts().iter_rows():
                    counter[str(value)] += number
        return rails.check_losses(settings, before, lost)

    def drop(self, block: Block, left: npt.NDArray[np.bool_]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
        """Take the duplicates of a block out of what is left; yields reasons and places."""
        for reason, losers in ((EXACT, self._exact), (NEAR, self._near)):
            yield reason, self._drop(losers, block, left)

    def _drop(
        self, losers: Losers | NearLosers | None, block: Block, left: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int64]:
        found = None if losers is None else losers.read(block.first_ordinal, block.length)
        places = np.empty(0, np.int64) if found is None else found["ordinal"].to_numpy() - block.first_ordinal
        left[places] = False
        return np.asarray(places)

    def write(self, output: Output) -> int:
        """Write the witnesses."""
        moved = self._moved()
        writer = pq.ParquetWriter(output, WITNESS_SCHEMA, compression="zstd", compression_level=1)
        num_rows = 0
        for block in self._session.blocks():
            parts = [part for part in (self._exact_rows(block, moved), self._near_rows(block)) if part.height]
            if parts:
                table = pl.concat(parts).sort("ordinal").to_arrow().cast(WITNESS_SCHEMA)
                writer.write_table(table, row_group_size=table.num_rows)
                num_rows += table.num_rows
        writer.close()
        moved.close()
        return num_rows

    def _near_rows(self, block: Block) -> pl.DataFrame:
        found = None if self._near is None else self._near.read(block.first_ordinal, block.length)
        if found is None:
            return _NO_ROWS
        return found.select("ordinal", "keeper", "similarity", reason=pl.lit(NEAR))

    def _exact_rows(self, block: Block, moved: ByOrdinal) -> pl.DataFrame:
        found = None if self._exact is None else self._exact.read(block.first_ordinal, block.length)
        if found is None:
            return _NO_ROWS
        similarity, reason = pl.lit(1.0), pl.lit(EXACT)
        rows = found.select("ordinal", "keeper", similarity=similarity, reason=reason)
        instead = moved.read(block.first_ordinal, block.length)
        return rows if instead is None else rows.update(instead, on="ordinal")

    def _moved(self) -> ByOrdinal:
        """Exact copies of a document that goes for a similar one: they go for that one too."""
        session, num_docs = self._session, sum(entry.length for entry in self._session.entries)
        folder, memory = session.run.scratch, self._memory // 2
        copies = ByOrdinal(folder, "copies", memory_bytes=memory, num_ordinals=num_docs)
        moved = ByOrdinal(folder, "moved", memory_bytes=memory, num_ordinals=num_docs)
        if self._exact is None or self._near is None:
            return moved
        for block in session.blocks():
            found = self._exact.read(block.first_ordinal, block.length)
            if found is not None:
                copies.add(found.select(ordinal="keeper", copy="ordinal"))
        for block in session.blocks():
            mine = copies.read(block.first_ordinal, block.length)
            gone = self._near.read(block.first_ordinal, block.length)
            if mine is not None and gone is not None:
                rows = mine.join(gone, on="ordinal").select("keeper", "similarity", ordinal="copy")
                moved.add(rows.select("ordinal", "keeper", "similarity"))
        copies.close()
        return moved


def _all(length: int) -> pl.Series:
    return pl.Series([rails.ALL]).new_from_index(0, length)


def _read_edges(session: Session) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(near.edges_path(session)) as file:
        for group in range(file.metadata.num_row_groups):
            yield pl.DataFrame(pl.from_arrow(file.read_row_group(group)))


def read_witness(path: Any, ordinal: int) -> dict[str, Any] | None:
    """The witness of a dropped duplicate."""
    with pq.ParquetFile(path) as file:
        for group in range(file.metadata.num_row_groups):
            column = file.metadata.row_group(group).column(0).statistics
            if column.min <= ordinal <= column.max:
                rows = file.read_row_group(group).filter(pc.field("ordinal") == ordinal).to_pylist()
                if rows:
                    return dict(rows[0])
    return None
