"""Exact token counts and ids against `tokenizers`, and how far the estimate is off per source.

Both sides run on one thread in turns over the same documents; figures are medians per CPU second. Counts are
compared with `encode_batch`, ids also with the faster `encode_batch_fast`. Five families: GPT-2, tiktoken,
GPT-NeoX, Unigram, BPE with byte fallback; the GPT-2 vocabulary is read from `--data`, the others are trained
on the spot (kept in `--tokenizers`, where given). `--check` compares the counts and ids of every document
instead and prints how many differ.

Data: every Parquet file with a text column under `--data`; without it `../shared/data`, and where that is
missing the sample of this repository.
"""

import argparse
import base64
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from curate.measure.token_estimate import ESTIMATE, apply_factors, fit_factors
from curate.measure.tokens import COUNT, Tokens
from curate.text import TokenEncoder, measure

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
GOALS = {"gpt2": 30, "tiktoken": 30, "gpt_neox": 30, "unigram": 5, "byte_fallback": None}
FAMILIES = tuple(GOALS)
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MARK = "\u2581"
MEGABYTE = 1_000_000


def files(folder: Path) -> list[Path]:
    """Parquet files that have a text column."""
    return [path for path in sorted(folder.rglob("*.parquet")) if "text" in pq.read_schema(path).names]


def documents(path: Path) -> pa.Table:
    """Columns text (large_binary), source and lang of a file."""
    table = pq.read_table(path)
    empty = pa.nulls(table.num_rows, pa.string())
    columns = {name: table[name] if name in table.column_names else empty for name in ("source", "lang")}
    return pa.table({"text": table["text"].cast(pa.large_binary()), **columns})


def spread(paths: list[Path], max_bytes: int) -> pa.Array:
    """About so many bytes of documents, every n-th of all files."""
    tables = [documents(path) for path in paths]
    total = sum(table["text"].nbytes for table in tables)
    step = max(1, round(total / max_bytes))
    texts = pa.concat_tables(tables)["text"].combine_chunks()
    return texts.take(pa.array(range(0, len(texts), step)))


def strings(texts: pa.Array) -> list[str]:
    return texts.cast(pa.large_string()).to_pylist()


def byte_level(vocab: dict[str, int], merges: list[Any], pattern: str | None, **options: Any) -> Tokenizer:
    """A byte-level BPE tokenizer; without a pattern it splits as GPT-2."""
    tokenizer = Tokenizer(models.BPE(vocab, [tuple(pair) for pair in merges], **options))
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, last])
    return tokenizer


