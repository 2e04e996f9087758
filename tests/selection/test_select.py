"""Selection: every method against the twin, whatever the chunks, the memory and the order of shards."""

import math

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate import _rust
from curate.errors import ConfigError, DataError
from curate.selection.budget import parse_budget
from curate.selection.select import Outcome, Selector
from curate.selection.settings import Selection
from tests.reference import selection as twin

SCORES = st.none() | st.sampled_from([math.nan, -math.inf, math.inf, -1.0, 0.0, -0.0, 0.25, 0.5, 1.0])
WEIGHTS = st.none() | st.sampled_from([math.nan, math.inf, -1.0, 0.0, 0.5, 3.0])
DOC = st.fixed_dictionaries(
    {
        "text": st.integers(0, 50),
        "tokens": st.integers(1, 9),
        "survived": st.sampled_from([True, True, True, False]),
        "pool": st.sampled_from(["web", "books", None]),
        "score": SCORES,
        "weight": WEIGHTS,
    }
)
DOCS = st.lists(DOC, max_size=30).map(lambda docs: [finished(doc) for doc in docs])


def finished(doc: dict) -> dict:
    return doc | {
        "doc_id": bytes.fromhex(_rust.blake3_hex(b"%d" % doc["text"])),
        "pool": doc["pool"] or "(none)",
    }


NAMES = ["web", "books", "(none)"]


def columns(docs: list[dict]) -> dict:
    data = {name: [doc.get(name[2:]) for doc in docs] for name in ("q.score", "q.weight", "q.other")}
    schema = {"source": pl.String} | dict.fromkeys(data, pl.Float64)
    data["source"] = [doc["pool"] for doc in docs]
    return {
        "doc_ids": pa.array([doc["doc_id"] for doc in docs], pa.binary(16)),
        "pools": np.array([NAMES.index(doc["pool"]) for doc in docs], dtype=np.uint32),
        "survived": np.array([doc["survived"] for doc in docs], dtype=bool),
        "columns": pl.DataFrame(data, schema=schema),
    }


def run(
    selection: Selection,
    docs: list[dict],
    scratch,
    *,
    size: int = 7,
    memory: int = 1 << 20,
    backward: bool = False,
    budgets: dict[str, int] | None = None,
) -> Outcome:
    firsts = list(range(0, len(docs), size))
    with Selector(selection, scratch=scratch, memory_bytes=memory) as selector:
        for first in reversed(firsts) if backward else firsts:
            part = docs[first : first + size]
            tokens = np.array([doc["tokens"] for doc in part], dtype=np.uint32)
            selector.add(first, tokens=tokens, **columns(part))
        outcome = selector.finish(NAMES, budgets=budgets)
    assert selection.method == "mix" or list(scratch.iterdir()) == []
    return outcome


def fates(outcome: Outcome, docs: list[dict], size: int = 11) -> list[str]:
    out = []
    for first in range(0, len(docs), size):
        part = docs[first : first + size]
        decision = outcome.decide(first, **columns(part))
        for row, doc in enumerate(part):
            reasons = [reason for reason, mask in decision.reasons if mask[row]]
            assert len(reasons) <= doc["survived"]
            assert (decision.repeats[row] > 0) == (doc["survived"] and not reasons)
            out.append(reasons[0] if reasons else "kept" if doc["survived"] else "gone")
    return out


SETTINGS = [
    {"method": "top", "score": "q.score"},
    {"method": "top", "score": "q.score", "threshold": 0.25},
    {"method": "threshold", "score": "q.score"},
    {"method": "uniform"},
    {"method": "uniform", "seed": 7, "score": "q.score", "threshold": 0.0},
    {"method": "weighted", "score": "q.score"},
    {"method": "weighted", "score": "q.score", "temperature": 0.5, "seed": 2**64 - 1},
    {"method": "weighted", "score": "q.score", "temperature": 2.0, "normalize": "zscore"},
    {"method": "weighted", "weight": "q.weight"},
    {"method": "weighted", "weight": "q.weight", "score": "q.score", "threshold": 0.25},
]


