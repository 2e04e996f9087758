"""Do 90 % intervals of the log-linear law cover the truth? Simulated runs, refitted with a bootstrap.

Each draw: a swarm of mixtures (with a seed of its own), losses of a planted law plus normal noise, a fit
with a bootstrap of residuals. Counted are the parameters that the draw's own profiles call identified.
Wanted: 85 to 95 % for each parameter. Run: python benchmarks/coverage/log_linear.py [--draws 200]; about 10
minutes.
"""

import argparse
import time

import numpy as np

from curate.laws.mixture.log_linear import LogLinear
from curate.laws.mixture.runs import MixtureRuns
from curate.laws.mixture.swarm import SwarmSettings, swarm

PRIOR = {"web": 55.0, "code": 20.0, "books": 12.0, "papers": 8.0, "dialogue": 5.0}
TRUTH = LogLinear(
    pools=tuple(PRIOR),
    targets=("loss",),
    constants=(np.log(1.8),),
    slopes=((-1.5, 0.6, -0.4, 0.2, -2.5),),
)


def draw(seed: int, *, num_runs: int, noise: float) -> MixtureRuns:
    """Runs of the planted law."""
    shares = swarm(PRIOR, num_runs, seed=seed, settings=SwarmSettings(max_factor=None)).shares
    losses = TRUTH.predict(shares) + np.random.default_rng(seed).normal(0, noise, (num_runs, 1))
    return MixtureRuns(pools=TRUTH.pools, targets=TRUTH.targets, shares=shares, losses=losses)


def main() -> None:
    """Print a table of coverage by parameter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--bootstrap", type=int, default=200)
    args = parser.parse_args()
    truths = {"constant": float(np.exp(TRUTH.constants[0]))}
    truths |= {f"slope of {pool}": at for pool, at in zip(TRUTH.pools, TRUTH.slopes[0], strict=True)}
    covered = dict.fromkeys(truths, 0)
    counted = dict.fromkeys(truths, 0)
    widths: dict[str, list[float]] = {name: [] for name in truths}
    started = time.monotonic()
    for seed in range(args.draws):
        runs = draw(seed, num_runs=args.runs, noise=args.noise)
        fit = LogLinear.fit(runs, bootstrap=args.bootstrap, seed=seed).fit
        ends, identified = fit.intervals(0.9), fit.identified
        for name, truth in truths.items():
            if identified[name]:
                counted[name] += 1
                covered[name] += ends[name][0] <= truth <= ends[name][1]
                widths[name].append(ends[name][1] - ends[name][0])
    print(
        f"{args.draws} draws of {args.runs} runs, noise {args.noise}, bootstrap {args.bootstrap}, "
        f"{time.monotonic() - started:.0f} s"
    )
    print("| parameter | truth | identified | covered, % | median width |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, truth in truths.items():
        share = 100 * covered[name] / max(counted[name], 1)
        width = float(np.median(widths[name])) if widths[name] else float("nan")
        print(f"| {name} | {truth:.4g} | {counted[name]} | {share:.1f} | {width:.3g} |")
    total = 100 * sum(covered.values()) / max(sum(counted.values()), 1)
    print(f"| all | | {sum(counted.values())} | {total:.1f} | |")


if __name__ == "__main__":
    main()
