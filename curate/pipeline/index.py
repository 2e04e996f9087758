"""The index: documents that stayed in earlier corpora, against which the next one is deduplicated.

A folder of numbered dumps, in their order of arrival. Each is a Parquet file with signature, content hash and
place of every document that its plan kept, and a record that is created if absent when the file is in place:
a process that is killed leaves nothing that is seen, and of two that add at the same time one is told to run
again. A dump is compared with those before it, so running it again gives what it gave.

Texts are not copied: exact verification reads them from the shards of the dump, which must be in place.
Cost: about 540 bytes for each document. Not here: comparing (near_search.py), what is added (seen.py).
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate import files
from curate.errors import DataError, StateError
from curate.schema import fingerprint

FORMAT = 1
SCOPE = "scope"
"""Column of the values inside which duplicates are looked for."""


@dataclass(frozen=True, kw_only=True)
class Dump:
    """One corpus in an index."""

    number: int
    name: str
    plan: str
    """Fingerprint of the plan that kept its documents."""
    signatures: str
    """Fingerprint of how signatures were made."""
    within: str | None
    text: str
    """Name of the text column."""
    is_edited: bool
    """Whether signatures were made of edited text."""
    shards: tuple[tuple[str, str], ...]
    """URI and fingerprint of each."""
    num_docs: int
    file: str
    blake3: str

    @property
    def fingerprint(self) -> str:
        """Hash of what is in it."""
        return fingerprint(["dump", self.number, self.blake3])


def _to_dump(record: dict[str, Any], path: Path, *, number: int) -> Dump:
    texts = ("name", "plan", "signatures", "text", "file", "blake3")
    try:
        shards = tuple((uri, content) for uri, content in record.pop("shards"))
        dump = Dump(**record, shards=shards)
    except (TypeError, ValueError, KeyError) as exc:
        raise DataError(f"{path} is damaged: {exc}") from exc
    good = all(isinstance(getattr(dump, name), str) for name in texts)
    good &= all(isinstance(part, str) for shard in shards for part in shard)
    good &= isinstance(dump.num_docs, int) and dump.num_docs >= 0 and dump.number == number
    good &= bool(shards or not dump.num_docs) and dump.within.__class__ in (str, type(None))
    if not good or Path(dump.file).is_absolute() or ".." in Path(dump.file).parts:
        raise DataError(f"{path} is damaged: a value has the wrong type")
    return dump


class Index:
    """The dumps in a folder."""

    def __init__(self, path: Path) -> None:
        """Look at a folder, which need not exist."""
        self.path = path

    @cached_property
    def dumps(self) -> list[Dump]:
        """All dumps, in their order of arrival.

        Raises:
            DataError: a record cannot be read.
            StateError: it has a format that this version does not know.
        """
        found: list[Dump] = []
        for path in sorted((self.path / "dumps").glob("[0-9]*.json")):
            if path != self._record(len(found)):
                raise DataError(f"{self._record(len(found))} is missing, but there is {path.name}")
            record = files.read_json(path)
            if not isinstance(record, dict) or record.pop("format", None) != FORMAT:
                raise StateError(f"{path} is no record of format {FORMAT}")
            found.append(_to_dump(record, path, number=len(found)))
        return found

    def _record(self, number: int) -> Path:
        return self.path / "dumps" / f"{number:06d}.json"

    def docs(self, dump: Dump) -> pq.ParquetFile:
        """The file of a dump.

        Raises:
            DataError: it is missing or not as it was written.
        """
        path = self.path / dump.file
        if not path.is_file():
            raise DataError(f"{path} of dump {dump.name} is missing")
        try:
            file = pq.ParquetFile(path, page_checksum_verification=True)
        except pa.ArrowException as exc:
            raise DataError(f"{path} of dump {dump.name} is damaged: {exc}") from exc
        if file.metadata.num_rows != dump.num_docs:
            raise DataError(f"{path} has {file.metadata.num_rows} rows, its record says {dump.num_docs}")
        return file

    def check(self) -> list[str]:
        """Compare the files with their records; returns what is wrong."""
        problems = []
        for dump in self.dumps:
            path = self.path / dump.file
            if not path.is_file():
                problems.append(f"{path} is missing")
            elif (found := files.hash_file(path)) != dump.blake3:
                problems.append(f"{path} has BLAKE3 {found}, its record says {dump.blake3}")
            elif (rows := pq.read_metadata(path).num_rows) != dump.num_docs:
                problems.append(f"{path} has {rows} rows, its record says {dump.num_docs}")
        return problems

    def add(self, number: int, record: dict[str, Any]) -> None:
        """Make a dump seen, whose file is in place.

        Raises:
            StateError: another dump has that number.
        """
        path = self._record(number)
        files.make_dirs(path.parent)
        if not files.create_json(path, record):
            raise StateError(
                f"another dump came into {self.path} meanwhile", hint="run again: it is compared with it too"
            )
