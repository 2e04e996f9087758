r"""Find near duplicates with a peer; run with an interpreter that has the peers of peers-dedup.txt.

Arguments: the peer, a folder to work and write in, and Parquet files with a column `text`. All work on word
5-grams, 14 bands of 8 rows, and at the threshold 0.8 where they check candidates by their own signatures
(gaoya, rensa); datatrove, text-dedup and datasketch do not check them. What each is asked for is its own way:

gaoya       the index with its own word analyzer (what white space separates) and lower case; bulk insert and
            bulk query, then the first document of each answer stays
datatrove   its four stages with English words, each one task after the other in this process
text-dedup  its command line, with xxh3
datasketch  MinHashLSH, insert and query; documents linked by answers are a cluster
rensa       RMinHashDeduplicator over shingles made here; the index of RMinHashLSH gives the pairs

`--words` joins the lower-case `\w+` words of the texts with spaces first, for peers that split at white
space or other characters by themselves. `--pairs` also writes the pairs that the peer compares or joins.

Writes `<stem>-<peer>.parquet` (cluster, is_removed; a row a document) and, of rows a and b,
`<stem>-<peer>-pairs.parquet`. Prints a JSON object for each file: CPU seconds of this process and its
children from reading the file to the clusters, and wall seconds. Loading packages is not timed.
"""

import argparse
import json
import os
import re
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NUM_BANDS, NUM_ROWS, NGRAM, THRESHOLD = 14, 8, 5, 0.8
NUM_HASHES = NUM_BANDS * NUM_ROWS
WORD = re.compile(r"\w+")

Result = tuple[list[int], list[bool], Iterable[tuple[int, int]]]
"""Clusters, what is removed, and pairs, which cost nothing before they are asked for."""


def read(path: Path, *, words: bool) -> list[str]:
    texts = pq.read_table(path, columns=["text"])["text"].to_pylist()
    return [" ".join(WORD.findall(text.lower())) for text in texts] if words else texts


def joined(path: Path, work: Path, *, words: bool) -> Path:
    """The file itself, or one with the words of its texts."""
    if not words:
        return path
    target = work / f"words-{path.stem}.parquet"
    pq.write_table(pa.table({"text": read(path, words=True)}), target)
    return target


def shingles(text: str) -> list[str]:
    found = WORD.findall(text.lower())
    return [" ".join(found[at : at + NGRAM]) for at in range(max(1, len(found) - NGRAM + 1))]


def components(num_docs: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """The least document that each is linked to."""
    parent = list(range(num_docs))

    def find(one: int) -> int:
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        return one

    for a, b in pairs:
        a, b = sorted((find(a), find(b)))
        parent[b] = a
    return [find(one) for one in range(num_docs)]


def within(groups: Iterable[Iterable[int]]) -> Iterator[tuple[int, int]]:
    for group in groups:
        yield from combinations(sorted(group), 2)


def run_gaoya(path: Path, work: Path, *, words: bool) -> Result:
    import gaoya

    texts = read(path, words=words)
    index = gaoya.minhash.MinHashStringIndex(
        32, THRESHOLD, NUM_BANDS, NUM_ROWS, None, "word", True, (NGRAM, NGRAM), "smallvec"
    )
    index.par_bulk_insert_docs(list(range(len(texts))), texts)
    answers = index.par_bulk_query(texts)
    clusters = list(range(len(texts)))
    for row, answer in enumerate(answers):
        if clusters[row] == row:
            for other in answer:
                if other > row and clusters[other] == other:
                    clusters[other] = row
    pairs = ((min(row, other), max(row, other)) for row, found in enumerate(answers) for other in found)
    return clusters, [cluster != row for row, cluster in enumerate(clusters)], pairs


def run_datatrove(path: Path, work: Path, *, words: bool) -> Result:
    from datatrove.pipeline.dedup import minhash
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.utils.hashing import HashConfig

    path = joined(path, work, words=words)
    config = minhash.MinhashConfig(
        n_grams=NGRAM, num_buckets=NUM_BANDS, hashes_per_bucket=NUM_ROWS, hash_config=HashConfig()
    )
    signatures, buckets, removed = (str(work / name) for name in ("signatures", "buckets", "removed"))
    reader = ParquetReader(str(path.parent), glob_pattern=path.name)
    drain(minhash.MinhashDedupSignature(signatures, config=config).run(reader.run(rank=0, world_size=1)))
    for rank in range(NUM_BANDS):
        drain(minhash.MinhashDedupBuckets(signatures, buckets, config=config).run(None, rank, NUM_BANDS))
    drain(minhash.MinhashDedupCluster(buckets, removed, config=config, save_cluster_id=True).run(None, 0, 1))
    reader = ParquetReader(str(path.parent), glob_pattern=path.name)
    stage = minhash.MinhashDedupFilter(removed, load_cluster_ids=True)
    num_docs = pq.ParquetFile(path).metadata.num_rows
    clusters, is_removed = list(range(num_docs)), [False] * num_docs
    if Path(removed, "000000.remove").exists():
        drain(stage.run(reader.run(rank=0, world_size=1)))
        for row in integers(Path(removed, "000000.remove")):
            is_removed[row] = True
        found = integers(Path(removed, "000000.clusters"))
        for row, cluster in zip(found[::2], found[1::2], strict=True):
            clusters[row] = num_docs + cluster

    def pairs() -> Iterator[tuple[int, int]]:
        for file in sorted(Path(buckets).glob("*.dups")):
            values = integers(file)
            links = list(zip(values[1::4], values[3::4], strict=True))
            groups: dict[int, list[int]] = {}
            for row, least in enumerate(components(num_docs, links)):
                groups.setdefault(least, []).append(row)
            yield from within(groups.values())

    return clusters, is_removed, pairs()


def integers(path: Path) -> list[int]:
    data = path.read_bytes()
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def drain(steps: Iterable | None) -> None:
    for _ in steps or ():
        pass


def run_text_dedup(path: Path, work: Path, *, words: bool) -> Result:
    from collections import defaultdict

    from text_dedup import minhash

    path = joined(path, work, words=words)
    tables: list[defaultdict] = []

    class Kept(defaultdict):
        """A table of bands that can be read afterwards."""

        def __init__(self, *arguments: type) -> None:
            super().__init__(*arguments)
            tables.append(self)

    minhash.defaultdict = Kept
    options = {
        "path": "parquet", "data_files": str(path), "split": "train", "cache_dir": str(work / "cache"),
        "output": str(work / "output"), "column": "text", "ngram": NGRAM, "num_perm": NUM_HASHES,
        "b": NUM_BANDS, "r": NUM_ROWS, "hash_func": "xxh3", "num_proc": 1,
    }  # fmt: skip
    minhash.main(
        [part for name, value in options.items() for part in (f"--{name}", str(value))], standalone_mode=False
    )
    num_docs = pq.ParquetFile(path).metadata.num_rows
    clusters = [minhash.uf.find(row) if row in minhash.uf.parent else row for row in range(num_docs)]
    pairs = within(group for table in tables for group in table.values())
    return clusters, [cluster != row for row, cluster in enumerate(clusters)], pairs


def run_datasketch(path: Path, work: Path, *, words: bool) -> Result:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=NUM_HASHES, params=(NUM_BANDS, NUM_ROWS))
    signatures = []
    for row, text in enumerate(read(path, words=False)):
        signature = MinHash(num_perm=NUM_HASHES, seed=1)
        signature.update_batch([shingle.encode() for shingle in shingles(text)])
        index.insert(row, signature)
        signatures.append(signature)
    answers = [index.query(signature) for signature in signatures]
    pairs = [(min(row, other), max(row, other)) for row, found in enumerate(answers) for other in found]
    clusters = components(len(signatures), pairs)
    return clusters, [cluster != row for row, cluster in enumerate(clusters)], pairs


