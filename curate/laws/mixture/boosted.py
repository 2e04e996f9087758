"""Losses on mixtures by gradient-boosted trees, one model a target (LightGBM; the optional package).

As RegMix (Liu et al. 2024, arXiv:2407.01492): at most 1,000 trees, rate .01, squares, seed 42. Training
stops when runs that are set aside have not improved for 3 trees. The published numbers stopped on the very
runs that they were measured on; `stop_on` takes these runs, for comparison only. Trees say nothing outside
of the mixtures they saw, and want more runs than a log-linear law (118 or more for the RegMix runs, Olmix,
arXiv:2602.12237).

A law holds LightGBM's own text form of each model, which LightGBM reads again. Cost: 1 s a target for 512
runs; a prediction of 100,000 mixtures 5 s. Not here: other regressors.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.errors import ConfigError, DataError, MissingExtra
from curate.laws.law import Fitted, Json, known_settings
from curate.laws.mixture.runs import MixtureRuns, checked_shares, runs_of
from curate.laws.mixture.targets import OverPools, check_shape, names_of, target_weights, too_few
from curate.laws.parameters import Floats

MIN_RUNS = 20
"""Fewer runs make no trees worth the name: a leaf has 20."""
SETTINGS = {
    "objective": "regression",
    "metric": ["l1", "l2"],
    "boosting": "gbdt",
    "verbosity": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
}
MAX_TREES = 100_000


def lightgbm() -> Any:
    """The optional package.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module("lightgbm")
    except ImportError as exc:
        raise MissingExtra(
            "boosted laws of mixtures need the package lightgbm", hint="pip install curate[laws]"
        ) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosted(OverPools, Json):
    """A boosted model for each target."""

    name: ClassVar[str] = "boosted"
    columns: ClassVar[tuple[str, ...]] = ("share.*", "loss.*")

    pools: tuple[str, ...]
    targets: tuple[str, ...]
    models: tuple[str, ...]
    """LightGBM's text form, one a target."""
    weights: tuple[float, ...] | None = None
    """Of the targets in the objective; None is their mean."""

    def __post_init__(self) -> None:
        check_shape(self.name, self.pools, self.targets, self.weights)
        if len(self.models) != len(self.targets):
            raise ConfigError(
                f"{self.name}.models are one for each of {len(self.targets)}: {len(self.models)}"
            )
        for target, text in zip(self.targets, self.models, strict=True):
            check_model(text, len(self.pools), at=f"{self.name}.models of {target}")

    def predict(self, shares: npt.ArrayLike) -> Floats:
        """Losses of mixtures: from shape [runs, pools] to [runs, targets].

        Raises:
            MissingExtra: lightgbm is not installed.
            ConfigError: lightgbm does not read a model.
        """
        given, package = checked_shares(shares, self.pools), lightgbm()
        columns = []
        for target, text in zip(self.targets, self.models, strict=True):
            try:
                model = package.Booster(model_str=text)
                columns.append(np.asarray(model.predict(given, num_threads=1), dtype=np.float64))
            except package.basic.LightGBMError as exc:
                raise ConfigError(
                    f"{self.name}: lightgbm does not read the model of {target}: {exc}"
                ) from exc
        return np.stack(columns, axis=1)

    @classmethod
    def fit_table(
        cls, frame: pl.DataFrame, *, targets: Sequence[str] | None = None, **settings: Any
    ) -> Fitted[Self]:
        """Fit a table with columns `share.<pool>` and `loss.<target>`; see `fit`."""
        return cls.fit(runs_of(frame, targets=names_of(targets)), **known_settings(cls.fit, settings))

    @classmethod
    def fit(  # over: settings of the trees
        cls,
        runs: MixtureRuns,
        *,
        max_trees: int = 1000,
        learning_rate: float = 0.01,
        patience: int = 3,
        held_out_frac: float = 0.2,
        stop_on: MixtureRuns | None = None,
        weights: Mapping[str, float] | None = None,
        seed: int = 42,
    ) -> Fitted[Self]:
        """Fit each target on its own.

        Args:
            runs: 20 or more.
            max_trees: Trees at most.
            learning_rate: What a tree counts.
            patience: Trees without gain on the runs set aside after which training stops.
            held_out_frac: Share of the runs set aside.
            stop_on: The published quirk: stop by these runs, and set none aside. Then they measure nothing.
            weights: Of the targets in the objective; None is their mean.
            seed: Of the split and of the trees.

        Raises:
            MissingExtra: lightgbm is not installed.
            DataError: there are too few runs.
            ConfigError: a setting is wrong.
        """
        if not (1 <= max_trees <= MAX_TREES and 0 < learning_rate <= 1 and patience >= 1):
            raise ConfigError(
                f"{cls.name}: max_trees, learning_rate and patience are above 0, the rate at most 1: "
                f"{max_trees}, {learning_rate}, {patience}"
            )
        if not 0 < held_out_frac < 1:
            raise ConfigError(f"{cls.name}: held_out_frac lies between 0 and 1: {held_out_frac}")
        if runs.num_runs < MIN_RUNS:
            raise DataError(f"{cls.name} needs at least {MIN_RUNS} runs: {runs.num_runs}")
        train, held = (runs, stop_on) if stop_on is not None else _split(runs, held_out_frac, seed)
        if (held.pools, held.targets) != (runs.pools, runs.targets):
            raise DataError(f"{cls.name}: stop_on has other pools or targets: {', '.join(held.pools)}")
        settings = {**SETTINGS, "learning_rate": learning_rate, "seed": seed}
        law = cls(
            pools=runs.pools,
            targets=runs.targets,
            models=tuple(
                _train(train, held, target, settings, max_trees, patience) for target in runs.targets
            ),
            weights=target_weights(weights, runs.targets),
        )
        quirk = ("the runs that stopped the training measure nothing else",) if stop_on is not None else ()
        return Fitted(law=law, fits={}, notes=too_few(runs) + quirk)


