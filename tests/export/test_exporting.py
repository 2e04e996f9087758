"""An export is whole or not there: what it refuses, that it goes on, that its bytes are always the same."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate import files
from curate.errors import ConfigError, DataError, StateError
from curate.export import Export, documents, exporting
from curate.export.documents import PoolDocuments
from curate.export.formats import slug_of
from curate.pipeline import OpenRun, Stop, open_run
from tests.command import Curate
from tests.export.corpus import (
    encode,
    file_bytes,
    in_order,
    make_run,
    make_tokenizer,
    pad_vocabulary,
    planned,
    set_repeats,
)
from tests.pipeline.runs_in_process import make_corpus
from tests.pipeline.test_faults import CALLS, Countdown
from tests.reference.exports import read_megatron

SMALL = 40_000
TARGETS: dict[str, dict[str, Any]] = {
    "megatron": {},
    "olmo": {},
    "mds": {"compression": "zstd", "seq_len": 333},
    "hf": {},
}


def export(run: OpenRun, output: Path, to: str, tokenizer: Path | None = None, **settings: Any) -> Any:
    chosen = {"max_file_bytes": SMALL, "tokenizer": tokenizer, **TARGETS[to], **settings}
    return curate.export(run.path, output=output, to=to, **{"num_threads": 1, **chosen})


def tree(folder: Path) -> dict[str, bytes]:
    return dict(file_bytes(folder))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> OpenRun:
    """A run of few documents, some of which repeat."""
    found = make_run(tmp_path_factory.mktemp("small"), max_rows=40)
    set_repeats(found)
    return found


@pytest.mark.parametrize("to", TARGETS)
def test_threads_memory_and_buckets_read_at_once_change_no_byte(
    small: OpenRun, tokenizer: Path, tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(small, tmp_path / "a" / "out", to, tokenizer)
    expected = tree(tmp_path / "a" / "out")
    monkeypatch.chdir(tmp_path / "a")
    shutil.rmtree("out")
    monkeypatch.setattr(documents.Shuffle, "add", _flushing(documents.Shuffle.add))
    export(small, Path("out"), to, tokenizer, num_threads=2, memory="128MiB")
    assert tree(Path("out")) == expected


def _flushing(add: Any) -> Any:
    def flushing(self: Any, table: pa.Table) -> None:
        add(self, table)
        self.flush()

    return flushing


@pytest.mark.parametrize("to", TARGETS)
def test_the_same_command_again_has_nothing_to_do(
    small: OpenRun, tokenizer: Path, tmp_path: Path, to: str
) -> None:
    first = export(small, tmp_path / "out", to, tokenizer)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    second = export(small, tmp_path / "out", to, tokenizer)
    assert first.num_parts > 20
    assert second.num_parts == 0
    assert "nothing to do" in second.as_text()
    assert second.manifest == first.manifest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("to", TARGETS)
def test_the_manifest_names_every_file_with_size_and_hash(
    small: OpenRun, tokenizer: Path, tmp_path: Path, to: str
) -> None:
    found = export(small, tmp_path / "out", to, tokenizer)
    named = {file["name"]: (file["size_bytes"], file["blake3"]) for file in found.manifest["files"]}
    paths = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    there = {
        str(path.relative_to(tmp_path / "out")): (path.stat().st_size, files.hash_file(path))
        for path in paths
        if path.name != "export.json"
    }
    assert named == there


class _Stopped(Stop):
    """Asks to stop before a part."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("order", ["shuffle", "input"])
