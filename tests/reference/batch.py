"""Labels, positions and sources of a batch, token by token."""

import numpy as np


def describe(tokens, spans):
    rows, seq_len = tokens.shape
    ids = np.array(tokens, np.int64)
    labels, positions = np.full((rows, seq_len), -100), np.zeros((rows, seq_len), np.int64)
    sources = np.full((rows, seq_len), -1, np.int32)
    for row, start, length, pool, _, _ in spans:
        for place in range(length):
            at = (row, start + place)
            positions[at], sources[at] = place, pool
            if place:
                labels[at] = ids[at]
    return {"input_ids": ids, "labels": labels, "positions": positions, "source_id": sources}
