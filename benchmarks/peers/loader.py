"""Training data by MosaicML Streaming, Hugging Face datasets and litdata; run in an environment of its own.

    loader.py '{"command": "prepare" | "run" | "resume", ...}'

`prepare` writes the forms that the peers read. `run` prints tokens, seconds and CPU seconds of one of SIDES
in steady state. No peer but Hugging Face datasets joins and cuts documents while it reads: the others get
`Packed` around them, which their states know nothing of. Texts are tokenised by `tokenizers` in batches of
documents.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1", DO_NOT_TRACK="1")

import numpy as np
import torch
from loading.clock import steady
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

DOCS = 256
SHUFFLE = 10_000
CONFIG: dict[str, Any] = {}


def encoder() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = Path(CONFIG["tokenizer"])
    model = models.BPE.from_file(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


class Encode:
    """Makes one array of tokens of some texts, each with the end token behind it."""

    def __init__(self) -> None:
        self.tokenizer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"tokenizer": None}

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Tokens of all texts."""
        if self.tokenizer is None:
            self.tokenizer = encoder()
            self.end = self.tokenizer.token_to_id("<|endoftext|>")
        found = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = chain.from_iterable([*one.ids, self.end] for one in found)
        return np.fromiter(ids, np.int64)


class Packed(IterableDataset):
    """Sequences of the texts of another data set, joined and cut; what is left waits."""

    def __init__(self, docs: Any) -> None:
        self.docs, self.encode = docs, Encode()

    def __iter__(self) -> Iterator[np.ndarray]:
        seq_len, rest, texts = CONFIG["seq_len"], np.zeros(0, np.int64), []
        for doc in self.docs() if callable(self.docs) else self.docs:
            texts.append(doc["text"] if isinstance(doc, dict) else doc)
            if len(texts) == DOCS:
                rest = np.concatenate([rest, self.encode(texts)])
                count, texts = len(rest) // seq_len, []
                yield from rest[: count * seq_len].reshape(count, seq_len)
                rest = rest[count * seq_len :]


def collate(rows: list[Any]) -> torch.Tensor:
    """A batch of int64."""
    if isinstance(rows[0], dict):
        rows = [row["tokens"] for row in rows]
    if isinstance(rows[0], torch.Tensor):
        return torch.stack(rows).long()
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def endless(make: Any) -> Iterator[Any]:
    """Batches of epoch after epoch."""
    for _ in repeat(None):
        yield from make


def loader(dataset: Any, **more: Any) -> DataLoader:
    """A DataLoader of torch, as quick as its settings make it."""
    workers = CONFIG["workers"]
    made = {"prefetch_factor": 4, "persistent_workers": True} if workers else {}
    return DataLoader(
        dataset,
        batch_size=CONFIG["batch"],
        num_workers=workers,
        collate_fn=collate,
        drop_last=True,
        **made,
        **more,
    )


# MosaicML Streaming


def mds(form: str) -> Any:
    from streaming import Stream, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    folder = Path(CONFIG["folder"]) / f"mds-{form}"
    streams = [
        Stream(local=str(folder / pool), proportion=1 / len(CONFIG["pools"])) for pool in CONFIG["pools"]
    ]
    dataset = StreamingDataset(
        streams=streams, shuffle=True, batch_size=CONFIG["batch"], num_canonical_nodes=1
    )
    return loader(Packed(dataset) if form == "text" else dataset)


def write_mds() -> None:
    from streaming import MDSWriter

    for form, columns in (
        ("text", {"text": "str"}),
        ("tokens", {"tokens": f"ndarray:uint16:{CONFIG['seq_len']}"}),
    ):
        for pool in CONFIG["pools"]:
            out = str(Path(CONFIG["folder"]) / f"mds-{form}" / pool)
            with MDSWriter(out=out, columns=columns) as writer:
                for item in texts_of(pool) if form == "text" else rows_of(pool):
                    writer.write({form: item})


# litdata


def lit(form: str) -> Any:
    from litdata import CombinedStreamingDataset, StreamingDataLoader, StreamingDataset, TokensLoader

    folder = Path(CONFIG["folder"]) / f"lit-{form}"
    parts = []
    for pool in CONFIG["pools"]:
        item_loader = None if form == "text" else TokensLoader(block_size=CONFIG["seq_len"])
        parts.append(
            StreamingDataset(str(folder / pool), item_loader=item_loader, shuffle=True, drop_last=True)
        )
    weights = [1 / len(parts)] * len(parts)
    dataset = CombinedStreamingDataset(parts, weights=weights, iterate_over_all=False)
    if form == "text":
        return loader(Packed(dataset))
    workers = CONFIG["workers"]
    made = {"prefetch_factor": 4, "persistent_workers": True} if workers else {}
    return StreamingDataLoader(
        dataset, batch_size=CONFIG["batch"], num_workers=workers, collate_fn=collate, drop_last=True, **made
    )


def lit_texts(pool: str) -> Iterator[str]:
    yield from texts_of(pool)


def lit_tokens(pool: str) -> Iterator[torch.Tensor]:
    for row in rows_of(pool):
        yield torch.from_numpy(row.astype(np.int32))


def write_lit() -> None:
    from litdata import TokensLoader, optimize

    for form, function in (("text", lit_texts), ("tokens", lit_tokens)):
        for pool in CONFIG["pools"]:
            out = str(Path(CONFIG["folder"]) / f"lit-{form}" / pool)
            more = {} if form == "text" else {"item_loader": TokensLoader(block_size=CONFIG["seq_len"])}
            optimize(function, [pool], out, chunk_bytes="16MB", num_workers=1, start_method="fork", **more)


