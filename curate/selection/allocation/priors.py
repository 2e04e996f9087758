"""Utilities of quality tiers from published measurements, by name, for who has no runs of their own.

    qqt_tmars_imagenet   scaling laws for data filtering (Goyal et al. 2024, arXiv:2404.07177): utility and
                         half life of the four best deciles of T-MARS scores, fitted to ImageNet error of
                         CLIP models
    equal                all pools alike; repeats fall off as in the data-constrained law (Muennighoff et al.
                         2023, arXiv:2305.16264)

A tier that is not one of the published deciles gets the mean over its range of quantiles; beyond the best 40
% nothing is published, and the line through the last two deciles is continued, with a warning. These numbers
are of images with captions, not of text: they say how fast quality and repetition pay less, not how good a
model gets. So predictions are made at equal passes: a decile of the corpus counts as the published 12.8M
samples.

Not here: what was fitted on runs of your own (evidence.py).
"""

import math
import re
from collections.abc import Sequence

import numpy as np

from curate.errors import ConfigError
from curate.selection.allocation.utilities import Utilities
from curate.selection.mixer import Ints

TIER = re.compile(r"(?:.*/)?q(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", re.DOTALL)
"""Names of pools that are tiers: percent of the tokens from the best, as `q10-20` or `web/q10-20`."""

TMARS = "tmars_imagenet1k_utility"
"""Name of the published set in the law."""
DECILES = 4
"""Published tiers, from the best one on."""
END = DECILES / 10
TMARS_PRIOR = "qqt_tmars_imagenet"
PRIORS = ("equal", TMARS_PRIOR)

DECILE_SAMPLES = 12.8e6
"""Samples of a published decile."""
LEAST = 1e-3
"""Strength that the line beyond the published deciles does not fall below."""


def tier_of(name: str) -> tuple[float, float] | None:
    """Read the quantiles of a tier from a pool's name, as fractions from the best; None where it has none."""
    match = TIER.fullmatch(name)
    if match is None:
        return None
    low, high = float(match[1]) / 100, float(match[2]) / 100
    return (low, high) if 0 <= low < high <= 1 else None


def sample_tokens_of(names: Sequence[str], unique: Ints) -> float:
    """Give the tokens that count as one sample, so that tiers are of the published size."""
    covered = sum(high - low for low, high in {tier for tier in map(tier_of, names) if tier is not None})
    return float(unique.sum(dtype=np.float64)) / (covered * 10 * DECILE_SAMPLES)


def prior_utilities(prior: str, names: Sequence[str]) -> Utilities:
    """Give published utilities for pools of these names.

    Raises:
        ConfigError: There is no prior of that name, or a pool has no tier that it could be applied to.
    """
    if prior == "equal":
        from curate.laws.data_constrained import DataConstrained

        size, law = len(names), DataConstrained.published()
        return Utilities(
            source="prior equal",
            decay="data_constrained",
            strengths=np.ones(size),
            half_lives=np.full(size, law.repeat_tokens * math.log(2)),
            law=law,
            warnings=("utilities are of the prior equal: no difference between pools was measured",),
        )
    if prior != TMARS_PRIOR:
        raise ConfigError(f"there is no prior {prior!r}", hint=f"priors: {', '.join(PRIORS)}")
    return _tmars(names)


def _tmars(names: Sequence[str]) -> Utilities:
    tiers = [tier_of(name) for name in names]
    without = [name for name, tier in zip(names, tiers, strict=True) if tier is None]
    if without:
        raise ConfigError(
            f"the prior qqt_tmars_imagenet is for quality tiers, this pool is none: {without[0]!r}",
            hint="cut the pools into tiers by a score (`q0-10`, `web/q10-20`), or take the prior equal",
        )
    from curate.laws.quality_quantity import QualityQuantity

    law = QualityQuantity.published(TMARS)
    known = [tier for tier in tiers if tier is not None]
    strengths = [-value for value in law.utilities[:DECILES]]
    found = {tier: _mean(*tier, strengths, law.half_lives[:DECILES]) for tier in set(known)}
    beyond = [name for name, tier in zip(names, known, strict=True) if tier[1] > END + 1e-9]
    warnings = [
        "utilities are of the prior qqt_tmars_imagenet (images with captions, ImageNet), "
        "not measured on these pools; predictions take a decile of the corpus for its 12.8M samples"
    ]
    if beyond:
        warnings.append(
            f"{len(beyond)} pools lie beyond the best 40 %, where nothing is published: their utility is "
            f"extrapolated by the line through the last two deciles, their half life is that of the last; "
            f"the first: {beyond[0]!r}"
        )
    return Utilities(
        source="prior qqt_tmars_imagenet",
        decay="half_life",
        strengths=np.array([found[tier][0] for tier in known]),
        half_lives=np.array([found[tier][1] for tier in known]),
        law=law,
        warnings=tuple(warnings),
    )


def _mean(
    low: float, high: float, strengths: Sequence[float], half_lives: Sequence[float]
) -> tuple[float, float]:
    """Mean strength and half life over a range of quantiles: constant in deciles, then a line."""
    strength = half_life = 0.0
    for decile, (value, life) in enumerate(zip(strengths, half_lives, strict=True)):
        length = max(0.0, min(high, (decile + 1) / 10) - max(low, decile / 10))
        strength, half_life = strength + length * value, half_life + length * life
    start = max(low, END)
    if high > start:
        # The line through the middles of the last two deciles, as far as it is above LEAST.
        step, middle = strengths[-1] - strengths[-2], END - 0.05
        last = max(start, min(high, middle + 0.1 * (strengths[-1] - LEAST) / -step))
        strength += (last - start) * (strengths[-1] + step * ((start + last) / 2 - middle) / 0.1)
        strength += (high - last) * LEAST
        half_life += (high - start) * half_lives[-1]
    return strength / (high - low), half_life / (high - low)
