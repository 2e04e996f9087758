"""Slow, obvious twins of the token stage: bytes by class, merging by rank, ids; small tokenizers."""

import base64
import itertools
import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
CL100K_OLD = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
R50K = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
R50K_OLD = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SPECIAL = ["<|endoftext|>", "<|pad|>"]

BLOCKS = (
    ("latin", ((0x80, 0x250), (0x1E00, 0x1F00))),
    ("cyrillic_greek", ((0x370, 0x530), (0x1C80, 0x1C90), (0x1F00, 0x2000))),
    ("arabic_hebrew", ((0x590, 0x780), (0x8A0, 0x900), (0xFB1D, 0xFE00), (0xFE70, 0xFF00))),
    ("indic", ((0x900, 0x1000),)),
    (
        "cjk",
        ((0x2E80, 0x2FE0), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x34000)),
    ),
    (
        "kana_hangul",
        (
            (0x1100, 0x1200),
            (0x3000, 0x3100),
            (0x3130, 0x3190),
            (0x31F0, 0x3200),
            (0xA960, 0xA980),
            (0xAC00, 0xD800),
            (0xFF00, 0xFFF0),
        ),
    ),
)


def bytes_by_class(text: str) -> dict[str, int]:
    """Add up the bytes of each class, one character at a time."""
    out: dict[str, int] = {}
    before = ""
    for char in text:
        name = _class(before, char)
        out[name] = out.get(name, 0) + len(char.encode())
        before = char
    return out


def _class(before: str, char: str) -> str:
    if ord(char) >= 0x80:
        code = ord(char)
        return next(
            (name for name, blocks in BLOCKS if any(low <= code < high for low, high in blocks)), "other"
        )
    if char in " \t":
        return "space_run" if before and before in " \t" else "space"
    if char in "\r\n":
        return "newline"
    category = unicodedata.category(char)
    return {"Ll": "ascii_lower", "Lu": "ascii_upper", "Nd": "digit"}.get(category, "ascii_punct")


def byte_level(splits: list[pre_tokenizers.PreTokenizer], **options: object) -> Tokenizer:
    """An untrained byte-level BPE whose last split is `splits[-1]`."""
    tokenizer = Tokenizer(models.BPE(**options))
    last = splits[0] if len(splits) == 1 else pre_tokenizers.Sequence(splits)
    tokenizer.pre_tokenizer = last
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def split(pattern: str) -> list[pre_tokenizers.PreTokenizer]:
    """Cut by a pattern, then spell bytes."""
    return [
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]


def _gpt2() -> Tokenizer:
    return byte_level([pre_tokenizers.ByteLevel(add_prefix_space=False)])


