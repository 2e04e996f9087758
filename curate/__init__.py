"""Data selection and curation for pretraining corpora: measure once, then decide by arithmetic on columns.

    run = curate.run("recipe.yaml")     # measure, resolve, plan, deliver; what is done is not redone
    run.plan(), run.columns(), run.pools()

Not here: the steps (pipeline/), the command line (cli.py).
"""

from curate.api import dedup, explain, measure, open_run, plan, run, verify, write
from curate.errors import ConfigError, CurateError, DataError, MissingExtra, StateError
from curate.pipeline import OpenRun, Recipe, load_recipe

__all__ = [
    "ConfigError",
    "CurateError",
    "DataError",
    "MissingExtra",
    "OpenRun",
    "Recipe",
    "StateError",
    "dedup",
    "explain",
    "load_recipe",
    "measure",
    "open_run",
    "plan",
    "run",
    "verify",
    "write",
]
