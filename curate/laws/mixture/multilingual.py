"""The joint law of languages that share a model (Fernandes et al. 2023, arXiv:2302.09650).

Loss of language i in a model of N parameters whose data have the share p of it: L_i = factor_i * (N f_i(p)
/ unit)**-exponent_i + floor_i. Exponent and floor do not depend on p; f_i(p) N are the parameters that the
language has to itself, with f(p) = p + a * p**b * (1 - p)**c, so f(0) = 0 and f(1) = 1.

Cost: 0.3 s a language. Not here: which language helps which; the paper finds little of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.fitting import Data, Fit, checked_data, fit, positive
from curate.laws.law import Fitted, Json, columns_of, known_settings
from curate.laws.mixture.runs import different, place_of
from curate.laws.mixture.targets import check_shape, check_values
from curate.laws.parameters import Floats, Parameter

NUMBERS = ("factors", "exponents", "floors", "lifts", "rises", "falls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Multilingual(Json):
    """Six numbers for each language."""

    name: ClassVar[str] = "multilingual"
    columns: ClassVar[tuple[str, ...]] = ("language", "params", "share", "loss")

    languages: tuple[str, ...]
    factors: tuple[float, ...]
    """Loss above the floor of a model of `unit` parameters trained on the language alone."""
    exponents: tuple[float, ...]
    """Of the parameters, above 0."""
    floors: tuple[float, ...]
    """Loss that no model removes."""
    lifts: tuple[float, ...]
    """a in f(p)."""
    rises: tuple[float, ...]
    """b in f(p), above 0."""
    falls: tuple[float, ...]
    """c in f(p), above 0."""
    unit: float = 1e6
    """Parameters in which N is counted."""

    def __post_init__(self) -> None:
        check_shape(self.name, self.languages, self.languages, None)
        for key in NUMBERS:
            values = getattr(self, key)
            check_values(self.name, key, values, self.languages)
            low = 0.0 if key in ("floors", "lifts") else math.ulp(0.0)
            if min(values) < low:
                raise ConfigError(f"{self.name}.{key} are not below 0, and most above: {min(values)}")
        if not (math.isfinite(self.unit) and self.unit > 0):
            raise ConfigError(f"{self.name}.unit is above 0: {self.unit}")

    def effective_frac(self, share: npt.ArrayLike, *, language: str) -> Floats:
        """f(p): the part of the model that a language with the share p has to itself.

        Raises:
            ConfigError: the language is unknown.
            DataError: a share is not between 0 and 1.
        """
        at = place_of(language, self.languages, "language")
        given = _shares(share)
        return _effective(given, self.lifts[at], self.rises[at], self.falls[at])

    def effective_params(self, params: npt.ArrayLike, share: npt.ArrayLike, *, language: str) -> Floats:
        """f(p) N.

        Raises:
            DataError: parameters are not above 0.
        """
        count = np.asarray(params, dtype=np.float64)
        positive({"params": count.reshape(-1)}, ["params"], at="points")
        return np.asarray(count * self.effective_frac(share, language=language))

    def predict(self, params: npt.ArrayLike, share: npt.ArrayLike, *, language: str) -> Floats:
        """Loss of a language; infinite at a share of 0."""
        at = place_of(language, self.languages, "language")
        own = self.effective_params(params, share, language=language) / self.unit
        with np.errstate(divide="ignore"):
            return np.asarray(self.factors[at] * own ** -self.exponents[at] + self.floors[at])

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """The loss of each row of a table with `language`, `params`, `share`.

        Raises:
            DataError: a share is 0, where the law has no loss, or a column is wrong.
        """
        names, data = _table(frame, ["params", "share"], at="points")
        positive(data, ["params", "share"], at="points")
        found = np.empty(len(names))
        for language in dict.fromkeys(names):
            rows = np.array([name == language for name in names])
            found[rows] = self.predict(data["params"][rows], data["share"][rows], language=language)
        return found

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit a table with columns `language`, `params`, `share`, `loss`; see `fit`."""
        names, data = _table(frame, ["params", "share", "loss"], at="runs")
        return cls.fit(
            names, data["params"], data["share"], data["loss"], **known_settings(cls.fit, settings)
        )

    @classmethod
    def fit(  # over: four columns
        cls,
        languages: list[str],
        params: npt.ArrayLike,
        shares: npt.ArrayLike,
        losses: npt.ArrayLike,
        *,
        bootstrap: int = 0,
        seed: int = 42,
    ) -> Fitted[Self]:
        """Fit each language on its own, over all sizes and shares together.

        Args:
            languages: Of each row.
            params: Parameters of the model.
            shares: Of the language in the data, above 0 and at most 1.
            losses: On the language.
            bootstrap: Refits for intervals.
            seed: Of the bootstrap.

        Raises:
            DataError: a value is wrong, or a language has too few runs.
        """
        data = checked_data({"params": params, "share": shares, "loss": losses})
        if len(languages) != len(data["loss"]):
            raise DataError(f"runs: a language is needed for each of {len(data['loss'])}: {len(languages)}")
        positive(data, ["params", "share", "loss"])
        _shares(data["share"])
        unit = float(np.exp(np.log(data["params"]).mean()))
        fits: dict[str, Fit] = {}
        names = list(dict.fromkeys(languages))
        different(names, "language")
        for language in names:
            rows = np.array([name == language for name in languages])
            own = {key: column[rows] for key, column in data.items()} | {"size": data["params"][rows] / unit}
            fits[language] = fit(
                _parameters(float(own["loss"].min()), float(own["loss"].max())),
                _residuals,
                own,
                max_starts=6,
                bootstrap=bootstrap,
                seed=seed,
            )
        columns = {
            key: tuple(each.values[single] for each in fits.values())
            for key, single in zip(
                NUMBERS, ("factor", "exponent", "floor", "lift", "rise", "fall"), strict=True
            )
        }
        return Fitted(law=cls(languages=tuple(names), unit=unit, **columns), fits=fits)


