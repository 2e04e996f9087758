"""Hugging Face: Parquet files that `datasets.load_dataset(folder, name=pool)` reads.

`data/<pool>/<split>-00000-of-00003.parquet` for each part of a pool, and a `README.md` whose front matter
names a configuration for each pool. Text goes out as it is, no tokenizer is needed.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from curate.export.documents import Part
from curate.export.folder import Closing
from curate.export.formats import PartWork, Pool, total
from curate.runs import Commit, FileRecord
from curate.shards import ShardWriter

_FORBIDDEN = re.compile(r"[<>:/\\|?*]")


class HuggingFace:
    """Writes Parquet files and the card."""

    def __init__(self, schema: pa.Schema, *, text: str, split: str, work: Path) -> None:
        """Write the columns of a schema."""
        self._schema, self._text, self._split, self._work = schema, text, split, work

    def write(self, work: PartWork, tables: Iterator[pa.Table]) -> dict[str, Any]:
        """Write the file of a part."""
        num_docs = 0
        folder, _, prefix = work.source.rpartition("/")
        target = self._work / folder
        with ShardWriter(target, self._schema, prefix=prefix, max_file_bytes=None, text=self._text) as writer:
            for table in tables:
                writer.write(table.select(self._schema.names))
                num_docs += table.num_rows
            (file,) = writer.close()
        path = f"{folder}/{file.name}"
        record = FileRecord(path=path, size_bytes=file.size_bytes, blake3=file.blake3, num_rows=file.num_rows)
        work.files.append(record)
        return {"docs": num_docs, "empty_docs": 0, "tokens": 0}

    def holds(self, part: Part, pool: Pool, meta: Mapping[str, Any]) -> bool:
        """All is in committed files."""
        return True

    def close_pool(self, closing: Closing, pool: Pool, commits: Sequence[Commit]) -> dict[str, Any]:
        """Name the files after their number."""
        if not total(commits, "docs"):
            return {"prefix": None}
        paths = [file for commit in commits for file in commit.files]
        for number, file in enumerate(paths):
            name = f"data/{pool.slug}/{self._split}-{number:05d}-of-{len(paths):05d}.parquet"
            closing.place(name, file.path, blake3=file.blake3)
        return {"prefix": f"data/{pool.slug}", "config_name": config_name(pool)}

    def close(self, closing: Closing, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write the card."""
        filled = [entry for entry in entries if entry["prefix"]]
        configs = [
            {
                "config_name": entry["config_name"],
                "data_files": [{"split": self._split, "path": f"{entry['prefix']}/{self._split}-*.parquet"}],
            }
            for entry in filled
        ]
        front = yaml.safe_dump({"configs": configs}, sort_keys=False, allow_unicode=True)
        rows = [
            f"| {json.dumps(entry['config_name'], ensure_ascii=False)} | {entry['docs']:,} | "
            f"{100 * entry['share']:.2f} % |\n"
            for entry in filled
        ]
        table = ["| configuration | documents | planned share of tokens |\n", "|---|---:|---:|\n", *rows]
        about = "# Curated documents\n\nWritten by curate; one configuration for each pool.\n\n"
        closing.write("README.md", [f"---\n{front}---\n\n{about}{''.join(table)}".encode()])


def config_name(pool: Pool) -> str:
    """The name of a pool's configuration: its own, where that may be one."""
    return pool.slug if _FORBIDDEN.search(pool.name) or not pool.name.strip() else pool.name
