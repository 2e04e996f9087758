"""The same documents as Parquet and JSONL, local and over S3, give equal columns, plans and output."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.fs
import pytest

import curate
from tests.pipeline.conftest import SAMPLE

server = pytest.importorskip("moto.server")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

KEYS = {"key": "testing", "secret": "testing", "region": "us-east-1"}
ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst")


class Result(NamedTuple):
    columns: pl.DataFrame
    plan: pl.DataFrame
    pools: pl.DataFrame
    written: pl.DataFrame


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of the sample in every format, each format in a folder of its own."""
    root = tmp_path_factory.mktemp("formats")
    for number in range(2):
        table = pl.read_parquet(SAMPLE / f"part-{number}.parquet")
        for ending in ENDINGS:
            path = root / "in" / ending.strip(".") / f"{number}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if ending == ".parquet":
                table.write_parquet(path, row_group_size=200)
                continue
            data = table.write_ndjson().encode()
            if ending.endswith(".gz"):
                data = gzip.compress(data, mtime=0)
            elif ending.endswith(".zst"):
                data = pa.Codec("zstd").compress(data, asbytes=True)
            path.write_bytes(data)
    return root


@pytest.fixture(scope="module")
def options(folder: Path) -> Iterator[dict[str, str]]:
    """How to reach a server on loopback that holds the same files in the bucket `corpus`."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    store = pyarrow.fs.S3FileSystem(
        access_key=KEYS["key"],
        secret_key=KEYS["secret"],
        region=KEYS["region"],
        scheme="http",
        endpoint_override=f"{host}:{port}",
        allow_bucket_creation=True,
    )
    store.create_dir("corpus")
    for path in (folder / "in").rglob("*.*"):
        if path.is_file():
            with store.open_output_stream(f"corpus/{path.parent.name}/{path.name}", compression=None) as sink:
                sink.write(path.read_bytes())
    yield {"endpoint_url": f"http://{host}:{port}", **KEYS}
    running.stop()


def run(folder: Path, name: str, **settings: Any) -> Result:
    recipe = {
        "input": settings,
        "filter": [{"preset": "gopher", "where": "lang = 'en'"}, {"preset": "c4", "min_sentences": 2}],
        "dedup": {"exact": {"keep": "id"}},
        "plan": {"pools": {"by": "source"}, "budget": "0.6", "order": "shuffle"},
        "output": {
            "path": str(folder / name / "out"),
            "columns": ["id", "text", "source", "gopher.num_words"],
        },
        "run": str(folder / name / "run"),
        "store": str(folder / name / "store"),
    }
    found = curate.run(recipe)
    assert found.verify()[0] == []
    columns = found.columns()
    return Result(
        columns=columns.select(sorted(columns.columns)),
        plan=found.plan().drop("shard"),
        pools=found.pools(),
        written=pl.read_parquet(folder / name / "out" / "*.parquet"),
    )


@pytest.fixture(scope="module")
def expected(folder: Path) -> Result:
    return run(folder, "expected", paths=str(folder / "in" / "parquet"))


def check_equal(found: Result, expected: Result) -> None:
    assert expected.plan.height > 500 and 0 < expected.written.height < expected.plan.height
    for name in Result._fields:
        assert getattr(found, name).equals(getattr(expected, name)), name


@pytest.mark.parametrize("ending", ENDINGS[1:])
def test_jsonl_gives_what_parquet_gives(folder, expected, ending):
    name = ending.strip(".")
    check_equal(run(folder, f"local-{name}", paths=str(folder / "in" / name)), expected)


@pytest.mark.parametrize("ending", ENDINGS)
def test_s3_gives_what_local_files_give(folder, options, expected, ending):
    name = ending.strip(".")
    found = run(folder, f"s3-{name}", paths=f"s3://corpus/{name}", storage_options=options)
    check_equal(found, expected)


def test_keys_of_an_object_store_are_not_in_the_report(folder, options):
    run(folder, "s3-secrets", paths="s3://corpus/parquet", storage_options=options)
    for name in ("report.html", "report.json"):
        text = (folder / "s3-secrets" / "run" / name).read_text()
        assert "storage_options" in text and KEYS["secret"] not in text
