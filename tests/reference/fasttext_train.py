"""fastText training the slow, obvious way: Python loops, every number rounded to 32 bits as it is made.

Follows the reference implementation (facebookresearch/fastText) with one thread; words of equal counts are
in the order of first occurrence.
"""

import math
import struct
from collections import Counter
from dataclasses import dataclass

import numpy as np

from tests.reference.fasttext import END, SPACES, Model, features

PREFIX = "__label__"
MODULUS = 2147483647


@dataclass(frozen=True)
class Settings:
    """Settings under the names of the native trainer."""

    dim: int = 4
    epoch: int = 2
    lr: float = 0.1
    word_ngrams: int = 2
    min_count: int = 1
    bucket: int = 20
    minn: int = 0
    maxn: int = 0
    seed: int = 0
    init_blocks: int = 10
    zero_eos: bool = False
    max_bytes: int = 1 << 20

    @property
    def num_buckets(self) -> int:
        """Rows of the buckets; none where nothing is hashed."""
        return self.bucket if self.word_ngrams > 1 or self.maxn > 0 else 0


class Minstd:
    """`std::minstd_rand` with the distributions of libstdc++."""

    def __init__(self, seed: int) -> None:
        self.state = seed % MODULUS or 1

    def draw(self) -> int:
        """A number from 0 to 2^31 - 3."""
        self.state = self.state * 48271 % MODULUS
        return self.state - 1

    def uniform(self, low: float, high: float) -> float:
        """A number of two draws."""
        size = float(MODULUS - 1)
        first, second = self.draw(), self.draw()
        found = (float(first) + float(second) * size) / (size * size)
        return found * (high - low) + low

    def below(self, count: int) -> int:
        """A whole number below `count`; what does not divide evenly is drawn again."""
        scale = (MODULUS - 2) // count
        while (found := self.draw()) >= count * scale:
            pass
        return found // scale


def examples(data: str) -> list[list[str]]:
    """Tokens of each example: up to the end of a line or a literal end token."""
    found: list[list[str]] = []
    for line in _lines(data):
        tokens: list[str] = []
        for token in _split(line):
            tokens.append(token)
            if token == END:
                found.append(tokens)
                tokens = []
        found.append([*tokens, END] if line.endswith("\n") else tokens)
    return [tokens for tokens in found if tokens]


def _lines(data: str) -> list[str]:
    parts = data.split("\n")
    return [part + "\n" for part in parts[:-1]] + parts[-1:]


def _split(line: str) -> list[str]:
    for space in SPACES:
        line = line.replace(space, " ")
    return [token for token in line.split(" ") if token]


@dataclass(frozen=True)
class Trained:
    """A model with the counts that its file has."""

    model: Model
    counts: Counter[str]

    @property
    def num_tokens(self) -> int:
        """All tokens, labels and ends of lines included."""
        return sum(self.counts.values())


def model_bytes(trained: Trained, settings: Settings) -> bytes:
    """Write a model as a file of version 12 has it."""
    model, counts = trained.model, trained.counts
    numbers = [settings.dim, 5, settings.epoch, settings.min_count, 5, settings.word_ngrams, 3, 3]
    numbers += [settings.num_buckets, settings.minn, settings.maxn, 100]
    out = struct.pack("<14id", 793712314, 12, *numbers, 1e-4)
    labels = [PREFIX + label for label in model.labels]
    sizes = (len(model.words) + len(labels), len(model.words), len(labels))
    out += struct.pack("<3iqq", *sizes, trained.num_tokens, -1)
    for kind, names in enumerate((model.words, labels)):
        for name in names:
            out += name.encode() + b"\0" + struct.pack("<qb", counts[name], kind)
    for matrix in (model.input, model.output):
        out += struct.pack("<?qq", False, *matrix.shape) + matrix.tobytes()
    return out


def train(data: str, settings: Settings) -> Trained:
    """Train on the content of a file."""
    lines = examples(data)
    counts = Counter(token for tokens in lines for token in tokens)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    is_label = {token: token.startswith(PREFIX) for token in counts}
    words = [word for word, count in ordered if not is_label[word] and count >= settings.min_count]
    labels = [word for word, _ in ordered if is_label[word]]
    rows = len(words) + settings.num_buckets
    model = Model(
        words=words,
        labels=[label.removeprefix(PREFIX) for label in labels],
        counts=[counts[label] for label in labels],
        input=_initial(rows, settings),
        output=np.zeros((len(labels), settings.dim), np.float32),
        word_ngrams=settings.word_ngrams,
        num_buckets=settings.num_buckets,
        min_chars=settings.minn,
        max_chars=settings.maxn,
    )
    _descend(model, lines, labels, settings)
    if settings.zero_eos and END in model.ids:
        model.input[model.ids[END]] = 0
    return Trained(model, counts)


def _initial(rows: int, settings: Settings) -> np.ndarray:
    values = np.zeros(rows * settings.dim, np.float32)
    size = len(values) // 10
    bound = float(np.float32(1 / settings.dim))
    for block in range(settings.init_blocks):
        random = Minstd(settings.seed + block)
        for index in range(block * size, (block + 1) * size):
            values[index] = random.uniform(-bound, bound)
    return values.reshape(rows, settings.dim)


def _descend(model: Model, lines: list[list[str]], labels: list[str], settings: Settings) -> None:
    random = Minstd(settings.seed)
    total = settings.epoch * sum(map(len, lines))
    num_seen = num_since = position = 0
    while num_seen < total:
        progress = np.float32(num_seen) / np.float32(total)
        rate = np.float32(settings.lr * (1.0 - float(progress)))
        tokens = lines[position]
        position = (position + 1) % len(lines)
        mine = [labels.index(token) for token in tokens if token in labels]
        rows = _features(model, [token for token in tokens if token not in labels])
        if mine and rows:
            _step(model, rows, mine[random.below(len(mine))], rate)
        num_since += len(tokens)
        if num_since > 100:
            num_seen, num_since = num_seen + num_since, 0


def _features(model: Model, tokens: list[str]) -> list[int]:
    """Rows of an example, whose end token, where it has one, is its last."""
    if tokens and tokens[-1] == END:
        return features(model, " ".join(tokens[:-1]))
    return features(model, " ".join(tokens), end=False)


def _step(model: Model, rows: list[int], target: int, rate: np.float32) -> None:
    dim = model.input.shape[1]
    part = np.float32(1.0 / len(rows))
    hidden = np.zeros(dim, np.float32)
    for row in rows:
        hidden = hidden + model.input[row]
    hidden = hidden * part
    scores = []
    for row in model.output:
        total = np.float32(0)
        for weight, value in zip(row, hidden, strict=True):
            total = total + weight * value
        scores.append(total)
    greatest = max(scores)
    powers = [np.float32(math.exp(float(score - greatest))) for score in scores]
    whole = np.float32(0)
    for power in powers:
        whole = whole + power
    gradient = np.zeros(dim, np.float32)
    for label, power in enumerate(powers):
        alpha = rate * (np.float32(label == target) - power / whole)
        gradient = gradient + alpha * model.output[label]
        model.output[label] = model.output[label] + alpha * hidden
    gradient = gradient * part
    for row in rows:
        model.input[row] = model.input[row] + gradient
