"""The folder of curated shards, local or below a URL: our files in it, and the manifest that names them.

A reader takes the files that the manifest names. Names of ours are `part-<task>-<n>.parquet`, and the same in
folders `<column>=<value>` that the run or the manifest knows of; nothing else is touched. Not here: what is
written (write.py).
"""

import contextlib
import json
import re
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.fs as fs

from curate import _rust
from curate.errors import StateError
from curate.files import is_temporary, replace_json, to_json
from curate.shards import Place, WrittenFile, locate, open_file

FORMAT = 1
MANIFEST = "_manifest.json"
_PART = re.compile(r"part-\d{5}-\d{5}\.parquet")
_OURS = re.compile(r"\.(part-\d{5}-\d{5}\.parquet|_manifest\.json)\.tmp-")
_READ_BYTES = 1 << 20


class OutputFolder:
    """One output folder; it need not exist yet."""

    def __init__(
        self, path: str, options: dict[str, str] | None = None, *, folders: Iterable[str] = ()
    ) -> None:
        """Find the file system and read the manifest; `folders` and those that it names are ours too."""
        self.place = locate(path, options)
        self._folders = set(folders)
        self.read_manifest()

    def _at(self, name: str) -> str:
        return f"{self.place.path}/{name}"

    def uri(self, name: str) -> str:
        """Where a file of the folder is."""
        return f"{self.place.uri}/{name}"

    def below(self, folder: str) -> Place:
        """A folder in this one; empty is this one."""
        return self.place.at(self._at(folder)) if folder else self.place

    def _list(self) -> list[tuple[str, fs.FileInfo]]:
        """Files of the folder and of those it is split into, with their names in it."""
        found = [(info.base_name, info) for info in self._files("")]
        for folder in sorted(self._folders):
            inner = self._files(folder)
            if all(info.base_name != MANIFEST for info in inner):
                found += [(f"{folder}/{info.base_name}", info) for info in inner]
        return found

    def _files(self, folder: str) -> list[fs.FileInfo]:
        selector = fs.FileSelector(self.below(folder).path, allow_not_found=True)
        found = self.place.filesystem.get_file_info(selector)
        return [info for info in found if info.type == fs.FileType.File]

    def check_free(self, folders: Iterable[str]) -> None:
        """See that no folder is the output of another run.

        Raises:
            StateError: one has a manifest of its own.
        """
        for folder in folders:
            if folder and any(info.base_name == MANIFEST for info in self._files(folder)):
                raise StateError(
                    f"the folder is an output of its own: {self.uri(folder)}",
                    hint="choose another output.path",
                )

    def sizes(self) -> dict[str, int]:
        """Size of every file, by name."""
        return {name: info.size for name, info in self._list()}

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest, or None where there is none.

        Raises:
            StateError: it is of another format.
        """
        if all(info.base_name != MANIFEST for info in self._files("")):
            return None
        with open_file(self.place.at(self._at(MANIFEST))) as source:
            manifest = json.loads(source.read())
        if manifest.get("format") != FORMAT:
            found = manifest.get("format")
            raise StateError(f"{self.uri(MANIFEST)} has format {found}, this version reads format {FORMAT}")
        folders = {name.rpartition("/")[0] for name in (file["name"] for file in manifest["files"])}
        self._folders |= folders - {""}
        return dict(manifest)

    def retire(self, plan: str) -> None:
        """Take away the manifest of another plan, before its files are replaced."""
        manifest = self.read_manifest()
        if manifest is not None and manifest.get("plan") != plan:
            self._remove(MANIFEST)

    def publish(self, plan: str, files: list[WrittenFile]) -> None:
        """Write the manifest, then remove files of ours that it does not name."""
        manifest = {"format": FORMAT, "plan": plan, "files": [asdict(file) for file in files]}
        if self.place.is_local:
            replace_json(Path(self._at(MANIFEST)), manifest)
        else:
            with self.place.filesystem.open_output_stream(self._at(MANIFEST)) as sink:
                sink.write(to_json(manifest))
        named = {file.name for file in files}
        for name in self.sizes():
            if _PART.fullmatch(name.rpartition("/")[2]) and name not in named:
                self._remove(name)
        self._remove_empty()

    def _remove_empty(self) -> None:
        """Remove folders of ours that hold nothing any more; object stores have none."""
        for folder in self._folders if self.place.is_local else ():
            with contextlib.suppress(OSError):
                Path(self._at(folder)).rmdir()

    def remove_temporary(self, *, grace_s: float) -> list[str]:
        """Remove what a killed delivery left, older than `grace_s`; the run must be locked."""
        oldest = time.time() - grace_s
        removed = []
        for name, info in self._list():
            base = info.base_name
            if is_temporary(base) and _OURS.match(base) and info.mtime.timestamp() <= oldest:
                self._remove(name)
                removed.append(self.uri(name))
        return removed

    def _remove(self, name: str) -> None:
        self.place.filesystem.delete_file(self._at(name))

    def _hash(self, name: str) -> str:
        hasher = _rust.Hasher()
        with open_file(self.place.at(self._at(name))) as source:
            while data := source.read(_READ_BYTES):
                hasher.update(data)
        return hasher.hexdigest()

    def check(self, plan: str, *, hashes: bool) -> tuple[list[str], int]:
        """Compare the files with the manifest; returns problems and files checked."""
        manifest = self.read_manifest()
        if manifest is None:
            return [], 0
        problems = []
        if manifest.get("plan") != plan:
            problems.append(f"{self.uri(MANIFEST)}: is of another plan: {manifest.get('plan')}")
        sizes = self.sizes()
        for record in manifest["files"]:
            name, expected = record["name"], record["size_bytes"]
            if name not in sizes:
                problems.append(f"{self.uri(name)}: is missing")
            elif sizes[name] != expected:
                problems.append(f"{self.uri(name)}: has another size: {sizes[name]}, recorded is {expected}")
            elif hashes and self._hash(name) != record["blake3"]:
                problems.append(f"{self.uri(name)}: has another hash than recorded")
        return problems, len(manifest["files"])
