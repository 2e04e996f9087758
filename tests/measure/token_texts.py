"""Texts that are hard to tokenize, and added tokens with all flags."""

from pathlib import Path

from hypothesis import strategies as st
from tokenizers import AddedToken

ROOT = Path(__file__).parents[2]

HARD = [
    "",
    " ",
    "a",
    "\n\n\n",
    "It's we'LL they'\u017f 'S 'rE don't'",
    "x  \t\r\n \r y\r\n\r\n  ",
    "1234567 12\u00bd\u0663\u0664 3.14e10",
    "HTTPServer caf\u00e9 CAF\u00c9 \u01c5a \u4e2d\u6587\u306e\u30ab\u30ca \ud55c\uad6d\uc5b4",
    "e\u0301 \u0301x \u1100\u1161 \u212b A\u030a q\u0307\u0323 \u0344",
    "<|endoftext|>a <|endoftext|> <|pad|><|endoftext|",
    "                    def f(x):\n\t\treturn x  # \u2603\ufe0f \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u00a0\u2003\u3000 \u200b\ufeff\u0085\u2028x",
    "==================//////--------!!!!????\n/\n//",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0441\u043b\u043e\u0432\u043e "
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "ab" * 700 + " " * 300 + "\u4e2d" * 200,
]

PARTS = st.sampled_from([part for text in HARD[1:-1] for part in (text, *text.split(" "))])
TEXTS = st.lists(st.one_of(PARTS, st.text(max_size=12)), max_size=8).map("".join)


def corpus() -> list[str]:
    """Text of the repository, and the hard cases."""
    paths = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "curate").glob("*.py"))]
    return [path.read_text("utf-8") for path in paths] + HARD


FLAGS = [
    AddedToken("<one>", single_word=True),
    AddedToken("<left>", lstrip=True),
    AddedToken("<right>", rstrip=True, normalized=False),
    AddedToken("<both>", lstrip=True, rstrip=True),
    AddedToken("<", normalized=False),
    AddedToken("\u00e9\u00e9"),
    AddedToken("A\u030aA\u030a"),
]

FLAGGED = st.lists(
    st.sampled_from([" ", "\n", "x", "_", "e\u0301", "\u00e9", "\u00c5", *(flag.content for flag in FLAGS)])
)
