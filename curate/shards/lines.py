"""Bytes to lines: JSONL files plain, gzip (several members) and zstd (several frames), in bounded memory.

Compression is told by the first bytes; a name that ends in .gz or .zst must keep its promise. A line longer
than the limit is dropped as it comes, only its first bytes are kept. Output of more than 64 MiB and 200 times
the input is refused as a decompression bomb; zstd windows above 128 MiB are refused by the decoder. Every
byte read is hashed. Cost: zlib and zstd at their own speed, about 1 GB/s for plain lines. Not here: JSON
(jsonl.py).
"""

import io
import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from curate import _rust
from curate.errors import DataError

MAX_BOMB_BYTES = 64 << 20
MAX_BOMB_FRAC = 200
DETAIL_BYTES = 200

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"
_OUTPUT_BYTES = 1 << 20
_NEWLINE = 10
_IS_TEXT = np.array([not bytes([code]).isspace() for code in range(256)])


class HashingReader(io.RawIOBase):
    """A file read once from start to end, hashed and counted on the way."""

    def __init__(self, raw: io.RawIOBase, *, block_bytes: int) -> None:
        self._raw = raw
        self._hasher = _rust.Hasher()
        self._block_bytes = block_bytes
        self._ahead = b""
        self.num_bytes = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def peek(self, num_bytes: int) -> bytes:
        """Show the next bytes; fewer at the end of the file."""
        while len(self._ahead) < num_bytes:
            block = self._read_block()
            if not block:
                break
            self._ahead += block
        return self._ahead[:num_bytes]

    def read_block(self) -> bytes:
        """Read what comes next; empty at the end."""
        block, self._ahead = self._ahead, b""
        return block or self._read_block()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, for decoders that pull."""
        block = self.read_block()
        block, self._ahead = block[: len(buffer)], block[len(buffer) :]
        buffer[: len(block)] = block
        return len(block)

    def hexdigest(self) -> str:
        """Hash of everything read so far."""
        return self._hasher.hexdigest()

    def close(self) -> None:
        """Close the file below."""
        self._raw.close()
        super().close()

    def _read_block(self) -> bytes:
        block = self._raw.read(self._block_bytes) or b""
        self._hasher.update(block)
        self.num_bytes += len(block)
        return block


def iter_chunks(reader: HashingReader, key: str) -> Iterator[bytes]:
    """Decompress a file; damage, a cut-off end and bombs are DataErrors that name the shard."""
    start = reader.peek(4)
    if start[:2] == _GZIP:
        chunks = _gunzip(reader, key)
    elif start == _ZSTD or (start[1:] == b"\x2a\x4d\x18" and start[0] >> 4 == 5):
        chunks = _unzstd(reader, key)
    else:
        _check_name(start, key)
        yield from iter(reader.read_block, b"")
        return
    num_bytes = 0
    for chunk in chunks:
        num_bytes += len(chunk)
        if num_bytes > MAX_BOMB_BYTES and num_bytes > MAX_BOMB_FRAC * reader.num_bytes:
            raise DataError(
                f"{key}: decompression bomb: more than {MAX_BOMB_FRAC} bytes out for each byte in"
            )
        yield chunk


def _check_name(start: bytes, key: str) -> None:
    lower = key.lower()
    for ending, name in ((".gz", "gzip"), (".zst", "zstd")):
        if lower.endswith(ending) and start.lstrip(_BOM)[:1] not in (b"{", b"\n", b"\r", b" "):
            what = "is empty" if not start else f"starts with {start!r}"
            raise DataError(f"{key}: not {name}: the file {what}")


def _gunzip(reader: HashingReader, key: str) -> Iterator[bytes]:
    data = reader.read_block()
    while data:
        inflater = zlib.decompressobj(wbits=31)
        while not inflater.eof:
            try:
                chunk = inflater.decompress(data, _OUTPUT_BYTES)
            except zlib.error as exc:
                raise DataError(f"{key}: damaged gzip data near byte {reader.num_bytes}: {exc}") from exc
            ended = not data and not chunk
            data = inflater.unconsumed_tail
            if chunk:
                yield chunk
            if not data and not inflater.eof:
                data = reader.read_block()
                if not data and ended:
                    raise DataError(f"{key}: truncated gzip data: the file ends inside a member")
        data = inflater.unused_data.lstrip(b"\0")
        while not data:
            block = reader.read_block()
            if not block:
                return
            data = block.lstrip(b"\0")


def _unzstd(reader: HashingReader, key: str) -> Iterator[bytes]:
    stream = pa.CompressedInputStream(pa.PythonFile(reader, mode="r"), "zstd")
    while True:
        try:
            chunk = stream.read(_OUTPUT_BYTES)
        except OSError as exc:
            if exc.errno is not None or type(exc) is not OSError:
                raise
            word = "truncated" if "Truncated" in str(exc) else "damaged"
            raise DataError(f"{key}: {word} zstd data near byte {reader.num_bytes}: {exc}") from exc
        if not chunk:
            return
        yield chunk


def iter_lines(chunks: Iterator[bytes], max_line_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Cut chunks into lines without their newline; with each line, whether it was too long.

    Of a line that is too long only the first bytes come. Lines of white space alone are left out; a byte
    order mark at the start of the file is too. Memory: one chunk and one line of at most `max_line_bytes`.
    """
    pending: list[bytes] = []
    num_pending = 0
    for chunk in _without_mark(chunks):
        parts = chunk.split(b"\n")
        for part in parts[:-1]:
            line, size = part, num_pending + len(part)
            if num_pending:
                line = b"".join([*pending, part]) if size <= max_line_bytes else _head(pending, part)
                pending, num_pending = [], 0
            if size > max_line_bytes:
                yield line[:DETAIL_BYTES], True
            elif line and not line.isspace():
                yield line, False
        rest = parts[-1]
        num_pending += len(rest)
        if num_pending > max_line_bytes:
            pending = [_head(pending, rest)]
        elif rest:
            pending.append(rest)
    line = b"".join(pending)
    if num_pending > max_line_bytes:
        yield line[:DETAIL_BYTES], True
    elif line and not line.isspace():
        yield line, False


