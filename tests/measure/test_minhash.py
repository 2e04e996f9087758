"""Signatures against a slow twin, byte for byte; what they do not depend on; how well they estimate."""

import math
import random
import statistics
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate import _rust, text
from curate.config import build
from curate.dedup import scurve
from curate.errors import ConfigError, DataError
from curate.measure import Document, Heuristics, MinHash
from curate.measure.minhash import PRESETS
from tests.reference import minhash as twin

SAMPLE = Path(__file__).parents[2] / "sample"
# The extension's tables of decomposition are newer than Python's: leave out what is assigned since.
IS_PYTHON_3_11 = unicodedata.unidata_version == "14.0.0"
CHARS = st.characters(exclude_categories=("Cs", "Cn"), max_codepoint=None if IS_PYTHON_3_11 else 0x24F)
PLAIN = (
    " ",
    "\n",
    "\r\n",
    "a",
    "A",
    "the",
    "The cat",
    "_",
    "-",
    "...",
    "don't",
    "3.14",
    "12,000",
    "x" * 15,
    "y" * 33,
)
MARKS = (
    "\u03a3",
    "A\u03a3",
    "\u0130",
    "e\u0301",
    "\u00e9",
    "\u0939\u093f",
    "\u2026",
    "\u3000",
    "\x1c",
    "\x85",
    "\0",
)
OTHERS = (
    "\u0661\u0662",
    "\u00bd",
    "\u4e2d\u6587",
    "\uff11",
    "d\u2019",
    "\u302e\u0301",
    "\u212b",
    "\U0001f600",
)
PIECES = st.sampled_from(PLAIN + MARKS + OTHERS)
TEXTS = st.lists(st.one_of(PIECES, PIECES, st.text(CHARS, max_size=6)), max_size=30).map("".join)

KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "classic": {"sketch": "classic", "num_hashes": 100},
    "short": {"ngram": 1, "num_hashes": 3, "seed": 2**64 - 1},
    "one": {"ngram": 2, "num_hashes": 1},
    "sampled": {"ngram": 2, "num_hashes": 16, "max_shingles": 4},
    "sampled_classic": {"ngram": 1, "num_hashes": 40, "max_shingles": 1, "sketch": "classic"},
    "characters": {"unit": "char", "ngram": 4},
    "characters_of_words": {"unit": "char", "ngram": 24, "normalize": "word"},
    **{name: {"preset": name} for name in PRESETS},
}
COLUMNS = ("minhash.signature", "minhash.num_shingles", "minhash.is_sampled")


def settings_of(stage: MinHash) -> dict[str, Any]:
    return stage.model_dump(exclude={"preset"})


def annotate(stage: MinHash, rows: Any, **options: Any) -> list[dict[str, Any]]:
    array = rows if isinstance(rows, pa.Array) else pa.array(rows, pa.large_string())
    return stage.annotate(array, **options).to_pylist()


def signatures(stage: MinHash, rows: Any) -> pa.Array:
    return stage.annotate(pa.array(rows, pa.large_string()))["minhash.signature"]


@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(TEXTS, max_size=4))
def test_columns_are_those_of_the_twin_to_the_last_bit(kind: str, rows: list[str]) -> None:
    stage = build(MinHash, KINDS[kind])
    assert annotate(stage, rows) == [twin.row(row, settings_of(stage)) for row in rows]


@pytest.mark.parametrize("kind", ["default", "classic", "sampled", "characters", "fineweb", "redpajama"])
def test_real_texts_have_the_columns_of_the_twin(kind: str) -> None:
    stage = build(MinHash, KINDS[kind])
    rows = pq.read_table(SAMPLE / "part-1.parquet", columns=["text"])["text"].to_pylist()[::40]
    rows = [row for row in rows if len(row) < 20_000 and not has_new_characters(row)]
    assert len(rows) > 10
    assert annotate(stage, rows) == [twin.row(row, settings_of(stage)) for row in rows]


def has_new_characters(row: str) -> bool:
    return any(unicodedata.category(c) == "Cn" for c in row)


