"""The verbs of laws: `curate laws fit` and `curate laws predict`, the same for every law."""

from pathlib import Path
from typing import Annotated, Any

import typer

from curate.cli.options import AsJson, app, print_result

laws_app = typer.Typer(no_args_is_help=True, help="Fit scaling and mixture laws, and predict by them.")
app.add_typer(laws_app, name="laws")

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the fit, such as delta.")
]


@laws_app.command("list")
def list_laws(as_json: AsJson = False) -> None:
    """Print every law with the columns of its runs."""
    from curate.laws.registry import LAWS

    columns = {name: list(getattr(law, "columns", ())) for name, law in LAWS.items()}
    text = "\n".join(f"{name:<20} {', '.join(names)}" for name, names in columns.items())
    print_result(columns, as_json, text)


@laws_app.command()
def fit(  # over: the options of a command are its parameters
    law: Annotated[str, typer.Argument(help="Name of a law; `curate laws list` has them.", metavar="LAW")],
    runs: Annotated[Path, typer.Argument(help="Runs, CSV or Parquet.", metavar="RUNS")],
    settings: Settings = None,
    bootstrap: Annotated[int, typer.Option("--bootstrap", min=0, help="Refits for 90 % intervals.")] = 0,
    pools: Annotated[
        Path | None,
        typer.Option(
            "--pools",
            metavar="POOLS",
            help="What the runs were made on, a run, a plan or a CSV: --out then is evidence for "
            "plan.allocate, keyed by the pools' content.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the law as JSON.")] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option("--profile", metavar="NAME", help="Print the least objective over this parameter."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a law to runs; parameters that the runs do not identify are marked."""
    from curate.config import apply_overrides
    from curate.files import replace_json
    from curate.laws.registry import law_named
    from curate.laws.tables import read_table

    given = apply_overrides({}, settings or [])
    if bootstrap:
        given["bootstrap"] = bootstrap
    fitted = law_named(law).fit_table(read_table(runs), **given)
    profiles = [each for name in profile or [] for each in _profiles(fitted, name)]
    written, notes = (fitted.law.to_json(), ()) if pools is None else _evidence(fitted, pools, runs)
    if out is not None:
        replace_json(out, written)
    value = {
        "law": fitted.law.to_json(),
        "fits": {name: _fit_json(each) for name, each in fitted.fits.items()},
        "doubts": [*fitted.doubts(), *notes],
        "profiles": profiles,
    }
    texts = [fitted.as_text(), *(f"note: {note}" for note in notes), *map(_profile_text, profiles)]
    print_result(value, as_json, "\n".join(texts))


@laws_app.command()
def predict(
    law: Annotated[
        Path, typer.Argument(help="A law as `curate laws fit --out` wrote it.", metavar="LAW.json")
    ],
    points: Annotated[Path, typer.Argument(help="Points, CSV or Parquet.", metavar="POINTS")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write CSV or Parquet, not to stdout.")
    ] = None,
) -> None:
    """Add a column `predicted` to points; laws of several targets add `predicted.<target>`, too."""
    import polars as pl

    from curate.files import atomic_file, read_json
    from curate.laws.registry import law_from_json
    from curate.laws.tables import read_table

    value = read_json(law)
    if isinstance(value, dict) and isinstance(value.get("law"), dict):
        value = value["law"]  # an evidence, or the output of `fit --json`
    found = law_from_json(value)
    frame = read_table(points)
    columns = {"predicted": found.predict_table(frame)}
    if hasattr(found, "predict_targets"):
        columns |= {f"predicted.{name}": part for name, part in found.predict_targets(frame).items()}
    frame = frame.with_columns(pl.Series(name, part) for name, part in columns.items())
    if out is None:
        print(frame.write_csv(), end="")
        return
    with atomic_file(out) as handle:
        if out.suffix == ".parquet":
            frame.write_parquet(handle)
        else:
            frame.write_csv(handle)


def _evidence(fitted: Any, pools: Path, runs: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What was fitted, by the content of the pools, and sentences on what is missing."""
    from curate.selection.allocation.from_fit import evidence_of
    from curate.selection.pool_tables import read_pools

    evidence, notes = evidence_of(fitted, read_pools(pools), source=str(runs))
    return evidence.to_json(), notes


def _fit_json(fit: Any) -> dict[str, Any]:
    draws = fit.intervals() if fit.draws else {}
    return {
        "values": fit.values,
        "objective": fit.objective,
        "num_points": fit.num_points,
        "intervals": {name: [end.low, end.high] for name, end in fit.ends.items()},
        "bootstrap": {name: list(pair) for name, pair in draws.items()},
        "identified": fit.identified,
        "doubts": fit.doubts,
    }


def _profiles(fitted: Any, name: str) -> list[dict[str, Any]]:
    """Profiles of one parameter in every fit that has it."""
    from curate.errors import ConfigError

    found = [
        {"fit": key, "name": name, "values": list(curve.values), "objectives": list(curve.objectives)}
        for key, each in fitted.fits.items()
        if name in each.identified
        for curve in [each.profile(name)]
    ]
    if not found:
        names = sorted({known for each in fitted.fits.values() for known in each.identified})
        raise ConfigError(
            f"there is no free parameter {name}", hint=f"there are {', '.join(names) or 'none'}"
        )
    return found


def _profile_text(profile: dict[str, Any]) -> str:
    where = f"{profile['fit']}: " if profile["fit"] else ""
    lines = [f"{where}profile of {profile['name']}, least objective with it held"]
    lines += [
        f"  {value:<14.6g} {objective:.9g}"
        for value, objective in zip(profile["values"], profile["objectives"], strict=True)
    ]
    return "\n".join(lines)
