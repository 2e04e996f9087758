"""What every law is: a frozen dataclass of parameters that predicts, is fitted from a table, and is JSON.

`to_json` and `from_json` here serve all of them: fields are numbers, strings, booleans, tuples of these, or
laws. A file of a law has `law` (its name) and `format`. Not here: the list of laws (registry.py).
"""

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError
from curate.laws.fitting import Fit, checked_data

FORMAT = 1

Floats = npt.NDArray[np.float64]


class Law(Protocol):
    """A law: parameters as the fields of a frozen dataclass, checked when it is made."""

    name: ClassVar[str]
    """What `curate laws fit` calls it."""

    @classmethod
    def fit_table(cls, frame: pl.DataFrame, **settings: Any) -> "Fitted[Self]":
        """Fit a table of runs; the docstring says which columns."""

    def predict_table(self, frame: pl.DataFrame) -> Floats:
        """One prediction a row of a table with the columns of `fit_table` but the observed one."""

    def to_json(self) -> dict[str, Any]:
        """The law as JSON values."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave, and check it."""


L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class Fitted(Generic[L]):
    """A law with the fit that it comes from."""

    law: L
    fits: Mapping[str, Fit]
    """By what was fitted: one under the empty name, or one for each target, pool or stage."""
    notes: tuple[str, ...] = ()
    """Sentences for people: what is extrapolated, what was left out."""

    @property
    def fit(self) -> Fit:
        """The only fit."""
        (only,) = self.fits.values()
        return only

    def doubts(self) -> tuple[str, ...]:
        """What the data do not identify, and the notes."""
        found = []
        for name, each in self.fits.items():
            found += [f"{name}: {text}" if name else text for text in each.doubts.values()]
        return (*found, *self.notes)

    def as_text(self) -> str:
        """Parameters with their intervals, the error of the fit, and the doubts."""
        lines = []
        for name, each in self.fits.items():
            size = math.sqrt(float((each.residuals**2).mean()))
            where = f"{name}: " if name else ""
            lines.append(
                f"{where}objective {each.objective:.9g} over {each.num_points} residuals, rms {size:.4g}"
            )
            for key, value in each.values.items():
                end = each.ends.get(key)
                low_high = f"  90 % {end.low:.4g} to {end.high:.4g}" if end else ""
                doubt = "  NOT IDENTIFIED" if key in each.doubts else ""
                lines.append(f"  {key:<24} {value:<12.6g}{low_high}{doubt}")
        return "\n".join([*lines, *(f"note: {text}" for text in self.doubts())])


def columns_of(
    frame: pl.DataFrame, names: Sequence[str], *, at: str = "runs"
) -> dict[str, npt.NDArray[np.float64]]:
    """Take columns of numbers from a table.

    Raises:
        DataError: a column is missing, not of numbers, has a null, or a value that is not finite.
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(
            f"{at}: there is no column {', '.join(missing)}",
            hint=f"the table has {', '.join(frame.columns) or 'no columns'}",
        )
    for name in names:
        if not (frame.schema[name].is_numeric() or frame.schema[name] == pl.Boolean):
            raise DataError(f"{at}: the column {name} is not of numbers but of {frame.schema[name]}")
        if frame[name].null_count():
            row = int(frame[name].is_null().arg_max() or 0)
            raise DataError(f"{at}: {name} of row {row} is empty", hint="leave out runs that did not finish")
    return checked_data({name: frame[name].cast(pl.Float64).to_numpy() for name in names}, at=at)


def known_settings(function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Take settings for the keyword arguments of `function`.

    Raises:
        ConfigError: one of them is none of its keyword arguments.
    """
    known = [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for name in settings:
        if name not in known:
            raise ConfigError(f"a fit has no setting {name}", hint=f"it has {', '.join(known)}")
    return dict(settings)


class Json:
    """The JSON form of a frozen dataclass of numbers, strings, booleans, tuples of them, and laws."""

    __slots__ = ()
    name: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """The law as JSON values."""
        found: dict[str, Any] = {"law": self.name, "format": FORMAT}
        for each in dataclasses.fields(self):  # type: ignore[arg-type]
            found[each.name] = _plain(getattr(self, each.name))
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises:
            ConfigError: it is of another law or format, keys are missing or unknown, a value is wrong.
        """
        if not isinstance(value, Mapping):
            raise ConfigError(f"a law is an object: {value!r:.80}")
        if value.get("law") != cls.name or value.get("format") != FORMAT:
            got = f"{value.get('law')!r}, format {value.get('format')!r}"
            raise ConfigError(f"this is not the law {cls.name}, format {FORMAT}: {got}")
        types_of = typing.get_type_hints(cls)
        known = {each.name: each for each in dataclasses.fields(cls)}  # type: ignore[arg-type]
        given = {key: part for key, part in value.items() if key not in ("law", "format")}
        if unknown := sorted(set(given) - set(known)):
            raise ConfigError(f"the law {cls.name} has no {', '.join(unknown)}")
        required = {
            key
            for key, each in known.items()
            if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        }
        if missing := sorted(required - set(given)):
            raise ConfigError(f"the law {cls.name} lacks {', '.join(missing)}")
        return cls(**{key: _typed(part, types_of[key], key) for key, part in given.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value.to_json() if hasattr(value, "to_json") else value


def _typed(value: Any, wanted: Any, at: str) -> Any:
    """A JSON value as what the annotation says."""
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        return _typed(value, next(part for part in parts if part is not type(None)), at)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{at} is a list: {value!r:.80}")
        if len(parts) != 2 or parts[1] is not Ellipsis:
            if len(value) != len(parts):
                raise ConfigError(f"{at} has {len(parts)} values: {value!r:.80}")
            return tuple(
                _typed(one, part, f"{at}[{n}]")
                for n, (one, part) in enumerate(zip(value, parts, strict=True))
            )
        return tuple(_typed(one, parts[0], f"{at}[{n}]") for n, one in enumerate(value))
    if origin is typing.Literal:
        if value not in parts:
            raise ConfigError(f"{at} is one of {', '.join(map(str, parts))}: {value!r:.80}")
        return value
    if hasattr(wanted, "from_json"):
        return wanted.from_json(value)
    return _scalar(value, wanted, at)


def _scalar(value: Any, wanted: Any, at: str) -> Any:
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{at} is a finite number: {value}")
        return float(value)
    if wanted in (int, str, bool) and type(value) is wanted:
        return value
    raise ConfigError(f"{at} is not of type {getattr(wanted, '__name__', wanted)}: {value!r:.80}")
