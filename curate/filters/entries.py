"""The recipe's `filter:` list: each entry names a preset, or is a rule of the recipe's own.

    filter:
      - {preset: gopher, min_words: 30, limits: {de: {max_mean_word_length: 12}}}
      - {reason: language.not_english, drop: "language.label <> 'en' OR language.score < 0.65"}

Not here: how a rule is evaluated (rules.py).
"""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from curate.errors import ConfigError
from curate.filters.c4 import C4
from curate.filters.expression import Token, parse_expression
from curate.filters.fineweb import FineWeb
from curate.filters.gopher import Gopher
from curate.filters.language import LanguageFilter
from curate.filters.preset import Preset
from curate.filters.redpajama import RedPajama
from curate.filters.rules import Rule, RuleEntry
from curate.schema import Settings

PRESETS: dict[str, type[Preset]] = {
    "c4": C4,
    "fineweb": FineWeb,
    "gopher": Gopher,
    "language": LanguageFilter,
    "redpajama": RedPajama,
}

Entry = C4 | FineWeb | Gopher | LanguageFilter | RedPajama | RuleEntry
"""What an entry of the list may be, for a schema of the recipe."""

_COMPARISONS = ("<", "<=", ">", ">=", "=", "<>")


def entry_rules(entry: Entry) -> tuple[Rule, ...]:
    """The rules of an entry; a plain comparison in `drop` gives the rule its column and limit."""
    if isinstance(entry, Preset):
        return entry.rules()
    tokens = parse_expression(entry.drop).tokens
    known = _comparison(tokens) if len(tokens) in (3, 4) else {}
    return (Rule(reason=entry.reason, drop=entry.drop, where=entry.where, **known),)


def _comparison(tokens: tuple[Token, ...]) -> dict[str, Any]:
    """Column, operator and limit of `column < 50`; empty for any other expression."""
    column, op, *rest = tokens
    number = "".join(token.text for token in rest)
    signs = [token.text for token in rest[:-1]]
    if (
        column.kind != "name"
        or op.text not in _COMPARISONS
        or rest[-1].kind != "number"
        or signs not in ([], ["-"])
    ):
        return {}
    return {"column": column.text, "op": op.text, "limit": float(number)}


def parse_entry(entry: Any, *, path: str) -> Entry:
    """Check one entry; errors name the key by its path, e.g. `filter[2].drop`."""
    if not isinstance(entry, dict):
        raise ConfigError(f"{path} needs `preset:` or `reason:` and `drop:`: {entry!r}")
    kind: type[Settings] = RuleEntry
    if "preset" in entry:
        name = entry["preset"]
        if not isinstance(name, str) or name not in PRESETS:
            raise ConfigError(f"{path}.preset is not one of {', '.join(PRESETS)}: {name!r}")
        kind = PRESETS[name]
    try:
        return kind.model_validate(entry)  # type: ignore[return-value]
    except ValidationError as exc:
        raise _explained(exc, path) from exc


def parse_filters(entries: Sequence[Any], *, path: str = "filter") -> tuple[Rule, ...]:
    """Check the list and give all its rules, in order."""
    parsed = [parse_entry(entry, path=f"{path}[{index}]") for index, entry in enumerate(entries)]
    return tuple(rule for entry in parsed for rule in entry_rules(entry))


def _explained(exc: ValidationError, path: str) -> ConfigError:
    error = exc.errors(include_url=False)[0]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    cause = error.get("ctx", {}).get("error")
    hint = cause.hint if isinstance(cause, ConfigError) else None
    if error["type"] == "missing":
        return ConfigError(f"{path}{key} is missing")
    message = str(cause) if cause is not None else f"{error['msg']}: {error['input']!r}"
    return ConfigError(f"{path}{key}: {message}", hint=hint)
