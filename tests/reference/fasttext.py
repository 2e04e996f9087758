"""fastText models the slow, obvious way: written and read with `struct`, scored with plain loops.

Follows what the reference implementation (facebookresearch/fastText) does with a text and its file format.
"""

import math
import random
import struct
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Loss = Literal["hs", "ns", "softmax", "ova"]
LOSSES: dict[Loss, int] = {"hs": 1, "ns": 2, "softmax": 3, "ova": 4}
END = "</s>"
SPACES = " \n\r\t\v\f\0"


@dataclass
class Model:
    """A supervised model."""

    words: list[str]
    labels: list[str]
    counts: list[int]
    input: npt.NDArray[np.float32]
    output: npt.NDArray[np.float32]
    loss: Loss = "softmax"
    word_ngrams: int = 2
    num_buckets: int = 50
    min_chars: int = 0
    max_chars: int = 0
    pruned: dict[int, int] | None = None
    codes: bytes | None = None
    """The input matrix as a product quantiser has it."""
    output_codes: bytes | None = None
    """The output matrix so; only where the input is."""
    ids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = {word: row for row, word in enumerate(self.words)}


def random_model(
    seed: int, *, loss: Loss, dim: int, num_labels: int, max_chars: int, ngrams: int, num_buckets: int = 50
) -> Model:
    """Make a model with random weights over words of one to three letters."""
    rng = random.Random(seed)
    words = [END, *sorted({"".join(rng.choices("abc\u00e9", k=rng.randint(1, 3))) for _ in range(30)})]
    numbers = np.random.default_rng(seed)
    rows = len(words) + num_buckets
    return Model(
        words=words,
        labels=[f"l{index}" for index in range(num_labels)],
        counts=sorted((rng.randint(1, 9) for _ in range(num_labels)), reverse=True),
        input=numbers.normal(size=(rows, dim)).astype(np.float32),
        output=numbers.normal(size=(num_labels, dim)).astype(np.float32),
        loss=loss,
        word_ngrams=ngrams,
        num_buckets=num_buckets,
        min_chars=2 if max_chars else 0,
        max_chars=max_chars,
    )


