import json
import re
from typing import Any

import pytest

from curate.errors import DataError
from curate.report.budget_page import (
    HEIGHT,
    MAX_ROWS,
    WIDTH,
    absolute,
    as_text,
    budget_json,
    read_budget,
    relative,
    render_budget,
    section,
)
from curate.selection.allocation import Allocate, Supply, allocate
from curate.selection.allocation.compare import compare
from tests.report.test_html import Page

SETTINGS = Allocate(rule="marginal", prior="qqt_tmars_imagenet", cap=16)
TIERS = [Supply(name=f"q{n}-{n + 10}", unique_tokens=12_800_000, num_docs=1) for n in range(0, 40, 10)]


def budget(supplies: list[Supply] = TIERS, settings: Allocate = SETTINGS, target: str = "128M") -> Any:
    value = budget_json(allocate(supplies, target, settings), compare(supplies, target, settings))
    return json.loads(json.dumps(value))


def test_the_page_has_the_table_the_doubts_and_the_crossovers() -> None:
    value = budget()
    page = render_budget(value).decode()
    assert Page(page.encode()).open == []
    for text in ("q0-10", "How sure", "half lives x 2", "Quality against compute", "top 10 %", "Warning:"):
        assert text in page
    assert page.count("<svg viewBox") == 2
    assert page.count('class="mark"') == 2 * len(value["comparison"]["crossovers"]) > 0
    assert page.count('class="target"') == 2
    assert "<script" not in page and "style=" not in page


def test_lines_stay_inside_and_meet_where_the_best_changes() -> None:
    _, comparison = read_budget(budget())
    assert comparison is not None
    for plot in (absolute(comparison), relative(comparison)):
        assert len(plot.lines) == len(comparison.curves)
        for line in plot.lines:
            points = [tuple(map(float, point.split())) for point in re.findall(r"[\d.]+ [\d.]+", line.path)]
            assert points and all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
            assert [x for x, _ in points] == sorted(x for x, _ in points)
    natural = next(line for line in relative(comparison).lines if line.name == "natural")
    assert len(set(re.findall(r" ([\d.]+)", natural.path))) == 1
    narrow = next(line for line in absolute(comparison).lines if line.name == "top 10 %")
    assert narrow.path.count("L") + 1 < len(comparison.budgets)  # it ends at its cap


def test_hostile_names_are_escaped_and_long_ones_cut() -> None:
    hostile = [
        Supply(name="<script>alert(1)</script>\u202e", unique_tokens=100, num_docs=1),
        Supply(name="x" * 500, unique_tokens=100, num_docs=1),
    ]
    page = str(section(budget(hostile, Allocate(), "150")))
    assert "<script" not in page and "&lt;script&gt;" in page and "\u202e" not in page
    assert "x" * 100 not in page


def test_many_pools_are_summed_after_the_largest() -> None:
    many = [Supply(name=f"p{n:04}", unique_tokens=1000 + n, num_docs=1) for n in range(500)]
    value = budget_json(allocate(many, 100_000, Allocate(rule="marginal", prior="equal")), None)
    page = render_budget(value)
    assert f"{500 - MAX_ROWS} others".encode() in page and len(page) < 60_000
    assert b"Quality against compute" not in page
    assert "and 460 more" in as_text(value)


def test_the_text_has_both_parts() -> None:
    text = as_text(budget())
    assert "how sure" in text and "best filter: " in text and "q30-40" in text


@pytest.mark.parametrize("value", [None, {}, {"format": 2, "allocation": {}}, {"format": 1}])
def test_what_is_no_budget_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="budget"):
        section(value)
