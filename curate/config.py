"""Read a recipe: strict YAML, dotted overrides, and errors that name the key, the value and the way out.

YAML is safe-loaded, at most 1 MiB, without anchors, aliases, tags or repeated keys: a recipe is data that
may come from somebody else. Not here: what the sections mean (each model lives beside the code that reads
it).
"""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from curate.errors import ConfigError
from curate.schema import Settings

MAX_BYTES = 1 << 20

S = TypeVar("S", bound=Settings)


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses anchors, aliases and repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"YAML anchors and aliases are not allowed: line {event.start_mark.line + 1}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConfigError(f"a key must be text: line {key_node.start_mark.line + 1}: {key!r}")
            if key in seen:
                raise ConfigError(f"a key stands twice: line {key_node.start_mark.line + 1}: {key}")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def parse_yaml(text: str, *, name: str = "recipe") -> dict[str, Any]:
    """Parse one YAML mapping under the rules above.

    Raises:
        ConfigError: the text is too long, not YAML, or not a mapping.
    """
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_BYTES} bytes: {len(text.encode())}")
    try:
        value = yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, RecursionError) as exc:
        raise ConfigError(f"{name} is not valid YAML: {exc}") from exc
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must be a mapping of sections: {type(value).__name__}")
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a recipe file; a missing file stays `FileNotFoundError`."""
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes: {path.stat().st_size}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8: byte {exc.start}") from exc
    return parse_yaml(text, name=str(path))


def read_source(source: str | Path | dict[str, Any], *, name: str = "settings") -> dict[str, Any]:
    """Read settings from a file, a mapping, or YAML text with a line break.

    Those of a file are called as the file, under `name`, where they have no name of their own.

    Raises:
        ConfigError: it is no YAML that is allowed.
        FileNotFoundError: there is no such file.
    """
    if isinstance(source, dict):
        return source
    if isinstance(source, str) and "\n" in source:
        return parse_yaml(source, name=name)
    values = read_yaml(Path(source))
    values.setdefault("name", Path(source).stem)
    return values


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return a copy of `values` with each `a.b=c` set; `c` is read as YAML, list positions are numbers.

    Raises:
        ConfigError: an override has no `=`, or walks through something that is not a section.
    """
    result: dict[str, Any] = _copy(values)
    for override in overrides:
        path, sign, text = override.partition("=")
        if not sign or not path:
            raise ConfigError(f"an override is written key.path=value: {override}")
        value = parse_yaml(f"value: {text}", name=f"--set {path}")["value"]
        _assign(result, path.strip().split("."), value, override)
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _assign(target: Any, keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        target = _step(target, key, override)
    last = keys[-1]
    if isinstance(target, list):
        target[_position(target, last, override)] = value
    elif isinstance(target, dict):
        target[last] = value
    else:
        raise ConfigError(f"`{last}` is not inside a section: {override}")


def _step(target: Any, key: str, override: str) -> Any:
    """Go one key down; an entry of a list is found by position or by the stage name it holds."""
    if isinstance(target, list):
        position = _position(target, key, override)
        if target[position] == key:
            target[position] = {key: {}}
        entry = target[position]
        if isinstance(entry, dict) and key in entry:
            if entry[key] is None:
                entry[key] = {}
            return entry[key]
        return entry
    if not isinstance(target, dict):
        raise ConfigError(f"`{key}` is not inside a section: {override}")
    if target.get(key) is None:
        target[key] = {}
    return target[key]


def _position(target: list[Any], key: str, override: str) -> int:
    if key.isdecimal() and int(key) < len(target):
        return int(key)
    for position, entry in enumerate(target):
        if entry == key or (isinstance(entry, dict) and (key in entry or entry.get("preset") == key)):
            return position
    raise ConfigError(f"the list has no entry `{key}`, it has {len(target)} entries: {override}")


def build(model: type[S], values: dict[str, Any], *, at: str = "") -> S:
    """Validate `values` as `model`; `at` is the key path in front of every message.

    Raises:
        ConfigError: with every problem, one a line: key path, what is allowed, value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        raise ConfigError("\n".join(_describe(error, model, at) for error in exc.errors())) from exc


def _describe(error: Any, model: type[Settings], at: str) -> str:
    path = ".".join([at, *map(str, error["loc"])] if at else map(str, error["loc"])) or "recipe"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), _known_keys(model, error["loc"][:-1]), n=1)
        hint = f", did you mean `{near[0]}`" if near else ""
        return f"{path} is not a known key{hint}"
    context = error.get("ctx", {}).get("error")
    if isinstance(context, ConfigError):
        return str(context)
    message = error["msg"].removeprefix("Value error, ")
    return f"{path}: {message[:1].lower()}{message[1:]}: {error['input']!r}"


def _known_keys(model: type[Settings], path: tuple[Any, ...]) -> list[str]:
    current: Any = model
    for key in path:
        field = current.model_fields.get(key) if hasattr(current, "model_fields") else None
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        current = next((item for item in candidates if hasattr(item, "model_fields")), None)
        if current is None:
            return []
    return list(current.model_fields)