def run_rensa(path: Path, work: Path, *, words: bool) -> Result:
    import rensa

    texts = read(path, words=False)
    signatures = rensa.RMinHash.from_token_sets(map(shingles, texts), num_perm=NUM_HASHES, seed=42)
    index = rensa.RMinHashDeduplicator(THRESHOLD, NUM_HASHES, True, NUM_BANDS, 42)
    kept = index.add_pairs([(str(row), signature) for row, signature in enumerate(signatures)])
    clusters = list(range(len(texts)))
    for row in (row for row, is_kept in enumerate(kept) if not is_kept):
        clusters[row] = min(map(int, index.get_duplicates(signatures[row])), default=row)

    def pairs() -> Iterator[tuple[int, int]]:
        table = rensa.RMinHashLSH(THRESHOLD, NUM_HASHES, NUM_BANDS)
        table.insert_many(signatures)
        for row, answer in enumerate(table.query_all(signatures)):
            for other in answer:
                if row < other and signatures[row].jaccard(signatures[other]) >= THRESHOLD:
                    yield row, other

    return clusters, [not is_kept for is_kept in kept], pairs()


PEERS = {
    "gaoya": run_gaoya,
    "datatrove": run_datatrove,
    "text-dedup": run_text_dedup,
    "datasketch": run_datasketch,
    "rensa": run_rensa,
}
MODULES = {"datatrove": "datatrove.pipeline.dedup.minhash", "text-dedup": "text_dedup.minhash"}


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("work", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--words", action="store_true")
    parser.add_argument("--pairs", action="store_true")
    arguments = parser.parse_args()
    peer = arguments.peer
    os.environ["TQDM_DISABLE"] = "1"
    __import__(MODULES.get(peer, peer))
    if peer == "datatrove":
        warm_up()
    for path in arguments.files:
        work = arguments.work / f"{peer}-{path.stem}"
        work.mkdir(parents=True)
        cpu_start, start = cpu_seconds(), time.perf_counter()
        clusters, is_removed, pairs = PEERS[peer](path, work, words=arguments.words)
        used = {"cpu_s": cpu_seconds() - cpu_start, "wall_s": time.perf_counter() - start}
        table = pa.table({"cluster": clusters, "is_removed": is_removed})
        pq.write_table(table, arguments.work / f"{path.stem}-{peer}.parquet")
        if arguments.pairs:
            found = sorted({pair for pair in pairs if pair[0] != pair[1]})
            table = pa.table({name: [pair[at] for pair in found] for at, name in enumerate("ab")})
            table = table.cast(pa.schema({"a": pa.int64(), "b": pa.int64()}))
            pq.write_table(table, arguments.work / f"{path.stem}-{peer}-pairs.parquet")
        shutil.rmtree(work)
        print(json.dumps({"peer": peer, "file": path.name, **used}), flush=True)


def warm_up() -> None:
    """Load the tokenizer; keep quiet."""
    from datatrove.utils.logging import logger
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    logger.remove()
    load_word_tokenizer("en").word_tokenize("One document to load the tokenizer.")


if __name__ == "__main__":
    sys.exit(main())
