"""Budgets over pools and tiers: repeats by document, deliveries of them, the same bytes on any machine."""

import json
import shutil
from collections import Counter
from fractions import Fraction

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import ConfigError
from curate.loader.building import build_index
from curate.loader.order import pool_order
from curate.loader.settings import Constants
from curate.loader.sources import open_plan
from curate.pipeline import Session, cells, load_recipe
from curate.pipeline.plan import MANY_POOLS
from curate.report.fromrun import explain_documents
from tests.pipeline.test_run import tree
from tests.reference import selection as twin

SCORE = "gopher.alpha_word_frac"
QUANTILES = [0.1, 0.25, 0.5]
NAMES = ["q0-10", "q10-25", "q25-50", "q50-100"]


@pytest.fixture
def tiered(recipe):
    """A recipe with tiers of a measured score; three pools have none of the worst tier."""
    recipe["filter"] = [{"reason": "user.short", "drop": "document.num_chars < 100"}]
    recipe["plan"] = {
        "pools": {"by": "lang", "tiers": {"of": SCORE, "quantiles": QUANTILES}},
        "select": {"method": "top", "score": SCORE},
        "budget": "3M",
        "allocate": {"rule": "natural"},
    }
    return recipe


def facts(run) -> pl.DataFrame:
    """Plan and columns of all documents."""
    columns = run.columns(["id", "lang", SCORE])
    return run.plan().with_columns(columns).with_columns(pool=pl.col("pool").cast(pl.String))


def tiers_of(scores: list[float], tokens: list[int]) -> list[str]:
    """The tier of each document, from the definition."""
    total = sum(tokens)
    by_score = sorted(zip(scores, tokens, strict=True), key=lambda item: -item[0])
    ends = []
    for quantile in QUANTILES:
        reached = 0
        for score, count in by_score:
            reached += count
            if reached >= Fraction(repr(quantile)) * total:
                ends.append(score)
                break
    return [next((NAMES[i] for i, end in enumerate(ends) if score >= end), NAMES[-1]) for score in scores]


def test_tiers_are_exact_quantiles_of_the_tokens_that_survive(tiered):
    run = curate.run(tiered, write=False)
    left = facts(run).filter(
        ~pl.col("reasons").list.eval(pl.element().cast(pl.String).str.starts_with("plan.").not_()).list.any()
    )
    assert left.height > 1500
    expected = tiers_of(left[SCORE].to_list(), left["tokens"].to_list())
    names = [f"{lang}/{tier}" for lang, tier in zip(left["lang"], expected, strict=True)]
    assert left["pool"].to_list() == names
    assert set(expected) == set(NAMES)


def test_quantiles_may_be_within_pools(tiered):
    tiered["plan"]["pools"]["tiers"]["within"] = "pool"
    run = curate.run(tiered, write=False)
    left = facts(run).filter(pl.col("reasons").list.len() == 0)
    mine = left.filter(pl.col("lang") == "en")
    expected = tiers_of(mine[SCORE].to_list(), mine["tokens"].to_list())
    assert mine["pool"].to_list() == [f"en/{tier}" for tier in expected]


def test_repeats_are_whole_passes_and_the_cut_of_the_rest(tiered):
    run = curate.run(tiered, write=False)
    docs, pools = facts(run), run.pools()
    assert pools["budget_tokens"].sum() == 3_000_000
    assert docs["repeats"].max() == 2
    known = docs["reasons"].list.eval(pl.element().cast(pl.String).str.starts_with("plan.")).list.all()
    rows = [
        {
            "doc_id": d["doc_id"],
            "tokens": d["tokens"],
            "survived": bool(ok),
            "pool": d["pool"],
            "score": d[SCORE],
            "weight": None,
        }
        for d, ok in zip(docs.iter_rows(named=True), known, strict=True)
    ]
    budgets = dict(zip(pools["pool"], pools["budget_tokens"], strict=True))
    assert docs["repeats"].to_list() == twin.repeats(rows, {"method": "top"}, budgets)
    for pool in pools.iter_rows(named=True):
        mine = docs.filter(pl.col("pool") == pool["pool"])
        assert pool["planned_tokens"] == (mine["repeats"].cast(pl.Int64) * mine["tokens"]).sum()
        assert pool["budget_tokens"] <= pool["planned_tokens"] < pool["budget_tokens"] + mine["tokens"].max()
        assert (pool["num_unique_docs"], pool["num_unique_tokens"]) == _unique(rows, pool["pool"])
        assert pool["content"] == twin.content(
            [row["doc_id"] for row in rows if row["survived"] and row["pool"] == pool["pool"]]
        )
    totals = run.plan_file.header["totals"]
    assert totals["planned_tokens"] == pools["planned_tokens"].sum() >= 3_000_000
    assert run.verify()[0] == []
    found = json.loads((run.plan_file.path / "budget.json").read_text())
    assert found == run.plan_file.budget()
    assert (
        dict(zip(found["allocation"]["pools"]["name"], found["allocation"]["pools"]["tokens"], strict=True))
        == budgets
    )
    assert "epochs" in run.as_text()


