"""The sets on which quality is measured, each as documents in key order with all pairs from .5 on.

Labelled sets bring their exact pairs. Traps are texts that look alike and must not be merged below the
threshold; their pairs are computed here:

templates     two texts whose slots, 30 % of the words, are filled from other documents, in 600 copies
changelogs    changelogs of Debian packages: families with a long past in common
translations  the pages of a manual in many languages, each at least in ten
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from neardup.exact import WORD, Shingles
from neardup.scores import Truth

LABELLED = ("licences", "revisions", "news_plagiarism")
TRAPS = ("templates", "changelogs", "translations")
FLOOR = 0.5
TEMPLATE_WORDS, TEMPLATE_DOCS, SLOT_SHARE = 300, 300, 0.3
SLOT_WORDS = (10, 30)
"""Words of a slot, for each template: the longer, the more shingles the copies share."""
MIN_LANGUAGES = 10


@dataclass(frozen=True)
class Documents:
    """One set of documents, also as a file."""

    name: str
    path: Path
    texts: list[str]
    families: list[str]
    """What documents of one family have in common: a licence, a template, a page."""
    truth: Truth
    shingles: Shingles


def load(name: str, data: Path, folder: Path) -> Documents:
    """Read or make a set, and write it below `folder`."""
    table = _labelled(name, data) if name in LABELLED else MAKERS[name](data)
    path = folder / f"{name}.parquet"
    table.select("text").write_parquet(path, compression="zstd", row_group_size=1000)
    texts = table["text"].to_list()
    shingles = Shingles(texts)
    if name in LABELLED:
        truth = _labels(name, data, table)
        _compare(truth, shingles)
    else:
        truth = Truth(*shingles.all_pairs(FLOOR), len(texts), FLOOR)
    return Documents(name, path, texts, table["family"].to_list(), truth, shingles)


def _labelled(name: str, data: Path) -> pl.DataFrame:
    table = pl.read_parquet(data / "neardup" / f"{name}.parquet")
    return table.with_columns(family=pl.col("meta").map_elements(_family, return_dtype=pl.String))


def _family(meta: str) -> str:
    values = json.loads(meta)
    return str(values.get("license_expression") or values.get("key") or "")


def _labels(name: str, data: Path, table: pl.DataFrame) -> Truth:
    """The pairs that come with a set, each once."""
    rows = dict(zip(table["id"], range(len(table)), strict=True))
    pairs = pl.read_parquet(data / "neardup" / f"{name}_pairs.parquet")
    similarity = {
        (min(rows[a], rows[b]), max(rows[a], rows[b])): value
        for a, b, value in pairs.select("id_a", "id_b", "jaccard_w5").iter_rows()
        if value >= FLOOR
    }
    found = sorted(similarity)
    a, b = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return Truth(a, b, np.array([similarity[pair] for pair in found]), len(table), FLOOR)


def _compare(truth: Truth, shingles: Shingles) -> None:
    """Stop if the labels are not what is computed here, on a thousand pairs from all over."""
    rows = np.arange(0, len(truth.a), max(1, len(truth.a) // 1000))
    found = shingles.of_pairs(truth.a[rows], truth.b[rows])
    difference = float(np.abs(found - truth.similarity[rows]).max())
    if difference > 1e-6:
        raise SystemExit(f"exact similarities differ from the labels by {difference}")


def corpus(data: Path, source: str) -> pl.DataFrame:
    """The documents of one source of the corpus."""
    files = sorted((data / "corpus").glob("*.parquet"))
    return pl.concat([pl.scan_parquet(file).filter(pl.col("source") == source) for file in files]).collect()


def _templates(data: Path) -> pl.DataFrame:
    generator = random.Random(5)
    leaflets = [WORD.findall(text) for text in corpus(data, "patient_leaflets")["text"]]
    filling = [word for text in corpus(data, "news_abc")["text"] for word in WORD.findall(text)]
    long = [words for words in leaflets if len(words) >= TEMPLATE_WORDS]
    texts, families = [], []
    for number, slot_words in enumerate(SLOT_WORDS):
        template = long[number][:TEMPLATE_WORDS]
        num_slots = round(TEMPLATE_WORDS * SLOT_SHARE / slot_words)
        for _ in range(TEMPLATE_DOCS):
            words = list(template)
            for slot in range(num_slots):
                start = slot * TEMPLATE_WORDS // num_slots
                source = generator.randrange(len(filling) - slot_words)
                words[start : start + slot_words] = filling[source : source + slot_words]
            texts.append(" ".join(words))
            families.append(f"template {number + 1}")
    return pl.DataFrame({"text": texts, "family": families})


def _changelogs(data: Path) -> pl.DataFrame:
    table = corpus(data, "changelogs")
    return table.select("text", family=pl.col("url").str.extract(r"^([^:]*)"))


def _translations(data: Path) -> pl.DataFrame:
    files = sorted((data / "multilingual").glob("*.parquet"))
    table = pl.concat([pl.read_parquet(file) for file in files]).filter(pl.col("source") == "desktop_help")
    table = table.with_columns(family=pl.col("url").str.replace(r"share/help/[^/]+/", "share/help/*/"))
    return table.filter(pl.len().over("family") >= MIN_LANGUAGES).select("text", "family")


MAKERS = {"templates": _templates, "changelogs": _changelogs, "translations": _translations}
