"""Do the 90 % intervals of the downstream laws hold the truth in 90 % of draws?

Each draw plants parameters, makes 24 noisy runs over four factors of ten of tokens, fits them with a
bootstrap, and counts for each parameter that the data identify whether its interval holds the planted value.
With 200 draws and refits a law takes about a quarter of an hour on one core. Outside CI:
`python benchmarks/coverage/downstream.py`.
"""

import argparse
from collections import Counter
from typing import Any

import numpy as np

from curate.laws.downstream import DownstreamLoss, DownstreamMetric, middle
from curate.laws.law import Fitted

LEVEL = 0.9
TOKENS = np.geomspace(1e8, 1e12, 24)
METRIC_NOISE, LOSS_NOISE = 0.01, 0.003
"""Standard deviations of ln observed - ln truth."""
UNIT = middle(TOKENS)


def draw_metric(seed: int, *, bootstrap: int) -> tuple[Fitted[Any], dict[str, float]]:
    """Fit one noisy curve of a metric; and the planted values."""
    draw = np.random.default_rng([seed, 1])
    truth = {"log_factor": draw.uniform(3, 6), "alpha": draw.uniform(0.2, 0.45), "beta": draw.uniform(1, 2.5)}
    noise = np.exp(draw.normal(0, METRIC_NOISE, len(TOKENS)))
    observed = DownstreamMetric(**truth, unit=UNIT).predict(TOKENS) * noise
    return DownstreamMetric.fit(TOKENS, observed, bootstrap=bootstrap, seed=seed), truth


def draw_loss(seed: int, *, bootstrap: int) -> tuple[Fitted[Any], dict[str, float]]:
    """Fit one noisy curve of losses; and the planted values."""
    draw = np.random.default_rng([seed, 2])
    floor, factor, exponent = draw.uniform(0.8, 1.5), draw.uniform(0.4, 1.2), draw.uniform(0.15, 0.4)
    ln_scale = float(np.log(UNIT) + np.log(factor) / exponent)
    law = DownstreamLoss(floors=(floor,), scales=(float(np.exp(ln_scale)),), exponents=(exponent,))
    observed = law.predict(TOKENS) * np.exp(draw.normal(0, LOSS_NOISE, len(TOKENS)))
    truth = {"floor": floor, "ln_scale": ln_scale, "exponent": exponent}
    return DownstreamLoss.fit(TOKENS, observed, bootstrap=bootstrap, seed=seed), truth


DRAWS = {"downstream_metric": draw_metric, "downstream_loss": draw_loss}
"""By law: a function of a seed that gives a fit and the planted values."""


def main() -> None:
    """Print a table: law, parameter, draws in which it was identified, share of these that hold the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--law", choices=sorted(DRAWS), action="append", help="all without it")
    options = parser.parse_args()
    for law in options.law or DRAWS:
        known, inside = Counter[str](), Counter[str]()
        for at in range(options.draws):
            fitted, truth = DRAWS[law](options.first + at, bootstrap=options.bootstrap)
            ends, identified = fitted.fit.intervals(LEVEL), fitted.fit.identified
            for name, value in truth.items():
                if identified[name]:
                    known[name] += 1
                    inside[name] += ends[name][0] <= value <= ends[name][1]
            if (at + 1) % 20 == 0 or at + 1 == options.draws:
                shares = [f"{name} {inside[name]}/{known[name]}" for name in sorted(known)]
                print(f"{law}, {at + 1} draws: {', '.join(shares)}", flush=True)


if __name__ == "__main__":
    main()
