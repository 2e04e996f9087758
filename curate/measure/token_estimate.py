"""Tokens estimated from bytes by class of script, with factors fitted on a counted sample.

A document's tokens are about the sum of factor x bytes over the classes. Factors are fitted per source and
language by least squares, weighted by 1 / bytes so that the estimate of a total is unbiased, and not
negative. Every pool also sees some of its parent (source + language, then source, then all, then the
built-in constants), as if `PRIOR_BYTES` of the parent's text were its own: small pools lean on larger ones.

The sums behind a fit are whole numbers, so they add up in any order and any sharding; the fit is plain
IEEE arithmetic in a fixed order and its factors are rounded to 2^-20 tokens a byte, so an estimate is a
function of the sample alone. Cost: about 1 ms per pool, and a pass over the sample's columns.

The built-in factors (no tokenizer given) are means over byte-level vocabularies of 50 to 200 thousand
tokens: uncalibrated; on mixed English, code and mail
they were 29 % too low. Not here: counting, and the end-of-document token.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import DataError
from curate.measure.tokens import BYTES, COUNT
from curate.schema import Settings

ESTIMATE = "tokens.estimate"
"""Column that `apply_factors` adds: the exact count where there is one, else the estimate."""

NUM = len(BYTES)
SHIFT = 20
PRIOR_BYTES = 1 << 13
"""Bytes of the parent's text that every pool is taken to have seen."""

BUILT_IN = (0.21, 0.30, 0.55, 0.10, 0.10, 0.45, 0.60, 0.36, 0.32, 0.36, 0.30, 0.36, 0.33, 0.36)
"""Tokens per byte of each class, uncalibrated."""

Key = tuple[str | None, str | None]
"""Source and language of a pool; None is all of them."""

Matrix = list[list[float]]


class PoolFactors(Settings):
    """Factors of one pool and what they were fitted on."""

    source: str | None = None
    """Source of the pool; None covers all."""
    language: str | None = None
    """Language of the pool; None covers all."""
    factors: tuple[int, ...]
    """Tokens per byte of each class, in units of 2^-20."""
    num_docs: int = 0
    """Documents of the sample."""
    num_bytes: int = 0
    """Their bytes."""
    num_tokens: int = 0
    """Their tokens, counted."""
    variance: float = 0.0
    """Squared error of a document's estimate per byte of it."""

    def error(self, num_bytes: int) -> float:
        """Expected error in tokens (one standard deviation) of the total of `num_bytes` beyond the sample.

        Infinite where fewer than two documents were counted.
        """
        if num_bytes <= 0:
            return 0.0
        if self.num_docs < 2 or self.num_bytes == 0:
            return math.inf
        return math.sqrt(self.variance * num_bytes * (1.0 + num_bytes / self.num_bytes))


class Factors(Settings):
    """Fitted factors of every pool: the first that fits a document is used, the last fits all."""

    pools: tuple[PoolFactors, ...]
    """Pools by (source, language): exact pairs first, then sources, then one for all."""
    calibrated: bool = False
    """Whether any document was counted; False means built-in constants."""

    def pool(self, source: str | None, language: str | None) -> PoolFactors:
        """The factors for a document of this source and language."""
        found = {(pool.source, pool.language): pool for pool in self.pools}
        return found.get((source, language)) or found.get((source, None)) or found[None, None]


@dataclass
class Sums:
    """Whole-number sums over counted documents; adding up is exact and in any order."""

    products: list[list[int]] = field(default_factory=lambda: [[0] * (NUM + 1) for _ in range(NUM + 1)])
    """Sum of share_i * value_j, for the classes and then tokens: share = value / bytes in units of 2^-20."""
    num_docs: int = 0
    num_bytes: int = 0
    num_tokens: int = 0

    def add(self, other: "Sums") -> None:
        """Add the sums of other documents."""
        for mine, theirs in zip(self.products, other.products, strict=True):
            mine[:] = [left + right for left, right in zip(mine, theirs, strict=True)]
        self.num_docs += other.num_docs
        self.num_bytes += other.num_bytes
        self.num_tokens += other.num_tokens


