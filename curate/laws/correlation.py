"""Weights of domains from the losses and benchmark errors of models that exist: perplexity correlations.

Thrush et al. 2024, arXiv:2409.05816: y = f(<w, x> + noise), where x are a model's bits per byte on the
domains, y its error on a benchmark, f any rising function. Five estimators say which domains have the
largest w, without training anything; a projection then fills the best domains up to their caps. A high
estimate is a domain on which good models have low loss.

Ties: equal values share their mean rank; `ties="published"` numbers them in the order of the models, as the
published code does up to the order among equals, which it leaves to the sort.

Cost: `sign_sign` looks at all pairs of models, the others sort each column: a second for 90 models and 10,000
domains. Not here: the loss of a model (measure), choosing pages by a classifier (models).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from curate.errors import ConfigError, DataError
from curate.laws.parameters import Floats

Method = Literal["product", "sign", "sign_cdf", "sign_sign", "spearman"]
METHODS = ("product", "sign", "sign_cdf", "sign_sign", "spearman")
RankTies = Literal["average", "published"]
RANK_TIES = ("average", "published")

BLOCK = 256
"""Domains whose pairs of models are looked at together."""


def matched(
    bits_per_byte: Mapping[str, Sequence[float]], errors: Mapping[str, float]
) -> tuple[Floats, Floats, tuple[str, ...]]:
    """Bring both into the same order of models: losses [models, domains], errors [models], names.

    Raises:
        DataError: a model is in one of them only, or models have losses on different numbers of domains.
    """
    if only := sorted(set(bits_per_byte) ^ set(errors)):
        where = "errors" if only[0] in errors else "bits per byte"
        raise DataError(f"a model is only among the {where}: {only[0]!r}, and {len(only) - 1} more so")
    names = tuple(sorted(errors))
    rows = [np.asarray(bits_per_byte[name], dtype=np.float64) for name in names]
    for name, row in zip(names, rows, strict=True):
        if row.shape != rows[0].shape:
            raise DataError(f"{name!r} has losses on {row.size} domains, {names[0]!r} on {rows[0].size}")
    return np.array(rows), np.array([errors[name] for name in names], dtype=np.float64), names


def _checked(losses: npt.ArrayLike, errors: npt.ArrayLike) -> tuple[Floats, Floats]:
    table, column = np.asarray(losses, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if table.ndim != 2 or column.ndim != 1 or table.shape[0] != column.shape[0] or table.shape[1] == 0:
        raise DataError(
            f"bits per byte are [models, domains], errors [models]: {table.shape} and {column.shape}"
        )
    if len(column) < 3:
        raise DataError(f"a correlation over models needs at least 3: {len(column)}")
    bad = np.argwhere(~(np.isfinite(table) & (table >= 0)))
    if len(bad):
        row, domain = bad[0].tolist()
        raise DataError(
            f"bits per byte of model {row} on domain {domain} are finite, not below 0: {table[row, domain]}"
        )
    wrong = np.flatnonzero(~((column >= 0) & (column <= 1)))
    if len(wrong):
        raise DataError(
            f"error of model {wrong[0]} lies between 0 and 1: {column[wrong[0]]}",
            hint="an error is 1 - accuracy",
        )
    if (column == column[0]).all():
        raise DataError(f"all {len(column)} models have the same error: {column[0]}")
    return table, column


def _ranks(values: Floats, ties: RankTies) -> Floats:
    """Ranks from 1 down each column."""
    method = "average" if ties == "average" else "ordinal"
    return np.asarray(stats.rankdata(values, method=method, axis=0), dtype=np.float64)


def estimate(
    losses: npt.ArrayLike,
    errors: npt.ArrayLike,
    method: Method = "spearman",
    *,
    ties: RankTies = "average",
) -> Floats:
    """Estimate for each domain; for all methods but `product` and `sign` its order is what counts.

    Args:
        losses: Bits per byte, shape [models, domains].
        errors: Benchmark error of each model, in [0, 1].
        method: `product` mean of x y; `sign` mean over pairs of models of sign(dy) dx; `sign_cdf` of sign(dy)
            dF(x) with the empirical distribution F of each column; `sign_sign` of sign(dy) sign(dx);
            `spearman` rank correlation.
        ties: What equal values rank, for `sign_cdf` and `spearman`.

    Raises:
        DataError: shapes differ, there are fewer than three models, or a value is out of range.
        ConfigError: the method or the rule for ties is unknown.
    """
    if method not in METHODS or ties not in RANK_TIES:
        raise ConfigError(
            f"method is one of {', '.join(METHODS)}, ties of {', '.join(RANK_TIES)}: {method!r}, {ties!r}"
        )
    table, column = _checked(losses, errors)
    size = len(column)
    if method == "product":
        return np.asarray(column @ table / size)
    if method == "spearman":
        return _spearman(table, column, ties)
    orders = np.sign(column[:, None] - column[None, :])
    if method == "sign_sign":
        return _sign_sign(table, orders)
    values = table if method == "sign" else _ranks(table, ties) / size
    # Each pair gives sign(y_g - y_k) (x_g - x_k): what falls to one model is the sum of its signs.
    return np.asarray(2.0 * (orders.sum(axis=1) @ values) / (size * (size - 1)))


def _sign_sign(table: Floats, orders: Floats) -> Floats:
    size, domains = table.shape
    found = np.empty(domains)
    for first in range(0, domains, BLOCK):
        part = table[:, first : first + BLOCK]
        signs = np.sign(part[:, None, :] - part[None, :, :])
        found[first : first + BLOCK] = np.einsum("gk,gkd->d", orders, signs)
    return np.asarray(found / (size * (size - 1)))


def _spearman(table: Floats, column: Floats, ties: RankTies) -> Floats:
    """Correlation of ranks; 0 for a domain on which all models have the same loss."""
    ranks, wanted = _ranks(table, ties), _ranks(column[:, None], ties)
    size = len(column)
    if ties == "published":
        return np.asarray(1.0 - 6.0 * ((ranks - wanted) ** 2).sum(axis=0) / (size * (size**2 - 1)))
    ranks, wanted = ranks - ranks.mean(axis=0), wanted - wanted.mean()
    spread = np.sqrt((ranks * ranks).sum(axis=0) * (wanted * wanted).sum())
    return np.asarray((wanted * ranks).sum(axis=0) / np.where(spread > 0, spread, 1.0))


def single_index_weights(estimates: npt.ArrayLike, method: Method) -> Floats:
    """Undo the rising function of the weights that three estimators estimate, for Gaussian losses.

    For weights of norm 1, noise of standard deviation s and v = w / sqrt(1 + s^2): E sign_cdf = (2/pi)
    asin(v / 2), E sign_sign = (2/pi) asin(v), E spearman = (6/pi) asin(v / 2). What comes back is v: the
    factor is not known. `project_l2` needs this, `project_linear` does not.

    Raises:
        ConfigError: the method estimates no such function.
    """
    values = np.asarray(estimates, dtype=np.float64)
    if method == "sign_cdf":
        return np.asarray(2.0 * np.sin(np.pi / 2 * values))
    if method == "sign_sign":
        return np.asarray(np.sin(np.pi / 2 * values))
    if method == "spearman":
        return np.asarray(2.0 * np.sin(np.pi / 6 * values))
    raise ConfigError(f"single_index_weights is for sign_cdf, sign_sign, spearman: {method!r}")


def caps_of_shares(shares: npt.ArrayLike, filter_ratio: float) -> Floats:
    """Greatest weight of each domain so that none is repeated: its share of all tokens / the kept share.

    Raises:
        ConfigError: `filter_ratio` is not above 0 and at most 1.
        DataError: a share is negative or not finite, or they do not sum to 1.
    """
    if not 0 < filter_ratio <= 1:
        raise ConfigError(f"filter_ratio is above 0 and at most 1: {filter_ratio}")
    found = np.asarray(shares, dtype=np.float64)
    if found.ndim != 1 or not (np.isfinite(found) & (found >= 0)).all():
        raise DataError(f"shares are finite and not below 0: {found.tolist()!r:.80}")
    if abs(float(found.sum()) - 1.0) > 1e-6:
        raise DataError(f"shares of tokens sum to 1: {found.sum():.9g}", hint="divide by their sum")
    return found / filter_ratio


def _capped(estimates: npt.ArrayLike, caps: npt.ArrayLike) -> tuple[Floats, Floats]:
    values, tops = np.asarray(estimates, dtype=np.float64), np.asarray(caps, dtype=np.float64)
    if values.ndim != 1 or values.shape != tops.shape or len(values) == 0:
        raise DataError(f"there is one cap for each estimate: {tops.shape} and {values.shape}")
    for name, column, least in (("estimate", values, -np.inf), ("cap", tops, 0.0)):
        bad = np.flatnonzero(~(np.isfinite(column) & (column >= least)))
        if len(bad):
            at = bad[0]
            limit = " and not below 0" if least == 0 else ""
            raise DataError(f"{name} of domain {at} is finite{limit}: {column[at]}")
    total = float(tops.sum())
    if total < 1 - 1e-9:
        raise DataError(
            f"caps sum to at least 1: {total:.9g}", hint=f"allow {1 / max(total, 1e-300):.4g} times as much"
        )
    return values, tops


def project_linear(estimates: npt.ArrayLike, caps: npt.ArrayLike) -> Floats:
    """Weights of sum 1 with the greatest <weights, estimates>: each domain to its cap, the best first.

    Only the order of the estimates counts; the earlier of two equal ones is first.

    Raises:
        DataError: shapes differ, a value is not finite, a cap is negative, or caps sum to less than 1.
    """
    values, tops = _capped(estimates, caps)
    order = np.argsort(-values, kind="stable")
    filled = np.minimum(np.cumsum(tops[order]), 1.0)
    weights = np.zeros(len(values))
    weights[order] = np.diff(filled, prepend=0.0)
    return weights


def project_l2(estimates: npt.ArrayLike, caps: npt.ArrayLike, *, tolerance: float = 1e-12) -> Floats:
    """Weights of sum 1 nearest to the estimates: clip(estimate + c, 0, cap) with c by bisection.

    Raises:
        DataError: as in `project_linear`.
        ConfigError: `tolerance`, of c, is not above 0.
    """
    values, tops = _capped(estimates, caps)
    if not tolerance > 0:
        raise ConfigError(f"tolerance is above 0: {tolerance}")
    low, high = -float(values.max()), float((tops - values).max())
    while high - low > tolerance:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if np.clip(values + middle, 0.0, tops).sum() > 1:
            high = middle
        else:
            low = middle
    weights = np.clip(values + low, 0.0, tops)
    # What the tolerance leaves is spread over the weights that are at no bound.
    free = (weights > 0) & (weights < tops)
    if free.any():
        weights[free] += (1.0 - weights.sum()) / free.sum()
    return np.clip(weights, 0.0, tops)
