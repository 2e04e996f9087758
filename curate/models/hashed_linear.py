"""Linear models over hashed n-grams as files: importance weights (Xie et al. 2023, arXiv:2302.03169), raters.

A file is safetensors: 8 bytes little-endian length, a JSON header, floats. It has a tensor `weight`, F32,
[buckets, outputs], maybe a tensor `bias`, F32, [outputs], and in `__metadata__` what a `Description` holds,
all as strings. It is written here by hand, which the format is simple enough for, so that the `safetensors`
package is no dependency; that package reads what is written. The same model gives the same bytes. Cost: that
of reading or writing the file, which is in memory as a whole.

Not here: fitting (importance.py); scoring, which the stage `hashed_linear` does in the native pass.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError, DataError
from curate.files import atomic_file

FORMAT = "curate.hashed_linear.1"
"""What `format` is in the metadata."""
MAX_BUCKETS = 1 << 28
MAX_OUTPUTS = 1 << 12
MAX_NGRAMS = 8
MAX_TOKENS = (1 << 32) - 1

TokenMode = Literal["wordpunct_lower", "uax29", "whitespace"]
HashName = Literal["sha256", "fnv"]
Aggregate = Literal["sum", "mean"]
Floats = npt.NDArray[np.float32]

_CHOICES = {"tokens": TokenMode, "hash": HashName, "aggregate": Aggregate}
_OUTPUT = re.compile(r"[A-Za-z0-9_]{1,64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_REQUIRED = {"format", "tokens", "ngrams", "hash", "aggregate", "outputs"}
_OPTIONAL = {"min_tokens", "about"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """How a text becomes features, and features scores."""

    outputs: tuple[str, ...]
    """Names of the scores, ASCII letters, digits and underscores."""
    tokens: TokenMode = "wordpunct_lower"
    """`wordpunct_lower`: DSIR's, the matches of `\\w+|[^\\w\\s]+` in the lower-cased text, as in Python 3.11;
    `uax29`: Unicode words as the measuring pass has them; `whitespace`: fastText's tokens without its end of
    a line."""
    ngrams: int = 2
    """Tokens in the longest n-gram: 2 means single tokens and pairs."""
    hash: HashName = "sha256"
    """`sha256`: SHA-256 of the tokens joined by one space, modulo the buckets (DSIR); `fnv`: cheap, see
    docs/formats.md."""
    aggregate: Aggregate = "sum"
    """Sum of the weights of all n-grams, each as often as it occurs, or their mean; the bias comes on top."""
    min_tokens: int = 0
    """Tokens below which a text has no score but null; a text without tokens never has one."""
    about: str = ""
    """Where the model comes from, for people."""

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in get_args(choices):
                raise ConfigError(f"{key} is none of {', '.join(get_args(choices))}: {getattr(self, key)}")
        for key, low, high in (("ngrams", 1, MAX_NGRAMS), ("min_tokens", 0, MAX_TOKENS)):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"{key} is not a number from {low} to {high}: {value}")
        if not 1 <= len(self.outputs) <= MAX_OUTPUTS:
            raise ConfigError(f"there are not 1 to {MAX_OUTPUTS} outputs: {len(self.outputs)}")
        for name in self.outputs:
            if not isinstance(name, str) or not _OUTPUT.fullmatch(name):
                raise ConfigError(f"the name of an output is not 1 to 64 ASCII letters, digits or _: {name}")
        if len(set(self.outputs)) < len(self.outputs):
            raise ConfigError(f"an output stands twice: {', '.join(self.outputs)}")


class Model(NamedTuple):
    """A model as it was read."""

    description: Description
    weight: Floats
    """A row for each bucket, a column for each output."""
    bias: Floats | None
    """Added to each output; None means nothing."""


def save(
    path: Path, description: Description, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None
) -> None:
    """Write a model, in place of what had that name; the folder must exist.

    Numbers are rounded to 32 bits.

    Raises:
        DataError: Shapes do not fit the description, or a number is not finite.
    """
    width = len(description.outputs)
    tensors = {"weight": _floats("weight", weight)}
    shape = tensors["weight"].shape
    if len(shape) != 2 or shape[1] != width or not 1 <= shape[0] <= MAX_BUCKETS:
        raise DataError(f"weight is not [1 to {MAX_BUCKETS}, {width}]: {list(shape)}")
    if bias is not None:
        tensors["bias"] = _floats("bias", bias)
        if tensors["bias"].shape != (width,):
            raise DataError(f"bias is not [{width}]: {list(tensors['bias'].shape)}")
    header: dict[str, Any] = {"__metadata__": _to_metadata(description)}
    end = 0
    for name, tensor in tensors.items():
        offsets = [end, end + tensor.nbytes]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        end = offsets[1]
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)  # the floats start at a multiple of 8
    with atomic_file(path) as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            handle.write(tensor.data)


def load(path: Path) -> Model:
    """Read a model.

    Raises:
        DataError: The file is no such model, with what is wrong.
        FileNotFoundError: There is no such file.
    """
    data = path.read_bytes()
    try:
        return _parse(data)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{path}: no hashed linear model that can be read: {exc}") from exc


def _parse(data: bytes) -> Model:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise DataError(f"its header has {length} bytes, of which are there: {max(len(data) - 8, 0)}")
    header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise DataError("the header is not an object")
    description = _from_metadata(header.pop("__metadata__", None))
    _check_keys("a tensor", header, {"weight"}, {"bias"})
    tensors: dict[str, Floats] = {}
    end = 0
    for name, entry in sorted(header.items(), key=_start):
        start, end = end, _check_tensor(name, entry, end, len(data) - 8 - length)
        numbers = np.frombuffer(data, "<f4", (end - start) // 4, 8 + length + start)
        tensors[name] = _floats(name, numbers.reshape(entry["shape"]))
    if end != len(data) - 8 - length:
        raise DataError(f"its tensors have {end} bytes, of which are there: {len(data) - 8 - length}")
    weight, bias, width = tensors["weight"], tensors.get("bias"), len(description.outputs)
    if weight.ndim != 2 or weight.shape[1] != width or not 1 <= weight.shape[0] <= MAX_BUCKETS:
        raise DataError(f"weight is not [1 to {MAX_BUCKETS}, {width}]: {list(weight.shape)}")
    if bias is not None and bias.shape != (width,):
        raise DataError(f"bias is not [{width}]: {list(bias.shape)}")
    return Model(description, weight, bias)


def _check_tensor(name: str, entry: dict[str, Any], start: int, num_bytes: int) -> int:
    """Return the end of a tensor that starts at `start` and lies within the data."""
    _check_keys(name, entry, {"dtype", "shape", "data_offsets"}, set())
    if entry["dtype"] != "F32":
        raise DataError(f"{name} is not of F32: {entry['dtype']}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or any(type(n) is not int or n < 0 for n in numbers):
            raise DataError(f"{name} has a shape or place that is no list of numbers: {numbers}")
    end: int = start + 4 * math.prod(shape)
    if offsets != [start, end] or end > num_bytes:
        raise DataError(f"{name} of shape {shape} does not follow at byte {start}: {offsets}")
    return end


def _start(item: tuple[str, Any]) -> tuple[int, int]:
    """Order of the tensors in the data; what is no place is refused later."""
    try:
        start, end = item[1]["data_offsets"]
        return int(start), int(end)
    except (KeyError, TypeError, ValueError):
        return 0, 0


def _to_metadata(description: Description) -> dict[str, str]:
    found = {
        "format": FORMAT,
        "tokens": description.tokens,
        "ngrams": str(description.ngrams),
        "hash": description.hash,
        "aggregate": description.aggregate,
        "outputs": json.dumps(list(description.outputs), separators=(",", ":")),
    }
    if description.min_tokens:
        found["min_tokens"] = str(description.min_tokens)
    if description.about:
        found["about"] = description.about
    return found


def _from_metadata(found: Any) -> Description:
    _check_keys("__metadata__", found, _REQUIRED, _OPTIONAL)
    for key, value in found.items():
        if not isinstance(value, str):
            raise DataError(f"{key} is not a string: {value}")
    if found["format"] != FORMAT:
        raise DataError(f"the format is not {FORMAT}: {found['format']}")
    outputs = json.loads(found["outputs"])
    if not isinstance(outputs, list):
        raise DataError(f"outputs is not a JSON list of names: {found['outputs']}")
    return Description(
        outputs=tuple(outputs),
        tokens=found["tokens"],
        ngrams=_number("ngrams", found["ngrams"]),
        hash=found["hash"],
        aggregate=found["aggregate"],
        min_tokens=_number("min_tokens", found.get("min_tokens", "0")),
        about=found.get("about", ""),
    )


def _number(key: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise DataError(f"{key} is not a number in decimal digits: {text}")
    return int(text)


def _check_keys(what: str, found: Any, required: set[str], optional: set[str]) -> None:
    if not isinstance(found, dict):
        raise DataError(f"{what} is not an object: {found}")
    if missing := required - found.keys():
        raise DataError(f"{what} is missing: {', '.join(sorted(missing))}")
    if unknown := found.keys() - required - optional:
        raise DataError(f"{what} is not known: {', '.join(sorted(unknown))}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise DataError("a key of the header stands twice")
    return found


def _floats(name: str, values: npt.ArrayLike) -> Floats:
    with np.errstate(over="ignore"):
        found: Floats = np.array(values, dtype="<f4", order="C")
    if not np.isfinite(found).all():
        raise DataError(f"{name} has a value that is not finite")
    return found
