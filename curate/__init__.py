"""Data selection and curation for pretraining corpora: measure once, then decide by arithmetic on columns.

    run = curate.run("recipe.yaml")     # measure, resolve, plan, deliver; what is done is not redone
    run.plan(), run.columns(), run.pools()

A public name is imported when it is first used: `import curate` alone takes milliseconds. Not here: the steps
(pipeline/), the command line (cli/).
"""

import importlib as _importlib
import sys as _sys
import types as _types
import typing as _typing

if _typing.TYPE_CHECKING:
    from curate.api import (
        dedup,
        explain,
        export,
        measure,
        open_run,
        plan,
        run,
        train_classifier,
        train_importance,
        verify,
        write,
    )
    from curate.errors import ConfigError, CurateError, DataError, MissingExtra, StateError
    from curate.pipeline import OpenRun, Recipe, load_recipe

_NAMES = {
    "curate.api": (
        "dedup",
        "explain",
        "export",
        "measure",
        "open_run",
        "plan",
        "run",
        "train_classifier",
        "train_importance",
        "verify",
        "write",
    ),
    "curate.errors": ("ConfigError", "CurateError", "DataError", "MissingExtra", "StateError"),
    "curate.pipeline": ("OpenRun", "Recipe", "load_recipe"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

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
    "export",
    "load_recipe",
    "measure",
    "open_run",
    "plan",
    "run",
    "train_classifier",
    "train_importance",
    "verify",
    "write",
]


class _Package(_types.ModuleType):
    """This package: `dedup`, `export`, `measure` are verbs here; folders of that name do not hide them."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, _types.ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_sys.modules[__name__].__class__ = _Package
