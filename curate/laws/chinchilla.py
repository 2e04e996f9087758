"""Chinchilla's law: loss of N parameters after D fresh tokens.

    L = E + A / N**alpha + B / D**beta
Hoffmann et al. 2022, arXiv:2203.15556, section 3.3. ln A, ln B, ln E are the parameters, as they are fitted:
by Huber's loss (delta 1e-3) of differences of ln L from a grid of starts; `is_tied` fits one exponent.
The named sets are of C4 (Muennighoff et al. 2023, arXiv:2305.16264).

Cost: closed forms; a fit of 100 runs takes about a second. Not here: repeated tokens (data_constrained.py),
batch sizes (batch.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError
from curate.laws.amounts import Floats, amounts, within
from curate.laws.fitting import Data, Loss, fit, positive
from curate.laws.law import Fitted, Json, columns_of, known_settings
from curate.laws.parameters import Parameter

L = TypeVar("L", bound="Chinchilla")

FLOPS_PER_TOKEN = 6.0
"""Operations of training per parameter and token."""

PUBLISHED: dict[str, tuple[float, float, float, float, float]] = {
    "c4_tied": (6.255414, 7.3049974, 0.6254804, 0.3526596, 0.3526596),
    "c4_untied": (5.9577184, 7.9145365, 0.63032365, 0.33480313, 0.38289225),
    "c4_untied_60": (6.6229553, 7.5856404, 0.604038, 0.3724021, 0.36468068),
}
"""ln A, ln B, ln E, alpha, beta of 54 points on C4 with tied and free exponents, and of 60 points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chinchilla(Json):
    """Parameters of the law; see the head of the module."""

    name: ClassVar[str] = "chinchilla"
    columns: ClassVar[tuple[str, ...]] = ("params", "tokens", "loss")

    ln_a: float
    ln_b: float
    ln_e: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        self.check(self.name, self.ln_a, self.ln_b, self.ln_e, self.alpha, self.beta)

    @staticmethod
    def check(law: str, ln_a: float, ln_b: float, ln_e: float, alpha: float, beta: float) -> None:
        """Refuse parameters that are no law.

        Raises:
            ConfigError: names law, parameter and value.
        """
        for key, value in {"ln_a": ln_a, "ln_b": ln_b, "ln_e": ln_e}.items():
            within(law, key, value, -700.0, 700.0)
        within(law, "alpha", alpha, 0.0)
        within(law, "beta", beta, 0.0)

    @classmethod
    def published(cls, name: str = "c4_tied") -> Self:
        """Published parameters of C4.

        Raises:
            ConfigError: there is no such set.
        """
        if name not in PUBLISHED:
            raise ConfigError(f"there is no set {name}", hint=f"there are {', '.join(PUBLISHED)}")
        ln_a, ln_b, ln_e, alpha, beta = PUBLISHED[name]
        return cls(ln_a=ln_a, ln_b=ln_b, ln_e=ln_e, alpha=alpha, beta=beta)

    def predict(self, params: npt.ArrayLike, tokens: npt.ArrayLike) -> Floats:
        """Loss of `params` parameters after `tokens` tokens, all of them fresh.

        Raises:
            DataError: a number is not above 0.
        """
        size, seen = np.log(amounts(params, "params")), np.log(amounts(tokens, "tokens"))
        return np.asarray(
            np.exp(self.ln_e) + np.exp(self.ln_a - self.alpha * size) + np.exp(self.ln_b - self.beta * seen)
        )

    @property
    def balance(self) -> float:
        """(alpha A / (beta B))**(1 / (alpha + beta)), which the optimal split turns on."""
        log = np.log(self.alpha) + self.ln_a - np.log(self.beta) - self.ln_b
        return float(np.exp(log / (self.alpha + self.beta)))

    def optimal_params(self, tokens: npt.ArrayLike) -> Floats:
        """Parameters of the model for which so many tokens are optimal."""
        return np.asarray(
            (amounts(tokens, "tokens") * self.balance) ** (self.beta / self.alpha) * self.balance
        )

    def optimal_allocation(self, flops: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Parameters and tokens with the least loss for 6 N D = `flops`."""
        product = amounts(flops, "flops") / FLOPS_PER_TOKEN
        total = self.alpha + self.beta
        size = self.balance * product ** (self.beta / total)
        return np.asarray(size), np.asarray(product / size)

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Loss of each row of a table with the columns params, tokens."""
        columns = columns_of(frame, ["params", "tokens"], at="points")
        return self.predict(columns["params"], columns["tokens"])

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit a table with the columns params, tokens, loss.

        `settings` are those of `fit_runs`: is_tied, loss, delta, bootstrap, seed.
        """
        return fit_runs(cls, columns_of(frame, cls.columns), **known_settings(fit_runs, settings))


def fit_runs(  # over: settings of the fitter
    law: type[L],
    columns: Mapping[str, Floats],
    *,
    is_tied: bool = False,
    loss: Loss = "huber",
    delta: float = 1e-3,
    bootstrap: int = 0,
    seed: int = 42,
) -> Fitted[L]:
    """Fit runs with the columns params, tokens, loss; `is_tied` gives both exponents one value.

    Raises:
        DataError: a number is not above 0, or there are too few runs.
    """
    positive(columns, Chinchilla.columns)
    found = fit(
        parameters(is_tied=is_tied), _residuals, columns,
        loss=loss, delta=delta, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip
    return Fitted(law(**found.values), {"": found})


def parameters(*, is_tied: bool) -> list[Parameter]:
    """Bounds and starts of the five parameters, over the grid of Hoffmann et al., appendix D.3."""
    return [
        Parameter(name="ln_a", low=-10.0, high=40.0, starts=(0.0, 5.0, 10.0, 15.0, 20.0)),
        Parameter(name="ln_b", low=-10.0, high=40.0, starts=(0.0, 5.0, 10.0, 15.0, 20.0)),
        Parameter(name="ln_e", low=-5.0, high=5.0, starts=(-1.0, 0.0, 0.5, 1.0)),
        Parameter(name="alpha", low=0.01, high=2.5, starts=(0.2, 0.35, 0.5, 0.8)),
        Parameter(
            name="beta",
            low=0.01,
            high=2.5,
            starts=() if is_tied else (0.2, 0.35, 0.5, 0.8),
            tied="alpha" if is_tied else None,
        ),
    ]


def _residuals(values: Mapping[str, float], data: Data) -> Floats:
    predicted = (
        np.exp(values["ln_e"])
        + np.exp(values["ln_a"] - values["alpha"] * np.log(data["params"]))
        + np.exp(values["ln_b"] - values["beta"] * np.log(data["tokens"]))
    )
    return np.asarray(np.log(predicted) - np.log(data["loss"]))