# Hugging Face datasets


def parts_of(form: str, *, streaming: bool, times: int = 1) -> list[Any]:
    from datasets import load_dataset

    found = []
    for pool in CONFIG["pools"]:
        folder = Path(CONFIG["folder"]) / ("delivered" if form == "text" else "hf-tokens")
        name = f"source={pool}" if form == "text" else pool
        files = sorted(map(str, (folder / name).glob("*.parquet"))) * times
        columns = ["text"] if form == "text" else ["tokens"]
        part = load_dataset(
            "parquet", data_files=files, split="train", streaming=streaming, columns=columns,
            cache_dir=str(Path(CONFIG["folder"]) / "hf-cache"),
        )  # fmt: skip
        found.append(part)
    return found


def interleave(parts: list[Any]) -> Any:
    from datasets import interleave_datasets

    return interleave_datasets(
        parts, probabilities=[1 / len(parts)] * len(parts), seed=1, stopping_strategy="all_exhausted"
    )


def group(examples: dict[str, list[str]], encode: Encode) -> dict[str, Any]:
    """Join the texts of a batch and cut them, as the scripts of transformers do; the rest is dropped."""
    tokens, seq_len = encode(examples["text"]), CONFIG["seq_len"]
    return {"tokens": list(tokens[: len(tokens) // seq_len * seq_len].reshape(-1, seq_len))}


def hf_iterable(form: str, times: int = 1) -> Any:
    dataset = interleave(parts_of(form, streaming=True, times=times)).shuffle(
        seed=1, buffer_size=SHUFFLE // 10
    )
    if form == "text":
        dataset = dataset.map(
            partial(group, encode=Encode()), batched=True, batch_size=1000, remove_columns=["text"]
        )
    return dataset.with_format("numpy")


class Slice:
    """What one worker reads of a map-style data set of texts."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __call__(self) -> Iterator[str]:
        """Texts of one pass."""
        info = get_worker_info()
        part = (
            self.dataset if info is None else self.dataset.shard(info.num_workers, info.id, contiguous=True)
        )
        for batch in part.iter(DOCS):
            yield from batch["text"]


def hf_map(form: str) -> Any:
    dataset = interleave([part.shuffle(seed=1) for part in parts_of(form, streaming=False)])
    if form == "text":
        return loader(Packed(Slice(dataset)))
    return loader(dataset.with_format("numpy"), shuffle=False)


def write_hf() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for pool in CONFIG["pools"]:
        folder = Path(CONFIG["folder"]) / "hf-tokens" / pool
        folder.mkdir(parents=True)
        rows = np.stack(list(rows_of(pool)))
        for number, part in enumerate(np.array_split(rows, 4)):
            flat = pa.array(part.reshape(-1))
            table = pa.table({"tokens": pa.FixedSizeListArray.from_arrays(flat, part.shape[1])})
            pq.write_table(table, folder / f"{number}.parquet", row_group_size=1000)
        del rows
    parts_of("text", streaming=False)
    parts_of("tokens", streaming=False)


# What is asked for


def texts_of(pool: str) -> Iterator[str]:
    import pyarrow.parquet as pq

    for path in sorted((Path(CONFIG["folder"]) / "delivered" / f"source={pool}").glob("*.parquet")):
        yield from pq.read_table(path, columns=["text"])["text"].to_pylist()


def rows_of(pool: str) -> Iterator[np.ndarray]:
    rows = np.load(Path(CONFIG["folder"]) / "rows" / f"{pool}.npy")
    for _ in range(CONFIG["times"]):
        yield from rows


SIDES = {
    "streaming": mds,
    "litdata": lit,
    "datasets, map-style": hf_map,
    "datasets, iterable": lambda form: loader(hf_iterable(form)),
}


def resume() -> dict[str, float]:
    """Take sequences of an iterable data set, save its state, and go on from that with a new one."""
    count, times = CONFIG["sequences"], CONFIG["times"]
    dataset = hf_iterable("text", times)
    rows, start, found = iter(dataset), time.perf_counter(), {}
    for _ in range(count):
        next(rows)
    found["reach_s"] = time.perf_counter() - start
    state = dataset.state_dict()
    found["state_bytes"] = len(json.dumps(state, default=str))
    wanted = [next(rows)["tokens"] for _ in range(CONFIG["batch"])]
    start = time.perf_counter()
    dataset = hf_iterable("text", times)
    dataset.load_state_dict(state)
    rows = iter(dataset)
    got = [next(rows)["tokens"] for _ in range(CONFIG["batch"])]
    found["resume_s"] = time.perf_counter() - start
    found["is_exact"] = float(all(np.array_equal(*pair) for pair in zip(wanted, got, strict=True)))
    return found


def main() -> int:
    CONFIG.update(json.loads(sys.argv[1]))
    torch.set_num_threads(1)
    if CONFIG["command"] == "prepare":
        for write in (write_mds, write_lit, write_hf):
            write()
    elif CONFIG["command"] == "resume":
        print(json.dumps(resume()))
    else:
        os.environ["TOKENIZERS_PARALLELISM"] = "false" if CONFIG["workers"] else "true"
        start = time.perf_counter()
        batches = endless(SIDES[CONFIG["side"]](CONFIG["form"]))
        print(
            json.dumps(steady(batches, warm=CONFIG["warm"], seconds=CONFIG["seconds"], start=start)),
            flush=True,
        )
        del batches
    return 0


if __name__ == "__main__":
    sys.exit(main())
