"""The word mode `datatrove-en`: cases, the slow twin, and the published splitter where it is installed."""

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate import _rust
from curate.errors import ConfigError
from curate.text import NativeSpec, measure
from tests.reference import c4
from tests.reference import words_en as reference


def binary(texts):
    return pa.array(
        [text if isinstance(text, bytes | None) else text.encode() for text in texts], pa.large_binary()
    )


def split(text):
    return _rust.split_words(binary([text]), "datatrove-en").to_pylist()[0]


def count_sentences(text):
    return _rust.count_sentences(binary([text])).to_pylist()[0]


# The words of each text are separated by spaces in the second column.
CASES = [
    ("", ""),
    (" \t\n\u00a0\u2003", ""),
    ("Hello, world!", "Hello , world !"),
    ("one  two\n\nthree\u00a0four\x1cfive", "one two three four five"),
    ('"Quoted," he said.', '" Quoted , " he said .'),
    ("(see [1])", "( see [ 1 ] )"),
    ("Wait... what?!", "Wait ... what ? !"),
    ("and\u2026so on\u2026\u2026", "and \u2026 so on \u2026\u2026"),
    ("don't can't won't cannot", "do n't ca n't wo n't can not"),
    ("dont Im ive wed", "do nt I m i ve we d"),
    ("its well were ill", "its well were ill"),
    ("I'd've known she'll've", "I 'd 've known she 'll 've"),
    ("I\u2019m you\u2019re", "I \u2019m you \u2019re"),
    ("DON'T", "DON'T"),
    ("the dog's and dogs' tails", "the dog 's and dogs ' tails"),
    ("MOM'S cat\u2019s", "MOM 'S cat \u2019s"),
    ("y'all c'mon let's how'd'y", "y' all c'm on let 's how 'd 'y"),
    (
        "Mr. and Mrs. Smith met Dr. Jones Jr. in St. Ives.",
        "Mr. and Mrs. Smith met Dr. Jones Jr. in St. Ives .",
    ),
    ("in Washington D.C., U.S.A.", "in Washington D.C. , U.S.A."),
    ("the U.S. and NATO.", "the U.S. and NATO ."),
    ("Plan A. or plan b.", "Plan A. or plan b."),
    ("the process id. The", "the process i d. The"),
    ("vice-Gov. X-Mr. Y", "vice - Gov. X - Mr. Y"),
    ("8am 10:30 p.m. 11p.m. 3a.m.!", "8 am 10:30 p.m. 11 p.m. 3 a.m. !"),
    ("May 5, 1999.", "May 5 , 1999 ."),
    ("$5.50 US$20 5$ 10% 3km 5km/h 20\u00b5m", "$ 5.50 US$ 20 5 $ 10 % 3 km 5 km/h 20 \u00b5m"),
    ("3rd 1990s 5s 80mph 4x4", "3rd 1990s 5s 80 mph 4x4"),
    ("20\u00b0C. and 451\u00b0F.", "20 \u00b0 C . and 451 \u00b0 F ."),
    ("well-known twenty-one-year-old", "well - known twenty - one - year - old"),
    ("9-5 3+4 5*6 2^8 1-a x-1", "9 - 5 3 + 4 5 * 6 2 ^ 8 1 - a x-1"),
    ("this--that a---b a----b", "this -- that a --- b a----b"),
    ("word\u2014word 1\u20132 a\u2013b", "word \u2014 word 1\u20132 a \u2013 b"),
    ("either/or and/or he/she w/o 1/2", "either / or and/or he / she w/o 1/2"),
    ("a,b 1,000 a:b a=b x<y end.Start", "a , b 1,000 a : b a = b x < y end . Start"),
    ("lower.lower Mixed.lower", "lower.lower Mixed.lower"),
    ("Go to http://example.com/a?b=c#d.", "Go to http://example.com/a?b=c#d ."),
    ("www.example.co.uk, user.name@mail.org", "www.example.co.uk , user.name@mail.org"),
    ("8.8.8.8:53 192.168.0.1 example.com:8080/x", "8.8.8.8:53 192.168.0.1 example.com:8080/x"),
    ("http://localhost/path a://b.c", "http://localhost / path a://b.c"),
    ("ftp://user:pass@host.org/Some-File.txt", "ftp://user:pass@host.org/Some-File.txt"),
    ("not-a-url/path file.txt-old", "not - a - url / path file.txt - old"),
    (":) :-( ;D :'( <3 </3 xD ^_^", ":) :-( ;D :'( <3 </3 xD ^_^"),
    ("fine:) ok:-) (nice :))", "fine :) ok:- ) ( nice :))"),
    (": ) ( :", ": ) ( :"),
    (
        "\u00af\\(\u30c4)/\u00af (\u256f\u00b0\u25a1\u00b0\uff09\u256f\ufe35\u253b\u2501\u253b",
        "\u00af\\(\u30c4)/\u00af (\u256f\u00b0\u25a1\u00b0\uff09\u256f\ufe35\u253b\u2501\u253b",
    ),
    ("C++ C# F# .NET", "C++ C # F # .NET"),
    ("'em 'twas 'cause rock'n'roll", "'em ' twas 'cause rock'n'roll"),
    ("doin' goin' runnin'", "doin' goin' runnin '"),
    ("''quoted'' ``so''", "'' quoted '' ` ` so ''"),
    ("#tag @user _emph_ *bold*", "# tag @user _ emph _ * bold *"),
    ("<br />text</p>", "< br />text</p >"),
    ("a.b.c. x.y.Z.", "a.b.c . x.y . Z."),
    ("\u00c9cole caf\u00e9.", "\u00c9cole caf\u00e9 ."),
    ("\u4f60\u597d\u3002\u4e16\u754c", "\u4f60\u597d\u3002\u4e16\u754c"),
    ("\u00a9 2020 \u2122 \u2665love\u2665", "\u00a9 2020 \u2122 \u2665 love \u2665"),
    ("\u201cYes,\u201d she said\u2014\u2018no\u2019.", "\u201c Yes , \u201d she said\u2014\u2018no \u2019 ."),
    ("\U0001f600hi\U0001f600\U0001f600", "\U0001f600 hi \U0001f600 \U0001f600"),
    ("-flag --option +1 +x", "-flag --option +1 + x"),
    ("-----", "-----"),
    ("!!! ,,, ... ..", "! ! ! , , , ... .."),
    ("o'clock ma'am O'Neil", "o'clock ma'am O'Neil"),
    ("he\0ll", "he\0ll"),
    ("Wed. Ill. ill.", "We d. Ill. ill ."),
]


