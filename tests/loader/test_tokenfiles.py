"""Files of tokens that were made elsewhere: what is read, and that damaged ones are refused."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError, DataError
from curate.loader import tokenfiles
from curate.loader.building import build_index
from curate.loader.reading import Reader
from curate.loader.tokenfiles import MAGIC, open_tokens, read_flat, read_megatron
from tests.loader.test_reading import split

DOCUMENTS = st.lists(st.lists(st.integers(0, 60_000), max_size=12), min_size=1, max_size=20)


def write_megatron(prefix: Path, documents: Sequence[Sequence[Sequence[int]]], code: int = 8) -> None:
    """Write documents of sequences as Megatron does."""
    dtype = np.dtype(tokenfiles.DTYPES[code])
    sequences = [sequence for document in documents for sequence in document]
    lengths = np.array([len(sequence) for sequence in sequences], "<i4")
    pointers = (np.cumsum(lengths, dtype=np.int64) - lengths) * dtype.itemsize
    ends = np.concatenate([[0], np.cumsum([len(document) for document in documents])]).astype("<i8")
    head = MAGIC + struct.pack("<QBQQ", 1, code, len(lengths), len(ends))
    index = head + lengths.tobytes() + pointers.astype("<i8").tobytes() + ends.tobytes()
    prefix.with_suffix(".idx").write_bytes(index)
    prefix.with_suffix(".bin").write_bytes(b"".join(np.array(one, dtype).tobytes() for one in sequences))


@given(documents=st.lists(DOCUMENTS, max_size=4), code=st.sampled_from([4, 5, 8]), lanes=st.integers(1, 3))
def test_megatron_documents_are_read(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[list[int]]], code: int, lanes: int
) -> None:
    folder = tmp_path_factory.mktemp("megatron")
    write_megatron(folder / "web", documents, code)
    index = build_index(open_tokens(folder / "web"), folder / "index", num_lanes=lanes, block_tokens=10)
    (pool,) = index.pools
    flat = [[token for sequence in document for token in sequence] for document in documents]
    expected = [document for document in flat if document]
    assert (pool.name, pool.num_docs, pool.num_tokens) == ("web", len(expected), sum(map(len, expected)))
    reader = Reader(index)
    assert split(reader.read(np.arange(pool.num_docs))) == expected
    order = np.random.default_rng(0).permutation(pool.num_docs)
    assert split(reader.read(order)) == [expected[place] for place in order]
    assert [flat[index.row[doc]] for doc in range(pool.num_docs)] == expected


@given(
    documents=DOCUMENTS,
    dtype=st.sampled_from(["uint16", "uint32"]),
    is_open=st.booleans(),
    scan=st.integers(1, 30),
    has_header=st.booleans(),
)
def test_flat_documents_end_with_their_end(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[list[int]],
    dtype: str,
    is_open: bool,
    scan: int,
    has_header: bool,
) -> None:
    eos = 60_001
    folder = tmp_path_factory.mktemp("flat")
    expected = [[*document, eos] for document in documents]
    if is_open and len(expected[-1]) > 1:
        expected[-1].pop()
    tokens = np.array([token for document in expected for token in document], dtype)
    if has_header:
        np.save(folder / "part.npy", tokens)
    else:
        tokens.tofile(folder / "part.npy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenfiles, "SCAN_TOKENS", scan)
        source = open_tokens(folder / "part.npy", dtype=dtype, eos=eos)
    index = build_index(source, folder / "index", num_lanes=1)
    reader = Reader(index)
    assert split(reader.read(np.arange(index.num_docs))) == expected
    assert reader.stats.bytes_served == tokens.nbytes


def test_a_table_names_pools_of_several_files(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2), ("c", 3)):
        np.array([value, 0, value, 0], np.uint16).tofile(tmp_path / f"{name}.npy")
    files = {"web": [tmp_path / "a.npy", tmp_path / "c.npy"], "books": tmp_path / "b.npy"}
    index = build_index(open_tokens(files, eos=0), tmp_path / "index", num_lanes=1)
    assert [(pool.name, pool.num_docs) for pool in index.pools] == [("books", 2), ("web", 4)]
    assert split(Reader(index).read(np.arange(6))) == [[2, 0]] * 2 + [[1, 0]] * 2 + [[3, 0]] * 2
    assert index.locate(5) == ("c.npy", 1)


def put(place: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + value + data[place + len(value) :]


BIG = (1 << 40).to_bytes(8, "little")
NEGATIVE = (-2).to_bytes(8, "little", signed=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "not an index of Megatron"),
        (put(0, b"X"), "not an index of Megatron"),
        (put(9, b"\x02"), "version 2"),
        (put(17, b"\x06"), "tokens of type 6"),
        (put(18, BIG), "1099511627776 sequences"),
        (put(26, BIG), "1099511627776 ends need"),
        (lambda data: data[:-1], "bytes, 3 sequences and 3 ends need"),
        (put(34, b"\xff\xff\xff\xff"), "sequence 0 is -1 tokens"),
        (put(38, b"\xff\xff\xff\x7f"), "sequence 1 is 2147483647 tokens from byte 4"),
        (put(46, NEGATIVE), "sequence 0 is 2 tokens from byte -2"),
        (put(46, b"\x01"), "sequence 0 is 2 tokens from byte 1"),
        (put(62, BIG), "sequence 2 is 1 tokens from byte 1099511627776"),
        (put(54, b"\x02"), "sequence 1 does not follow"),
        (put(70, NEGATIVE), "do not ascend"),
        (put(78, BIG), "do not ascend"),
        (put(86, b"\x02"), "do not ascend"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    write_megatron(tmp_path / "a", [[[1, 2], [3]], [[4]]])
    path = tmp_path / "a.idx"
    assert read_megatron(path, tmp_path / "a.bin")[1].lengths.tolist() == [3, 1]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        read_megatron(path, tmp_path / "a.bin")


def test_a_shorter_file_of_tokens_is_refused(tmp_path: Path) -> None:
    write_megatron(tmp_path / "a", [[[1, 2, 3]], [[4]]])
    index = build_index(open_tokens(tmp_path / "a"), tmp_path / "index", num_lanes=1)
    data = (tmp_path / "a.bin").read_bytes()
    (tmp_path / "a.bin").write_bytes(data[:-2])
    with pytest.raises(DataError, match=r"a\.bin changed since the index was built: 6 bytes instead of 8"):
        Reader(index).read(np.arange(2))
    with pytest.raises(DataError, match="sequence 1 is 1 tokens from byte 6 on in a file of 6"):
        open_tokens(tmp_path / "a")


def test_tokens_that_cannot_be_ids_are_refused(tmp_path: Path) -> None:
    for code, value in ((4, -1), (5, 1 << 32)):
        write_megatron(tmp_path / "a", [[[1]], [[2, value]]], code)
        index = build_index(open_tokens(tmp_path / "a"), tmp_path / f"index{code}", num_lanes=1)
        reader = Reader(index)
        assert split(reader.read(np.array([0]))) == [[1]]
        with pytest.raises(DataError, match=r"a\.bin, document 1: a token is not between 0 and 4294967295"):
            reader.read(np.array([1]))


def test_flat_files_that_do_not_hold_tokens_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"123")
    with pytest.raises(DataError, match="3 bytes are not whole tokens of 2"):
        read_flat(path, "<u2", 0)
    np.save(path, np.zeros((2, 2), np.uint16))
    with pytest.raises(DataError, match="2 dimensions instead of 1"):
        read_flat(path, "<u2", 0)
    np.save(path, np.zeros(2, np.uint32))
    with pytest.raises(DataError, match="tokens are <u4, asked for was <u2"):
        read_flat(path, "<u2", 0)
    path.write_bytes(b"\x93NUMPY\x01\x00\xff\x00{'x'")
    with pytest.raises(DataError, match="damaged header of numpy"):
        read_flat(path, "<u2", 0)


def test_what_is_asked_wrongly_is_refused(tmp_path: Path) -> None:
    np.zeros(2, np.uint16).tofile(tmp_path / "a.npy")
    (tmp_path / "other").mkdir()
    np.zeros(2, np.uint16).tofile(tmp_path / "other" / "a.npy")
    for call, message in (
        (lambda: open_tokens(tmp_path / "a.npy"), "flat files of tokens need `eos`"),
        (lambda: open_tokens(tmp_path / "a.npy", dtype="int8", eos=0), "are uint16 or uint32: int8"),
        (lambda: open_tokens("s3://bucket/a.npy", eos=0), "must be local"),
        (lambda: open_tokens(tmp_path / "b.npy", eos=0), "there is no file of tokens"),
        (lambda: open_tokens([tmp_path / "a.npy", tmp_path / "other" / "a.npy"], eos=0), "have one name: a"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()
