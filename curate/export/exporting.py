"""`export`: read a run's plan and shards, write one format, publish it.

Parts are written one after another; each is committed when its files are on the disk, so the same command
goes on after a kill, and says that there is nothing to do when all is done. Files depend on the plan, the
shards and the settings alone. Memory: a few batches of text and their tokens, a file's buffers, and the
sort's share of the budget. Not here: the formats (megatron.py, olmo.py, mds.py, huggingface.py).
"""

import errno
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import ConfigError, DataError
from curate.export.documents import Part, PoolDocuments
from curate.export.folder import Closing, ExportFolder
from curate.export.formats import Format, PartWork, Pool, slug_of, total
from curate.export.huggingface import HuggingFace
from curate.export.mds import Mds, PackedSamples, Samples, TextSamples, TokenSamples
from curate.export.megatron import Megatron
from curate.export.olmo import Olmo
from curate.export.settings import Export
from curate.export.tokens import Encoder
from curate.pipeline import OpenRun
from curate.pipeline.readahead import read_ahead
from curate.runs import Commit, Ledger, Task
from curate.schema import fingerprint

VERSION = 1
WEIGHTS = "weights.json"
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export left."""

    path: Path
    manifest: Mapping[str, Any]
    num_parts: int
    """Parts that were written now; 0 where there was nothing to do."""

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        files = self.manifest["files"]
        return {
            "output": str(self.path),
            "to": self.manifest["to"],
            "plan": self.manifest["plan"],
            "pools": self.manifest["pools"],
            "num_files": len(files),
            "size_bytes": sum(file["size_bytes"] for file in files),
            "num_parts": self.num_parts,
        }

    def as_text(self) -> str:
        """The result for people."""
        lines = [
            f"{pool['docs']:>12,} documents {pool['tokens']:>16,} tokens {100 * pool['share']:6.2f} %  "
            f"{pool['pool']}"
            for pool in self.manifest["pools"]
        ]
        size = sum(file["size_bytes"] for file in self.manifest["files"])
        what = "exported" if self.num_parts else "nothing to do, the export is there"
        lines.append(f"{what}: {len(self.manifest['files'])} files, {size / 1e6:.1f} MB in {self.path}")
        return "\n".join(lines)


def export(run: OpenRun, output: Path, settings: Export) -> Exported:
    """Export the documents of a run's plan to a folder.

    Raises:
        ConfigError: a setting is wrong: an unknown pool or column, no tokenizer, a vocabulary out of `dtype`.
        DataError: a shard is not what the plan was made of.
        StateError: the run has no plan, or the folder holds something else.
        OSError: the disk is full; what is committed stays, nothing half has a final name.
    """
    if _URL.match(str(output)):
        raise ConfigError(
            f"an export is written to a local folder: {output}", hint="write it here, then upload the folder"
        )
    return _Exporting(run, output.absolute(), settings).do()


class _Exporting:
    """One call of `export`."""

    def __init__(self, run: OpenRun, output: Path, settings: Export) -> None:
        self.run, self.output, self.settings = run, output, settings
        self.plan, self.session = run.plan_file, run.session
        self.text = self.session.recipe.input.text
        _check_shards(run)
        self.pools = _pools(run, settings.pools)
        self.schema = self._schema()
        self.encoder = None
        if settings.is_tokenized:
            threads = self.session.limits.num_threads
            self.encoder = Encoder(settings, self.session.recipe.tokens, num_threads=threads)
        self.folder = ExportFolder(output, self._fingerprint())

    def _schema(self) -> pa.Schema:
        """The text, then the columns that are written; those that name documents for OLMo."""
        session, settings = self.session, self.settings
        run_columns = pa.schema([*session.carried, *session.measured_schema, *session.facts_schema])
        names = [self.text]
        if settings.to == "olmo" and session.recipe.input.id in session.carried.names:
            names.append(str(session.recipe.input.id))
        elif settings.columns is not None:
            names += [name for name in dict.fromkeys(settings.columns) if name != self.text]
        elif settings.to == "hf":
            names += session.carried.names
        unknown = [name for name in names[1:] if name not in run_columns.names]
        if unknown:
            raise ConfigError(
                f"columns has unknown ones: {', '.join(unknown)}",
                hint=f"known are {', '.join(run_columns.names)}",
            )
        if settings.to == "mds" and "text" in names[1:]:
            raise ConfigError("the text is called `text` in MDS, so columns cannot have another of that name")
        text = pa.field(self.text, pa.large_string())
        return pa.schema([text, *(run_columns.field(name) for name in names[1:])])

    def _fingerprint(self) -> str:
        """Hash of all that decides the files."""
        settings = self.settings.model_dump(
            mode="json", exclude={"tokenizer", "pattern", "eos", "bos", "dtype", "max_file_bytes", "pools"}
        )
        tokens = None
        if self.encoder is not None:
            settings["columns"] = None
            encoder = self.encoder
            tokens = [encoder.content, encoder.pattern, encoder.ends, encoder.dtype.name]
        pools = [pool.name for pool in self.pools]
        limits = [self.settings.file_bytes]
        return fingerprint(
            [
                "export",
                VERSION,
                self.plan.fingerprint,
                settings,
                tokens,
                pools,
                limits,
                self.schema.to_string(),
            ]
        )

    def _claim(self) -> dict[str, Any]:
        return {"to": self.settings.to, "plan": self.plan.fingerprint}

    def do(self) -> Exported:
        """Write what is missing."""
        done = self.folder.manifest()
        if done is not None:
            self.folder.clear_work()
            return Exported(path=self.output, manifest=done, num_parts=0)
        self._warn()
        self.run.located()
        with self.folder.lock(self._claim()):
            num_parts = 0 if self.folder.is_closing else self._write()
            manifest = self.folder.publish()
        return Exported(path=self.output, manifest=manifest, num_parts=num_parts)

    def _warn(self) -> None:
        counted = self.plan.header["tokenizer"]["fingerprint"]
        if self.encoder is not None and counted is not None and counted != self.encoder.content:
            self.session.progress.warn(
                "the plan counted tokens with another tokenizer; planned shares are in its tokens"
            )

    def _write(self) -> int:
        """Write every part that is not committed; returns how many."""
        documents = PoolDocuments(
            self.session,
            self.plan,
            self.schema,
            pools=[pool.name for pool in self.pools],
            repeats=self.settings.repeats,
            part_bytes=self.settings.file_bytes * (8 if self.settings.to == "mds" else 1),
        )
        writer = self._format(documents)
        ledger = self.folder.ledger()
        by_name = {pool.name: pool for pool in self.pools}
        parts = documents.parts()
        commits = self._committed(ledger, writer, parts, by_name)
        todo = parts[len(commits) :]
        self._start(documents, todo)
        shuffle = documents.scatter(self.folder.scratch, todo) if documents.is_sorted and todo else None
        for part in todo:
            self.session.stop.check()
            before = commits[-1].meta if part.number else {}
            with ledger.begin(self._task(part)) as draft:
                work = PartWork(part=part, pool=by_name[part.pool], draft=draft, before=before)
                tables = documents.tables(part, shuffle)
                meta = writer.write(work, tables if shuffle is None else self._watched(read_ahead(tables)))
                made = ledger.commit(draft.task, work.files, meta=meta) if work.files else None
                commits.append(made or draft.commit(meta=meta))
            self.session.progress.advance(num_tasks=1)
        self._close(documents, writer, parts, commits)
        self.session.progress.finish(f"{len(todo)} parts written, {len(parts) - len(todo)} were there")
        return len(todo)

    def _committed(
        self, ledger: Ledger, writer: Format, parts: Sequence[Part], pools: Mapping[str, Pool]
    ) -> list[Commit]:
        """Commits of the parts that are done, up to the first that is not."""
        found: list[Commit] = []
        for part in parts:
            commit = ledger.lookup(self._task(part))
            if commit is None or not writer.holds(part, pools[part.pool], commit.meta):
                break
            found.append(commit)
        return found

    def _task(self, part: Part) -> Task:
        return Task(
            step="export",
            name=f"{slug_of(part.pool)}-{part.number:05d}",
            inputs=[self.folder.fingerprint, *part.inputs],
        )

    def _start(self, documents: PoolDocuments, todo: Sequence[Part]) -> None:
        """Tell how much there is to do, and see that the disk has room for it."""
        num_bytes = sum(part.num_bytes for part in todo)
        spilled = num_bytes if documents.is_sorted else 0
        self.session.progress.start("export", num_bytes=num_bytes + spilled, num_tasks=len(todo))
        written = 0 if self.encoder is None else num_bytes // 5 * self.encoder.dtype.itemsize
        free = shutil.disk_usage(self.folder.work).free
        if spilled + written > free:
            raise OSError(
                errno.ENOSPC,
                f"the export needs about {(spilled + written) / 1e9:.1f} GB, free are {free / 1e9:.1f} GB",
                str(self.output),
            )

    def _watched(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for table in tables:
            yield table
            num_bytes = pc.sum(pc.binary_length(table[self.text])).as_py() or 0
            self.session.progress.advance(num_bytes=int(num_bytes))

    def _close(
        self, documents: PoolDocuments, writer: Format, parts: Sequence[Part], commits: Sequence[Commit]
    ) -> None:
        """Name every file, and write what goes beside them."""
        closing = Closing(self.folder)
        entries = []
        for pool in self.pools:
            mine = [commit for part, commit in zip(parts, commits, strict=True) if part.pool == pool.name]
            numbers = {key: total(mine, key) for key in ("docs", "empty_docs", "tokens")}
            if self.encoder is None:
                numbers["tokens"] = documents.num_tokens[pool.name]
            about = {"pool": pool.name, "share": pool.share, **numbers}
            entries.append({**about, **writer.close_pool(closing, pool, mine)})
        writer.close(closing, entries)
        keys = ("pool", "prefix", "tokens", "docs", "share")
        weights = [{key: entry[key] for key in keys} for entry in entries]
        closing.write_json(WEIGHTS, {"format": 1, "pools": weights})
        tokens = None
        if self.encoder is not None:
            bos, eos = self.encoder.ends
            size, dtype = self.encoder.vocab_size, self.encoder.dtype.name
            tokens = {
                "tokenizer": self.encoder.content,
                "vocab_size": size,
                "dtype": dtype,
                "bos": bos,
                "eos": eos,
            }
        shown = [{key: value for key, value in entry.items() if key != "paths"} for entry in entries]
        self.folder.close(closing, {**self._claim(), "tokens": tokens, "pools": shown})

    def _format(self, documents: PoolDocuments) -> Format:
        settings, encoder, text = self.settings, self.encoder, self.text
        work = self.folder.work
        if settings.to == "mds":
            return Mds(settings, self._samples(), output=self.output)
        if encoder is None:
            return HuggingFace(self.schema, text=text, split=settings.split, work=work)
        if settings.to == "megatron":
            return Megatron(encoder, text=text, output=self.output, work=work)
        name = self.schema.names[1] if len(self.schema.names) > 1 else None
        size = settings.file_bytes
        return Olmo(encoder, documents, id=name, output=self.output, max_bytes=size)

    def _samples(self) -> Samples:
        if self.encoder is None:
            return TextSamples(self.schema, text=self.text)
        if self.settings.seq_len is not None:
            return PackedSamples(self.encoder, text=self.text, seq_len=self.settings.seq_len)
        return TokenSamples(self.encoder, text=self.text)


def _check_shards(run: OpenRun) -> None:
    """See that the shards are those that the plan was made of."""
    planned = [(entry["key"], entry["fingerprint"]) for _, entry in run.plan_file.iter_shards()]
    found = [(shard.key, shard.fingerprint) for shard in run.session.shards]
    if planned == found:
        return
    hint = "run `curate plan RECIPE` again, or put the shards back"
    have, want = dict(found), dict(planned)
    for key in sorted(want.keys() | have.keys()):
        if want.get(key) != have.get(key):
            what = "is missing" if key not in have else "is new" if key not in want else "changed"
            raise DataError(f"a shard {what} since the plan was made: {key}", hint=hint)
    raise DataError("the shards are in another order than in the plan", hint=hint)


def _pools(run: OpenRun, wanted: Sequence[str] | None) -> list[Pool]:
    """The pools to export, sorted by name."""
    table = run.plan_file.pools()
    tokens = dict(zip(table["pool"].to_pylist(), table["planned_tokens"].to_pylist(), strict=True))
    unknown = sorted(set(wanted or []) - tokens.keys())
    if unknown:
        raise ConfigError(
            f"the plan has no pool {', '.join(unknown)}", hint=f"its pools are {', '.join(sorted(tokens))}"
        )
    names = sorted(set(wanted) if wanted is not None else tokens)
    whole = sum(tokens[name] for name in names)
    pools = [Pool(name=name, slug=slug_of(name), share=tokens[name] / max(whole, 1)) for name in names]
    slugs = [pool.slug.lower() for pool in pools]
    return [
        pool
        if slugs.count(pool.slug.lower()) == 1
        else Pool(name=pool.name, slug=f"{pool.slug}-{fingerprint(pool.name)[:8]}", share=pool.share)
        for pool in pools
    ]
