"""The recipes of the repository: they are strict YAML, and what they filter by exists."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.filters.entries import entry_rules, parse_entry
from curate.schema import is_reason

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def read(path: Path) -> dict[str, Any]:
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(recipe, dict)
    return recipe


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_recipe_has_all_sections_and_filters_that_exist(path: Path) -> None:
    recipe = read(path)
    assert {"input", "measure", "filter", "dedup", "plan", "output", "run", "store"} == set(recipe)
    entries = [parse_entry(entry, path=f"filter[{n}]") for n, entry in enumerate(recipe["filter"])]
    rules = [rule for entry in entries for rule in entry_rules(entry)]
    assert len(rules) > 10 and all(is_reason(rule.reason) for rule in rules)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_recipe_writes_inside_its_run(path: Path) -> None:
    recipe = read(path)
    assert recipe["output"]["path"].startswith(recipe["run"] + "/")
