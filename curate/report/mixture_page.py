"""Draw the report of a token log: one HTML page under the rules of html.py, and lines for a terminal.

The largest pools get curves and rows, the others are summed; the JSON has all of them. Not here: counting
(mixture.py).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.files import atomic_file
from curate.report.drawing import PLOT_HEIGHT, PLOT_WIDTH, grouped, percent, short, visible
from curate.report.html import template
from curate.report.mixture import Curve, MixtureReport, PoolShare, mixture_to_json

COLOURS = ("kept", "filter0", "filter1", "duplicates", "edits", "filter3", "filter2", "filter4")
OTHERS = "selection"
MAX_ROWS = 40
MAX_TEXT_ROWS = 20
MAX_NAME_CHARS = 80
MAX_TEXT_NAME_CHARS = 32
STACK_WIDTH, STACK_HEIGHT = 1000, 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Area:
    """One pool in the stack of served shares."""

    name: str
    colour: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Asked and served share of one pool, as steps from point to point."""

    name: str
    colour: str
    served: str
    asked: str
    top: str
    summary: str


def write_mixture_report(report: MixtureReport, log: Path) -> tuple[Path, Path]:
    """Write page and JSON beside the log, as `LOG.html` and `LOG.report.json`; return their paths."""
    page, table = log.with_name(f"{log.name}.html"), log.with_name(f"{log.name}.report.json")
    for target, data in ((table, mixture_to_json(report)), (page, render_mixture(report))):
        with atomic_file(target) as handle:
            handle.write(data)
    return page, table


def render_mixture(report: MixtureReport) -> bytes:
    """Write the report as one self-contained HTML page."""
    page = template("mixture.html.j2").render(
        report=report,
        areas=stacked(report),
        panels=[panel(curve, colour, report) for curve, colour in coloured(report)],
        rows=shown(report, MAX_ROWS, MAX_NAME_CHARS),
        num_more=max(0, len(report.pools) - MAX_ROWS),
        events=[(each["block"], describe(each["event"])) for each in report.events],
    )
    return page.encode("utf-8", errors="replace")


def coloured(report: MixtureReport) -> list[tuple[Curve, str]]:
    """Give every curve a class of the style sheet."""
    return [
        (curve, OTHERS if curve.pool is None else COLOURS[place % len(COLOURS)])
        for place, curve in enumerate(report.curves)
    ]


def name_of(pool: str | None, limit: int) -> str:
    """Write a pool's name so that it can be shown."""
    text = "all others" if pool is None else visible(pool).replace("\n", " ").replace("\t", " ")
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


def describe(event: Any) -> str:
    """Write an event in one line."""
    text = event if isinstance(event, str) else json.dumps(event, sort_keys=True)
    return name_of(text, 200)


def edges(report: MixtureReport, width: int) -> list[float]:
    """Horizontal places where points begin, and where the last one ends."""
    length = max(1, report.end_step - report.first_step)
    starts = [*report.steps, report.end_step]
    return [round(width * min(1.0, max(0.0, (step - report.first_step) / length)), 1) for step in starts]


def stairs(values: Sequence[float], places: Sequence[float], height: float, top: float) -> str:
    """Write values as steps of a line, without its first command."""
    return "".join(
        f"V{height - height * min(1.0, value / top):.1f}H{end:g}"
        for value, end in zip(values, places[1:], strict=True)
    )


def stacked(report: MixtureReport) -> list[Area]:
    """Lay the served shares on one another, the largest pool at the bottom; drawn from the top down."""
    places = edges(report, STACK_WIDTH)
    sums = [0.0] * len(report.steps)
    areas = []
    for curve, colour in coloured(report):
        sums = [below + value for below, value in zip(sums, curve.served, strict=True)]
        path = f"M0 {STACK_HEIGHT}{stairs(sums, places, STACK_HEIGHT, 1.0)}V{STACK_HEIGHT}Z" if sums else ""
        areas.append(Area(name=name_of(curve.pool, MAX_NAME_CHARS), colour=colour, path=path))
    return areas[::-1]


def panel(curve: Curve, colour: str, report: MixtureReport) -> Panel:
    """Draw one pool to its own scale."""
    top = max([*curve.asked, *curve.served, 0.0]) or 1.0
    places = edges(report, PLOT_WIDTH)
    served = stairs(curve.served, places, PLOT_HEIGHT, top)
    asked = stairs(curve.asked, places, PLOT_HEIGHT, top)
    asked_first = PLOT_HEIGHT - PLOT_HEIGHT * min(1.0, curve.asked[0] / top) if curve.asked else PLOT_HEIGHT
    name = name_of(curve.pool, MAX_NAME_CHARS)
    ends = f"{percent(curve.served[0], 1)} to {percent(curve.served[-1], 1)}" if curve.served else "nothing"
    return Panel(
        name=name,
        colour=colour,
        served=f"M0 {PLOT_HEIGHT}{served}V{PLOT_HEIGHT}Z" if served else "",
        asked=f"M0 {asked_first:.1f}{asked}" if asked else "",
        top=percent(top, 1),
        summary=f"{name}: share served from {ends}",
    )


def shown(report: MixtureReport, limit: int, name_limit: int) -> list[tuple[str, PoolShare]]:
    """Give the rows of a table: the largest pools, the others as one."""
    rows = [(name_of(row.pool, name_limit), row) for row in report.pools[:limit]]
    rest = report.pools[limit:]
    if rest:
        others = PoolShare(
            pool="",
            asked_share=sum(row.asked_share for row in rest),
            served_share=sum(row.served_share for row in rest),
            max_gap=max(row.max_gap for row in rest),
            tokens=sum(row.tokens for row in rest),
            docs=sum(row.docs for row in rest),
            epochs=max(row.epochs for row in rest),
            first_loss=None,
            last_loss=None,
        )
        rows.append((f"{len(rest):,} others", others))
    return rows


def mixture_as_text(report: MixtureReport) -> str:
    """Write the report for a terminal: a line of totals and a table of the largest pools."""
    head = (
        f"{report.num_blocks:,} blocks, steps {report.first_step:,} to {report.end_step:,}, "
        f"{short(report.tokens)} tokens, {report.docs:,} documents, {len(report.pools):,} pools"
    )
    table = [("pool", "asked", "served", "tokens", "documents", "epochs", "loss")]
    for name, row in shown(report, MAX_TEXT_ROWS, MAX_TEXT_NAME_CHARS):
        epochs = f"{row.epochs:.3g}" if row.pool or not name.endswith(" others") else f"<={row.epochs:.3g}"
        table.append(
            (
                name,
                percent(row.asked_share, 1),
                percent(row.served_share, 1),
                grouped(row.tokens),
                grouped(row.docs),
                epochs,
                "" if row.last_loss is None else f"{row.last_loss:.4g}",
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    events = [f"block {each['block']}: {describe(each['event'])}" for each in report.events[:10]]
    more = report.num_events - len(events)
    return "\n".join(
        [head, "", *lines, *([""] if events else []), *events, *([f"{more} more"] if more else [])]
    )
