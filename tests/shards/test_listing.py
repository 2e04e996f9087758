"""Shards are found, named and fingerprinted; what was listed is not read again."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from curate import shards
from curate.errors import ConfigError, DataError
from curate.files import hash_file
from curate.shards import listing
from tests.shards.corpus import DOCUMENTS, age, read, to_jsonl, write_all


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_jsonl([{"text": name}]))


def keys(*patterns: Path | str) -> list[str]:
    return [shard.key for shard in shards.list_shards(shards.Input(paths=[str(p) for p in patterns]))]


def test_a_folder_is_searched_for_known_names_in_the_order_of_bytes(tmp_path: Path) -> None:
    touch(tmp_path, "b.jsonl", "a/z.jsonl", "a-b.ndjson", "B.JSONL", "\u00e9.jsonl")
    touch(tmp_path, "README.md", "_meta.jsonl", ".x.jsonl", ".git/a.jsonl", "_tmp/a.jsonl", "info.json")
    assert keys(tmp_path) == ["B.JSONL", "a-b.ndjson", "a/z.jsonl", "b.jsonl", "\u00e9.jsonl"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("?.jsonl", ["a.jsonl", "b.jsonl"]),
        ("[!a].jsonl", ["b.jsonl"]),
        ("**/*.jsonl", ["a.jsonl", "b.jsonl", "x/a.jsonl", "x/y/a.jsonl"]),
        ("x/**", ["a.jsonl", "y/a.jsonl"]),
        ("*/a.jsonl", ["x/a.jsonl"]),
        ("x/y/a.jsonl", ["a.jsonl"]),
    ],
)
def test_a_key_is_the_path_below_the_fixed_part_of_the_pattern(
    tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    touch(tmp_path, "a.jsonl", "b.jsonl", "x/a.jsonl", "x/y/a.jsonl")
    assert keys(tmp_path / pattern) == expected


def test_a_pattern_is_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "in/a.jsonl")
    monkeypatch.chdir(tmp_path)
    assert keys("in") == keys("in/*.jsonl") == keys("./in/a.jsonl") == ["a.jsonl"]


def test_equal_keys_get_the_names_of_their_folders_in_front(tmp_path: Path) -> None:
    touch(tmp_path, "d1/p/0.jsonl", "d2/p/0.jsonl", "d3/1.jsonl")
    assert keys(tmp_path / "d1/p", tmp_path / "d3") == ["0.jsonl", "1.jsonl"]
    assert keys(tmp_path / "d1/p", tmp_path / "d2/p", tmp_path / "d3") == [
        "1.jsonl",
        "d1/p/0.jsonl",
        "d2/p/0.jsonl",
    ]


def test_a_file_that_two_patterns_find_is_one_shard(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.jsonl", "a/1.jsonl")
    assert keys(tmp_path / "a", tmp_path / "a/*.jsonl", tmp_path / "a/0.jsonl") == ["0.jsonl", "1.jsonl"]


def test_keys_that_cannot_be_told_apart_are_a_config_error(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    touch(tmp_path, "0.jsonl")
    fsspec.filesystem("memory").pipe(f"{tmp_path}/0.jsonl", b'{"text": "x"}')
    with pytest.raises(ConfigError, match=r"two files have one key: .*0\.jsonl and memory:.*0\.jsonl"):
        keys(tmp_path / "0.jsonl", f"memory:/{tmp_path}/0.jsonl")


def test_what_is_not_found_is_a_config_error_with_the_pattern(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not found: .*none\.jsonl"):
        keys(tmp_path / "none.jsonl")
    for pattern in (tmp_path, tmp_path / "*.jsonl", tmp_path / "none" / "*.jsonl"):
        with pytest.raises(ConfigError, match="no files match"):
            keys(pattern)
    touch(tmp_path, "notes.txt")
    with pytest.raises(ConfigError, match=r"format of .*notes\.txt is not known"):
        keys(tmp_path / "*.txt")
    assert read(tmp_path / "notes.txt", format="jsonl")["text"].to_pylist() == [b"notes.txt"]


def test_links_are_followed_but_never_round_a_loop(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jsonl", "out/b.jsonl")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "other").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "c.jsonl").symlink_to(tmp_path / "out" / "b.jsonl")
    (tmp_path / "in" / "dead.jsonl").symlink_to(tmp_path / "nothing")
    assert keys(tmp_path / "in") == ["a.jsonl", "c.jsonl", "other/b.jsonl"]


def test_a_path_with_signs_of_globs_is_taken_as_it_is_where_it_exists(tmp_path: Path) -> None:
    touch(tmp_path, "a[1]/x.jsonl", "a1/y.jsonl")
    assert keys(tmp_path / "a[1]") == ["x.jsonl"]
    assert keys(tmp_path / "a[1]" / "x.jsonl") == ["x.jsonl"]


def test_fingerprints_hash_the_bytes_of_the_file(tmp_path: Path) -> None:
    paths = write_all(tmp_path)
    for shard in shards.list_shards(shards.Input(paths=str(tmp_path))):
        assert shard.fingerprint == hash_file(Path(shard.uri))
        assert shard.size_bytes == Path(shard.uri).stat().st_size
    assert len(paths) == 4


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the shards whose content was read."""
    seen: list[str] = []
    original = listing._read

    def counting(key: str, *args: object) -> shards.Shard:
        seen.append(key)
        return original(key, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(listing, "_read", counting)
    return seen


def test_a_cached_listing_is_the_same_without_reading(tmp_path: Path, reads: list[str]) -> None:
    paths = write_all(tmp_path / "in")
    age(*paths.values())
    settings, cache = shards.Input(paths=str(tmp_path / "in")), tmp_path / "store" / "shards.json"
    first = shards.list_shards(settings, cache=cache)
    assert len(reads) == 4
    assert shards.list_shards(settings, cache=cache) == first
    assert len(reads) == 4
    assert json.loads(cache.read_text())["format"] == 1


def test_a_changed_file_or_setting_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    paths = write_all(tmp_path / "in")
    age(*paths.values())
    cache = tmp_path / "shards.json"
    settings = shards.Input(paths=str(tmp_path / "in"))
    shards.list_shards(settings, cache=cache)
    reads.clear()
    os.utime(paths[".jsonl"], (1, 1))
    shards.list_shards(settings, cache=cache)
    assert reads == ["docs.jsonl"]
    reads.clear()
    shards.list_shards(settings.model_copy(update={"text": "source"}), cache=cache)
    assert len(reads) == 4


def test_a_file_changed_just_now_is_not_cached(tmp_path: Path, reads: list[str]) -> None:
    write_all(tmp_path / "in")
    settings, cache = shards.Input(paths=str(tmp_path / "in")), tmp_path / "shards.json"
    shards.list_shards(settings, cache=cache)
    shards.list_shards(settings, cache=cache)
    assert len(reads) == 8


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"format": 2}', '{"format": 1, "entries": {"x": 1}}', "entries"]
)
def test_a_damaged_cache_is_ignored_and_replaced(tmp_path: Path, damage: str) -> None:
    paths = write_all(tmp_path / "in")
    age(*paths.values())
    settings, cache = shards.Input(paths=str(tmp_path / "in")), tmp_path / "shards.json"
    first = shards.list_shards(settings, cache=cache)
    whole = json.loads(cache.read_text())
    if damage == "entries":
        broken = {uri: {**entry, "schema": "AAAA"} for uri, entry in whole["entries"].items()}
        damage = json.dumps({"format": 1, "entries": broken})
    cache.write_text(damage)
    assert shards.list_shards(settings, cache=cache) == first
    assert json.loads(cache.read_text()) == whole