def quantised(
    model: Model, seed: int, *, has_norms: bool, part_width: int, with_output: bool = False
) -> Model:
    """Replace the input matrix by a quantised one with pruned buckets; the output matrix too if asked."""
    rng = np.random.default_rng(seed)
    kept = sorted(rng.choice(model.num_buckets, size=2 * model.num_buckets // 5, replace=False).tolist())
    shape = (len(model.words) + len(kept), model.input.shape[1])
    codes, rows = _quantised_matrix(rng, shape, has_norms=has_norms, part_width=part_width)
    fields = {**model.__dict__, "input": rows, "codes": codes}
    if with_output:
        shape = (len(model.labels), model.output.shape[1])
        codes, rows = _quantised_matrix(rng, shape, has_norms=has_norms, part_width=part_width)
        fields |= {"output": rows, "output_codes": codes}
    return Model(**{**fields, "pruned": {bucket: row for row, bucket in enumerate(kept)}})


def _quantised_matrix(
    rng: np.random.Generator, shape: tuple[int, int], *, has_norms: bool, part_width: int
) -> tuple[bytes, npt.NDArray[np.float32]]:
    """Make a random matrix: as the file has it, and its rows."""
    num_rows, dim = shape
    num_parts = -(-dim // part_width)
    codes = rng.integers(0, 256, size=(num_rows, num_parts), dtype=np.uint8)
    last = dim - (num_parts - 1) * part_width
    centroids = rng.normal(size=dim * 256).astype(np.float32)
    header = struct.pack("<iiii", dim, num_parts, part_width, last)
    data = struct.pack("<?qqi", has_norms, num_rows, dim, codes.size) + codes.tobytes()
    data += header + centroids.tobytes()
    norms = np.ones(num_rows, np.float32)
    if has_norms:
        norm_codes = rng.integers(0, 256, size=num_rows, dtype=np.uint8)
        norm_centroids = rng.uniform(0.5, 2, size=256).astype(np.float32)
        norms = norm_centroids[norm_codes]
        data += norm_codes.tobytes() + struct.pack("<iiii", 1, 1, 1, 1) + norm_centroids.tobytes()
    rows = np.zeros((num_rows, dim), np.float32)
    for row in range(num_rows):
        for part in range(num_parts):
            width = last if part == num_parts - 1 else part_width
            start = part * 256 * part_width + int(codes[row, part]) * width
            rows[row, part * part_width : part * part_width + width] = centroids[start : start + width]
        rows[row] *= norms[row]
    return data, rows


def to_bytes(model: Model) -> bytes:
    """Write a model as a file of version 12 has it."""
    dim = model.input.shape[1]
    settings = [dim, 5, 1, 1, 5, model.word_ngrams, LOSSES[model.loss], 3, model.num_buckets]
    out = struct.pack("<ii", 793712314, 12)
    out += struct.pack("<12i", *settings, model.min_chars, model.max_chars, 100) + struct.pack("<d", 1e-4)
    pruned = -1 if model.pruned is None else len(model.pruned)
    num_words, num_labels = len(model.words), len(model.labels)
    out += struct.pack("<iiiqq", num_words + num_labels, num_words, num_labels, 99, pruned)
    for word in model.words:
        out += word.encode() + b"\0" + struct.pack("<qb", 1, 0)
    for label, count in zip(model.labels, model.counts, strict=True):
        out += f"__label__{label}".encode() + b"\0" + struct.pack("<qb", count, 1)
    for bucket, row in (model.pruned or {}).items():
        out += struct.pack("<ii", bucket, row)
    out += struct.pack("<?", model.codes is not None)
    if model.codes is not None:
        out += model.codes
    else:
        out += struct.pack("<qq", *model.input.shape) + model.input.tobytes()
    out += struct.pack("<?", model.output_codes is not None)
    if model.output_codes is not None:
        return out + model.output_codes
    return out + struct.pack("<qq", *model.output.shape) + model.output.tobytes()


def fnv(data: bytes) -> int:
    """Hash bytes with FNV-1a, each byte extended by its sign."""
    hashed = 2166136261
    for byte in data:
        signed = byte - 256 if byte >= 128 else byte
        hashed = ((hashed ^ (signed & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return hashed


def features(model: Model, text: str, *, end: bool = True) -> list[int]:
    """Rows of the input matrix that a text stands for, with the end of its line or without."""
    for space in SPACES:
        text = text.replace(space, " ")
    rows: list[int] = []
    hashes: list[int] = []

    def push(hashed: int) -> None:
        bucket = hashed % model.num_buckets
        if model.pruned is None:
            rows.append(len(model.words) + bucket)
        elif bucket in model.pruned:
            rows.append(len(model.words) + model.pruned[bucket])

    tokens = [token for token in text.split(" ") if token] + [END] * end
    for token in tokens[: tokens.index(END) + 1] if end else tokens:
        if token not in model.ids and token.startswith("__label__"):
            continue
        if token in model.ids:
            rows.append(model.ids[token])
        if model.max_chars and token != END:
            word = f"<{token}>"
            for start in range(len(word)):
                for size in range(model.min_chars, model.max_chars + 1):
                    part = word[start : start + size]
                    is_bracket = size == 1 and start in (0, len(word) - 1)
                    if len(part) == size > 0 and not is_bracket:
                        push(fnv(part.encode()))
        hashed = fnv(token.encode())
        hashes.append(hashed - (1 << 32) if hashed >= 1 << 31 else hashed)
    for start in range(len(hashes)):
        hashed = hashes[start] & 0xFFFFFFFFFFFFFFFF
        for following in hashes[start + 1 : start + model.word_ngrams]:
            hashed = (hashed * 116049371 + following) & 0xFFFFFFFFFFFFFFFF
            push(hashed)
    return rows


def probabilities(model: Model, text: str) -> list[float]:
    """The probability of each label as it is reported; none for a text without features."""
    rows = features(model, text)
    if not rows:
        return []
    hidden = model.input[rows].astype(np.float64).mean(axis=0)
    outputs = model.output.astype(np.float64) @ hidden
    if model.loss == "softmax":
        weights = np.exp(outputs - outputs.max())
        return [float(weight / weights.sum()) + 1e-5 for weight in weights]
    if model.loss in ("ns", "ova"):
        return [_table_sigmoid(float(output)) + 1e-5 for output in outputs]
    return _tree_probabilities(model.counts, [float(output) for output in outputs])


def _table_sigmoid(x: float) -> float:
    if x < -8:
        return 0.0
    if x > 8:
        return 1.0
    place = int((x + 8) * 512 / 8 / 2)
    return 1 / (1 + math.exp(-(place * 16 / 512 - 8)))


def _tree_probabilities(counts: list[int], outputs: list[float]) -> list[float]:
    """Build the Huffman tree with the two pointers of the reference implementation and walk to every leaf."""
    size = len(counts)
    weights = [*counts, *[10**15] * (size - 1)]
    children: dict[int, tuple[int, int]] = {}
    leaf, node = size - 1, size
    for parent in range(size, 2 * size - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(node)
                node += 1
        children[parent] = (pair[0], pair[1])
        weights[parent] = weights[pair[0]] + weights[pair[1]]
    found = [0.0] * size

    def walk(index: int, score: float) -> None:
        if index < size:
            found[index] = math.exp(score)
            return
        right = 1 / (1 + math.exp(-outputs[index - size]))
        walk(children[index][0], score + math.log(1 - right + 1e-5))
        walk(children[index][1], score + math.log(right + 1e-5))

    walk(2 * size - 2, 0.0)
    return found


def parts(text: str, unit: str) -> list[str]:
    """Cut a text into what is scored at a time, without white space around it."""
    if unit == "document":
        return [text]
    if unit == "sentence":
        return [piece.strip() for piece in _sentences(text)]
    lines = text.split("\n")
    if unit == "line":
        return [line.strip() for line in lines if line.strip()]
    runs: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            runs[-1].append(line)
        else:
            runs.append([])
    return ["\n".join(run).strip() for run in runs if run]


def _sentences(text: str) -> list[str]:
    """Sentences as `document.num_sentences` counts them; terminals are those that the tests use."""
    found = [""]
    has_word = may_end = False
    for c in text:
        found[-1] += c
        ends = c == "\u3002" or (may_end and c.isspace())
        if c in ".!?":
            may_end = True
        elif c.isalnum() or c == "_":
            has_word, may_end = True, False
        if ends:
            if has_word:
                found.append("")
            has_word = may_end = False
    return found if has_word else found[:-1]


def aggregated(model: Model, text: str, unit: str, aggregate: str) -> list[float]:
    """The probability of each label, brought together over the parts of a text."""
    if unit == "document":
        return probabilities(model, text)
    pieces = parts(text, unit)
    scored = [(probabilities(model, piece), len(piece.encode())) for piece in pieces]
    scored = [(values, size) for values, size in scored if values]
    if not scored:
        return []
    columns = list(zip(*(values for values, _ in scored), strict=True))
    if aggregate == "max":
        return [max(column) for column in columns]
    weights = [size if aggregate == "length_weighted" else 1 for _, size in scored]
    return [
        sum(weight * value for weight, value in zip(weights, column, strict=True)) / sum(weights)
        for column in columns
    ]


def shares(model: Model, text: str, unit: str) -> dict[str, float]:
    """The share of bytes of parts by their most probable label."""
    found: dict[str, int] = {}
    for piece in parts(text, unit):
        values = probabilities(model, piece)
        if values:
            label = model.labels[values.index(max(values))]
            found[label] = found.get(label, 0) + len(piece.encode())
    return {label: size / sum(found.values()) for label, size in found.items()}
