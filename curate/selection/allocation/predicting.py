"""What a law predicts for tokens of each pool: an error (quality-quantity) or a loss (data-constrained).

Quality-quantity: pools of the same utility and half life are one pool to the law, as else a pool cut into ten
would be predicted to fade ten times slower (half lives of a mixture are divided by the shares); then
`QualityQuantity.predict_mixture` at the shares of the plan.

Data-constrained: D_eff is what all tokens are worth together, in tokens of the mean utility; the loss is
that of D_eff fresh tokens, with the parameters that so many different tokens can use. So for a large model a
plan of more different tokens may be predicted to be better than the one whose tokens are worth most.

Not here: the laws (curate.laws), plans (candidates.py).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from curate.errors import ConfigError
from curate.laws.data_constrained import DataConstrained
from curate.laws.quality_quantity import QualityQuantity
from curate.selection.allocation.utilities import Utilities
from curate.selection.mixer import Ints

Predict: TypeAlias = Callable[[Ints], float]
"""Tokens of each pool to what is predicted; lower is better."""

TOKENS_PER_PARAMETER = 20
"""Of a model whose size goes with its budget (Hoffmann et al. 2022, arXiv:2203.15556)."""


def error_of(law: QualityQuantity, utilities: Utilities, unique: Ints, *, sample_tokens: float) -> Predict:
    """Predict the error of the quality-quantity law.

    Args:
        law: What pools share: scale, unit, floor and form.
        utilities: Of the pools.
        unique: Unique tokens of the pools.
        sample_tokens: Tokens that are one sample to the law.
    """
    pairs = np.stack([utilities.strengths, utilities.half_lives], axis=1)
    kinds, of_pool = np.unique(pairs, axis=0, return_inverse=True)
    of_pool = of_pool.reshape(-1)
    names = tuple(f"kind {number}" for number in range(len(kinds)))
    shared = replace(
        law,
        pools=names,
        utilities=tuple((-kinds[:, 0]).tolist()),
        half_lives=tuple(kinds[:, 1].tolist()),
    )

    def predict(tokens: Ints) -> float:
        used = tokens > 0
        sizes = np.bincount(of_pool[used], weights=unique[used], minlength=len(names)) / sample_tokens
        drawn = np.bincount(of_pool[used], weights=tokens[used], minlength=len(names)) / sample_tokens
        total = float(drawn.sum())
        chosen = np.flatnonzero(drawn > 0).tolist()
        found = shared.predict_mixture(
            total,
            sizes={names[kind]: float(sizes[kind]) for kind in chosen},
            shares={names[kind]: float(drawn[kind] / total) for kind in chosen},
        )
        return float(found)

    return predict


def loss_of(law: DataConstrained, utilities: Utilities, unique: Ints, *, params: float | None) -> Predict:
    """Predict the loss of the data-constrained law.

    Args:
        law: The law.
        utilities: Of the pools.
        unique: Unique tokens of the pools.
        params: Parameters of the model; None is a twentieth of the tokens.
    """
    mean = float((utilities.strengths * unique).sum() / unique.sum(dtype=np.float64))

    def predict(tokens: Ints) -> float:
        total = float(tokens.sum(dtype=np.float64))
        size = total / TOKENS_PER_PARAMETER if params is None else params
        different = float(np.minimum(tokens, unique).sum(dtype=np.float64))
        useful = law.effective_params(size, total, different)
        worth = float(utilities.total(tokens, unique).sum()) / mean
        return float(law.fresh.predict(useful, worth))

    return predict


def predictor(
    utilities: Utilities, unique: Ints, *, params: float | None, sample_tokens: float
) -> tuple[Predict, str, str]:
    """Choose how the law of the utilities predicts: the function, what it predicts, and a description.

    Raises:
        ConfigError: The utilities have no law.
    """
    law = utilities.law
    if isinstance(law, QualityQuantity):
        predict = error_of(law, utilities, unique, sample_tokens=sample_tokens)
        return predict, "error", f"the quality-quantity law, {utilities.source}"
    if isinstance(law, DataConstrained):
        size = f"{TOKENS_PER_PARAMETER} tokens per parameter" if params is None else f"{params:g} parameters"
        predict = loss_of(law, utilities, unique, params=params)
        return predict, "loss", f"the data-constrained law, {utilities.source}, {size}"
    raise ConfigError(f"no law predicts quality for utilities of: {utilities.source}")