def _effective(share: Floats, lift: float, rise: float, fall: float) -> Floats:
    return np.asarray(share + lift * share**rise * (1 - share) ** fall)


def _shares(value: npt.ArrayLike) -> Floats:
    found = np.asarray(value, dtype=np.float64)
    bad = ~(np.isfinite(found) & (found >= 0) & (found <= 1))
    if bad.any():
        raise DataError(f"a share lies between 0 and 1: {found[bad].flat[0]}")
    return found


def _parameters(least: float, most: float) -> list[Parameter]:
    return [
        Parameter(name="factor", low=1e-3 * most, high=10 * most, starts=(0.1 * most, most), log=True),
        Parameter(name="exponent", low=0.01, high=2.0, starts=(0.1, 0.3, 0.6)),
        Parameter(name="floor", low=1e-3 * least, high=least, starts=(0.3 * least, 0.8 * least), log=True),
        Parameter(name="lift", low=0.0, high=5.0, starts=(0.05, 0.5)),
        Parameter(name="rise", low=0.05, high=5.0, starts=(0.3, 1.0)),
        Parameter(name="fall", low=0.05, high=5.0, starts=(1.0,)),
    ]


def _residuals(values: Mapping[str, float], data: Data) -> Floats:
    """Differences of logarithms."""
    own = data["size"] * _effective(data["share"], values["lift"], values["rise"], values["fall"])
    predicted = values["factor"] * own ** -values["exponent"] + values["floor"]
    return np.asarray(np.log(predicted) - np.log(data["loss"]))


def _table(frame: pl.DataFrame, columns: list[str], *, at: str) -> tuple[list[str], dict[str, Floats]]:
    if "language" not in frame.columns or frame["language"].null_count():
        raise DataError(f"{at}: every row names its language: {', '.join(frame.columns)}")
    return [str(name) for name in frame["language"].to_list()], columns_of(frame, columns, at=at)
