"""What a mixer is called in settings: a name, or a name with its settings.

    natural                                  the pools' planned tokens
    uniform
    {fixed: {web: 0.7, code: 0.3}}           every pool by name
    {schedule: [{step: 0, weights: natural}, {step: 10000, weights: {web: 0.2, code: 0.8}}]}
    {schedule: {points: [{tokens: 0, weights: ...}, {tokens: 20B, ...}], between: linear}}
    {temperature: 2.0}                       tokens^(1/2)
    {unimax: {budget: 600B, max_epochs: 4}}
    exp3, odm, ucb                           by feedback, each with settings: {odm: {smoothing: 0.9}}
    {excess_loss: {reference: {web: 2.9, code: 1.2}}}, also called doremi

or, from Python, a mixer, or a function (block, step, seen) -> weights. Not here: replaying a log of an
earlier training, which needs to read it.
"""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from curate.config import build
from curate.errors import ConfigError
from curate.schema import Settings
from curate.selection.bandit import Exp3, Exp3Settings
from curate.selection.excess_loss import ExcessLoss, ExcessLossSettings
from curate.selection.fixed import (
    Fixed,
    FromFunction,
    Function,
    Natural,
    Temperature,
    TemperatureSettings,
    Uniform,
    UniMax,
    UniMaxSettings,
)
from curate.selection.mixer import Mixer
from curate.selection.odm import Odm, OdmSettings
from curate.selection.schedule import Schedule, ScheduleSettings
from curate.selection.ucb import Ucb, UcbSettings

MixerSpec = str | Mapping[str, Any] | Mixer | Function
S = TypeVar("S", bound=Settings)


def _plain(make: Callable[[], Mixer]) -> Callable[[str, Any], Mixer]:
    def build_plain(name: str, value: Any) -> Mixer:
        if value not in (None, {}):
            raise ConfigError(f"mixer.{name} has no settings: {value!r}")
        return make()

    return build_plain


def _with(model: type[S], make: Callable[[S], Mixer], only: str | None = None) -> Callable[[str, Any], Mixer]:
    """Build from settings; `only` is the key of a value that is not a table."""

    def build_with(name: str, value: Any) -> Mixer:
        if value is None:
            value = {}
        elif only is not None and not isinstance(value, Mapping):
            value = {only: value}
        if not isinstance(value, Mapping):
            raise ConfigError(f"mixer.{name} is a table of settings: {value!r}")
        return make(build(model, dict(value), at=f"mixer.{name}"))

    return build_with


def _fixed(name: str, value: Any) -> Mixer:
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(f"mixer.{name} is a table of weights by pool: {value!r}")
    for pool, weight in value.items():
        if not isinstance(weight, int | float) or isinstance(weight, bool):
            raise ConfigError(f"mixer.{name}.{pool}: a weight is a number: {weight!r}")
    return Fixed(value)


KINDS: dict[str, Callable[[str, Any], Mixer]] = {
    "natural": _plain(Natural),
    "uniform": _plain(Uniform),
    "fixed": _fixed,
    "schedule": _with(ScheduleSettings, Schedule, only="points"),
    "temperature": _with(TemperatureSettings, Temperature, only="temperature"),
    "unimax": _with(UniMaxSettings, UniMax, only="budget"),
    "exp3": _with(Exp3Settings, Exp3),
    "odm": _with(OdmSettings, Odm),
    "ucb": _with(UcbSettings, Ucb),
    "excess_loss": _with(ExcessLossSettings, ExcessLoss),
    "doremi": _with(ExcessLossSettings, ExcessLoss),
}
"""Everything that settings can name."""


def make_mixer(spec: MixerSpec = "natural") -> Mixer:
    """Make the mixer that `spec` says.

    Raises:
        ConfigError: The name or a setting is not known or wrong.
    """
    name: object
    value: object
    if isinstance(spec, str):
        name, value = spec, None
    elif isinstance(spec, Mapping):
        if len(spec) != 1:
            raise ConfigError(f"a mixer is one name with its settings, as `odm: {{}}`: {sorted(spec)}")
        name, value = next(iter(spec.items()))
    elif isinstance(spec, Mixer):
        return spec
    elif callable(spec):
        return FromFunction(spec)
    else:
        raise ConfigError(f"a mixer is a name, a table, a mixer or a function: {spec!r}")
    if not isinstance(name, str) or name not in KINDS:
        near = difflib.get_close_matches(str(name), KINDS, n=1)
        raise ConfigError(
            f"no mixer has this name, there are {', '.join(KINDS)}: {name!r}",
            hint=f"did you mean `{near[0]}`?" if near else None,
        )
    return KINDS[name](name, value)
