"""From results to weights: exact where the law allows, checked, compared, keyed by content."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.errors import ConfigError, DataError
from curate.laws.mixture.exponential import Exponential
from curate.laws.mixture.log_linear import LogLinear
from curate.selection.allocation import Allocate, Supply, allocate, read_evidence, write_evidence
from curate.selection.mixture_fit import MixtureFitSettings, fit_mixture
from curate.selection.pool_tables import NaturalPool
from tests.laws.mixture.planted import LAW, POOLS, PRIOR, runs_with

TOKENS = {pool: int(amount * 1e9) for pool, amount in PRIOR.items()}
CONTENTS = {pool: f"{at + 1:032x}" for at, pool in enumerate(POOLS)}
NATURAL = [
    NaturalPool(name=pool, amount=float(TOKENS[pool]), unique_tokens=TOKENS[pool], content=CONTENTS[pool])
    for pool in POOLS
]
FRAME = runs_with(LAW, 60, noise=0.002).table()


def fitted(frame: pl.DataFrame = FRAME, pools=NATURAL, **changed):
    return fit_mixture(frame, pools, MixtureFitSettings(**changed))


def objective(law, shares: np.ndarray, kl: float) -> float:
    natural = np.array(list(PRIOR.values())) / 100
    parts = np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-300) / natural), 0)
    return float(law.objective(shares)[0]) + kl * float(parts.sum())


@pytest.mark.parametrize("name", ["log_linear", "exponential"])
def test_the_exact_mixture_is_below_every_neighbour_and_the_truth_agrees(name: str) -> None:
    found = fitted(law=name, kl=0.05)
    assert found.is_exact
    best, draw = objective(found.fitted.law, found.best.shares, 0.05), np.random.default_rng(0)
    for _ in range(200):
        other = found.best.shares * np.exp(draw.normal(0, 0.05, 4))
        assert best <= objective(found.fitted.law, other / other.sum(), 0.05) + 1e-9
    assert found.best.objective < found.natural.objective < found.stratified.objective + 1
    assert float(LAW.objective(found.best.shares)[0]) < float(LAW.objective(found.natural.shares)[0])


def test_weights_of_targets_and_hidden_terms_are_in_the_program() -> None:
    heavy = fitted(weights={"prose": 0.0, "programs": 1.0}).best.by_pool()
    light = fitted(weights={"prose": 1.0, "programs": 0.0}).best.by_pool()
    even = fitted().best.by_pool()
    assert heavy["code"] > even["code"] > light["code"]
    only = fitted(targets=("programs",)).best.by_pool()
    assert only == pytest.approx(heavy, abs=1e-6)
    simulated = fitted(law="polynomial", num_samples=2000)
    assert not simulated.is_exact and "simulated" in simulated.as_text()


def test_two_terms_have_the_same_mixture_as_their_sum() -> None:
    one = Exponential(
        pools=POOLS, targets=("t",), floors=(1.0,), factors=((0.0,),), slopes=((LAW.slopes[0],),)
    )
    from curate.selection.mixture_fit import _best

    split = Exponential(
        pools=POOLS,
        targets=("t",),
        floors=(1.0,),
        factors=((np.log(0.25), np.log(0.75)),),
        slopes=((LAW.slopes[0], LAW.slopes[0]),),
    )
    settings = MixtureFitSettings(kl=0.1)
    first, second = (_best(law, PRIOR, {}, settings)[0] for law in (one, split))
    assert first.shares == pytest.approx(second.shares, abs=1e-6)


def test_held_out_runs_are_ordered_and_doubts_are_said() -> None:
    found = fitted()
    assert all(each.spearman > 0.98 for each in found.held_out.values())
    text = found.as_text()
    assert "held-out runs:" in text and "natural" in text and "equal" in text and "exact" in text
    noisy = runs_with(LAW, 30, noise=1.0).table().with_columns(pl.col("^loss.*$").clip(lower_bound=0.1))
    assert any("not above the mean error on held-out runs" in doubt for doubt in fitted(noisy).notes)
    few = fitted(runs_with(LAW, 6, noise=0.01).table(), folds=3)
    assert few.held_out == {} and any("not checked on held-out runs" in doubt for doubt in few.notes)
    narrow = runs_with(LAW, 60).table().filter(pl.col("share.code") < 0.2)
    free = fitted(narrow, kl=0.001)
    assert any(doubt.startswith("code: the weight 0.") for doubt in free.notes)


def test_caps_come_from_tokens_or_are_given() -> None:
    bound = fitted(tokens=400_000_000_000, cap=4.0, kl=0.001).best.by_pool()
    assert bound["code"] == pytest.approx(0.2, abs=1e-6)
    assert fitted(max_shares={"code": 0.1}).best.by_pool()["code"] == pytest.approx(0.1, abs=1e-9)
    with pytest.raises(ConfigError, match="a cap is of no pool: x"):
        fitted(max_shares={"x": 0.1})
    with pytest.raises(ConfigError, match=r"sum to less than 1: 0\.5"):
        fitted(tokens=800_000_000_000)
    with pytest.raises(ConfigError, match="need the unique tokens of every pool"):
        fitted(pools=None, tokens=1000)


@pytest.mark.parametrize("weights", [None, {"prose": 0.9, "programs": 0.1}])
def test_evidence_is_keyed_by_content_and_read_by_budgets(tmp_path: Path, weights) -> None:
    found = fitted(kl=0.05, weights=weights)
    path = tmp_path / "evidence.json"
    write_evidence(found.evidence("runs.csv"), path)
    assert read_evidence(path).law == found.fitted.law.to_json()
    renamed = [
        Supply(name=f"new-{pool}", unique_tokens=TOKENS[pool], num_docs=1, content=CONTENTS[pool])
        for pool in POOLS
    ]
    settings = Allocate(rule="mixture", evidence=str(path), kl=0.05, cap=100.0)
    plan = allocate(renamed, 10_000_000_000, settings)
    shares = {name: share for name, share in zip(plan.names, plan.share, strict=True)}
    assert shares == pytest.approx(
        {f"new-{pool}": share for pool, share in found.best.by_pool().items()}, abs=1e-6
    )
    other = [Supply(name=pool, unique_tokens=TOKENS[pool], num_docs=1, content="e" * 32) for pool in POOLS]
    with pytest.raises(ConfigError, match="no evidence that applies"):
        allocate(other, 10_000_000_000, settings)


def test_without_tokens_there_is_no_evidence_and_without_pools_a_note() -> None:
    shares = [NaturalPool(name=pool, amount=PRIOR[pool], unique_tokens=None, content=None) for pool in POOLS]
    assert fitted(pools=shares).evidence("x") is None
    assert any("natural is the mean of the runs" in doubt for doubt in fitted(pools=None).notes)


def test_losses_are_extrapolated_first_where_steps_are_wanted() -> None:
    frames = [
        FRAME.with_columns(pl.lit(steps).alias("steps"), pl.col("^loss.*$") * (1 + steps**-0.5))
        for steps in (100.0, 400.0, 900.0)
    ]
    found = fitted(pl.concat(frames), steps=1e4)
    plain = fitted().best.shares
    assert found.num_runs == 60 and found.best.shares == pytest.approx(plain, abs=0.02)
    assert any("over steps: 10000 is 11.1 times the greatest observed" in doubt for doubt in found.notes)


@pytest.mark.parametrize(
    ("frame", "pools", "changed", "error", "message"),
    [
        (FRAME, NATURAL, {"law": "cubic"}, ConfigError, "there is no law of mixtures cubic"),
        (FRAME, NATURAL[:3], {}, ConfigError, "there is no natural share of the pool papers"),
        (FRAME.drop("share.web"), NATURAL, {}, DataError, "shares of row 0 sum to 1"),
        (FRAME, NATURAL, {"targets": ("x",)}, DataError, r"there is no column loss\.x"),
        (FRAME.head(1), NATURAL, {}, DataError, "need more than 5 runs: 1"),
        (FRAME.with_columns(pl.lit(-1.0).alias("loss.prose")), NATURAL, {}, DataError, "not above 0: -1"),
        (FRAME, NATURAL, {"settings": {"x": 1}}, ConfigError, "a fit has no setting x"),
        (FRAME, NATURAL, {"steps": 5.0}, DataError, "there is no column steps"),
    ],
)
def test_nonsense_is_refused(frame, pools, changed, error, message) -> None:
    with pytest.raises(error, match=message):
        fitted(frame, pools, **changed)


def test_mixtures_that_do_not_differ_are_refused_or_said() -> None:
    shares = [name for name in FRAME.columns if name.startswith("share.")]
    same = FRAME.with_columns(pl.lit(1 / len(shares)).alias(name) for name in shares)
    with pytest.raises(DataError, match="all 60 runs have the same mixture"):
        fitted(same)
    first, second = shares[:2]
    half = (pl.col(first) + pl.col(second)) / 2
    tied = FRAME.with_columns(half.alias(first), half.alias(second))
    assert any("differ in 2 of 3 directions" in note for note in fitted(tied, kl=0.05).notes)


def test_an_unknown_pool_is_refused_by_name() -> None:
    more = [*NATURAL, NaturalPool(name="x", amount=1.0, unique_tokens=1, content=None)]
    with pytest.raises(ConfigError, match="the law does not know the pool x"):
        fitted(pools=more)


def test_a_single_fit_is_the_law_itself() -> None:
    assert fitted().fitted.law == LogLinear.fit_table(FRAME).law
