"""Fit the quality-quantity law: one scale for all pools, a utility and a half-life for each.

The published way is a full grid by squared error, and the scale with the least mean loss (Goyal et al. 2024,
arXiv:2404.07177). Here a coarse grid, each pool alone under each of 25 scales, gives the start of one joint
robust fit. Cost: 0.2 s for five pools of eight runs. Not here: predictions.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError
from curate.laws.amounts import Floats
from curate.laws.decay import effective, log_growth
from curate.laws.fitting import Loss, fit, positive
from curate.laws.law import Fitted
from curate.laws.parameters import Parameter
from curate.laws.quality_quantity import Form, QualityQuantity

SCALES = np.geomspace(1e-4, 1e2, 25)
UTILITIES = -np.geomspace(0.01, 1.0, 16)
HALF_LIVES = np.geomspace(0.5, 50.0, 10)
"""The coarse grid."""

Law = TypeVar("Law", bound=QualityQuantity)
Rows = Mapping[str, Floats]


def fit_pools(  # over: what is fitted, and the settings of the fitter
    law: type[Law],
    pools: Sequence[str],
    columns: Rows,
    *,
    form: Form = "utility",
    floor: float | None = 0.1,
    floor_inside: bool = False,
    unit: float = 1e5,
    loss: Loss = "huber",
    delta: float = 1e-3,
    bootstrap: int = 0,
    seed: int = 42,
) -> Fitted[Law]:
    """Fit runs on single pools; residuals are ln predicted - ln error.

    Args:
        law: The class of the law.
        pools: Of each run.
        columns: samples, size, error of each run; above 0.
        form: Which form of the law.
        floor: Held at this value; None fits it.
        floor_inside: The published code's quirk.
        unit: Samples are counted in it.
        loss: Of the fitter.
        delta: Of the fitter.
        bootstrap: Refits for the intervals.
        seed: Of the bootstrap.

    Raises:
        DataError: a number is not above 0, or there are too few runs.
        ConfigError: a setting is wrong.
    """
    positive(columns, ["samples", "size", "error"])
    names = tuple(dict.fromkeys(pools))
    # The law checks unit, floor and form; what is fitted stands in for itself.
    law(pools=names, utilities=(-0.1,) * len(names), half_lives=(1.0,) * len(names), scale=1.0, unit=unit,
        floor=0.1 if floor is None else floor, form=form, floor_inside=floor_inside)  # fmt: skip
    least = float(columns["error"].min())
    if floor is not None and floor >= least and not floor_inside:
        raise ConfigError(
            f"floor is below every error, the least is {least:g}: {floor:g}",
            hint="`--set floor=null` (in Python floor=None) fits it",
        )
    places = [np.flatnonzero([each == pool for each in pools]).astype(np.int64) for pool in names]
    shape = _Shape(form, floor_inside, unit)

    def residuals(values: Mapping[str, float], data: Rows) -> Floats:
        owner = data["pool"]
        predicted = np.empty(len(owner))
        for at, pool in enumerate(names):
            rows = np.flatnonzero(owner == at)
            if len(rows) == 0:
                continue
            predicted[rows] = shape.error(
                data["samples"][rows], data["size"][rows], values["scale"], values[f"utility[{pool}]"],
                values[f"half_life[{pool}]"], values["floor"],
            )  # fmt: skip
        return np.log(predicted) - np.log(data["error"])

    start = _start(shape, columns, places, least / 2 if floor is None else floor)
    data = {**columns, "pool": np.zeros(len(pools))}
    for at, rows in enumerate(places):
        data["pool"][rows] = at
    found = fit(
        _parameters(names, start, floor, least), residuals, data,
        loss=loss, delta=delta, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip
    values = found.values
    made = law(
        pools=names,
        utilities=tuple(values[f"utility[{pool}]"] for pool in names),
        half_lives=tuple(values[f"half_life[{pool}]"] for pool in names),
        scale=values["scale"],
        unit=unit,
        floor=values["floor"],
        form=form,
        floor_inside=floor_inside,
    )
    return Fitted(made, {"": found})


class _Shape:
    """The law of one pool as a function of its parameters; the same as `QualityQuantity.predict`."""

    def __init__(self, form: Form, floor_inside: bool, unit: float) -> None:
        self.form, self.floor_inside, self.unit = form, floor_inside, unit

    def growth(self, samples: Floats, size: Floats, half_life: float) -> tuple[Floats, Floats]:
        """Logarithms that the utility multiplies: of the first pass and of later ones, for scale 1."""
        if self.form == "effective_data":
            return np.log(effective(samples, size, half_life) / self.unit), np.zeros(len(samples))
        first, later = log_growth(samples, size, half_life)
        return first - np.log(self.unit), later

    def error(  # over: the parameters of the law
        self, samples: Floats, size: Floats, scale: float, utility: float, half_life: float, floor: float
    ) -> Floats:
        """Error of one pool."""
        first, later = self.growth(samples, size, half_life)
        return self.of_growth(first + np.log(scale), later, utility, floor)

    def of_growth(self, first: Floats, later: Floats, utility: Floats | float, floor: float) -> Floats:
        """Error from the logarithms."""
        if self.floor_inside:
            return np.asarray((np.exp(utility * first) + floor) * np.exp(utility * later))
        return np.asarray(np.exp(utility * (first + later)) + floor)


def _start(
    shape: _Shape, columns: Rows, places: Sequence[npt.NDArray[np.int64]], floor: float
) -> dict[str, tuple[float, ...]]:
    """The best scale of the coarse grid, then the best utility and half-life of each pool under it."""
    found: dict[float, tuple[float, list[tuple[float, float]]]] = {}
    for scale in SCALES.tolist():
        total, chosen = 0.0, []
        for rows in places:
            samples, size = columns["samples"][rows], columns["size"][rows]
            observed = np.log(columns["error"][rows])
            parts = [shape.growth(samples, size, half_life) for half_life in HALF_LIVES.tolist()]
            first = np.stack([part[0] for part in parts])[None] + np.log(scale)
            later = np.stack([part[1] for part in parts])[None]
            predicted = shape.of_growth(first, later, UTILITIES[:, None, None], floor)
            squares = ((np.log(predicted) - observed) ** 2).sum(axis=2)
            at = np.unravel_index(int(squares.argmin()), squares.shape)
            total += float(squares[at])
            chosen.append((float(UTILITIES[at[0]]), float(HALF_LIVES[at[1]])))
        found[scale] = (total, chosen)
    best = min(found, key=lambda scale: found[scale][0])
    pairs = found[best][1]
    return {
        "scale": (best,),
        "utilities": tuple(pair[0] for pair in pairs),
        "half_lives": tuple(pair[1] for pair in pairs),
    }


def _parameters(
    names: Sequence[str], start: dict[str, tuple[float, ...]], floor: float | None, least: float
) -> list[Parameter]:
    """Bounds and starts of the joint fit."""
    found = [Parameter(name="scale", low=1e-6, high=1e4, starts=start["scale"], log=True)]
    if floor is None:
        found.append(Parameter(name="floor", low=0.0, high=least * 0.999, starts=(least * 0.2, least * 0.8)))
    else:
        found.append(Parameter(name="floor", low=-1.0, high=max(1.0, 2 * floor), fixed=floor))
    for pool, utility, half_life in zip(names, start["utilities"], start["half_lives"], strict=True):
        found.append(Parameter(name=f"utility[{pool}]", low=-5.0, high=-1e-4, starts=(utility,)))
        found.append(
            Parameter(name=f"half_life[{pool}]", low=0.05, high=1000.0, starts=(half_life,), log=True)
        )
    return found
