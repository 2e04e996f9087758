import json
from dataclasses import asdict, replace
from html.parser import HTMLParser

import pytest

from curate.report.data import build_report
from curate.report.drawing import draw_histogram, grouped, percent, seconds, short, visible
from curate.report.html import MAX_BYTES, render, to_json
from curate.report.model import Histogram, Limit, Report, ReportInput, Source
from tests.report.conftest import make_input


class Page(HTMLParser):
    """Collects tags, attributes and ids of a page, and checks that tags close in order."""

    VOID = ("meta", "br", "rect", "path")

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(given: ReportInput) -> Report:
    return build_report(given)


def test_the_page_is_well_formed_and_small(report: Report) -> None:
    page = render(report)
    assert Page(page).open == []
    assert len(page) < MAX_BYTES


def test_the_page_has_no_script_and_loads_nothing(report: Report) -> None:
    page = Page(render(report))
    assert not {"script", "img", "link", "iframe", "object", "form", "base"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {"src", "href", "style", "srcset", "xlink:href"} & names
    assert not [name for name in names if name.startswith("on")]
    assert b"url(" not in render(report) and b"@import" not in render(report)


def test_the_policy_allows_only_the_page_s_own_style(report: Report) -> None:
    policy = dict(Page(render(report)).attributes)["content"] or ""
    policies = [value for name, value in Page(render(report)).attributes if name == "content"]
    assert any("default-src 'none'; style-src 'sha256-" in (value or policy) for value in policies)


def test_hostile_texts_sources_and_names_do_not_escape(report: Report) -> None:
    bad = "</pre></style></title><script>alert(1)</script>\u202e\x1b[31m\"'><img src=x onerror=y>"
    source = Source(
        source=bad,
        num_docs=1,
        num_tokens=1,
        kept_docs=1,
        kept_tokens=1,
        dropped_docs={},
        dropped_tokens={},
    )
    reasons = [replace(report.reasons[0], drop=bad), *report.reasons[1:]]
    pools = [{**report.pools[0], "pool": bad}]
    hostile = replace(report, title=bad, plan=bad, recipe=bad, sources=[source], reasons=reasons, pools=pools)
    page = render(hostile)
    assert not {"script", "img"} & set(Page(page).tags)
    assert b"<script" not in page and "\u202e".encode() not in page and b"\x1b" not in page
    assert Page(page).tags.count("pre") == Page(render(report)).tags.count("pre")


def test_lone_surrogates_do_not_stop_the_page(report: Report) -> None:
    assert b"odd" in render(replace(report, title="odd \ud800"))


def test_a_page_with_much_text_is_cut_until_it_is_small(report: Report) -> None:
    longer = [replace(example, text="\u4e2d<" * 300) for example in report.examples for _ in range(8)]
    renamed = [replace(each, reason=f"user.r{index // 3}") for index, each in enumerate(longer)]
    page = render(replace(report, examples=renamed))
    assert len(page) < MAX_BYTES
    assert Page(page).open == []


def test_an_empty_report_renders() -> None:
    assert b"documents" in render(build_report(make_input([])))


def test_the_json_is_the_report(report: Report) -> None:
    assert json.loads(to_json(report)) == asdict(report)


def test_every_number_that_matters_is_on_the_page(report: Report) -> None:
    page = render(report).decode()
    for step in report.funnel:
        assert f"{step.dropped_tokens:,}" in page and f"{step.left_tokens:,}" in page
    for limit in ("&gt; 100,000", "&lt;= 0.12"):
        assert limit in page


@pytest.mark.parametrize(
    ("value", "total", "text"),
    [
        (0, 10, "0.0 %"),
        (1, 10, "10.0 %"),
        (1, 10_000, "<0.1 %"),
        (9_999, 10_000, ">99.9 %"),
        (10, 10, "100.0 %"),
        (1, 0, "\u2013"),
        (21, 20, "105.0 %"),
    ],
)
def test_percent_never_rounds_something_to_nothing(value: int, total: int, text: str) -> None:
    assert percent(value, total) == text


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (grouped, 1234567, "1,234,567"),
        (grouped, 0.30000001, "0.3"),
        (grouped, None, "\u2013"),
        (grouped, 12345.6, "12,346"),
        (short, 1_204_331, "1.20 M"),
        (short, 15_204_331_000, "15.2 B"),
        (short, 999_999, "999,999"),
        (seconds, 0.314, "0.31 s"),
        (seconds, 75.2, "1 min 15 s"),
        (seconds, 7260, "2 h 1 min"),
        (visible, "a\x00b\u202ec\n\td", "a\ufffdb\ufffdc\n\td"),
    ],
)
def test_numbers_are_written_for_people(function: object, value: object, text: str) -> None:
    assert callable(function)
    assert function(value) == text


@pytest.mark.parametrize(
    ("op", "limit", "start", "width"), [("<", 0.25, 0, 75), (">", 0.25, 75, 225), ("=", 0.5, 150, 0)]
)
def test_the_dropped_side_of_a_limit_is_shaded(op: str, limit: float, start: float, width: float) -> None:
    histogram = Histogram(
        column="a.b_frac",
        scale="linear",
        edges=[0.0, 0.5, 1.0],
        kept=[1, 4],
        dropped=[0, 0],
        num_null=0,
        limits=[Limit(reason="a.b", op=op, limit=limit)],
    )
    plot = draw_histogram(histogram)
    assert (plot.marks[0].start, plot.marks[0].width) == (start, width)
    assert plot.kept == "M0 90V45.0H150V0.0H300V90Z" and plot.dropped == ""