def _gpt_neox() -> Tokenizer:
    tokenizer = byte_level([pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _starcoder() -> Tokenizer:
    return byte_level([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel()])


BYTE_LEVEL: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "starcoder": _starcoder,
    "llama3": lambda: byte_level(split(LLAMA3), ignore_merges=True),
    "qwen2": lambda: byte_level(split(QWEN2)),
    "o200k": lambda: byte_level(split(O200K)),
    "cl100k": lambda: byte_level(split(CL100K)),
    "cl100k_old": lambda: byte_level(split(CL100K_OLD)),
    "r50k": lambda: byte_level(split(R50K)),
    "r50k_old": lambda: byte_level(split(R50K_OLD)),
    "digit_runs": lambda: byte_level(
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    ),
}
"""Untrained tokenizers of the byte-level families, by name."""


def train_byte_level(name: str, texts: Iterator[str] | list[str], *, vocab_size: int = 600) -> Tokenizer:
    """Train a tokenizer of `BYTE_LEVEL`; gpt_neox gets runs of spaces as added tokens too."""
    tokenizer = BYTE_LEVEL[name]()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if name == "gpt_neox":
        tokenizer.add_tokens([" " * width for width in range(2, 9)])
    return tokenizer


MARK = "\u2581"
MARKED = [f"{MARK}{MARK}", f"{MARK}{MARK}{MARK}{MARK}"]


def _unigram(normalizer: normalizers.Normalizer, splits: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splits
    return tokenizer


def _albert() -> Tokenizer:
    """What `SentencePieceUnigramTokenizer` of the package is made from."""
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    chain = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    return _unigram(chain, pre_tokenizers.Metaspace())


def charsmap(replacements: dict[str, str]) -> bytes:
    """A `precompiled_charsmap` for single characters and graphemes: a trie laid out one node a block."""
    units = [0] * 256
    texts = bytearray()
    starts: dict[bytes, int] = {b"": 0}
    for key, value in sorted(replacements.items()):
        data, at = key.encode(), 0
        for length in range(1, len(data) + 1):
            prefix = data[:length]
            if prefix not in starts:
                starts[prefix] = len(units)
                units.extend([0] * 256)
                cell = starts[prefix[:-1]] + prefix[-1]
                units[cell] |= (starts[prefix] ^ cell) << 10 | prefix[-1]
            at = starts[prefix]
        cell = starts[data[:-1]] + data[-1]
        units[cell] |= 1 << 8
        units[at] = 1 << 31 | len(texts)
        texts += value.encode() + b"\0"
    packed = b"".join(unit.to_bytes(4, "little") for unit in units)
    return len(packed).to_bytes(4, "little") + packed + bytes(texts)


def _xlm_roberta() -> Tokenizer:
    table = {"\u00e9": "e", "\n": " ", "\r\n": " ", "\r": " ", "\u3000": " ", "\ufb01": "fi", "e\u0301": "E"}
    table |= {"\u00bd": "1/2", "\u200b": "", "\u0301": "", "\u212b": "\u00c5", "\U0001f468": "man"}
    normalizer = normalizers.Precompiled(charsmap(table))
    splits = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return _unigram(normalizer, splits)


def _t5() -> Tokenizer:
    chain = [normalizers.Strip(left=False, right=True), normalizers.Lowercase(), normalizers.NFD()]
    return _unigram(normalizers.Sequence(chain), pre_tokenizers.Metaspace(prepend_scheme="never"))


def _llama2() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(fuse_unk=True, byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    return tokenizer


def _mistral() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(fuse_unk=True, byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return tokenizer


def _gemma() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return tokenizer


def _no_fallback() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


UNIGRAM: dict[str, Callable[[], Tokenizer]] = {"albert": _albert, "xlm_roberta": _xlm_roberta, "t5": _t5}
"""Untrained tokenizers of the Unigram families, by name."""

SENTENCE_BPE: dict[str, Callable[[], Tokenizer]] = {
    "llama2": _llama2,
    "mistral": _mistral,
    "gemma": _gemma,
    "no_fallback": _no_fallback,
}
"""Untrained tokenizers of BPE over characters, most with byte fallback, by name."""


def train_unigram(name: str, texts: list[str], *, byte_fallback: bool = False) -> Tokenizer:
    """Train a tokenizer of `UNIGRAM`."""
    tokenizer = UNIGRAM[name]()
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<unk>", *SPECIAL], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    if not byte_fallback:
        return tokenizer
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    state["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(state))


def train_sentence_bpe(name: str, texts: list[str], *, vocab_size: int = 700) -> Tokenizer:
    """Train a tokenizer of `SENTENCE_BPE` on words, with all byte tokens and runs of spaces."""
    words = Tokenizer(models.BPE(unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        limit_alphabet=80,
        initial_alphabet=[MARK],
        special_tokens=["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    words.train_from_iterator(texts, trainer)
    trained = json.loads(words.to_str())["model"]
    state = json.loads(SENTENCE_BPE[name]().to_str())
    vocab, merges = trained["vocab"], trained["merges"]
    for run in MARKED:
        vocab[run] = len(vocab)
        half = run[: len(run) // 2]
        merges.append([half, half])
    state["model"] |= {"vocab": vocab, "merges": merges}
    state["added_tokens"] = json.loads(words.to_str())["added_tokens"][:2]
    return Tokenizer.from_str(json.dumps(state))


def train_word_piece(texts: list[str]) -> Tokenizer:
    """Train a WordPiece tokenizer, as BERT has."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def spelled(token: str) -> bytes:
    """The bytes that a byte-level token spells."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    table |= {chr(0x100 + position): byte for position, byte in enumerate(others)}
    return bytes(table[char] for char in token)


def write_tiktoken(path: Path, ranks: dict[bytes, int]) -> None:
    """Write a tiktoken file."""
    lines = [
        f"{base64.b64encode(token).decode()} {rank}"
        for token, rank in sorted(ranks.items(), key=lambda item: item[1])
    ]
    path.write_text("\n".join(lines) + "\n", "ascii")


def ranks_of(tokenizer: Tokenizer) -> dict[bytes, int]:
    """The tokens of a byte-level tokenizer by rank, shorter ones first."""
    words = [token for token in tokenizer.get_vocab() if token not in SPECIAL]
    words.sort(key=lambda token: (len(spelled(token)), tokenizer.token_to_id(token)))
    return {spelled(token): rank for rank, token in enumerate(words)}


def rank_ids(piece: bytes, ranks: dict[bytes, int]) -> list[int]:
    """Merge one piece by rank, the lowest and leftmost pair first; return the tokens that are left."""
    if piece in ranks:
        return [ranks[piece]]
    parts = [piece[at : at + 1] for at in range(len(piece))]
    while True:
        pairs = [
            (ranks[left + right], at)
            for at, (left, right) in enumerate(itertools.pairwise(parts))
            if left + right in ranks
        ]
        if not pairs:
            return [ranks[part] for part in parts]
        at = min(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def encode(
    tokenizer: Tokenizer, texts: list[str], *, bos: int | None = None, eos: int | None = None
) -> list[list[int]]:
    """Ids of each text, one after the other, between `bos` and `eos`."""
    before, after = ([] if token is None else [token] for token in (bos, eos))
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return [[*before, *own, *after] for own in ids]


FAMILIES = [*BYTE_LEVEL, *UNIGRAM, *SENTENCE_BPE, "bytes_unigram", "word_piece"]
"""Every kind of tokenizer; the last is one that only the fallback knows."""


def trained(name: str, texts: list[str]) -> Tokenizer:
    """Train a small tokenizer of one of `FAMILIES`."""
    if name in BYTE_LEVEL:
        return train_byte_level(name, texts)
    if name in SENTENCE_BPE:
        return train_sentence_bpe(name, texts)
    if name == "word_piece":
        return train_word_piece(texts)
    if name == "bytes_unigram":
        return train_unigram("albert", texts, byte_fallback=True)
    return train_unigram(name, texts)
