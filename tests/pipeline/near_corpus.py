"""A small corpus with near duplicates: copies, edits, templates, and texts that are hardly any."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SAMPLE = Path(__file__).parents[2] / "sample"


def edited(text: str, share: float, rng: random.Random) -> str:
    """Replace a share of the words."""
    words = text.split(" ")
    return " ".join(f"x{rng.randrange(10**6)}" if rng.random() < share else word for word in words)


def make_rows(*, num_originals: int = 120, num_template: int = 0, seed: int = 1) -> list[dict[str, Any]]:
    """Documents in a shuffled order, with `id`, `text`, `source`, `dump` and `score`."""
    rng = random.Random(seed)
    texts = []
    for path in sorted(SAMPLE.glob("*.parquet")):
        texts += [text for text in pq.read_table(path)["text"].to_pylist() if 300 < len(text) < 6000]
    originals = rng.sample(sorted(set(texts)), num_originals)
    found: list[str | None] = list(originals)
    for text in originals[: num_originals // 3]:
        found += [
            edited(text, rng.choice([0.002, 0.01, 0.02, 0.05]), rng) for _ in range(rng.randrange(1, 5))
        ]
        found += [text] * rng.randrange(0, 3)
    template = originals[0]
    found += [f"{template} {rng.randrange(10**9)}" for _ in range(num_template)]
    found += [None, "", " ", "word", "word", "two words", "a b c d e", "A B C D E"]
    rng.shuffle(found)
    return [
        {
            "id": f"d{at}",
            "text": text,
            "source": rng.choice(["books", "wiki"]),
            "dump": rng.choice(["a", "b"]),
            "score": rng.choice([None, 0.0, 0.5, 1.0]),
        }
        for at, text in enumerate(found)
    ]


def write(rows: list[dict[str, Any]], folder: Path, *, num_shards: int = 3, row_group_size: int = 40) -> Path:
    """Write documents as shards."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [*((name, pa.string()) for name in ("id", "text", "source", "dump")), ("score", pa.float64())]
    )
    step = -(-len(rows) // num_shards)
    for shard in range(num_shards):
        table = pa.Table.from_pylist(rows[shard * step : (shard + 1) * step], schema=schema)
        pq.write_table(table, folder / f"part-{shard}.parquet", row_group_size=row_group_size)
    return folder


def make_recipe(shards: Path, folder: Path, **near: Any) -> dict[str, Any]:
    """A recipe that looks for near duplicates in a folder of shards."""
    return {
        "name": "near",
        "input": {"paths": f"{shards}/*.parquet", "id": "id", "source": "source"},
        "measure": ["minhash"],
        "dedup": {"minhash": near},
        "run": str(folder / "run"),
        "store": str(folder / "store"),
    }
