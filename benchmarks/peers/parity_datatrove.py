"""Judge the documents of a Parquet file by each rule of datatrove's filters alone; needs its interpreter.

Writes one row per document: datatrove's English words and per rule, under the reason that ours has for it,
whether the rule drops the document.
"""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4ParagraphFilter,
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import split_into_words

Judge = Callable[[str], bool]

QUALITY = {
    "too_short": ("min_doc_words", 50),
    "too_long": ("max_doc_words", 100_000),
    "words_too_short": ("min_avg_word_length", 3),
    "words_too_long": ("max_avg_word_length", 10),
    "too_many_bullet_lines": ("max_bullet_lines_ratio", 0.9),
    "too_many_ellipsis_lines": ("max_ellipsis_lines_ratio", 0.3),
    "too_few_alpha_words": ("max_non_alpha_words_ratio", 0.8),
    "too_few_stop_words": ("min_stop_words", 2),
}
REPETITION = {
    "dup_paras": ("dup_para_frac", 0.3),
    "dup_para_chars": ("dup_para_char_frac", 0.2),
    "dup_lines": ("dup_line_frac", 0.3),
    "dup_line_chars": ("dup_line_char_frac", 0.2),
}
TOP = {2: 0.2, 3: 0.18, 4: 0.16}
DUP = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
NO_QUALITY = dict.fromkeys((name for name, _ in QUALITY.values())) | {"max_symbol_word_ratio": None}
NO_REPETITION = {
    **dict.fromkeys((name for name, _ in REPETITION.values())),
    "top_n_grams": (),
    "dup_n_grams": (),
}
NO_FINEWEB = {
    "line_punct_thr": 0.0,
    "short_line_thr": 1.0,
    "char_duplicates_ratio": 1.0,
    "new_line_ratio": float("inf"),
}


class NoHashes(str):
    """A text in which the filter counts no hashes, so that its next rule is reached."""

    def count(self, part: str, *bounds: int) -> int:
        """Count as a text does, all but hashes."""
        return 0 if part == "#" else super().count(part, *bounds)


def drops(judge: Any, reason: str | None = None, kind: type[str] = str) -> Judge:
    """Whether the filter drops a text; for `reason`, where it can drop for more than one."""

    def answer(text: str) -> bool:
        result = judge.filter(Document(text=kind(text), id=""))
        dropped = isinstance(result, tuple) or not result
        return dropped and (reason is None or result[1] == reason)

    return answer


def judges() -> dict[str, Judge]:
    """Every rule alone, by our reason for it."""
    out: dict[str, Judge] = {}
    for name, (field, limit) in QUALITY.items():
        out[f"gopher.{name}"] = drops(GopherQualityFilter(**{**NO_QUALITY, field: limit}))
    symbols = GopherQualityFilter(**{**NO_QUALITY, "max_symbol_word_ratio": 0.1})
    out["gopher.too_many_hashes"] = drops(symbols, "gopher_too_many_hashes")
    out["gopher.too_many_ellipses"] = drops(symbols, "gopher_too_many_ellipsis", NoHashes)
    for name, (field, limit) in REPETITION.items():
        out[f"gopher.{name}"] = drops(GopherRepetitionFilter(**{**NO_REPETITION, field: limit}))
    for n, limit in TOP.items():
        out[f"gopher.top_{n}gram"] = drops(
            GopherRepetitionFilter(**{**NO_REPETITION, "top_n_grams": ((n, limit),)})
        )
    for n, limit in DUP.items():
        out[f"gopher.dup_{n}gram"] = drops(
            GopherRepetitionFilter(**{**NO_REPETITION, "dup_n_grams": ((n, limit),)})
        )
    c4 = {"filter_lorem_ipsum": False, "filter_curly_bracket": False, "min_num_sentences": -1}
    out["c4.lorem_ipsum"] = drops(C4QualityFilter(**{**c4, "filter_lorem_ipsum": True}))
    out["c4.curly_bracket"] = drops(C4QualityFilter(**{**c4, "filter_curly_bracket": True}))
    out["c4.too_few_sentences"] = drops(C4QualityFilter(**{**c4, "min_num_sentences": 5}))
    out["c4.too_few_long_lines"] = drops(C4ParagraphFilter())
    for name, field, limit, reason in [
        ("too_few_punctuated_lines", "line_punct_thr", 0.12, "line_punct_ratio"),
        ("too_many_short_lines", "short_line_thr", 0.67, "short_line_ratio"),
        ("dup_line_chars", "char_duplicates_ratio", 0.01, "char_dup_ratio"),
        ("too_many_newlines", "new_line_ratio", 0.3, "list_ratio"),
    ]:
        out[f"fineweb.{name}"] = drops(FineWebQualityFilter(**{**NO_FINEWEB, field: limit}), reason)
    out["fineweb.empty"] = drops(FineWebQualityFilter(**NO_FINEWEB), "empty")
    return out


def main() -> None:
    source, target = sys.argv[1:]
    warnings.simplefilter("ignore")  # numpy's on the mean of no words, which datatrove lets pass
    texts = pq.read_table(source, columns=["text"])["text"].to_pylist()
    rules = judges()
    words: list[list[str]] = []
    dropped: dict[str, list[bool]] = {name: [] for name in rules}
    for row, text in enumerate(texts):
        words.append(split_into_words(text))
        for name, judge in rules.items():
            dropped[name].append(judge(text))
        if row % 500 == 499:
            print(f"datatrove: {row + 1} of {len(texts)} documents", file=sys.stderr, flush=True)
    columns = {"words": pa.array(words, pa.large_list(pa.large_string())), **dropped}
    pq.write_table(pa.table(columns), target, compression="zstd")


if __name__ == "__main__":
    main()