def _unique(rows: list[dict], pool: str) -> tuple[int, int]:
    mine = [row["tokens"] for row in rows if row["survived"] and row["pool"] == pool]
    return len(mine), sum(mine)


def test_the_report_has_the_budget_with_its_plot(tiered):
    tiered["plan"] |= {"pools": {"tiers": {"of": SCORE, "quantiles": QUANTILES}}, "budget": "1M"}
    tiered["plan"]["allocate"] = {"rule": "marginal", "prior": "qqt_tmars_imagenet"}
    run = curate.run(tiered, write=False)
    page = (run.path / "report.html").read_text()
    assert "<h2>Budget</h2>" in page and "Quality against compute" in page and len(page) < 200_000
    assert json.loads((run.path / "report.json").read_text())["budget"] == run.plan_file.budget()


def test_a_damaged_budget_is_found(tiered):
    run = curate.run(tiered, write=False)
    (run.plan_file.path / "budget.json").write_text("{}")
    assert any("budget.json" in problem for problem in run.verify()[0])
    assert any("budget.json" in problem for problem in run.plan_file.check_files())


@pytest.mark.parametrize("num_threads", [1, 3])
def test_threads_and_memory_change_no_byte(tiered, tmp_path, num_threads):
    tiered["plan"]["order"] = {"curriculum": "folding", "of": SCORE}
    of = [{"score": SCORE, "share": 0.5}, {"score": "-document.num_chars", "share": 0.5}]
    tiered["plan"]["select"] = {"method": "mix", "of": of, "temperature": 2, "normalize": "zscore"}
    curate.run(tiered, num_threads=1, memory="2GiB")
    expected = tree(tmp_path)
    for name in ("run", "store", "out"):
        shutil.rmtree(tmp_path / name)
    curate.run(tiered, num_threads=num_threads, memory="128MiB")
    assert tree(tmp_path) == expected


def test_upsampling_gives_tiers_epochs_of_their_own(tiered):
    tiered["plan"] |= {"budget": None, "allocate": {"upsample": {"q0-10": 3, "q10-25": 1.5, "q50-100": 0}}}
    run = curate.run(tiered, write=False)
    epochs = {"q0-10": 3, "q10-25": 1.5, "q25-50": 1, "q50-100": 0}
    for pool in run.pools().iter_rows(named=True):
        times = epochs[pool["pool"].rpartition("/")[2]]
        assert pool["budget_tokens"] == int(times * pool["num_unique_tokens"])
    repeats = facts(run).group_by("pool").agg(pl.col("repeats").max())
    assert all(n == 3 for pool, n in repeats.iter_rows() if pool.endswith("q0-10"))
    assert "q0-10: 3 epochs" in run.as_text()


def test_a_delivery_has_repeats_as_a_column(tiered, tmp_path):
    run = curate.run(tiered)
    kept = facts(run).filter(pl.col("repeats") > 0)
    written = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert written["repeats"].to_list() == kept["repeats"].to_list()
    assert written["id"].to_list() == kept["id"].to_list()


def order_ids(run, key: str, *, descending: bool = False) -> list[str]:
    """Kept documents by a column, ties in key order."""
    kept = facts(run).with_columns(run.columns([key]).select(by=key)).filter(pl.col("repeats") > 0)
    return kept.sort("by", descending=descending, maintain_order=True)["id"].to_list()


