"""MinHash signatures in plain Python: sets, integers and loops."""

import re
import struct
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from tests.reference import redpajama

BITS = (1 << 64) - 1
LOW = (1 << 32) - 1
F0, F1 = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95
BASE = 0xC4CEB9FE1A85EC53
# What datatrove takes for punctuation outside ASCII.
MARKS = (
    "\u00ab\u00b4\u00bb\u2013\u2014\u2019\u201c\u201d\u201e\u2026\u2236\u2501\u25ba\u3001\u3002\u3008\u3009\u300a"
    "\u300b\u300c\u300d\u3010\u3011\uff01\uff05\uff08\uff09\uff0c\uff0e\uff11\uff1a\uff1b\uff1f\uff5e"
)


def words(text: str, normalize: str) -> list[str]:
    """The words of a text."""
    if normalize == "word":
        return re.findall(r"\w+", text.lower())
    if normalize == "space":
        return text.lower().split()
    if normalize == "redpajama":
        return redpajama.normalize(text).split()
    text = " ".join(text.lower().split())
    text = "".join(c for c in text if not is_punctuation(c))
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return re.sub(r"\d+", "0", text).split()


def is_punctuation(c: str) -> bool:
    """Whether datatrove drops a character that is no white space."""
    return (unicodedata.category(c) == "Cc" and c != " ") or c in MARKS or (c < "\x80" and c in ASCII_MARKS)


ASCII_MARKS = "".join(chr(c) for c in range(33, 127) if not chr(c).isalnum())


def shingles(found: list[str], unit: str, ngram: int) -> set[tuple[str, ...]]:
    """The different runs of words, or of characters of the words with one space between them."""
    items = list(" ".join(found)) if unit == "char" else found
    if len(items) < ngram:
        return {tuple(items)} if items else set()
    return {tuple(items[at : at + ngram]) for at in range(len(items) - ngram + 1)}


def fold(a: int, b: int) -> int:
    """Both halves of the product, joined by exclusive or."""
    return (a * b & BITS) ^ (a * b >> 64)


def numbers(seed: int) -> Iterator[int]:
    """splitmix64."""
    while True:
        seed = (seed + F0) & BITS
        found = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & BITS
        found = (found ^ found >> 27) * 0x94D049BB133111EB & BITS
        yield found ^ found >> 31


def hash_word(word: str, key: int) -> int:
    """Sixteen bytes at a time, zeros behind the last."""
    data = word.encode()
    state = key ^ len(data)
    for at in range(0, len(data), 16):
        part = data[at : at + 16].ljust(16, b"\0")
        low, high = struct.unpack("<QQ", part)
        state = fold(state ^ low, high ^ F0)
    return fold(state, F1)


def hash_shingle(shingle: tuple[str, ...], unit: str, seed: int) -> int:
    """The hash of one shingle."""
    key = next(numbers(seed))
    total = 0
    for item in shingle:
        found = fold(fold(key ^ ord(item), F0), F1) if unit == "char" else hash_word(item, key)
        total = (total * BASE + found) & BITS
    return max(fold(total ^ key, F1), 1)


def sample(hashes: set[int], max_shingles: int) -> tuple[set[int], int]:
    """The hashes whose lower half is small, and how often the limit was halved for that."""
    level = 0
    while len(kept := {h for h in hashes if h & LOW < (1 << 32) >> level}) > max_shingles:
        level += 1
    return kept, level


def shingle_set(text: str, settings: dict[str, Any]) -> tuple[set[int], int]:
    """The kept hashes of a text, and how often the limit was halved for them."""
    unit, seed = settings["unit"], settings["seed"]
    found = shingles(words(text, settings["normalize"]), unit, settings["ngram"])
    return sample({hash_shingle(shingle, unit, seed) for shingle in found}, settings["max_shingles"])


def place(found: int, size: int) -> tuple[int, int]:
    """Slot and key of a hash."""
    product = (found >> 32) * size
    return product >> 32, key(product & LOW, found)


