"""How often the 90 % intervals of a fit hold the truth: simulated runs, fitted again and again.

Each module of `benchmarks/coverage/` is a law with known parameters: `truth()`, `simulate(seed)` (a table of
runs), `fit(frame, bootstrap)` (`Fitted` with one fit). A draw counts for a parameter if the fit identifies
it. With `--bootstrap` the percentile intervals are counted too. Usage:

    python benchmarks/law_coverage.py [--draws 200] [--bootstrap 0] [--first 0] [LAW ...]

Cost: some seconds a draw and law without a bootstrap. The table for docs/laws.md goes to stdout.
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

LEVEL = 0.9
LAWS = tuple(
    sorted(path.stem for path in (Path(__file__).parent / "coverage").glob("*.py") if path.stem != "__init__")
)


class Count:
    """Of one parameter: draws that identify it, and how often each interval held the truth."""

    def __init__(self) -> None:
        self.identified = self.by_profile = self.by_bootstrap = 0


def count_law(name: str, first: int, draws: int, bootstrap: int) -> dict[str, Count]:
    law = importlib.import_module(f"coverage.{name}")
    truth = law.truth()
    counts = {key: Count() for key in truth}
    for seed in range(first, first + draws):
        fit = law.fit(law.simulate(seed), bootstrap).fit
        ends = fit.intervals(LEVEL) if bootstrap else {}
        for key, value in truth.items():
            if key in fit.doubts:
                continue
            counts[key].identified += 1
            counts[key].by_profile += fit.ends[key].low <= value <= fit.ends[key].high
            if bootstrap:
                counts[key].by_bootstrap += ends[key][0] <= value <= ends[key][1]
        if (seed - first + 1) % 10 == 0:
            so_far = {key: f"{each.by_profile}/{each.identified}" for key, each in counts.items()}
            print(f"{name}: {seed - first + 1} of {draws} draws, {so_far}", file=sys.stderr)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of the intervals of fits.")
    parser.add_argument("laws", nargs="*", metavar="LAW", help=f"of {', '.join(LAWS)}; all without")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--bootstrap", type=int, default=0, help="refits; 0 leaves these intervals out")
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    given = parser.parse_args()
    unknown = sorted(set(given.laws) - set(LAWS))
    if unknown:
        parser.error(f"there is no law {', '.join(unknown)}")
    print("| law | parameter | identified | profile holds the truth | bootstrap holds the truth |")
    print("| --- | --- | --- | --- | --- |")
    for name in given.laws or LAWS:
        for key, each in count_law(name, given.first, given.draws, given.bootstrap).items():
            share = each.by_profile / max(each.identified, 1)
            other = f"{each.by_bootstrap / max(each.identified, 1):.3f}" if given.bootstrap else "-"
            print(
                f"| {name} | {key} | {each.identified} of {given.draws} | {share:.3f} | {other} |", flush=True
            )


if __name__ == "__main__":
    main()
