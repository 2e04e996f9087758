"""The README: what it shows is what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_recipe_in_the_readme_is_the_demo_to_the_letter() -> None:
    shown = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert shown == [(ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8")]


def test_every_file_that_the_readme_links_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links and [link for link in links if not (ROOT / link).exists()] == []