def test_an_export_that_was_stopped_goes_on_after_its_last_part(
    tokenizer: Path, tmp_path: Path, to: str, order: str
) -> None:
    is_sorted = order == "shuffle"
    run = make_run(
        tmp_path / "run", order=order, max_rows=25, by="source" if is_sorted else None, num_copies=4
    )
    size = 1_000 if to == "mds" else 8_000  # eight shards are a part
    whole = export(run, tmp_path / "whole" / "out", to, tokenizer, max_file_bytes=size)
    num_checks = len(run.session.entries) if is_sorted else 0  # one for each piece that a sort reads
    asked = Export(to=to, tokenizer=tokenizer, max_file_bytes=size, **TARGETS[to])  # type: ignore[arg-type]
    output = tmp_path / "again" / "out"
    for _ in range(3):
        stopped = open_run(run.path, stop=_Stopped(num_checks + 3))
        with pytest.raises(KeyboardInterrupt):
            exporting.export(stopped, output, asked)
        assert [path.name for path in output.iterdir()] == ["_curate"]
    rest = exporting.export(open_run(run.path), output, asked)
    assert rest.num_parts == whole.num_parts - 9 > 0
    found, expected = tree(output), tree(tmp_path / "whole" / "out")
    assert relocated(found, output) == relocated(expected, tmp_path / "whole" / "out")


def relocated(found: dict[str, bytes], output: Path) -> dict[str, bytes]:
    """Files of an export without the place of its folder, which lists of paths hold."""
    lists = ("data_path.txt", "mixture.yaml", "streams.yaml")
    return {
        name: data.replace(str(output).encode(), b"OUT") if name in lists else data
        for name, data in found.items()
        if name != "export.json"
    }


@pytest.mark.parametrize("to", TARGETS)
def test_whatever_call_fails_nothing_half_has_a_final_name_and_the_same_command_completes(
    small: OpenRun, tokenizer: Path, tmp_path: Path, to: str
) -> None:
    chosen = {"pools": [pool["pool"] for pool in small.pools().to_dicts()][:3], "max_file_bytes": 8_000}
    output = tmp_path / "out"
    export(small, output, to, tokenizer, **chosen)
    expected = tree(output)
    num_faults = 0
    for fail_at in range(1, 2000, 11):
        shutil.rmtree(output, ignore_errors=True)
        countdown = Countdown(fail_at)
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, countdown.watch(getattr(os, name)))
            patch.setattr(files, "_open_new", countdown.watch(files._open_new))
            try:
                export(small, output, to, tokenizer, **chosen)
            except OSError as exc:
                assert exc.errno == errno.ENOSPC
                num_faults += 1
        if countdown.left > 0:
            break
        left = {name: data for name, data in tree(output).items() if not name.startswith("_curate/")}
        assert left.items() <= expected.items()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: None)
            export(small, output, to, tokenizer, **chosen)
        assert tree(output) == expected, f"call {fail_at}"
    assert num_faults >= 5


class _FullDisk:
    """A file on a disk that has room for some bytes."""

    def __init__(self, handle: Any, room: list[int]) -> None:
        self._handle, self._room = handle, room

    def write(self, data: bytes) -> int:
        self._room[0] -= len(data)
        if self._room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._handle.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