@pytest.mark.parametrize("chosen", SETTINGS, ids=str)
@given(
    docs=DOCS,
    budget=st.sampled_from([0, 1, 5, 20, 60, 1000]),
    size=st.integers(1, 31),
    memory=st.sampled_from([1, 1 << 20]),
    backward=st.booleans(),
)
@settings(max_examples=60)
def test_every_method_equals_the_twin_for_any_chunks_order_and_memory(
    tmp_path_factory, chosen, docs, budget, size, memory, backward
):
    outcome = run(
        Selection(**chosen, budget=budget),
        docs,
        tmp_path_factory.mktemp("s"),
        size=size,
        memory=memory,
        backward=backward,
    )
    found = fates(outcome, docs)
    assert found == twin.select(docs, chosen, budget)
    for report in outcome.pools:
        kept = [
            d["tokens"]
            for d, fate in zip(docs, found, strict=True)
            if fate == "kept" and d["pool"] == report.pool
        ]
        assert (report.planned_docs, report.planned_tokens) == (len(kept), sum(kept))
        assert report.short_by == max(0, report.budget_tokens - report.num_tokens)


@given(docs=DOCS)
def test_a_table_gives_each_pool_its_budget(tmp_path_factory, docs):
    table = {"web": 10, "books": 0.5, "(none)": "0"}
    outcome = run(Selection(budget=table), docs, tmp_path_factory.mktemp("s"))
    tokens = {name: sum(d["tokens"] for d in docs if d["survived"] and d["pool"] == name) for name in table}
    budgets = {"web": 10, "books": tokens["books"] // 2, "(none)": 0}
    assert fates(outcome, docs) == twin.select(docs, {"method": "uniform"}, budgets)
    assert {report.pool: report.budget_tokens for report in outcome.pools} == budgets


def docs_of(scores: list, tokens: int = 1, pool: str = "web") -> list[dict]:
    base = {"tokens": tokens, "survived": True, "pool": pool, "weight": 1.0}
    return [finished(base | {"text": i, "score": score}) for i, score in enumerate(scores)]


def test_no_budget_keeps_everything(tmp_path):
    docs = docs_of([0.1, None, 0.3])
    outcome = run(Selection(method="top", score="q.score"), docs, tmp_path)
    assert fates(outcome, docs) == ["kept", "plan.null_score", "kept"]
    (report,) = outcome.pools
    assert (report.pool, report.num_docs, report.budget_tokens, report.threshold, report.short_by) == (
        "web",
        2,
        None,
        None,
        0,
    )
    assert outcome.warnings == ()


def test_a_budget_above_the_supply_keeps_everything_and_says_by_how_much_it_is_short(tmp_path):
    docs = docs_of([0.1, 0.2], tokens=5)
    outcome = run(Selection(budget=25), docs, tmp_path)
    assert fates(outcome, docs) == ["kept", "kept"]
    assert outcome.warnings == ("pool web has 10 tokens, 15 fewer than its budget: 25",)


def test_the_threshold_of_the_report_is_the_score_of_the_last_document_taken(tmp_path):
    docs = docs_of([0.5, -2.5, 7.0, 0.5, -0.0])
    for method, budget, threshold, kept in [("top", 2, 0.5, 2), ("threshold", 2, 0.5, 3), ("top", 4, 0.0, 4)]:
        outcome = run(Selection(method=method, score="q.score", budget=budget), docs, tmp_path)
        assert (outcome.pools[0].threshold, outcome.pools[0].planned_docs) == (threshold, kept)


def test_the_crossing_document_is_included_and_zero_takes_nothing(tmp_path):
    docs = docs_of([3.0, 2.0, 1.0], tokens=10)
    for budget, kept in [(0, 0), (1, 1), (10, 1), (11, 2), (30, 3)]:
        outcome = run(Selection(method="top", score="q.score", budget=budget), docs, tmp_path)
        assert fates(outcome, docs).count("kept") == kept


def test_a_score_may_be_an_expression_and_reads_its_columns(tmp_path):
    selection = Selection(method="top", score="-q.score + 0 * q.weight", budget=1)
    assert selection.columns() == ("q.score", "q.weight")
    docs = docs_of([0.5, -1.0, 0.7])
    assert fates(run(selection, docs, tmp_path), docs) == ["plan.over_budget", "kept", "plan.over_budget"]


def test_moving_the_order_of_shards_moves_no_decision_but_ties(tmp_path):
    docs = docs_of([i / 100 for i in range(100)])
    selection = Selection(method="weighted", score="q.score", temperature=0.5, budget=30)
    forward = dict(zip((d["text"] for d in docs), fates(run(selection, docs, tmp_path), docs), strict=True))
    turned = docs[::-1]
    backward = dict(
        zip((d["text"] for d in turned), fates(run(selection, turned, tmp_path), turned), strict=True)
    )
    assert forward == backward


def test_the_normalised_scores_do_not_depend_on_shift_and_scale(tmp_path):
    scores = [float(i % 17) for i in range(60)]
    one, two = docs_of(scores), docs_of([score * 4 + 8 for score in scores])
    selection = Selection(method="weighted", score="q.score", normalize="zscore", budget=20)
    assert fates(run(selection, one, tmp_path), one) == fates(run(selection, two, tmp_path), two)


def test_scores_too_large_to_normalise_are_an_error_and_leave_no_scratch(tmp_path):
    docs = docs_of([1e308, -1e308, 1e308, 1e308])
    with pytest.raises(DataError, match="too large to be normalised"):
        run(Selection(method="weighted", score="q.score", normalize="zscore", budget=2), docs, tmp_path)
    assert list(tmp_path.iterdir()) == []


REFUSED = [
    ({"method": "top"}, "needs a score"),
    ({"method": "uniform", "threshold": 0.5}, "needs a score"),
    ({"method": "weighted"}, "needs either a score or a weight"),
    ({"method": "weighted", "score": "a", "weight": "b"}, "needs either a score or a weight"),
    ({"method": "top", "score": "a", "weight": "b"}, "a weight is for the method weighted"),
    ({"method": "threshold", "score": "a"}, "needs either a threshold or a budget"),
    (
        {"method": "threshold", "score": "a", "threshold": 1, "budget": "1B"},
        "needs either a threshold or a budget",
    ),
    ({"method": "top", "score": "avg(a)"}, "not a function of one row"),
    ({"budget": "3 billion"}, "a budget looks like"),
    ({"budget": {"web": -1}}, "not below 0"),
    ({"temperature": 0}, "0 is for the method mix"),
    ({"temperature": -1}, "greater than or equal to 0"),
    ({"method": "mix"}, "needs scores"),
    ({"method": "mix", "of": [{"score": "a", "share": 0.5}]}, "add up to 1, these to: 0.5"),
    ({"method": "mix", "of": [{"score": "a", "share": 1}], "score": "b"}, "has its scores under `of`"),
    ({"method": "mix", "of": [{"score": "a", "share": 0}]}, "greater than 0"),
    ({"method": "top", "score": "a", "of": [{"score": "a", "share": 1}]}, "of is for the method mix"),
    ({"seed": -1}, "greater than or equal to 0"),
    ({"method": "best"}, "Input should be"),
]


@pytest.mark.parametrize(("chosen", "message"), REFUSED, ids=str)
def test_settings_without_sense_are_refused(chosen, message):
    with pytest.raises(ValidationError, match=message):
        Selection(**chosen)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"score": "nope"}, "plan reads a column that is not there: nope"),
        ({"score": "source"}, "a score or weight is a number"),
        ({"score": "1 + 1"}, "reads at least one column"),
    ],
)
def test_columns_that_do_not_fit_are_errors(tmp_path, chosen, message):
    with pytest.raises(ConfigError, match=message):
        run(Selection(method="top", **chosen), docs_of([1.0]), tmp_path)


