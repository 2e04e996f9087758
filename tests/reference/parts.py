"""Parts of documents that occur earlier, in plain Python: lists and sets, one text at a time."""

import math
from collections.abc import Hashable, Iterable

from curate import _rust
from tests.reference import uax29
from tests.reference.minhash import BASE, BITS, F0, F1, fold


def split(text, unit):
    """Start and end in bytes, and the words, of each paragraph or line that is not blank."""
    found, at, was_blank = [], 0, True
    for line in text.split("\n"):
        words = line.split()
        end = at + len(line.rstrip().encode())
        if words and unit == "paragraph" and not was_blank:
            start, _, before = found[-1]
            found[-1] = (start, end, before + words)
        elif words:
            found.append((at, end, words))
        was_blank = not words
        at += len(line.encode()) + 1
    return found


def keys(text, unit, min_words):
    """What is compared of each part, None of short ones."""
    return [" ".join(w) if len(w) >= min_words else None for _, _, w in split(text, unit)]


def duplicates(texts, scopes, unit, min_words):
    """Numbers of the parts of each text that occurred before in the same scope."""
    seen: set[Hashable] = set()
    found = []
    for text, scope in zip(texts, scopes, strict=True):
        numbers = []
        for number, key in enumerate(keys(text, unit, min_words)):
            if key is not None and (scope, key) in seen:
                numbers.append(number)
            seen.add((scope, key))
        found.append(numbers)
    return found


def overlap(texts, *, unit, ngram, min_words, threshold, seen=None):
    """DCLM's old-both: duplicate parts of each text, and whether it is duplicate as a whole."""
    seen = Exactly() if seen is None else seen
    found = []
    for text in texts:
        numbers, num_seen, num_all = [], 0, 0
        for number, (start, end, _) in enumerate(split(text, unit)):
            words = uax29.words(text.encode()[start:end].decode())
            grams = ngrams(words, ngram) if len(words) >= min_words else []
            here = sum(gram in seen for gram in grams)
            num_seen, num_all = num_seen + here, num_all + len(grams)
            if grams and here / len(grams) >= threshold:
                numbers.append(number)
            else:
                for gram in grams:
                    seen.add(gram)
        found.append((numbers, num_all > 0 and num_seen / num_all >= threshold))
    return found


def ngrams(words, size):
    """Runs of `size` words; all words where there are fewer."""
    if len(words) < size:
        return [tuple(words)] if words else []
    return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]


class Exactly(set):
    """Remembers everything."""


class Bloom:
    """A blocked Bloom filter of n-grams, or of keys of parts, as sets of bits."""

    def __init__(self, expected, rate):
        loads = [(greatest_load(k, rate), -k) for k in range(1, 29)]
        load, negative = max(loads)
        self.num_bits = -negative
        self.num_blocks = max(1, math.ceil(expected / load))
        self.blocks = [set() for _ in range(self.num_blocks)]
        self.num_items = 0

    def places(self, item):
        """The block of an item and its bits there."""
        hashed = hash_of(item)
        state, bits = hashed, []
        while len(bits) < self.num_bits:
            state = fold(state ^ F0, F1)
            bits += [state >> 9 * at & 511 for at in range(min(7, self.num_bits - len(bits)))]
        return self.blocks[hashed * self.num_blocks >> 64], set(bits)

    def __contains__(self, item):
        block, bits = self.places(item)
        return bits <= block

    def add(self, item):
        """Insert an item."""
        block, bits = self.places(item)
        self.num_items += not bits <= block
        block |= bits


def hash_of(item):
    """64 bits: of an n-gram the rolling sum of its words, of a key its BLAKE3."""
    if isinstance(item, str):
        return int.from_bytes(bytes.fromhex(_rust.blake3_hex(item.encode()))[:8], "little")
    total = 0
    for word in item:
        total = (total * BASE + hash_word(word.encode())) & BITS
    return fold(total, F1)


def hash_word(data):
    """The hash of a word, 16 bytes at a time."""
    state, number = len(data), lambda part: int.from_bytes(part, "little")
    while len(data) >= 16:
        state = fold(state ^ number(data[:8]), number(data[8:16]) ^ F0)
        data = data[16:]
    if len(data) >= 8:
        low, high = number(data[:8]), number(data[-8:])
    elif len(data) >= 4:
        low, high = number(data[:4]), number(data[-4:])
    else:
        low, high = int.from_bytes(data, "big"), 0
    return fold(fold(state ^ low, high ^ F0), F0)


def greatest_load(num_bits, rate):
    """Items for each block at which the error reaches the rate."""
    low, high = 0.0, 512.0
    for _ in range(40):
        middle = (low + high) / 2
        if error(middle, num_bits) <= rate:
            low = middle
        else:
            high = middle
    return low


def error(load, num_bits):
    """Expected error where each block has `load` items on average: Poisson over the items of a block."""
    total, width = 0.0, 10 * math.sqrt(load) + 20
    for count in range(math.floor(max(0.0, load - width)), math.ceil(load + width) + 1):
        share = math.exp(count * math.log(load) - load - math.lgamma(count + 1))
        total += share * (1 - (1 - 1 / 512) ** (num_bits * count)) ** num_bits
    return total


def remove(text, unit, numbers, is_whole=False):
    """The text without some of its parts: what follows each goes with it, at the end what precedes."""
    parts, data = split(text, unit), text.encode()
    left = [number for number in range(len(parts)) if number not in numbers]
    if is_whole or (parts and not left):
        return ""
    if not parts:
        return text
    out = data[: parts[0][0]]
    for number in left:
        start, end, _ = parts[number]
        after = parts[number + 1][0] if number + 1 < len(parts) else end
        out += data[start : end if number == left[-1] else after]
    return (out + data[parts[-1][1] :]).decode()


def cut(data: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    """The bytes without the spans."""
    gone = {at for start, end in spans for at in range(start, end)}
    return bytes(byte for at, byte in enumerate(data) if at not in gone)