class Sample:
    """The counted documents of any number of frames, as sums per source and language."""

    def __init__(self) -> None:
        self.sums: dict[Key, Sums] = {}

    def add(self, frame: pl.DataFrame, *, source: str | None = "source", language: str | None = None) -> None:
        """Add the rows that have a count; `source` and `language` name the columns, None for none."""
        keys = _keys(source, language)
        missing = [name for name in (*keys, COUNT, *BYTES) if name not in frame.columns]
        if missing:
            raise DataError(f"columns are missing for the token estimate: {', '.join(missing)}")
        counted = frame.select(*keys, COUNT, *BYTES).drop_nulls([COUNT, *BYTES])
        parts = counted.partition_by(keys, as_dict=True) if keys else {(): counted}
        for values, part in parts.items():
            key = _pair(dict(zip(keys, values, strict=True)), source, language)
            self.sums.setdefault(key, Sums()).add(_sums(part))

    def merge(self, other: "Sample") -> None:
        """Add the sums of another sample."""
        for key, sums in other.sums.items():
            self.sums.setdefault(key, Sums()).add(sums)


def fit_factors(
    frames: pl.DataFrame | Iterable[pl.DataFrame],
    *,
    source: str | None = "source",
    language: str | None = None,
) -> Factors:
    """Fit factors on the counted rows of `frames`; without any, they are the built-in ones."""
    sample = Sample()
    for frame in [frames] if isinstance(frames, pl.DataFrame) else frames:
        sample.add(frame, source=source, language=language)
    return fit(sample)


def fit(sample: Sample) -> Factors:
    """Fit factors on the sums of a sample."""
    totals: dict[Key, Sums] = {}
    for (source, language), sums in sample.sums.items():
        for key in {(source, language), (source, None), (None, None)}:
            totals.setdefault(key, Sums()).add(sums)
    totals.setdefault((None, None), Sums())
    prior = _built_in_prior()
    fitted: dict[Key, tuple[PoolFactors, list[list[float]]]] = {}
    order = sorted(
        totals, key=lambda key: (sum(part is not None for part in key), key[0] or "", key[1] or "")
    )
    for key in order:
        parents = [(key[0], None), (None, None)]
        parent = next((fitted[up][1] for up in parents if up in fitted and up != key), prior)
        fitted[key] = _fit_pool(key, totals[key], parent)
    pools = tuple(fitted[key][0] for key in reversed(order))
    return Factors(pools=pools, calibrated=totals[None, None].num_docs > 0)


def apply_factors(
    frame: pl.DataFrame, factors: Factors, *, source: str | None = "source", language: str | None = None
) -> pl.DataFrame:
    """Add `tokens.estimate` (uint32): the count where there is one, else the estimate, null for bad rows."""
    keys = _keys(source, language)
    if not keys:
        alone = factors.pool(None, None).factors
        return frame.with_columns(_estimate([pl.lit(factor, pl.Int64) for factor in alone]))
    pairs = frame.select(keys).unique()
    pools = [factors.pool(*_pair(row, source, language)) for row in pairs.iter_rows(named=True)]
    names = [f"factor of {name}" for name in BYTES]
    columns = [
        pl.Series(name, [pool.factors[at] for pool in pools], pl.Int64) for at, name in enumerate(names)
    ]
    joined = frame.join(
        pairs.with_columns(columns), on=keys, how="left", nulls_equal=True, maintain_order="left"
    )
    return joined.with_columns(_estimate([pl.col(name) for name in names])).drop(names)


