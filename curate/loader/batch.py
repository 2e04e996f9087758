"""The tensors of a batch, made from the tokens of lanes and the spans of documents in them.

`labels` are the tokens themselves, to be shifted by the model (as Hugging Face models do); -100 stands at
padding and at the first token of every span, which nothing before it in the sequence leads to. Cost: about
5 ns a token.
"""

from collections.abc import Sequence

import numpy as np

from curate.loader.feedback import IGNORED, NO_SOURCE
from curate.loader.lanes import Sequences

ROW, START, LENGTH, SOURCE, DOCUMENT, BEGIN = range(6)
"""Columns of `doc_spans`: row of the batch, first place in it, tokens, pool, document, tokens before it."""


def assemble(parts: Sequence[Sequences]) -> dict[str, np.ndarray]:
    """Join what lanes gave in one step, in the order of the lanes.

    `input_ids`, `labels`, `positions` are int64 [rows, seq_len], `source_id` int32; positions count from 0 in
    each span. `doc_spans` is int64 [spans, 6].
    """
    rows = [len(part.tokens) for part in parts]
    seq_len = parts[0].tokens.shape[1]
    tokens = np.empty((sum(rows), seq_len), np.int64)
    spans = np.concatenate([part.spans for part in parts])
    first, first_span = 0, 0
    for part, num_rows in zip(parts, rows, strict=True):
        tokens[first : first + num_rows] = part.tokens
        spans[first_span : first_span + len(part.spans), ROW] += first
        first, first_span = first + num_rows, first_span + len(part.spans)
    return {"input_ids": tokens, **_describe(tokens, spans), "doc_spans": spans}


def _describe(tokens: np.ndarray, spans: np.ndarray) -> dict[str, np.ndarray]:
    starts = spans[:, ROW] * tokens.shape[1] + spans[:, START]
    labels = tokens.copy()
    labels.reshape(-1)[starts] = IGNORED
    lengths = spans[:, LENGTH]
    used = int(lengths.sum())
    within = np.arange(used) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    sources = np.repeat(spans[:, SOURCE].astype(np.int32), lengths)
    if used == tokens.size:
        return {
            "labels": labels,
            "positions": within.reshape(tokens.shape),
            "source_id": sources.reshape(tokens.shape),
        }
    places = within + np.repeat(starts, lengths)
    positions = np.zeros(tokens.size, np.int64)
    positions[places] = within
    source_id = np.full(tokens.size, NO_SOURCE, np.int32)
    source_id[places] = sources
    is_padding = source_id.reshape(tokens.shape) == NO_SOURCE
    labels[is_padding] = IGNORED
    return {
        "labels": labels,
        "positions": positions.reshape(tokens.shape),
        "source_id": source_id.reshape(tokens.shape),
    }