def line_ranges(reader: HashingReader, range_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Divide a plain file into ranges of whole lines: start, bytes, and rows as `iter_lines` has them.

    A range ends with the line that brings it to `range_bytes`. Cost: 400 MB/s; a block is in memory.
    """
    start = position = num_rows = 0
    is_blank = True
    mark = len(_BOM) if reader.peek(len(_BOM)) == _BOM else 0
    while block := reader.read_block():
        data = np.frombuffer(block, np.uint8)
        is_text = _IS_TEXT[data]
        is_text[: max(mark - position, 0)] = False
        ends = np.flatnonzero(data == _NEWLINE)
        sums = np.concatenate([[0], np.cumsum(is_text)])
        has_text = np.diff(sums[ends], prepend=0) > 0
        if len(ends):
            has_text[0] |= not is_blank
        rows = np.cumsum(has_text)
        first = 0
        while first < len(ends):
            full = int(np.searchsorted(ends, start + range_bytes - position - 1))
            if full >= len(ends):
                break
            full = max(full, first)
            stop = position + int(ends[full]) + 1
            yield start, stop - start, num_rows + int(rows[full] - (rows[first - 1] if first else 0))
            start, num_rows, first = stop, 0, full + 1
        if first < len(ends):
            num_rows += int(rows[-1] - (rows[first - 1] if first else 0))
        if len(ends):
            is_blank = True
        is_blank &= not is_text[ends[-1] + 1 if len(ends) else 0 :].any()
        position += len(block)
    if position > start:
        yield start, position - start, num_rows + (not is_blank)


def _head(pending: list[bytes], rest: bytes) -> bytes:
    head = b""
    for part in (*pending, rest):
        head += part[: DETAIL_BYTES - len(head)]
    return head


def _without_mark(chunks: Iterator[bytes]) -> Iterator[bytes]:
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_BOM):
            break
    yield start.removeprefix(_BOM)
    yield from chunks


def is_utf8(data: bytes) -> bool:
    """Tell whether bytes are valid UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def escape(data: bytes | memoryview) -> str:
    """Show the first bytes of what could not be read, in ASCII."""
    return repr(bytes(data[:DETAIL_BYTES]))[2:-1]