def expected_errors(
    frame: pl.DataFrame, factors: Factors, *, source: str | None = "source", language: str | None = None
) -> pl.DataFrame:
    """Say per pool how many tokens it has and how far the total is expected to be off.

    Columns: `source`, `language`, `num_docs`, `num_tokens`, and `error_frac`, one standard deviation as a
    share of the total, 0 where every document is counted; sorted by source and language.
    """
    keys = _keys(source, language)
    size = pl.sum_horizontal(pl.col(name).cast(pl.Int64) for name in BYTES)
    estimated = apply_factors(frame, factors, source=source, language=language).drop_nulls(BYTES)
    sums = [
        pl.len().alias("num_docs"),
        pl.col(ESTIMATE).cast(pl.Int64).sum().alias("num_tokens"),
        size.filter(pl.col(COUNT).is_null()).sum().alias("left"),
    ]
    rows = []
    for row in (estimated.group_by(keys).agg(sums) if keys else estimated.select(sums)).iter_rows(named=True):
        pair = _pair(row, source, language)
        expected = factors.pool(*pair).error(row["left"]) / max(row["num_tokens"], 1)
        rows.append((*pair, row["num_docs"], row["num_tokens"], expected))
    rows.sort(key=lambda row: (row[0] or "", row[1] or ""))
    types = {"source": pl.String, "language": pl.String, "num_docs": pl.Int64, "num_tokens": pl.Int64}
    return pl.DataFrame(rows, {**types, "error_frac": pl.Float64}, orient="row")


def _keys(source: str | None, language: str | None) -> list[str]:
    return [name for name in (source, language) if name is not None]


def _pair(row: Mapping[str, object], source: str | None, language: str | None) -> Key:
    found = [row[name] if name is not None else None for name in (source, language)]
    return _text(found[0]), _text(found[1])


