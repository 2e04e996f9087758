"""Power laws with a floor: loss against steps, tokens or parameters, for one curve or for many at once.

    L(x) = floor + (scale / x)**exponent
for each group (a mixture, a domain, a pool), with one exponent for all groups or one each. With a shared
exponent this is the nested law of steps and sizes in "Data Mixing Laws" (Ye et al. 2024, arXiv:2403.16952),
with one group the law of autoregressive models with a floor (Henighan et al. 2020, arXiv:2010.14701).

Cost: 30 ms for a curve of 20 points, 0.1 s for three with a shared exponent; the joint fit of k groups has
2 k + 1 unknowns, so fit some tens at once. Not here: laws of two variables (chinchilla.py, batch.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.amounts import Floats, amounts, within
from curate.laws.fitting import Data, Loss, Residuals, fit, positive
from curate.laws.law import Fitted, Json, columns_of, known_settings
from curate.laws.parameters import Parameter

EXPONENTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5)
"""Starts of the search."""
L = TypeVar("L", bound="PowerLaw")


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw(Json):
    """Floor, scale and exponent of each group."""

    name: ClassVar[str] = "power"
    columns: ClassVar[tuple[str, ...]] = ("x", "loss")

    floors: tuple[float, ...]
    """Loss at infinity, 0 or more."""
    scales: tuple[float, ...]
    """Where a curve is 1 above its floor; in units of x."""
    exponents: tuple[float, ...]
    """Above 0."""
    groups: tuple[str, ...] = ("",)
    """Names; one empty name where there is one curve."""

    def __post_init__(self) -> None:
        if not self.groups or len(set(self.groups)) != len(self.groups):
            raise ConfigError(f"{self.name}.groups are different names: {self.groups!r:.80}")
        for key in ("floors", "scales", "exponents"):
            count = len(getattr(self, key))
            if count != len(self.groups):
                raise ConfigError(
                    f"{self.name}.{key} has a value for each of {len(self.groups)} groups: {count}"
                )
        for at, group in enumerate(self.groups):
            where = f" of {group}" if group else ""
            if not 0 <= self.floors[at] < np.inf:
                raise ConfigError(f"{self.name}.floors{where} is not below 0: {self.floors[at]}")
            within(self.name, f"scales{where}", self.scales[at], 0.0)
            within(self.name, f"exponents{where}", self.exponents[at], 0.0)

    def predict(self, x: npt.ArrayLike, *, group: str = "") -> Floats:
        """Loss of one group at x.

        Raises:
            ConfigError: the group is unknown.
            DataError: x is not above 0.
        """
        at, places = self._place(group), amounts(x, "x")
        return np.asarray(self.floors[at] + (self.scales[at] / places) ** self.exponents[at])

    def inverse(self, loss: npt.ArrayLike, *, group: str = "") -> Floats:
        """The x at which one group has a loss.

        Raises:
            DataError: a loss is not above the floor.
        """
        at, losses = self._place(group), amounts(loss, "loss")
        if (losses <= self.floors[at]).any():
            raise DataError(f"a loss lies above the floor {self.floors[at]:g}: {losses.min()}")
        return np.asarray(self.scales[at] * (losses - self.floors[at]) ** (-1 / self.exponents[at]))

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """Loss of each row of a table with the columns x and, of many groups, group."""
        places = columns_of(frame, ["x"], at="points")["x"]
        if self.groups == ("",):
            return self.predict(places)
        groups, found = _group_names(frame, at="points"), np.empty(len(places))
        for group in dict.fromkeys(groups):
            rows = np.array([each == group for each in groups])
            found[rows] = self.predict(places[rows], group=group)
        return found

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> Fitted[Self]:
        """Fit a table with the columns x, loss and, of many curves, group.

        `settings` are those of `fit_curves`: is_shared, floor, loss, delta, bootstrap, seed.
        """
        groups = _group_names(frame) if "group" in frame.columns else None
        return fit_curves(cls, columns_of(frame, cls.columns), groups, **known_settings(fit_curves, settings))

    def _place(self, group: str) -> int:
        if group not in self.groups:
            raise ConfigError(f"the law knows no group {group!r}", hint=f"it knows {', '.join(self.groups)}")
        return self.groups.index(group)


def fit_curves(  # over: what is fitted, and the settings of the fitter
    law: type[L],
    columns: Mapping[str, Floats],
    groups: Sequence[str] | None = None,
    *,
    is_shared: bool = True,
    floor: float | None = None,
    loss: Loss = "huber",
    delta: float = 1e-3,
    bootstrap: int = 0,
    seed: int = 42,
) -> Fitted[L]:
    """Fit curves with the columns x and loss; residuals are ln predicted - ln observed.

    Args:
        law: The class of the law.
        columns: x and loss of each point, above 0.
        groups: Of each point; None is one curve.
        is_shared: All groups have one exponent.
        floor: Held at this value for all groups; None fits one each.
        loss: Of the fitter.
        delta: Of the fitter.
        bootstrap: Refits for the intervals.
        seed: Of the bootstrap.

    Raises:
        DataError: a number is not above 0, or there are too few points.
        ConfigError: the floor is not below every loss.
    """
    positive(columns, PowerLaw.columns)
    if floor is not None and not 0 <= floor < columns["loss"].min():
        raise ConfigError(
            f"floor is 0 or more and below every loss, the least is {columns['loss'].min():g}: {floor}"
        )
    labels = list(groups) if groups is not None else [""] * len(columns["x"])
    names = tuple(dict.fromkeys(labels))
    rows = [np.flatnonzero([each == name for each in labels]).astype(np.int64) for name in names]
    start = {
        name: _start(columns["x"][at], columns["loss"][at], floor)
        for name, at in zip(names, rows, strict=True)
    }
    middle = float(np.median([exponent for exponent, _, _ in start.values()]))
    if is_shared:
        start = {
            name: _start(columns["x"][at], columns["loss"][at], floor, middle)
            for name, at in zip(names, rows, strict=True)
        }
    owner = np.empty(len(labels))
    for at, places in enumerate(rows):
        owner[places] = at
    found = fit(
        _parameters(names, start, columns, rows, floor, is_shared),
        _residuals(names), {**columns, "group": owner},
        loss=loss, delta=delta, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip
    values = found.values
    made = law(
        groups=names,
        floors=tuple(values[f"floor{_at(name)}"] for name in names),
        scales=tuple(float(np.exp(values[f"ln_scale{_at(name)}"])) for name in names),
        exponents=tuple(values[f"exponent{_at(name)}"] for name in names),
    )
    return Fitted(made, {"": found})


def _at(name: str) -> str:
    return f"[{name}]" if name else ""


def _start(
    x: Floats, loss: Floats, floor: float | None, exponent: float | None = None
) -> tuple[float, float, float]:
    """Exponent, floor and ln scale by least squares, which for a given exponent is a linear problem."""
    best = (np.inf, 0.5, 0.0, 0.0)
    least, middle = float(loss.min()), float(np.exp(np.log(x).mean()))
    for power in EXPONENTS if exponent is None else (exponent,):
        column = (middle / x) ** power
        if floor is None:
            system = np.stack([np.ones_like(x), column], axis=1)
            low, factor = np.linalg.lstsq(system, loss, rcond=None)[0].tolist()
            low = min(max(low, 0.0), 0.999 * least)
        else:
            low = floor
        factor = max(float(((loss - low) * column).sum() / (column * column).sum()), 1e-9 * least)
        left = float(((low + factor * column - loss) ** 2).sum())
        if left < best[0]:
            best = (left, power, low, float(np.log(middle) + np.log(factor) / power))
    return best[1:]


def _parameters(  # over: what the bounds depend on
    names: Sequence[str],
    start: Mapping[str, tuple[float, float, float]],
    columns: Mapping[str, Floats],
    rows: Sequence[npt.NDArray[np.int64]],
    floor: float | None,
    is_shared: bool,
) -> list[Parameter]:
    """Bounds and starts: an exponent, and a floor and scale for each group."""
    found = []
    first = f"exponent{_at(names[0])}"
    for name, at in zip(names, rows, strict=True):
        exponent, low, ln_scale = start[name]
        tied = first if is_shared and name != names[0] else None
        found.append(
            Parameter(name=f"exponent{_at(name)}", low=0.005, high=5.0, tied=tied,
                      starts=() if tied else (exponent,), log=True)
        )  # fmt: skip
        highest = float(columns["loss"][at].min())
        found.append(
            Parameter(name=f"floor{_at(name)}", low=0.0, high=highest, starts=(low,))
            if floor is None
            else Parameter(name=f"floor{_at(name)}", low=0.0, high=highest, fixed=floor)
        )
        found.append(
            Parameter(
                name=f"ln_scale{_at(name)}",
                low=-700.0,
                high=700.0,
                starts=(min(max(ln_scale, -700.0), 700.0),),
            )
        )
    return found


def _residuals(names: Sequence[str]) -> Residuals:
    keys = [(f"floor{_at(name)}", f"ln_scale{_at(name)}", f"exponent{_at(name)}") for name in names]

    def residuals(values: Mapping[str, float], data: Data) -> Floats:
        owner = data["group"].astype(np.int64)
        low, scale, power = (np.array([values[key[part]] for key in keys])[owner] for part in range(3))
        predicted = low + np.exp(power * (scale - np.log(data["x"])))
        return np.asarray(np.log(predicted) - np.log(data["loss"]))

    return residuals


def _group_names(frame: pl.DataFrame, *, at: str = "runs") -> list[str]:
    if "group" not in frame.columns:
        raise DataError(f"{at}: there is no column group", hint=f"the table has {', '.join(frame.columns)}")
    if frame.schema["group"] != pl.String or frame["group"].null_count():
        raise DataError(f"{at}: the column group is of text in every row: {frame.schema['group']}")
    return frame["group"].to_list()
