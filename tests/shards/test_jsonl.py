"""Lines become rows or quarantined rows; damaged files become errors; memory stays bounded."""

import gzip
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import schema
from curate.errors import DataError
from curate.shards import lines
from tests.shards.corpus import DOCUMENTS, read, to_jsonl, zstd

BAD_LINES = [
    (b'{"id": "a"}', schema.NULL_TEXT),
    (b'{"id": "a", "text": null}', schema.NULL_TEXT),
    (b'{"id": "a", "text": 5}', schema.BAD_TEXT_TYPE),
    (b'{"id": "a", "text": ["x"]}', schema.BAD_TEXT_TYPE),
    (b'{"text": "x"', schema.BAD_JSON),
    (b'{"text": "x"} {"text": "y"}', schema.BAD_JSON),
    (b"[1, 2]", schema.BAD_JSON),
    (b'"text"', schema.BAD_JSON),
    (b"null", schema.BAD_JSON),
    (b'{"text": "\\ud800"}', schema.BAD_JSON),
    (b'{"text": "x", "score": NaN}', schema.BAD_JSON),
    (b'{"text": "x", "score": 1e999}', schema.BAD_JSON),
    (b'{"text": "x", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", schema.BAD_JSON),
    (b'{"text": "\xff\xfe"}', schema.INVALID_UTF8),
    (b"\x00\x01", schema.BAD_JSON),
    (b'{"text": "' + b"x" * 200_000 + b'"}', schema.LINE_TOO_LONG),
]


def write(folder: Path, data: bytes, name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_bad_line_is_one_row_with_its_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    limit = 100_000 if reason == schema.LINE_TOO_LONG else 1 << 20
    path = write(tmp_path, b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n')
    table = read(path, max_line_bytes=limit)
    assert table["input.error"].to_pylist() == [None, reason, None]
    assert table["text"].to_pylist() == [b"before", None, b"after"]
    detail = table["input.error_detail"].to_pylist()
    assert detail[0] is None and detail[2] is None
    assert detail[1] == repr(line[:200])[2:-1]


def test_a_bad_row_keeps_its_other_columns(tmp_path: Path) -> None:
    path = write(tmp_path, b'{"id": "a", "text": 5}\n')
    assert read(path)["id"].to_pylist() == ["a"]


def test_a_duplicate_key_takes_its_last_value(tmp_path: Path) -> None:
    assert read(write(tmp_path, b'{"text": "a", "text": "b"}'))["text"].to_pylist() == [b"b"]


def test_crlf_byte_order_marks_and_empty_lines_are_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path, b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n\n{"text": "b"}')
    table = read(path)
    assert table["text"].to_pylist() == [b"a", b"b"]
    assert table["input.error"].null_count == 2


def test_a_line_of_exactly_the_limit_is_good(tmp_path: Path) -> None:
    line = b'{"text": "' + b"x" * 500 + b'"}'
    path = write(tmp_path, line + b"\n" + line)
    assert read(path, max_line_bytes=len(line))["input.error"].null_count == 2
    table = read(path, max_line_bytes=len(line) - 1)
    assert table["input.error"].to_pylist() == [schema.LINE_TOO_LONG] * 2


@given(
    content=st.lists(
        st.sampled_from([b"a", b"bb", b"\n", b"\r\n", b" ", b"c" * 30, b"\xef\xbb\xbf"]), max_size=30
    ),
    cut=st.integers(1, 40),
    limit=st.integers(1, 40),
)
def test_lines_do_not_depend_on_chunks(content: list[bytes], cut: int, limit: int) -> None:
    data = b"".join(content)
    chunks = iter([data[start : start + cut] for start in range(0, len(data), cut)])
    expected = []
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if len(line) > limit:
            expected.append((line[: lines.DETAIL_BYTES], True))
        elif line.strip():
            expected.append((line, False))
    assert list(lines.iter_lines(chunks, limit)) == expected


def test_keys_of_the_last_line_and_mixed_types_are_not_lost(tmp_path: Path) -> None:
    documents = [{"text": "x", "a": row} for row in range(3000)]
    documents += [{"text": "x", "a": 1.5, "b": True}, {"text": "x", "c": {"k": [1, None]}, "d": None}]
    documents += [{"text": "x", "b": "yes", "big": 1 << 63, "e": 1}, {"text": "x", "e": "one"}]
    table = read(write(tmp_path, to_jsonl(documents)))
    types = {column.name: column.type for column in table.schema}
    assert types["a"] == pa.float64()
    assert types["b"] == types["c"] == types["big"] == types["e"] == pa.string()
    assert types["d"] == pa.null()
    assert table["b"].to_pylist()[3000:] == ["true", None, "yes", None]
    assert table["c"].to_pylist()[3001] == '{"k":[1,null]}'
    assert table["big"].to_pylist()[3002] == "9223372036854775808"
    assert table["e"].to_pylist()[3002:] == ["1", "one"]


def test_too_many_different_keys_are_an_error(tmp_path: Path) -> None:
    path = write(
        tmp_path, to_jsonl([{"text": "x", **{f"k{row}-{i}": 1 for i in range(10)}} for row in range(1001)])
    )
    with pytest.raises(DataError, match="more than 10000 different keys"):
        read(path)


DATA = to_jsonl(DOCUMENTS) * 20


@pytest.mark.parametrize(("name", "data"), [("a.jsonl.gz", gzip.compress(DATA)), ("a.jsonl.zst", zstd(DATA))])
def test_a_truncated_or_damaged_file_is_an_error(tmp_path: Path, name: str, data: bytes) -> None:
    for size in (0, 1, 3, 7, len(data) // 2, len(data) - 1):
        with pytest.raises(DataError, match=rf"{name}: (truncated|not (gzip|zstd))"):
            read(write(tmp_path, data[:size], name))
        if size > 10:
            with pytest.raises(DataError, match=rf"{name}: truncated"):
                read(write(tmp_path, data + data[:size], name))
    with pytest.raises(DataError, match=rf"{name}: damaged"):
        read(write(tmp_path, data + b"junk after the end", name))
    broken = bytearray(data)
    broken[len(data) // 2] ^= 0xFF
    with pytest.raises(DataError, match=rf"{name}: (damaged|truncated)"):
        read(write(tmp_path, bytes(broken), name))


def test_compression_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    expected = read(write(tmp_path, DATA))
    for name, data in (("b.jsonl", gzip.compress(DATA)), ("c.jsonl", zstd(DATA)), ("d.jsonl.gz", DATA)):
        assert read(write(tmp_path, data, name)).equals(expected)


def test_zero_padding_and_skippable_frames_are_passed_over(tmp_path: Path) -> None:
    expected = read(write(tmp_path, DATA))
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    for name, data in (
        ("b.jsonl.gz", gzip.compress(DATA) + b"\0" * 512),
        ("c.jsonl.zst", skippable + zstd(DATA) + skippable),
    ):
        assert read(write(tmp_path, data, name)).equals(expected)


def test_a_zstd_window_above_the_limit_is_refused(tmp_path: Path) -> None:
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(DataError, match="damaged zstd"):
        read(write(tmp_path, frame, "a.jsonl.zst"))


def test_a_decompression_bomb_is_an_error(tmp_path: Path) -> None:
    line = b'{"text": "' + b"x" * (80 << 20) + b'"}'
    for name, data in (("a.jsonl.gz", gzip.compress(line)), ("a.jsonl.zst", zstd(line))):
        with pytest.raises(DataError, match=f"{name}: decompression bomb"):
            read(write(tmp_path, data, name))


@pytest.mark.parametrize("size_mib", [256, pytest.param(1024, marks=pytest.mark.slow)])
def test_a_line_of_a_gigabyte_is_one_row_in_bounded_memory(tmp_path: Path, size_mib: int) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as handle:
        handle.write(b'{"text": "first"}\n{"text": "')
        for _ in range(size_mib):
            handle.write(b"x" * (1 << 20))
        handle.write(b'"}\n{"text": "last"}\n')
    script = f"""
        import resource
        from tests.shards.corpus import read
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        table = read({str(path)!r})
        print(table["input.error"].to_pylist(), table["text"].to_pylist())
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    rows, grown_mib = done.stdout.splitlines()
    assert rows == f"[None, {schema.LINE_TOO_LONG!r}, None] [b'first', None, b'last']"
    assert int(grown_mib) < 128
