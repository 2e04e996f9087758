"""Predicted quality against compute for each candidate, and where the best candidate changes.

Not here: how it is computed (compare.py), how it is drawn (the report).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from curate.errors import DataError
from curate.selection.allocation.text import aligned

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What is predicted for a candidate, a number for each budget; None where its caps do not allow it."""

    name: str
    is_nested: bool
    """Whether it is a union of the best pools, as a filter gives it; `natural` is the widest."""
    predicted: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """A budget at which the best candidate changes."""

    tokens: float
    before: str
    after: str
    is_cap: bool = False
    """The candidate before ends there under its caps; it is not overtaken."""

    def as_text(self) -> str:
        """Write the change for people."""
        end = ", where the caps of the first end" if self.is_cap else ""
        return f"{self.before} -> {self.after} at {self.tokens:.3g} tokens{end}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Predictions for candidates at growing budgets; lower is better."""

    law: str
    """What predicts, for people."""
    quality: str
    """What is predicted: `error` or `loss`."""
    budgets: tuple[int, ...]
    flops: tuple[float, ...] | None
    """Compute of each budget, 6 * parameters * tokens; None where no number of parameters is known."""
    curves: tuple[Curve, ...]
    crossovers: tuple[Crossover, ...]
    """Of all candidates."""
    filter_crossovers: tuple[Crossover, ...]
    """Of the nested ones alone: how wide a filter should be."""
    target_tokens: int | None = None
    """The budget of the plan."""
    warnings: tuple[str, ...] = ()

    def best(self, *, nested: bool = False) -> tuple[str, ...]:
        """Name the best candidate at each budget, of equals the widest; `nested` looks at these alone."""
        curves = widest_first([curve for curve in self.curves if curve.is_nested or not nested])
        return tuple(
            best_of({curve.name: curve.predicted[place] for curve in curves})
            for place in range(len(self.budgets))
        )

    def as_text(self) -> str:
        """Write predictions and crossovers for a terminal."""
        flops = () if self.flops is None else ("FLOPs",)
        table: list[Sequence[str]] = [("tokens", *flops, *(curve.name for curve in self.curves), "best")]
        best = self.best()
        for place, budget in enumerate(self.budgets):
            values = (curve.predicted[place] for curve in self.curves)
            cells = ("-" if value is None else f"{value:.4f}" for value in values)
            compute = () if self.flops is None else (f"{self.flops[place]:.3g}",)
            table.append((f"{budget:,}", *compute, *cells, best[place]))
        lines = [f"predicted {self.quality}, lower is better, by {self.law}", "", *aligned(table, left=())]
        for title, found in (("best", self.crossovers), ("best filter", self.filter_crossovers)):
            text = "; ".join(each.as_text() for each in found)
            lines.append(f"{title}: {text or 'the same at all budgets'}")
        if any(value is None for curve in self.curves for value in curve.predicted):
            lines.append("- the caps of the candidate do not give so many tokens")
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])

    def to_json(self) -> dict[str, Any]:
        """Give the comparison as JSON values."""

        def crossings(found: tuple[Crossover, ...]) -> list[dict[str, Any]]:
            return [asdict(each) for each in found]

        return {
            "format": FORMAT,
            "kind": "comparison",
            "law": self.law,
            "quality": self.quality,
            "budgets": list(self.budgets),
            "flops": None if self.flops is None else list(self.flops),
            "curves": [
                {"name": curve.name, "is_nested": curve.is_nested, "predicted": list(curve.predicted)}
                for curve in self.curves
            ],
            "crossovers": crossings(self.crossovers),
            "filter_crossovers": crossings(self.filter_crossovers),
            "target_tokens": self.target_tokens,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, value: Any) -> "Comparison":
        """Give back what `to_json` wrote.

        Raises:
            DataError: It is no comparison, or of another format; the message has key and value.
        """
        if not isinstance(value, Mapping) or value.get("kind") != "comparison":
            raise DataError(f"this is no comparison of budgets: {value!r:.80}")
        if value.get("format") != FORMAT:
            raise DataError(f"the format of a comparison is {FORMAT}, not: {value.get('format')!r}")
        try:
            return cls._read(value)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise DataError(f"the comparison of budgets has a wrong or missing value: {exc!r}") from exc

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> "Comparison":
        budgets = tuple(map(int, value["budgets"]))
        curves = tuple(
            Curve(
                name=str(each["name"]),
                is_nested=bool(each["is_nested"]),
                predicted=tuple(None if part is None else float(part) for part in each["predicted"]),
            )
            for each in value["curves"]
        )
        wrong = [curve.name for curve in curves if len(curve.predicted) != len(budgets)]
        if wrong or not budgets or not curves:
            raise ValueError(f"curves without a number for each of {len(budgets)} budgets: {wrong}")

        def crossings(key: str) -> tuple[Crossover, ...]:
            return tuple(
                Crossover(
                    tokens=float(each["tokens"]),
                    before=str(each["before"]),
                    after=str(each["after"]),
                    is_cap=bool(each["is_cap"]),
                )
                for each in value[key]
            )

        return cls(
            law=str(value["law"]),
            quality=str(value["quality"]),
            budgets=budgets,
            flops=None if value["flops"] is None else tuple(map(float, value["flops"])),
            curves=curves,
            crossovers=crossings("crossovers"),
            filter_crossovers=crossings("filter_crossovers"),
            target_tokens=None if value["target_tokens"] is None else int(value["target_tokens"]),
            warnings=tuple(map(str, value["warnings"])),
        )


class HasWidth(Protocol):
    """A candidate or its curve."""

    @property
    def is_nested(self) -> bool:
        """Whether it is a union of the best pools."""


W = TypeVar("W", bound=HasWidth)


def widest_first(found: Sequence[W]) -> list[W]:
    """Put unions of pools from the widest to the narrowest, given the other way round, then the others."""
    return [each for each in reversed(found) if each.is_nested] + [
        each for each in found if not each.is_nested
    ]


def best_of(predicted: Mapping[str, float | None]) -> str:
    """Name the least, of those within a rounding of it the first; empty where there is none."""
    known = {name: value for name, value in predicted.items() if value is not None}
    if not known:
        return ""
    least = min(known.values())
    return next(name for name, value in known.items() if value <= least + 1e-9 * abs(least))
