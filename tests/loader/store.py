"""A small server of the S3 protocol on loopback: objects below one folder, and the ranges that were read."""

import contextlib
import http.server
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Store:
    """What is served, and what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.reads: list[tuple[str, int, int]] = []
        """Key, first byte and bytes of every GET of an object."""
        self.num_heads = 0
        self.num_failures = 0
        """How many of the next reads break off."""
        self.lock = threading.Lock()

    @property
    def options(self) -> dict[str, str]:
        endpoint = f"http://127.0.0.1:{self.port}"
        return {"endpoint_url": endpoint, "key": "k", "secret": "s", "region": "us-east-1"}

    @property
    def bytes_read(self) -> int:
        return sum(size for _, _, size in self.reads)

    def clear(self) -> None:
        self.reads.clear()
        self.num_heads = 0


class Handler(http.server.BaseHTTPRequestHandler):
    """HEAD, GET with ranges, and the listing of a bucket."""

    protocol_version = "HTTP/1.1"
    store: Store

    def do_HEAD(self) -> None:
        with self.store.lock:
            self.store.num_heads += 1
        path = self._path()
        self._answer(
            200 if path.is_file() or path.is_dir() else 404, size=path.stat().st_size if path.is_file() else 0
        )

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if "list-type" in parse_qs(parts.query, keep_blank_values=True):
            self._list(parts.path.strip("/"), parse_qs(parts.query))
            return
        path = self._path()
        if not path.is_file():
            self._answer(404)
            return
        size = path.stat().st_size
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, stop = (int(found[1]), min(int(found[2]) + 1, size)) if found else (0, size)
        with path.open("rb") as handle:
            handle.seek(start)
            data = handle.read(stop - start)
        with self.store.lock:
            is_broken = self.store.num_failures > 0
            self.store.num_failures -= is_broken
        if is_broken:
            self.send_response(206)
            self.send_header("Content-Length", str(len(data) + 1))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        with self.store.lock:
            self.store.reads.append((str(path.relative_to(self.store.folder)), start, len(data)))
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"} if found else {}
        self._answer(206 if found else 200, data, headers=headers)

    def _path(self) -> Path:
        return self.store.folder / unquote(urlsplit(self.path).path).strip("/")

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        root = self.store.folder / bucket
        items, folders = [], set()
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            key = str(path.relative_to(root))
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            items.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{path.stat().st_size}</Size>"
                "<LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag></Contents>"
            )
        items += [
            f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)
        ]
        body = (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(items)}</KeyCount>"
            f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{''.join(items)}</ListBucketResult>"
        )
        self._answer(200, body.encode(), headers={"Content-Type": "application/xml"})

    def _answer(
        self,
        status: int,
        data: bytes = b"",
        *,
        size: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if size is None else size))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("ETag", '"x"')
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path | None = None) -> Iterator[Store]:
    """Serve a folder, whose folders are buckets; without one an empty one with the bucket `corpus`."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "corpus").mkdir()
        store = Store(folder)
        handler = type("CountingHandler", (Handler,), {"store": store})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        store.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield store
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
