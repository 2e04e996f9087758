"""Draw a budget: the table of pools, what moves it, quality against compute with the crossovers.

The value is `budget.json`: `{"format": 1, "allocation": {...}, "comparison": {...} or null}`, as
`Allocation.to_json` and `Comparison.to_json` give them. `section` is a part of a page under the rules of
html.py, `render_budget` a page of its own, `as_text` the same for a terminal. The largest pools get rows, the
others are summed; the JSON has all.

Not here: computing (selection/allocation).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from curate.errors import DataError
from curate.report.drawing import percent, short, visible
from curate.report.html import template
from curate.selection.allocation.allocation import Allocation
from curate.selection.allocation.comparison import Comparison, Crossover, Curve

FORMAT = 1
COLOURS = (
    "kept",
    "filter0",
    "edits",
    "filter1",
    "duplicates",
    "filter3",
    "filter2",
    "filter4",
    "filter5",
    "input",
    "selection",
)
MAX_ROWS = 40
MAX_NAME_CHARS = 80
WIDTH, HEIGHT = 1000, 260
MAX_TICKS = 8


def budget_json(allocation: Allocation, comparison: Comparison | None) -> dict[str, Any]:
    """Put both into what a plan keeps as `budget.json`."""
    compared = None if comparison is None else comparison.to_json()
    return {"format": FORMAT, "allocation": allocation.to_json(), "comparison": compared}


def read_budget(value: Any) -> tuple[Allocation, Comparison | None]:
    """Read what `budget_json` gave.

    Raises:
        DataError: It is no budget, or of another format.
    """
    if not isinstance(value, Mapping) or value.get("format") != FORMAT or "allocation" not in value:
        raise DataError(f"this is no budget of format {FORMAT}: {value!r:.80}")
    compared = value.get("comparison")
    comparison = None if compared is None else Comparison.from_json(compared)
    return Allocation.from_json(value["allocation"]), comparison


def as_text(value: Mapping[str, Any]) -> str:
    """Write the budget for a terminal."""
    allocation, comparison = read_budget(value)
    parts = [allocation.as_text(), *([] if comparison is None else [comparison.as_text()])]
    return "\n\n".join(parts)


def section(value: Mapping[str, Any]) -> Markup:
    """Write the budget as a part of a page, escaped."""
    allocation, comparison = read_budget(value)
    view = {
        "plan": allocation,
        "rows": pool_rows(allocation),
        "num_more": max(0, len(allocation.names) - MAX_ROWS),
        "shifts": shift_rows(allocation),
        "comparison": comparison,
        "plots": [] if comparison is None else [absolute(comparison), relative(comparison)],
        "legend": [] if comparison is None else legend(comparison),
        "width": WIDTH,
        "height": HEIGHT,
    }
    return Markup(template("budget_section.html.j2").render(view))


def render_budget(value: Mapping[str, Any], *, title: str = "Budget") -> bytes:
    """Write the budget as one self-contained HTML page."""
    page = template("budget.html.j2").render(title=title, body=section(value))
    return page.encode("utf-8", errors="replace")


def name_of(text: str) -> str:
    """Write a name so that it can be shown."""
    shown = visible(text).replace("\n", " ").replace("\t", " ")
    return shown if len(shown) <= MAX_NAME_CHARS else shown[: MAX_NAME_CHARS - 1] + "\u2026"


def pool_rows(plan: Allocation) -> list[dict[str, Any]]:
    """Give the rows of the table: the largest pools, the others as one."""
    order = sorted(range(len(plan.names)), key=lambda place: (-plan.tokens[place], plan.names[place]))
    full = plan.full()
    rows = [
        _row(plan, [place], name_of(plan.names[place]), is_full=full[place], worth=plan.marginal[place])
        for place in order[:MAX_ROWS]
    ]
    if rest := order[MAX_ROWS:]:
        rows.append(_row(plan, rest, f"{len(rest):,} others", is_full=False, worth=None))
    return rows


def _row(
    plan: Allocation, places: Sequence[int], name: str, *, is_full: bool, worth: float | None
) -> dict[str, Any]:
    unique = sum(plan.unique_tokens[place] for place in places)
    tokens = sum(plan.tokens[place] for place in places)
    return {
        "name": name,
        "unique": unique,
        "tokens": tokens,
        "epochs": f"{tokens / unique:.3g}",
        "is_full": is_full,
        "share": tokens,
        "worth": "" if worth is None else f"{worth:.4g}",
        **{key: sum(column[place] for place in places) for key, column in plan.baselines.items()},
    }


def shift_rows(plan: Allocation) -> list[tuple[str, str, str]]:
    """Say for each change how much moves, and of which pools the share moves most."""
    shares = dict(zip(plan.names, plan.share, strict=True))
    epochs = dict(zip(plan.names, plan.epochs, strict=True))
    rows = []
    for shift in plan.sensitivity:
        most = sorted(shift.pools, key=lambda row: (-abs(row[1] - shares[row[0]]), row[0]))[:3]
        moves = [
            f"{name_of(name)} {percent(shares[name], 1)} to {percent(share, 1)} "
            f"({epochs[name]:.3g} to {passes:.3g} epochs)"
            for name, share, passes in most
            if share != shares[name]
        ]
        rows.append((name_of(shift.change), percent(shift.moved, 1), "; ".join(moves) or "nothing moves"))
    return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One candidate as a path."""

    name: str
    colour: str
    path: str
    is_rule: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """A plot of all candidates: paths, ticks of both axes, crossovers and the plan's budget."""

    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    crossings: list[tuple[float, str]]
    target: float | None


