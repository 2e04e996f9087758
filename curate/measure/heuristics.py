"""The signals that the published rule sets compare with limits: Gopher, C4, FineWeb, RedPajama-V2.

One pass over the text for all of them. Which words are counted is part of the fingerprint: `uax29` is right
for every language, `datatrove-en` reproduces the English splitting that datatrove's published thresholds were
tuned on. Sources: Rae et al. 2021 (arXiv:2112.11446), Raffel et al. 2020 (arXiv:1910.10683), Penedo et al.
2024 (arXiv:2406.17557), Weber et al. 2024 (arXiv:2411.12372). Not here: the limits (filters/).
"""

from typing import ClassVar, Literal

from pydantic import field_validator

from curate import text
from curate.errors import ConfigError
from curate.measure.stage import StageModel

RuleSet = Literal["gopher", "c4", "fineweb", "redpajama"]

ALL: tuple[RuleSet, ...] = ("gopher", "c4", "fineweb", "redpajama")


class Heuristics(StageModel):
    """Columns `gopher.*`, `c4.*`, `fineweb.*` and `redpajama.*`."""

    kind: ClassVar[str] = "heuristics"
    version: ClassVar[int] = 1

    sets: tuple[RuleSet, ...] = ALL
    """Rule sets whose signals are measured."""
    words: text.WordMode = "uax29"
    """How text is split into words."""

    @field_validator("sets")
    @classmethod
    def _sets_are_different(cls, value: tuple[RuleSet, ...]) -> tuple[RuleSet, ...]:
        if not value or len(set(value)) != len(value):
            raise ConfigError(
                f"heuristics.sets needs different rule sets, at least one: {', '.join(value) or 'none'}"
            )
        return tuple(sorted(value, key=ALL.index))

    def needs(self) -> text.NativeSpec:
        """The groups of the chosen sets."""
        return text.NativeSpec(groups=frozenset(self.sets), words=self.words)
