"""The data-constrained law: what repeated tokens and surplus parameters are still worth.

Loss of N parameters after D tokens, U of them different (Muennighoff et al. 2023, "Scaling Data-Constrained
Language Models", arXiv:2305.16264):
    L = E + A / N'**alpha + B / D'**beta
    D' = U_D (1 + r_D (1 - exp(-R_D / r_D))),  U_D = min(D, U),            R_D = D / U_D - 1
    N' = U_N (1 + r_N (1 - exp(-R_N / r_N))),  U_N = min(N, N_opt(U_D)),   R_N = N / U_N - 1
N_opt(U_D) is the model for which so many fresh tokens are optimal. r_D and r_N are the repeats after which
the next one is worth 1/e: `repeat_tokens` and `repeat_params`. ln A, ln B, ln E are the other parameters.

The published r_D and r_N are ill-identified by their own 182 runs: a fit reports it (`Fitted.doubts`).
Cost: closed forms; an allocation takes 2,001 predictions and a line search. Not here: fits
(data_constrained_fit.py).
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import optimize  # type: ignore[import-untyped]

from curate.errors import ConfigError
from curate.laws.amounts import Floats, amount, amounts, within
from curate.laws.chinchilla import FLOPS_PER_TOKEN, Chinchilla
from curate.laws.law import Fitted, Json, columns_of, known_settings

Decay = Literal["both", "data", "parameters", "none"]
DECAYS = ("both", "data", "parameters", "none")
REPEAT_TOKENS, REPEAT_PARAMS = 15.387756, 5.309743
"""Published r_D and r_N, of C4 and models up to 9 billion parameters."""


def faded(amount_of: Floats, unique: Floats, repeats: float) -> Floats:
    """What `amount_of` is worth in fresh ones if only `unique` of it are: U (1 + r (1 - exp(-R / r)))."""
    return unique * (1 - repeats * np.expm1(-np.maximum(amount_of / unique - 1, 0.0) / repeats))


@dataclass(frozen=True, slots=True)
class Allocation:
    """How a compute budget is best spent."""

    params: float
    tokens: float
    epochs: float
    loss: float
    """Predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConstrained(Json):
    """Parameters of the law; see the head of the module."""

    name: ClassVar[str] = "data_constrained"
    columns: ClassVar[tuple[str, ...]] = ("params", "tokens", "unique", "loss")

    ln_a: float
    ln_b: float
    ln_e: float
    alpha: float
    beta: float
    repeat_tokens: float = REPEAT_TOKENS
    repeat_params: float = REPEAT_PARAMS
    decay: Decay = "both"
    """What fades: repeated tokens, surplus parameters, both, or neither (Chinchilla's law)."""

    def __post_init__(self) -> None:
        Chinchilla.check(self.name, self.ln_a, self.ln_b, self.ln_e, self.alpha, self.beta)
        within(self.name, "repeat_tokens", self.repeat_tokens, 0.0)
        within(self.name, "repeat_params", self.repeat_params, 0.0)
        if self.decay not in DECAYS:
            raise ConfigError(f"{self.name}.decay is one of {', '.join(DECAYS)}: {self.decay!r}")

    @classmethod
    def published(cls) -> Self:
        """The published law of C4, alpha and beta tied."""
        return cls.over(Chinchilla.published("c4_tied"))

    @classmethod
    def over(
        cls,
        fresh: Chinchilla,
        *,
        repeat_tokens: float = REPEAT_TOKENS,
        repeat_params: float = REPEAT_PARAMS,
        decay: Decay = "both",
    ) -> Self:
        """The law that is `fresh` where nothing is repeated."""
        return cls(
            ln_a=fresh.ln_a,
            ln_b=fresh.ln_b,
            ln_e=fresh.ln_e,
            alpha=fresh.alpha,
            beta=fresh.beta,
            repeat_tokens=repeat_tokens,
            repeat_params=repeat_params,
            decay=decay,
        )

    @property
    def fresh(self) -> Chinchilla:
        """The law of tokens that are not repeated."""
        return Chinchilla(ln_a=self.ln_a, ln_b=self.ln_b, ln_e=self.ln_e, alpha=self.alpha, beta=self.beta)

    def effective_tokens(self, tokens: npt.ArrayLike, unique: npt.ArrayLike) -> Floats:
        """Tokens as fresh ones, D'."""
        seen, fresh = amounts(tokens, "tokens"), amounts(unique, "unique")
        if self.decay in ("parameters", "none"):
            return np.broadcast_arrays(seen, fresh)[0].copy()
        return faded(seen, np.minimum(seen, fresh), self.repeat_tokens)

    def effective_params(self, params: npt.ArrayLike, tokens: npt.ArrayLike, unique: npt.ArrayLike) -> Floats:
        """Parameters as those that so few tokens can use, N'."""
        size, seen, fresh = amounts(params, "params"), amounts(tokens, "tokens"), amounts(unique, "unique")
        if self.decay in ("data", "none"):
            return np.broadcast_arrays(size, seen, fresh)[0].copy()
        useful = np.minimum(size, self.fresh.optimal_params(np.minimum(seen, fresh)))
        return faded(size, useful, self.repeat_params)

    def predict(self, params: npt.ArrayLike, tokens: npt.ArrayLike, unique: npt.ArrayLike) -> Floats:
        """Loss of `params` parameters after `tokens` tokens, `unique` of them different.

        Raises:
            DataError: a number is not above 0.
        """
        return self.fresh.predict(
            self.effective_params(params, tokens, unique), self.effective_tokens(tokens, unique)
        )

    def value_of_repeats(self, epochs: npt.ArrayLike) -> Floats:
        """What the repeated tokens of so many epochs are worth on average, as a share of fresh ones.

        1 up to one epoch, where nothing is repeated.
        """
        repeats = amounts(epochs, "epochs") - 1
        worth = self.effective_tokens(np.maximum(repeats + 1, 1.0), 1.0) - 1
        return np.divide(worth, repeats, out=np.ones_like(repeats), where=repeats > 0)

    def optimal_allocation(
        self, flops: float, unique: float, *, method: Literal["exact", "published_grid"] = "exact"
    ) -> Allocation:
        """Split 6 N D = `flops` between parameters and tokens, `unique` of which there are.

        Args:
            flops: Of the training.
            unique: Different tokens.
            method: `published_grid` takes the best of 500 numbers of tokens, from 1.0001 to 3 times that
                which is optimal with fresh tokens, as the published notebook does.

        Raises:
            DataError: a number is not above 0.
            ConfigError: the method is unknown.
        """
        compute, fresh = amount(flops, "flops"), amount(unique, "unique")
        middle = self.fresh.optimal_allocation(compute)[1]
        if method == "published_grid":
            tokens = middle * np.linspace(1.0001, 3.0, 500)
        elif method == "exact":
            tokens = middle * np.geomspace(1e-4, 1e4, 2001)
        else:
            raise ConfigError(f"method is exact or published_grid: {method!r}")
        losses = self.predict(compute / FLOPS_PER_TOKEN / tokens, tokens, fresh)
        at = int(losses.argmin())
        best = float(tokens[at])
        if method == "exact":
            best = self._search(compute, fresh, tokens[max(at - 1, 0)], tokens[min(at + 1, len(tokens) - 1)])
        size = compute / FLOPS_PER_TOKEN / best
        return Allocation(size, best, best / fresh, float(self.predict(size, best, fresh)))

    def _search(self, compute: float, unique: float, low: float, high: float) -> float:
        """The best number of tokens between two."""
        found = optimize.minimize_scalar(
            lambda at: float(self.predict(compute / FLOPS_PER_TOKEN / math.exp(at), math.exp(at), unique)),
            bounds=(math.log(low), math.log(high)),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return math.exp(float(found.x))

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Loss of each row of a table with the columns params, tokens, unique."""
        columns = columns_of(frame, ["params", "tokens", "unique"], at="points")
        return self.predict(columns["params"], columns["tokens"], columns["unique"])

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit a table with the columns params, tokens, unique, loss.

        `settings` are those of `data_constrained_fit.fit_runs`: free, base, is_tied, decay, loss, delta,
        bootstrap, seed.
        """
        from curate.laws.data_constrained_fit import fit_runs

        return fit_runs(cls, columns_of(frame, cls.columns), **known_settings(fit_runs, settings))