def _estimate(factors: Sequence[pl.Expr]) -> pl.Expr:
    total = pl.lit(1 << (SHIFT - 1), pl.Int64)
    num_bytes = pl.lit(0, pl.Int64)
    for name, factor in zip(BYTES, factors, strict=True):
        num_bytes = num_bytes + pl.col(name).cast(pl.Int64)
        total = total + pl.col(name).cast(pl.Int64) * factor
    # A text that is not empty has a token at least.
    whole = total // (1 << SHIFT)
    least = (num_bytes > 0).cast(pl.Int64)
    tokens = pl.when(whole > least).then(whole).otherwise(least)
    return (
        pl.coalesce(pl.col(COUNT), pl.when(num_bytes.is_not_null()).then(tokens))
        .cast(pl.UInt32)
        .alias(ESTIMATE)
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _sums(counted: pl.DataFrame) -> Sums:
    """Sum up one pool's rows; 64-bit sums of at most 2^13 rows at a time cannot overflow."""
    out = Sums()
    for part in counted.iter_slices(1 << 13):
        values = part.select(*BYTES, COUNT).cast(pl.Int64).to_numpy().astype(np.int64)
        size = values[:, :NUM].sum(axis=1)
        values, size = values[size > 0], size[size > 0]
        shares = ((values << SHIFT) + size[:, None] // 2) // size[:, None]
        products = _exact_product(shares, values)
        out.add(Sums(products, len(values), int(size.sum()), int(values[:, NUM].sum())))
    return out


def _exact_product(shares: npt.NDArray[np.int64], values: npt.NDArray[np.int64]) -> list[list[int]]:
    """`shares.T @ values` in whole numbers: values have 32 bits, so their halves cannot overflow."""
    high = shares.T @ (values >> 16)
    low = shares.T @ (values & 0xFFFF)
    return [
        [(int(high[row, column]) << 16) + int(low[row, column]) for column in range(NUM + 1)]
        for row in range(NUM + 1)
    ]


def _built_in_prior() -> Matrix:
    """What `PRIOR_BYTES` of an imaginary text say: each class alone, with its built-in factor."""
    weight = PRIOR_BYTES / NUM / 4
    out = [[0.0] * (NUM + 1) for _ in range(NUM)]
    for row in range(NUM):
        out[row][row] = weight
        out[row][NUM] = weight * BUILT_IN[row]
    return out


def _fit_pool(key: Key, sums: Sums, prior: Matrix) -> tuple[PoolFactors, Matrix]:
    """Fit one pool; also what `PRIOR_BYTES` of it say, as a prior for its children."""
    unit = 1.0 / (1 << SHIFT)
    own = [[0.5 * (sums.products[i][j] + sums.products[j][i]) * unit for j in range(NUM)] for i in range(NUM)]
    target = [0.5 * (sums.products[i][NUM] + sums.products[NUM][i]) * unit for i in range(NUM)]
    matrix = [[own[i][j] + prior[i][j] for j in range(NUM)] for i in range(NUM)]
    joint = [target[i] + prior[i][NUM] for i in range(NUM)]
    exact = _solve_non_negative(matrix, joint)
    scale = PRIOR_BYTES / (sums.num_bytes + PRIOR_BYTES)
    rows = [[*(cell * scale for cell in matrix[i]), joint[i] * scale] for i in range(NUM)]
    square = sums.products[NUM][NUM] * unit
    for i in range(NUM):
        square += exact[i] * (math.fsum(own[i][j] * exact[j] for j in range(NUM)) - 2.0 * target[i])
    used = sum(factor > 0.0 for factor in exact)
    fitted = PoolFactors(
        source=key[0],
        language=key[1],
        factors=tuple(round(factor * (1 << SHIFT)) for factor in exact),
        num_docs=sums.num_docs,
        num_bytes=sums.num_bytes,
        num_tokens=sums.num_tokens,
        variance=max(square, 0.0) / max(sums.num_docs - used, 1),
    )
    return fitted, rows


def _solve_non_negative(matrix: Matrix, target: Sequence[float]) -> list[float]:
    """Minimise x'Mx/2 - t'x over x >= 0 by active sets (Lawson and Hanson 1974)."""
    out = [0.0] * NUM
    free: list[int] = []
    for _ in range(8 * NUM):
        gradient = [target[i] - math.fsum(matrix[i][j] * out[j] for j in range(NUM)) for i in range(NUM)]
        worst = max((i for i in range(NUM) if i not in free), key=lambda i: (gradient[i], -i), default=None)
        if worst is None or gradient[worst] <= 1e-9 * (abs(target[worst]) + 1.0):
            break
        free = sorted([*free, worst])
        while True:
            solved = _solve([[matrix[i][j] for j in free] for i in free], [target[i] for i in free])
            negative = [at for at, value in enumerate(solved) if value <= 0.0]
            if not negative:
                break
            step = min(out[free[at]] / max(out[free[at]] - solved[at], 1e-300) for at in negative)
            for at, index in enumerate(free):
                out[index] += step * (solved[at] - out[index])
            dropped = {free[at] for at in negative if out[free[at]] <= 1e-12}
            free = [index for index in free if index not in dropped]
            out = [value if index in free else 0.0 for index, value in enumerate(out)]
        out = [0.0] * NUM
        for at, index in enumerate(free):
            out[index] = solved[at]
    return out


def _solve(matrix: Matrix, target: list[float]) -> list[float]:
    """Gaussian elimination with pivots on the diagonal: the matrix is symmetric and positive definite."""
    size = len(target)
    rows = [[*matrix[i], target[i]] for i in range(size)]
    for pivot in range(size):
        for row in range(pivot + 1, size):
            ratio = rows[row][pivot] / rows[pivot][pivot]
            for column in range(pivot, size + 1):
                rows[row][column] -= ratio * rows[pivot][column]
    out = [0.0] * size
    for row in reversed(range(size)):
        known = math.fsum(rows[row][column] * out[column] for column in range(row + 1, size))
        out[row] = (rows[row][size] - known) / rows[row][row]
    return out
