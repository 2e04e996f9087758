"""Documents of earlier corpora in an index: their columns, their texts, and adding those that stay.

Not here: the folder (index.py), comparing (near_search.py).
"""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate import files
from curate.errors import ConfigError, DataError, StateError
from curate.pipeline.candidate_texts import NO_BUCKET, read_wanted
from curate.pipeline.index import FORMAT, SCOPE, Dump
from curate.pipeline.near import (
    NUM_SHINGLES,
    SIGNATURE,
    Rows,
    dump_name,
    index_of,
    near_settings,
    seen_dumps,
    to_signatures,
)
from curate.pipeline.planfile import PlanFile
from curate.pipeline.session import Block, Session
from curate.schema import TEXT
from curate.shards import Input, Shard, list_shards, read_rows, split_pieces


class Seen:
    """Documents of earlier dumps, numbered from 0 in their order of arrival."""

    def __init__(self, session: Session) -> None:
        """Look at the dumps before this corpus."""
        self._session = session
        self.dumps = seen_dumps(session)
        sizes = [dump.num_docs for dump in self.dumps]
        self._firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.num_docs = int(self._firsts[-1])

    def rows(self) -> Iterator[Rows]:
        """All documents with their columns."""
        index = index_of(self._session)
        for dump, first in zip(self.dumps, self._firsts.tolist(), strict=False):
            assert index is not None
            with index.docs(dump) as file:
                for group in range(file.metadata.num_row_groups):
                    length = file.metadata.row_group(group).num_rows
                    yield Rows(first=first, length=length, read=partial(self._read, dump, file, group))
                    first += length

    def _read(self, dump: Dump, file: pq.ParquetFile, group: int, names: list[str]) -> pl.DataFrame:
        within = near_settings(self._session)[0].within
        stored = [SCOPE if name == within else name for name in names]
        try:
            table = file.read_row_group(group, columns=list(dict.fromkeys(stored)))
        except (OSError, pa.ArrowException) as exc:
            raise DataError(f"{dump.file} of dump {dump.name} is damaged: {exc}") from exc
        frame = pl.DataFrame(pl.from_arrow(table))
        return frame.select(pl.col(have).alias(name) for have, name in zip(stored, names, strict=True))

    def feed(self, verifier: Any, buckets: Callable[[int, int], npt.NDArray[np.uint32]]) -> None:
        """Give a verifier the texts that have a bucket, from the shards of the dumps.

        Raises:
            DataError: a shard is missing or has changed.
        """
        for rows in self.rows():
            wanted = buckets(rows.first, rows.length)
            places = np.flatnonzero(wanted != NO_BUCKET)
            if not len(places):
                continue
            dump = self.dump_of(rows.first)
            frame = rows.read(["shard", "row"])[places]
            shards, numbers = frame["shard"].to_numpy(), frame["row"].to_numpy()
            done = 0
            for number in np.unique(shards).tolist():
                for texts in self._texts(dump, number, numbers[shards == number]):
                    mine = places[done : done + len(texts)]
                    done += len(mine)
                    nodes, own = pa.array(mine + rows.first), pa.array(wanted[mine])
                    verifier.add_texts(texts, nodes, own, self._session.limits.num_threads)

    def _texts(self, dump: Dump, number: int, rows: npt.NDArray[np.uint32]) -> Iterator[pa.Array]:
        """Texts of a few rows of a shard, which ascend."""
        for piece in split_pieces(self._shard(dump, number)):
            stop = int(rows[-1]) + 1 if piece.num_rows is None else piece.first_row + piece.num_rows
            inside = rows[(rows >= piece.first_row) & (rows < stop)]
            if len(inside):
                mask = np.zeros(stop - piece.first_row, bool)
                mask[inside - piece.first_row] = True
                limits = self._session.limits
                found = read_wanted(
                    piece,
                    self._input(dump),
                    mask,
                    max_bytes=limits.batch_bytes,
                    num_threads=limits.num_threads,
                )
                for texts, _ in found:
                    yield texts

    def dump_of(self, number: int) -> Dump:
        """The dump of a document."""
        return self.dumps[int(np.searchsorted(self._firsts, number, side="right")) - 1]

    def _input(self, dump: Dump) -> Input:
        options = self._session.recipe.input.storage_options
        return Input(
            paths=[uri for uri, _ in dump.shards], text=dump.text, columns=[], storage_options=options
        )

    def _shard(self, dump: Dump, number: int) -> Shard:
        uri, content = dump.shards[number]
        if uri not in self._listings:
            settings = self._input(dump).model_copy(update={"paths": [uri]})
            try:
                (self._listings[uri],) = list_shards(settings, cache=self._session.store.shard_cache)
            except (ValueError, OSError, ConfigError) as exc:
                raise DataError(
                    f"a shard of dump {dump.name} is missing: {uri}",
                    hint="put it back; or begin another index with dedup.minhash.verify: signature",
                ) from exc
        found = self._listings[uri]
        if found.fingerprint != content:
            raise DataError(
                f"a shard of dump {dump.name} has changed: {uri}",
                hint="put it back; or begin another index with dedup.minhash.verify: signature",
            )
        return found

    @cached_property
    def _listings(self) -> dict[str, Shard]:
        return {}

    def place_of(self, number: int) -> tuple[Dump, str, int]:
        """Dump, URI and row of a document."""
        for rows in self.rows():
            if rows.first <= number < rows.first + rows.length:
                dump = self.dump_of(number)
                shard, row = rows.read(["shard", "row"]).row(number - rows.first)
                return dump, dump.shards[shard][0], int(row)
        raise DataError(f"the index has no document {number}; it was changed after this run")

    def read_text(self, number: int) -> str:
        """The text of a document, as its shard has it."""
        dump, uri, row = self.place_of(number)
        shard = self._shard(dump, [each for each, _ in dump.shards].index(uri))
        table = read_rows(shard, self._input(dump), [row], [TEXT])
        return (table[TEXT][0].as_py() or b"").decode("utf-8", "replace")


