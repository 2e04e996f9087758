"""One command's view of a run: recipe, shards, pieces, store and run folder, opened once.

A piece is what a task covers. Its key hashes the content of the shard's row groups and how text is read
from them, so a changed text column is another piece and an added shard changes no other.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import polars as pl
import pyarrow as pa

from curate import text
from curate.errors import ConfigError, DataError, StateError
from curate.files import replace_json
from curate.measure import Document, Identity
from curate.pipeline import transform
from curate.pipeline.limits import Limits
from curate.pipeline.progress import Progress, Silent, Timing
from curate.pipeline.recipe import Recipe
from curate.pipeline.stopping import Stop
from curate.runs import ROW_GROUP_ROWS, Commit, Run, Store
from curate.schema import ERROR, fingerprint
from curate.shards import Piece, Shard, carried_schema, list_shards, split_pieces
from curate.shards.columns import convert

EDITS_STAGE = "edits"
"""Name of the stage that holds what the recipe's transforms remove."""

INPUT_STAGE = "input"
"""Name of the stage that copies the input's own columns, so that rules on them need no shard."""

DETAIL = "input.error_detail"


@dataclass(kw_only=True)
class PieceEntry:
    """One piece and where it stands in the corpus; the store takes it as a piece, by its key."""

    piece: Piece
    fingerprint: str
    """Hash of the rows' content and of how text is read from them."""
    shard_index: int
    length: int = -1
    """Rows; -1 until it is measured."""
    first_ordinal: int = -1
    commits: dict[str, Commit] = field(default_factory=dict)
    """Stage name -> commit of its column file."""

    @property
    def shard(self) -> Shard:
        """The shard it is of."""
        return self.piece.shard

    @property
    def ordinal(self) -> int:
        """Its position among the pieces of the shard."""
        return self.piece.ordinal

    @property
    def first_row(self) -> int:
        """Its first row in the shard."""
        return self.piece.first_row

    @property
    def num_rows(self) -> int | None:
        """Its number of rows, None for a JSONL shard: that is counted while measuring."""
        return self.piece.num_rows

    def blocks(self) -> Iterator["Block"]:
        """Its rows in blocks; at least one."""
        for number in range(max(1, -(-self.length // ROW_GROUP_ROWS))):
            yield Block(entry=self, number=number)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Consecutive rows of a piece that are decided together: what is held in memory of columns.

    A block is one row group of the column files.
    """

    entry: PieceEntry
    number: int
    """Its position in the piece."""

    @property
    def shard_index(self) -> int:
        """Position of its shard in the corpus."""
        return self.entry.shard_index

    @property
    def offset(self) -> int:
        """Its first row in the piece."""
        return self.number * ROW_GROUP_ROWS

    @property
    def length(self) -> int:
        """Its rows; a piece without rows has one block without rows."""
        return min(ROW_GROUP_ROWS, self.entry.length - self.offset)

    @property
    def first_row(self) -> int:
        """Its first row in the shard."""
        return self.entry.first_row + self.offset

    @property
    def first_ordinal(self) -> int:
        """Its first document in the corpus."""
        return self.entry.first_ordinal + self.offset


class Facts(Protocol):
    """Columns that resolve found out, read like measured ones."""

    @property
    def schema(self) -> pa.Schema:
        """Their names and types."""
        ...

    def read(self, rows: PieceEntry | Block) -> pa.Table:
        """All of them for the rows of a piece or block."""
        ...


class Session:
    """Everything that the steps of one command share."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        limits: Limits | None = None,
        progress: Progress | None = None,
        read_only: bool = False,
        stop: Stop | None = None,
    ) -> None:
        """Open the store and the run folder; shards are listed at first use.

        With `read_only` nothing is made where it is missing; `stop` is asked before each task.
        """
        self.recipe = recipe
        self.limits = limits or Limits()
        self.progress = progress or Silent()
        self.stop = stop or Stop()
        self.store = Store(recipe.store_dir, create=not read_only)
        place = os.path.relpath(recipe.store_dir.resolve(), recipe.run_dir.resolve())
        self.run = Run(recipe.run_dir, store=place, create=not read_only)
        self.timings: list[Timing] = []
        self.facts: list[Facts] = []
        """What resolve found; empty before it."""

    @cached_property
    def shards(self) -> list[Shard]:
        """The corpus: shards in key order, fingerprinted (from the cache where size and time agree)."""
        return list_shards(self.recipe.input, cache=self.store.shard_cache)

    @cached_property
    def entries(self) -> list[PieceEntry]:
        """The pieces of the corpus in key order.

        Where a transform sees the whole corpus, copies of a piece are not alike: what goes from each depends
        on those before it.
        """
        copies: Counter[str] = Counter()
        how = [self.recipe.input.text, self.recipe.input.columns, self.recipe.input.max_line_bytes]
        found = []
        for index, shard in enumerate(self.shards):
            for piece in split_pieces(shard):
                key = fingerprint(["piece", 1, piece.fingerprint, how])
                copies[key] += 1
                if self.recipe.rounds and copies[key] > 1:
                    key = fingerprint([key, "copy", copies[key]])
                found.append(PieceEntry(piece=piece, fingerprint=key, shard_index=index))
        return found

    @cached_property
    def stage_fingerprints(self) -> dict[str, str]:
        """Fingerprint of each measuring stage, by name, with the input's own columns first."""
        return self._fingerprint_stages()

    def _fingerprint_stages(self) -> dict[str, str]:
        found = {INPUT_STAGE: fingerprint([INPUT_STAGE, 1])}
        seen: list[str] = []
        for each in self.recipe.transforms:
            seen.append(each.fingerprint())
            if each in self.recipe.rounds:
                seen += [entry.fingerprint for entry in self.entries]
                found[each.name] = fingerprint(["round", 1, seen])
                seen = [found[each.name]]
        view = fingerprint(seen)
        if self.recipe.transforms:
            found[EDITS_STAGE] = view
        for stage in self.recipe.stages:
            own = stage.fingerprint()
            found[stage.key] = fingerprint([own, view]) if self.is_edited(stage.key) else own
        return found

    def is_edited(self, stage: str) -> bool:
        """Whether a stage measures text through the edits of the recipe; `identity` and `document` do not."""
        return bool(self.recipe.transforms) and stage not in (Document.kind, Identity.kind)

    @cached_property
    def stage_specs(self) -> dict[str, text.NativeSpec]:
        """What each stage wants from the native pass, with the model files that its fingerprint was made of.

        Raises:
            DataError: one of them was replaced between the two.
        """
        before = self.stage_fingerprints
        specs = {stage.key: stage.needs() for stage in self.recipe.stages}
        if before != self._fingerprint_stages():
            raise DataError("a model or tokenizer changed while the run began", hint="run again")
        return specs

    @cached_property
    def spec(self) -> text.NativeSpec:
        """What all stages together want from the native pass."""
        return text.NativeSpec.union(self.stage_specs.values())

    @cached_property
    def measured_schema(self) -> pa.Schema:
        """Columns of all measuring stages, without the input's own."""
        schema = text.measure(pa.array([], pa.large_binary()), self.spec).schema
        edits = self._edits_schema
        return pa.schema([*(item for item in schema if item.name != text.INVALID_UTF8), *edits])

    @property
    def _edits_schema(self) -> pa.Schema:
        return transform.edits_schema(self.recipe.transforms) if self.recipe.transforms else pa.schema([])

    @property
    def measured_columns(self) -> list[str]:
        """Names of the columns that stages measure."""
        return list(self.measured_schema.names)

    def measured_type(self, name: str) -> pa.DataType:
        """Arrow type of a measured column."""
        return self.measured_schema.field(name).type

    @property
    def facts_schema(self) -> pa.Schema:
        """Columns that resolve found out."""
        return pa.schema([field for facts in self.facts for field in facts.schema])

    @cached_property
    def carried(self) -> pa.Schema:
        """The input's own columns over all shards, text aside."""
        return carried_schema(self.shards, self.recipe.input)

    def stage_of(self, name: str) -> str:
        """Name of the stage that holds a column.

        Raises:
            ConfigError: no stage and no input column has that name.
        """
        for stage in self.recipe.stages:
            if name in stage.columns():
                return stage.key
        if name in self._edits_schema.names:
            return EDITS_STAGE
        if name in (ERROR, DETAIL) or name in self.carried.names:
            return INPUT_STAGE
        known = [*self.carried.names, *self.measured_columns, *self.facts_schema.names]
        raise ConfigError(f"there is no column of that name: {name}", hint=f"known are {', '.join(known)}")

    def blocks(self) -> Iterator[Block]:
        """The rows of the corpus in key order, in blocks; every piece has one at least."""
        for entry in self.entries:
            yield from entry.blocks()

    def read_columns(self, rows: PieceEntry | Block, names: Iterable[str]) -> pl.DataFrame:
        """Read columns of a piece or a block from store and facts, in the given order, a row per document.

        A column that this shard lacks and others have comes as nulls of its type.

        Raises:
            StateError: the piece has not been measured for a stage, or a column file is not of this piece.
        """
        wanted = list(dict.fromkeys(names))
        known = set(self.facts_schema.names)
        frame = self._read_measured(rows, [name for name in wanted if name not in known])
        for facts in self.facts:
            found = [name for name in wanted if name in facts.schema.names]
            if found:
                columns = pl.DataFrame(pl.from_arrow(facts.read(rows).select(found)))
                frame = frame.hstack(columns) if frame.width else columns
        return frame.select(wanted) if wanted else frame

    def _read_measured(self, rows: PieceEntry | Block, wanted: list[str]) -> pl.DataFrame:
        entry, group = (rows.entry, rows.number) if isinstance(rows, Block) else (rows, None)
        by_stage: dict[str, list[str]] = {}
        for name in wanted:
            stage = self.stage_of(name)
            if stage not in entry.commits:
                raise StateError(
                    f"{entry.shard.key} has not been measured for `{stage}`", hint="run `curate measure`"
                )
            if stage != INPUT_STAGE or name in entry.commits[stage].meta["columns"]:
                by_stage.setdefault(self.stage_fingerprints[stage], []).append(name)
        frame = pl.DataFrame(height=rows.length)
        if by_stage:
            table = self._to_carried_types(self.store.read_columns(entry, by_stage, row_group=group))
            frame = pl.DataFrame(pl.from_arrow(table))
        lacking = [name for name in wanted if name not in frame.columns]
        if lacking:
            kinds = pl.DataFrame(pl.from_arrow(self.carried.empty_table())).schema
            frame = frame.with_columns(pl.lit(None, dtype=kinds[name]).alias(name) for name in lacking)
        return frame

    def _to_carried_types(self, table: pa.Table) -> pa.Table:
        """Convert columns of the input, which are stored as their shard has them, to the corpus's types."""
        for index, column in enumerate(table.schema):
            if column.name in self.carried.names and column.type != self.carried.field(column.name).type:
                field = self.carried.field(column.name)
                table = table.set_column(
                    index, field, convert(table[column.name].combine_chunks(), field.type)
                )
        return table

    def save_timings(self) -> None:
        """Write what the steps of this process took to `timings.json` of the run; not a compared result."""
        replace_json(
            self.run.root / "timings.json",
            {"format": 1, "steps": [timing.as_dict() for timing in self.timings]},
        )