def test_a_table_that_leaves_out_a_pool_is_an_error_and_leaves_no_scratch(tmp_path):
    with pytest.raises(ConfigError, match="leaves out pools: web"):
        run(Selection(budget={"books": "1B"}), docs_of([1.0]), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert parse_budget("1B") == 10**9


BUDGETS = st.fixed_dictionaries({name: st.integers(0, 120) for name in NAMES})


@pytest.mark.parametrize("chosen", SETTINGS, ids=str)
@given(docs=DOCS, budgets=BUDGETS, size=st.integers(1, 31))
@settings(max_examples=40)
def test_a_budget_above_the_supply_repeats_documents_as_the_twin_says(
    tmp_path_factory, chosen, docs, budgets, size
):
    selection = Selection(**chosen, budget=1 if chosen["method"] == "threshold" else None)
    outcome = run(selection, docs, tmp_path_factory.mktemp("s"), size=size, budgets=budgets)
    found = outcome.decide(0, **columns(docs)).repeats.tolist()
    assert found == twin.repeats(docs, chosen, budgets)
    for report in outcome.pools:
        mine = [(n, d["tokens"]) for n, d in zip(found, docs, strict=True) if d["pool"] == report.pool and n]
        planned = (len(mine), sum(n * tokens for n, tokens in mine))
        assert (report.planned_docs, report.planned_tokens) == planned
        if report.num_tokens and chosen["method"] != "threshold":
            assert report.budget_tokens <= report.planned_tokens
            assert report.planned_tokens < report.budget_tokens + max((t for _, t in mine), default=1)


def test_repeats_beyond_what_the_plan_holds_are_an_error_that_names_the_pool(tmp_path):
    docs = docs_of([1.0])
    with pytest.raises(ConfigError, match=r"pool web has 1 tokens and a budget of 65535: .* 65535 times"):
        run(Selection(), docs, tmp_path, budgets={"web": 65535})
    outcome = run(Selection(), docs, tmp_path, budgets={"web": 65534})
    assert outcome.decide(0, **columns(docs)).repeats.tolist() == [65534]


MIXED = st.fixed_dictionaries({"score": SCORES, "other": SCORES})


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("normalize", ["none", "zscore"])
@given(
    docs=DOCS,
    data=st.data(),
    budget=st.sampled_from([1, 5, 20, 60, 1000]),
    size=st.integers(1, 31),
    memory=st.sampled_from([1, 1 << 20]),
    backward=st.booleans(),
)
@settings(max_examples=40)
def test_a_mix_takes_from_each_list_as_the_twin_does(  # over: what may not show
    tmp_path_factory, temperature, normalize, docs, data, budget, size, memory, backward
):
    docs = [doc | {"other": data.draw(SCORES)} for doc in docs]
    of = [{"score": "q.score", "share": 0.25}, {"score": "q.other", "share": 0.75}]
    chosen = {"method": "mix", "of": of, "temperature": temperature, "normalize": normalize}
    outcome = run(
        Selection(**chosen, budget=budget),
        docs,
        tmp_path_factory.mktemp("s"),
        size=size,
        memory=memory,
        backward=backward,
    )
    assert fates(outcome, docs) == twin.mix(docs, chosen, budget)
    outcome.close()


def test_a_mix_holds_the_share_of_each_list(tmp_path):
    docs = [doc | {"other": -doc["score"]} for doc in docs_of([float(i) for i in range(100)])]
    of = [{"score": "q.score", "share": 0.25}, {"score": "q.other", "share": 0.75}]
    outcome = run(Selection(method="mix", of=of, temperature=0, budget=40), docs, tmp_path)
    kept = [i for i, fate in enumerate(fates(outcome, docs)) if fate == "kept"]
    assert kept == [*range(30), *range(90, 100)]
    outcome.close()
    assert list(tmp_path.iterdir()) == []


@given(docs=DOCS, size=st.integers(1, 31), backward=st.booleans())
def test_the_content_of_a_pool_is_the_sum_of_its_documents(tmp_path_factory, docs, size, backward):
    outcome = run(Selection(), docs, tmp_path_factory.mktemp("s"), size=size, backward=backward)
    for report in outcome.pools:
        mine = [d["doc_id"] for d in docs if d["survived"] and d["pool"] == report.pool]
        assert report.content == twin.content(mine)