def find_in_index(session: Session, plan: PlanFile, *, expected: str) -> Dump | None:
    """The dump that a plan is in its index; None where it can be added, or there is no index.

    `expected` is the fingerprint of the plan of this recipe as the index is now.

    Raises:
        StateError: the name is taken by another plan, or the plan has not seen the dumps of the index.
    """
    index = index_of(session)
    if index is None:
        return None
    name = dump_name(session)
    for dump in index.dumps:
        if dump.name == name and dump.plan == plan.fingerprint:
            return dump
        if dump.name == name:
            raise StateError(
                f"{index.path} has another dump of that name: {name}",
                hint="a dump cannot be replaced: choose another dedup.minhash.index.name, set `add: false`, "
                "or begin another index",
            )
    if plan.fingerprint != expected:
        raise StateError(
            f"the plan was made before the last dump came into {index.path}", hint="run `curate plan` again"
        )
    return None


def add_to_index(session: Session, plan: PlanFile, *, expected: str) -> Dump | None:
    """Add the documents that a plan keeps, once; returns the dump, None where the recipe says not to.

    Raises:
        StateError: as `find_in_index`, or another dump came in between.
    """
    index = index_of(session)
    if index is None or (settings := near_settings(session)[0].index) is None or not settings.add:
        return None
    if (found := find_in_index(session, plan, expected=expected)) is not None:
        return found
    name, number = dump_name(session), len(index.dumps)
    file = f"dumps/{number:06d}-{plan.fingerprint[:16]}.parquet"
    files.make_dirs((index.path / file).parent)
    with files.atomic_file(index.path / file) as output:
        num_docs = _write_docs(session, plan, output)
    near, stage = near_settings(session)
    record = {
        "format": FORMAT,
        "number": number,
        "name": name,
        "plan": plan.fingerprint,
        "signatures": stage.fingerprint(),
        "within": near.within,
        "text": session.recipe.input.text,
        "is_edited": session.is_edited(stage.key),
        "shards": [[shard.uri, shard.fingerprint] for shard in session.shards],
        "num_docs": num_docs,
        "file": file,
        "blake3": files.hash_file(index.path / file),
    }
    index.add(number, record)
    del index.__dict__["dumps"]
    return index.dumps[number]


def _write_docs(session: Session, plan: PlanFile, output: Any) -> int:
    _, stage = near_settings(session)
    schema = pa.schema(
        [
            pa.field("shard", pa.uint32(), nullable=False),
            pa.field("row", pa.uint32(), nullable=False),
            pa.field("doc_id", pa.binary(16)),
            pa.field(NUM_SHINGLES, pa.uint32()),
            pa.field(SIGNATURE, pa.binary(4 * stage.num_hashes)),
            pa.field(SCOPE, pa.string()),
        ]
    )
    num_docs = 0
    with pq.ParquetWriter(
        output, schema, compression="zstd", compression_level=1, write_page_checksum=True
    ) as writer:
        for block in session.blocks():
            table = _docs(session, plan, block, stage, schema)
            if table.num_rows:
                writer.write_table(table, row_group_size=table.num_rows)
                num_docs += table.num_rows
    return num_docs


def _docs(session: Session, plan: PlanFile, block: Block, stage: Any, schema: pa.Schema) -> pa.Table:
    stop = block.first_row + block.length
    decided = plan.rows(block.shard_index, start=block.first_row, stop=stop, columns=["repeats"])
    rows = np.flatnonzero(decided["repeats"].to_numpy())
    within = near_settings(session)[0].within
    names = ["doc_id", NUM_SHINGLES, SIGNATURE, *([within] if within else [])]
    frame = session.read_columns(block, names)[rows]
    scope = (
        frame[within].cast(pl.String).to_arrow().cast(pa.string())
        if within
        else pa.nulls(len(rows), pa.string())
    )
    arrays = [
        pa.array(np.full(len(rows), block.shard_index, np.uint32)),
        pa.array((rows + block.first_row).astype(np.uint32)),
        frame["doc_id"].to_arrow().cast(pa.binary(16)),
        frame[NUM_SHINGLES].to_arrow(),
        to_signatures(frame, stage),
        scope,
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
