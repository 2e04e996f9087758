"""Task metrics and losses after fine-tuning as functions of the tokens of pretraining.

Isik et al. 2024, "Scaling Laws for Downstream Task Performance in Machine Translation", arXiv:2402.04177:
a metric such as BLEU or ROUGE follows f(D) = (ln(A D^alpha))^beta, the cross entropy E + A / D^alpha. The law
of the metric is written with D in a `unit` in the middle of the data: `log_factor` is ln A for tokens counted
in it. That of the loss is the power law with a floor (power.py). Huber deltas are the paper's: .1 for
metrics, 1e-3 for losses, of ln predicted - ln observed.

The metric's three parameters are hard to tell apart unless tokens span some factors of ten: see `Fit.doubts`.
`alignment` is the paper's diagnostic: where a metric turns down while the loss still falls, pretraining data
and task are not aligned, and the loss is no proxy for the metric.

Cost: a fit takes a tenth of a second. Not here: accuracy from loss (two_step.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.amounts import amounts
from curate.laws.fitting import Data, checked_data, fit, positive
from curate.laws.law import Fitted, Json, columns_of, known_settings
from curate.laws.parameters import Floats, Parameter
from curate.laws.power import PowerLaw, fit_curves

METRIC_DELTA = 0.1
LOSS_DELTA = 1e-3
BETAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Exponents of which each gives the best two other parameters by a straight line."""
MAX_BETA = 30.0


def middle(values: Floats) -> float:
    """Geometric mean, to three digits: a unit to count in."""
    return float(f"{math.exp(float(np.log(values).mean())):.3g}")


