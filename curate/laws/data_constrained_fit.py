"""Fit the data-constrained law to runs: only the worth of repeats over a known law, or all parameters.

Published: Huber's loss (delta 1e-3) of ln L with the law of fresh tokens held at that of other runs.
Residuals are ln predicted - ln observed. Cost: 182 runs and two parameters take 0.6 s, all of them about 2 s.
Not here: the law (data_constrained.py).
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

import numpy as np

from curate.errors import ConfigError
from curate.laws.amounts import Floats
from curate.laws.chinchilla import Chinchilla, parameters
from curate.laws.data_constrained import (
    DECAYS,
    REPEAT_PARAMS,
    REPEAT_TOKENS,
    DataConstrained,
    Decay,
    faded,
)
from curate.laws.fitting import Data, Loss, Residuals, fit, positive
from curate.laws.law import Fitted
from curate.laws.parameters import Parameter

Law = TypeVar("Law", bound=DataConstrained)
Free = Literal["repeats", "fresh", "all"]
TOKEN_STARTS = tuple(2.0**power for power in range(10))
PARAM_STARTS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Huber's loss has many local optima along the valley of the two: each pair is followed."""


def fit_runs(  # over: what is fitted, and the settings of the fitter
    law: type[Law],
    columns: Mapping[str, Floats],
    *,
    free: Free = "all",
    base: Chinchilla | None = None,
    is_tied: bool = True,
    decay: Decay = "both",
    loss: Loss = "huber",
    delta: float = 1e-3,
    bootstrap: int = 0,
    seed: int = 42,
) -> Fitted[Law]:
    """Fit runs with the columns params, tokens, unique, loss.

    Args:
        law: The class of the law.
        columns: Of the runs.
        free: `repeats` holds the law of fresh tokens at `base`; `fresh` fits that and holds the worth of
            repeats at its published values, for runs that hardly repeat; `all` fits both.
        base: With `repeats`; None is the published tied one of C4.
        is_tied: With `all` and `fresh`, one exponent for parameters and tokens.
        decay: What fades; the other's parameter is held at its published value and has no effect.
        loss: Of the fitter.
        delta: Of the fitter.
        bootstrap: Refits for the intervals.
        seed: Of the bootstrap.

    Raises:
        DataError: a number is not above 0, or there are too few runs.
        ConfigError: a setting is wrong.
    """
    positive(columns, DataConstrained.columns)
    if free not in ("repeats", "fresh", "all"):
        raise ConfigError(f"free is repeats, fresh or all: {free!r}")
    if decay not in DECAYS:
        raise ConfigError(f"decay is one of {', '.join(DECAYS)}: {decay!r}")
    if free != "repeats" and base is not None:
        raise ConfigError(
            "base is the law that free=repeats holds", hint="leave out base, or say free=repeats"
        )
    if free == "repeats" and decay == "none":
        raise ConfigError("nothing is left to fit: free=repeats, decay=none")
    if free == "repeats":
        space = [*_held(base or Chinchilla.published()), *_repeats(decay, TOKEN_STARTS, PARAM_STARTS)]
    else:
        worth = _repeats(decay if free == "all" else "none", TOKEN_STARTS[1::3], PARAM_STARTS[1::3])
        space = [*parameters(is_tied=is_tied), *worth]
    found = fit(
        space, _residuals(decay), columns,
        loss=loss, delta=delta, bootstrap=bootstrap, seed=seed,
        max_starts=len(TOKEN_STARTS) * len(PARAM_STARTS) if free == "repeats" else 24,
    )  # fmt: skip
    return Fitted(law(**found.values, decay=decay), {"": found}, _notes(columns, decay))


def _held(base: Chinchilla) -> list[Parameter]:
    return [
        Parameter(name=name, low=-1e3, high=1e3, fixed=getattr(base, name))
        for name in ("ln_a", "ln_b", "ln_e", "alpha", "beta")
    ]


def _repeats(decay: Decay, tokens: tuple[float, ...], params: tuple[float, ...]) -> list[Parameter]:
    """Bounds and starts of the worth of repeats; what does not fade is held at its published value."""
    fades = {"repeat_tokens": decay in ("both", "data"), "repeat_params": decay in ("both", "parameters")}
    starts = {"repeat_tokens": tokens, "repeat_params": params}
    held = {"repeat_tokens": REPEAT_TOKENS, "repeat_params": REPEAT_PARAMS}
    return [
        Parameter(
            name=name,
            low=0.05,
            high=1000.0,
            starts=starts[name],
            log=True,
            fixed=None if fades[name] else held[name],
        )
        for name in starts
    ]


def _residuals(decay: Decay) -> Residuals:
    """Residuals of the law, without the checks of `predict`; the same as ln predict - ln loss."""

    def residuals(values: Mapping[str, float], data: Data) -> Floats:
        size, seen, unique = data["params"], data["tokens"], np.minimum(data["tokens"], data["unique"])
        alpha, beta = values["alpha"], values["beta"]
        if decay in ("both", "parameters"):
            log = (np.log(alpha) + values["ln_a"] - np.log(beta) - values["ln_b"]) / (alpha + beta)
            useful = np.exp(beta / alpha * (np.log(unique) + log) + log)
            size = faded(size, np.minimum(size, useful), values["repeat_params"])
        if decay in ("both", "data"):
            seen = faded(seen, unique, values["repeat_tokens"])
        predicted = (
            np.exp(values["ln_e"])
            + np.exp(values["ln_a"] - alpha * np.log(size))
            + np.exp(values["ln_b"] - beta * np.log(seen))
        )
        return np.asarray(np.log(predicted) - np.log(data["loss"]))

    return residuals


def _notes(columns: Mapping[str, Floats], decay: Decay) -> tuple[str, ...]:
    most = float((columns["tokens"] / columns["unique"]).max())
    if decay in ("both", "data") and most <= 1:
        return ("no run repeats a token: the worth of repeats is not known from these runs",)
    return (f"the runs repeat tokens up to {most:.3g} epochs; beyond that the law extrapolates",)
