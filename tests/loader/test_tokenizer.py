"""Ids are those of `tokenizers`, whatever the threads and batches; end-of-document tokens; errors by row."""

import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models, pre_tokenizers
from tokenizers import Tokenizer as Peer

from curate.errors import ConfigError, DataError
from curate.loader.tokenizer import EOS_NAMES, Tokenizer
from curate.measure.tokens import Tokens
from curate.text import TokenNames
from tests.measure.token_texts import FLAGGED, FLAGS, HARD, TEXTS, corpus
from tests.reference import tokens as reference


def ids(tokenizer: Tokenizer, texts: list[str], num_threads: int = 1) -> list[list[int]]:
    found, offsets = tokenizer.encode(pa.array(texts, pa.large_string()), num_threads=num_threads)
    assert found.dtype == np.uint32 and offsets.dtype == np.int64
    assert offsets[0] == 0 and offsets[-1] == len(found) and len(offsets) == len(texts) + 1
    return [part.tolist() for part in np.split(found, offsets[1:-1])] if texts else []


def opened(peer: Peer, folder: Path, **options: str | int | None) -> Tokenizer:
    peer.save(str(folder / "tokenizer.json"))
    return Tokenizer.open(folder / "tokenizer.json", **({"eos": None} | options))


@pytest.fixture(scope="module", params=reference.FAMILIES)
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Peer, Tokenizer]:
    tokenizer = opened(reference.trained(request.param, corpus()), tmp_path_factory.mktemp(request.param))
    # Read again, since `tokenizers` reads a score as a neighbour of the float that it wrote.
    return Peer.from_file(str(tokenizer.path)), tokenizer


def test_real_text_has_the_ids_of_tokenizers_when_new_and_when_seen_before(
    family: tuple[Peer, Tokenizer],
) -> None:
    peer, tokenizer = family
    twin = reference.encode(peer, corpus())
    assert ids(tokenizer, corpus()) == twin
    assert ids(tokenizer, corpus()) == twin


@given(texts=st.lists(TEXTS, max_size=4))
def test_any_text_has_the_ids_of_tokenizers(family: tuple[Peer, Tokenizer], texts: list[str]) -> None:
    peer, tokenizer = family
    assert ids(tokenizer, texts) == reference.encode(peer, texts)


@pytest.mark.parametrize("char", ["a", " ", "\u00e9", "\u4e2d", "\u2581", "\n"])
def test_a_megabyte_of_one_character_has_the_ids_of_tokenizers(
    family: tuple[Peer, Tokenizer], char: str
) -> None:
    peer, tokenizer = family
    text = char * ((1 << 20) // len(char.encode()))
    assert ids(tokenizer, [text]) == reference.encode(peer, [text])


def test_a_long_document_has_the_ids_of_tokenizers(family: tuple[Peer, Tokenizer]) -> None:
    peer, tokenizer = family
    draw = random.Random(5)
    words = [word for text in corpus() for word in text.split(" ")]
    text = " ".join(draw.choices(words, k=250_000))
    assert len(text) > 1 << 20
    assert ids(tokenizer, [text]) == reference.encode(peer, [text])


@given(parts=FLAGGED)
@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_added_tokens_have_their_ids_with_all_their_flags(
    name: str, parts: list[str], flagged: dict[str, tuple[Peer, Tokenizer]]
) -> None:
    peer, tokenizer = flagged[name]
    text = "".join(parts)
    assert ids(tokenizer, [text]) == reference.encode(peer, [text])


@pytest.fixture(scope="module")
def flagged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Peer, Tokenizer]]:
    made = {}
    for name in ("gpt2", "gpt_neox"):
        peer = reference.train_byte_level(name, HARD, vocab_size=300)
        peer.add_tokens(FLAGS)
        made[name] = peer, opened(peer, tmp_path_factory.mktemp(name))
    return made


def test_added_tokens_have_the_ids_that_tokenizers_gives_them_not_those_of_the_file(tmp_path: Path) -> None:
    peer = reference.train_byte_level("gpt2", HARD, vocab_size=300)
    peer.add_tokens([AddedToken("<x>"), AddedToken("<y>", special=True)])
    state = json.loads(peer.to_str())
    for token in state["added_tokens"]:
        token["id"] += 7
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(state))
    text = "a<y><x><|endoftext|> <|pad|>"
    tokenizer = Tokenizer.open(path, eos=None)
    assert ids(tokenizer, [text]) == reference.encode(Peer.from_file(str(path)), [text])