def _above(law: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{law}: {name} is a finite number above 0: {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamMetric(Json):
    """A metric that rises with tokens: (log_factor + alpha ln(tokens / unit))^beta."""

    name: ClassVar[str] = "downstream_metric"
    columns: ClassVar[tuple[str, ...]] = ("tokens", "metric")

    log_factor: float
    """ln A with tokens in units."""
    alpha: float
    beta: float
    unit: float = 1.0
    """Tokens."""

    def __post_init__(self) -> None:
        _above(self.name, {"alpha": self.alpha, "beta": self.beta, "unit": self.unit})
        if not math.isfinite(self.log_factor):
            raise ConfigError(f"{self.name}: log_factor is a finite number: {self.log_factor}")

    @property
    def least_tokens(self) -> float:
        """Tokens at which A D^alpha is 1: the metric has a value above them."""
        return self.unit * math.exp(-self.log_factor / self.alpha)

    def predict(self, tokens: npt.ArrayLike) -> Floats:
        """Metric after so many tokens.

        Raises:
            DataError: a number of tokens is not above `least_tokens`.
        """
        found = amounts(tokens, "tokens")
        inner = self.log_factor + self.alpha * np.log(found / self.unit)
        bad = np.flatnonzero(~(inner > 0))
        if len(bad):
            raise DataError(
                f"{self.name} has values above {self.least_tokens:.4g} tokens only: {found[bad[0]]:g}",
                hint="A D^alpha is above 1",
            )
        return np.asarray(inner**self.beta)

    @classmethod
    def fit(
        cls,
        tokens: npt.ArrayLike,
        metric: npt.ArrayLike,
        *,
        loss: npt.ArrayLike | None = None,
        delta: float = METRIC_DELTA,
        bootstrap: int = 0,
        seed: int = 42,
    ) -> Fitted[Self]:
        """Fit a curve of metric against tokens.

        Args:
            tokens: Of pretraining, of each run.
            metric: Of each run after fine-tuning, above 0.
            loss: Of each run; with it a note says whether it is a proxy for the metric.
            delta: Of Huber's function.
            bootstrap: Refits for the intervals.
            seed: Of the bootstrap.

        Raises:
            DataError: there are fewer than four runs, or a number is not above 0.
        """
        columns = checked_data({"tokens": tokens, "metric": metric})
        positive(columns, cls.columns)
        size, value = columns["tokens"], columns["metric"]
        if len(np.unique(size)) < 4:
            raise DataError(f"{cls.name} needs runs of 4 numbers of tokens: {len(np.unique(size))}")
        notes = _notes(alignment(size, value, loss))
        unit = middle(size)
        start = _straight(np.log(size / unit), value)

        def residuals(values: Mapping[str, float], data: Data) -> Floats:
            inner = values["log_factor"] + values["alpha"] * np.log(data["tokens"] / unit)
            inner = np.where(inner > 0, inner, np.nan)
            return np.asarray(values["beta"] * np.log(inner) - np.log(data["metric"]))

        parameters = [
            Parameter(name="log_factor", low=1e-3, high=1e6, starts=(start["log_factor"],), log=True),
            Parameter(name="alpha", low=1e-6, high=1e5, starts=(start["alpha"],), log=True),
            Parameter(name="beta", low=0.02, high=MAX_BETA, starts=(start["beta"],), log=True),
        ]
        found = fit(parameters, residuals, columns, delta=delta, bootstrap=bootstrap, seed=seed)
        return Fitted(cls(unit=unit, **found.values), {"": found}, notes)

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit columns `tokens`, `metric`, and `loss` where there is one."""
        names = [*cls.columns, *(["loss"] if "loss" in frame.columns else [])]
        columns = columns_of(frame, names)
        return cls.fit(
            columns["tokens"],
            columns["metric"],
            **{**known_settings(cls.fit, settings), "loss": columns.get("loss")},
        )

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Predict for the column `tokens`."""
        return self.predict(columns_of(frame, ["tokens"], at="points")["tokens"])


def _straight(logs: Floats, metric: Floats) -> dict[str, float]:
    """For each beta metric^(1/beta) is a straight line in ln D: the best of them."""
    best: tuple[float, dict[str, float]] | None = None
    design = np.stack([np.ones_like(logs), logs], axis=1)
    for beta in BETAS:
        (level, slope), *_ = np.linalg.lstsq(design, metric ** (1 / beta), rcond=None)
        level, slope = max(float(level), 1e-2), max(float(slope), 1e-4)
        inner = np.maximum(level + slope * logs, 1e-6)
        error = float(np.abs(beta * np.log(inner) - np.log(metric)).sum())
        if best is None or error < best[0]:
            best = error, {"log_factor": level, "alpha": slope, "beta": beta}
    assert best is not None
    return best[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamLoss(PowerLaw):
    """Cross entropy after fine-tuning, E + A / D^alpha: the power law with a floor, of tokens."""

    name: ClassVar[str] = "downstream_loss"
    columns: ClassVar[tuple[str, ...]] = ("tokens", "loss")

    @classmethod
    def fit(
        cls,
        tokens: npt.ArrayLike,
        loss: npt.ArrayLike,
        *,
        delta: float = LOSS_DELTA,
        bootstrap: int = 0,
        seed: int = 42,
    ) -> Fitted[Self]:
        """Fit one curve of loss against tokens; arguments and errors as of `DownstreamMetric.fit`."""
        columns = checked_data({"tokens": tokens, "loss": loss})
        positive(columns, cls.columns)
        points = {"x": columns["tokens"], "loss": columns["loss"]}
        return fit_curves(cls, points, delta=delta, bootstrap=bootstrap, seed=seed)

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit columns `tokens` and `loss`."""
        columns = columns_of(frame, cls.columns)
        return cls.fit(columns["tokens"], columns["loss"], **known_settings(cls.fit, settings))

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Predict for the column `tokens`."""
        return self.predict(columns_of(frame, ["tokens"], at="points")["tokens"])


Verdict = Literal["aligned", "misaligned", "loss_rises", "no_loss"]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Whether a metric goes up where the loss goes down."""

    verdict: Verdict
    """`misaligned`: the metric turns down while the loss falls on; `loss_rises`: the loss itself turns up;
    `no_loss`: none was given, and `metric_fall` speaks alone."""
    metric_fall: float
    """Greatest fall of the metric below its best at fewer tokens; 0 where it never falls."""
    from_tokens: float
    """Tokens of that best."""
    to_tokens: float
    """Tokens of the fall."""
    tolerance: float
    """Fall that noise explains."""
    loss_change: float
    """Change of the loss between these two; NaN without losses."""

    @property
    def is_monotone(self) -> bool:
        """Whether the metric falls nowhere by more than noise."""
        return not self.metric_fall > self.tolerance

    def as_text(self) -> str:
        """One sentence."""
        if self.is_monotone and self.verdict != "loss_rises":
            return "the metric rises with tokens"
        fall = (
            f"the metric falls by {self.metric_fall:.4g} from {self.from_tokens:.4g} "
            f"to {self.to_tokens:.4g} tokens"
        )
        if self.verdict == "misaligned":
            return (
                f"{fall} while the loss falls by {-self.loss_change:.4g}: pretraining data and task are not "
                "aligned, do not trust the loss as a proxy for the metric"
            )
        if self.verdict == "loss_rises":
            return "the loss does not fall with tokens: it is no proxy for anything here"
        return f"{fall}: the law rises, it does not describe this curve"

    def check_proxy(self) -> None:
        """Refuse to take the loss as a proxy for the metric.

        Raises:
            DataError: they are not aligned, or no loss was given.
        """
        if self.verdict == "no_loss":
            raise DataError("whether the loss is a proxy cannot be said without losses")
        if self.verdict != "aligned":
            raise DataError(self.as_text(), hint="fit the metric itself")


def alignment(
    tokens: npt.ArrayLike,
    metric: npt.ArrayLike,
    loss: npt.ArrayLike | None = None,
    *,
    tolerance: float | None = None,
) -> Alignment:
    """Look for a metric that turns down while the loss falls.

    Runs with equal tokens are averaged first.

    Args:
        tokens: Of each run; any measure of size does.
        metric: Higher is better.
        loss: Of the same runs.
        tolerance: Fall of the metric that is noise. None takes the range of noise over so many sizes,
            2 s sqrt(2 ln n): s from runs with equal tokens, or, where there are none, from third differences
            along the curve (at least six sizes; 0 below that).

    Raises:
        DataError: there are fewer than three sizes, or a value is not finite.
        ConfigError: `tolerance` is negative.
    """
    given = {"tokens": tokens, "metric": metric, **({} if loss is None else {"loss": loss})}
    columns = checked_data(given)
    sizes, owner, counts = np.unique(columns["tokens"], return_inverse=True, return_counts=True)
    if len(sizes) < 3:
        raise DataError(f"a turn shows in at least 3 sizes: {len(sizes)}")
    if tolerance is not None and not tolerance >= 0:
        raise ConfigError(f"tolerance is not below 0: {tolerance}")
    values, noise = _means(columns["metric"], owner, counts)
    noise = noise if tolerance is None else tolerance
    best = np.maximum.accumulate(values)
    last = int(np.argmax(best - values))
    first = int(np.argmax(values[: last + 1]))
    fall = float(best[last] - values[last])
    change = math.nan
    verdict: Verdict = "no_loss"
    if loss is not None:
        losses, _ = _means(columns["loss"], owner, counts)
        change = float(losses[last] - losses[first])
        verdict = "aligned"
        if not losses[-1] < losses[0]:
            verdict = "loss_rises"
        elif fall > noise:
            verdict = "misaligned" if change < 0 else "loss_rises"
    return Alignment(verdict, fall, float(sizes[first]), float(sizes[last]), noise, change)


def _means(
    values: Floats, owner: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> tuple[Floats, float]:
    """Mean of each size, and the greatest fall between two of them that noise alone makes likely."""
    means = np.bincount(owner, weights=values) / counts
    degrees = len(values) - len(counts)
    if degrees > 0:
        variance = float(((values - means[owner]) ** 2).sum() / degrees / np.median(counts))
    elif len(means) >= 6:
        # Third differences of a smooth curve are small; those of noise have 20 times its variance.
        variance = (float(np.median(np.abs(np.diff(means, 3)))) / 0.6745) ** 2 / 20
    else:
        variance = 0.0
    # Of n normal deviates the extremes lie about sqrt(2 ln n) on both sides.
    return means, 2.0 * math.sqrt(2.0 * math.log(len(means)) * variance)


def _notes(found: Alignment) -> tuple[str, ...]:
    return () if found.is_monotone and found.verdict != "loss_rises" else (found.as_text(),)


def translation_alignment(source_share: float, target_share: float) -> float:
    """Score how pretraining data fit translation: s t + .7 s + .8 t, from the languages' shares s and t.

    Raises:
        ConfigError: a share is not between 0 and 1, or both together are above 1.
    """
    if not (0 <= source_share <= 1 and 0 <= target_share <= 1 and source_share + target_share <= 1 + 1e-9):
        raise ConfigError(f"shares lie between 0 and 1, as does their sum: {source_share}, {target_share}")
    return source_share * target_share + 0.7 * source_share + 0.8 * target_share