def schema_of(tmp_path: Path, *documents: dict[str, object], **options: object) -> pa.Schema:
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.jsonl").write_bytes(to_jsonl([{"text": "x", **document}]))
    settings = shards.Input(paths=str(tmp_path), **options)  # type: ignore[arg-type]
    return shards.carried_schema(shards.list_shards(settings), settings)


def test_schemas_of_shards_are_merged_in_key_order(tmp_path: Path) -> None:
    found = schema_of(tmp_path, {"b": 1, "n": None}, {"a": "x", "b": 1.5}, {"b": None, "c": True}, {"c": 1})
    assert found == pa.schema(
        [("b", pa.float64()), ("n", pa.string()), ("a", pa.string()), ("c", pa.string())]
    )


def test_a_column_that_no_shard_has_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no shard has a column ulr; there are: text, url"):
        schema_of(tmp_path, {"url": "x"}, columns=["ulr"])
    with pytest.raises(ConfigError, match="no shard has a column doc"):
        schema_of(tmp_path, {"url": "x"}, id="doc")
    assert schema_of(tmp_path, {"url": "x"}) == pa.schema([("url", pa.string())])


def test_merged_shards_are_read_with_one_schema(tmp_path: Path) -> None:
    documents = [{"text": "x", "a": 1}, {"text": "y", "b": "z"}, {"text": "w", "a": 1.5}]
    for number, document in enumerate(documents):
        write_all(tmp_path / str(number), [document])
    settings = shards.Input(paths=str(tmp_path))
    found = shards.list_shards(settings)
    carried = shards.carried_schema(found, settings)
    rows = []
    for shard in found:
        (piece,) = shards.split_pieces(shard)
        for batch in shards.iter_batches(piece, settings, max_bytes=100, schema=carried):
            assert batch.schema == shards.batch_schema(carried)
            rows += batch.select(["a", "b"]).to_pylist()
    expected = [{"a": 1.0, "b": None}, {"a": None, "b": "z"}, {"a": 1.5, "b": None}]
    assert rows == [row for row in expected for _ in range(4)]


def test_types_that_cannot_be_merged_name_both_shards(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    for name, values in (("a", pa.array([[1]])), ("b", pa.array([1]))):
        pq.write_table(pa.table({"text": ["x"], "tags": values}), tmp_path / f"{name}.parquet")
    settings = shards.Input(paths=str(tmp_path))
    with pytest.raises(DataError, match=r"column tags is list.* in a\.parquet and int64 in b\.parquet"):
        shards.carried_schema(shards.list_shards(settings), settings)


def test_the_documents_of_the_corpus_have_all_scalar_types() -> None:
    assert {type(value) for document in DOCUMENTS for value in document.values()} == {str, float, int, bool}
