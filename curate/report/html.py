"""Draw the report as one HTML page: no script, no network, under MAX_BYTES, light and dark.

Every value reaches the page through jinja2's autoescape, and texts of documents lose control and direction
characters first, so that a hostile document can change nothing but its own box. The page forbids everything
but its own style sheet to itself (Content-Security-Policy with the hash of the style). Where the page would
be too large, fewer and shorter examples and fewer sources are shown; report.json always has all.

Not here: counting (data.py).
"""

import hashlib
import json
from base64 import b64encode
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from curate.report.drawing import Bar, draw_histogram, grouped, percent, seconds, short, stack, visible
from curate.report.model import KEPT, Example, Report

MAX_BYTES = 200_000
MAX_REASONS = 200
MAX_POOLS = 40
MAX_RECIPE_CHARS = 12_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Detail:
    """How much of the long lists is shown."""

    examples: int
    chars: int
    sources: int
    clusters: int


DETAILS = (
    Detail(examples=3, chars=420, sources=40, clusters=20),
    Detail(examples=2, chars=320, sources=30, clusters=12),
    Detail(examples=1, chars=240, sources=20, clusters=6),
    Detail(examples=1, chars=100, sources=12, clusters=3),
    Detail(examples=0, chars=0, sources=12, clusters=0),
)
MAX_STRETCHES = 12


def to_json(report: Report) -> bytes:
    """Write the report as JSON, keys sorted."""
    text = json.dumps(asdict(report), sort_keys=True, indent=1, ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def render(report: Report) -> bytes:
    """Write the report as one self-contained HTML page of at most MAX_BYTES where detail can be given up."""
    page = b""
    for detail in DETAILS:
        page = template().render(view(report, detail)).encode("utf-8", errors="replace")
        if len(page) <= MAX_BYTES:
            break
    return page


def template(name: str = "report.html.j2") -> jinja2.Template:
    """Load a page's template from the package."""
    folder = files("curate.report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(
        grouped=grouped, percent=percent, short=short, seconds=seconds, visible=visible
    )
    style = folder.joinpath("report.css").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals.update(style=Markup(style), style_hash=digest)
    return environment.from_string(folder.joinpath(name).read_text(encoding="utf-8"))


def view(report: Report, detail: Detail) -> dict[str, Any]:
    """Give the template what it shows, ready for escaping."""
    colours = colour_names(report)
    total = report.totals.num_tokens
    steps = [(step.name, step.dropped_tokens) for step in report.funnel]
    whole = stack([(KEPT, report.totals.kept_tokens), *steps], total, colours)
    return {
        "report": report,
        "colours": colours,
        "whole": whole,
        "summary": ", ".join(f"{bar.name} {percent(bar.value, total)}" for bar in whole),
        "rows": funnel_rows(report, colours),
        "sources": source_rows(report, colours, detail.sources),
        "num_more_sources": max(0, len(report.sources) - detail.sources),
        "reasons": report.reasons[:MAX_REASONS],
        "max_any": max((reason.any_tokens for reason in report.reasons), default=0),
        "histograms": [draw_histogram(histogram) for histogram in report.histograms],
        "examples": example_groups(report, detail),
        "clusters": cluster_rows(report, detail),
        "pools": report.pools[:MAX_POOLS],
        "num_more_pools": max(0, len(report.pools) - MAX_POOLS),
        "pool_tokens": sum(int(pool.get("planned_tokens") or 0) for pool in report.pools),
        "recipe": report.recipe[:MAX_RECIPE_CHARS],
        "budget": budget_part(report),
        "KEPT": KEPT,
    }


def budget_part(report: Report) -> Markup:
    """Give the section of the budget, where one was shared out over pools."""
    if report.budget is None or report.budget["allocation"] is None:
        return Markup("")
    from curate.report.budget_page import section

    return section(report.budget)


def colour_names(report: Report) -> dict[str, str]:
    """Map every step of the funnel to a class of the style sheet."""
    names = {KEPT: "kept"}
    num_filters = 0
    for step in report.funnel:
        if step.kind == "filter":
            names[step.name] = f"filter{num_filters % 6}"
            num_filters += 1
        else:
            names[step.name] = step.kind
    return names


def funnel_rows(report: Report, colours: dict[str, str]) -> list[dict[str, Any]]:
    """Give the rows of the funnel: what is left (pale) and what the step dropped (its colour)."""
    total = report.totals.num_tokens
    rows = []
    for step in report.funnel:
        bars = stack(
            [("left", step.left_tokens), (step.name, step.dropped_tokens)],
            total,
            {"left": "left", **colours},
        )
        rows.append({"step": step, "bars": bars, "colour": colours[step.name]})
    return rows


def source_rows(report: Report, colours: dict[str, str], num_shown: int) -> list[dict[str, Any]]:
    """Give the largest sources, each with one bar of 100 %."""
    rows = []
    for source in report.sources[:num_shown]:
        values = [(KEPT, source.kept_tokens), *source.dropped_tokens.items()]
        bars: list[Bar] = stack(values, source.num_tokens, colours)
        rows.append({"source": source, "bars": bars})
    return rows


def example_groups(report: Report, detail: Detail) -> list[dict[str, Any]]:
    """Collect the examples by reason, in the order of the funnel, texts cut to the wanted length."""
    drops = {reason.reason: reason.drop for reason in report.reasons}
    groups: dict[str, list[tuple[Example, str]]] = {}
    for example in report.examples:
        group = groups.setdefault(example.reason, [])
        if len(group) < detail.examples:
            text = example.text or ""
            cut = visible(text[: detail.chars]) + ("\u2026" if len(text) > detail.chars else "")
            group.append((example, cut))
    return [
        {"reason": name, "drop": drops.get(name, ""), "examples": group}
        for name, group in groups.items()
        if group
    ]


def cluster_rows(report: Report, detail: Detail) -> list[dict[str, Any]]:
    """Give the largest clusters, with the first stretches of the members that are compared."""

    def cut(text: str) -> str:
        return visible(text[: detail.chars]) + ("\u2026" if len(text) > detail.chars else "")

    return [
        {
            "view": view,
            "sources": ", ".join(f"{name} {grouped(number)}" for name, number in view.sources.items()),
            "members": [
                (
                    member,
                    [
                        (each.is_same, cut(each.left), cut(each.right))
                        for each in member.stretches[:MAX_STRETCHES]
                    ],
                    max(0, len(member.stretches) - MAX_STRETCHES),
                )
                for member in view.members
            ],
        }
        for view in report.clusters[: detail.clusters]
    ]
