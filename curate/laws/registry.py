"""The laws by name, for files and the command line."""

from collections.abc import Mapping
from typing import Any

from curate.errors import ConfigError
from curate.laws.batch import BatchLaw
from curate.laws.chinchilla import Chinchilla
from curate.laws.data_constrained import DataConstrained
from curate.laws.law import Law
from curate.laws.power import PowerLaw
from curate.laws.quality_quantity import QualityQuantity

LAWS: dict[str, type[Law]] = {
    QualityQuantity.name: QualityQuantity,
    DataConstrained.name: DataConstrained,
    Chinchilla.name: Chinchilla,
    BatchLaw.name: BatchLaw,
    PowerLaw.name: PowerLaw,
}


def law_named(name: str) -> type[Law]:
    """The law of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in LAWS:
        raise ConfigError(f"there is no law {name}", hint=f"there are {', '.join(sorted(LAWS))}")
    return LAWS[name]


def law_from_json(value: Mapping[str, Any]) -> Law:
    """Read a law from what its `to_json` gave.

    Raises:
        ConfigError: the name is unknown, or a value is wrong.
    """
    name = value.get("law") if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"a law is an object with its name under `law`: {value!r:.80}")
    return law_named(name).from_json(value)