@pytest.mark.parametrize("sketch", ["fast", "classic"])
@pytest.mark.parametrize("max_shingles", [1 << 20, 3000])
def test_texts_longer_than_a_batch_have_the_columns_of_the_twin(sketch: str, max_shingles: int) -> None:
    stage = build(MinHash, {"sketch": sketch, "num_hashes": 40, "max_shingles": max_shingles})
    rng = random.Random(1)
    rows = [" ".join(f"w{rng.randrange(kinds)}" for _ in range(9000)) for kinds in (2, 6, 9000)]
    found = annotate(stage, rows)
    assert found == [twin.row(row, settings_of(stage)) for row in rows]
    assert [row["minhash.is_sampled"] for row in found] == [False, max_shingles == 3000, max_shingles == 3000]
    assert found[0]["minhash.num_shingles"] == 2**5
    assert abs(found[2]["minhash.num_shingles"] - 8996) <= (400 if max_shingles == 3000 else 0)


@pytest.mark.skipif(not IS_PYTHON_3_11, reason="characters are those of Python 3.11")
@pytest.mark.parametrize("normalize", ["word", "space", "datatrove"])
def test_every_character_is_normalised_as_in_python(normalize: str) -> None:
    stage = build(MinHash, {"ngram": 1, "num_hashes": 1, "normalize": normalize, "sketch": "classic"})
    codes = [c for c in range(0x32400) if not 0xD800 <= c < 0xE000] + [*range(0xE0000, 0xE0200)]
    chars = [chr(c) for c in codes if unicodedata.category(chr(c)) != "Cn"]
    # One least value for few words, so that each of them is seen in some row.
    rows = [f"{c}x y{c} {c}" for c in chars]
    found = stage.annotate(pa.array(rows, pa.large_string()))
    for row, column in zip(rows, found["minhash.num_shingles"].to_pylist(), strict=True):
        assert column == len(set(twin.words(row, normalize))), ascii(row)
    for at in range(0, len(rows), 7):
        expected = twin.row(rows[at], settings_of(stage))
        assert found.slice(at, 1).to_pylist() == [expected], ascii(rows[at])


def test_signatures_are_pinned() -> None:
    row = ["It was the best of times, it was the worst of times"]
    found = [
        annotate(MinHash(sketch=s, num_hashes=2), row)[0]["minhash.signature"].hex()
        for s in ("fast", "classic")
    ]
    assert found == PINNED


PINNED = ["3e2b4c99984e24bc", "999b990c48dc1c57"]

SAME = [
    ("default", "The CAT sat -- on the mat!", "the\tcat,sat on\u3000the mat"),
    ("fineweb", "\u00c9t\u00e9, don't pay 1,000 or 3.14 \u201cnow\u201d", "e\u0301te dont pay 5 or 7\n now"),
    ("redpajama", "D\u00c9J\u00c0-vu \u00a0 (again)", "de\u0301ja\u0300vu again"),
    ("datajuicer", "One  TWO\nthree. four", "one two three. FOUR"),
    ("characters", "A  long\n\nLINE of text", "a long line of text"),
]


@pytest.mark.parametrize(("kind", "a", "b"), SAME)
def test_normalisation_makes_texts_the_same(kind: str, a: str, b: str) -> None:
    one, two = annotate(build(MinHash, KINDS[kind]), [a, b])
    assert one == two and one["minhash.signature"] is not None


@pytest.mark.parametrize(
    ("kind", "a", "b"),
    [
        ("default", "dont pay now", "don't pay now"),
        ("default", "pay 1 now", "pay 2 now"),
        ("datajuicer", "one two", "one two."),
        ("redpajama", "\u00e9t\u00e9", "ete"),
        ("characters", "one two", "onetwo"),
        ("default", "a b c d e", "a b c d f"),
        ("default", "a b c d e", "e d c b a"),
    ],
)
def test_what_normalisation_keeps_tells_texts_apart(kind: str, a: str, b: str) -> None:
    one, two = annotate(build(MinHash, KINDS[kind]), [a, b])
    assert one["minhash.signature"] != two["minhash.signature"]


@pytest.mark.parametrize("sketch", ["fast", "classic"])
def test_a_text_shorter_than_a_shingle_is_one_and_one_without_words_has_no_signature(sketch: str) -> None:
    rows = pa.array([b"a b", b"A, b!", b"...", b"", None, b"\xff", b"a b c d e"], pa.large_binary())
    found = [tuple(row.values()) for row in annotate(build(MinHash, {"sketch": sketch}), rows)]
    assert found[0] == found[1] and found[0][1:] == (1, False) and len(found[0][0]) == 512
    assert found[2] == found[3] == (None, 0, False)
    assert found[4] == found[5] == (None, None, None)
    assert found[6][1:] == (1, False)