@pytest.mark.parametrize("names", [("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")])
def test_a_gpt2_vocabulary_finds_no_special_tokens_in_text_but_ends_documents_with_them(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    whole = reference.train_byte_level("gpt2", corpus())
    for written, name in zip(whole.model.save(str(tmp_path)), names, strict=True):
        Path(written).rename(tmp_path / name)
    plain = Peer(whole.model)
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer.open(tmp_path)
    assert tokenizer.eos_id == whole.token_to_id("<|endoftext|>")
    assert ids(tokenizer, corpus()) == reference.encode(plain, corpus(), eos=tokenizer.eos_id)


@pytest.mark.parametrize(
    ("pattern", "name"), [("gpt2", "gpt2"), ("o200k_base", "o200k"), (reference.LLAMA3, "llama3")]
)
def test_a_tiktoken_file_gives_ranks(tmp_path: Path, pattern: str, name: str) -> None:
    peer = reference.train_byte_level(name, corpus(), vocab_size=500)
    ranks = reference.ranks_of(peer)
    reference.write_tiktoken(tmp_path / "vocab.tiktoken", ranks)
    tokenizer = Tokenizer.open(tmp_path / "vocab.tiktoken", pattern=pattern, eos=500)
    assert tokenizer.vocab_size == 501
    texts = [text[:3000] for text in corpus()]
    pieces = [peer.pre_tokenizer.pre_tokenize_str(text) for text in texts]
    twin = [
        [token for piece, _ in text for token in reference.rank_ids(reference.spelled(piece), ranks)] + [500]
        for text in pieces
    ]
    assert ids(tokenizer, texts) == twin


def test_neither_threads_nor_batches_show_in_the_ids(family: tuple[Peer, Tokenizer]) -> None:
    tokenizer = family[1]
    draw = random.Random(3)
    texts = corpus() * 8
    draw.shuffle(texts)
    whole = ids(tokenizer, texts)
    for num_threads in (2, 4):
        assert ids(tokenizer, texts, num_threads) == whole
    start = 0
    while start < len(texts):
        stop = start + draw.randint(1, 40)
        assert ids(tokenizer, texts[start:stop], draw.choice([1, 2])) == whole[start:stop]
        start = stop


@pytest.mark.parametrize("texts", [[], [""], ["", "a", ""], ["\u00e9", "x y"]])
@pytest.mark.parametrize(
    ("bos", "eos"), [(None, None), (3, None), (None, "<|endoftext|>"), ("<|pad|>", 9999)]
)
def test_every_document_is_between_its_ends(
    tmp_path: Path, texts: list[str], bos: str | int | None, eos: str | int | None
) -> None:
    peer = reference.train_byte_level("gpt2", HARD, vocab_size=300)
    tokenizer = opened(peer, tmp_path, bos=bos, eos=eos)
    assert ids(tokenizer, texts) == reference.encode(peer, texts, bos=tokenizer.bos_id, eos=tokenizer.eos_id)
    assert tokenizer.vocab_size == (10_000 if eos == 9999 else 300)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_slices_of_every_kind_of_string_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    tokenizer = opened(reference.train_byte_level("gpt2", HARD, vocab_size=300), tmp_path)
    texts = pa.array([text.encode() for text in HARD], pa.binary()).cast(kind)
    found, offsets = tokenizer.encode(texts.slice(3, 5))
    assert np.split(found, offsets[1:-1])[4].tolist() == ids(tokenizer, HARD)[7]


def test_a_child_of_a_process_that_used_threads_encodes(tmp_path: Path) -> None:
    tokenizer = opened(reference.train_byte_level("gpt2", HARD, vocab_size=300), tmp_path)
    (tmp_path / "tokenizer.pickle").write_bytes(pickle.dumps(tokenizer))
    code = """
import os, pickle, signal, sys
import pyarrow as pa
tokenizer = pickle.load(open(sys.argv[1], "rb"))
texts = pa.array(["some words of a document " * 9000] * 8, pa.large_string())
whole = tokenizer.encode(texts, num_threads=2)[0].tolist()
for num_threads in (1, 2):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(0 if tokenizer.encode(texts, num_threads=num_threads)[0].tolist() == whole else 1)
    assert os.waitpid(child, 0)[1] == 0, num_threads
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "tokenizer.pickle")]
    subprocess.run(command, check=True, timeout=90)


def test_a_pickled_tokenizer_is_small_and_gives_the_same_ids(tmp_path: Path) -> None:
    tokenizer = opened(reference.train_byte_level("gpt2", corpus()), tmp_path, eos="auto", bos="<|pad|>")
    before = ids(tokenizer, corpus())
    pickled = pickle.dumps(tokenizer)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert again == tokenizer
    assert ids(again, corpus()) == before


def test_a_tokenizer_whose_file_changed_is_refused_where_it_is_read_again(tmp_path: Path) -> None:
    tokenizer = opened(reference.train_byte_level("gpt2", HARD, vocab_size=300), tmp_path)
    reference.train_byte_level("gpt2", HARD, vocab_size=310).save(str(tmp_path / "tokenizer.json"))
    assert ids(tokenizer, ["a"])
    with pytest.raises(DataError, match=r"has changed since it was opened: .*tokenizer\.json"):
        pickle.loads(pickle.dumps(tokenizer)).encode(pa.array(["a"]))


@pytest.mark.parametrize(
    ("bad", "message"), [(None, "row 70: a null is no text"), (b"ok\xff", "row 70: not UTF-8")]
)
@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_first_unreadable_row_is_named(
    tmp_path: Path, bad: bytes | None, message: str, num_threads: int
) -> None:
    tokenizer = opened(reference.train_byte_level("gpt2", HARD, vocab_size=300), tmp_path)
    texts = [b"some text " * 2000] * 70 + [bad, b"more " * 90_000, None, b"\xfe"]
    with pytest.raises(DataError, match=message):
        tokenizer.encode(pa.array(texts, pa.large_binary()), num_threads=num_threads)
    assert len(ids(tokenizer, ["after", "that"])) == 2


def test_a_text_without_tokens_is_named_by_its_row(tmp_path: Path) -> None:
    peer = Peer(models.WordLevel({"a": 0, "b": 1}, unk_token="<unk>"))
    peer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = opened(peer, tmp_path)
    assert ids(tokenizer, ["a b a"]) == [[0, 1, 0]]
    with pytest.raises(DataError, match="row 2: the tokenizer has no tokens for its text"):
        tokenizer.encode(pa.array(["a", "b", "c", "d"]))


def test_names_are_those_of_tokenizers(family: tuple[Peer, Tokenizer]) -> None:
    peer, tokenizer = family
    names = TokenNames(tokenizer.path)
    vocabulary = peer.get_vocab(with_added_tokens=True)
    assert {token: names.id(token) for token in vocabulary} == vocabulary
    assert names.id("no such token") is None
    assert names.size == tokenizer.vocab_size == max(vocabulary.values()) + 1
    added = peer.get_added_tokens_decoder()
    assert names.special() == {token.content: at for at, token in added.items() if token.special}


def test_content_is_the_hash_that_the_token_stage_has(tmp_path: Path) -> None:
    tokenizer = opened(reference.train_byte_level("gpt2", HARD, vocab_size=300), tmp_path)
    assert tokenizer.content == Tokens(tokenizer=tokenizer.path).content()


@pytest.mark.parametrize("names", [[name] for name in EOS_NAMES] + [["<s>", "<eos>", "</s>"]])
def test_the_end_of_documents_is_found_by_its_usual_names(tmp_path: Path, names: list[str]) -> None:
    peer = Peer(models.BPE())
    peer.add_tokens(["x"])
    peer.add_special_tokens(names)
    path = tmp_path / "tokenizer.json"
    state = json.loads(peer.to_str()) | {"pre_tokenizer": {"type": "ByteLevel"}}
    path.write_text(json.dumps(state))
    assert Tokenizer.open(path).eos_id == peer.token_to_id(names[-1])


def test_wrong_ends_are_named_with_a_way_out(tmp_path: Path) -> None:
    peer = reference.train_unigram("albert", corpus())
    state = json.loads(peer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] != "<|endoftext|>"]
    state["model"]["vocab"] = [entry for entry in state["model"]["vocab"] if entry[0] != "<|endoftext|>"]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(state))
    with pytest.raises(ConfigError, match="known to end documents") as caught:
        Tokenizer.open(path)
    assert "pass eos=" in str(caught.value.hint) and "<|pad|>" in str(caught.value.hint)
    with pytest.raises(ConfigError, match=r"bos is no token of .*: <begin>"):
        Tokenizer.open(path, eos=None, bos="<begin>")
    for bad in (-1, 1 << 32):
        with pytest.raises(ConfigError, match=f"eos must be an id from 0 to .*: {bad}"):
            Tokenizer.open(path, eos=bad)
    with pytest.raises(ConfigError, match="num_threads must be at least 1: 0"):
        Tokenizer.open(path, eos=None).encode(pa.array(["a"]), num_threads=0)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a file"):
        Tokenizer.open(tmp_path / "absent.json")
    broken = tmp_path / "tokenizer.json"
    broken.write_text('{"model": {}}')
    with pytest.raises(DataError, match=r"tokenizer\.json: model\.vocab has no tokens"):
        Tokenizer.open(broken)


def test_importing_the_loader_imports_no_torch() -> None:
    code = (
        "import curate.loader.tokenizer, sys; print([m for m in ('torch', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
