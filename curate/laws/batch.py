"""Loss by model, steps and batch size, with the critical batch: L(N, S, B).

    L = (N_c / N)**alpha_N + (S_c / S_min)**alpha_S
    S_min = S / (1 + B_crit(L) / B),   B_crit(L) = B_star / L**(1 / alpha_B)
S_min is the steps that an endless batch would have taken. L stands on both sides; the right one falls as L
rises, so there is one solution. Steps and examples of equal loss lie on the hyperbola
(S / S_min - 1) (E / E_min - 1) = 1 with E = S B and B_crit = E_min / S_min. McCandlish et al. 2018
(arXiv:1812.06162), Kaplan et al. 2020 (arXiv:2001.08361), Su et al. 2024, "Unraveling the Mystery of Scaling
Laws" (arXiv:2403.06563). The constants depend on the set-up, so none are built in.

Cost: all points are solved at once by Newton's method, in about 10 rounds. Not here: fits (batch_fit.py).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import DataError
from curate.laws.amounts import Floats, amounts, within
from curate.laws.law import Fitted, Json, columns_of, known_settings

MAX_ROUNDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLaw(Json):
    """Parameters of the law; see the head of the module."""

    name: ClassVar[str] = "batch"
    columns: ClassVar[tuple[str, ...]] = ("params", "steps", "batch", "loss")

    ln_n_c: float
    """ln N_c."""
    alpha_n: float
    ln_s_c: float
    """ln S_c."""
    alpha_s: float
    ln_b_star: float
    """ln B_star, in the unit of batches (tokens, as a rule)."""
    alpha_b: float

    def __post_init__(self) -> None:
        for key in ("ln_n_c", "ln_s_c", "ln_b_star"):
            within(self.name, key, getattr(self, key), -700.0, 700.0)
        for key in ("alpha_n", "alpha_s", "alpha_b"):
            within(self.name, key, getattr(self, key), 0.0)

    def critical_batch(self, loss: npt.ArrayLike) -> Floats:
        """The batch at a loss that takes twice the least steps and twice the least examples."""
        return np.asarray(np.exp(self.ln_b_star - np.log(amounts(loss, "loss")) / self.alpha_b))

    def final_loss(self, params: npt.ArrayLike) -> Floats:
        """Loss of a model after endless training."""
        return np.asarray(np.exp(self.alpha_n * (self.ln_n_c - np.log(amounts(params, "params")))))

    def predict(self, params: npt.ArrayLike, steps: npt.ArrayLike, batch: npt.ArrayLike) -> Floats:
        """Loss of `params` parameters after `steps` steps of `batch`.

        Raises:
            DataError: a number is not above 0.
        """
        return solve(
            np.log(self.final_loss(params)),
            np.log(amounts(steps, "steps")),
            np.log(amounts(batch, "batch")),
            self.ln_s_c,
            self.alpha_s,
            self.ln_b_star,
            self.alpha_b,
        )

    def min_steps(self, params: npt.ArrayLike, loss: npt.ArrayLike) -> Floats:
        """Steps with an endless batch until a loss.

        Raises:
            DataError: a model never reaches the loss.
        """
        final, wanted = np.broadcast_arrays(self.final_loss(params), amounts(loss, "loss"))
        bad = wanted <= final
        if bad.any():
            raise DataError(
                f"a model's loss stays above {final[bad].flat[0]:.6g}: "
                f"{wanted[bad].flat[0]:.6g} is not reached",
                hint="ask for a larger loss, or a larger model",
            )
        return np.asarray(np.exp(self.ln_s_c - np.log(wanted - final) / self.alpha_s))

    def min_examples(self, params: npt.ArrayLike, loss: npt.ArrayLike) -> Floats:
        """Examples (in the unit of batches) with a very small batch until a loss."""
        return self.min_steps(params, loss) * self.critical_batch(loss)

    def steps(self, params: npt.ArrayLike, loss: npt.ArrayLike, batch: npt.ArrayLike) -> Floats:
        """Steps of `batch` until a loss: the inverse of `predict`."""
        return self.min_steps(params, loss) * (1 + self.critical_batch(loss) / amounts(batch, "batch"))

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Loss of each row of a table with the columns params, steps, batch."""
        columns = columns_of(frame, ["params", "steps", "batch"], at="points")
        return self.predict(columns["params"], columns["steps"], columns["batch"])

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit a table with the columns params, steps, batch, loss, all six parameters at once.

        `settings` are those of `batch_fit.fit_runs`: start, loss, delta, bootstrap, seed. The procedure in
        stages is `batch_fit.fit_stages`.
        """
        from curate.laws.batch_fit import fit_runs

        return fit_runs(cls, columns_of(frame, cls.columns), **known_settings(fit_runs, settings))


def solve(  # over: the parameters of the law
    ln_final: Floats,
    ln_steps: Floats,
    ln_batch: Floats,
    ln_s_c: float,
    alpha_s: float,
    ln_b_star: float,
    alpha_b: float,
) -> Floats:
    """Solve for L at all points, by Newton's method in ln L kept within brackets.

    The solution lies between the loss of an endless batch and what the right side is at that loss.
    """
    ln_final, ln_steps, ln_batch = np.broadcast_arrays(ln_final, ln_steps, ln_batch)
    ln_critical = ln_b_star - ln_batch

    def step_loss(at: Floats) -> tuple[Floats, Floats]:
        """The second term at ln L, and its derivative."""
        over = np.logaddexp(0.0, ln_critical - at / alpha_b)
        term = np.exp(np.minimum(alpha_s * (ln_s_c - ln_steps + over), 700.0))
        share = np.exp(ln_critical - at / alpha_b - over)
        return term, -term * alpha_s / alpha_b * share

    low = np.logaddexp(ln_final, np.minimum(alpha_s * (ln_s_c - ln_steps), 700.0))
    high = np.maximum(np.log(np.exp(ln_final) + step_loss(low)[0]), low)
    at = (low + high) / 2
    for _ in range(MAX_ROUNDS):
        term, slope = step_loss(at)
        whole = np.exp(ln_final) + term
        # In logarithms: at - ln(right side), whose slope lies between 1 and 1 + alpha_S / alpha_B.
        gap = at - np.log(whole)
        low, high = np.where(gap <= 0, at, low), np.where(gap >= 0, at, high)
        new = at - gap / (1 - slope / whole)
        new = np.where((new >= low) & (new <= high), new, (low + high) / 2)
        moved = float(np.abs(new - at).max(initial=0.0))
        at = new
        if moved < 1e-14 * max(1.0, float(np.abs(at).max(initial=0.0))):
            break
    return np.asarray(np.exp(at))