def test_shingles_are_a_set() -> None:
    repeated = "one two three four five six seven " * 50
    once = "one two three four five six seven one two three four"
    found = annotate(MinHash(), [repeated, once])
    assert found[0] == found[1]
    assert found[0]["minhash.num_shingles"] == 7


@pytest.mark.parametrize("kind", ["default", "classic", "sampled", "fineweb"])
def test_threads_and_batches_change_nothing(kind: str) -> None:
    stage = build(MinHash, KINDS[kind])
    rng = random.Random(2)
    rows = pa.array(
        [" ".join(f"W{rng.randrange(50)}" for _ in range(rng.randrange(900))) for _ in range(1200)]
    )
    one = stage.annotate(rows)
    assert stage.annotate(rows, num_threads=2).equals(one)
    parts = [stage.annotate(rows.slice(at, 77)) for at in range(0, 1200, 77)]
    assert pa.Table.from_batches(parts).combine_chunks().to_batches()[0].equals(one)


def test_fused_stages_measure_what_each_measures_alone() -> None:
    stages = [Document(), Heuristics(), MinHash(preset="fineweb")]
    rows = pa.array([f"{n} It's {n % 7} e.g. caf\u00e9 \u6f22\u5b57, {n % 3}! " * 9 for n in range(300)])
    spec = text.NativeSpec.union([stage.needs() for stage in stages])
    for num_threads in (1, 2):
        fused = text.measure(rows, spec, num_threads=num_threads)
        for stage in stages:
            assert fused.select(list(stage.columns())).equals(stage.annotate(rows))
    assert stages[2].columns() == COLUMNS


def test_one_pass_makes_one_kind_of_signatures() -> None:
    same = text.NativeSpec.union([MinHash().needs(), MinHash().needs()])
    assert same == MinHash().needs()
    with pytest.raises(ConfigError, match="signatures of one kind"):
        text.NativeSpec.union([MinHash().needs(), MinHash(seed=2).needs()])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ngram": 0}, "ngram"),
        ({"num_hashes": 1025}, "num_hashes"),
        ({"seed": -1}, "seed"),
        ({"preset": "other"}, "preset"),
        ({"preset": "fineweb", "unit": "char"}, "minhash.unit is word for every preset"),
        ({"bands": 14}, "not a known key"),
    ],
)
def test_settings_out_of_bounds_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(MinHash, values, at="measure")
    spec = '{"groups": [], "words": "uax29", "minhash": %s}'
    with pytest.raises(ConfigError, match="minhash"):
        _rust.measure(pa.array([], pa.large_binary()), spec % '{"unit": "word"}', 1)


def test_the_native_pass_checks_bounds_of_its_own() -> None:
    good = MinHash().needs().to_json()
    for name, value, bad in (("ngram", 5, 0), ("num_hashes", 128, 2000), ("max_shingles", 1 << 20, 1 << 22)):
        spec = good.replace(f'"{name}": {value}', f'"{name}": {bad}')
        assert spec != good
        with pytest.raises(ConfigError, match=f"minhash.{name} is from 1 to"):
            _rust.measure(pa.array([], pa.large_binary()), spec, 1)


def test_a_preset_is_what_it_sets() -> None:
    assert MinHash(preset="fineweb").fingerprint() == MinHash(preset="datatrove").fingerprint()
    spelled = MinHash(ngram=13, normalize="redpajama", num_hashes=128)
    assert MinHash(preset="redpajama").fingerprint() == spelled.fingerprint()
    assert MinHash(preset="fineweb", num_hashes=128).num_hashes == 128
    assert MinHash(unit="char").normalize == "space"
    assert MinHash().fingerprint() != MinHash(seed=2).fingerprint()


@pytest.mark.parametrize("name", PRESETS)
def test_signatures_of_presets_have_the_slots_that_their_bands_take(name: str) -> None:
    for threshold in scurve.PUBLISHED.get(name, {None: None}):
        bands = scurve.preset_bands(name, threshold)
        assert bands.num_hashes <= MinHash(preset=name).num_hashes  # type: ignore[arg-type]