def key(rank: int, found: int) -> int:
    """What orders hashes in a slot: 21 bits that rank, then what the slot keeps."""
    return rank >> 11 << 32 | found & LOW


def fast(hashes: set[int], kept: set[int], size: int, seed: int) -> list[int]:
    """Fast similarity sketching: rounds that fill what the rounds before left empty."""
    slots: dict[int, int] = {}
    functions = list(islice(numbers(seed), 1, 1 + 2 * (2 * size - 1)))
    for round_ in range(2 * size):
        found: dict[int, int] = {}
        for one in hashes if round_ == 0 else kept:
            if round_:
                a, b = functions[2 * round_ - 2 : 2 * round_]
                one = fold(one ^ a, b | 1)
            slot, order = place(one, size)
            if round_ >= size:
                slot, order = round_ - size, key(one >> 32, one)
            found[slot] = min(order, found.get(slot, order))
        slots = found | slots
        if len(slots) == size:
            break
    return [slots[slot] & LOW for slot in range(size)]


def classic(hashes: set[int], size: int, seed: int) -> list[int]:
    """The least value of each of many functions."""
    stream = islice(numbers(seed), 1, None)
    functions = [((next(stream) | 1) & LOW, next(stream) & LOW) for _ in range(size)]
    return [min((a * (h >> 32) + b) & LOW for h in hashes) for a, b in functions]


def row(text: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The columns of one text; `settings` are all of the stage's."""
    unit, seed, size = settings["unit"], settings["seed"], settings["num_hashes"]
    found = shingles(words(text, settings["normalize"]), unit, settings["ngram"])
    hashes = {hash_shingle(shingle, unit, seed) for shingle in found}
    kept, level = sample(hashes, settings["max_shingles"])
    signature = None
    if kept:
        slots = (
            fast(hashes, kept, size, seed) if settings["sketch"] == "fast" else classic(hashes, size, seed)
        )
        signature = struct.pack(f"<{size}I", *slots)
    names = ("minhash.signature", "minhash.num_shingles", "minhash.is_sampled")
    return dict(zip(names, (signature, len(kept) << level, level > 0), strict=True))


def slots_of(signature: bytes) -> tuple[int, ...]:
    """The slots of a signature."""
    return struct.unpack(f"<{len(signature) // 4}I", signature)


def band_key(band: int, slots: bytes) -> int:
    """The key of one band: a hash of its slots that begins with its number."""
    state = band ^ len(slots)
    whole = len(slots) // 16 * 16
    for at in range(0, whole, 16):
        low, high = struct.unpack_from("<QQ", slots, at)
        state = fold(state ^ low, high ^ F0)
    rest = slots[whole:]
    low = high = 0
    if len(rest) >= 8:
        low, high = int.from_bytes(rest[:8], "little"), int.from_bytes(rest[-8:], "little")
    elif len(rest) >= 4:
        low, high = int.from_bytes(rest[:4], "little"), int.from_bytes(rest[-4:], "little")
    return fold(fold(state ^ low, high ^ F0), F0)


def band_keys(signature: bytes | None, num_bands: int, num_rows: int) -> bytes | None:
    """The keys of the bands of a signature."""
    if signature is None:
        return None
    width = 4 * num_rows
    parts: Iterable[bytes] = (signature[band * width : (band + 1) * width] for band in range(num_bands))
    return b"".join(struct.pack("<Q", band_key(band, part)) for band, part in enumerate(parts))


def signature_similarity(a: bytes | None, b: bytes | None) -> float | None:
    """The share of equal slots."""
    if a is None or b is None:
        return None
    pairs = list(zip(slots_of(a), slots_of(b), strict=True))
    return sum(x == y for x, y in pairs) / len(pairs)


def jaccard(a: set[Any], b: set[Any]) -> float:
    """Size of the intersection over size of the union."""
    return len(a & b) / len(a | b)
