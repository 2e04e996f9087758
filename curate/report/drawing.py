"""Numbers as text, and the geometry of bars and histograms; plain values for the template, never markup."""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from curate.report.model import Histogram, Limit

BAR_WIDTH = 1000
PLOT_WIDTH = 300
PLOT_HEIGHT = 90
HIDDEN = ("Cc", "Cs", "Co", "Cn")
DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def grouped(value: float | int | None) -> str:
    """Write a number with grouped thousands; at most four significant digits after the point."""
    if value is None:
        return "\u2013"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def short(value: int) -> str:
    """Write a large number with three digits and a unit: 1.20 M."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if value >= size:
            number = value / size
            return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"
    return f"{value:,}"


def percent(value: float, total: float) -> str:
    """Write a part as percent; what is not zero is never written as 0 %, what is not all never as 100 %."""
    if total <= 0:
        return "\u2013"
    share = 100 * value / total
    if value > 0 and share < 0.1:
        return "<0.1 %"
    if value < total and share > 99.9:
        return ">99.9 %"
    return f"{share:.1f} %"


def seconds(value: float) -> str:
    """Write a duration with the units that matter."""
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def visible(text: str) -> str:
    """Replace characters that control a terminal or the direction of text by U+FFFD; keep newline and tab."""
    return "".join(
        "\ufffd"
        if (char not in "\n\t" and unicodedata.category(char) in HIDDEN) or char in DIRECTION
        else char
        for char in text
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A piece of a stacked bar, in units of BAR_WIDTH for the whole."""

    name: str
    colour: str
    value: int
    start: float
    width: float


def stack(values: Iterable[tuple[str, int]], total: int, colours: Mapping[str, str]) -> list[Bar]:
    """Lay values side by side; what is zero takes no place."""
    bars, start = [], 0.0
    for name, value in values:
        if value > 0 and total > 0:
            width = BAR_WIDTH * value / total
            bars.append(
                Bar(
                    name=name, colour=colours[name], value=value, start=round(start, 2), width=round(width, 2)
                )
            )
            start += width
    return bars


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A limit inside a histogram; `start` and `width` give the side where documents are dropped."""

    x: float
    start: float
    width: float
    label: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """A histogram as two outlines, ticks and marks."""

    column: str
    kept: str
    dropped: str
    marks: list[Mark]
    ticks: list[tuple[float, str]]
    num_null: int
    num_docs: int
    summary: str


def draw_histogram(histogram: Histogram) -> Plot:
    """Lay out one histogram; heights are square roots, so that rare values stay visible beside a peak."""
    top = max(1, *histogram.kept, *histogram.dropped)
    limits = ", ".join(f"{each.op} {grouped(each.limit)}" for each in histogram.limits)
    num_kept, num_dropped = sum(histogram.kept), sum(histogram.dropped)
    return Plot(
        column=histogram.column,
        kept=outline(histogram.kept, top),
        dropped=outline(histogram.dropped, top),
        marks=[mark for each in histogram.limits if (mark := draw_mark(histogram, each)) is not None],
        ticks=ticks(histogram),
        num_null=histogram.num_null,
        num_docs=num_kept + num_dropped + histogram.num_null,
        summary=f"{histogram.column}: {num_kept:,} kept and {num_dropped:,} dropped documents"
        + (f"; drops {limits}" if limits else ""),
    )


def outline(counts: list[int], top: int) -> str:
    """Write the steps of a histogram as the path of a closed area; an empty one is an empty path."""
    if not any(counts):
        return ""
    width = PLOT_WIDTH / len(counts)
    path = [f"M0 {PLOT_HEIGHT}"]
    for index, count in enumerate(counts):
        height = PLOT_HEIGHT * math.sqrt(count / top)
        path.append(f"V{PLOT_HEIGHT - height:.1f}H{(index + 1) * width:.4g}")
    return "".join(path) + f"V{PLOT_HEIGHT}Z"


def place(histogram: Histogram, value: float) -> float:
    """Give the horizontal place of a value, inside the plot even where the value is not."""
    low, high = histogram.edges[0], histogram.edges[-1]
    if histogram.scale == "log":
        value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
    return round(PLOT_WIDTH * min(1.0, max(0.0, (value - low) / (high - low))), 1)


def draw_mark(histogram: Histogram, given: Limit) -> Mark | None:
    """Lay out one limit; an equality has no side."""
    if not math.isfinite(given.limit):
        return None
    x = place(histogram, given.limit)
    start, width = {"<": (0.0, x), ">": (x, PLOT_WIDTH - x)}.get(given.op[:1], (x, 0.0))
    if given.op == "<>":
        start, width = x, 0.0
    label = f"{given.op} {grouped(given.limit)}" + (f" ({given.group})" if given.group else "")
    return Mark(x=x, start=start, width=width, label=label, reason=given.reason)


def ticks(histogram: Histogram) -> list[tuple[float, str]]:
    """Give places and texts of the axis: decades, or both ends and the middle."""
    low, high = histogram.edges[0], histogram.edges[-1]
    if histogram.scale == "log":
        powers = range(round(math.log10(low)), round(math.log10(high)) + 1)
        return [(place(histogram, 10.0**power), decade(power)) for power in powers]
    return [(place(histogram, value), grouped(value)) for value in (low, (low + high) / 2, high)]


def decade(power: int) -> str:
    """Write a power of ten briefly."""
    return str(10**power) if power < 3 else f"{10 ** (power % 3)}{'kMBT'[power // 3 - 1]}"
