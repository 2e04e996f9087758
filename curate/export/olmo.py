"""OLMo and dolma: raw arrays of token ids, and the bounds of documents beside them.

A `.npy` file is ids without a header, as `numpy.memmap` reads them; a new one begins where a document would
bring it over the limit. Every document ends with the token that ends documents. `<same name>.csv.gz` has a
row for each: start, end (ids in the file), id, src (shard key), loc (row in the shard, from 0).
`mixture.yaml` lists files and shares as OLMo-core's `SourceMixtureList` reads them.
"""

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from curate.export.documents import ORDINAL, Part, PoolDocuments
from curate.export.folder import Closing
from curate.export.formats import PartWork, Pool, total
from curate.export.tokens import Encoder
from curate.runs import Commit, Draft

_BREAKS = re.compile(r"[\r\n]+")


class Olmo:
    """Writes `<pool>/part-<part>-<n>.npy` with its `.csv.gz`, and `mixture.yaml`."""

    def __init__(
        self, encoder: Encoder, documents: PoolDocuments, *, id: str | None, output: Path, max_bytes: int
    ) -> None:
        """Write ids of `encoder`; `id` is the column that identifies documents."""
        self._encoder, self._documents, self._output = encoder, documents, output
        self._text, self._id = documents.session.recipe.input.text, id
        self._max_tokens = max(1, max_bytes // encoder.dtype.itemsize)

    def write(self, work: PartWork, tables: Iterator[pa.Table]) -> dict[str, Any]:
        """Write the files of a part."""
        made: list[int] = []
        num_docs, num_empty = 0, 0
        file: _Arrays | None = None
        for table in tables:
            encoded = self._encoder.encode(table[self._text])
            names = self._names(table)
            lengths, start = encoded.lengths, 0
            num_docs += int(np.count_nonzero(lengths))
            num_empty += int(np.count_nonzero(lengths == 0))
            while start < len(lengths):
                if file is None:
                    file = _Arrays(work.draft, f"{work.source}-{len(made):05d}", self._max_tokens)
                stop = file.fit(lengths, start)
                file.write(encoded.ids[encoded.offsets[start] : encoded.offsets[stop]], lengths, names, start)
                if stop < len(lengths):
                    made.append(file.close())
                    file = None
                start = stop
        if file is not None:
            made.append(file.close())
        return {"docs": num_docs, "empty_docs": num_empty, "tokens": sum(made), "files": made}

    def holds(self, part: Part, pool: Pool, meta: Mapping[str, Any]) -> bool:
        """All is in committed files."""
        return True

    def close_pool(self, closing: Closing, pool: Pool, commits: Sequence[Commit]) -> dict[str, Any]:
        """Place the files."""
        names = []
        for commit in commits:
            for file in commit.files:
                name = f"{pool.slug}/part-{file.path.rpartition('/')[2]}"
                closing.place(name, file.path, blake3=file.blake3)
                names += [name] if name.endswith(".npy") else []
        return {"prefix": pool.slug if total(commits, "docs") else None, "paths": names}

    def close(self, closing: Closing, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write the mixture."""
        sources = [
            {
                "source_name": entry["pool"],
                "target_ratio": entry["share"],
                "paths": [str(self._output / path) for path in entry["paths"]],
            }
            for entry in entries
            if entry["paths"]
        ]
        closing.write("mixture.yaml", [yaml.safe_dump({"sources": sources}, sort_keys=False).encode()])

    def _names(self, table: pa.Table) -> list[str]:
        """The last three fields of each document's row: id, src, loc."""
        keys, rows = self._documents.locate(table[ORDINAL].to_numpy())
        if self._id is None:
            ids: list[Any] = [None] * len(keys)
        else:
            ids = table[self._id].to_pylist()
        return [
            f"{_field(key_row if name is None else name)},{_field(key)},{row}"
            for name, key, row, key_row in zip(
                ids,
                keys,
                rows.tolist(),
                (f"{key}:{row}" for key, row in zip(keys, rows.tolist(), strict=True)),
                strict=True,
            )
        ]


class _Arrays:
    """One `.npy` and its `.csv.gz` in the making."""

    def __init__(self, draft: Draft, name: str, max_tokens: int) -> None:
        self._ids = draft.create(f"{name}.npy")
        self._rows = draft.create(f"{name}.csv.gz")
        self._zip = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._rows, mtime=0)
        self._max_tokens, self._num_tokens = max_tokens, 0

    def fit(self, lengths: Any, start: int) -> int:
        """How far documents from `start` on fit; an empty file takes one whatever its size."""
        ends = self._num_tokens + np.cumsum(lengths[start:])
        num = int(np.searchsorted(ends, self._max_tokens, side="right"))
        return start + (max(num, 1) if self._num_tokens == 0 else num)

    def write(self, ids: Any, lengths: Any, names: Sequence[str], start: int) -> None:
        """Add the documents from `start` on whose ids these are."""
        self._ids.write(ids.tobytes())
        end = self._num_tokens + len(ids)
        rows = []
        while self._num_tokens < end:
            stop = self._num_tokens + int(lengths[start])
            if stop > self._num_tokens:
                rows.append(f"{self._num_tokens},{stop},{names[start]}\n")
            self._num_tokens, start = stop, start + 1
        self._zip.write("".join(rows).encode())

    def close(self) -> int:
        """Make both files whole; how many tokens there are."""
        self._zip.close()
        self._ids.seal()
        self._rows.seal()
        return self._num_tokens


def _field(value: Any) -> str:
    """A field of a CSV row on one line, since readers go by lines."""
    text = _BREAKS.sub(" ", str(value))
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"') else text