def legend(comparison: Comparison) -> list[tuple[str, str]]:
    """Give colour and name of each candidate."""
    return [(_colour(place), name_of(curve.name)) for place, curve in enumerate(comparison.curves)]


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def absolute(comparison: Comparison) -> Lines:
    """Draw what is predicted."""
    values = [curve.predicted for curve in comparison.curves]
    title = f"Predicted {comparison.quality} against tokens, lower is better"
    return _lines(comparison, title, values, "{:.4g}")


def relative(comparison: Comparison) -> Lines:
    """Draw what is predicted relative to the natural mix, in percent."""
    natural = next((curve for curve in comparison.curves if curve.name == "natural"), comparison.curves[-1])
    values = [_relative(curve, natural) for curve in comparison.curves]
    return _lines(comparison, "The same, in percent of the natural mix", values, "{:+.3g} %")


def _relative(curve: Curve, natural: Curve) -> tuple[float | None, ...]:
    return tuple(
        None if value is None or not whole else 100 * (value / whole - 1)
        for value, whole in zip(curve.predicted, natural.predicted, strict=True)
    )


def _lines(comparison: Comparison, title: str, values: Sequence[Sequence[float | None]], form: str) -> Lines:
    known = [value for column in values for value in column if value is not None] or [0.0]
    low, high = min(known), max(known)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    first, last = math.log(comparison.budgets[0]), math.log(comparison.budgets[-1])
    length = (last - first) or 1.0

    def across(tokens: float) -> float:
        return round(WIDTH * min(1.0, max(0.0, (math.log(max(tokens, 1.0)) - first) / length)), 1)

    def up(value: float) -> float:
        return round(HEIGHT * (high - value) / (high - low), 1)

    places = [across(budget) for budget in comparison.budgets]
    lines = [
        Line(
            name=name_of(curve.name),
            colour=_colour(number),
            path=_path(places, [None if value is None else up(value) for value in column]),
            is_rule=not curve.is_nested,
        )
        for number, (curve, column) in enumerate(zip(comparison.curves, values, strict=True))
    ]
    step = max(1, math.ceil(len(places) / MAX_TICKS))
    return Lines(
        title=title,
        lines=lines,
        x_ticks=[
            (x, short(budget)) for x, budget in zip(places[::step], comparison.budgets[::step], strict=True)
        ],
        y_ticks=[(up(value), form.format(value)) for value in (low, (low + high) / 2, high)],
        crossings=[(across(each.tokens), name_of(_crossing(each))) for each in comparison.crossovers],
        target=None if comparison.target_tokens is None else across(comparison.target_tokens),
    )


def _crossing(each: Crossover) -> str:
    end = " (its caps end)" if each.is_cap else ""
    return f"{each.before}{end} to {each.after} at {short(round(each.tokens))}"


def _path(places: Sequence[float], heights: Sequence[float | None]) -> str:
    """Join points by lines; where there is no number the line is broken."""
    path, is_open = [], False
    for x, y in zip(places, heights, strict=True):
        if y is None:
            is_open = False
            continue
        path.append(f"{'L' if is_open else 'M'}{x:g} {y:g}")
        is_open = True
    return "".join(path)