@pytest.mark.parametrize("direction", ["low_to_high", "high_to_low", "folding"])
def test_a_delivery_is_in_the_order_of_the_curriculum(tiered, tmp_path, direction):
    tiered["plan"]["order"] = {"curriculum": direction, "of": "document.num_chars"}
    run = curate.run(tiered)
    written = [
        id_
        for path in sorted((tmp_path / "out").glob("*.parquet"))
        for id_ in pq.read_table(path)["id"].to_pylist()
    ]
    ids = order_ids(run, "document.num_chars", descending=direction == "high_to_low")
    assert written == ([i for layer in range(5) for i in ids[layer::5]] if direction == "folding" else ids)


def test_written_copies_come_pass_after_pass_each_in_order(tiered, tmp_path):
    tiered["plan"]["order"] = {"curriculum": "low_to_high", "of": "document.num_chars"}
    tiered["output"]["materialize_repeats"] = True
    run = curate.run(tiered)
    written = [
        id_
        for path in sorted((tmp_path / "out").glob("*.parquet"))
        for id_ in pq.read_table(path)["id"].to_pylist()
    ]
    again = set(facts(run).filter(pl.col("repeats") > 1)["id"])
    ids = order_ids(run, "document.num_chars")
    assert again and written == ids + [id_ for id_ in ids if id_ in again]
    assert "repeats" not in pl.read_parquet(tmp_path / "out" / "*.parquet").columns
    assert run.verify()[0] == []


def test_copies_of_a_delivery_in_folders_stand_together(tiered, tmp_path):
    tiered["plan"]["order"] = {"curriculum": "high_to_low", "of": SCORE}
    tiered["output"] |= {"materialize_repeats": True, "split_by": "lang"}
    run = curate.run(tiered)
    docs = facts(run).with_columns(nth=pl.int_range(pl.len())).filter(pl.col("repeats") > 0)
    mine = docs.filter(pl.col("lang") == "en").sort(SCORE, descending=True, maintain_order=True)
    expected = [id_ for id_, n in mine.select("id", "repeats").iter_rows() for _ in range(n)]
    paths = sorted((tmp_path / "out" / "lang=en").glob("*.parquet"))
    assert [id_ for path in paths for id_ in pq.read_table(path)["id"].to_pylist()] == expected


def test_documents_without_a_score_for_tiers_have_a_reason_of_their_own(tiered):
    tiered["plan"]["pools"]["tiers"]["of"] = (
        "CASE WHEN document.num_chars < 300 THEN NULL ELSE document.num_chars END"
    )
    run = curate.run(tiered, write=False)
    short = run.columns(["document.num_chars"])["document.num_chars"]
    dropped = facts(run).filter(short < 300)
    named = dropped["reasons"].list.eval(pl.element().cast(pl.String)).list.contains("plan.null_tier")
    assert run.plan_file.header["reasons"]["plan.null_tier"]["any"] == named.sum() > 50
    assert dropped.filter(named)["pool"].str.ends_with("/(none)").all()
    assert not run.pools()["pool"].str.contains("(none)", literal=True).any()
    one = dropped.filter(named).row(0, named=True)
    (found,) = explain_documents(run, f"{one['shard']}:{one['row']}")
    assert "tiers of CASE WHEN" in found.text() and "key null" in found.text()


def test_documents_without_a_score_for_the_order_come_last(tiered, tmp_path):
    of = "CASE WHEN document.num_chars < 3000 THEN document.num_chars END"
    tiered["plan"]["order"] = {"curriculum": "high_to_low", "of": of}
    run = curate.run(tiered)
    sizes = facts(run).with_columns(run.columns(["document.num_chars"])).filter(pl.col("repeats") > 0)
    long = sizes.filter(pl.col("document.num_chars") >= 3000)["id"].to_list()
    written = [
        id_
        for path in sorted((tmp_path / "out").glob("*.parquet"))
        for id_ in pq.read_table(path)["id"].to_pylist()
    ]
    assert long and written[-len(long) :] == long
    assert any(
        f"{len(long):,} kept documents have no score" in text for text in run.plan_file.header["warnings"]
    )


def test_pools_may_be_cells_of_several_columns(tiered):
    tiered["plan"]["pools"] = {"by": ["lang", "source"]}
    run = curate.run(tiered, write=False)
    pairs = run.columns(["lang", "source"])
    expected = [f"{a or '(none)'}/{b}" for a, b in pairs.iter_rows()]
    assert facts(run)["pool"].to_list() == expected


