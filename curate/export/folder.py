"""The folder of an export: claimed by one export, filled in a work folder, published when all of it is there.

Parts are committed in `_curate` by a ledger, so a killed export goes on after its last part. At the end a
record names every file with its place; files are moved there, the manifest `export.json` comes last, and the
work folder goes. What has a final name is therefore whole, and no trainer sees half an export. Not here: what
the files hold (megatron.py, olmo.py, mds.py, huggingface.py).
"""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curate import _rust
from curate.errors import StateError
from curate.files import NewFile, hash_file, make_dirs, read_json, replace_json, sync_dir, to_json
from curate.runs import Ledger

FORMAT = 1
MANIFEST = "export.json"
WORK = "_curate"
_CLAIM = "claim.json"
_CLOSING = "closing.json"


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A file of the export; `source` is where it is below the work folder until it is moved."""

    name: str
    size_bytes: int
    blake3: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        """What the manifest says."""
        return {key: value for key, value in asdict(self).items() if key != "source"}


class ExportFolder:
    """One local folder with one export in it."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Look at the folder; nothing is made yet.

        Raises:
            StateError: it holds something else.
        """
        self.path, self.fingerprint = path, fingerprint
        self.work = path / WORK
        self._check()

    def _check(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.path))
        for place in (self.path / MANIFEST, self.work / _CLAIM):
            if place.is_file():
                found = read_json(place)
                if found.get("format") != FORMAT:
                    raise StateError(
                        f"{place} has format {found.get('format')}, this version reads format {FORMAT}"
                    )
                if found.get("fingerprint") != self.fingerprint:
                    raise StateError(
                        f"the folder holds another export, of plan {found.get('plan')} to {found.get('to')}: "
                        f"{self.path}",
                        hint="choose another --output, or remove it",
                    )
                return
        left = [entry.name for entry in self.path.iterdir() if entry.name != WORK]
        if left or (self.work.exists() and any(entry.name != ".lock" for entry in self.work.iterdir())):
            raise StateError(
                f"the folder is not empty and holds no export: {self.path}", hint="choose another --output"
            )

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of the finished export, None where it is not finished.

        Raises:
            StateError: a file of it is missing or has another size.
        """
        if not (self.path / MANIFEST).is_file():
            return None
        manifest = read_json(self.path / MANIFEST)
        for file in manifest["files"]:
            place = self.path / file["name"]
            size = place.stat().st_size if place.is_file() else None
            if size != file["size_bytes"]:
                what = "is missing" if size is None else f"has {size} bytes instead of {file['size_bytes']}"
                raise StateError(f"{place} {what}", hint="remove the folder and export again")
        return dict(manifest)

    @contextlib.contextmanager
    def lock(self, claim: dict[str, Any]) -> Iterator[None]:
        """Hold the folder alone and claim it for this export, with an empty scratch folder.

        Raises:
            StateError: another process exports to it, or it holds something else by now.
        """
        make_dirs(self.work)
        descriptor = os.open(self.work / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise StateError(
                    f"another process exports to {self.path}", hint="wait for it, or choose another --output"
                ) from exc
            self._check()
            replace_json(self.work / _CLAIM, {"format": FORMAT, "fingerprint": self.fingerprint, **claim})
            try:
                yield
            finally:
                self.clear_scratch()
        finally:
            os.close(descriptor)

    @property
    def scratch(self) -> Path:
        """Folder for spilled text."""
        path = self.work / "scratch"
        make_dirs(path)
        return path

    def clear_scratch(self) -> None:
        """Remove what is spilled."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.work / "scratch")

    def ledger(self) -> Ledger:
        """The commits of parts; what a killed process left half written is removed."""
        self.clear_scratch()
        ledger = Ledger(self.work)
        for path in self.work.rglob(".*.tmp-*"):
            path.unlink(missing_ok=True)
        return ledger

    @property
    def is_closing(self) -> bool:
        """Whether all files are there and only have to be moved."""
        return (self.work / _CLOSING).is_file()

    def close(self, closing: "Closing", manifest: dict[str, Any]) -> None:
        """Record where every file goes; from here on `publish` can end the export."""
        names = [file.name for file in closing.files]
        assert len(set(names)) == len(names), "two files have one name"
        header = {"format": FORMAT, "fingerprint": self.fingerprint, **manifest}
        files = [asdict(file) for file in sorted(closing.files, key=lambda file: file.name)]
        replace_json(self.work / _CLOSING, {"files": files, "manifest": header})

    def publish(self) -> dict[str, Any]:
        """Move every file to its place, write the manifest, and remove the work folder."""
        record = read_json(self.work / _CLOSING)
        files = [Placed(**file) for file in record["files"]]
        folders = {(self.path / file.name).parent for file in files}
        for folder in sorted(folders):
            make_dirs(folder)
        for file in files:
            source, place = self.work / file.source, self.path / file.name
            if source.is_file():
                source.replace(place)
            elif not place.is_file() or place.stat().st_size != file.size_bytes:
                raise StateError(f"{source} is missing", hint="remove the folder and export again")
        for folder in sorted(folders):
            sync_dir(folder)
        manifest = {**record["manifest"], "files": [file.as_dict() for file in files]}
        replace_json(self.work / MANIFEST, manifest)  # a kill leaves its temporary file in the work folder
        (self.work / MANIFEST).replace(self.path / MANIFEST)
        sync_dir(self.path)
        self.clear_work()
        return manifest

    def clear_work(self) -> None:
        """Remove the work folder of a finished export."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.work)


class Closing:
    """The files of an export with their final names, in the making."""

    def __init__(self, folder: ExportFolder) -> None:
        """Start with none."""
        self.folder = folder
        self.files: list[Placed] = []

    def place(self, name: str, source: str, *, blake3: str | None = None) -> None:
        """Give a file of the work folder its final name."""
        path = self.folder.work / source
        size = path.stat().st_size
        found = blake3 if blake3 is not None else hash_file(path)
        self.files.append(Placed(name=name, size_bytes=size, blake3=found, source=source))

    def write(self, name: str, data: Iterable[bytes]) -> None:
        """Make a file."""
        source = f"close/{name}"
        path = self.folder.work / source
        make_dirs(path.parent)
        hasher = _rust.Hasher()
        size = 0
        with NewFile(path) as new:
            for chunk in data:
                new.write(chunk)
                hasher.update(chunk)
                size += len(chunk)
            new.seal()
            new.publish()
        sync_dir(path.parent)
        self.files.append(Placed(name=name, size_bytes=size, blake3=hasher.hexdigest(), source=source))

    def write_json(self, name: str, value: Any) -> None:
        """Make a JSON file."""
        self.write(name, [to_json(value)])
