"""Explanations of whole runs, checked against the columns for every reason that occurs on the sample."""

import json
import operator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import curate
from curate.filters.rules import Rule
from curate.pipeline import OpenRun
from curate.report.explain import Check, Explanation
from curate.report.fromrun import explain_documents
from tests.pipeline.conftest import SAMPLE

ROWS_PER_REASON = 3
COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "<>": operator.ne,
}

USER = [
    {"reason": "user.loud", "drop": "redpajama.rps_doc_frac_all_caps_words > 0.15"},
    {
        "reason": "user.mixed",
        "drop": "gopher.num_words > 400 AND gopher.hash_frac < 0.001",
        "where": "lang = 'en'",
    },
    {"reason": "user.no_ratio", "drop": "1 / (document.num_lines - 1) > 0.4"},
    {"reason": "user.license", "drop": "license = 'CC0-1.0'"},
    {"reason": "user.unknown", "drop": "gopher.dup_para_frac > 2"},
]
ALL_PRESETS = [{"preset": name} for name in ("gopher", "c4", "fineweb", "redpajama")]
STRICT = [
    {
        "preset": "gopher",
        "max_ellipsis_frac": 0.001,
        "max_top_2gram_char_frac": 0.05,
        "by": "lang",
        "limits": {"de": {"max_mean_word_length": 5}},
    },
    {"preset": "c4", "min_sentences": 3},
    {"preset": "fineweb", "where": "lang = 'en'"},
]
LIGHT = [{"reason": "user.short", "drop": "document.num_chars < 200"}]

RECIPES: dict[str, dict[str, Any]] = {
    "all presets, uniform": {
        "filter": [*ALL_PRESETS, *USER],
        "plan": {"pools": {"by": "source"}, "budget": "0.5"},
    },
    "strict presets, no budget": {"filter": STRICT, "dedup": {"exact": {"keep": "longest"}}},
    "keep by column, top": {
        "filter": LIGHT,
        "dedup": {"exact": {"keep": "gopher.num_words desc, id desc"}},
        "plan": {"budget": "200K", "select": {"method": "top", "score": "gopher.alpha_word_frac"}},
    },
    "keep by preference, threshold": {
        "filter": LIGHT,
        "dedup": {"exact": {"keep": "first", "prefer": {"column": "source", "order": ["udhr", "gutenberg"]}}},
        "plan": {
            "pools": {"by": "source"},
            "select": {"method": "threshold", "score": "fineweb.line_punct_frac", "threshold": 0.5},
        },
    },
    "duplicates within a source, weighted": {
        "filter": [],
        "dedup": {"exact": {"keep": "id", "within": "source"}},
        "plan": {
            "pools": {"by": "lang"},
            "budget": 0.3,
            "select": {"method": "weighted", "weight": "document.num_words", "seed": 7},
        },
    },
    "weighted by score with a threshold": {
        "filter": [],
        "plan": {
            "budget": 0.3,
            "select": {
                "method": "weighted",
                "score": "gopher.alpha_word_frac",
                "threshold": 0.6,
                "temperature": 0.1,
                "normalize": "zscore",
            },
        },
    },
}