def test_contents_of_pools_add_up_however_they_are_cut(tiered):
    cut = curate.run(tiered, write=False).pools()
    tiered["plan"]["pools"] = {}
    (whole,) = curate.run(tiered, write=False).pools().iter_rows(named=True)
    assert whole["pool"] == "all"
    assert sum(int(text, 16) for text in cut["content"]) % 2**128 == int(whole["content"], 16)
    assert cut["num_unique_docs"].sum() == whole["num_unique_docs"]


def test_explain_says_why_a_document_is_repeated(tiered):
    run = curate.run(tiered, write=False)
    twice = facts(run).filter(pl.col("repeats") == 2).row(0, named=True)
    (found,) = explain_documents(run, f"{twice['shard']}:{twice['row']}")
    assert found.repeats == 2
    pool = next(p for p in run.pools().iter_rows(named=True) if p["pool"] == twice["pool"])
    assert f"{pool['budget_tokens']:,} tokens" in found.text().replace("\u202f", ",")
    assert "2 times" in found.text()


def test_the_loader_has_documents_in_the_order_of_the_plan_and_as_often(tiered, tmp_path):
    tiered["plan"] |= {"pools": {}, "order": {"curriculum": "low_to_high", "of": "document.num_chars"}}
    tiered["input"]["paths"] = tiered["input"]["paths"][:1]
    run = curate.run(tiered, write=False)
    index = build_index(open_plan(run), tmp_path / "index", num_lanes=1, ordered=True)
    docs = facts(run).with_columns(run.columns(["document.num_chars"]))
    expected = docs.filter(pl.col("repeats") > 0).sort("document.num_chars", maintain_order=True)
    assert index.row.tolist() == expected["row"].to_list()
    assert index.repeats.tolist() == expected["repeats"].to_list()
    constants = Constants(seq_len=8, global_batch=1, order="plan", max_epochs=1)
    order = pool_order(index, constants, 0)
    served, number = [], 0
    while (window := order.window(0, number)) is not None:
        served += window.tolist()
        number += 1
    again = np.flatnonzero(expected["repeats"].to_numpy() > 1).tolist()
    assert served == [*range(expected.height), *again]


def test_many_pools_name_only_their_own_in_a_block(tiered):
    tiered["plan"] = {"pools": {"by": ["source", "id"]}, "budget": "0.5", "select": {"method": "uniform"}}
    run = curate.run(tiered, write=False)
    assert run.pools().height > MANY_POOLS
    pairs = run.columns(["source", "id"])
    assert facts(run)["pool"].to_list() == [f"{a}/{b}" for a, b in pairs.iter_rows()]
    names = run.plan_file.rows(0, columns=["pool"])["pool"].combine_chunks().dictionary
    assert len(names) < run.pools().height


def test_more_pools_than_a_plan_can_hold_are_an_error(tiered, monkeypatch):
    monkeypatch.setattr(cells, "MAX_POOLS", 30)
    with pytest.raises(ConfigError, match=r"at most 30 pools, plan\.pools makes: "):
        curate.run(tiered, write=False)


REFUSED = [
    ({"allocate": {"rule": "natural"}, "budget": "100M"}, "fewer than the budget: 100000000"),
    ({"allocate": {"rule": "natural"}, "budget": 0}, "from 1 to below 2\\^60, this one has: 0"),
    ({"allocate": {"rule": "natural"}, "budget": {"en": 5}}, "one number where plan.allocate shares it out"),
    ({"allocate": {"rule": "marginal"}, "budget": "1M"}, "prior"),
    ({"allocate": {"upsample": {"q0-10": 2}}, "budget": "1M"}, "says how many tokens there are"),
    ({"allocate": {"upsample": {"q0-10": 2}, "cap": 3}}, "no other key beside it: cap"),
    ({"allocate": {"upsample": {"q0-11": 2}}}, "names no pool and no tier: q0-11"),
    ({"allocate": {"upsample": {"q0-10": -1}}}, "epochs from 0 and below 65535, q0-10 has: -1"),
    ({"allocate": {"upsample": {"q0-10": 65534}}}, None),
    ({"compute": {"flops": 1e15, "params": 1e6}, "budget": "1M"}, "both say how many tokens: 1M"),
    ({"compute": {"flops": 1e5, "params": 1e6}}, "less than a token"),
    ({"compute": {"flops": -1}}, "greater than 0"),
    ({"pools": {"tiers": {"of": "nope.score", "quantiles": [0.5]}}}, "no column of that name: nope.score"),
    ({"pools": {"tiers": {"of": "lang", "quantiles": [0.5]}}}, "is a number, this expression gives String"),
    ({"pools": {"by": []}}, "names no column"),
    ({"pools": {"by": ["lang", "lang"]}}, "has a column twice: lang"),
    ({"pools": {"by": "nope"}}, "no column of that name: nope"),
    ({"order": {"curriculum": "folding", "of": "nope"}}, "no column of that name: nope"),
    ({"order": "backwards"}, "order"),
    ({"select": {"method": "mix", "of": [{"score": "nope", "share": 1}]}}, "no column of that name: nope"),
]


