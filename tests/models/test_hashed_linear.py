"""Files of hashed linear models: what is saved is loaded, and nothing else is, by either reader."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ConfigError, DataError
from curate.measure import HashedLinear
from curate.models import hashed_linear
from curate.models.hashed_linear import Description

WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)
DESCRIPTION = Description(
    outputs=("a", "B_1"), ngrams=3, hash="fnv", aggregate="mean", min_tokens=7, about="\u00e9"
)
METADATA = {
    "format": "curate.hashed_linear.1",
    "tokens": "uax29",
    "ngrams": "1",
    "hash": "fnv",
    "aggregate": "sum",
    "outputs": '["a","b"]',
}
TENSORS = {
    "weight": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]},
    "bias": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]},
}
DATA = np.arange(8, dtype="<f4").tobytes()


def to_bytes(header: Any, data: bytes = DATA) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def changed(part: str, **values: Any) -> dict[str, Any]:
    """A good header with other values in one part; None takes a key away."""
    header: dict[str, Any] = {"__metadata__": METADATA, **TENSORS}
    found = {**header[part], **values}
    return {**header, part: {key: value for key, value in found.items() if value is not None}}


def assert_refused(path: Path, message: str) -> None:
    for read in (lambda: hashed_linear.load(path), lambda: HashedLinear(name="x", model=path).columns()):
        with pytest.raises(DataError, match=message) as caught:
            read()
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("bias", [None, [0.5, -2.0]])
def test_what_is_saved_is_loaded_and_has_the_same_bytes_each_time(
    tmp_path: Path, bias: list[float] | None
) -> None:
    path = tmp_path / "model.safetensors"
    hashed_linear.save(path, DESCRIPTION, WEIGHT, bias)
    first = path.read_bytes()
    found = hashed_linear.load(path)
    assert found.description == DESCRIPTION
    assert found.weight.tolist() == WEIGHT.tolist()
    assert (None if found.bias is None else found.bias.tolist()) == bias
    hashed_linear.save(path, DESCRIPTION, np.asfortranarray(WEIGHT.astype(float)), bias)
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert int.from_bytes(first[:8], "little") % 8 == 0
    assert HashedLinear(name="x", model=path).columns() == ("x.a", "x.B_1")


def test_tensors_may_come_in_either_order(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {
        "bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "weight": {"dtype": "F32", "shape": [3, 2], "data_offsets": [8, 32]},
    }
    path.write_bytes(to_bytes({"__metadata__": METADATA, **tensors}))
    found = hashed_linear.load(path)
    assert found.bias is not None
    assert (found.bias.tolist(), found.weight.tolist()) == ([0, 1], [[2, 3], [4, 5], [6, 7]])
    row = HashedLinear(name="x", model=path).annotate(pa.array(["word"])).to_pylist()[0]
    assert (row["x.a"], row["x.b"] - row["x.a"]) in [(weight, 2.0) for weight in (2.0, 4.0, 6.0)]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "header"),
        (b"[]", "header"),
        (b"{", "header"),
        (b"\xff", "header|utf-8"),
        (b"[" * 100_000, "header|recursion|deep"),
        (changed("__metadata__", format="curate.hashed_linear.2"), "the format is not"),
        (changed("__metadata__", format=None), "format"),
        (changed("__metadata__", other="x"), "other"),
        (changed("__metadata__", tokens="words"), "tokens is none of .*: words"),
        (changed("__metadata__", hash="md5"), "hash is none of .*: md5"),
        (changed("__metadata__", aggregate="max"), "aggregate is none of .*: max"),
        (changed("__metadata__", ngrams="0"), "ngrams is not a number"),
        (changed("__metadata__", ngrams="9"), "ngrams is not a number"),
        (changed("__metadata__", ngrams="+2"), "ngrams is not a number"),
        (changed("__metadata__", ngrams=2), "string"),
        (changed("__metadata__", min_tokens="-1"), "min_tokens is not a number"),
        (changed("__metadata__", min_tokens="99999999999999999999"), "min_tokens is not a number"),
        (changed("__metadata__", outputs="a"), "outputs|no hashed"),
        (changed("__metadata__", outputs='{"a":1}'), "outputs is not a JSON list"),
        (changed("__metadata__", outputs="[]"), "there are not 1 to 4096 outputs"),
        (changed("__metadata__", outputs='["a","a"]'), "an output stands twice"),
        (changed("__metadata__", outputs='["a","b.c"]'), r"the name of an output .*: b\.c"),
        (changed("__metadata__", outputs='["a"]'), "weight is not"),
        (changed("weight", dtype="F16"), "weight is not of F32: F16"),
        (changed("weight", shape=[3, 3]), "weight"),
        (changed("weight", shape=[6]), "weight"),
        (changed("weight", shape=[2**62, 2]), "weight"),
        (changed("weight", shape=[-3, 2]), "header|shape"),
        (changed("weight", data_offsets=[0, 2**63]), "weight|bias"),
        (changed("weight", data_offsets=[8, 32]), "weight|bias"),
        (changed("weight", data_offsets=[0, 24.0]), "header|place"),
        (changed("weight", data_offsets=None), "data_offsets"),
        (changed("weight", more=1), "more"),
        (changed("bias", data_offsets=[28, 36]), "bias"),
        (changed("bias", shape=[1]), "bias"),
        ({"__metadata__": METADATA, "weight": TENSORS["weight"]}, "its tensors have 24 bytes"),
        ({"__metadata__": METADATA, "bias": TENSORS["bias"]}, "weight"),
        ({"__metadata__": METADATA, **TENSORS, "extra": TENSORS["bias"]}, "extra"),
        ({"__metadata__": METADATA, **TENSORS, "bias": None}, "header|bias"),
        (TENSORS, "__metadata__"),
        (json.dumps({"__metadata__": METADATA, **TENSORS})[:-1].encode() + b',"weight":{}}', "header"),
    ],
)
def test_a_wrong_header_is_refused_with_what_is_wrong(tmp_path: Path, header: Any, message: str) -> None:
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(to_bytes(header))
    assert_refused(path, message)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "model.safetensors"
    numbers = np.arange(8, dtype="<f4")
    numbers[5] = value
    path.write_bytes(to_bytes({"__metadata__": METADATA, **TENSORS}, numbers.tobytes()))
    assert_refused(path, "weight has a value that is not finite")
    with pytest.raises(DataError, match="weight has a value that is not finite"):
        hashed_linear.save(path, Description(outputs=("a",)), [[value], [1.0]])
    with pytest.raises(DataError, match="bias has a value that is not finite"):
        hashed_linear.save(path, Description(outputs=("a",)), [[1.0]], [1e300])


def test_a_length_of_any_size_is_compared_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for length in (1, 2**31, 2**63, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little"))
        assert_refused(path, f"its header has {length} bytes")


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    hashed_linear.save(path, DESCRIPTION, WEIGHT, [1.0, 2.0])
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert_refused(path, "no hashed linear model")
    path.write_bytes(data + b"\0")
    assert_refused(path, "its tensors have 32 bytes, of which are there: 33")


def test_flipped_bytes_are_taken_or_refused_by_both_readers_alike(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    hashed_linear.save(path, DESCRIPTION, WEIGHT, [1.0, 2.0])
    data = path.read_bytes()
    num_errors = 0
    for place, flip in itertools.product(range(len(data)), (0x01, 0x20, 0x80)):
        path.write_bytes(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
        outcomes = []
        for read in (lambda: hashed_linear.load(path), lambda: HashedLinear(name="x", model=path).columns()):
            try:
                read()
                outcomes.append(True)
            except DataError:
                outcomes.append(False)
        assert outcomes[0] == outcomes[1], (place, flip)
        num_errors += not outcomes[0]
    assert num_errors > len(data)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused_by_python(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(data)
    assert_refused(path, "no hashed linear model that can be read")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": "words"}, "tokens is none of"),
        ({"hash": "md5"}, "hash is none of"),
        ({"aggregate": "max"}, "aggregate is none of"),
        ({"ngrams": 0}, "ngrams is not a number from 1 to 8: 0"),
        ({"ngrams": True}, "ngrams is not a number from 1 to 8: True"),
        ({"min_tokens": -1}, "min_tokens is not a number"),
        ({"outputs": ()}, "there are not 1 to 4096 outputs: 0"),
        ({"outputs": ("a", "a")}, "an output stands twice"),
        ({"outputs": ("a b",)}, "the name of an output"),
    ],
)
def test_a_wrong_description_cannot_be_made(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Description(**{"outputs": ("a",), **settings})


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        ([1.0], None, r"weight is not \[1 to 268435456, 1\]: \[1\]"),
        ([[1.0, 2.0]], None, r"weight is not .*: \[1, 2\]"),
        (np.zeros((0, 1)), None, "weight is not"),
        ([[1.0]], [1.0, 2.0], r"bias is not \[1\]: \[2\]"),
    ],
)
def test_numbers_that_do_not_fit_the_description_are_not_saved(
    tmp_path: Path, weight: Any, bias: Any, message: str
) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(DataError, match=message):
        hashed_linear.save(path, Description(outputs=("a",)), weight, bias)
    assert not path.exists()


def test_a_missing_model_is_an_error_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    with pytest.raises(FileNotFoundError, match=str(path)):
        hashed_linear.load(path)
    with pytest.raises(DataError, match=rf"x\.model is not a file: {path}"):
        HashedLinear(name="x", model=path).needs()
