"""Candidates of a selection: score and noise of each surviving row, and the key they make.

Each row is computed from itself alone, so collecting and deciding see the same numbers. Not here: cuts
(cutter.py).
"""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from curate.errors import ConfigError
from curate.filters.expression import parse_expression, prepare
from curate.selection.sample import gumbel_keys, log_weights, order_keys
from curate.selection.settings import Selection

ALL, NO_POOL = "all", "(none)"
"""Names of the pool of everything, and of the pool of documents whose `by` column is null."""

PURPOSE = "plan.sample"


@dataclass(frozen=True, slots=True)
class Rows:
    """Survivors of a chunk: where they are, whether they may be taken, and the parts of their keys."""

    places: np.ndarray
    score: np.ndarray
    noise: np.ndarray
    is_null: np.ndarray
    is_below: np.ndarray
    is_eligible: np.ndarray
    """Neither null nor below, and not one that can never be drawn."""


def candidate_rows(
    settings: Selection, doc_ids: pa.Array, survived: np.ndarray, columns: pl.DataFrame
) -> Rows:
    """Compute parts of keys of the rows that survived, each row from itself alone; not those of a `mix`."""
    missing = [name for name in settings.columns() if name not in columns.columns]
    if missing:
        raise ConfigError(f"plan reads a column that is not there: {missing[0]}")
    places = np.flatnonzero(survived)
    count = len(places)
    frame = columns if not columns.width or count == len(columns) else columns[places]
    score = values_of(settings.score, frame, count)
    is_null = np.isnan(score)
    is_below = np.zeros(count, dtype=bool)
    if settings.threshold is not None:
        is_below = score < settings.threshold
    if settings.weight is not None:
        score = log_weights(values_of(settings.weight, frame, count))
        is_null |= np.isnan(score)
    elif settings.method == "uniform":
        score = np.zeros(count)
    noise = np.zeros(count)
    if settings.method in ("uniform", "weighted"):
        ids = doc_ids if count == len(doc_ids) else doc_ids.take(pa.array(places))
        noise = gumbel_keys(ids, noise, temperature=1.0, seed=settings.seed, purpose=PURPOSE)
        is_null |= np.isnan(noise)
    is_below &= ~is_null
    never = np.isneginf(score) if settings.method == "weighted" else np.zeros(count, dtype=bool)
    return Rows(places, score, noise, is_null, is_below, ~(is_null | is_below | never))


def values_of(sql: str | None, frame: pl.DataFrame, count: int) -> np.ndarray:
    """Values of an expression as doubles, NaN where there is none; zeros without an expression."""
    if sql is None:
        return np.zeros(count)
    expression = parse_expression(sql)
    if not expression.columns:
        raise ConfigError(f"a score or weight reads at least one column: {sql}")
    values = prepare(frame, expression.columns).select(expression.expr.alias("value"))["value"]
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        raise ConfigError(f"a score or weight is a number, this expression gives {values.dtype}: {sql}")
    return values.cast(pl.Float64).fill_null(math.nan).to_numpy()


@dataclass(frozen=True, slots=True)
class Scale:
    """How score and noise make the key that documents are taken by."""

    mean: float = 0.0
    spread: float = 1.0
    temperature: float = 1.0

    def ranks(self, score: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Unsigned integers, ascending from the best."""
        return ~order_keys(self.keys(score, noise))

    def keys(self, score: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """What documents are taken by: the greater the earlier."""
        return np.asarray((score - self.mean) / self.spread / self.temperature + noise)


def key_of(rank: int) -> float:
    """The key whose rank this is."""
    bits = ~rank & (2**64 - 1)
    bits = bits & ~(1 << 63) if bits >> 63 else ~bits & (2**64 - 1)
    return float(np.array(bits, dtype=np.uint64).view(np.float64))