def _split(runs: MixtureRuns, frac: float, seed: int) -> tuple[MixtureRuns, MixtureRuns]:
    """Runs to train on, and runs set aside."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(runs.num_runs)
    count = min(max(1, round(frac * runs.num_runs)), runs.num_runs - 1)
    return runs.take(np.sort(order[count:])), runs.take(np.sort(order[:count]))


def _train(  # over: data, model and stopping
    train: MixtureRuns,
    held: MixtureRuns,
    target: str,
    settings: Mapping[str, Any],
    max_trees: int,
    patience: int,
) -> str:
    """The text of a model."""
    package = lightgbm()
    names = [f"pool{at}" for at in range(len(train.pools))]
    data = package.Dataset(train.shares, train.target(target), feature_name=names)
    valid = package.Dataset(held.shares, held.target(target), reference=data)
    model = package.train(
        dict(settings),
        data,
        num_boost_round=max_trees,
        valid_sets=[valid],
        callbacks=[package.early_stopping(patience, verbose=False)],
    )
    return str(model.model_to_string(num_iteration=model.best_iteration))


def check_model(text: str, num_pools: int, *, at: str) -> None:
    """Refuse a text that is no model of that many pools, or a damaged one, before LightGBM sees it.

    The head of a model has the length of each tree's text.

    Raises:
        ConfigError: names what is wrong.
    """
    head, *trees = text.split("\n\nTree=")
    facts = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    if not text.startswith("tree\n") or "max_feature_idx" not in facts:
        raise ConfigError(f"{at}: this is no model of lightgbm: {text[:40]!r}")
    if facts["max_feature_idx"] != str(num_pools - 1):
        raise ConfigError(f"{at}: a model of {num_pools} pools, not of: {facts['max_feature_idx']} + 1")
    body = text[len(head) + 2 :].split("end of trees\n")[0]
    sizes = [int(size) for size in facts.get("tree_sizes", "").split() if size.isdecimal()]
    if len(sizes) != len(trees) or sum(sizes) != len(body.encode()) or "end of trees\n" not in text:
        raise ConfigError(
            f"{at}: the model is damaged: {len(body.encode())} bytes of {len(trees)} trees, "
            f"not {sum(sizes)} of {len(sizes)}"
        )