@pytest.mark.parametrize(("chosen", "message"), REFUSED, ids=str)
def test_nonsense_is_refused_by_name(recipe, chosen, message):
    tiers = {"of": SCORE, "quantiles": QUANTILES}
    recipe["plan"] = {"pools": {"by": "lang", "tiers": tiers}, **chosen}
    if message is None:
        assert curate.run(recipe, write=False).plan()["repeats"].max() == 65534
        return
    with pytest.raises(ConfigError, match=message):
        curate.run(recipe, write=False)


def test_a_corpus_of_which_nothing_survives_has_no_budget(tiered):
    tiered["filter"] = [{"reason": "user.all", "drop": "document.num_chars >= 0"}]
    with pytest.raises(ConfigError, match=r"no document survives .*: 0 unique tokens"):
        curate.run(tiered, write=False)


def test_flops_say_how_many_tokens(tiered):
    tiered["plan"] |= {"budget": None, "compute": {"flops": 6e12, "params": 1e6}}
    run = curate.run(tiered, write=False)
    found = run.plan_file.budget()
    assert found["target_tokens"] == 1_000_000 and found["params"] == 1e6
    assert 1_000_000 <= run.plan_file.header["totals"]["planned_tokens"] < 1_200_000
    assert f"{found['predicted_loss']:.4f}" in run.as_text()


@pytest.mark.parametrize("direction", ["low_to_high", "folding"])
@pytest.mark.parametrize("allocate", [{"rule": "natural"}, {"upsample": {"q0-10": 2}}], ids=str)
def test_a_run_is_opened_again_from_the_recipe_that_it_wrote(tiered, direction, allocate):
    tiered["plan"] |= {"budget": None, "allocate": allocate, "order": {"curriculum": direction, "of": SCORE}}
    run = curate.run(tiered, write=False)
    again = curate.open_run(run.path)
    assert again.session.recipe.plan_fingerprint() == run.session.recipe.plan_fingerprint()
    assert again.verify()[0] == [] and again.as_text() == run.as_text()


def test_a_plan_without_new_keys_has_no_budget_file(recipe):
    run = curate.run(recipe, write=False)
    assert run.plan_file.budget() is None and not (run.plan_file.path / "budget.json").exists()
    assert run.plan()["repeats"].max() == 1


def test_a_file_of_evidence_counts_by_its_content_not_its_place(tiered, tmp_path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    for path in (one, two):
        path.write_text("{}")
    prints = []
    for path in (one, two):
        tiered["plan"]["allocate"] = {"rule": "natural", "evidence": str(path)}
        prints.append(load_recipe(tiered).plan_fingerprint())
    two.write_text("{ }")
    assert prints[0] == prints[1] != load_recipe(tiered).plan_fingerprint()
    assert Session(load_recipe(tiered)).recipe.located().plan.allocate.evidence == str(two)


def test_copies_in_the_corpus_count_as_often_as_they_stay(tiered):
    tiered["dedup"] = {}
    tiered["plan"]["pools"] = {}
    run = curate.run(tiered, write=False)
    left = facts(run).filter(pl.col("reasons").list.len() == 0)
    assert max(Counter(left["doc_id"]).values()) > 1
    assert run.pools()["content"][0] == twin.content(left["doc_id"].to_list())
