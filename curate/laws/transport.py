"""Performance of any mixture of sources from partial samples of them: optimal transport, then a line in ln N.

projektor (Kang et al. 2023, arXiv:2307.02460). Stage 1, at a small scale of N points: with shares p and the
cost T of moving the mixture onto the validation set (wasserstein.py),
    L(p, T) = sum_i (b2_i p_i^2 + b1_i p_i + b0_i) T + sum_i (c2_i p_i^2 + c1_i p_i + c0_i),
by least squares. Stage 2: two such fits at N0 < N1 give the straight line in ln N through both, without any
further parameter. Performance may be an accuracy or a loss; nothing here takes it for either.

Shares sum to 1, so not all terms are independent. `reduced` (the default) leaves out the last source; `full`
has the squares of all sources where there are three or more; `published` is what the paper's notebook fits:
`reduced` without squares outside of the product with T.

Cost: milliseconds, once T is known for each mixture. Not here: T of a mixture, choosing sources by
gradient (source_selection.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.amounts import amount, within
from curate.laws.fitting import Data, checked_data, fit
from curate.laws.law import Fitted, Json, columns_of, known_settings
from curate.laws.parameters import Floats, Parameter
from curate.laws.transport_terms import (
    FORMS,
    SHARE,
    Form,
    Term,
    checked_distances,
    checked_shares,
    source_names,
    terms,
)


@dataclass(frozen=True, slots=True)
class Slopes:
    """Performance at one mixture, and how it changes with the shares and with the transport cost."""

    value: float
    by_share: Floats
    """Cost held; one for each source, 0 for one that the form leaves out."""
    by_distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLaw(Json):
    """Stage 1: performance at one scale from shares and transport cost."""

    name: ClassVar[str] = "transport"
    columns: ClassVar[tuple[str, ...]] = ("distance", "performance")

    sources: tuple[str, ...]
    coefficients: tuple[float, ...]
    """In the order of `terms`."""
    form: Form = "reduced"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(f"{self.name}.form is one of {', '.join(FORMS)}: {self.form!r}")
        if len(self.sources) < 2 or len(set(self.sources)) < len(self.sources):
            raise ConfigError(f"{self.name}.sources are two or more different names: {self.sources!r:.80}")
        count = len(self.terms)
        if len(self.coefficients) != count:
            raise ConfigError(f"{self.name} has {count} coefficients: {len(self.coefficients)}")
        for term, value in zip(self.terms, self.coefficients, strict=True):
            if not math.isfinite(value):
                raise ConfigError(f"{self.name}: the coefficient of {term.named(self.sources)} is {value}")

    @property
    def terms(self) -> tuple[Term, ...]:
        """What the coefficients multiply."""
        return terms(len(self.sources), self.form)

    def predict(self, shares: npt.ArrayLike, distances: npt.ArrayLike) -> Floats:
        """Performance of mixtures.

        Args:
            shares: Shape [mixtures, sources], rows of sum 1.
            distances: Transport cost of each mixture, as in the fit.

        Raises:
            DataError: shares do not sum to 1, or numbers differ.
        """
        table = checked_shares(shares, self.sources)
        costs = checked_distances(distances, len(table))
        parts = [
            by * term.value(table, costs) for by, term in zip(self.coefficients, self.terms, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0))

    def slopes(self, shares: npt.ArrayLike, distance: float) -> Slopes:
        """Value and partial derivatives at one mixture."""
        table = checked_shares(shares, self.sources)[:1]
        by_share, by_distance = np.zeros(len(self.sources)), 0.0
        for factor, term in zip(self.coefficients, self.terms, strict=True):
            part = 1.0 if term.source is None else float(table[0, term.source]) ** term.power
            if term.has_distance:
                by_distance += factor * part
            if term.source is not None:
                change = term.power * float(table[0, term.source]) ** (term.power - 1)
                by_share[term.source] += factor * change * (distance if term.has_distance else 1.0)
        return Slopes(float(self.predict(table, [distance])[0]), by_share, by_distance)

    @classmethod
    def fit(  # over: what is fitted, and the settings of the fitter
        cls,
        shares: npt.ArrayLike,
        distances: npt.ArrayLike,
        performance: npt.ArrayLike,
        *,
        sources: Sequence[str],
        form: Form = "reduced",
        bootstrap: int = 0,
        seed: int = 42,
    ) -> Fitted[Self]:
        """Fit mixtures by least squares.

        Args:
            shares: Shape [mixtures, sources], rows of sum 1.
            distances: Transport cost of each mixture.
            performance: Of training on each.
            sources: Names.
            form: Features.
            bootstrap: Refits for the intervals.
            seed: Of the bootstrap.

        Raises:
            DataError: there are not more mixtures than coefficients, or mixtures do not tell them apart.
        """
        if form not in FORMS:
            raise ConfigError(f"form is one of {', '.join(FORMS)}: {form!r}")
        names = tuple(sources)
        table = checked_shares(shares, names)
        columns = checked_data({"performance": performance, "distance": distances}, at="mixtures")
        if len(columns["performance"]) != len(table):
            raise DataError(f"mixtures and performances differ: {len(table)}, {len(columns['performance'])}")
        parts = terms(len(names), form)
        design = np.stack([term.value(table, columns["distance"]) for term in parts], axis=1)
        solved = _least_squares(design, columns["performance"], [term.named(names) for term in parts])
        labels = [term.named(names) for term in parts]
        reach = 1e3 * (1.0 + float(np.abs(solved).max()))
        parameters = [
            Parameter(name=label, low=-reach, high=reach, starts=(value,))
            for label, value in zip(labels, solved.tolist(), strict=True)
        ]
        data = {"performance": columns["performance"], **_numbered(design)}

        def residuals(values: Mapping[str, float], data: Data) -> Floats:
            vector = np.array([values[label] for label in labels])
            rows = np.stack([data[f"feature {at}"] for at in range(len(labels))], axis=1)
            return np.asarray(rows @ vector - data["performance"])

        found = fit(parameters, residuals, data, loss="squares", bootstrap=bootstrap, seed=seed)
        law = cls(sources=names, form=form, coefficients=tuple(found.values[label] for label in labels))
        return Fitted(law, {"": found})

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit columns `share.<source>`, `distance`, `performance`."""
        sources = source_names(frame)
        columns = columns_of(frame, [*(SHARE + name for name in sources), *cls.columns])
        return cls.fit(
            np.stack([columns[SHARE + name] for name in sources], axis=1),
            columns["distance"],
            columns["performance"],
            **{**known_settings(cls.fit, settings), "sources": sources},
        )

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Predict for columns `share.<source>` and `distance`."""
        columns = columns_of(frame, [*(SHARE + name for name in self.sources), "distance"], at="points")
        shares = np.stack([columns[SHARE + name] for name in self.sources], axis=1)
        return self.predict(shares, columns["distance"])


def _numbered(design: Floats) -> dict[str, Floats]:
    return {f"feature {at}": column for at, column in enumerate(design.T)}


def _least_squares(design: Floats, observed: Floats, labels: Sequence[str]) -> Floats:
    """Coefficients, on columns scaled to 1.

    Raises:
        DataError: the columns are not independent.
    """
    scale = np.sqrt((design * design).mean(axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    if len(design) <= len(labels):
        raise DataError(f"{len(labels)} coefficients need more mixtures than that: {len(design)}")
    solved, _, rank, _ = np.linalg.lstsq(design / scale, observed, rcond=1e-10)
    if rank < len(labels):
        raise DataError(
            f"the mixtures tell only {rank} of {len(labels)} coefficients apart",
            hint="add mixtures with other shares, or use fewer features: form='published'",
        )
    return np.asarray(solved / scale)


def project(
    small: npt.ArrayLike, large: npt.ArrayLike, *, small_scale: float, large_scale: float, scale: float
) -> Floats:
    """Performance at a scale: the straight line in ln N through the values at two small scales.

    Raises:
        DataError: a scale is not above 0, or the first is not below the second.
    """
    first, second, goal = (
        amount(value, name)
        for value, name in ((small_scale, "small_scale"), (large_scale, "large_scale"), (scale, "scale"))
    )
    if not first < second:
        raise DataError(f"small_scale is below large_scale: {first:g}, {second:g}")
    low, high = np.asarray(small, dtype=np.float64), np.asarray(large, dtype=np.float64)
    up = math.log(goal / first) / math.log(second / first)
    return np.asarray(up * high + (1.0 - up) * low)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportProjection(Json):
    """Both stages: performance at any scale from two fits at small ones."""

    name: ClassVar[str] = "transport_projection"
    columns: ClassVar[tuple[str, ...]] = ("scale", "distance", "performance")

    small: TransportLaw
    large: TransportLaw
    small_scale: float
    """Points of a training set in the first fit."""
    large_scale: float

    def __post_init__(self) -> None:
        within(self.name, "small_scale", self.small_scale, 0.0, self.large_scale)
        within(self.name, "large_scale", self.large_scale, 0.0)
        if self.small.sources != self.large.sources:
            raise ConfigError(
                f"{self.name}: both scales have the same sources: {self.small.sources}, {self.large.sources}"
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """Names."""
        return self.small.sources

    def predict(
        self,
        shares: npt.ArrayLike,
        distances: npt.ArrayLike,
        *,
        scale: float,
        large_distances: npt.ArrayLike | None = None,
    ) -> Floats:
        """Performance of mixtures at a scale.

        Args:
            shares: Shape [mixtures, sources], rows of sum 1.
            distances: Transport cost of each mixture at the small scale.
            scale: Points of a training set.
            large_distances: At the large one; None takes those of the small.
        """
        other = distances if large_distances is None else large_distances
        return project(
            self.small.predict(shares, distances), self.large.predict(shares, other),
            small_scale=self.small_scale, large_scale=self.large_scale, scale=scale,
        )  # fmt: skip

    def slopes(self, shares: npt.ArrayLike, distance: float, *, scale: float) -> Slopes:
        """Value and partial derivatives at one mixture and scale."""
        low, high = self.small.slopes(shares, distance), self.large.slopes(shares, distance)
        settings = {"small_scale": self.small_scale, "large_scale": self.large_scale, "scale": scale}
        return Slopes(
            float(project(low.value, high.value, **settings)),
            project(low.by_share, high.by_share, **settings),
            float(project(low.by_distance, high.by_distance, **settings)),
        )

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit columns `share.<source>`, `scale` (two different ones), `distance`, `performance`.

        Raises:
            DataError: there are not two scales.
        """
        scales = sorted(set(columns_of(frame, ["scale"])["scale"].tolist()))
        if len(scales) != 2:
            raise DataError(f"the mixtures were trained at two scales: {len(scales)} in the column scale")
        low, high = (
            TransportLaw.fit_table(frame.filter(pl.col("scale") == scale), **settings) for scale in scales
        )
        law = cls(small=low.law, large=high.law, small_scale=scales[0], large_scale=scales[1])
        return Fitted(law, {f"scale {scales[0]:g}": low.fit, f"scale {scales[1]:g}": high.fit})

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Predict for columns `share.<source>`, `scale`, `distance`; `large_distance` may be there."""
        wanted = ["scale", "distance", *(["large_distance"] if "large_distance" in frame.columns else [])]
        columns = columns_of(frame, [*(SHARE + name for name in self.sources), *wanted], at="points")
        shares = np.stack([columns[SHARE + name] for name in self.sources], axis=1)
        low = self.small.predict(shares, columns["distance"])
        high = self.large.predict(shares, columns.get("large_distance", columns["distance"]))
        first, second = self.small_scale, self.large_scale
        values = [
            project(*pair, small_scale=first, large_scale=second, scale=scale)
            for *pair, scale in zip(low, high, columns["scale"].tolist(), strict=True)
        ]
        return np.array(values, dtype=np.float64)