def run_of(name: str, store: Path) -> OpenRun:
    recipe = {
        "input": {"paths": [f"{SAMPLE}/*.parquet", f"{SAMPLE}/*.jsonl.gz"]},
        "dedup": {"exact": {"keep": "first"}},
        **RECIPES[name],
        "run": str(store.parent / str(list(RECIPES).index(name))),
        "store": str(store),
    }
    return curate.run(recipe, write=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explain") / "store"


@pytest.fixture(scope="module", params=RECIPES)
def run(request: pytest.FixtureRequest, store: Path) -> OpenRun:
    return run_of(request.param, store)


@pytest.fixture(scope="module")
def facts(run: OpenRun) -> pl.DataFrame:
    """Plan and columns of every document, side by side."""
    plan = run.plan().with_columns(pl.col("reasons").list.eval(pl.element().cast(pl.String)))
    columns = run.columns()
    return plan.rename({"shard": "__shard"}).hstack(columns.drop("doc_id"))


def chosen(facts: pl.DataFrame) -> list[dict[str, Any]]:
    """A few documents for every reason that occurs, and some that are kept."""
    rows = facts.with_row_index("__index")
    by_reason = rows.explode("reasons").group_by("reasons").agg(pl.col("__index").head(ROWS_PER_REASON))
    wanted = by_reason["__index"].explode().unique().sort()
    return rows[wanted.to_list()].to_dicts()


def explained(run: OpenRun, fact: dict[str, Any]) -> Explanation:
    (found,) = explain_documents(run, f"{fact['__shard']}:{fact['row']}")
    return found


def check_rule(rule: Rule, check: Check, fact: dict[str, Any]) -> None:
    assert (check.drop, check.where) == (rule.drop, rule.where)
    for name, value in check.values.items():
        assert value == fact[name] or (value != value and fact[name] != fact[name]), name
    if rule.column is None or rule.op is None:
        return
    value = fact[rule.column]
    if check.outcome == "null":
        assert value is None
    elif check.limit is not None and check.outcome != "elsewhere":
        assert COMPARE[rule.op](value, check.limit) == (check.outcome == "dropped")


def test_every_reason_is_explained_by_the_values_and_limits_in_force(run, facts):
    rules = {}
    for rule in run.session.recipe.rules:
        rules.setdefault(rule.reason, []).append(rule)
    seen = set()
    for fact in chosen(facts):
        got = explained(run, fact)
        assert got.agrees, (fact["__shard"], fact["row"])
        assert [finding.reason for finding in got.findings] == fact["reasons"]
        assert got.kept == (fact["repeats"] > 0) and got.tokens == fact["tokens"]
        for finding in got.findings:
            seen.add(finding.reason)
            mine = rules.get(finding.reason.removesuffix(".null"))
            if mine is not None:
                assert finding.checks, finding.reason
                for check in finding.checks:
                    rule = next(rule for rule in mine if (rule.drop, rule.where) == (check.drop, check.where))
                    check_rule(rule, check, fact)
        assert json.loads(json.dumps(got.to_json())) and got.text()
    occurring = set(facts["reasons"].explode().drop_nulls())
    assert seen == occurring
    assert occurring == set(run.summary()["reasons"])


def test_a_duplicate_is_explained_by_a_copy_that_filters_and_duplicates_leave(run, facts):
    exact = run.session.recipe.dedup.exact
    assert exact is not None
    copies = facts.filter(pl.col("reasons").list.contains("exact.duplicate"))
    scope = [pl.col(exact.within)] if exact.within else []
    for fact in copies.head(20).to_dicts():
        (finding,) = [item for item in explained(run, fact).findings if item.reason == "exact.duplicate"]
        facts_of = finding.duplicate
        assert facts_of is not None
        same = facts.filter(
            pl.col("doc_id") == fact["doc_id"], *(column.eq_missing(fact[exact.within]) for column in scope)
        )
        assert facts_of.num_copies == same.height > 1
        kept = same.filter(__shard=facts_of.kept_shard, row=facts_of.kept_row).to_dicts()[0]
        assert kept["id"] == facts_of.kept_id and kept["doc_id"].hex() == facts_of.kept_doc_id
        assert all(reason.startswith("plan.") for reason in kept["reasons"])
        assert tuple(kept["reasons"]) == facts_of.kept_reasons
        survivors = same.filter(pl.col("reasons").list.eval(pl.element().str.starts_with("plan.")).list.all())
        assert survivors.height == 1, "one copy stays"
        for key, side in ((facts_of.key, fact), (facts_of.kept_key, kept)):
            if exact.columns():
                assert json.loads(str(key)) == {name: side[name] for name in exact.columns()}


def test_what_selection_leaves_out_lies_beyond_the_threshold_of_its_pool(run, facts):
    left_out = facts.filter(pl.col("reasons").list.eval(pl.element().str.starts_with("plan.")).list.any())
    pools = {row["pool"]: row for row in run.pools().iter_rows(named=True)}
    select = run.session.recipe.plan.selection
    for fact in left_out.head(25).to_dicts():
        got = explained(run, fact)
        found = got.findings[-1].selection
        assert found is not None and found.method == select.method
        pool = pools[got.pool]
        assert (found.threshold, found.planned_tokens) == (pool["threshold"], pool["planned_tokens"])
        if select.method in ("top", "threshold"):
            assert found.key == fact[select.score]
        if found.key is not None and found.threshold is not None:
            assert found.key <= found.threshold
    kept = facts.filter(pl.col("repeats") > 0)
    assert kept.height + facts.filter(pl.col("reasons").list.len() > 0).height == facts.height


def test_the_recipes_provoke_most_reasons(store):
    """Guards the tests above: together the recipes meet the presets, nulls, duplicates and every method."""
    occurring: set[str] = set()
    methods = set()
    for name in RECIPES:
        run = run_of(name, store)
        occurring |= run.summary()["reasons"].keys()
        methods.add(run.session.recipe.plan.selection.method)
    assert {"gopher", "c4", "fineweb", "redpajama", "user", "exact", "plan"} <= {
        reason.split(".")[0] for reason in occurring
    }
    assert methods == {"top", "threshold", "uniform", "weighted"}
    assert {reason for reason in occurring if reason.endswith(".null")}
    assert len(occurring) >= 45
