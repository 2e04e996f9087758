"""The verbs of mixtures: `curate mix swarm` proposes proxies, `curate mix fit` makes weights of results."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.options import AsJson, app, print_result

mix_app = typer.Typer(no_args_is_help=True, help="Propose proxy mixtures, and fit weights to their results.")
app.add_typer(mix_app, name="mix")

PoolsPath = Annotated[
    Path,
    typer.Argument(
        help="Run or plan with a table of pools, or a CSV with columns pool, tokens (or share).",
        metavar="POOLS",
    ),
]
MaxShare = Annotated[
    list[str] | None,
    typer.Option("--max-share", metavar="POOL=SHARE", help="Greatest share of a pool; may be repeated."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")]


@mix_app.command()
def swarm(  # over: the options of a command are its parameters
    pools: PoolsPath,
    num_runs: Annotated[
        int | None,
        typer.Option("--runs", min=1, help="Mixtures; default: 3 (pools + 1), which suffice for a law."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the CSV here, not to stdout.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Power of the natural shares: 1 natural, 0 the same of every pool.")
    ] = 0.5,
    max_factor: Annotated[
        float | None, typer.Option(help="Greatest share of a pool, in natural shares.")
    ] = 15.0,
    max_share: MaxShare = None,
    seed: Seed = 42,
) -> None:
    """Draw mixtures to train proxies on: a CSV with a run and its shares a row."""
    from curate.files import atomic_file
    from curate.laws.mixture.swarm import SwarmSettings
    from curate.laws.mixture.swarm import swarm as draw
    from curate.laws.mixture.targets import enough
    from curate.selection.pool_tables import read_pools

    prior = {pool.name: pool.amount for pool in read_pools(pools)}
    settings = SwarmSettings(temperature=temperature, max_factor=max_factor, caps=_numbers(max_share))
    found = draw(prior, enough(len(prior)) if num_runs is None else num_runs, seed=seed, settings=settings)
    if out is None:
        print(found.table().write_csv(), end="")
    else:
        with atomic_file(out) as handle:
            found.table().write_csv(handle)
    print(found.as_text(), file=sys.stderr if out is None else sys.stdout)


@mix_app.command()
def fit(  # over: the options of a command are its parameters
    results: Annotated[
        Path,
        typer.Argument(help="CSV with columns share.POOL and loss.TARGET, a row a run.", metavar="RESULTS"),
    ],
    law: Annotated[
        str, typer.Option("--law", help="log_linear, exponential, boosted, bivariate or polynomial.")
    ] = "log_linear",
    targets: Annotated[
        list[str] | None, typer.Option("--target", help="A loss that counts; default: all there are.")
    ] = None,
    pools: Annotated[
        Path | None,
        typer.Option("--pools", metavar="POOLS", help="Natural amounts: a run, a plan, or a CSV."),
    ] = None,
    kl: Annotated[
        float, typer.Option(min=0, help="Loss that a nat of divergence from the natural mix costs.")
    ] = 0.05,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Tokens that the mixture is for, such as 300B.")
    ] = None,
    cap: Annotated[float, typer.Option("--cap", help="Greatest passes over a pool, with --tokens.")] = 4.0,
    max_share: MaxShare = None,
    steps: Annotated[float | None, typer.Option(help="Extrapolate losses to these steps first.")] = None,
    size: Annotated[float | None, typer.Option(help="Extrapolate losses to this size first.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the law's fit.")
    ] = None,
    seed: Seed = 42,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the evidence, keyed by the pools' content."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a law of mixtures to results, check it on held-out runs, and give the weights of the pools."""
    from curate.config import apply_overrides, build
    from curate.files import replace_json
    from curate.laws.tables import read_table
    from curate.selection.allocation.evidence import write_evidence
    from curate.selection.allocation.pools import parse_target
    from curate.selection.mixture_fit import MixtureFitSettings, fit_mixture
    from curate.selection.pool_tables import read_pools

    values = {
        "law": law,
        "settings": apply_overrides({}, settings or []),
        "targets": targets,
        "kl": kl,
        "tokens": None if tokens is None else parse_target(tokens),
        "cap": cap,
        "max_shares": _numbers(max_share),
        "steps": steps,
        "size": size,
        "seed": seed,
    }
    given = None if pools is None else read_pools(pools)
    found = fit_mixture(read_table(results), given, build(MixtureFitSettings, values, at="mix"))
    if out is not None:
        evidence = found.evidence(str(results)) if given is not None else None
        if evidence is not None:
            write_evidence(evidence, out)
        else:
            replace_json(out, found.fitted.law.to_json())
            print(
                f"{out} has the law by name of the pools: their tokens are not known (--pools)",
                file=sys.stderr,
            )
    print_result(found.to_json(), as_json, found.as_text())


def _numbers(pairs: list[str] | None) -> dict[str, float]:
    """Read POOL=NUMBER."""
    from curate.errors import ConfigError

    found = {}
    for pair in pairs or []:
        name, _, text = pair.rpartition("=")
        try:
            found[name] = float(text)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"--max-share is POOL=SHARE: {pair}")
    return found
