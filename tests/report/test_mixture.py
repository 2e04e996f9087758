import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.report.html import MAX_BYTES
from curate.report.mixture import MAX_POINTS, NUM_CURVES, MixtureReport, build_mixture_report, mixture_to_json
from curate.report.mixture_page import mixture_as_text, render_mixture
from tests.command import Curate
from tests.loader.logs import HEADER, write
from tests.report.test_html import Page


@dataclass
class Block:
    block: int
    weights: dict[str, float]
    tokens: dict[str, int]
    num_steps: int = 4
    docs: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, float] = field(default_factory=dict)
    loss: dict[str, float | None] = field(default_factory=dict)
    events: Sequence[Any] = ()

    @property
    def first_step(self) -> int:
        return self.block * self.num_steps


def report_of(blocks: list[Block], pools: Sequence[str] = ()) -> MixtureReport:
    return build_mixture_report(blocks, title="log", plan="abc", pools=pools)


def test_shares_are_weighted_by_tokens() -> None:
    report = report_of(
        [
            Block(
                0, {"a": 0.5, "b": 0.5}, {"a": 60, "b": 40}, docs={"a": 6}, epochs={"a": 0.5}, loss={"a": 3.0}
            ),
            Block(
                1,
                {"a": 0.1, "b": 0.9},
                {"a": 10, "b": 290},
                docs={"a": 1},
                epochs={"a": 0.6},
                loss={"a": 2.0},
            ),
        ],
        pools=("a", "b", "never"),
    )
    b, a, never = report.pools
    assert (a.pool, a.tokens, a.docs, a.epochs, a.first_loss, a.last_loss) == ("a", 70, 7, 0.6, 3.0, 2.0)
    assert a.asked_share == pytest.approx(80 / 400) and a.served_share == pytest.approx(70 / 400)
    assert a.max_gap == pytest.approx(0.1)
    assert b.pool == "b" and b.last_loss is None
    assert (never.pool, never.tokens, never.asked_share) == ("never", 0, 0.0)
    assert (report.num_blocks, report.first_step, report.end_step, report.tokens) == (2, 0, 8, 400)


@given(st.integers(0, 1200), st.integers(1, 12))
def test_curves_are_bounded_and_keep_the_tokens(num_blocks: int, num_pools: int) -> None:
    blocks = [
        Block(
            number,
            {f"p{p}": 1 / num_pools for p in range(num_pools)},
            {f"p{p}": p + 1 for p in range(num_pools)},
        )
        for number in range(num_blocks)
    ]
    report = report_of(blocks)
    assert len(report.steps) <= MAX_POINTS and len(report.curves) <= NUM_CURVES
    assert report.steps == sorted(set(report.steps))
    for place in range(len(report.steps)):
        assert sum(curve.served[place] for curve in report.curves) == pytest.approx(1)
        assert sum(curve.asked[place] for curve in report.curves) == pytest.approx(1)
    assert report.tokens == num_blocks * num_pools * (num_pools + 1) // 2
    assert Page(render_mixture(report)).open == []


def test_joined_points_are_the_mean_of_their_blocks() -> None:
    blocks = [Block(n, {"a": 1.0}, {"a": 1, "b": n % 2}) for n in range(MAX_POINTS * 2)]
    report = report_of(blocks)
    assert len(report.steps) == MAX_POINTS
    assert report.curves[0].served == [pytest.approx(2 / 3)] * MAX_POINTS
    assert report.steps[:3] == [0, 8, 16]


def test_a_thousand_pools_and_blocks_make_a_small_page_with_the_rest_summed() -> None:
    names = [f"a long name of pool number {number:05d}" for number in range(1000)]
    block = Block(
        0, dict.fromkeys(names, 0.001), dict.fromkeys(names, 100_000), epochs=dict.fromkeys(names, 0.5)
    )
    report = report_of([block, Block(1, block.weights, block.tokens)])
    page = render_mixture(report)
    assert len(page) < MAX_BYTES and b"960 others" in page and b"all others" in page
    text = mixture_as_text(report)
    assert "980 others" in text and len(text.splitlines()) < 30
    assert len(json.loads(mixture_to_json(report))["pools"]) == 1000


def test_a_long_log_makes_a_small_page() -> None:
    blocks = [
        Block(n, {f"p{p}": (n + p) % 97 / 97 for p in range(12)}, {f"p{p}": (n * p) % 89 for p in range(12)})
        for n in range(5000)
    ]
    assert len(render_mixture(report_of(blocks))) < MAX_BYTES


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    page = Page(render_mixture(report_of([Block(0, {"a": 1.0}, {"a": 5}, events=["x", {"k": 1}])])))
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "object", "form", "base"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {"src", "href", "style", "srcset", "xlink:href"} & names
    assert any("default-src 'none'" in (value or "") for name, value in page.attributes if name == "content")


def test_hostile_names_titles_and_events_do_not_escape() -> None:
    bad = "</title></style><script>alert(1)</script>\u202e\x1b[31m\"'><img src=x onerror=y>\n\ud800"
    block = Block(0, {bad: 1.0}, {bad: 5}, docs={bad: 1}, events=[bad, {bad: bad}])
    report = build_mixture_report([block], title=bad, plan=bad, pools=(bad,))
    page = render_mixture(report)
    assert not {"script", "img"} & set(Page(page).tags)
    assert b"<script" not in page and "\u202e".encode() not in page and b"\x1b" not in page
    text = mixture_as_text(report)
    assert "\x1b" not in text and "\u202e" not in text and len(text.splitlines()) == 7
    assert json.loads(mixture_to_json(report)) == asdict(report)


def test_extreme_numbers_are_drawn_inside() -> None:
    block = Block(0, {"a": 1e308, "b": 5e-324}, {"a": 0, "b": 2**62}, epochs={"a": 1e308}, loss={"a": 1e308})
    report = report_of([block, Block(1, {"a": 1e308}, {"a": 0, "b": 0})])
    page = render_mixture(report)
    assert b"inf" not in page and b"nan" not in page.lower()
    assert json.loads(mixture_to_json(report))


def test_a_log_without_blocks_is_reported() -> None:
    report = report_of([], pools=("a",))
    assert b"Pools" in render_mixture(report) and "0 blocks" in mixture_as_text(report)


def test_the_command_prints_a_table_and_writes_page_and_json(curate: Curate, tmp_path: Path) -> None:
    log = tmp_path / "tokens.jsonl"
    write(log, 3)
    done = curate("report", "--loader-log", log)
    assert done.code == 0
    assert "3 blocks, steps 0 to 30" in done.out and done.out.splitlines()[-1] == f"{log}.html"
    assert "web" in done.out and "90.0 %" in done.out
    value = curate("report", "--loader-log", log, "--json").value
    assert value == json.loads((tmp_path / "tokens.jsonl.report.json").read_text())
    assert [row["pool"] for row in value["pools"]] == ["web", "code"] and value["plan"] == HEADER.plan
    assert value["events"] == [{"block": 1, "event": {"kind": "set"}}]


def test_the_command_takes_either_a_run_or_a_log(curate: Curate, tmp_path: Path) -> None:
    write(tmp_path / "log", 1)
    for arguments in ([], [tmp_path, "--loader-log", tmp_path / "log"]):
        done = curate("report", *arguments)
        assert done.code == 2 and "either the folder of a run or --loader-log" in done.err
    (tmp_path / "log").write_text("nothing\n")
    assert curate("report", "--loader-log", tmp_path / "log").code == 1
