"""Token counts are those of `tokenizers`, exactly; bytes by class add up; the sample is seeded."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.measure.tokens import BYTES, CLASSES, COUNT, Tokens
from curate.text import NativeSpec, measure
from tests.measure.token_texts import FLAGGED, FLAGS, HARD, TEXTS, corpus
from tests.reference import tokens as reference


def counted(spec: NativeSpec, texts: list[str]) -> list[int | None]:
    array = pa.array([text.encode() for text in texts], pa.large_binary())
    return measure(array, spec)[COUNT].to_pylist()


def expected(tokenizer: Tokenizer, texts: list[str]) -> list[int]:
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def saved(tokenizer: Tokenizer, path: Path) -> NativeSpec:
    tokenizer.save(str(path))
    return Tokens(tokenizer=path, mode="exact").needs()


@pytest.fixture(scope="module", params=reference.FAMILIES)
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, NativeSpec]:
    tokenizer = reference.trained(request.param, corpus())
    path = tmp_path_factory.mktemp(request.param) / "tokenizer.json"
    spec = saved(tokenizer, path)
    assert Tokens(tokenizer=path).is_native() == (request.param != "word_piece")
    return tokenizer, spec


def test_real_text_has_as_many_tokens_as_tokenizers_says(family: tuple[Tokenizer, NativeSpec]) -> None:
    tokenizer, spec = family
    assert counted(spec, corpus()) == expected(tokenizer, corpus())


@given(texts=st.lists(TEXTS, max_size=4))
def test_any_text_has_as_many_tokens_as_tokenizers_says(
    family: tuple[Tokenizer, NativeSpec], texts: list[str]
) -> None:
    tokenizer, spec = family
    assert counted(spec, texts) == expected(tokenizer, texts)


@given(parts=FLAGGED)
@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_added_tokens_match_with_all_their_flags(
    name: str, parts: list[str], flagged: Callable[[str], tuple[Tokenizer, NativeSpec]]
) -> None:
    tokenizer, spec = flagged(name)
    text = "".join(parts)
    assert counted(spec, [text]) == expected(tokenizer, [text])


@pytest.fixture(scope="module")
def flagged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Tokenizer, NativeSpec]]:
    made = {}

    def make(name: str) -> tuple[Tokenizer, NativeSpec]:
        if name not in made:
            tokenizer = reference.train_byte_level(name, HARD, vocab_size=300)
            tokenizer.add_tokens(FLAGS)
            made[name] = tokenizer, saved(tokenizer, tmp_path_factory.mktemp(name) / "tokenizer.json")
        return made[name]

    return make


def test_truncation_and_padding_of_the_file_are_left_out(tmp_path: Path) -> None:
    tokenizer = reference.train_byte_level("gpt2", HARD, vocab_size=300)
    full = expected(tokenizer, HARD)
    tokenizer.enable_truncation(max_length=2)
    tokenizer.enable_padding(length=64)
    assert counted(saved(tokenizer, tmp_path / "tokenizer.json"), HARD) == full


@pytest.mark.parametrize("names", [("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")])
def test_a_gpt2_vocabulary_counts_as_its_tokenizer_without_special_tokens(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    whole = reference.train_byte_level("gpt2", corpus())
    for written, name in zip(whole.model.save(str(tmp_path)), names, strict=True):
        Path(written).rename(tmp_path / name)
    plain = Tokenizer(whole.model)
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for path in (tmp_path, tmp_path / names[0]):
        spec = Tokens(tokenizer=path, mode="exact").needs()
        assert counted(spec, corpus()) == expected(plain, corpus())


@pytest.mark.parametrize(
    ("pattern", "family"), [("gpt2", "gpt2"), ("o200k_base", "o200k"), (reference.LLAMA3, "llama3")]
)
def test_a_tiktoken_file_counts_as_merging_by_rank(tmp_path: Path, pattern: str, family: str) -> None:
    tokenizer = reference.train_byte_level(family, corpus(), vocab_size=500)
    ranks = reference.ranks_of(tokenizer)
    reference.write_tiktoken(tmp_path / "vocab.tiktoken", ranks)
    spec = Tokens(tokenizer=tmp_path / "vocab.tiktoken", pattern=pattern, mode="exact").needs()
    texts = [text[:3000] for text in corpus()]
    pieces = [tokenizer.pre_tokenizer.pre_tokenize_str(text) for text in texts]
    twin = [
        sum(len(reference.rank_ids(reference.spelled(piece), ranks)) for piece, _ in text) for text in pieces
    ]
    assert counted(spec, texts) == twin


def test_neither_threads_nor_batches_show_in_the_counts(family: tuple[Tokenizer, NativeSpec]) -> None:
    texts = [text.encode() for text in corpus() * 8]
    whole = measure(pa.array(texts, pa.large_binary()), family[1], num_threads=3)
    for at in range(0, len(texts), 7):
        part = measure(pa.array(texts[at : at + 7], pa.large_binary()), family[1])
        assert part.equals(whole.slice(at, 7))


@given(text=TEXTS)
def test_bytes_by_class_are_those_of_every_character(text: str) -> None:
    batch = measure(pa.array([text.encode()], pa.large_binary()), Tokens().needs())
    found = {name: batch[column][0].as_py() for name, column in zip(CLASSES, BYTES, strict=True)}
    assert {name: count for name, count in found.items() if count} == reference.bytes_by_class(text)
    assert sum(found.values()) == len(text.encode())


def test_bytes_by_class_do_not_depend_on_where_vectors_end() -> None:
    draw = random.Random(7)
    alphabet = "ab Z9\t\n!\r\u00e9\u4e2d"
    texts = [
        "".join(draw.choices(alphabet, [9, 9, 6, 1, 1, 1, 1, 1, 1, rare, rare], k=900))
        for rare in (0, 0.1, 1)
    ]
    batch = measure(pa.array([text.encode() for text in texts], pa.large_binary()), Tokens().needs())
    for row, text in enumerate(texts):
        twin = reference.bytes_by_class(text)
        assert [batch[column][row].as_py() for column in BYTES] == [twin.get(name, 0) for name in CLASSES]


def test_only_documents_of_the_sample_are_counted_in_mode_estimate(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    reference.train_byte_level("gpt2", HARD, vocab_size=300).save(str(path))
    texts = [f"document {number}" for number in range(400)]
    array = pa.array([text.encode() for text in texts], pa.large_binary())
    exact = counted(Tokens(tokenizer=path, mode="exact").needs(), texts)
    stage = Tokens(tokenizer=path, sample_frac=0.25, seed=3)
    spec = NativeSpec.union([stage.needs(), NativeSpec(groups=frozenset({"identity"}))])
    batch = measure(array, spec)
    numbers = _rust.hash_uniform(batch["doc_id"], 3, "tokens.sample").to_pylist()
    sampled = [number < 0.25 for number in numbers]
    assert batch[COUNT].to_pylist() == [
        count if is_in else None for count, is_in in zip(exact, sampled, strict=True)
    ]
    assert 60 < sum(sampled) < 140


def test_unreadable_documents_are_null_rows() -> None:
    batch = measure(pa.array([None, b"\xff", b"ok"], pa.large_binary()), Tokens().needs())
    assert batch.schema.names[1:] == list(Tokens().columns())
    assert batch[BYTES[0]].to_pylist() == [None, None, 2]
    assert batch[COUNT].to_pylist() == [None, None, None]


def test_the_fingerprint_follows_content_not_paths(tmp_path: Path) -> None:
    for folder, size in (("a", 300), ("b", 300), ("c", 310)):
        (tmp_path / folder).mkdir()
        reference.train_byte_level("gpt2", corpus(), vocab_size=size).save(
            str(tmp_path / folder / "tokenizer.json")
        )
    prints = [Tokens(tokenizer=tmp_path / folder).fingerprint() for folder in "abc"]
    assert prints[0] == prints[1] != prints[2]
    assert Tokens(seed=1).fingerprint() != Tokens(seed=2).fingerprint()
    exact = [Tokens(tokenizer=tmp_path / "a", mode="exact", seed=seed).fingerprint() for seed in (1, 2)]
    assert exact[0] == exact[1] != prints[0]


WRONG = {
    "not JSON": '{"model"',
    "not an id": json.dumps(
        {"model": {"vocab": {"a": -1}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}}
    ),
    "does not have: ab": json.dumps(
        {"model": {"vocab": {"a": 0, "b": 1}, "merges": ["a b"]}, "pre_tokenizer": {"type": "ByteLevel"}}
    ),
    r"merges\[0\] is not a pair": json.dumps(
        {"model": {"vocab": {"a": 0}, "merges": ["a"]}, "pre_tokenizer": {"type": "ByteLevel"}}
    ),
    "merges.txt or vocab.bpe is not beside it": '{"a": 0}',
}


@pytest.mark.parametrize("message", sorted(WRONG))
def test_a_wrong_tokenizer_file_is_named_with_what_is_wrong(tmp_path: Path, message: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(WRONG[message])
    with pytest.raises(DataError, match=message) as caught:
        counted(Tokens(tokenizer=path, mode="exact").needs(), ["x"])
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("!!! 0\n", "line 1: not a token"),
        ("YQ== 0\nYQ== 1\n", "line 2: a token or rank comes twice"),
        ("YQ== 0\n", "0x00"),
    ],
)
def test_a_wrong_tiktoken_file_is_named_with_its_line(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "x.tiktoken"
    path.write_text(lines)
    with pytest.raises(DataError, match=message):
        counted(Tokens(tokenizer=path, mode="exact", pattern="gpt2").needs(), ["x"])


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tiktoken"
    path.write_text("YQ== 0\n")
    with pytest.raises(ConfigError, match=r"tokens\.pattern is needed"):
        counted(Tokens(tokenizer=path, mode="exact").needs(), ["x"])
    with pytest.raises(ConfigError, match=r"none of gpt2.*: nonsense"):
        counted(Tokens(tokenizer=path, mode="exact", pattern="nonsense").needs(), ["x"])
    with pytest.raises(ValueError, match=r"tokens\.mode=exact"):
        Tokens(mode="exact")
    with pytest.raises(ValueError, match=r"tokens\.pattern is set"):
        Tokens(pattern="gpt2")
    with pytest.raises(DataError, match="is not a file"):
        Tokens(tokenizer=tmp_path / "absent").needs()
    with pytest.raises(DataError, match=r"none of tokenizer\.json"):
        Tokens(tokenizer=tmp_path).needs()
