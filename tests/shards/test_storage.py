"""Places are found by their URLs; what is missing is named."""

import sys
from pathlib import Path

import pytest

from curate import shards
from curate.errors import ConfigError, MissingExtra
from curate.shards import storage
from tests.shards.corpus import read, write_all


def test_a_file_url_is_a_local_place(tmp_path: Path) -> None:
    path = write_all(tmp_path / "a b")[".jsonl"]
    assert read(path.as_uri()).equals(read(path))
    assert shards.locate(path.as_uri()).uri == str(path)


def test_a_url_of_fsspec_is_read_like_a_local_file(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name, path in write_all(tmp_path).items():
        memory.pipe(f"/corpus/docs{name}", path.read_bytes())
        shard, _ = shards.list_shards(shards.Input(paths=f"memory://corpus/docs{name}")), None
        assert shard[0].key == f"docs{name}"
        assert read(f"memory://corpus/docs{name}").equals(read(path))


def test_without_fsspec_its_urls_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtra, match=r"pip install 'curate\[s3\]'"):
        storage.locate("memory://corpus/a.jsonl")


def test_an_unknown_scheme_or_option_is_a_config_error() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigError, match="nothing://a"):
        storage.locate("nothing://a")
    with pytest.raises(ConfigError, match="unknown for s3: secrte; known: endpoint_url, anon"):
        storage.locate("s3://bucket/a", {"secrte": "x"})
    with pytest.raises(ConfigError, match="anon must be true or false: maybe"):
        storage.locate("s3://bucket/a", {"anon": "maybe", "region": "us-east-1"})


class Failing:
    def __init__(self, *errors: OSError) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(storage.time, "sleep", pauses.append)
    return pauses


def test_what_fails_is_repeated_with_growing_pauses(pauses: list[float]) -> None:
    assert storage.retry(Failing(OSError("busy"), ConnectionError("reset")), "s3://b/a") == "done"
    assert pauses == [0.2, 0.4]


def test_what_keeps_failing_names_the_uri(pauses: list[float]) -> None:
    with pytest.raises(OSError, match=r"cannot read s3://b/a \(5 attempts\): busy"):
        storage.retry(Failing(*[OSError("busy")] * 9), "s3://b/a")
    assert len(pauses) == 4


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone"), PermissionError("no"), OSError("ACCESS_DENIED")]
)
def test_what_cannot_succeed_is_not_repeated(error: OSError, pauses: list[float]) -> None:
    with pytest.raises(OSError, match="s3://b/a"):
        storage.retry(Failing(error), "s3://b/a")
    assert pauses == []