@pytest.mark.parametrize("to", ["olmo", "mds", "hf"])
def test_a_full_disk_is_said_with_the_path_and_leaves_no_half_file(
    small: OpenRun, tokenizer: Path, tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [30_000]
    opened = files._open_new
    with monkeypatch.context() as patch:
        patch.setattr(files, "_open_new", lambda path: _FullDisk(opened(path), room))
        with pytest.raises(OSError, match="No space left") as caught:
            export(small, tmp_path / "out", to, tokenizer)
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path / "out") in str(caught.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_curate"]
    assert not [path for path in (tmp_path / "out").rglob("*") if files.is_temporary(path.name)]


def test_too_little_room_is_said_before_anything_is_read(
    small: OpenRun, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"needs about 0\.0 GB, free are 0\.0 GB"):
        export(small, tmp_path / "out", "megatron", tokenizer)


def test_parts_of_pools_in_shards_of_their_own_are_read_without_a_sort(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shards").mkdir()
    for number, pool in enumerate("babca"):
        rows = [
            {"id": f"{number}-{row}", "source": pool, "text": f"{pool} {number} {row}"} for row in range(9)
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "shards" / f"{number}.parquet")
    run = make_run(tmp_path, order="input")
    made: list[PoolDocuments] = []
    plain = PoolDocuments.parts
    monkeypatch.setattr(PoolDocuments, "parts", lambda self: made.append(self) or plain(self))
    export(run, tmp_path / "out", "megatron", tokenizer, max_file_bytes=20)
    assert [found.is_sorted for found in made] == [False]
    for pool, kept in in_order(planned(run)).items():
        assert read_megatron(tmp_path / "out" / pool) == [encode(tokenizer, doc.text) for doc in kept]


def test_documents_are_found_by_ordinal(small: OpenRun) -> None:
    small.located()
    found = PoolDocuments(
        small.session, small.plan_file, pa.schema([("text", pa.large_string())]),
        pools=["books"], repeats=True, part_bytes=1,
    )  # fmt: skip
    everything = planned(small)
    keys, rows = found.locate(np.array([doc.ordinal for doc in everything]))
    assert list(zip(keys, rows.tolist(), strict=True)) == [(doc.shard, doc.row) for doc in everything]


def test_an_unknown_pool_is_refused_with_those_that_there_are(run: OpenRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pool novels") as caught:
        export(run, tmp_path / "out", "hf", pools=["books", "novels"])
    assert "books" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_a_missing_tokenizer_is_refused_with_the_way_out(run: OpenRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a tokenizer") as caught:
        export(run, tmp_path / "out", "megatron")
    assert "--tokenizer" in str(caught.value.hint)
    with pytest.raises(DataError, match="not a file"):
        export(run, tmp_path / "out", "megatron", tmp_path / "none.json")


def test_a_vocabulary_that_does_not_fit_is_refused_before_anything_is_written(
    run: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    large = pad_vocabulary(tokenizer, tmp_path / "large.json", (1 << 16) + 1)
    with pytest.raises(ConfigError, match="too large for dtype uint16, which ends at 65535: 65537") as caught:
        export(run, tmp_path / "out", "megatron", large, dtype="uint16")
    assert "--dtype int32" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": "megatron", "seq_len": 8}, "seq_len is for mds, not for megatron: 8"),
        ({"to": "olmo", "eos": None}, "eos cannot be none"),
        ({"to": "olmo", "dtype": "int32"}, "dtype of olmo is auto, uint16, uint32: int32"),
        ({"to": "hf", "dtype": "uint16"}, "dtype is for megatron, olmo, mds, not for hf"),
        ({"to": "mds", "columns": ["id"]}, "columns go with texts"),
        ({"to": "mds", "content": "text", "seq_len": 8}, "seq_len packs tokens"),
        ({"to": "hf", "columns": ["ids"]}, "unknown ones: ids"),
        ({"to": "webdataset"}, "to: input should be"),
        ({"to": "hf", "max_file_byte": 1}, "did you mean `max_file_bytes`"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    run: OpenRun, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        curate.export(run.path, output=tmp_path / "out", **settings)


@pytest.mark.parametrize("url", ["s3://bucket/tokens", "gs://bucket/tokens"])
def test_a_url_is_no_place_for_an_export(run: OpenRun, url: str) -> None:
    with pytest.raises(ConfigError, match="local folder"):
        curate.export(run.path, output=url, to="hf")


def test_a_run_without_a_plan_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, max_rows=20)
    (tmp_path / "run" / "current.json").unlink()
    with pytest.raises(StateError, match="has no plan yet"):
        export(run, tmp_path / "out", "hf")


def test_the_tokenizer_of_the_recipe_is_used_where_none_is_given(tokenizer: Path, tmp_path: Path) -> None:
    make_corpus(tmp_path / "shards", num_copies=1, max_rows=20)
    recipe = {
        "input": {"paths": f"{tmp_path}/shards/*.parquet"},
        "measure": [{"tokens": {"tokenizer": str(tokenizer), "mode": "exact"}}],
        "run": str(tmp_path / "run"),
        "store": str(tmp_path / "store"),
    }
    run = curate.run(recipe, num_threads=1)
    found = export(run, tmp_path / "out", "megatron")
    plan = run.pools().to_dicts()[0]
    assert found.manifest["pools"][0]["tokens"] == plan["planned_tokens"]


def test_a_plan_that_counted_with_another_tokenizer_is_warned_of(
    curate: Curate, tokenizer: Path, tmp_path: Path
) -> None:
    other = make_tokenizer(tmp_path / "tokenizer.json", vocab_size=262)
    make_corpus(tmp_path / "shards", num_copies=1, max_rows=10)
    recipe = {
        "input": {"paths": f"{tmp_path}/shards/*.parquet"},
        "measure": [{"tokens": {"tokenizer": str(other), "mode": "exact"}}],
        "run": str(tmp_path / "run"),
        "store": str(tmp_path / "store"),
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    assert curate("run", tmp_path / "recipe.yaml", "--no-write").code == 0
    command = ["export", tmp_path / "run", "--to", "olmo", "--output", tmp_path / "out"]
    done = curate(*command, "--tokenizer", tokenizer)
    assert done.code == 0, done.err
    assert "warning: the plan counted tokens with another tokenizer" in done.err


def test_megatron_cannot_read_a_list_with_spaces_in_paths(
    run: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="white space"):
        export(run, tmp_path / "my out", "megatron", tokenizer)


def test_a_folder_with_something_else_is_refused_and_left_alone(run: OpenRun, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StateError, match="not empty and holds no export"):
        export(run, tmp_path, "hf")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_with_another_export_is_refused_finished_or_not(run: OpenRun, tmp_path: Path) -> None:
    asked = Export(to="hf", max_file_bytes=SMALL)
    with pytest.raises(KeyboardInterrupt):
        exporting.export(open_run(run.path, stop=_Stopped(8)), tmp_path / "out", asked)
    with pytest.raises(StateError, match=r"holds another export, of plan [0-9a-f]+ to hf"):
        export(run, tmp_path / "out", "hf", pools=["books"])
    export(run, tmp_path / "out", "hf")
    with pytest.raises(StateError, match="holds another export"):
        export(run, tmp_path / "out", "hf", columns=[])


def test_an_export_that_lost_a_file_is_not_called_done(run: OpenRun, tmp_path: Path) -> None:
    export(run, tmp_path / "out", "hf")
    path = next((tmp_path / "out").rglob("*.parquet"))
    path.unlink()
    with pytest.raises(StateError, match="is missing"):
        export(run, tmp_path / "out", "hf")


def test_a_shard_that_changed_since_the_plan_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, max_rows=20)
    path = max((tmp_path / "shards").iterdir())
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(DataError, match=f"a shard changed since the plan was made: {path.name}"):
        export(run, tmp_path / "out", "hf")


def test_two_exports_to_one_folder_at_once_are_refused(run: OpenRun, tmp_path: Path) -> None:
    folder = exporting.ExportFolder(tmp_path / "out", "x")
    with (
        folder.lock({"to": "hf", "plan": "p"}),
        pytest.raises(StateError, match="another process exports"),
        exporting.ExportFolder(tmp_path / "out", "x").lock({"to": "hf", "plan": "p"}),
    ):
        pass


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "x y", "\u00fc", "data", "a" * 200, "-x", "weights.json"]
)
def test_names_of_pools_become_plain_names_of_files(name: str) -> None:
    slug = slug_of(name)
    assert slug.isascii()
    assert slug != name
    assert "/" not in slug and " " not in slug and not slug.startswith((".", "_", "-"))
    assert len(slug) < 100
    assert slug != slug_of(name + "x")


def test_the_command_exports_and_prints_what_is_there(
    curate: Curate, run: OpenRun, tokenizer: Path, tmp_path: Path
) -> None:
    command = ["export", run.path, "--to", "mds", "--output", tmp_path / "out", "--pool", "books"]
    command += ["--tokenizer", tokenizer, "--eos", "<|endoftext|>", "--seq-len", "64", "--json"]
    done = curate(*command)
    assert done.code == 0, done.err
    assert done.value["pools"][0]["pool"] == "books"
    assert json.loads((tmp_path / "out" / "export.json").read_text("utf-8"))["to"] == "mds"
    assert "export: " in done.err
    failed = curate(*command[:-3], "--json")
    assert failed.code == 1
    assert "another export" in failed.err
