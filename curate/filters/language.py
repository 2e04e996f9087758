"""Which languages stay, and how sure the identifier has to be, by language where one limit does not fit all.

    {preset: language, keep: [en, de], min_score: 0.65, limits: {de: {min_score: 0.5}}}

The default limit is that of CCNet's users and datatrove (0.65, lid.176); FineWeb-2 (Penedo et al. 2025,
arXiv:2506.20920) sets one for each language, which is the table `limits`. Not here: identification
(measure/language.py).
"""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from curate.errors import ConfigError
from curate.filters.preset import Bound, Frac, Preset, quote
from curate.filters.rules import Rule


class LanguageFilter(Preset):
    """Limits of the language of a document; None turns a rule off."""

    preset: Literal["language"] = "language"
    """Name of the preset in a recipe."""
    keep: tuple[str, ...] | None = None
    """Labels that stay; None is all."""
    min_score: Frac | None = 0.65
    """Least probability of the label; None is off."""
    by: str = "language.label"
    """Column whose value selects from `limits`, and that `keep` names values of."""

    bounds: ClassVar[tuple[Bound, ...]] = (Bound("min_score", "language.low_score", "language.score", "<"),)

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if self.keep is not None and not self.keep:
            raise ConfigError("keep names no language; leave it out to keep all")
        return self

    def rules(self) -> tuple[Rule, ...]:
        """The rules that are on: the label, then its probability."""
        if self.keep is None:
            return super().rules()
        labels = ", ".join(quote(label) for label in self.keep)
        column = '"' + self.by.replace('"', '""') + '"'
        rule = Rule(reason="language.not_kept", drop=f"NOT ({column} IN ({labels}))", where=self.where)
        return (rule, *super().rules())
