"""Opening runs, plans, deliveries and files of tokens gives batches; what cannot be opened says why."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

import curate
import curate.loader as cl
from curate.errors import ConfigError, DataError, StateError
from curate.loader.tokenlog import read_log
from curate.pipeline.planfile import PlanFile
from tests.loader.ranks import same

SIZES = {"seq_len": 64, "global_batch": 4, "block_steps": 2}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """Every byte is a token, and one more ends documents."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


@pytest.fixture
def run(tmp_path: Path, recipe: dict[str, Any]) -> Any:
    recipe["input"]["paths"] = recipe["input"]["paths"][:1]
    recipe["output"] |= {"columns": ["text", "source"]}
    return curate.run(recipe)


def opened(what: Any, tmp_path: Path, **options: Any) -> Any:
    return cl.open(what, access=cl.Access(cache_dir=tmp_path / "cache"), **{**SIZES, **options})


def all_text(data: Any, alphabet: dict[int, int]) -> bytes:
    """Text of every document that a run serves, sorted."""
    found: dict[int, list[tuple[int, bytes]]] = {}
    for batch in data:
        for row, start, length, _, doc, offset in batch["doc_spans"].tolist():
            ids = batch["input_ids"][row, start : start + length].tolist()
            found.setdefault(doc, []).append((offset, bytes(alphabet[one] for one in ids if one in alphabet)))
    return b"\n".join(sorted(b"".join(part for _, part in sorted(parts)) for parts in found.values()))


def alphabet_of(path: Path) -> dict[int, int]:
    """Byte of each token."""
    made = Tokenizer.from_file(str(path))
    ids = [made.encode(chr(code)).ids for code in range(128)]
    table = {one[0]: code for code, one in enumerate(ids)}
    for code in range(0x80, 0x110000, 0x37):
        if not 0xD800 <= code < 0xE000:
            table |= dict(zip(made.encode(chr(code)).ids, chr(code).encode(), strict=True))
    return table


def test_a_run_its_plan_its_delivery_and_its_exports_serve_the_same_texts(
    tmp_path: Path, run: Any, tokenizer: Path
) -> None:
    options: dict[str, Any] = {"tokenizer": tokenizer, "end": "pad"}
    alphabet = alphabet_of(tokenizer)
    text = all_text(opened(run, tmp_path, **options), alphabet)
    assert len(text) > 100_000
    assert all_text(opened(run.path, tmp_path, **options), alphabet) == text
    assert all_text(opened(PlanFile.open(run.plan_file.path), tmp_path, **options), alphabet) == text
    assert all_text(opened(tmp_path / "out", tmp_path, **options), alphabet) == text
    for to in ("megatron", "olmo"):
        curate.export(str(run.path), output=str(tmp_path / to), to=to, tokenizer=str(tokenizer))
        suffix = ".bin" if to == "megatron" else ".npy"
        pools: dict[str, list[str]] = {}
        for path in sorted((tmp_path / to).rglob(f"*{suffix}")):
            pools.setdefault(path.parent.name if to == "olmo" else path.stem, []).append(
                str(path.with_suffix("") if to == "megatron" else path)
            )
        data = opened(pools, tmp_path, tokenizer=cl.Tokenizer.open(tokenizer), end="pad")
        assert all_text(data, alphabet) == text
        assert data.corpus.names == sorted(pools)


def test_a_run_resumes_and_logs_and_replays(tmp_path: Path, run: Any, tokenizer: Path) -> None:
    log = tmp_path / "log.jsonl"
    options: dict[str, Any] = {"tokenizer": tokenizer, "mixer": "exp3", "log": log}
    data = opened(run, tmp_path, **options)
    wanted = []
    for batch in islice(data.loader(2), 9):
        data.feedback(batch["source_id"], batch["input_ids"].float() / 50, step=batch["step"])
        wanted.append(batch)
        if batch["step"] == 4:
            state = data.state_dict()
    reading = data.reading()
    assert (
        reading["bytes_read"] > 0
        and reading["amplification"] == reading["bytes_read"] / reading["bytes_served"]
    )
    header, blocks = read_log(log)
    found = list(blocks)
    assert header.plan == data.corpus.index.fingerprint and [block.block for block in found] == [0, 1, 2, 3]
    assert sum(found[-1].total_tokens.values()) == 8 * 4 * 64
    assert all(sum(block.tokens.values()) == 2 * 4 * 64 for block in found)
    assert len({tuple(block.weights.values()) for block in found}) > 1
    replayed = opened(run, tmp_path, tokenizer=tokenizer, mixer={"replay": log})
    for batch, one in zip(replayed, wanted[:8], strict=False):
        same(batch, one)
    again = opened(run, tmp_path, **options)
    again.load_state_dict(state)
    for one, batch in zip(wanted[5:], again, strict=False):
        same(batch, one)
        again.feedback(batch["source_id"], batch["input_ids"].float() / 50, step=batch["step"])
    assert list(read_log(log)[1]) == found


def test_the_state_knows_its_tokenizer(tmp_path: Path, run: Any, tokenizer: Path) -> None:
    state = opened(run, tmp_path, tokenizer=tokenizer).state_dict()
    other = cl.Tokenizer.open(tokenizer, eos=None)
    with pytest.raises(StateError, match="another tokenizer"):
        opened(run, tmp_path, tokenizer=other).load_state_dict(state)


def test_what_cannot_be_opened_says_why(tmp_path: Path, run: Any, tokenizer: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing to train on at /nowhere"):
        opened("/nowhere", tmp_path, tokenizer=tokenizer)
    with pytest.raises(ConfigError, match="nothing says which tokenizer"):
        opened(run, tmp_path)
    with pytest.raises(ConfigError, match="open has no argument sequence_length"):
        opened(run, tmp_path, tokenizer=tokenizer, sequence_length=5)
    with pytest.raises(ConfigError, match="lanes do not divide global_batch: 3 and 4"):
        opened(run, tmp_path, tokenizer=tokenizer, lanes=3)
    with pytest.raises(ConfigError, match="number of workers does not divide the number of lanes: 3 and 4"):
        next(iter(opened(run, tmp_path, tokenizer=tokenizer).loader(3)))
    with pytest.raises(ConfigError, match="world size does not divide the number of lanes: 8 and 4"):
        opened(run, tmp_path, tokenizer=tokenizer, rank=0, world_size=8)
    with pytest.raises(ConfigError, match="mixer"):
        opened(run, tmp_path, tokenizer=tokenizer, mixer="exp4")
    with pytest.raises(DataError):
        opened(run, tmp_path, tokenizer=tmp_path / "none.json")
    np.save(tmp_path / "flat.npy", np.arange(9, dtype=np.uint16))
    with pytest.raises(ConfigError, match="eos"):
        opened(tmp_path / "flat.npy", tmp_path)
