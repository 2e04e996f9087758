"""How good classifiers are that `curate train classifier` makes from what is at hand: areas under ROC curves.

Two demonstrations over `../shared/data`, neither a judge of real corpora: the positives are what there is of
edited prose, a few thousand documents where DCLM took 200,000, and the human labels are 353.

* `edited prose`: textbooks, encyclopaedia, news and speeches against web pages, mail, forums and spam of the
  corpus; tested on pages that people have labelled good or bad, and on main texts of web pages against all of
  their text, none of which is trained on. The length of the text alone is the line to beat.
* `clean web`: main texts against all text of the same pages; tested on hosts that were not trained on.

Intervals are DeLong's, 95 %. Says so and ends where the data is missing.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pyarrow as pa

import curate
from curate.measure import Classifier
from curate.models.metrics import roc_auc
from curate.selection.sample import hash_uniform

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
GOOD = ("textbooks", "wikipedia", "news_abc", "news_bbc", "speeches", "masc")
BAD = ("c4", "usenet", "email_spam", "email_ham", "webtext", "product_reviews")
SETTINGS = {"bucket": 200_000, "dim": 50, "epoch": 10, "lr": 0.2}
TEST_FRAC = 0.3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--peers", help="there is none to compare with")
    data = parser.parse_args().data
    if not (data / "quality").is_dir():
        print(f"no data under {data}: nothing is measured", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        edited_prose(data, Path(folder))
        clean_web(data, Path(folder))
    return 0


def edited_prose(data: Path, folder: Path) -> None:
    """Train on sources of the corpus, test on labelled pages and on pages of the web."""
    labels = {"hq": where(data / "corpus", GOOD), "cc": where(data / "corpus", BAD)}
    settings = {"stratify": "source", "labels": labels, "docs_per_label": 4000}
    model = train("edited prose", settings, folder / "prose.bin")
    pages = pl.read_parquet(data / "quality" / "*.parquet")
    meta = [json.loads(text) for text in pages["meta"]]
    good = np.array([entry["label"] == 1 for entry in meta])
    unanimous = np.array([bool(entry["unanimous"]) for entry in meta])
    show("edited prose on labelled pages", scores(model, pages), good)
    show("edited prose on pages labelled unanimously", scores(model, pages)[unanimous], good[unanimous])
    show("length on labelled pages", lengths(pages), good)
    web = web_pages(data).filter(lang="en")
    show("edited prose on English pages, clean against raw", scores(model, web), is_clean(web))
    show("shortness on English pages, clean against raw", -lengths(web), is_clean(web))


def clean_web(data: Path, folder: Path) -> None:
    """Train on pages of some hosts, test on those of others."""
    web = web_pages(data)
    hosts = web["host"].unique().sort()
    ids = [hash_id(host) for host in hosts]
    chance = hash_uniform(pa.array(ids, pa.binary(16)), seed=42, purpose="hosts")
    tested = set(hosts.filter(pl.Series(np.asarray(chance) < TEST_FRAC)))
    web = web.with_columns(is_test=pl.col("host").is_in(list(tested)))
    web.filter(~pl.col("is_test")).write_parquet(folder / "web.parquet")
    labels = {
        label: [{"paths": str(folder / "web.parquet"), "where": f"source = '{source}'"}]
        for label, source in (("hq", "web_clean"), ("cc", "web_raw"))
    }
    model = train("clean web", {"labels": labels}, folder / "web.bin")
    test = web.filter("is_test")
    name = f"clean web on pages of {len(tested)} other hosts of {len(hosts)}"
    show(name, scores(model, test), is_clean(test))
    english = test.filter(lang="en")
    show(f"{name}, English", scores(model, english), is_clean(english))
    show("shortness on the same pages", -lengths(test), is_clean(test))


def where(folder: Path, sources: tuple[str, ...]) -> list[dict[str, str]]:
    """Examples of some sources."""
    names = ", ".join(f"'{source}'" for source in sources)
    return [{"paths": f"{folder}/*.parquet", "where": f"source IN ({names})"}]


def train(name: str, settings: dict[str, Any], path: Path) -> Path:
    """Train with DCLM's features; the card's own held-out documents are of the same sources."""
    trained = curate.train_classifier({**settings, "fasttext": SETTINGS, "output": str(path)})
    held_out, counts = trained.card["held_out"], trained.card["examples"]
    sizes = {label: entry["train"] for label, entry in counts.items()}
    print(f"{name}: trained on {sizes}", file=sys.stderr)
    line(f"{name} on held-out documents of the same sources", held_out["roc_auc"], held_out["num_docs"])
    return trained.path


def scores(model: Path, documents: pl.DataFrame) -> np.ndarray:
    """The probability of good."""
    found = Classifier(model=model, score="hq").annotate(documents["text"].to_arrow())
    return found["quality.score"].to_numpy(zero_copy_only=False).astype(np.float64)


def lengths(documents: pl.DataFrame) -> np.ndarray:
    return documents["text"].str.len_bytes().cast(pl.Float64).to_numpy()


def web_pages(data: Path) -> pl.DataFrame:
    """Clean and raw pages, with their hosts; clean ones have the language of the raw page."""
    raw = pl.read_parquet(data / "web" / "web_raw.parquet")
    clean = pl.read_parquet(data / "web" / "web_clean.parquet")
    names = ["id", "text", "source", "url", "lang"]
    web = pl.concat([raw.select(names), clean.select(names)])
    return web.with_columns(host=pl.col("url").map_elements(host_of, return_dtype=pl.String))


def host_of(url: str) -> str:
    """The host of a URL, or of a name such as `readability:bbc-1` or `www.example.org--page`."""
    if "://" in url:
        return urlsplit(url).netloc.removeprefix("www.")
    return re.sub(r"-\d+$", "", url.split(":")[-1].split("--")[0].removeprefix("www."))


def hash_id(host: str) -> bytes:
    return bytes.fromhex(curate._rust.blake3_hex(host.encode()))


def is_clean(pages: pl.DataFrame) -> np.ndarray:
    return (pages["source"] == "web_clean").to_numpy()


def show(name: str, found: np.ndarray, positive: np.ndarray) -> None:
    line(name, roc_auc(found, positive), len(found), int(positive.sum()))


def line(name: str, area: dict[str, float | None], num_docs: int, num_positive: int | None = None) -> None:
    """Print a figure as JSON."""
    value, low, high = (area[key] and round(area[key], 4) for key in ("value", "low", "high"))
    facts = {"name": name, "value": value, "unit": "ROC AUC", "interval": [low, high], "num_docs": num_docs}
    print(json.dumps(facts | ({"num_positive": num_positive} if num_positive else {})), flush=True)


if __name__ == "__main__":
    sys.exit(main())
