"""Shards over the S3 protocol, from a server on loopback, are the same as local ones."""

import http.server
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pytest

import curate
from curate import shards
from curate.errors import ConfigError
from curate.shards import storage
from tests.shards.corpus import age, read, write_all

server = pytest.importorskip("moto.server")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

KEYS = {"key": "testing", "secret": "testing", "region": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def options(endpoint: str, local: dict[str, Path]) -> dict[str, str]:
    options = {"endpoint_url": endpoint, **KEYS}
    store = pyarrow.fs.S3FileSystem(
        access_key="testing",
        secret_key="testing",
        region="us-east-1",
        scheme="http",
        endpoint_override=endpoint.removeprefix("http://"),
        allow_bucket_creation=True,
    )
    store.create_dir("corpus")
    for path in local.values():
        with store.open_output_stream(f"corpus/dump/part/{path.name}", compression=None) as sink:
            sink.write(path.read_bytes())
    return options


@pytest.mark.parametrize("name", [".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_shard_over_s3_equals_the_local_one(
    local: dict[str, Path], options: dict[str, str], name: str
) -> None:
    uri = f"s3://corpus/dump/part/docs{name}"
    (remote,) = shards.list_shards(shards.Input(paths=uri, storage_options=options))
    (mine,) = shards.list_shards(shards.Input(paths=str(local[name])))
    assert (remote.uri, remote.key) == (uri, f"docs{name}")
    assert remote.fingerprint == mine.fingerprint
    assert (remote.size_bytes, remote.row_groups, remote.schema) == (
        mine.size_bytes,
        mine.row_groups,
        mine.schema,
    )
    assert read(uri, storage_options=options).equals(read(local[name]))


def test_folders_and_globs_are_listed_over_s3(options: dict[str, str]) -> None:
    for pattern in ("s3://corpus/dump", "s3://corpus/dump/**/*"):
        found = shards.list_shards(shards.Input(paths=pattern, storage_options=options))
        assert [shard.key for shard in found] == [
            "part/docs.jsonl",
            "part/docs.jsonl.gz",
            "part/docs.jsonl.zst",
            "part/docs.parquet",
        ]
    with pytest.raises(ConfigError, match="no files match s3://corpus/nothing"):
        shards.list_shards(shards.Input(paths="s3://corpus/nothing/*.parquet", storage_options=options))


def test_the_endpoint_may_come_from_the_environment(
    local: dict[str, Path], endpoint: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    storage._open_store.cache_clear()
    assert read("s3://corpus/dump/part/docs.parquet").equals(read(local[".parquet"]))


def test_written_files_arrive_over_s3(tmp_path: Path, options: dict[str, str]) -> None:
    rows = pa.table({"text": [f"text {row}" for row in range(100)]})
    written = []
    for target in (shards.locate("s3://corpus/out", options), tmp_path):
        with shards.ShardWriter(target, rows.schema, rows_per_file=40) as writer:
            writer.write(rows)
            written.append(writer.close())
    assert written[0] == written[1]
    found = shards.list_shards(shards.Input(paths="s3://corpus/out", storage_options=options))
    assert [(shard.key, shard.fingerprint) for shard in found] == [(f.name, f.blake3) for f in written[0]]


def test_a_changed_object_is_listed_anew_and_refused_until_then(
    tmp_path: Path, options: dict[str, str]
) -> None:
    place = shards.locate("s3://corpus/changing/a.jsonl", options)
    settings = shards.Input(paths=place.uri, storage_options=options)
    cache = tmp_path / "shards.json"
    fingerprints = []
    for text in ("one", "three"):
        with place.filesystem.open_output_stream(place.path) as sink:
            sink.write(f'{{"text": "{text}"}}\n'.encode())
        fingerprints += [shard.fingerprint for shard in shards.list_shards(settings, cache=cache)]
    assert fingerprints[0] != fingerprints[1]


class Flaky(http.server.BaseHTTPRequestHandler):
    """Pass requests on, but break off the first answers to GET."""

    upstream = ""
    failures = 0

    def do_HEAD(self) -> None:
        self._pass_on(body=False)

    def do_GET(self) -> None:
        if Flaky.failures > 0 and "Range" in self.headers:
            Flaky.failures -= 1
            self.send_response(206)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"x")
            self.close_connection = True
            return
        self._pass_on(body=True)

    def _pass_on(self, *, body: bool) -> None:
        request = urllib.request.Request(self.upstream + self.path, method=self.command)
        for name in ("Range", "Authorization", "x-amz-date", "x-amz-content-sha256"):
            if name in self.headers:
                request.add_header(name, self.headers[name])
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(answer.read())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def flaky(endpoint: str) -> Iterator[str]:
    Flaky.upstream = endpoint
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{proxy.server_port}"
    Flaky.failures = 0
    proxy.shutdown()
    proxy.server_close()
    thread.join()


@pytest.mark.parametrize("name", [".parquet", ".jsonl.gz"])
def test_lost_connections_are_survived(
    local: dict[str, Path], options: dict[str, str], flaky: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "FIRST_PAUSE_S", 0.01)
    through = {**options, "endpoint_url": flaky}
    Flaky.failures = 2
    assert read(f"s3://corpus/dump/part/docs{name}", storage_options=through).equals(read(local[name]))
    assert Flaky.failures == 0


def test_a_connection_that_stays_lost_is_an_error_with_the_uri(
    options: dict[str, str], flaky: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "FIRST_PAUSE_S", 0.01)
    Flaky.failures = 1000
    with pytest.raises(OSError, match=r"cannot read s3://corpus/dump/part/docs.parquet \(5 attempts\)"):
        read("s3://corpus/dump/part/docs.parquet", storage_options={**options, "endpoint_url": flaky})


def test_a_missing_object_or_refused_key_is_named(options: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not found: s3://corpus/dump/none\.parquet"):
        read("s3://corpus/dump/none.parquet", storage_options=options)
    path = write_all(tmp_path)[".parquet"]
    age(path)
    place = shards.locate("s3://corpus/gone.parquet", options)
    with pytest.raises(FileNotFoundError, match=r"s3://corpus/gone\.parquet"):
        storage.open_file(place)


def test_curated_shards_written_to_s3_equal_the_local_ones(
    options: dict[str, str], local: dict[str, Path], tmp_path: Path
) -> None:
    recipe = {
        "input": {"paths": str(next(path for path in local.values() if path.suffix == ".parquet"))},
        "plan": {"pools": {"by": None}, "order": "shuffle"},
        "run": str(tmp_path / "run"),
    }
    curate.write({**recipe, "output": {"path": str(tmp_path / "out")}})
    remote = {"path": "s3://corpus/curated", "storage_options": options}
    run = curate.write({**recipe, "output": remote})
    assert run.verify()[0] == []
    store = storage.locate("s3://corpus/curated", options).filesystem
    for path in (tmp_path / "out").iterdir():
        with store.open_input_stream(f"corpus/curated/{path.name}") as source:
            assert source.read() == path.read_bytes()
    store.delete_file("corpus/curated/part-00000-00000.parquet")
    assert run.verify()[0] == ["s3://corpus/curated/part-00000-00000.parquet: is missing"]
    assert curate.write({**recipe, "output": remote}).verify()[0] == []