def train_byte_level(texts: list[str], size: int, pattern: str | None = None) -> Tokenizer:
    """Train a byte-level BPE tokenizer."""
    tokenizer = byte_level({}, [], pattern)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=alphabet,
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def gpt2(texts: list[str], size: int, data: Path) -> Tokenizer:
    folder = data / "models" / "gpt2_bpe"
    if not folder.is_dir():
        return train_byte_level(texts, size)
    model = models.BPE.from_file(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def tiktoken(texts: list[str], size: int, data: Path) -> Tokenizer:
    """The cl100k pattern, pieces of the vocabulary whole, and every way to merge a token."""
    trained = json.loads(train_byte_level(texts, size, CL100K).to_str())["model"]["vocab"]
    trained.pop("<|endoftext|>")
    vocab = {token: rank for rank, token in enumerate(sorted(trained, key=trained.__getitem__))}
    merges = []
    for token in vocab:
        parts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [pair for pair in parts if pair[0] in vocab and pair[1] in vocab]
        merges += sorted(known, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    return byte_level(vocab, merges, CL100K, ignore_merges=True)


def gpt_neox(texts: list[str], size: int, data: Path) -> Tokenizer:
    tokenizer = train_byte_level(texts, size)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([" " * width for width in range(24, 1, -1)])
    return tokenizer


def unigram(texts: list[str], size: int, data: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_fallback(texts: list[str], size: int, data: Path) -> Tokenizer:
    """Whole texts are merged, unknown characters are bytes."""
    words = Tokenizer(models.BPE(unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, limit_alphabet=3000, show_progress=False
    )
    words.train_from_iterator(texts, trainer)
    trained = json.loads(words.to_str())["model"]
    vocab, merges = trained["vocab"], trained["merges"]
    for width in (2, 4, 8):
        vocab[MARK * width] = len(vocab)
        merges.append([MARK * (width // 2)] * 2)
    model = models.BPE(
        vocab, [tuple(pair) for pair in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    return tokenizer


MAKERS: dict[str, Callable[[list[str], int, Path], Tokenizer]] = {
    "gpt2": gpt2,
    "tiktoken": tiktoken,
    "gpt_neox": gpt_neox,
    "unigram": unigram,
    "byte_fallback": byte_fallback,
}


def ranks(path: Path, tokenizer: Tokenizer) -> None:
    """Write a tokenizer's vocabulary as a tiktoken file."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    table |= {chr(0x100 + position): byte for position, byte in enumerate(others)}
    with path.open("w", encoding="ascii") as file:
        for token, rank in tokenizer.get_vocab().items():
            file.write(f"{base64.b64encode(bytes(map(table.__getitem__, token))).decode()} {rank}\n")


def tokenizer(name: str, texts: list[str], size: int, data: Path, folder: Path) -> tuple[Tokenizer, Tokens]:
    """The tokenizer of a family, made where it is not in `folder`, and the stage that counts with it."""
    path = folder / f"{name}-{size}.json"
    if not path.exists():
        print(f"making {path.name}", file=sys.stderr)
        MAKERS[name](texts, size, data).save(str(path))
    made = Tokenizer.from_file(str(path))
    if name != "tiktoken":
        return made, Tokens(tokenizer=path, mode="exact")
    ranks(path.with_suffix(".tiktoken"), made)
    return made, Tokens(tokenizer=path.with_suffix(".tiktoken"), pattern=CL100K, mode="exact")


def seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


def report(**figure: Any) -> None:
    print(json.dumps(figure), flush=True)


def speed(name: str, peer: Tokenizer, stage: Tokens, texts: pa.Array, runs: int) -> None:
    """Time all sides in turns; the first call of each, which fills caches, is not counted."""
    few = texts.take(pa.array(range(0, len(texts), 10)))
    whole, part = (sum(map(len, given.to_pylist())) / MEGABYTE for given in (texts, few))
    spec, encoder, given = stage.needs(), native(stage), strings(few)
    jobs: dict[str, tuple[float, Callable[[], object]]] = {
        "count": (whole, lambda: measure(texts, spec)),
        "ids": (whole, lambda: encoder.encode(texts)),
        "encode_batch": (part, lambda: peer.encode_batch(given, add_special_tokens=False)),
        "encode_batch_fast": (part, lambda: peer.encode_batch_fast(given, add_special_tokens=False)),
    }
    measure(few, spec)
    encoder.encode(few)
    timed: dict[str, list[float]] = {job: [] for job in jobs}
    for _ in range(runs):
        for job, (size, run) in jobs.items():
            timed[job].append(size / seconds(run))
    compare(f"tokens.{name}", timed["count"], timed["encode_batch"], GOALS[name])
    compare(f"tokens.ids.{name}", timed["ids"], timed["encode_batch"], None)
    compare(f"tokens.ids.{name}.fast", timed["ids"], timed["encode_batch_fast"], None)


def native(stage: Tokens) -> TokenEncoder:
    """What gives the ids of a stage's tokenizer."""
    if stage.tokenizer is None:
        raise ValueError("the stage has no tokenizer")
    return TokenEncoder(stage.tokenizer, stage.pattern)


def compare(name: str, ours: list[float], theirs: list[float], goal: float | None) -> None:
    """Report the speed of one side, and its ratio to the other, run by run."""
    ratio = statistics.median(left / right for left, right in zip(ours, theirs, strict=True))
    report(
        name=name,
        value=round(statistics.median(ours), 2),
        unit="MB/s per core",
        peer=round(statistics.median(theirs), 3),
        ratio=round(ratio, 2),
        goal=goal,
        met=goal is None or ratio >= goal,
        runs=len(ours),
        spread=[round(min(ours), 2), round(max(ours), 2)],
    )


def differences(
    peer: Tokenizer, stage: Tokens, path: Path
) -> Iterator[tuple[int, int, list[int], list[int]]]:
    """Row, our count, our ids and theirs, for every document of a file where they differ."""
    texts = documents(path)["text"].combine_chunks()
    counts = measure(texts, stage.needs())[COUNT].to_pylist()
    encoder = native(stage)
    for start in range(0, len(texts), 500):
        some = texts.slice(start, 500)
        ours = encoder.encode(some).to_pylist()
        encoded = peer.encode_batch_fast(strings(some), add_special_tokens=False)
        for row, (ids, encoding) in enumerate(zip(ours, encoded, strict=True), start):
            if ids != encoding.ids or counts[row] != len(ids):
                yield row, counts[row], ids, encoding.ids


def check(name: str, peer: Tokenizer, stage: Tokens, paths: list[Path]) -> None:
    total = num_docs = 0
    for path in paths:
        found = list(differences(peer, stage, path))
        total += len(found)
        num_docs += pq.read_metadata(path).num_rows
        for row, count, ours, theirs in found[:5]:
            pairs = enumerate(zip(ours, theirs, strict=False))
            at = next((at for at, (left, right) in pairs if left != right), min(len(ours), len(theirs)))
            print(
                f"{name}: {path} row {row}: {count} tokens and {len(ours)} ids, not {len(theirs)}; "
                f"from {at} on {ours[at : at + 5]}, not {theirs[at : at + 5]}",
                file=sys.stderr,
            )
    report(
        name=f"tokens.{name}.mismatches",
        value=total,
        unit="documents",
        goal=0,
        met=total == 0,
        num_docs=num_docs,
        runs=1,
    )


def estimate(stage: Tokens, paths: list[Path], sample_frac: float) -> None:
    """Error of the estimated total of every source, and of all."""
    sampled = Tokens(tokenizer=stage.tokenizer, sample_frac=sample_frac, seed=1).needs()
    frames = []
    for path in paths:
        table = documents(path)
        texts = table["text"].combine_chunks()
        exact = pl.from_arrow(measure(texts, stage.needs()))
        seen = pl.from_arrow(measure(texts, sampled))
        keys = {key: pl.Series(key, table[key].combine_chunks()) for key in ("source", "lang")}
        frames.append(seen.with_columns(exact[COUNT].alias("exact"), **keys))
    frame = pl.concat(frames)
    factors = fit_factors(frame, language="lang")
    frame = apply_factors(frame, factors, language="lang")
    sums = [pl.col(ESTIMATE).cast(pl.Int64).sum(), pl.col("exact").cast(pl.Int64).sum(), pl.len()]
    rows = frame.group_by("source").agg(sums).sort("source").rows()
    for source, guess, exact, num_docs in [*rows, ("all", *frame.select(sums).row(0))]:
        off = guess / max(exact, 1) - 1
        report(
            name=f"tokens.estimate_error.{source}",
            value=round(off, 5),
            unit="fraction",
            goal=0.01,
            met=abs(off) <= 0.01,
            num_docs=num_docs,
            runs=1,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="not used: the peer is the installed package `tokenizers`")
    parser.add_argument("--quick", action="store_true", help="small vocabularies and little text")
    parser.add_argument("--check", action="store_true", help="compare the tokens of every document instead")
    parser.add_argument("--data", type=Path, default=SHARED if SHARED.is_dir() else ROOT / "sample")
    parser.add_argument("--tokenizers", type=Path, help="folder to keep trained tokenizers in")
    parser.add_argument("--family", choices=FAMILIES, action="append", help="only these")
    parser.add_argument("--sample-frac", type=float, default=0.05)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.tokenizers or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> None:
    paths = files(options.data)
    if options.data == SHARED and not options.check:
        paths = [path for path in paths if path.parent.name in ("corpus", "multilingual", "web")]
    size, train_bytes, test_bytes = (4000, 1, 5) if options.quick else (32000, 10, 40)
    train = strings(spread(paths, train_bytes * MEGABYTE))
    texts = None if options.check else spread(paths, test_bytes * MEGABYTE)
    for name in options.family or FAMILIES:
        peer, stage = tokenizer(name, train, size, options.data, folder)
        if texts is None:
            check(name, peer, stage, paths)
        else:
            speed(name, peer, stage, texts, 3 if options.quick else 5)
    if texts is not None:
        stage = tokenizer("gpt2", train, size, options.data, folder)[1]
        estimate(stage, paths[:2] if options.quick else paths, options.sample_frac)


if __name__ == "__main__":
    main()