def test_a_recipe_measures_signatures(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "input": {"paths": str(SAMPLE / "part-0.parquet")},
        "measure": [{"minhash": {"preset": "fineweb"}}],
        "run": str(tmp_path / "run"),
    }
    run = curate.run(recipe, write=False)
    columns = run.columns(list(COLUMNS))
    rows = pq.read_table(SAMPLE / "part-0.parquet", columns=["text"])["text"].to_pylist()
    expected = annotate(MinHash(preset="fineweb"), rows)
    assert columns["minhash.signature"].to_list() == [row["minhash.signature"] for row in expected]


def sets_of(rng: random.Random, similarity: float, size: int) -> tuple[str, str]:
    """Two texts of single words whose sets have a union of about `size` and this similarity exactly."""
    shared = round(similarity * size)
    names = [f"w{rng.getrandbits(60)}" for _ in range(size)]
    rest = names[shared:]
    half = len(rest) // 2
    return " ".join(names[:shared] + rest[:half]), " ".join(names[:shared] + rest[half:])


# Deviation over that of independent slots, at most and at least; that of 300 values is known within 4 %.
ERRORS = [
    ("fast", 1000, 0.85, 1.02),
    ("fast", 60, 0.6, 0.8),
    ("classic", 1000, 0.88, 1.12),
    ("classic", 60, 0.88, 1.12),
]


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(("sketch", "size", "least", "most"), ERRORS)
def test_estimates_have_no_bias_and_the_error_of_theory(
    sketch: str, size: int, least: float, most: float, similarity: float
) -> None:
    rng, num_pairs, num_hashes = random.Random(3), 300, 128
    stage = build(MinHash, {"ngram": 1, "sketch": sketch, "num_hashes": num_hashes})
    pairs = [sets_of(rng, similarity, size) for _ in range(num_pairs)]
    left, right = (signatures(stage, [pair[side] for pair in pairs]) for side in (0, 1))
    found = _rust.signature_similarity(left, right).to_pylist()
    theory = math.sqrt(similarity * (1 - similarity) / num_hashes)
    assert abs(statistics.mean(found) - similarity) < 4 * theory / math.sqrt(num_pairs)
    assert least * theory < statistics.pstdev(found) < most * theory


WIDTHS = st.sampled_from([1, 2, 3, 7, 16])


@given(data=st.data(), num_slots=WIDTHS)
def test_band_keys_and_similarities_are_those_of_the_twin(data: st.DataObject, num_slots: int) -> None:
    # Few different bytes, so that slots are equal now and then.
    value = st.lists(st.sampled_from([0, 1, 255]), min_size=4 * num_slots, max_size=4 * num_slots).map(bytes)
    pairs = data.draw(st.lists(st.tuples(st.none() | value, st.none() | value), max_size=5))
    left, right = (pa.array([pair[side] for pair in pairs], pa.binary(4 * num_slots)) for side in (0, 1))
    num_bands = data.draw(st.integers(1, num_slots))
    num_rows = data.draw(st.integers(1, num_slots // num_bands))
    keys = _rust.band_keys(left, num_bands, num_rows)
    assert keys.type == pa.binary(8 * num_bands)
    assert keys.to_pylist() == [twin.band_keys(pair[0], num_bands, num_rows) for pair in pairs]
    found = _rust.signature_similarity(left, right).to_pylist()
    assert found == [twin.signature_similarity(*pair) for pair in pairs]
    assert _rust.band_keys(left.slice(1), num_bands, num_rows).equals(keys.slice(1))


def test_equal_slots_in_different_bands_have_different_keys() -> None:
    keys = _rust.band_keys(pa.array([bytes(64)], pa.binary(64)), 4, 4)[0].as_py()
    assert len({keys[at : at + 8] for at in range(0, 32, 8)}) == 4


def test_bands_beyond_the_slots_and_values_that_are_no_signatures_are_refused() -> None:
    good, odd = pa.array([bytes(64)], pa.binary(64)), pa.array([bytes(6)], pa.binary(6))
    for num_bands, num_rows in ((0, 1), (1, 0), (17, 1), (2, 9), (2**62, 4)):
        with pytest.raises(ConfigError, match="bands times rows"):
            _rust.band_keys(good, num_bands, num_rows)
    with pytest.raises(DataError, match="slots of 4 bytes"):
        _rust.band_keys(odd, 1, 1)
    with pytest.raises(DataError, match="wrong Arrow type"):
        _rust.band_keys(pa.array([b"a"]), 1, 1)
    for other in (odd, good.slice(1)):
        with pytest.raises(DataError, match="differ in number or size"):
            _rust.signature_similarity(good, other)
