"""Real text with planted duplicates, to measure speed on.

Documents of the corpus and of web pages with five words or more. Where they are not enough, paragraphs of
different documents, each used once, are spliced into new ones of 3 to 12 paragraphs. Then an exact copy of
one in 60 and a near copy of one in 30 is added, of documents of 50 words or more: words at 1 to 15 % of the
places (the rate is drawn evenly on a logarithmic scale) are deleted or replaced by words of other documents.
All is shuffled. No document is there twice but for what is planted and what the corpus has by itself.

Cost: about a minute for 300 MB.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from neardup.exact import Shingles

MIN_WORDS, MIN_PLANTED_WORDS = 5, 50
EXACT_EVERY, NEAR_EVERY = 60, 30
MIN_RATE, MAX_RATE = 0.01, 0.15
PARAGRAPH_BYTES = (200, 5000)
PARAGRAPHS = (3, 12)
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Planted:
    """A file of documents and what was planted in it."""

    path: Path
    num_bytes: int
    num_docs: int
    num_spliced: int
    originals: np.ndarray
    copies: np.ndarray
    is_exact: np.ndarray
    similarity: np.ndarray
    """Exact, of each original and its copy."""
    shingles: Shingles

    def describe(self) -> str:
        """How the file was made, in a sentence."""
        similar = int((self.similarity[~self.is_exact] >= 0.8).sum())
        return (
            f"{self.path.name}: {self.num_docs:,} documents, {self.num_bytes / MEGABYTE:.1f} MB, of them "
            f"{self.num_spliced:,} spliced of paragraphs, {int(self.is_exact.sum()):,} exact copies and "
            f"{int((~self.is_exact).sum()):,} near ones (words deleted or replaced at {MIN_RATE:.0%} to "
            f"{MAX_RATE:.0%} of places), {similar:,} of these with a similarity of .8 or more"
        )


def build(data: Path, target: Path, *, num_bytes: int, seed: int = 7) -> Planted:
    """Write a file of about so many bytes, without the planted copies."""
    generator = random.Random(seed)
    texts = _documents(data)
    total = sum(map(_size, texts))
    spliced: list[str] = []
    if total < num_bytes:
        spliced = _splice(texts, num_bytes - total, generator)
    else:
        generator.shuffle(texts)
        texts = _first(texts, num_bytes)
    texts += spliced
    long = [row for row, text in enumerate(texts) if len(text.split()) >= MIN_PLANTED_WORDS]
    chosen = generator.sample(long, len(texts) // EXACT_EVERY + len(texts) // NEAR_EVERY)
    num_exact = len(texts) // EXACT_EVERY
    copies = [texts[row] for row in chosen[:num_exact]]
    words = [word for text in generator.sample(texts, min(5000, len(texts))) for word in text[:200].split()]
    copies += [_edit(texts[row], words, generator) for row in chosen[num_exact:]]
    order = list(range(len(texts) + len(copies)))
    generator.shuffle(order)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    every = texts + copies
    shuffled = [every[row] for row in order]
    pl.DataFrame({"text": shuffled}).write_parquet(target, compression="zstd", row_group_size=1000)
    shingles = Shingles(shuffled)
    originals, found = place[chosen], place[len(texts) :]
    return Planted(
        path=target,
        num_bytes=sum(map(_size, shuffled)),
        num_docs=len(shuffled),
        num_spliced=len(spliced),
        originals=originals,
        copies=found,
        is_exact=np.arange(len(copies)) < num_exact,
        similarity=shingles.of_pairs(originals, found),
        shingles=shingles,
    )


def _size(text: str) -> int:
    return len(text.encode())


def _documents(data: Path) -> list[str]:
    files = [file for name in ("corpus", "web") for file in sorted((data / name).glob("*.parquet"))]
    files = files or sorted(data.glob("*.parquet"))
    texts = pl.concat([pl.read_parquet(file, columns=["text"]) for file in files])["text"]
    is_long = (texts.str.count_matches(r"\w+") >= MIN_WORDS) & (texts.str.count_matches(r"\S+") >= MIN_WORDS)
    return texts.filter(is_long).to_list()


def _first(texts: list[str], num_bytes: int) -> list[str]:
    """Documents from the front, without those that are a tenth of all and more."""
    found = []
    for text in texts:
        if (size := _size(text)) * 10 > num_bytes:
            continue
        found.append(text)
        if (num_bytes := num_bytes - size) <= 0:
            break
    return found


def _splice(texts: list[str], num_bytes: int, generator: random.Random) -> list[str]:
    low, high = PARAGRAPH_BYTES
    pool = [part for text in texts for part in re.split(r"\n\s*\n", text) if low <= len(part) <= high]
    pool = list(dict.fromkeys(pool))
    generator.shuffle(pool)
    found = []
    while num_bytes > 0 and pool:
        count = generator.randint(*PARAGRAPHS)
        found.append("\n\n".join(pool[-count:]))
        del pool[-count:]
        num_bytes -= _size(found[-1])
    return found


def _edit(text: str, words: list[str], generator: random.Random) -> str:
    parts = re.split(r"(\s+)", text)
    places = range(0, len(parts), 2)
    rate = MIN_RATE * (MAX_RATE / MIN_RATE) ** generator.random()
    for place in generator.sample(places, max(1, round(rate * len(places)))):
        parts[place] = "" if generator.random() < 0.5 else generator.choice(words)
    return "".join(parts)