@pytest.mark.parametrize(("text", "words"), CASES)
def test_words_are_split_as_in_the_table(text, words):
    assert split(text) == [word for word in words.split(" ") if word]


@pytest.mark.parametrize(("text", "words"), CASES)
def test_the_slow_twin_agrees_with_the_table(text, words):
    assert reference.split(text) == [word for word in words.split(" ") if word]


def test_every_exception_is_split_by_its_rule_alone_and_between_brackets():
    for text, tokens in reference.EXCEPTIONS.items():
        assert split(text) == tokens, text
        assert split(f"({text},") == reference.split(f"({text},"), text
        assert split(f"x-{text}. {text}") == reference.split(f"x-{text}. {text}"), text


PIECES = st.one_of(
    st.sampled_from(sorted(reference.EXCEPTIONS)),
    st.sampled_from(
        [*reference.MARKS, *reference.QUOTES, *reference.UNITS, *reference.CURRENCIES, *reference.HYPHENS]
    ),
    st.sampled_from([*"aAbX...,'/:@?#+190_%", "127", "10", "255", *"\u2019\u00e9\u00c9\u4e2d\u2603\u00b0"]),
    st.sampled_from(
        ["http://", "www.", ".com", ".org/", "user@", ":80", "169.254", "192.168.", "8.8.8.8", "\U00020000"]
    ),
    st.sampled_from([" ", " ", "  ", "\n", "\t", "\u00a0", "\u3000", "\x1f"]),
    st.sampled_from(["the", "word", "NASA", "id", "wed", "Word", "dog's", "and", "or"]),
    st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=3),
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@given(TEXTS)
@example("8)) :-) i'd. (Mr.'s X-a.m.)")
def test_native_words_equal_those_of_the_twin(text):
    assert split(text) == reference.split(text)


@given(TEXTS)
def test_native_sentence_counts_equal_those_of_the_twin(text):
    assert count_sentences(text) == reference.count_sentences(text)


@given(TEXTS)
def test_words_are_the_text_without_its_white_space(text):
    assert "".join(split(text)) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "num_sentences"),
    [
        ("", 1),
        ("no end", 1),
        ("One. Two! Three?", 3),
        ('"One." he said. Two.', 3),
        ("One.) Two...", 2),
        ("Mr. Smith... is here", 1),
        ("One. ", 1),
        ("One.  ", 2),
        ("One.\tTwo.\n", 3),
        ("3.5 e.g. this", 1),
    ],
)
def test_sentences_are_counted_as_in_the_table(text, num_sentences):
    assert count_sentences(text) == num_sentences == reference.count_sentences(text)


@given(st.lists(TEXTS, max_size=6).map(" and so on.\n".join))
def test_sentences_of_kept_c4_lines_are_counted_with_the_words_of_the_mode(text):
    spec = NativeSpec(groups=frozenset({"c4"}), words="datatrove-en")
    kept = [line for line, verdict, _ in map(c4.judge, text.splitlines()) if verdict == "kept"]
    counted = measure(binary([text]), spec)["c4.num_sentences"].to_pylist()
    assert counted == [sum(map(reference.count_sentences, kept))]


@pytest.mark.timeout(30)
def test_a_long_chunk_takes_linear_time():
    for part in ["(", ".", "a-", "@", "a@", "...a", "'", "1,", "x.", ":)"]:
        text = part * (500_000 // len(part))
        assert "".join(split(text)) == text


def test_null_and_invalid_texts_give_null():
    texts = binary([b"ok then", None, b"\xff"])
    assert _rust.split_words(texts, "datatrove-en").to_pylist() == [["ok", "then"], None, None]
    assert _rust.count_sentences(texts).to_pylist() == [1, None, None]


def test_an_unknown_mode_is_a_config_error():
    with pytest.raises(ConfigError, match="words is uax29 or datatrove-en, not: nltk"):
        _rust.split_words(binary([""]), "nltk")


@pytest.fixture(scope="module")
def published():
    return pytest.importorskip("spacy", reason="spacy is not installed").blank("en").tokenizer


@pytest.mark.peer
@given(TEXTS)
def test_words_equal_those_of_the_published_splitter(published, text):
    tokens = [token.text.strip() for token in published(text)]
    assert split(text) == [token for token in tokens if token]
