"""The estimate of tokens: exact sums, factors that recover what is linear, errors that are honest."""

import itertools
import json
import math
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DataError
from curate.measure.token_estimate import (
    ESTIMATE,
    NUM,
    SHIFT,
    Factors,
    Sample,
    apply_factors,
    expected_errors,
    fit,
    fit_factors,
)
from curate.measure.tokens import BYTES, COUNT

TRUE = [0.2, 0.3, 0.5, 0.05, 0.1, 1.0, 0.6, 0.4, 0.3, 0.35, 0.3, 0.4, 0.3, 0.9]


def frame(
    num_docs: int, *, seed: int = 0, noise: float = 0.0, scale: float = 1.0, source: str = "a"
) -> pl.DataFrame:
    """Documents whose tokens are TRUE x scale, off by `noise`."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(0, 400, (num_docs, NUM)) * draw.integers(1, 30, (num_docs, 1))
    tokens = sizes @ np.array(TRUE) * scale * (1 + noise * draw.standard_normal(num_docs))
    columns = {name: sizes[:, at].astype(np.uint32) for at, name in enumerate(BYTES)}
    counts = np.maximum(np.rint(tokens), 0).astype(np.uint32)
    return pl.DataFrame({"source": [source] * num_docs, COUNT: counts, **columns})


def hidden(whole: pl.DataFrame, *, every: int) -> pl.DataFrame:
    """Only every n-th document keeps its count."""
    counted = pl.int_range(pl.len()) % every == 0
    return whole.with_columns(pl.when(counted).then(pl.col(COUNT)).alias(COUNT))


def test_factors_are_those_of_weighted_least_squares() -> None:
    whole = frame(3000, noise=0.2)
    sizes = whole.select(BYTES).to_numpy().astype(float)
    root = np.sqrt(sizes.sum(axis=1))
    twin, *_ = np.linalg.lstsq(sizes / root[:, None], whole[COUNT].to_numpy() / root, rcond=None)
    fitted = np.array(fit_factors(whole).pool("a", None).factors) / (1 << SHIFT)
    assert np.abs(fitted - twin).max() < 2e-3


def test_no_factor_is_negative_where_least_squares_would_make_one() -> None:
    whole = frame(400)
    first, second = pl.col(BYTES[0]).cast(pl.Int64), pl.col(BYTES[1]).cast(pl.Int64)
    tokens = pl.max_horizontal(first - second // 2, pl.lit(0)).cast(pl.UInt32)
    factors = fit_factors(whole.with_columns(tokens.alias(COUNT))).pool("a", None).factors
    assert min(factors) == 0
    assert factors[0] > 1 << (SHIFT - 1)


@given(cuts=st.lists(st.integers(0, 300), max_size=5), seed=st.integers(0, 5))
def test_factors_do_not_depend_on_shards_or_their_order(cuts: list[int], seed: int) -> None:
    whole = pl.concat(
        [frame(200, seed=seed, noise=0.1), frame(100, seed=9, noise=0.1, scale=1.5, source="b")]
    )
    edges = sorted({0, *cuts, whole.height})
    parts = [whole[low:high] for low, high in itertools.pairwise(edges)]
    random.Random(seed).shuffle(parts)
    assert fit_factors(parts) == fit_factors(whole)
    left, right = Sample(), Sample()
    for position, part in enumerate(parts):
        (left if position % 2 else right).add(part)
    left.merge(right)
    assert fit(left) == fit_factors(whole)


def test_sums_of_the_largest_documents_are_exact() -> None:
    most = (1 << 32) - 1
    row = {"source": "a", COUNT: most, **dict.fromkeys(BYTES, 0), BYTES[0]: most}
    whole = pl.DataFrame([row] * 9000, schema_overrides=dict.fromkeys((COUNT, *BYTES), pl.UInt32))
    sample = Sample()
    sample.add(whole)
    assert sample.sums["a", None].products[0][0] == (most << SHIFT) * 9000
    assert apply_factors(whole[:1], fit(sample))[ESTIMATE][0] == most


def test_counted_documents_keep_their_count_and_bad_rows_stay_null() -> None:
    whole = hidden(frame(500, noise=0.3), every=4)
    bad = whole.clear(2).with_columns(pl.lit("a").alias("source"))
    out = apply_factors(pl.concat([whole, bad]), fit_factors(whole))
    assert out.columns == [*whole.columns, ESTIMATE]
    assert out[ESTIMATE].dtype == pl.UInt32
    counted = out.filter(pl.col(COUNT).is_not_null())
    assert (counted[ESTIMATE] == counted[COUNT]).all()
    assert out[ESTIMATE].to_list()[-2:] == [None, None]
    assert out[ESTIMATE].null_count() == 2


def test_a_text_has_a_token_unless_it_is_empty() -> None:
    rows = [{"source": "a", COUNT: None, **dict.fromkeys(BYTES, 0), BYTES[3]: size} for size in (0, 1)]
    whole = pl.DataFrame(rows, schema_overrides=dict.fromkeys((COUNT, *BYTES), pl.UInt32))
    assert apply_factors(whole, fit_factors([]))[ESTIMATE].to_list() == [0, 1]


def test_the_total_of_a_pool_is_as_close_as_its_expected_error_says() -> None:
    misses = 0
    for seed in range(20):
        exact = frame(2000, seed=seed, noise=0.15)
        whole = hidden(exact, every=20)
        factors = fit_factors(whole)
        report = expected_errors(whole, factors)
        off = report["num_tokens"][0] / exact[COUNT].cast(pl.Int64).sum() - 1
        assert 0.0 < report["error_frac"][0] < 0.05
        misses += abs(off) > 2 * report["error_frac"][0]
    assert misses <= 4


def test_a_pool_that_was_never_counted_leans_on_its_source_and_then_on_all() -> None:
    known = frame(400, scale=2.0).with_columns(lang=pl.lit("en"))
    new = frame(50, seed=1, scale=2.0).with_columns(lang=pl.lit("de"))
    factors = fit_factors(known, language="lang")
    for source, language in (("a", "en"), ("a", "de"), ("z", "en"), (None, None)):
        estimated = apply_factors(
            new.with_columns(
                pl.lit(source, pl.String).alias("source"),
                pl.lit(language, pl.String).alias("lang"),
                pl.lit(None, pl.UInt32).alias(COUNT),
            ),
            factors,
            language="lang",
        )
        off = estimated[ESTIMATE].cast(pl.Int64).sum() / new[COUNT].cast(pl.Int64).sum() - 1
        assert abs(off) < 0.01
    unknown = expected_errors(
        new.with_columns(pl.lit(None, pl.UInt32).alias(COUNT), source=pl.lit("z")), factors
    )
    assert 0.0 <= unknown["error_frac"][0] < 0.01


def test_different_pools_have_their_own_factors() -> None:
    whole = pl.concat([frame(2000, seed=1), frame(2000, seed=2, scale=3.0, source="b")])
    out = apply_factors(hidden(whole, every=10), fit_factors(hidden(whole, every=10)))
    off = (out[ESTIMATE].cast(pl.Int64) - whole[COUNT].cast(pl.Int64)).abs().sum()
    assert off / whole[COUNT].cast(pl.Int64).sum() < 2e-3


def test_without_a_count_the_factors_are_built_in_and_say_so() -> None:
    whole = frame(20).with_columns(pl.lit(None, pl.UInt32).alias(COUNT))
    factors = fit_factors(whole)
    assert not factors.calibrated
    assert expected_errors(whole, factors)["error_frac"].to_list() == [math.inf]
    assert fit_factors(frame(20)).calibrated


def test_factors_survive_a_round_trip_through_json() -> None:
    factors = fit_factors([frame(50), frame(50, source="b")], language=None)
    assert Factors.model_validate(json.loads(factors.model_dump_json())) == factors


def test_sources_may_be_absent_or_null() -> None:
    whole = frame(60, noise=0.1)
    alone = fit_factors(whole.drop("source"), source=None)
    assert [pool.source for pool in alone.pools] == [None]
    assert alone.pools[0].num_docs == 60
    null = whole.with_columns(pl.lit(None, pl.String).alias("source"))
    estimated = apply_factors(null.with_columns(pl.lit(None, pl.UInt32).alias(COUNT)), fit_factors(null))
    twin = apply_factors(whole.with_columns(pl.lit(None, pl.UInt32).alias(COUNT)), alone, source=None)
    assert estimated[ESTIMATE].to_list() == twin[ESTIMATE].to_list()


def test_missing_columns_are_named() -> None:
    with pytest.raises(DataError, match=r"tokens\.bytes_other"):
        fit_factors(frame(3).drop("tokens.bytes_other"))
